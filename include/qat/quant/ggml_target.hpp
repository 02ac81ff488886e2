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
  const bool has_minimum = spec.mapping == MappingKind::kFloatMinimum;
  if (has_minimum && type != GgmlType::kQ4_1) return "its minimum is no multiple of its scale";
  if (has_float_zero_point(spec.mapping) && !has_minimum) return "its zero point is no integer";
  if (type == GgmlType::kMXFP4) {
    if (spec.scale_type != ScaleType::kE8M0) return "its scales are no powers of two; e8m0 is needed";
  } else if (spec.scale_type != ScaleType::kFloat16 && spec.scale_type != ScaleType::kBfloat16Safe) {
    return "its scales are no halves; float16 or bf16safe is needed";
  }
  const Granularity& g = spec.granularity;
  if (g.kind == GranularityKind::kPerBlock || (g.kind == GranularityKind::kPerAxis && g.axis == 1))
    return "its scales are not those of runs of a row";
  if (columns % t.block == 0 && g.kind == GranularityKind::kPerGroup && g.group_size % t.block != 0 &&
      g.group_size < columns)
    return "its groups are no whole blocks";
  const bool has_zero_points = !has_constant_zero_point(spec.mapping);
  const int middle = spec.is_signed ? 0 : 1 << (spec.bits - 1);
  const int lowest = spec.qmin() - (has_zero_points ? spec.qmax() : middle);  // of code - zero point
  const int highest = has_zero_points ? -lowest : spec.qmax() - middle;
  const auto holds = [&](int from, int to) { return lowest >= from && highest <= to; };
  constexpr const char* kRange = "its integers, less their zero point, do not fit";
  constexpr const char* kLevels = "the type's levels are not those of the scheme";
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
    case GgmlType::kIQ4_NL:
      return spec.levels == Levels::kIq4Nl ? nullptr : kLevels;
    case GgmlType::kMXFP4:
      return spec.levels == Levels::kE2m1 ? nullptr : kLevels;
    case GgmlType::kQ4_1:
      return !has_minimum ? "not every minimum is a half" : spec.bits <= 4 ? nullptr : kRange;
    case GgmlType::kF16:
      return spec.scale_type == ScaleType::kBfloat16Safe && holds(-8, 7)
                 ? nullptr
                 : "its values have more than the 11 significant bits of a half";
    default:
      return kLevels;
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
      return "int8narrow:group32:symmetric:bf16safe";
    case GgmlType::kQ4_1:
      return "uint4:group32:float_minimum:float16";
    case GgmlType::kTQ1_0:
    case GgmlType::kTQ2_0:
      return "int2narrow:group256:symmetric:bf16safe";
    case GgmlType::kIQ4_NL:
      return "iq4_nl:group32:signed_extremum:bf16safe";
    case GgmlType::kMXFP4:
      return "e2m1:group32:symmetric:e8m0";
    default:
      return nullptr;
  }
}
/// The types that have one.
inline constexpr const char* kGgmlTrained = "q4_0, q4_1, q5_0, q8_0, iq4_nl, mxfp4, tq1_0, tq2_0";

/// A type of ggml's activations: its name, and the scheme in parse_spec's text whose codes and scales it has.
struct GgmlActivation {
  const char *name, *scheme;
};

/// The activations that ggml multiplies weights of a type with; nullptrs for types that have no scheme here.
/// q8_0: codes chosen as x86's vector instructions choose them (Q8Rounding::kVector). q8_1: Q8_0's codes and scales d,
/// and the sum of each block's values, d * sum(q), in half, which ggml multiplies the minimum with; here that sum is
/// the sum of the values, so a block's product differs by up to 2^-10 |minimum * sum|. q8_k: blocks of 256 with fp32
/// scales.
constexpr GgmlActivation ggml_activation(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
    case GgmlType::kQ5_0:
    case GgmlType::kQ8_0:
    case GgmlType::kIQ4_NL:
    case GgmlType::kMXFP4:
      return {"q8_0", "int8narrow:group32:symmetric:ggml_half"};
    case GgmlType::kQ4_1:
      return {"q8_1", "int8narrow:group32:symmetric:ggml_half"};
    case GgmlType::kTQ1_0:
    case GgmlType::kTQ2_0:
      return {"q8_k", "int8narrow:group256:symmetric:ggml_float"};
    default:
      return {nullptr, nullptr};
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
