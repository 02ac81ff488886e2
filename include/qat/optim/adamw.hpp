// AdamW as torch.optim.AdamW: decoupled weight decay, bias correction, eps outside the square root.
#pragma once

#include <cmath>
#include <cstdint>

#include "qat/kernels/cpu/optimizer.hpp"
#include "qat/optim/parameter.hpp"

namespace qat::inline v0 {

struct AdamWConfig {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
};

/// p = p (1 - lr wd);  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t))
/// + eps) Source: Loshchilov and Hutter 2019, in the order of operations of torch.optim.AdamW's single-tensor form. The
/// parameters must outlive the optimizer and stay where they are. Same bits for any number of threads.
class AdamW {
 public:
  explicit AdamW(std::vector<Parameter*> parameters, const AdamWConfig& config = {})
      : parameters_(std::move(parameters)), config_(config) {
    QAT_CHECK(config.beta1 >= 0 && config.beta1 < 1 && config.beta2 >= 0 && config.beta2 < 1, kInvalidArgument,
              "AdamW: beta1 is ", config.beta1, " and beta2 ", config.beta2, ", both must be in [0, 1)");
    QAT_CHECK(config.eps >= 0 && config.weight_decay >= 0, kInvalidArgument, "AdamW: eps is ", config.eps,
              " and weight_decay ", config.weight_decay, ", neither may be negative");
    mean_.reserve(parameters_.size());
    square_.reserve(parameters_.size());
    for (const Parameter* parameter : parameters_) {
      mean_.emplace_back(parameter->value.shape());
      square_.emplace_back(parameter->value.shape());
    }
  }

  /// One update from the accumulated gradients, which are left as they are.
  void step(const CpuBackend& backend) {
    ++step_;
    const kernels::AdamWFactors factors =
        kernels::adamw_factors(config_.lr, config_.beta1, config_.beta2, config_.eps, config_.weight_decay, step_);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Parameter& p = *parameters_[i];
      detail::check_gradient("AdamW", p);
      kernels::adamw(backend, p.value.data(), p.grad.data(), mean_[i].data(), square_[i].data(), p.value.size(),
                     factors);
    }
  }

  double learning_rate() const { return config_.lr; }
  void set_learning_rate(double lr) { config_.lr = lr; }
  const AdamWConfig& config() const { return config_; }

  /// Updates done so far; with state(), everything a resumed run needs to go on bit for bit.
  std::int64_t steps() const { return step_; }
  void set_steps(std::int64_t steps) { step_ = steps; }
  std::vector<StateEntry> state() {
    std::vector<StateEntry> entries;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      entries.push_back({parameters_[i]->name + ".exp_avg", &mean_[i]});
      entries.push_back({parameters_[i]->name + ".exp_avg_sq", &square_[i]});
    }
    return entries;
  }

 private:
  std::vector<Parameter*> parameters_;
  AdamWConfig config_;
  std::vector<Tensor<float>> mean_, square_;
  std::int64_t step_ = 0;
};

}  // namespace qat::inline v0
