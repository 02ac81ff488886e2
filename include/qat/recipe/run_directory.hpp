// Where a run keeps what it writes:
//   run.json         {"format": "qat-run", "version": 1, "qat": VERSION, "steps": N, "identity": {...}, "processes":
//                    [{"first_step": N, "processor": NAME, ...}], and what the program that started it adds}
//   metrics.jsonl    one line a step (metrics_file.hpp)
//   checkpoints/     step-NNNNNN/ each (run_checkpoint.hpp)
//   run.lock         held by the process that is at work here
// Other names are the program's own, such as model/ for the trained model.
#pragma once

#include <charconv>
#include <string>
#include <vector>

#include "qat/io/directory.hpp"
#include "qat/recipe/run_checkpoint.hpp"

namespace qat::inline v0::recipe {

/// What to do about a run that a directory holds already.
enum class ExistingRun { kRefuse, kResume, kOverwrite };

/// An output directory, locked for this process.
class RunDirectory {
 public:
  /// Creates the directory when absent (its parent must exist). A directory with files and no run is refused, whatever
  /// `existing` says.
  /// @throws qat::Error naming what it holds
  RunDirectory(const std::string& path, ExistingRun existing) : path_(path) {
    make_directory(path);
    bool holds_run = false;
    std::string foreign;
    for (const std::string& name : list_directory(path)) {
      holds_run = holds_run || name == "run.json";
      const bool known = name == "run.json" || name == "run.lock" || name == "metrics.jsonl" || name == "checkpoints";
      if (foreign.empty() && !known && !is_unfinished(name)) foreign = name;
    }
    QAT_CHECK(holds_run || foreign.empty(), kInvalidArgument, path, ": holds ", printable(foreign),
              " and no run; accepted: a new or empty directory, or one with a run");
    if (holds_run && existing == ExistingRun::kRefuse) refuse();
    lock_.emplace(join_path(path, "run.lock"));
    for (const std::string& name : list_directory(path))
      if (is_unfinished(name) && ::unlink(join_path(path, name).c_str()) != 0) remove_directory(join_path(path, name));
    if (holds_run && existing == ExistingRun::kResume) {
      description_ = read_description(path);
    } else {  // run.json stays until write_description() replaces it, so that the directory stays one with a run
      if (is_directory(checkpoints())) retire_directory(checkpoints());
      ::unlink(metrics().c_str());
    }
    make_directory(checkpoints());
    remove_unfinished(checkpoints());
  }

  const std::string& path() const { return path_; }
  std::string metrics() const { return join_path(path_, "metrics.jsonl"); }
  std::string checkpoint(index_t step) const { return join_path(checkpoints(), step_name(step)); }

  /// run.json of the run that a directory holds.
  /// @throws qat::Error naming the file
  static Json read_description(const std::string& path) {
    const std::string file = join_path(path, "run.json");
    Json json = read_json(file);
    const JsonFields fields(json, file);
    QAT_CHECK(fields.string_or("format", "absent") == "qat-run" && fields.integer("version") == 1, kBadFile, file,
              ": is no description of a run; accepted: 'format' qat-run, 'version' 1");
    return json;
  }

  /// run.json of the run that is resumed; null where one begins.
  const Json& description() const { return description_; }
  void write_description(const Json& description) const {
    write_file(join_path(path_, "run.json"), detail::dump(description, 1) + "\n");
  }

  /// Steps after which there is a checkpoint, ascending.
  std::vector<index_t> checkpoint_steps() const { return steps_in(checkpoints()); }

  /// Removes all but the newest `count`; 0 keeps all.
  void keep_last(index_t count) const {
    const std::vector<index_t> steps = checkpoint_steps();
    if (count == 0) return;
    for (std::size_t i = 0; i + static_cast<std::size_t>(count) < steps.size(); ++i)
      retire_directory(checkpoint(steps[i]));
  }

 private:
  std::string checkpoints() const { return join_path(path_, "checkpoints"); }

  /// What a process that died has left.
  static bool is_unfinished(const std::string& name) {
    return is_temporary_file(name) || name.starts_with(kUnfinishedPrefix);
  }
  static std::string step_name(index_t step) {
    const std::string digits = std::to_string(step);
    return "step-" + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
  }
  static std::vector<index_t> steps_in(const std::string& directory) {
    std::vector<index_t> steps;
    if (!is_directory(directory)) return steps;
    for (const std::string& name : list_directory(directory)) {
      index_t step = -1;
      if (name.size() > 5) std::from_chars(name.data() + 5, name.data() + name.size(), step);
      if (step >= 0 && name == step_name(step)) steps.push_back(step);
    }
    std::sort(steps.begin(), steps.end());
    return steps;
  }
  [[noreturn]] void refuse() const {
    const Json json = read_description(path_);
    const std::vector<index_t> steps = steps_in(checkpoints());
    const Json* const total = find_member(json, "steps");
    raise(ErrorCode::kInvalidArgument, path_, ": holds a run of ", total == nullptr ? "unknown" : json_text(*total),
          " steps",
          steps.empty() ? std::string(", without a checkpoint")
                        : ", with a checkpoint after step " + std::to_string(steps.back()),
          "; resume it, overwrite it, or give another directory");
  }

  std::string path_;
  std::optional<FileLock> lock_;
  Json description_;
};

}  // namespace qat::inline v0::recipe
