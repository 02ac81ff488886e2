// LayerScheme: how one layer is quantized: its weight, and the activation that enters it.
#pragma once

#include <optional>

#include "qat/quant/spec.hpp"

namespace qat::inline v0 {

/// Absent parts stay in floating point. Weights are (out, in), groups run along `in`; activations are (tokens, in).
struct LayerScheme {
  std::optional<QuantSpec> weight;
  std::optional<QuantSpec> activation;
  bool empty() const { return !weight && !activation; }
  /// True where the product of codes runs on the integer kernel: 8-bit activations per token, or in groups
  /// without zero points, and weight codes with an integer zero point.
  bool has_integer_product() const {
    return weight && activation && activation->bits == 8 && activation->is_signed &&
           (activation->granularity.kind == GranularityKind::kPerToken ||
            (activation->granularity.kind == GranularityKind::kPerGroup &&
             has_constant_zero_point(activation->mapping))) &&
           !has_float_zero_point(weight->mapping) && weight->granularity.kind != GranularityKind::kPerBlock &&
           !(weight->granularity.kind == GranularityKind::kPerAxis && weight->granularity.axis == 1);
  }
  friend bool operator==(const LayerScheme&, const LayerScheme&) = default;
};

/// "weight=int4:group32:symmetric,activation=int8:token:asymmetric"; "float" for an empty scheme.
inline FixedString<300> to_string(const LayerScheme& scheme) {
  FixedString<300> out;
  if (scheme.weight) out.append("weight=").append(to_string(*scheme.weight).c_str());
  if (scheme.activation)
    out.append(scheme.weight ? ",activation=" : "activation=").append(to_string(*scheme.activation).c_str());
  if (scheme.empty()) out.append("float");
  return out;
}

}  // namespace qat::inline v0
