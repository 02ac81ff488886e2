// Linear layer with a slot for quantization.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "qat/autodiff/functions.hpp"
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

  /// y = x W^T + b.   y (N, O); codes of x (N, C) where activation() says so, else null.
  /// Must treat the rows of x alike and independently, so that evaluation may cut them into chunks.
  virtual void forward(const CpuBackend& backend, Linear& layer, View<const float, 2> x,
                       const QuantizedActivation* codes, View<float, 2> y) = 0;

  /// Adds to layer.weight().grad and layer.bias()->grad, and writes dx by dx_mode. codes as given to forward; x
  /// likewise, but empty where there are codes.
  /// @throws qat::Error (kUnsupported) by default: packed weights are not trained
  virtual void backward(const CpuBackend& backend, Linear& layer, View<const float, 2> x,
                        const QuantizedActivation* codes, View<const float, 2> dy, View<float, 2> dx, GradMode dx_mode);

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

inline void LinearQuantization::backward(const CpuBackend&, Linear& layer, View<const float, 2>,
                                         const QuantizedActivation*, View<const float, 2>, View<float, 2>, GradMode) {
  raise(ErrorCode::kUnsupported, layer.name(), ": packed weights have no gradient; train before convert");
}

namespace detail {
struct QuantizedLinearRecord {
  Linear* layer;
  Variable x;
  std::shared_ptr<const QuantizedActivation> codes;
  void backward(Tape& tape, Tensor<float> dy) {
    const GradTarget dx = tape.target(x);
    const View<const float, 2> x_value = codes == nullptr ? tape.value(x).matrix() : View<const float, 2>{};
    layer->quantization()->backward(tape.backend(), *layer, x_value, codes.get(), std::as_const(dy).matrix(),
                                    dx.matrix(), dx.mode);
    if (codes == nullptr) tape.unsave(x);
  }
};

/// The codes of x under the scheme, made once per variable.
inline std::shared_ptr<const QuantizedActivation> shared_codes(Tape& tape, Variable x, const QuantSpec& spec,
                                                               SteMask mask, const char* name) {
  std::shared_ptr<const QuantizedActivation> codes = tape.derived<QuantizedActivation>(x);
  if (codes != nullptr && codes->spec == spec && codes->mask == mask) return codes;
  codes = std::make_shared<const QuantizedActivation>(
      quantize_activation(tape.backend(), spec, tape.value(x).matrix(), name, mask));
  tape.set_derived(x, codes);
  return codes;
}
}  // namespace detail

inline Variable Linear::forward(Tape& tape, Variable x) {
  const Tensor<float>& x_value = tape.value(x);
  check_input(x_value.dim(x_value.rank() - 1));
  if (quantization_ == nullptr) {
    return autodiff::linear(tape, x, tape.parameter(*weight_), bias_ == nullptr ? Variable{} : tape.parameter(*bias_));
  }
  detail::QuantizedLinearRecord record{this, x, nullptr};
  if (const std::optional<QuantSpec> activation = quantization_->activation())
    record.codes = detail::shared_codes(tape, x, *activation, quantization_->activation_mask(), name_.c_str());
  Tensor<float> y = Tensor<float>::uninitialized({x_value.size() / in_features_, out_features_});
  quantization_->forward(tape.backend(), *this, x_value.matrix(), record.codes.get(), y.matrix());
  if (record.codes == nullptr) tape.save(x);
  return tape.record(std::move(y), true, std::move(record));
}

}  // namespace qat::inline v0::nn
