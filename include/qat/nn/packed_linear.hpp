// What convert leaves in a linear layer or an embedding: packed integer weights, and nothing else.
#pragma once

#include <memory>
#include <optional>

#include "qat/base/aligned.hpp"
#include "qat/kernels/cpu/packed_gemm.hpp"
#include "qat/kernels/cpu/qgemm.hpp"
#include "qat/nn/embedding.hpp"
#include "qat/nn/linear.hpp"
#include "qat/quantizer/layer_scheme.hpp"

namespace qat::inline v0::nn {

/// Which arithmetic multiplies quantized activations with quantized weights.
enum class Product {
  kInteger,  ///< int8 dot products, scales applied per group: what deployment runs; exact on every target
  kFloat,    ///< both dequantized, then the fp32 product: what fake quantization computes elsewhere
};

namespace detail {
/// Zero points of rows as the integer product reads them; null: all zero. Valid until the thread's next call.
inline const std::int32_t* row_zero_points(const QuantizedActivation& codes) {
  if (has_constant_zero_point(codes.spec.mapping)) return nullptr;  // codes are signed: it is zero
  static thread_local AlignedBuffer<std::int32_t> kept;
  std::int32_t* const zero_points = kept.reserve(codes.rows);
  for (index_t i = 0; i < codes.rows; ++i) zero_points[i] = static_cast<std::int32_t>(codes.zero_point[i]);
  return zero_points;
}
}  // namespace detail

/// y = x W^T + b from packed weights. One function for training, evaluation and deployment, so that their bits agree.
///
/// x (N, C): read if codes is null; codes: of x, read otherwise; y (N, O); bias (O) or null
/// kInteger applies where LayerScheme::has_integer_product() says so, else kFloat is used.
inline void packed_linear(const CpuBackend& backend, View<const float, 2> x, const QuantizedActivation* codes,
                          const PackedWeight& weight, Product product, const float* bias, View<float, 2> y) {
  const index_t columns = weight.columns();
  if (codes == nullptr) {
    kernels::packed_gemm(backend, x.shape[0], {x.data, x.stride[0], x.stride[1]}, weight, y.data, y.stride[0], bias);
  } else if (product == Product::kInteger && LayerScheme{weight.spec(), codes->spec}.has_integer_product()) {
    kernels::QuantizedActivations activations{codes->codes.data(), columns, codes->scale.data()};
    if (codes->spec.granularity.kind == GranularityKind::kPerGroup) {
      activations.scale_columns = codes->spec.granularity.group_size;
    } else {
      activations.zero_points = detail::row_zero_points(*codes);
    }
    kernels::qgemm(backend, codes->rows, activations, weight, y.data, y.stride[0], bias);
  } else {
    const Tensor<float> values = codes->dequantize(backend);  // (N, C)
    kernels::packed_gemm(backend, codes->rows, {values.data(), columns, 1}, weight, y.data, y.stride[0], bias);
  }
}

/// y[i] = dequantized row tokens[i].   tokens (N), weight (V, C), y (N, C)
inline void packed_rows(const CpuBackend& backend, const PackedWeight& weight, View<const std::int32_t, 1> tokens,
                        View<float, 2> y) {
  const kernels::PackedOperand rows(weight);
  constexpr index_t kRows = 64;
  backend.parallel_for((tokens.shape[0] + kRows - 1) / kRows, [&](index_t chunk) {
    const index_t end = (chunk + 1) * kRows < tokens.shape[0] ? (chunk + 1) * kRows : tokens.shape[0];
    for (index_t i = chunk * kRows; i < end; ++i) rows.load(tokens[i], 0, weight.columns(), &y(i, 0));
  });
}

/// A converted linear layer. Several layers may share the packed weights (tied embedding and head).
class PackedLinear final : public LinearQuantization {
 public:
  PackedLinear(std::shared_ptr<const PackedWeight> weight, std::optional<QuantSpec> activation, Product product)
      : weight_(std::move(weight)), activation_(std::move(activation)), product_(product) {}

  const std::shared_ptr<const PackedWeight>& packed() const { return weight_; }
  std::optional<QuantSpec> activation() const override { return activation_; }
  Product product() const { return product_; }
  index_t resident_bytes() const override { return weight_->resident_bytes(); }

  void forward(const CpuBackend& backend, Linear& layer, View<const float, 2> x, const QuantizedActivation* codes,
               View<float, 2> y) override {
    packed_linear(backend, x, codes, *weight_, product_, layer.bias() == nullptr ? nullptr : layer.bias()->value.data(),
                  y);
  }

 private:
  std::shared_ptr<const PackedWeight> weight_;
  std::optional<QuantSpec> activation_;
  Product product_;
};

/// A converted embedding: rows are unpacked as they are looked up.
class PackedEmbedding final : public EmbeddingQuantization {
 public:
  explicit PackedEmbedding(std::shared_ptr<const PackedWeight> weight) : weight_(std::move(weight)) {}

  const std::shared_ptr<const PackedWeight>& packed() const { return weight_; }
  index_t resident_bytes() const override { return weight_->resident_bytes(); }

  void forward(const CpuBackend& backend, Embedding&, View<const std::int32_t, 1> tokens, View<float, 2> y) override {
    packed_rows(backend, *weight_, tokens, y);
  }

 private:
  std::shared_ptr<const PackedWeight> weight_;
};

}  // namespace qat::inline v0::nn
