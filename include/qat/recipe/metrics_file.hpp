// metrics.jsonl: what each step of a run gave, one line of JSON a step, none twice and none lost.
#pragma once

#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/io/json.hpp"

namespace qat::inline v0::recipe {

/// Lines begin with {"step":N, and N counts from 0. Each is written at once, so a process that dies leaves whole lines
/// but for the last.
class MetricsFile {
 public:
  /// Opens the file for a run that goes on at `step`, and creates it when absent: lines of earlier steps stay, whatever
  /// comes behind them is cut off.
  MetricsFile(const std::string& path, index_t step) : path_(path) {
    if (file_exists(path)) {
      const MappedFile file(path);
      const std::string_view text = file.text();
      for (std::size_t end; (end = text.find('\n', static_cast<std::size_t>(size_))) != text.npos; ++kept_) {
        const std::string_view line =
            text.substr(static_cast<std::size_t>(size_), end - static_cast<std::size_t>(size_));
        if (const index_t number = step_of(line); number < 0 || number >= step) break;
        size_ = static_cast<off_t>(end + 1);
      }
    }
    missing_ = step > kept_ ? step - kept_ : 0;
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail();
    if (::ftruncate(descriptor_, size_) != 0 || ::lseek(descriptor_, size_, SEEK_SET) != size_) {
      const int reason = errno;
      ::close(descriptor_);
      errno = reason;
      fail();
    }
  }
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;
  ~MetricsFile() { ::close(descriptor_); }

  /// Earlier steps without a line: 0 unless somebody changed the file.
  index_t missing() const { return missing_; }

  /// Appends the line of a step. values: an object, ordered as it is to be written.
  /// @throws qat::Error (kIo) if it cannot be written; the file then ends with the line before
  void write(index_t step, const nlohmann::ordered_json& values) {
    std::string line = values.dump(-1, ' ', false, Json::error_handler_t::replace);
    line = "{\"step\":" + std::to_string(step) + (values.empty() ? "" : ",") + line.substr(1) + "\n";
    for (std::size_t done = 0; done < line.size();) {
      const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) {
        const int reason = errno;
        if (::ftruncate(descriptor_, size_) == 0) (void)::lseek(descriptor_, size_, SEEK_SET);
        errno = reason;
        fail();
      }
      done += static_cast<std::size_t>(written);
    }
    size_ += static_cast<off_t>(line.size());
  }
  /// Returns when all lines are on the disk.
  void sync() {
    if (::fsync(descriptor_) != 0) fail();
  }

 private:
  [[noreturn]] void fail() const { raise(ErrorCode::kIo, path_, ": cannot write: ", std::strerror(errno)); }
  /// -1 for what is no line of a step.
  static index_t step_of(std::string_view line) {
    constexpr std::string_view kBegin = "{\"step\":";
    index_t number = -1;
    if (!line.starts_with(kBegin) || !line.ends_with('}')) return -1;
    const char* const digits = line.data() + kBegin.size();
    const auto [end, error] = std::from_chars(digits, line.data() + line.size(), number);
    return error == std::errc() && (*end == ',' || *end == '}') ? number : -1;
  }

  std::string path_;
  int descriptor_ = -1;
  off_t size_ = 0;
  index_t kept_ = 0, missing_ = 0;
};

/// What a line of the file states.
struct StepMetrics {
  index_t step = 0;
  double loss = 0.0, grad_norm = 0.0;  ///< NaN where they were not finite
  double lr = 0.0, seconds = 0.0, tokens_per_second = 0.0;
  index_t peak_memory = 0;                                       ///< bytes
  std::optional<double> validation_float, validation_quantized;  ///< nats per token after the step, where it was scored
};

/// The lines of a metrics file, of a run at work too: text behind the last line's end is left out.
/// @throws qat::Error naming file and line
inline std::vector<StepMetrics> read_metrics(const std::string& path) {
  const MappedFile file(path);
  std::vector<StepMetrics> steps;
  std::string_view rest = file.text();
  for (std::size_t end; (end = rest.find('\n')) != rest.npos; rest = rest.substr(end + 1)) {
    const std::string place = path + ":" + std::to_string(steps.size() + 1);
    const Json json = parse_json(rest.substr(0, end), place);
    const JsonFields fields(json, place);
    const auto number_or_nan = [](const JsonFields& f, const char* key) { return f.number_or(key, std::nan("")); };
    StepMetrics& s = steps.emplace_back();
    s.step = fields.integer("step");
    QAT_CHECK(s.step >= 0 && (steps.size() < 2 || s.step > steps[steps.size() - 2].step), kBadFile, place,
              ": 'step' is ", s.step, "; accepted: more than in the line before");
    s.loss = number_or_nan(fields, "loss");
    s.grad_norm = number_or_nan(fields, "grad_norm");
    s.lr = number_or_nan(fields, "lr");
    s.seconds = fields.number_or("seconds", 0.0);
    s.tokens_per_second = number_or_nan(fields, "tokens_per_second");
    s.peak_memory = fields.integer_or("peak_memory", 0);
    if (const Json* const scores = fields.find("validation"); scores != nullptr) {
      const JsonFields validation(*scores, place + ": 'validation'");
      if (validation.find("float") != nullptr) s.validation_float = validation.number("float");
      if (validation.find("quantized") != nullptr) s.validation_quantized = validation.number("quantized");
    }
  }
  return steps;
}

}  // namespace qat::inline v0::recipe
