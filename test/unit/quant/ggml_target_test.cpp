// Which schemes a ggml type holds, decided before training.
#include "qat/quant/ggml_target.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "qat/quant/affine.hpp"
#include "qat/quant/ggml_encode.hpp"
#include "support/compare.hpp"
#include "support/quantize_cases.hpp"

using namespace qat;

namespace {
constexpr QuantSpec kInt4 = spec_of<Int4, PerGroup<32>, SignedExtremum, Bfloat16Safe>;
static_assert(ggml_misfit(GgmlType::kQ4_0, kInt4, 64) == nullptr);
static_assert(ggml_misfit(GgmlType::kQ4_0, spec_of<Int4, PerGroup<32>, Symmetric>, 64) != nullptr);
static_assert(Deploys<QuantPolicy<Int4, PerGroup<32>, SignedExtremum, Bfloat16Safe>, GgmlType::kQ4_0, 4096>);
static_assert(!Deploys<QuantPolicy<Int4, PerGroup<32>, Symmetric>, GgmlType::kQ4_0, 4096>);
static_assert(!Deploys<QuantPolicy<Int8, PerGroup<32>, Symmetric, half>, GgmlType::kQ4_0, 4096>);
static_assert(Deploys<QuantPolicy<Int8, PerGroup<32>, Symmetric, half>, GgmlType::kQ8_0, 4096>);
static_assert(Deploys<QuantPolicy<UInt4, PerGroup<32>, FloatMinimum, half>, GgmlType::kQ4_1, 4096>);
static_assert(Deploys<QuantPolicy<Ternary, PerGroup<256>, Symmetric, Bfloat16Safe>, GgmlType::kTQ2_0, 4096>);
static_assert(Deploys<QuantPolicy<Iq4Nl, PerGroup<32>, SignedExtremum, half>, GgmlType::kIQ4_NL, 4096>);
static_assert(Deploys<QuantPolicy<E2m1, PerGroup<32>, Symmetric, float8_e8m0>, GgmlType::kMXFP4, 4096>);
static_assert(!Deploys<QuantPolicy<E2m1, PerGroup<32>, Symmetric, half>, GgmlType::kMXFP4, 4096>);

/// Fake quantization by the definition, one row in groups of `group`.
std::vector<float> by_definition(const QuantSpec& spec, const std::vector<float>& x) {
  const AffineScheme scheme(spec, FloatType::kFloat32);
  const std::size_t group = static_cast<std::size_t>(spec.granularity.group_size);
  std::vector<float> y;
  for (std::size_t begin = 0; begin < x.size(); begin += group) {
    GroupRange range;
    for (std::size_t i = begin; i < begin + group; ++i) range.observe(x[i]);
    const QParams p = choose_qparams(range, scheme);
    for (std::size_t i = begin; i < begin + group; ++i) y.push_back(fake_quantize(x[i], p, scheme));
  }
  return y;
}
std::vector<float> values_of_blocks(GgmlType type, const std::vector<std::uint8_t>& bytes, std::size_t n) {
  std::vector<float> y(n);
  ggml_decode(type, bytes.data(), static_cast<index_t>(n), y.data());
  for (float& v : y) v += 0.0f;  // -0 is 0
  return y;
}
/// Ordinary and odd numbers: blocks of zeros, subnormals, ties. Within the scales that halves hold.
std::vector<float> odd_blocks() {
  std::vector<float> x = test::adversarial<float>(32 * 720, 4, true);
  for (float& v : x)
    if (v > 1e6f || v < -1e6f) v = 0.5f;
  return x;
}
}  // namespace

TEST_CASE("ggml targets: a type holds what its integers and scales can hold") {
  const struct {
    GgmlType type;
    const char* spec;
    const char* reason;  ///< part of it; nullptr: held
  } cases[] = {
      {GgmlType::kQ4_0, "int4:group32:symmetric:float16", nullptr},
      {GgmlType::kQ4_0, "uint4:group32:symmetric:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int2:group64:signed_extremum:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int4:axis0:symmetric:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int4:group16:symmetric:bf16safe", "whole blocks"},
      {GgmlType::kQ4_0, "int4:group48:symmetric:bf16safe", "whole blocks"},
      {GgmlType::kQ4_0, "int4:axis1:symmetric:bf16safe", "runs of a row"},
      {GgmlType::kQ4_0, "int4:group32:symmetric", "float16 or bf16safe"},
      {GgmlType::kQ4_0, "int4:group32:symmetric:bfloat16", "float16 or bf16safe"},
      {GgmlType::kQ4_0, "int4:group32:asymmetric:bf16safe", "do not fit"},
      {GgmlType::kQ4_0, "int3:group32:asymmetric:bf16safe", nullptr},
      {GgmlType::kQ4_0, "int5:group32:symmetric:bf16safe", "do not fit"},
      {GgmlType::kQ5_0, "int5:group32:symmetric:bf16safe", nullptr},
      {GgmlType::kQ5_0, "int4:group32:asymmetric:bf16safe", nullptr},
      {GgmlType::kQ5_0, "uint4:group32:float_zero_point:float16", "no integer"},
      {GgmlType::kQ8_0, "int8:group32:symmetric:float16", nullptr},
      {GgmlType::kQ8_0, "int8:group32:asymmetric:float16", "do not fit"},
      {GgmlType::kTQ2_0, "int2:group32:symmetric:bf16safe", "whole blocks"},
      {GgmlType::kTQ2_0, "int2:axis0:symmetric:bf16safe", "do not fit"},
      {GgmlType::kTQ2_0, "int1:group256:symmetric:bf16safe", nullptr},
      {GgmlType::kF16, "int4:group32:symmetric:bf16safe", nullptr},
      {GgmlType::kF16, "int4:group32:symmetric:float16", "significant bits"},
      {GgmlType::kF32, "uint4:group32:float_zero_point:bfloat16", nullptr},
      {GgmlType::kQ4_1, "int4:group32:asymmetric:bf16safe", "not every minimum is a half"},
      {GgmlType::kQ4_1, "uint4:group32:float_minimum:float16", nullptr},
      {GgmlType::kQ4_1, "uint5:group32:float_minimum:float16", "do not fit"},
      {GgmlType::kQ4_1, "uint4:group32:float_minimum", "float16 or bf16safe"},
      {GgmlType::kQ5_0, "uint4:group32:float_minimum:float16", "no multiple of its scale"},
      {GgmlType::kTQ2_0, "int2narrow:group256:symmetric:bf16safe", nullptr},
      {GgmlType::kTQ1_0, "int2narrow:group128:symmetric:bf16safe", "whole blocks"},
      {GgmlType::kTQ1_0, "int3narrow:group256:symmetric:bf16safe", "do not fit"},
      {GgmlType::kIQ4_NL, "iq4_nl:group32:signed_extremum:float16", nullptr},
      {GgmlType::kIQ4_NL, "int4:group32:signed_extremum:float16", "levels"},
      {GgmlType::kQ4_0, "iq4_nl:group32:signed_extremum:float16", "do not fit"},
      {GgmlType::kQ8_0, "iq4_nl:group32:signed_extremum:float16", nullptr},
      {GgmlType::kMXFP4, "e2m1:group32:symmetric:e8m0", nullptr},
      {GgmlType::kMXFP4, "e2m1:group32:symmetric:bf16safe", "powers of two"},
      {GgmlType::kMXFP4, "int4:group32:symmetric:e8m0", "levels"},
      {GgmlType::kQ5_0, "e2m1:group32:symmetric:bf16safe", nullptr},
      {GgmlType::kQ4_K, "int4:group256:symmetric:bf16safe", "levels"},
  };
  for (const auto& c : cases) {
    const char* const reason = ggml_misfit(c.type, parse_spec(c.spec), 512);
    INFO(std::string(info(c.type).name) << " " << std::string(c.spec) << ": "
                                        << std::string(reason == nullptr ? "held" : reason));
    CHECK((reason == nullptr) == (c.reason == nullptr));
    if (reason != nullptr && c.reason != nullptr) CHECK(std::string(reason).find(c.reason) != std::string::npos);
  }
  CHECK(ggml_misfit(GgmlType::kQ4_0, parse_spec("int4:group48:symmetric:bf16safe"), 100) ==
        nullptr);  // in floating point
}

TEST_CASE("ggml targets: the scheme a type names is held by it, and names lead to types") {
  for (const GgmlTypeInfo& type : kGgmlTypes) {
    const std::string name = type.name;
    CHECK(find_ggml_type_by_name(name.data(), name.size()) == &type);
    if (const char* scheme = ggml_scheme(type.type)) CHECK(ggml_misfit(type.type, parse_spec(scheme), 512) == nullptr);
  }
  CHECK(find_ggml_type_by_name("q4_0", 4) == &info(GgmlType::kQ4_0));
  CHECK(find_ggml_type_by_name("q4_", 3) == nullptr);
  CHECK(find_ggml_type_by_name("q4_00", 5) == nullptr);
}

TEST_CASE("ggml targets: Q8_0 activations are ggml's to the bit, in both of its roundings") {
  const std::vector<float> x = odd_blocks();
  std::vector<std::uint8_t> bytes(x.size() / 32 * 34);
  const char* const activation = ggml_activation(GgmlType::kQ4_0).scheme;
  ggml_encode_q8_0(x.data(), static_cast<index_t>(x.size()), bytes.data(), Q8Rounding::kVector);
  CHECK(
      test::compare_bits(values_of_blocks(GgmlType::kQ8_0, bytes, x.size()), by_definition(parse_spec(activation), x)));
  ggml_encode_q8_0(x.data(), static_cast<index_t>(x.size()), bytes.data(), Q8Rounding::kReference);
  const QuantSpec reference = parse_spec((std::string(activation) + ":half_away_from_zero").c_str());
  CHECK(test::compare_bits(values_of_blocks(GgmlType::kQ8_0, bytes, x.size()), by_definition(reference, x)));
}

TEST_CASE(
    "ggml targets: Q8_K activations by the definition are ggml's rule: codes x * (127 / amax), values q / (127 / "
    "amax)") {
  const std::vector<float> x = odd_blocks();
  std::vector<float> expected;
  for (std::size_t begin = 0; begin < x.size(); begin += 256) {
    float largest = 0.0f;  // ggml's signed extremum
    for (std::size_t i = begin; i < begin + 256; ++i)
      if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
    const float scale = -127.0f / largest;
    for (std::size_t i = begin; i < begin + 256; ++i)
      expected.push_back(largest == 0.0f ? 0.0f : std::nearbyint(scale * x[i]) * (1.0f / scale) + 0.0f);
  }
  std::vector<float> ours = by_definition(parse_spec(ggml_activation(GgmlType::kTQ2_0).scheme), x);
  for (float& v : ours) v += 0.0f;
  CHECK(test::compare_bits(expected, ours));
}

TEST_CASE("ggml targets: the scheme of MXFP4 rounds floats as ggml does") {
  const std::vector<float> x = odd_blocks();
  std::vector<std::uint8_t> bytes(x.size() / 32 * 17);
  ggml_encode(GgmlType::kMXFP4, x.data(), static_cast<index_t>(x.size()), bytes.data());
  const std::vector<float> theirs = values_of_blocks(GgmlType::kMXFP4, bytes, x.size()),
                           ours = by_definition(parse_spec(ggml_scheme(GgmlType::kMXFP4)), x);
  std::size_t different = 0;
  for (std::size_t i = 0; i < x.size(); ++i)  // below 2^-126 scales of ggml are subnormal
    different += ours[i] + 0.0f != theirs[i] && !(ours[i] < 0x1p-122f && ours[i] > -0x1p-122f) ? 1 : 0;
  CHECK(different == 0);
}
