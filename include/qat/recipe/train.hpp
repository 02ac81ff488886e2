// The training loop: batches of a token stream, AdamW under a schedule, clipping, accumulation, delayed fake
// quantization, averaged weights.
#pragma once

#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "qat/data/token_stream.hpp"
#include "qat/optim/adamw.hpp"
#include "qat/optim/grad_clip.hpp"
#include "qat/optim/schedule.hpp"
#include "qat/optim/weight_average.hpp"
#include "qat/recipe/prepare.hpp"
#include "qat/recipe/training_device.hpp"

namespace qat::inline v0::recipe {

struct TrainConfig {
  index_t steps = 600;
  index_t batch = 8;         ///< sequences of one micro-batch
  index_t length = 256;      ///< tokens of a sequence
  index_t accumulation = 1;  ///< micro-batches of one step; every target of a step counts the same
  double lr = 3e-4;          ///< peak
  double lr_floor = 0.0;     ///< where linear and cosine end
  index_t warmup_steps = 30;
  ScheduleKind schedule = ScheduleKind::kCosine;
  double beta1 = 0.9, beta2 = 0.95, weight_decay = 0.0;
  double scale_lr = 0.1;               ///< learning rate of learned scales, over lr; they have no weight decay
  double clip_norm = 1.0;              ///< 0: no clipping
  std::uint64_t seed = 0;              ///< of the batches
  index_t delay_fake_quant_steps = 0;  ///< steps trained in floating point before fake quantization is switched on
  double ema_decay = 0.0;  ///< of the moving average of weights that is scored and shipped; 0: the weights themselves
};

struct StepReport {
  index_t step = 0;  ///< from 0
  double loss = 0.0, grad_norm = 0.0, lr = 0.0, seconds = 0.0;
  index_t rows = 0, targets = 0;  ///< tokens read; targets that count
  /// Parts of seconds; the rest: clipping, optimizer, batches. On a device the forward pass counts as backward.
  double forward_seconds = 0.0, backward_seconds = 0.0;
};

/// The state of a run: optimizer, schedule and batches. The model, the tokens and the backend must outlive it.
class Trainer {
 public:
  /// @throws qat::Error naming settings or tokens that do not make a run
  Trainer(const CpuBackend& backend, nn::Transformer& model, std::span<const std::int32_t> tokens,
          const TrainConfig& config)
      : Trainer(backend, model, std::make_unique<BatchSampler>(tokens, config.batch, config.length, config.seed),
                config) {}
  /// Batches from a source; batch and length of the configuration are the source's business then. device: computes the
  /// steps; null: the CPU does
  Trainer(const CpuBackend& backend, nn::Transformer& model, std::unique_ptr<BatchSource> batches,
          const TrainConfig& config, std::shared_ptr<TrainingDevice> device = nullptr)
      : backend_(backend),
        model_(model),
        config_(checked(config)),
        batches_(std::move(batches)),
        device_(std::move(device)),
        parameters_(model.parameters()),
        scales_(learned_scales(model)),
        optimizer_(parameters_, {config.lr, config.beta1, config.beta2, 1e-8, config.weight_decay}),
        scale_optimizer_(scales_, {config.lr, config.beta1, config.beta2, 1e-8, 0.0}),
        schedule_{config.schedule, config.lr, config.lr_floor, config.warmup_steps, config.steps} {
    all_ = parameters_;
    all_.insert(all_.end(), scales_.begin(), scales_.end());
    if (config.ema_decay > 0.0) {
      average_.emplace(parameters_, config.ema_decay);
      scale_average_.emplace(scales_, config.ema_decay);
    }
    set_fake_quantization(model, false);
    if (device_ == nullptr) return;
    device_->upload(host_state());
    model.set_scoring_device(device_);
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;
  ~Trainer() {
    if (device_ != nullptr) model_.set_scoring_device(nullptr);
  }

  bool done() const { return next_ >= config_.steps; }
  const TrainConfig& config() const { return config_; }
  nn::Transformer& model() { return model_; }
  const TrainingDevice* device() const { return device_.get(); }

  /// The step that step() takes next, which is the number of steps done: with state() and scales_begun(), everything
  /// that the rest of the run depends on, for batches and learning rates are functions of the step.
  index_t next_step() const { return next_; }
  /// Every tensor that steps change, each under its own name: weights, learned scales with their zero points, moments,
  /// averages. Not while averages are in use.
  std::vector<StateEntry> state() {
    check_own_weights();
    std::vector<StateEntry> entries = host_state();
    if (device_ != nullptr) device_->download(entries);
    return entries;
  }
  /// True once learned scales have their first values: from the first fake-quantized step on.
  bool scales_begun() {
    for (const nn::LearnedScales& learned : learned_scale_states(model_))
      if (!*learned.begun) return false;
    return !scales_.empty();
  }
  /// Whether the last step was fake-quantized, and the model is so now.
  bool fake_quantized() const { return next_ > config_.delay_fake_quant_steps; }
  /// With ema_decay: puts the averaged weights and learned scales into the model, or the trained ones back. Else
  /// nothing.
  void use_average(bool on) {
    if (!average_ || next_ == 0 || average_in_use_ == on) return;
    average_in_use_ = on;
    if (device_ != nullptr) device_->swap_averages(fake_quantized());
    if (device_ != nullptr && !finished_) return;  // the model's own weights are old
    average_->stand_in(on);
    if (fake_quantized()) scale_average_->stand_in(on);  // scales begin with fake quantization, so do their averages
  }
  /// Leaves the model as it is scored and shipped: fake-quantized, with its averaged weights where there are such.
  void finish() {
    set_fake_quantization(model_, true);
    if (device_ != nullptr) device_->download(host_state());
    finished_ = true;
    use_average(true);
  }
  /// Goes on at a step, with what state() points to set to its values there.
  void seek(index_t step, bool scales_begun) {
    QAT_CHECK(step >= 0 && step <= config_.steps, kInvalidArgument, "train: step ", step, " of a run of ",
              config_.steps, " steps");
    next_ = step;
    optimizer_.set_steps(step);
    scale_optimizer_.set_steps(step);
    for (const nn::LearnedScales& learned : learned_scale_states(model_)) *learned.begun = scales_begun;
    set_fake_quantization(model_, fake_quantized());
    if (device_ != nullptr) device_->upload(host_state());
  }

  /// One step. Prepared layers are fake-quantized from step delay_fake_quant_steps on.
  /// @throws qat::Error naming the step if the loss or the gradient is not finite
  StepReport step() {
    check_own_weights();
    const auto start = std::chrono::steady_clock::now();
    if (next_ == config_.delay_fake_quant_steps) set_fake_quantization(model_, true);
    StepReport report;
    report.step = next_;
    report.lr = schedule_.at(next_);
    add_gradients(report);
    if (device_ != nullptr) {
      report.grad_norm = device_->measure_gradients();
    } else {
      report.grad_norm =
          config_.clip_norm > 0.0 ? clip_grad_norm(backend_, all_, config_.clip_norm) : grad_norm(backend_, all_);
    }
    QAT_CHECK((std::isfinite)(report.loss) && (std::isfinite)(report.grad_norm), kInvalidArgument, "train: step ",
              next_, " has loss ", report.loss, " and gradient norm ", report.grad_norm, "; lower the learning rate (",
              report.lr, ")");
    if (device_ != nullptr) {
      device_->update(report.lr, next_ + 1);
    } else {
      optimizer_.set_learning_rate(report.lr);
      optimizer_.step(backend_);
      scale_optimizer_.set_learning_rate(report.lr * config_.scale_lr);
      scale_optimizer_.step(backend_);
    }
    if (average_) update_averages();
    report.seconds = seconds_since(start);
    ++next_;
    return report;
  }

 private:
  static const TrainConfig& checked(const TrainConfig& c) {
    QAT_CHECK(c.steps >= 0 && c.accumulation >= 1 && c.warmup_steps >= 0 && c.warmup_steps <= c.steps, kInvalidArgument,
              "train: steps is ", c.steps, ", warmup_steps ", c.warmup_steps, ", accumulation ", c.accumulation,
              "; accepted: steps >= 0, 0 <= warmup_steps <= steps, accumulation >= 1");
    QAT_CHECK(c.ema_decay >= 0.0 && c.ema_decay < 1.0, kInvalidArgument, "train: ema_decay is ", c.ema_decay,
              "; accepted: 0 (off) up to, not with, 1");
    return c;
  }
  void check_own_weights() const {
    QAT_CHECK(!average_in_use_, kInvalidArgument,
              "train: the model has its averaged weights; use_average(false) first");
  }
  /// Losses and gradients of the step's micro-batches.
  void add_gradients(StepReport& report) {
    if (device_ == nullptr) zero_grad(all_);
    const auto number = [&](index_t micro) { return static_cast<std::uint64_t>(next_ * config_.accumulation + micro); };
    for (index_t micro = 0; micro < config_.accumulation; ++micro)
      report.targets += batches_->counted_targets(number(micro));
    const auto all = static_cast<double>(report.targets);
    for (index_t micro = 0; micro < config_.accumulation; ++micro) {
      batches_->sample(number(micro), batch_);
      const auto rows = static_cast<index_t>(batch_.inputs.size());
      report.rows += rows;
      const auto begin = std::chrono::steady_clock::now();
      if (device_ != nullptr) {
        report.loss += device_->backward(batch_, static_cast<float>(1.0 / all), micro > 0) / all;
        report.backward_seconds += seconds_since(begin);
        continue;
      }
      Tape tape(backend_);
      ops::CrossEntropyResult stats;
      const Variable loss = model_.loss(tape, view(std::as_const(batch_.inputs).data(), rows),
                                        view(std::as_const(batch_.targets).data(), rows), batch_.sequences, &stats);
      const auto part = static_cast<double>(stats.targets);
      report.loss += static_cast<double>(tape.value(loss)[0]) * part / all;
      report.forward_seconds += seconds_since(begin);
      const auto turn = std::chrono::steady_clock::now();
      tape.backward(loss, static_cast<float>(part / all));
      report.backward_seconds += seconds_since(turn);
    }
  }
  void update_averages() {
    const bool scales = next_ >= config_.delay_fake_quant_steps, first_scales = next_ == config_.delay_fake_quant_steps;
    if (device_ != nullptr) {
      device_->update_averages(false, next_ == 0);
      if (scales) device_->update_averages(true, first_scales);
    } else {
      average_->update(backend_, next_ == 0);
      if (scales) scale_average_->update(backend_, first_scales);
    }
  }
  /// What state() lists, as the tensors here are.
  std::vector<StateEntry> host_state() {
    std::vector<StateEntry> entries;
    for (Parameter* p : all_) entries.push_back({p->name, &p->value});
    for (const nn::LearnedScales& learned : learned_scale_states(model_))
      if (learned.zero_point != nullptr) entries.push_back({learned.scale->name + ".zero_point", learned.zero_point});
    for (AdamW* optimizer : {&optimizer_, &scale_optimizer_})
      for (StateEntry& entry : optimizer->state()) entries.push_back(std::move(entry));
    for (std::optional<WeightAverage>* average : {&average_, &scale_average_})
      if (*average)
        for (StateEntry& entry : (*average)->state()) entries.push_back(std::move(entry));
    return entries;
  }
  static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  const ScopedTensorCache cache_;  // every step allocates what the one before has freed
  const CpuBackend& backend_;
  nn::Transformer& model_;
  TrainConfig config_;
  std::unique_ptr<BatchSource> batches_;
  std::shared_ptr<TrainingDevice> device_;
  std::vector<Parameter*> parameters_, scales_, all_;
  AdamW optimizer_, scale_optimizer_;
  std::optional<WeightAverage> average_, scale_average_;
  bool average_in_use_ = false;
  bool finished_ = false;  // what the device had is in the model
  LearningRateSchedule schedule_;
  TrainingBatch batch_;
  index_t next_ = 0;
};

/// Trains model.parameters() and learned_scales(model); prepared layers are fake-quantized from step
/// delay_fake_quant_steps on, and at the end, when the model has its averaged weights if ema_decay asks for them.
/// on_step(const StepReport&) is called after each step.
/// @throws qat::Error as Trainer
template <class OnStep>
void train(const CpuBackend& backend, nn::Transformer& model, std::span<const std::int32_t> tokens,
           const TrainConfig& config, OnStep&& on_step) {
  if (config.steps == 0) return;
  Trainer trainer(backend, model, tokens, config);
  while (!trainer.done()) {
    const StepReport report = trainer.step();
    on_step(report);
  }
  trainer.finish();
}

}  // namespace qat::inline v0::recipe
