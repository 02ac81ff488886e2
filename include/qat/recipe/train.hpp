// The training loop: batches of a token stream, AdamW under a schedule, clipping, accumulation, delayed fake
// quantization.
#pragma once

#include <chrono>
#include <cmath>
#include <span>
#include <vector>

#include "qat/data/token_stream.hpp"
#include "qat/optim/adamw.hpp"
#include "qat/optim/grad_clip.hpp"
#include "qat/optim/schedule.hpp"
#include "qat/recipe/prepare.hpp"

namespace qat::inline v0::recipe {

struct TrainConfig {
  index_t steps = 600;
  index_t batch = 8;         ///< sequences of one micro-batch
  index_t length = 256;      ///< tokens of a sequence
  index_t accumulation = 1;  ///< micro-batches of one step; gradients are their mean
  double lr = 3e-4;          ///< peak
  double lr_floor = 0.0;     ///< where linear and cosine end
  index_t warmup_steps = 30;
  ScheduleKind schedule = ScheduleKind::kCosine;
  double beta1 = 0.9, beta2 = 0.95, weight_decay = 0.0;
  double clip_norm = 1.0;              ///< 0: no clipping
  std::uint64_t seed = 0;              ///< of the batches
  index_t delay_fake_quant_steps = 0;  ///< steps trained in floating point before fake quantization is switched on
};

struct StepReport {
  index_t step = 0;  ///< from 0
  double loss = 0.0, grad_norm = 0.0, lr = 0.0, seconds = 0.0;
};

/// Trains model.parameters(); prepared layers are fake-quantized from step delay_fake_quant_steps on.
/// on_step(const StepReport&) is called after each step.
/// @throws qat::Error naming the step if the loss or the gradient is not finite
template <class OnStep>
void train(const CpuBackend& backend, nn::Transformer& model, std::span<const std::int32_t> tokens,
           const TrainConfig& config, OnStep&& on_step) {
  QAT_CHECK(
      config.steps >= 0 && config.accumulation >= 1 && config.warmup_steps >= 0 && config.warmup_steps <= config.steps,
      kInvalidArgument, "train: steps is ", config.steps, ", warmup_steps ", config.warmup_steps, ", accumulation ",
      config.accumulation, "; accepted: steps >= 0, 0 <= warmup_steps <= steps, accumulation >= 1");
  if (config.steps == 0) return;
  const BatchSampler sampler(tokens, config.batch, config.length, config.seed);
  const std::vector<Parameter*> parameters = model.parameters();
  AdamW optimizer(parameters, {config.lr, config.beta1, config.beta2, 1e-8, config.weight_decay});
  const LearningRateSchedule schedule{config.schedule, config.lr, config.lr_floor, config.warmup_steps, config.steps};
  const index_t n = config.batch * config.length;
  std::vector<std::int32_t> inputs(static_cast<std::size_t>(n)), targets(inputs.size());
  set_fake_quantization(model, false);
  for (index_t step = 0; step < config.steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    if (step == config.delay_fake_quant_steps) set_fake_quantization(model, true);
    zero_grad(parameters);
    StepReport report{step, 0.0, 0.0, schedule.at(step), 0.0};
    for (index_t micro = 0; micro < config.accumulation; ++micro) {
      sampler.sample(static_cast<std::uint64_t>(step * config.accumulation + micro), inputs.data(), targets.data());
      Tape tape(backend);
      const Variable loss = model.loss(tape, view(static_cast<const std::int32_t*>(inputs.data()), n),
                                       view(static_cast<const std::int32_t*>(targets.data()), n), config.batch);
      report.loss += static_cast<double>(tape.value(loss)[0]) / static_cast<double>(config.accumulation);
      tape.backward(loss, 1.0f / static_cast<float>(config.accumulation));
    }
    report.grad_norm =
        config.clip_norm > 0.0 ? clip_grad_norm(backend, parameters, config.clip_norm) : grad_norm(backend, parameters);
    QAT_CHECK((std::isfinite)(report.loss) && (std::isfinite)(report.grad_norm), kInvalidArgument, "train: step ", step,
              " has loss ", report.loss, " and gradient norm ", report.grad_norm, "; lower the learning rate (",
              report.lr, ")");
    optimizer.set_learning_rate(report.lr);
    optimizer.step(backend);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    on_step(static_cast<const StepReport&>(report));
  }
  set_fake_quantization(model, true);
}

}  // namespace qat::inline v0::recipe
