// A training run that survives interruption: a trainer with validation, metrics and checkpoints in a directory, which
// goes on to the bit after Ctrl-C, a killed process or a full disk.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "qat/recipe/evaluate.hpp"
#include "qat/recipe/interruption.hpp"
#include "qat/recipe/machine.hpp"
#include "qat/recipe/metrics_file.hpp"
#include "qat/recipe/run_directory.hpp"

namespace qat::inline v0::recipe {

struct RunOptions {
  std::string directory;
  ExistingRun existing = ExistingRun::kRefuse;
  index_t checkpoint_every = 0;       ///< steps; 0: only at the end and when interrupted
  index_t validate_every = 0;         ///< steps; 0: only at the end, if there is something to score
  index_t keep_last = 2;              ///< checkpoints; 0: all
  Json description = Json::object();  ///< goes into run.json
};

/// Nats per token on the validation windows.
struct ValidationLoss {
  double floating = 0.0;            ///< with the float master weights, or their averages
  std::optional<double> quantized;  ///< as the model would be shipped; nothing where no layer is prepared
  double seconds = 0.0;
};

/// What a step left behind.
struct RunStep {
  StepReport report;
  std::optional<ValidationLoss> validation;  ///< after the step
  double tokens_per_second = 0.0;
  double seconds_left = 0.0;        ///< estimated from this process's steps, validation and checkpoints included
  index_t peak_memory = 0;          ///< resident bytes of the process at most
  double checkpoint_seconds = 0.0;  ///< 0: none was written
};

/// Seconds that a process spent on a run.
struct RunTime {
  double total = 0.0;
  double steps = 0.0, validation = 0.0;  ///< training, and scoring the model
  double checkpoints = 0.0;
  /// The share that writing metrics and checkpoints, and whatever else is done between steps, takes of training.
  double overhead() const { return steps > 0.0 ? (total - steps - validation) / steps : 0.0; }
};

/// What is scored while a run trains; empty: nothing.
using Scorer = std::function<Evaluation(const CpuBackend&, nn::Transformer&)>;

inline Scorer window_scorer(TokenWindows windows) {
  return [windows = std::move(windows)](const CpuBackend& backend, nn::Transformer& model) {
    return evaluate(backend, model, windows);
  };
}

/// Scores a model in training as it would be shipped, float and quantized, and leaves it as it was.
/// @throws qat::Error as the scorer
inline ValidationLoss validate(const CpuBackend& backend, Trainer& trainer, const Scorer& score) {
  nn::Transformer& model = trainer.model();
  bool prepared = false;
  detail::for_each_prepared(model, [&](auto&) { prepared = true; });
  const std::vector<nn::LearnedScales> learned = learned_scale_states(model);
  const bool begun = trainer.scales_begun();
  ValidationLoss loss;
  trainer.use_average(true);
  set_fake_quantization(model, false);
  const Evaluation floating = score(backend, model);
  loss.floating = floating.nats_per_token();
  loss.seconds = floating.seconds;
  if (prepared) {
    set_fake_quantization(model, true);
    const Evaluation quantized = score(backend, model);
    loss.quantized = quantized.nats_per_token();
    loss.seconds += quantized.seconds;
  }
  for (const nn::LearnedScales& scales : learned) *scales.begun = begun;  // scoring before they begin begins nothing
  set_fake_quantization(model, trainer.fake_quantized());
  trainer.use_average(false);
  return loss;
}

class Run {
 public:
  /// Prepares the directory and, where a run is resumed, brings model and trainer to its last checkpoint. The model has
  /// its first weights and is prepared. data: run_identity()'s. Everything given by reference must outlive the run.
  /// @throws qat::Error naming the directory, file or field that does not fit
  Run(const CpuBackend& backend, nn::Transformer& model, std::span<const std::int32_t> tokens,
      const TrainConfig& config, const RunOptions& options, std::optional<TokenWindows> validation = std::nullopt)
      : Run(backend, model, std::make_unique<BatchSampler>(tokens, config.batch, config.length, config.seed),
            data_identity(tokens), config, options, validation ? window_scorer(std::move(*validation)) : Scorer()) {}
  /// Batches from a source. data: tells its batches apart from those of others. device: as the trainer's
  Run(const CpuBackend& backend, nn::Transformer& model, std::unique_ptr<BatchSource> batches, const Json& data,
      const TrainConfig& config, const RunOptions& options, Scorer validation,
      std::shared_ptr<TrainingDevice> device = nullptr)
      : backend_(backend),
        options_(options),
        validation_(std::move(validation)),
        trainer_(backend, model, std::move(batches), config, std::move(device)),
        identity_(run_identity(backend, model, data, config, trainer_.device())),
        directory_(options.directory, options.existing) {
    QAT_CHECK(options.checkpoint_every >= 0 && options.validate_every >= 0 && options.keep_last >= 0, kInvalidArgument,
              "run: checkpoint_every is ", options.checkpoint_every, ", validate_every ", options.validate_every,
              ", keep_last ", options.keep_last, "; accepted: none below 0");
    if (!directory_.description().is_null()) resume();
    first_step_ = trainer_.next_step();
    metrics_.emplace(directory_.metrics(), first_step_);
    Json description = options.description;
    description.update({{"format", "qat-run"},
                        {"version", 1},
                        {"qat", detail::version_text()},
                        {"steps", config.steps},
                        {"processes", processes()},
                        {"identity", identity_}});
    directory_.write_description(description);
  }

  const RunDirectory& directory() const { return directory_; }
  Trainer& trainer() { return trainer_; }
  /// Steps done before this process: 0 unless a run was resumed.
  index_t first_step() const { return first_step_; }
  /// Steps done before this process whose metrics are gone: 0 unless somebody changed the file.
  index_t missing_metrics() const { return metrics_->missing(); }
  /// What drive() took, once it has returned.
  const RunTime& time() const { return time_; }

  /// Trains until the last step or the first signal (Interruption, while this runs); a step that has begun is finished,
  /// and a checkpoint is written at the end. on_step(const RunStep&) is called after each step. Returns whether the
  /// last step is done; the model is then as it is shipped.
  /// @throws qat::Error as Trainer::step; or if metrics or a checkpoint cannot be written: the checkpoint before is
  /// then the last
  template <class OnStep>
  bool drive(OnStep&& on_step) {
    const Interruption interruption;
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [start] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const TrainConfig& config = trainer_.config();
    const auto due = [&](index_t every) { return every > 0 && trainer_.next_step() % every == 0; };
    while (!trainer_.done() && Interruption::number() == 0) {
      RunStep step;
      step.report = trainer_.step();
      step.tokens_per_second = static_cast<double>(step.report.rows) / step.report.seconds;
      step.peak_memory = peak_memory();
      if (validation_ && (due(options_.validate_every) || trainer_.done()))
        step.validation = validate(backend_, trainer_, validation_);
      metrics_->write(step.report.step, line_of(step));
      if (due(options_.checkpoint_every) || trainer_.done()) step.checkpoint_seconds = write_checkpoint();
      step.seconds_left = seconds() / static_cast<double>(trainer_.next_step() - first_step_) *
                          static_cast<double>(config.steps - trainer_.next_step());
      time_.steps += step.report.seconds;
      if (step.validation) time_.validation += step.validation->seconds;
      on_step(std::as_const(step));
    }
    if (!trainer_.done() && trainer_.next_step() > first_step_) write_checkpoint();
    time_.total = seconds();
    if (!trainer_.done()) return false;
    trainer_.finish();
    return true;
  }

 private:
  void resume() {
    const std::string file = join_path(directory_.path(), "run.json");
    const std::string difference = identity_difference(JsonFields(directory_.description(), file).at("identity"),
                                                       "the run there", identity_, "this one");
    QAT_CHECK(difference.empty(), kInvalidArgument, file, ": is another run: ", difference);
    const std::vector<index_t> steps = directory_.checkpoint_steps();
    if (steps.empty()) return;
    const std::string last = directory_.checkpoint(steps.back());
    try {
      load_run_checkpoint(last, trainer_, identity_);
    } catch (const Error& error) {
      const bool damaged = error.code() == ErrorCode::kBadFile || error.code() == ErrorCode::kIo;
      if (!damaged || steps.size() < 2) throw;
      raise(error.code(), error.what(), "; remove ", last, " to go on after step ", steps[steps.size() - 2]);
    }
  }

  /// Who has worked on the run: [{"first_step": N, "qat": VERSION, "processor": NAME, ...}]. Steps that are done again
  /// are the later process's.
  Json processes() const {
    Json list = Json::array();
    if (const Json* const before = find_member(directory_.description(), "processes"); before != nullptr)
      for (const Json& process : *before)
        if (process.is_object() && process.value("first_step", Json()) < first_step_) list.push_back(process);
    list.push_back(machine_json(backend_));
    list.back().update({{"first_step", first_step_}, {"qat", detail::version_text()}});
    return list;
  }

  double write_checkpoint() {
    const auto start = std::chrono::steady_clock::now();
    const std::string path = directory_.checkpoint(trainer_.next_step());
    if (!is_directory(path)) {
      metrics_->sync();  // so that a checkpoint never knows steps that the metrics do not
      save_run_checkpoint(path, trainer_, identity_);
      directory_.keep_last(options_.keep_last);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    time_.checkpoints += seconds;
    return seconds;
  }

  static nlohmann::ordered_json line_of(const RunStep& step) {
    const StepReport& r = step.report;
    nlohmann::ordered_json line = {{"loss", r.loss},
                                   {"grad_norm", r.grad_norm},
                                   {"lr", r.lr},
                                   {"seconds", r.seconds},
                                   {"tokens_per_second", step.tokens_per_second},
                                   {"peak_memory", step.peak_memory}};
    if (step.validation) {
      line["validation"] = {{"float", step.validation->floating}};
      if (step.validation->quantized) line["validation"]["quantized"] = *step.validation->quantized;
      line["validation"]["seconds"] = step.validation->seconds;
    }
    return line;
  }
  static index_t peak_memory() {
    rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
    return usage.ru_maxrss;
#else
    return usage.ru_maxrss * 1024;  // stated in KiB
#endif
  }

  const CpuBackend& backend_;
  RunOptions options_;
  Scorer validation_;
  Trainer trainer_;
  Json identity_;
  RunDirectory directory_;
  std::optional<MetricsFile> metrics_;
  RunTime time_;
  index_t first_step_ = 0;
};

}  // namespace qat::inline v0::recipe
