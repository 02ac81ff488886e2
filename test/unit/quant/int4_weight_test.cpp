// The two int4 weight forms of Int4WeightFakeQuantizer: its golden vector, and their rules for degenerate input.
#include "qat/quant/int4_weight.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>
#include <vector>

#include "support/compare.hpp"

using namespace qat;
using test::compare_bits;

namespace {
Int4FloatZeroGroup group_of(std::initializer_list<float> x) {
  GroupRange range;
  for (const float v : x) range.observe(v);
  return choose_int4_float_zero(range);
}
}  // namespace

TEST_CASE("golden vector: fp32 parameters over a bf16 group, codes stored signed") {
  std::vector<float> x, y;
  std::vector<int> codes;
  GroupRange range;
  for (const float v : {-0.7f, 0.3f, 0.1f, 0.0f, -0.05f, 0.25f, 0.6f, 0.69f})
    x.push_back(round_to(FloatType::kBfloat16, v));
  for (const float v : x) range.observe(v);
  const Int4FloatZeroGroup g = choose_int4_float_zero(range);
  CHECK(g.scale == 0x1.7bbbbcp-4f);
  CHECK(g.zero_point == 0x1.5bbbcp-5f);
  for (const float v : x) {
    codes.push_back(quantize(v, g));
    y.push_back(dequantize(codes.back(), g, FloatType::kBfloat16));
  }
  CHECK(compare_bits(std::vector<int>{-8, 3, 1, 0, -1, 2, 6, 7}, codes));
  CHECK(compare_bits(std::vector<float>{-0x1.66p-1f, 0x1.48p-2f, 0x1.14p-3f, 0x1.5cp-5f, -0x1.9cp-5f, 0x1.d2p-3f,
                                        0x1.32p-1f, 0x1.62p-1f},
                     y));
}

TEST_CASE(
    "a float zero group: its lower bound acts on the range, constants come back, non-finite input does not spread") {
  const Int4FloatZeroGroup constant = group_of({0.37f, 0.37f});
  CHECK(constant.scale == 1e-6f / 15.0f);
  CHECK(quantize(0.37f, constant) == -8);
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Int4FloatZeroGroup g = group_of({nan, 1, inf, -2, -inf});
  CHECK(g.min == -2.0f);
  CHECK(g.scale == 3.0f / 15.0f);
  CHECK(quantize(nan, g) == 0);
  CHECK(quantize(inf, g) == 7);
  CHECK(quantize(-inf, g) == -8);
  CHECK_FALSE(is_nonfinite(group_of({3e38f, -3e38f}).scale));
}

TEST_CASE("float8 rows: scale amax / 448 in the input dtype, bounded below; values on the float8 grid") {
  CHECK(float8_row_scale(448.0f, FloatType::kFloat32) == 1.0f);
  CHECK(float8_row_scale(0.0f, FloatType::kFloat32) == 1e-12f / 448.0f);
  CHECK(float8_row_scale(1.0f, FloatType::kBfloat16) == round_to(FloatType::kBfloat16, 1.0f / 448.0f));
  CHECK(fake_quantize_float8(1.05f, 1.0f, FloatType::kFloat32) == 1.0f);
  CHECK(fake_quantize_float8(1000.0f, 1.0f, FloatType::kFloat32) == 448.0f);
}

TEST_CASE("int4 over float8: scale amax / 8, so the positive extreme clips and the negative one is exact") {
  const AffineScheme scheme = int4_over_float8_scheme(32, FloatType::kFloat32);
  const QParams p = choose_int4_over_float8(2.0f, scheme);
  CHECK(p.scale == 0.25f);
  CHECK(quantize(2.0f, p, scheme) == 7);
  CHECK(quantize(-2.0f, p, scheme) == -8);
  CHECK_FALSE(passes_gradient(2.0f, p, scheme, SteMask::kInclusive));
  CHECK(choose_int4_over_float8(0.0f, scheme).scale == 1e-6f);
}
