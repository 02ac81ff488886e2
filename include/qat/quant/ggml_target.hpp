// Which quantization schemes a ggml type holds exactly, whatever the weights: decided before training.
#pragma once

#include "qat/quant/ggml_type.hpp"
#include "qat/quant/mapping.hpp"
#include "qat/quant/spec.hpp"

namespace qat::inline v0 {

/// Why weights (rows of `columns` elements) trained with a scheme are not always held exactly by a type; nullptr where
/// they are. A matrix whose rows are no whole blocks is no misfit: it is stored in floating point.
constexpr const char* ggml_misfit(GgmlType type, const QuantSpec& spec, index_t columns) {
  if (type == GgmlType::kF32) return nullptr;
  const GgmlTypeInfo& t = info(type);
  if (spec.mapping == MappingKind::kFloatZeroPoint) return "its zero point is no integer";
  if (spec.scale_type != ScaleType::kFloat16 && spec.scale_type != ScaleType::kBfloat16Safe)
    return "its scales are no halves; float16 or bf16safe is needed";
  const Granularity& g = spec.granularity;
  if (g.kind == GranularityKind::kPerBlock || (g.kind == GranularityKind::kPerAxis && g.axis == 1))
    return "its scales are not those of runs of a row";
  if (columns % t.block == 0 && g.kind == GranularityKind::kPerGroup && g.group_size % t.block != 0 &&
      g.group_size < columns)
    return "its groups are no whole blocks";
  const bool has_zero_points = !has_constant_zero_point(spec.mapping);
  const int lowest = has_zero_points ? spec.qmin() - spec.qmax() : -(1 << (spec.bits - 1));  // of code - zero point
  const int highest = has_zero_points ? -lowest : (1 << (spec.bits - 1)) - 1;
  const auto holds = [&](int from, int to) { return lowest >= from && highest <= to; };
  constexpr const char* kRange = "its integers, less their zero point, do not fit";
  switch (type) {
    case GgmlType::kQ4_0:
      return holds(-8, 7) ? nullptr : kRange;
    case GgmlType::kQ5_0:
      return holds(-16, 15) ? nullptr : kRange;
    case GgmlType::kQ8_0:
      return holds(-128, 127) ? nullptr : kRange;
    case GgmlType::kTQ1_0:
    case GgmlType::kTQ2_0:
      return holds(-1, 1) ? nullptr : kRange;
    case GgmlType::kF16:
      return spec.scale_type == ScaleType::kBfloat16Safe && holds(-8, 7)
                 ? nullptr
                 : "its values have more than the 11 significant bits of a half";
    default:
      return type == GgmlType::kQ4_1 ? "not every minimum is a half" : "the type's levels are not those of the scheme";
  }
}

/// A scheme fixed at compile time (a QuantPolicy) is always held exactly by a type, in rows of kColumns:
/// static_assert(Deploys<QuantPolicy<Int4, PerGroup<32>, SignedExtremum, Bfloat16Safe>, GgmlType::kQ4_0, 4096>).
template <class Policy, GgmlType kType, index_t kColumns>
concept Deploys = ggml_misfit(kType, Policy::spec, kColumns)
== nullptr;

/// The scheme of weights that a type was made for, in parse_spec's text; nullptr if there is none.
constexpr const char* ggml_scheme(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return "int4:group32:signed_extremum:bf16safe";
    case GgmlType::kQ5_0:
      return "int5:group32:signed_extremum:bf16safe";
    case GgmlType::kQ8_0:
      return "int8:group32:signed_extremum:bf16safe";
    default:
      return nullptr;
  }
}

/// "q4_0" gives Q4_0. @return nullptr for a name that is none
constexpr const GgmlTypeInfo* find_ggml_type_by_name(const char* name, std::size_t length) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (const GgmlTypeInfo& entry : kGgmlTypes) {
    std::size_t i = 0;
    while (i < length && entry.name[i] != '\0' && lower(entry.name[i]) == lower(name[i])) ++i;
    if (i == length && entry.name[i] == '\0') return &entry;
  }
  return nullptr;
}

}  // namespace qat::inline v0
