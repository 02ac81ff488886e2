// Normalization layers: RMSNorm, Gemma's with a weight around zero, LayerNorm.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "qat/autodiff/functions.hpp"
#include "qat/nn/llama_config.hpp"

namespace qat::inline v0::nn {

class Norm {
 public:
  Norm() = default;
  /// The normalization without more: weights of one (kRmsPlusOne: of zero), biases of zero.
  Norm(std::string name, index_t features, float eps, NormKind kind = NormKind::kRms)
      : name_(std::move(name)),
        weight_(std::make_unique<Parameter>(name_ + ".weight", Tensor<float>({features}))),
        eps_(eps),
        kind_(kind) {
    if (kind == NormKind::kLayerNorm) bias_ = std::make_unique<Parameter>(name_ + ".bias", Tensor<float>({features}));
    reset();
  }

  const std::string& name() const { return name_; }
  Parameter& weight() { return *weight_; }  // (C)
  const Parameter& weight() const { return *weight_; }
  Parameter* bias() { return bias_.get(); }  // (C), null without
  const Parameter* bias() const { return bias_.get(); }
  float eps() const { return eps_; }
  NormKind kind() const { return kind_; }

  void reset() {
    weight_->value.fill(kind_ == NormKind::kRmsPlusOne ? 0.0f : 1.0f);
    if (bias_ != nullptr) bias_->value.fill(0.0f);
  }

  /// Without a tape.   x, y (N, C), may be the same
  void forward(const CpuBackend& backend, View<const float, 2> x, View<float, 2> y) const {
    const View<const float, 1> weight = std::as_const(weight_->value).view<1>();
    switch (kind_) {
      case NormKind::kRms:
        return ops::rmsnorm(backend, x, weight, eps_, y);
      case NormKind::kRmsPlusOne: {
        Tensor<float> factor = weight_->value.clone();
        for (float& w : factor) w += 1.0f;
        return ops::rmsnorm(backend, x, std::as_const(factor).view<1>(), eps_, y);
      }
      case NormKind::kLayerNorm:
        return ops::layernorm(backend, x, weight, std::as_const(bias_->value).view<1>(), eps_, y);
    }
  }
  /// On a tape, over rows of C.   x (N, k C); returns the same shape
  Variable forward(Tape& tape, Variable x) {
    const Variable weight = tape.parameter(*weight_);
    switch (kind_) {
      case NormKind::kRms:
        break;
      case NormKind::kRmsPlusOne:
        return autodiff::rmsnorm(tape, x, autodiff::shift(tape, weight, 1.0f), eps_);
      case NormKind::kLayerNorm:
        return autodiff::layernorm(tape, x, weight, tape.parameter(*bias_), eps_);
    }
    return autodiff::rmsnorm(tape, x, weight, eps_);
  }

 private:
  std::string name_;
  std::unique_ptr<Parameter> weight_, bias_;
  float eps_ = 1e-5f;
  NormKind kind_ = NormKind::kRms;
};

}  // namespace qat::inline v0::nn
