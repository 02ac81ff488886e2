// Random packed weights of any scheme, for tests of layouts and kernels.
#pragma once

#include <vector>

#include "qat/base/random.hpp"
#include "qat/pack/packed_weight.hpp"

namespace qat::test {

struct RandomWeights {
  QuantSpec spec;
  std::vector<std::int8_t> codes;
  std::vector<float> scales, zero_points;
  PackedWeight packed;

  /// Codes over the whole range, scales and zero points that their storage holds.
  RandomWeights(const QuantSpec& s, index_t rows, index_t columns) : spec(s) {
    CounterRandom random(static_cast<std::uint64_t>(rows * 4099 + columns), static_cast<std::uint64_t>(s.bits));
    const AffineScheme scheme(spec, FloatType::kFloat32);
    const GroupLayout groups = group_layout(spec.granularity, rows, columns);
    const auto code = [&] {
      return spec.qmin() +
             static_cast<int>(random.next_below(static_cast<std::uint32_t>(spec.qmax() - spec.qmin() + 1)));
    };
    codes.resize(static_cast<std::size_t>(rows * columns));
    for (std::int8_t& q : codes) q = static_cast<std::int8_t>(code());
    for (index_t i = 0; i < groups.count(); ++i) {
      const float sign = spec.mapping == MappingKind::kSignedExtremum && i % 2 == 0 ? -1.0f : 1.0f;
      scales.push_back(round_scale(scheme.spec.scale_type, sign * (0.01f + random.next_float())));
      zero_points.push_back(has_float_zero_point(spec.mapping) ? round_to(scheme.scale, random.next_float() - 0.5f)
                                                               : static_cast<float>(code()));
    }
    packed = PackedWeight::pack(spec, rows, columns, codes.data(), scales.data(),
                                has_constant_zero_point(spec.mapping) ? nullptr : zero_points.data());
  }
};

/// Schemes that between them take every width, granularity, mapping and scale type.
inline std::vector<const char*> packed_schemes() {
  return {"int4:group32:symmetric:float16",
          "int4:group32:signed_extremum:bf16safe",
          "int4:group32:asymmetric:bfloat16",
          "uint4:group8:asymmetric_raw",
          "uint4:group7:symmetric",
          "int8:axis0:symmetric",
          "uint8:token:asymmetric",
          "int3:group5:asymmetric:float16",
          "int2:tensor:symmetric",
          "int5:group32:symmetric:e8m0",
          "int6:group16:symmetric_no_clip:e4m3",
          "int7:axis1:asymmetric",
          "int1:axis0:symmetric",
          "int4:block3x6:asymmetric",
          "uint4:group32:float_zero_point:bfloat16",
          "uint3:group6:float_zero_point",
          "uint4:group32:float_minimum:float16",
          "int2narrow:group32:symmetric:float16",
          "iq4_nl:group32:signed_extremum:bf16safe",
          "e2m1:group6:symmetric:e8m0"};
}

}  // namespace qat::test
