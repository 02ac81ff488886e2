// RMSNorm layer.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "qat/autodiff/functions.hpp"

namespace qat::inline v0::nn {

class RmsNorm {
 public:
  RmsNorm() = default;
  /// Weights of one.
  RmsNorm(std::string name, index_t features, float eps)
      : weight_(std::make_unique<Parameter>(name + ".weight", Tensor<float>::uninitialized({features}))), eps_(eps) {
    weight_->value.fill(1.0f);
  }

  Parameter& weight() { return *weight_; }  // (C)
  const Parameter& weight() const { return *weight_; }
  float eps() const { return eps_; }

  /// Without a tape.   x, y (N, C), may be the same
  void forward(const CpuBackend& backend, View<const float, 2> x, View<float, 2> y) const {
    ops::rmsnorm(backend, x, std::as_const(weight_->value).view<1>(), eps_, y);
  }
  Variable forward(Tape& tape, Variable x) { return autodiff::rmsnorm(tape, x, tape.parameter(*weight_), eps_); }

 private:
  std::unique_ptr<Parameter> weight_;
  float eps_ = 1e-5f;
};

}  // namespace qat::inline v0::nn
