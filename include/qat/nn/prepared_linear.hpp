// What prepare puts in a linear layer or an embedding: fake quantization during training.
//
// A prepared layer quantizes its weight to the packed form in every forward pass and multiplies with the very function
// that the converted layer calls, so both give the same bits by construction; fake-quantized float weights exist only
// while a backward pass needs them.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "qat/nn/packed_linear.hpp"

namespace qat::inline v0::nn {

/// Really quantizes a float weight (rows, columns) as spec says. scale and zero_point, if not null, receive the
/// parameters.
/// @throws qat::Error naming the layer if a weight is NaN or infinite, or the group size does not fit
inline PackedWeight quantize_weight(const CpuBackend& backend, const QuantSpec& spec, const Parameter& weight,
                                    Tensor<float>* scale = nullptr, Tensor<float>* zero_point = nullptr) {
  const index_t rows = weight.value.dim(0), columns = weight.value.dim(1);
  const index_t tiles = group_layout(spec.granularity, rows, columns).count();
  Tensor<std::int8_t> codes = Tensor<std::int8_t>::uninitialized({rows, columns});
  Tensor<float> s = Tensor<float>::uninitialized({tiles}), z = Tensor<float>::uninitialized({tiles});
  const index_t nonfinite =
      kernels::quantize_dynamic(backend, spec, weight.value.data(), rows, columns, codes.data(), s.data(), z.data());
  QAT_CHECK(nonfinite == 0, kInvalidArgument, weight.name, ": ", nonfinite, " of ", rows * columns,
            " weights are NaN or infinite; finite ones are needed");
  PackedWeight packed = PackedWeight::pack(spec, rows, columns, codes.data(), s.data(), z.data());
  if (scale != nullptr) *scale = std::move(s);
  if (zero_point != nullptr) *zero_point = std::move(z);
  return packed;
}

namespace detail {
/// The fake-quantized weight of the last forward pass and the way back to the float one.
class WeightFakeQuantizer {
 public:
  WeightFakeQuantizer(const QuantSpec& spec, SteMask mask) : spec_(spec), mask_(mask) {}
  const QuantSpec& spec() const { return spec_; }
  const PackedWeight& packed() const { return packed_; }
  void refresh(const CpuBackend& backend, const Parameter& weight) {
    packed_ = quantize_weight(backend, spec_, weight, &scale_, &zero_point_);
  }
  Tensor<float> values(const CpuBackend& backend) const {  // (O, C)
    const index_t rows = packed_.rows(), columns = packed_.columns();
    Tensor<float> w = Tensor<float>::uninitialized({rows, columns});
    const kernels::PackedOperand operand(packed_);
    constexpr index_t kRows = 16;
    backend.parallel_for((rows + kRows - 1) / kRows, [&](index_t chunk) {
      const index_t end = (chunk + 1) * kRows < rows ? (chunk + 1) * kRows : rows;
      for (index_t row = chunk * kRows; row < end; ++row) operand.load(row, 0, columns, w.data() + row * columns);
    });
    return w;
  }
  /// Adds the gradient of the fake-quantized weight to that of the float one.
  void backward(const CpuBackend& backend, const Tensor<float>& gradient, Parameter& weight) const {
    kernels::fake_quantize_backward(backend, spec_, gradient.data(), weight.value.data(), weight.value.dim(0),
                                    weight.value.dim(1), scale_.data(), zero_point_.data(), mask_,
                                    weight.ensure_grad().data(), true);
  }

 private:
  QuantSpec spec_;
  SteMask mask_;
  PackedWeight packed_;
  Tensor<float> scale_, zero_point_;  // (tiles)
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
  bool enabled() const { return enabled_; }
  /// Off: the float layer (delayed fake quantization).
  void set_enabled(bool enabled) { enabled_ = enabled; }

  std::optional<QuantSpec> activation() const override { return enabled_ ? scheme_.activation : std::nullopt; }
  SteMask activation_mask() const override { return mask_; }

  void forward(const CpuBackend& backend, Linear& layer, View<const float, 2> x, const QuantizedActivation* codes,
               View<float, 2> y) override {
    const float* bias = layer.bias() == nullptr ? nullptr : layer.bias()->value.data();
    if (enabled_ && weight_) {
      weight_->refresh(backend, layer.weight());
      packed_linear(backend, x, codes, weight_->packed(), product_, bias, y);
      return;
    }
    const Tensor<float> values = codes == nullptr ? Tensor<float>() : codes->dequantize(backend);  // (N, C)
    ops::linear(backend, codes == nullptr ? x : values.view<2>(), std::as_const(layer.weight().value).view<2>(), bias,
                y);
  }

  void backward(const CpuBackend& backend, Linear& layer, View<const float, 2> x, const QuantizedActivation* codes,
                View<const float, 2> dy, View<float, 2> dx, GradMode dx_mode) override {
    const bool quantized_weight = enabled_ && weight_;
    {
      const Tensor<float> fake = quantized_weight ? weight_->values(backend) : Tensor<float>();  // (O, C)
      const View<const float, 2> w = quantized_weight ? fake.view<2>() : std::as_const(layer.weight().value).view<2>();
      if (dx_mode != GradMode::kSkip) input_gradient(backend, codes, w, dy, dx, dx_mode);
    }
    const Tensor<float> values = codes == nullptr ? Tensor<float>() : codes->dequantize(backend);  // (N, C)
    const View<const float, 2> input = codes == nullptr ? x : values.view<2>();
    Parameter& weight = layer.weight();
    Tensor<float> dw =
        quantized_weight ? Tensor<float>::uninitialized(weight.value.shape()) : Tensor<float>();  // (O, C)
    ops::linear_backward(backend, input, std::as_const(weight.value).view<2>(), dy, {}, GradMode::kSkip,
                         quantized_weight ? dw.view<2>() : weight.ensure_grad().view<2>(),
                         quantized_weight ? GradMode::kOverwrite : GradMode::kAccumulate,
                         layer.bias() == nullptr ? View<float, 1>{} : layer.bias()->ensure_grad().flat(),
                         layer.bias() == nullptr ? GradMode::kSkip : GradMode::kAccumulate);
    if (quantized_weight) weight_->backward(backend, dw, weight);
  }

 private:
  static void input_gradient(const CpuBackend& backend, const QuantizedActivation* codes, View<const float, 2> w,
                             View<const float, 2> dy, View<float, 2> dx, GradMode dx_mode) {
    const kernels::MatrixOperand upstream{dy.data, dy.stride[0], dy.stride[1]},
        columns{w.data, w.stride[1], w.stride[0]};
    const bool accumulate = dx_mode == GradMode::kAccumulate;
    const auto product = [&](float* out, index_t ldc, bool add) {
      kernels::gemm(backend, dy.shape[0], w.shape[1], w.shape[0], upstream, columns, out, ldc, add);
    };
    if (codes == nullptr) return product(dx.data, dx.stride[0], accumulate);
    if (!accumulate) {
      product(dx.data, dx.stride[0], false);
      return codes->backward(backend, dx.data, dx.data, false);
    }
    Tensor<float> gradient = Tensor<float>::uninitialized({dy.shape[0], w.shape[1]});  // of the fake-quantized input
    product(gradient.data(), w.shape[1], false);
    codes->backward(backend, gradient.data(), dx.data, true);
  }

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
  bool enabled() const { return enabled_; }
  void set_enabled(bool enabled) { enabled_ = enabled; }

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
