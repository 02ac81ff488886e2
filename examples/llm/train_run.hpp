// Training in a directory, told to whoever watches: what `qat-llm train --output-dir` does.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "recipe_run.hpp"
#include "run_display.hpp"

namespace qat_llm {

/// Thrown when a signal has ended a run, whose state is safe: the program's exit code is 128 + number, as a shell's.
struct Interrupted {
  int number;
};

/// Runs to the last step; on_step(const StepReport&) is called after each step of this process. begun() is called once
/// the directory is the run's.
/// @throws Interrupted after a signal; qat::Error as recipe::Run
template <class Begun, class OnStep>
void train_in_directory(const qat::CpuBackend& backend, qat::nn::Transformer& model, const RecipeRun& source,
                        const qat::recipe::TrainConfig& config, const qat::recipe::RunOptions& options, Begun&& begun,
                        OnStep&& on_step) {
  const TrainingData& data = source.data();
  qat::recipe::Run run(backend, model, data.batches(), data.identity(), config, options, data.scorer(),
                       source.training_device(model, config));
  begun();
  if (run.first_step() > 0)
    std::printf("%s: goes on after step %td of %td\n", options.directory.c_str(), run.first_step(), config.steps);
  if (run.missing_metrics() > 0)
    std::fprintf(stderr, "qat-llm: %s: has no line for %td of the steps before %td\n",
                 run.directory().metrics().c_str(), run.missing_metrics(), run.first_step());
  bool done = false;
  {
    RunDisplay display(config.steps);
    done = run.drive([&](const qat::recipe::RunStep& step) {
      on_step(step.report);
      display(step);
    });
  }
  const qat::recipe::RunTime& time = run.time();
  std::printf(
      "%.1f s: training %.1f, validation %.1f, checkpoints %.2f; all but the first two cost %.2f %% of training\n",
      time.total, time.steps, time.validation, time.checkpoints, 100.0 * time.overhead());
  if (done) return;
  std::fprintf(stderr, "qat-llm: %s: interrupted after %td of %td steps; --resume goes on from there\n",
               options.directory.c_str(), run.trainer().next_step(), config.steps);
  throw Interrupted{qat::recipe::Interruption::number()};
}

}  // namespace qat_llm
