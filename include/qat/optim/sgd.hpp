// Stochastic gradient descent as torch.optim.SGD: momentum, dampening, weight decay added to the gradient, Nesterov.
#pragma once

#include <cstdint>

#include "qat/kernels/cpu/optimizer.hpp"
#include "qat/optim/parameter.hpp"

namespace qat::inline v0 {

struct SgdConfig {
  double lr = 1e-3;
  double momentum = 0.0;
  double dampening = 0.0;
  double weight_decay = 0.0;
  bool nesterov = false;
};

/// g += wd p;  u = g at the first step, then momentum u + (1 - dampening) g;  p -= lr (nesterov ? g + momentum u : u)
/// The parameters must outlive the optimizer and stay where they are.
class Sgd {
 public:
  explicit Sgd(std::vector<Parameter*> parameters, const SgdConfig& config = {})
      : parameters_(std::move(parameters)), config_(config) {
    QAT_CHECK(config.momentum >= 0 && config.weight_decay >= 0, kInvalidArgument, "Sgd: momentum is ", config.momentum,
              " and weight_decay ", config.weight_decay, ", neither may be negative");
    QAT_CHECK(!config.nesterov || (config.momentum > 0 && config.dampening == 0), kInvalidArgument,
              "Sgd: nesterov needs momentum > 0 and dampening 0, they are ", config.momentum, " and ",
              config.dampening);
    if (config.momentum == 0.0) return;
    for (const Parameter* parameter : parameters_) buffer_.emplace_back(parameter->value.shape());
  }

  /// One update from the accumulated gradients, which are left as they are.
  void step(const CpuBackend& backend) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Parameter& p = *parameters_[i];
      detail::check_gradient("Sgd", p);
      kernels::sgd(backend, p.value.data(), p.grad.data(), buffer_.empty() ? nullptr : buffer_[i].data(),
                   p.value.size(), static_cast<float>(config_.lr), static_cast<float>(config_.momentum),
                   static_cast<float>(1.0 - config_.dampening), static_cast<float>(config_.weight_decay),
                   config_.nesterov, step_ == 0);
    }
    ++step_;
  }

  double learning_rate() const { return config_.lr; }
  void set_learning_rate(double lr) { config_.lr = lr; }
  const SgdConfig& config() const { return config_; }

  std::int64_t steps() const { return step_; }
  void set_steps(std::int64_t steps) { step_ = steps; }
  std::vector<StateEntry> state() {
    std::vector<StateEntry> entries;
    for (std::size_t i = 0; i < buffer_.size(); ++i)
      entries.push_back({parameters_[i]->name + ".momentum_buffer", &buffer_[i]});
    return entries;
  }

 private:
  std::vector<Parameter*> parameters_;
  SgdConfig config_;
  std::vector<Tensor<float>> buffer_;
  std::int64_t step_ = 0;
};

}  // namespace qat::inline v0
