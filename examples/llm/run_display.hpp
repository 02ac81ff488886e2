// What a person sees of a run: a bar that is rewritten on a terminal, plain lines elsewhere.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "duration_text.hpp"
#include "qat/recipe/run.hpp"

namespace qat_llm {

class RunDisplay {
 public:
  explicit RunDisplay(qat::index_t steps) : steps_(steps), terminal_(isatty(STDERR_FILENO) != 0) {}
  RunDisplay(const RunDisplay&) = delete;
  RunDisplay& operator=(const RunDisplay&) = delete;
  ~RunDisplay() { clear(); }

  void operator()(const qat::recipe::RunStep& s) {
    const qat::index_t done = s.report.step + 1;
    if (s.validation) {
      validation_ = s.validation;
      clear();
      std::printf("step %6td  validation %s (%.1f s)\n", s.report.step, loss_text(*validation_, 6).c_str(),
                  validation_->seconds);
    }
    if (terminal_) {
      show(s, done);
    } else if (s.report.step % 100 == 0 || done == steps_) {
      std::printf("step %6td  loss %.4f  gradient norm %.3f  rate %.3g  %.0f ms  %.0f tokens/s  %s left  %.0f MiB\n",
                  s.report.step, s.report.loss, s.report.grad_norm, s.report.lr, s.report.seconds * 1e3,
                  s.tokens_per_second, duration_text(s.seconds_left).c_str(), mebibytes(s));
      std::fflush(stdout);
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kBarWidth = 20;

  static double mebibytes(const qat::recipe::RunStep& s) { return static_cast<double>(s.peak_memory) / (1 << 20); }
  static std::string loss_text(const qat::recipe::ValidationLoss& loss, int digits) {
    char text[80];
    if (loss.quantized) {
      std::snprintf(text, sizeof text, "%.*f float, %.*f quantized", digits, loss.floating, digits, *loss.quantized);
    } else {
      std::snprintf(text, sizeof text, "%.*f", digits, loss.floating);
    }
    return text;
  }
  static std::size_t terminal_width() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  }

  void show(const qat::recipe::RunStep& s, qat::index_t done) {
    const auto now = Clock::now();
    if (done < steps_ && now - shown_ < std::chrono::milliseconds(50)) return;
    shown_ = now;
    const auto filled = static_cast<std::size_t>(kBarWidth * done / steps_);
    char text[160];
    std::snprintf(text, sizeof text, "[%s%s] %td/%td  loss %.4f", std::string(filled, '#').c_str(),
                  std::string(kBarWidth - filled, '.').c_str(), done, steps_, s.report.loss);
    std::string line = text;
    std::snprintf(text, sizeof text, "  %.0f tokens/s  %s left  %.0f MiB", s.tokens_per_second,
                  duration_text(s.seconds_left).c_str(), mebibytes(s));
    line += text;
    if (validation_) line += "  validation " + loss_text(*validation_, 4);
    line.resize(std::min(line.size(), terminal_width() - 1));  // a line that wraps could not be rewritten
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    visible_ = true;
  }
  void clear() {
    if (!visible_) return;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    visible_ = false;
  }

  qat::index_t steps_;
  bool terminal_, visible_ = false;
  std::optional<qat::recipe::ValidationLoss> validation_;
  Clock::time_point shown_;
};

}  // namespace qat_llm
