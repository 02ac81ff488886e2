// What prepare puts in a linear layer or an embedding: fake quantization during training.
//
// A prepared layer quantizes its weight to the packed form in every forward pass and multiplies with the very function
// that the converted layer calls, so both give the same bits by construction; fake-quantized float weights exist only
// while a backward pass needs them.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "qat/kernels/cpu/lsq.hpp"
#include "qat/kernels/cpu/pack_weight.hpp"
#include "qat/nn/packed_linear.hpp"

namespace qat::inline v0::nn {

namespace detail {
inline void check_finite(const Parameter& weight, index_t nonfinite) {
  QAT_CHECK(nonfinite == 0, kInvalidArgument, weight.name, ": ", nonfinite, " of ", weight.value.size(),
            " weights are NaN or infinite; finite ones are needed");
}
}  // namespace detail

/// Really quantizes a float weight (rows, columns) as spec says, into `packed`, whose storage is used again where it
/// fits. scale and zero_point, if not null, receive the parameters.
/// @throws qat::Error naming the layer if a weight is NaN or infinite, or the group size does not fit
inline void quantize_weight(const CpuBackend& backend, const QuantSpec& spec, const Parameter& weight,
                            PackedWeight& packed, float* scale = nullptr, float* zero_point = nullptr) {
  const index_t rows = weight.value.dim(0), columns = weight.value.dim(1);
  detail::check_finite(
      weight, kernels::quantize_and_pack(backend, spec, weight.value.data(), rows, columns, packed, scale, zero_point));
}
inline PackedWeight quantize_weight(const CpuBackend& backend, const QuantSpec& spec, const Parameter& weight) {
  PackedWeight packed;
  quantize_weight(backend, spec, weight, packed);
  return packed;
}

/// Quantizes weights in the CPU's place, to the same bits.
class PackingDevice {
 public:
  virtual ~PackingDevice() = default;
  /// scale and zero_point: (tiles), those of the codes; null: chosen by the spec, as quantize_weight does
  /// @throws qat::Error as quantize_weight
  virtual PackedWeight pack(const QuantSpec& spec, const Parameter& weight, const float* scale,
                            const float* zero_point) = 0;

 protected:
  PackingDevice() = default;
  PackingDevice(const PackingDevice&) = default;
  PackingDevice& operator=(const PackingDevice&) = default;
};

/// The learned scales of one layer, with what they need to go on where they were: what a checkpoint saves and restores.
struct LearnedScales {
  Parameter* scale;  ///< (tiles)
  Tensor<float>*
      zero_point;  ///< (tiles), chosen when the scales began; null where the mapping's zero point is constant
  bool* begun;     ///< scale has its first values: those that the scheme chose in the first forward pass
};

namespace detail {
/// The fake-quantized weight of the last forward pass and the way back to the float one.
class WeightFakeQuantizer {
 public:
  WeightFakeQuantizer(const QuantSpec& spec, SteMask mask) : spec_(spec), mask_(mask) {}
  const QuantSpec& spec() const { return spec_; }
  SteMask mask() const { return mask_; }
  const PackedWeight& packed() const { return packed_; }

  /// Makes the scales of a weight of this shape a trained parameter (LSQ). They start as those that the scheme chooses
  /// in the first refresh; zero points stay what they are there.
  void learn_scales(std::string name, const Shape& shape) {
    QAT_CHECK(has_learned_scale(spec_), kUnsupported, name, ": ", to_string(spec_),
              " has no learned scales; accepted are mappings with an integer zero point, without a table of levels");
    const index_t tiles = group_layout(spec_.granularity, shape[0], shape[1]).count();
    learned_ = std::make_unique<Parameter>(std::move(name), Tensor<float>({tiles}));
    if (!has_constant_zero_point(spec_.mapping)) zero_point_ = Tensor<float>({tiles});
  }
  /// Nothing unless they are learned.
  std::optional<LearnedScales> learned_scales() {
    if (learned_ == nullptr) return std::nullopt;
    return LearnedScales{learned_.get(), zero_point_.empty() ? nullptr : &zero_point_, &begun_};
  }

  void refresh(const CpuBackend& backend, const Parameter& weight) {
    const index_t rows = weight.value.dim(0), columns = weight.value.dim(1);
    const index_t tiles = group_layout(spec_.granularity, rows, columns).count();
    if (scale_.size() != tiles) scale_ = Tensor<float>::uninitialized({tiles});
    const bool keeps_zero = !has_constant_zero_point(spec_.mapping);
    if (keeps_zero && zero_point_.size() != tiles) zero_point_ = Tensor<float>::uninitialized({tiles});
    float* const zero_point = keeps_zero ? zero_point_.data() : nullptr;
    if (learned_ != nullptr && begun_) {
      take_learned();
      check_finite(weight, kernels::quantize_and_pack_static(backend, spec_, weight.value.data(), rows, columns,
                                                             packed_, scale_.data(), zero_point));
      return;
    }
    quantize_weight(backend, spec_, weight, packed_, scale_.data(), zero_point);
    if (learned_ == nullptr) return;
    for (index_t i = 0; i < tiles; ++i) learned_->value[i] = scale_[i];
    begun_ = true;
  }
  /// Adds the gradient of the fake-quantized weight to that of the float one, and to that of learned scales.
  void backward(const CpuBackend& backend, const Tensor<float>& gradient, Parameter& weight) const {
    const index_t rows = weight.value.dim(0), columns = weight.value.dim(1);
    const float* const zero_point = zero_point_.empty() ? nullptr : zero_point_.data();
    float* const dw = weight.ensure_grad().data();
    if (learned_ == nullptr) {
      kernels::fake_quantize_backward(backend, spec_, gradient.data(), weight.value.data(), rows, columns,
                                      scale_.data(), zero_point, mask_, dw, true);
    } else {
      kernels::lsq_backward(backend, spec_, gradient.data(), weight.value.data(), rows, columns, scale_.data(),
                            zero_point, mask_, kernels::lsq_gradient_scale(spec_, rows, columns), dw, true,
                            learned_->ensure_grad().data(), true);
    }
  }
  /// What a forward pass would multiply with now, given away. device: quantizes it; null: the CPU does
  PackedWeight pack(const CpuBackend& backend, const Parameter& weight, PackingDevice* device = nullptr) {
    if (device == nullptr) {
      refresh(backend, weight);
      return std::move(packed_);
    }
    if (learned_ == nullptr || !begun_) return device->pack(spec_, weight, nullptr, nullptr);
    scale_ = Tensor<float>::uninitialized(learned_->value.shape());
    take_learned();
    return device->pack(spec_, weight, scale_.data(), zero_point_.empty() ? nullptr : zero_point_.data());
  }

 private:
  void take_learned() {
    const AffineScheme scheme(spec_, FloatType::kFloat32);
    for (index_t i = 0; i < scale_.size(); ++i) scale_[i] = stored_scale(learned_->value[i], scheme);
  }

  QuantSpec spec_;
  SteMask mask_;
  PackedWeight packed_;
  Tensor<float> scale_, zero_point_;    // (tiles), the latter empty where it is constant
  std::unique_ptr<Parameter> learned_;  // (tiles)
  bool begun_ = false;                  // learned_ has its first values
};
}  // namespace detail

/// Training forward and backward of a quantized linear layer.
class PreparedLinear final : public LinearQuantization {
 public:
  PreparedLinear(const LayerScheme& scheme, Product product, SteMask mask = SteMask::kInclusive)
      : scheme_(scheme), product_(product), mask_(mask) {
    if (scheme.weight) weight_.emplace(*scheme.weight, mask);
  }

  const LayerScheme& scheme() const { return scheme_; }
  Product product() const { return product_; }
  SteMask mask() const { return mask_; }
  bool enabled() const { return enabled_; }
  /// Off: the float layer (delayed fake quantization).
  void set_enabled(bool enabled) { enabled_ = enabled; }

  /// Makes the scales of the layer's weight a trained parameter (LSQ).
  void learn_scales(const Linear& layer) {
    if (weight_) weight_->learn_scales(layer.name() + ".weight_scale", layer.weight().value.shape());
  }
  std::optional<LearnedScales> learned_scales() { return weight_ ? weight_->learned_scales() : std::nullopt; }
  /// The weight as the next forward pass would multiply it, for convert. The scheme must have one.
  PackedWeight pack(const CpuBackend& backend, const Linear& layer, PackingDevice* device = nullptr) {
    return weight_->pack(backend, layer.weight(), device);
  }

  std::optional<QuantSpec> activation() const override { return enabled_ ? scheme_.activation : std::nullopt; }
  SteMask activation_mask() const override { return mask_; }

  void refresh(const CpuBackend& backend, Linear& layer) override {
    if (enabled_ && weight_) weight_->refresh(backend, layer.weight());
  }
  void forward(const CpuBackend& backend, Linear& layer, View<const float, 2> x, const QuantizedActivation* codes,
               View<float, 2> y) override {
    const float* bias = layer.bias() == nullptr ? nullptr : layer.bias()->value.data();
    if (enabled_ && weight_) {
      packed_linear(backend, x, codes, weight_->packed(), product_, bias, y);
      return;
    }
    const Tensor<float> values = codes == nullptr ? Tensor<float>() : codes->dequantize(backend);  // (N, C)
    ops::linear(backend, codes == nullptr ? x : values.view<2>(), std::as_const(layer.weight().value).view<2>(), bias,
                y);
  }

  void input_gradient(const CpuBackend& backend, Linear& layer, View<const float, 2> dy, View<float, 2> dx,
                      GradMode dx_mode) override {
    const View<const float, 2> w = std::as_const(layer.weight().value).view<2>();
    const auto product = [&](const auto& columns) {
      kernels::gemm(backend, dy.shape[0], w.shape[1], w.shape[0],
                    kernels::MatrixOperand{dy.data, dy.stride[0], dy.stride[1]}, columns, dx.data, dx.stride[0],
                    dx_mode == GradMode::kAccumulate);
    };
    if (enabled_ && weight_) return product(kernels::PackedColumns(weight_->packed()));
    product(kernels::MatrixOperand{w.data, w.stride[1], w.stride[0]});
  }
  void add_weight_gradient(const CpuBackend& backend, Linear& layer, const Tensor<float>& dweight) override {
    if (enabled_ && weight_) return weight_->backward(backend, dweight, layer.weight());
    Tensor<float>& sum = layer.weight().ensure_grad();
    kernels::add(backend, sum.data(), dweight.data(), sum.size(), sum.data());
  }

 private:
  LayerScheme scheme_;
  Product product_;
  SteMask mask_;
  std::optional<detail::WeightFakeQuantizer> weight_;
  bool enabled_ = true;
};

/// Training forward and backward of a quantized embedding: rows of the fake-quantized table.
class PreparedEmbedding final : public EmbeddingQuantization {
 public:
  PreparedEmbedding(const QuantSpec& spec, SteMask mask = SteMask::kInclusive) : weight_(spec, mask) {}

  const QuantSpec& spec() const { return weight_.spec(); }
  SteMask mask() const { return weight_.mask(); }
  bool enabled() const { return enabled_; }
  void set_enabled(bool enabled) { enabled_ = enabled; }

  /// As PreparedLinear's.
  void learn_scales(const Embedding& layer) {
    weight_.learn_scales(layer.name() + ".weight_scale", layer.weight().value.shape());
  }
  std::optional<LearnedScales> learned_scales() { return weight_.learned_scales(); }
  PackedWeight pack(const CpuBackend& backend, const Embedding& layer, PackingDevice* device = nullptr) {
    return weight_.pack(backend, layer.weight(), device);
  }

  void forward(const CpuBackend& backend, Embedding& layer, View<const std::int32_t, 1> tokens,
               View<float, 2> y) override {
    if (!enabled_) return ops::embedding(backend, std::as_const(layer.weight().value).view<2>(), tokens, y);
    weight_.refresh(backend, layer.weight());
    packed_rows(backend, weight_.packed(), tokens, y);
  }
  void backward(const CpuBackend& backend, Embedding& layer, View<const std::int32_t, 1> tokens,
                View<const float, 2> dy) override {
    Parameter& weight = layer.weight();
    if (!enabled_) {
      return ops::embedding_backward(backend, tokens, dy, weight.ensure_grad().view<2>(), GradMode::kAccumulate);
    }
    Tensor<float> gradient = Tensor<float>::uninitialized(weight.value.shape());  // (V, C), of the fake-quantized table
    ops::embedding_backward(backend, tokens, dy, gradient.view<2>(), GradMode::kOverwrite);
    weight_.backward(backend, gradient, weight);
  }

 private:
  detail::WeightFakeQuantizer weight_;
  bool enabled_ = true;
};

}  // namespace qat::inline v0::nn
