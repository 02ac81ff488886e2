// An exponential moving average of parameters, which can stand in for them.
#pragma once

#include <utility>
#include <vector>

#include "qat/kernels/cpu/optimizer.hpp"
#include "qat/optim/parameter.hpp"

namespace qat::inline v0 {

/// average = value at the first update, then average += (value - average) * (1 - decay), in fp32.
/// Source: torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay). The parameters must outlive it and
/// stay where they are. Same bits for any number of threads.
class WeightAverage {
 public:
  /// @throws qat::Error unless 0 < decay < 1
  WeightAverage(std::vector<Parameter*> parameters, double decay)
      : parameters_(std::move(parameters)), weight_(static_cast<float>(1.0 - decay)) {
    QAT_CHECK(decay > 0.0 && decay < 1.0, kInvalidArgument, "WeightAverage: decay is ", decay,
              ", must be above 0 and below 1");
    averages_.reserve(parameters_.size());
    for (const Parameter* parameter : parameters_) averages_.emplace_back(parameter->value.shape());
  }

  /// After an optimizer's step. is_first: nothing before it counts
  void update(const CpuBackend& backend, bool is_first) {
    QAT_CHECK(!stands_in_, kInvalidArgument, "WeightAverage: its parameters are averages now; swap back to train");
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const Tensor<float>& value = parameters_[i]->value;
      kernels::update_average(backend, value.data(), averages_[i].data(), value.size(), is_first ? 1.0f : weight_);
    }
  }

  /// Exchanges the parameters' values with their averages, in time that depends on the number of parameters alone.
  void stand_in(bool on) {
    if (std::exchange(stands_in_, on) == on) return;
    for (std::size_t i = 0; i < parameters_.size(); ++i) std::swap(parameters_[i]->value, averages_[i]);
  }

  /// Together with the parameters' own values, everything a resumed run needs; meaningful while they do not stand in.
  std::vector<StateEntry> state() {
    std::vector<StateEntry> entries;
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      entries.push_back({parameters_[i]->name + ".average", &averages_[i]});
    return entries;
  }

 private:
  std::vector<Parameter*> parameters_;
  std::vector<Tensor<float>> averages_;
  float weight_;
  bool stands_in_ = false;
};

}  // namespace qat::inline v0
