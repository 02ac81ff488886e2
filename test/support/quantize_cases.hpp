// Schemes, shapes and values that sweep tests of quantization run over; the same bits everywhere.
#pragma once

#include <bit>
#include <vector>

#include "qat/base/random.hpp"
#include "qat/quant/visit.hpp"

namespace qat::test {

/// Every menu spec, and schemes outside it: other bit widths, group sizes, mappings, scale types, tiles, roundings.
inline std::vector<QuantSpec> specs_under_test() {
  std::vector<QuantSpec> specs(std::begin(kMenu), std::end(kMenu));
  for (const char* text :
       {"int1:group8:symmetric", "uint1:group32:asymmetric", "int4:group7:signed_extremum",
        "int4:group48:symmetric:bf16safe", "int8:group200:asymmetric:bfloat16", "int4:group32:symmetric:e8m0",
        "int4:group16:symmetric:e4m3", "int4:group32:asymmetric:float16", "int6:group96:symmetric_no_clip:float16",
        "uint8:token:asymmetric", "uint5:axis0:asymmetric_raw", "int8:tensor:asymmetric_raw",
        "uint4:group64:float_zero_point", "int4:group32:symmetric:input", "int8:token:asymmetric:input",
        "uint4:group32:float_zero_point:input", "int8:block1x16:symmetric", "int8:tensor:signed_extremum",
        "uint3:axis0:symmetric", "int8:token:asymmetric:eps=1e-05",
        // on the reference kernel
        "int4:axis1:symmetric", "int8:block4x16:asymmetric", "int4:group32:symmetric:half_away_from_zero",
        "int4:group32:asymmetric:toward_zero", "int4:group32:symmetric:stochastic"})
    specs.push_back(parse_spec(text));
  return specs;
}

/// Schemes that only the processor computes.
inline std::vector<QuantSpec> specs_of_processor() {
  std::vector<QuantSpec> specs;
  for (const char* text :
       {"uint4:group32:float_minimum:float16", "uint3:token:float_minimum", "int2narrow:group256:symmetric:bf16safe",
        "int4narrow:token:signed_extremum", "int8narrow:group32:symmetric:ggml_half",
        "int8narrow:group7:symmetric:ggml_half:half_away_from_zero", "int8narrow:group256:symmetric:ggml_float",
        "int5:group7:symmetric:ggml_float", "iq4_nl:group32:signed_extremum:bf16safe", "e2m1:group32:symmetric:e8m0"})
    specs.push_back(parse_spec(text));
  return specs;
}

/// Adversarial values in runs of 24, so that groups of any size meet them alone and mixed. Only exact conversions and
/// shifts of bits are used: no flags and no mode change them. kind of a run by its number and `seed`.
template <class D>
std::vector<D> adversarial(index_t size, std::uint64_t seed, bool finite = false) {
  const CounterRandom random(seed);
  std::vector<D> out(static_cast<std::size_t>(size));
  const auto scaled = [](std::uint32_t word, int exponent) {  // sign, 23 bits, exponent: bits of a float
    return std::bit_cast<float>((word & 0x807FFFFFu) | static_cast<std::uint32_t>(127 + exponent) << 23);
  };
  for (index_t i = 0; i < size; ++i) {
    const std::uint64_t n = static_cast<std::uint64_t>(i);
    const std::uint32_t word = random.at(2 * n), other = random.at(2 * n + 1);
    float value = scaled(word, -static_cast<int>(other % 6));  // ordinary: magnitudes of 2^-5 to 2
    switch ((n / 24 + seed) % 24) {
      case 3:
        value = 0.0f;
        break;
      case 5:
        value = std::bit_cast<float>(word & 0x80000000u);
        break;  // zeros of both signs
      case 7:
        value = scaled(word, -127);
        break;  // subnormal
      case 9:
        value = scaled(word, 99 - static_cast<int>(other % 4));
        break;  // about 1e30
      case 11:
        value = static_cast<float>(static_cast<int>(word % 17) - 8) * 0.125f;
        break;  // ties
      case 13:
        value = 0.75f;
        break;  // constant
      case 15:
        value = scaled(word, -126 + static_cast<int>(other % 3));
        break;  // at eps
      case 17:
        value = other % 5 == 0 ? scaled(word, 3) : value;
        break;  // outliers
      case 19:
        value = word & 1 ? -1.5f : 1.5f;
        break;  // both extremes equal
      case 20:
        value = scaled(word & 0x7FFFFFFFu, 0);
        break;  // one sign
      case 21:
        value = scaled(word | 0x80000000u, 1);
        break;
      default:
        break;
    }
    if (!finite) {
      if (other % 97 == 0) value = std::bit_cast<float>(0x7FC00000u | (word & 0x803FFFFFu));
      if (other % 101 == 0) value = std::bit_cast<float>(0x7F800000u | (word & 0x80000000u));
    }
    out[static_cast<std::size_t>(i)] = static_cast<D>(value);
  }
  return out;
}

struct MatrixShape {
  index_t rows, columns;
};
inline constexpr MatrixShape kShapes[] = {{1, 1},   {3, 7},   {5, 31},  {4, 32},  {3, 40},
                                          {2, 257}, {7, 256}, {33, 64}, {2, 1000}};

inline bool accepts(const QuantSpec& spec, MatrixShape shape) {
  return spec.granularity.kind != GranularityKind::kPerGroup || spec.granularity.group_size <= shape.columns;
}

}  // namespace qat::test
