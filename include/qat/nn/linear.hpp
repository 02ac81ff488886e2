// Linear layer with a slot for quantization.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "qat/autodiff/functions.hpp"
#include "qat/kernels/cpu/backward_operands.hpp"
#include "qat/quantizer/quantized_activation.hpp"

namespace qat::inline v0::nn {

class Linear;

/// What stands between a linear layer and its float product: fake-quantizers during training (put in by prepare) or
/// packed integer weights (put in by convert). The layer calls it instead of the float product; it owns its own state.
class LinearQuantization {
 public:
  virtual ~LinearQuantization() = default;

  /// The scheme of the activation; empty if it enters in floating point. The layer quantizes it, on a tape once for all
  /// layers that read the same variable.
  virtual std::optional<QuantSpec> activation() const = 0;
  /// Which elements of the activation pass their gradient.
  virtual SteMask activation_mask() const { return SteMask::kInclusive; }

  /// Brings what the other functions multiply with up to date with layer.weight(). Runs before a forward pass.
  virtual void refresh(const CpuBackend&, Linear&) {}
  /// y = x W^T + b.   y (N, O); codes of x (N, C) where activation() says so, else null.
  /// Must treat the rows of x alike and independently, so that evaluation may cut them into chunks.
  virtual void forward(const CpuBackend& backend, Linear& layer, View<const float, 2> x,
                       const QuantizedActivation* codes, View<float, 2> y) = 0;

  /// dx by dx_mode: the gradient dy W of what the product reads, which is x or the values that its codes stand for.
  /// @throws qat::Error (kUnsupported) by default: packed weights are not trained
  virtual void input_gradient(const CpuBackend& backend, Linear& layer, View<const float, 2> dy, View<float, 2> dx,
                              GradMode dx_mode);
  /// Adds to layer.weight().grad, given the gradient of the weight as the product reads it.   dweight (O, C)
  /// @throws qat::Error (kUnsupported) by default
  virtual void add_weight_gradient(const CpuBackend& backend, Linear& layer, const Tensor<float>& dweight);

  /// Bytes that stay resident for the weight besides layer.weight(): packed codes and scales.
  virtual index_t resident_bytes() const { return 0; }
};

/// y = x W^T + b, or what quantization() makes of it. The weight may be shared with an embedding (tied head).
class Linear {
 public:
  Linear() = default;
  /// Zero weights. `name` is the prefix of the parameters: name + ".weight", name + ".bias".
  Linear(std::string name, index_t in_features, index_t out_features, bool bias = false)
      : name_(std::move(name)), in_features_(in_features), out_features_(out_features) {
    weight_ = std::make_shared<Parameter>(name_ + ".weight", Tensor<float>({out_features, in_features}));
    if (bias) bias_ = std::make_unique<Parameter>(name_ + ".bias", Tensor<float>({out_features}));
  }
  /// A head that multiplies by an embedding's table.
  Linear(std::string name, std::shared_ptr<Parameter> tied_weight)
      : name_(std::move(name)),
        in_features_(tied_weight->value.dim(1)),
        out_features_(tied_weight->value.dim(0)),
        weight_(std::move(tied_weight)) {}

  const std::string& name() const { return name_; }
  index_t in_features() const { return in_features_; }
  index_t out_features() const { return out_features_; }
  /// (O, C). Its value is empty once convert has replaced it by packed weights.
  Parameter& weight() { return *weight_; }
  const Parameter& weight() const { return *weight_; }
  const std::shared_ptr<Parameter>& shared_weight() const { return weight_; }
  bool weight_is_shared() const { return weight_.use_count() > 1; }
  Parameter* bias() { return bias_.get(); }  // (O), null without
  const Parameter* bias() const { return bias_.get(); }

  LinearQuantization* quantization() const { return quantization_.get(); }
  /// Null gives the float layer back. Returns what was there.
  std::unique_ptr<LinearQuantization> set_quantization(std::unique_ptr<LinearQuantization> quantization) {
    return std::exchange(quantization_, std::move(quantization));
  }

  /// Without a tape: nothing is saved.   x (N, C), y (N, O)
  void forward(const CpuBackend& backend, View<const float, 2> x, View<float, 2> y) {
    refresh(backend);
    forward_refreshed(backend, x, y);
  }
  /// What forward does before it multiplies. Rows that come in pieces need it once, and then forward_refreshed each.
  void refresh(const CpuBackend& backend) {
    if (quantization_ != nullptr) quantization_->refresh(backend, *this);
  }
  void forward_refreshed(const CpuBackend& backend, View<const float, 2> x, View<float, 2> y) {
    check_input(x.shape[1]);
    if (quantization_ != nullptr) {
      const std::optional<QuantSpec> activation = quantization_->activation();
      if (!activation) return quantization_->forward(backend, *this, x, nullptr, y);
      const QuantizedActivation codes = quantize_activation(backend, *activation, x, name_.c_str());
      return quantization_->forward(backend, *this, x, &codes, y);
    }
    ops::linear(backend, x, std::as_const(weight_->value).view<2>(), bias_ == nullptr ? nullptr : bias_->value.data(),
                y);
  }

  /// On a tape.   x (N, C); returns (N, O). The layer must outlive the tape's use.
  Variable forward(Tape& tape, Variable x);

 private:
  void check_input(index_t features) const {
    QAT_CHECK(features == in_features_, kShapeMismatch, name_, ": the input has ", features,
              " features, the layer takes ", in_features_);
  }

  std::string name_;
  index_t in_features_ = 0, out_features_ = 0;
  std::shared_ptr<Parameter> weight_;
  std::unique_ptr<Parameter> bias_;
  std::unique_ptr<LinearQuantization> quantization_;
};

inline void LinearQuantization::input_gradient(const CpuBackend&, Linear& layer, View<const float, 2>, View<float, 2>,
                                               GradMode) {
  raise(ErrorCode::kUnsupported, layer.name(), ": packed weights have no gradient; train before convert");
}
inline void LinearQuantization::add_weight_gradient(const CpuBackend&, Linear& layer, const Tensor<float>&) {
  raise(ErrorCode::kUnsupported, layer.name(), ": packed weights have no gradient; train before convert");
}

/// dweight (+)= dy^T x, where x (N, C) is read if codes is null, and the values of the codes otherwise.
inline void product_weight_gradient(const CpuBackend& backend, View<const float, 2> x, const QuantizedActivation* codes,
                                    View<const float, 2> dy, Tensor<float>& dweight, GradMode mode) {
  const index_t columns = dweight.dim(1);
  const auto product = [&](const auto& operand) {
    kernels::gemm(backend, dweight.dim(0), columns, dy.shape[0],
                  kernels::MatrixOperand{dy.data, dy.stride[1], dy.stride[0]}, operand, dweight.data(), columns,
                  mode == GradMode::kAccumulate);
  };
  if (codes == nullptr) return product(kernels::MatrixOperand{x.data, x.stride[1], x.stride[0]});
  if (codes->has_row_parameters())
    return product(
        kernels::ActivationColumns{codes->codes.data(), columns, codes->scale.data(), codes->zero_point.data()});
  const Tensor<float> values = codes->dequantize(backend);  // (N, C)
  product(kernels::MatrixOperand{values.data(), 1, columns});
}

/// The codes of a variable on a tape, made once for all layers that read it.
struct SharedCodes {
  QuantizedActivation activation;
  Variable node;  ///< collects the gradient of the fake-quantized activation
};

namespace detail {
/// Every reader's gradient has been summed when this runs, so the straight-through estimator takes one pass, in place.
struct ActivationRecord {
  Variable x;
  std::shared_ptr<const SharedCodes> codes;
  void backward(Tape& tape, Tensor<float> dy) {
    codes->activation.backward(tape.backend(), dy.data(), dy.data(), false);
    tape.give(x, std::move(dy));
  }
};
struct QuantizedLinearRecord {
  Linear* layer;
  Variable x;  // the input, or the node of its codes
  std::shared_ptr<const SharedCodes> codes;
  void backward(Tape& tape, Tensor<float> dy) {
    const GradTarget dx = tape.target(x);
    const View<const float, 2> x_value = codes == nullptr ? tape.value(x).matrix() : View<const float, 2>{};
    const View<const float, 2> upstream = std::as_const(dy).matrix();
    const CpuBackend& backend = tape.backend();
    LinearQuantization& quantization = *layer->quantization();
    if (dx.mode != GradMode::kSkip) quantization.input_gradient(backend, *layer, upstream, dx.matrix(), dx.mode);
    Tensor<float> dweight = Tensor<float>::uninitialized({layer->out_features(), layer->in_features()});
    product_weight_gradient(backend, x_value, codes == nullptr ? nullptr : &codes->activation, upstream, dweight,
                            GradMode::kOverwrite);
    quantization.add_weight_gradient(backend, *layer, dweight);
    if (layer->bias() != nullptr)
      ops::sum_rows(backend, upstream, layer->bias()->ensure_grad().flat(), GradMode::kAccumulate);
    if (codes == nullptr) tape.unsave(x);
  }
};

inline std::shared_ptr<const SharedCodes> shared_codes(Tape& tape, Variable x, const QuantSpec& spec, SteMask mask,
                                                       const char* name) {
  std::shared_ptr<const SharedCodes> shared = tape.derived<SharedCodes>(x);
  if (shared != nullptr && shared->activation.spec == spec && shared->activation.mask == mask) return shared;
  const auto codes = std::make_shared<SharedCodes>();
  codes->activation = quantize_activation(tape.backend(), spec, tape.value(x).matrix(), name, mask);
  const Shape shape = {codes->activation.rows, codes->activation.columns};
  codes->node = tape.record_without_value(shape, tape.needs_grad(x), ActivationRecord{x, codes});
  tape.set_derived<SharedCodes>(x, codes);
  return codes;
}
}  // namespace detail

inline Variable Linear::forward(Tape& tape, Variable x) {
  check_input(tape.value(x).dim(tape.value(x).rank() - 1));
  if (quantization_ == nullptr) {
    return autodiff::linear(tape, x, tape.parameter(*weight_), bias_ == nullptr ? Variable{} : tape.parameter(*bias_));
  }
  detail::QuantizedLinearRecord record{this, x, nullptr};
  if (const std::optional<QuantSpec> activation = quantization_->activation()) {
    record.codes = detail::shared_codes(tape, x, *activation, quantization_->activation_mask(), name_.c_str());
    record.x = record.codes->node;
  } else {
    tape.save(x);
  }
  const Tensor<float>& x_value = tape.value(x);
  Tensor<float> y = Tensor<float>::uninitialized({x_value.size() / in_features_, out_features_});
  quantization_->refresh(tape.backend(), *this);
  quantization_->forward(tape.backend(), *this, x_value.matrix(),
                         record.codes == nullptr ? nullptr : &record.codes->activation, y.matrix());
  return tape.record(std::move(y), true, std::move(record));
}

}  // namespace qat::inline v0::nn
