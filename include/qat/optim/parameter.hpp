// A trained tensor with its gradient: what layers own and optimizers update.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// grad is empty until zero_grad() or the first backward pass allocates it; backward passes add to it. Gradients of
/// several micro-batches accumulate by calling backward several times before one optimizer step and zero_grad(); for
/// the mean over k micro-batches of equal size, seed each backward with 1 / k.
struct Parameter {
  std::string name;
  Tensor<float> value;
  Tensor<float> grad;

  Parameter() = default;
  Parameter(std::string parameter_name, Tensor<float> initial)
      : name(std::move(parameter_name)), value(std::move(initial)) {}

  /// Allocates the gradient if needed and sets it to zero.
  void zero_grad() {
    if (grad.shape() == value.shape()) {
      grad.fill(0.0f);
    } else {
      grad = Tensor<float>(value.shape());
    }
  }
  /// The gradient, allocated as zeros at first use.
  Tensor<float>& ensure_grad() {
    if (!(grad.shape() == value.shape())) grad = Tensor<float>(value.shape());
    return grad;
  }
};

inline void zero_grad(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters) parameter->zero_grad();
}

/// One tensor of an optimizer's state under a name unique within the optimizer: what a checkpoint saves and restores.
struct StateEntry {
  std::string name;
  Tensor<float>* tensor;
};

namespace detail {
inline void check_gradient(const char* who, const Parameter& parameter) {
  QAT_CHECK(parameter.grad.shape() == parameter.value.shape(), kShapeMismatch, who, ": the gradient of '",
            parameter.name, "' has shape ", to_string(parameter.grad.shape()), ", the value ",
            to_string(parameter.value.shape()), "; run backward before the step");
}
}  // namespace detail

}  // namespace qat::inline v0
