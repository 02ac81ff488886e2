// Float grids and scale types: what each can hold, and that a scale never becomes 0, infinite or NaN.
#include "qat/quant/formats.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>

#include "qat/base/random.hpp"

using namespace qat;

namespace {
constexpr ScaleType kTypes[] = {ScaleType::kFloat32,      ScaleType::kFloat16, ScaleType::kBfloat16,
                                ScaleType::kBfloat16Safe, ScaleType::kE8M0,    ScaleType::kE4M3};
}

TEST_CASE("round_to is the cast to the type and back; fp32 is left alone") {
  static_assert(round_to(FloatType::kFloat32, 0.1f) == 0.1f);
  CHECK(round_to(FloatType::kBfloat16, 0.7f) == 0.69921875f);
  CHECK(round_to(FloatType::kFloat16, 1.0f + 0x1p-11f) == 1.0f);
  CHECK(std::isinf(round_to(FloatType::kFloat16, 65520.0f)));
  CHECK(smallest_normal(FloatType::kFloat16) == 6.103515625e-05f);
  CHECK(smallest_normal(FloatType::kBfloat16) == 1.17549435e-38f);
  for (const FloatType t : {FloatType::kFloat32, FloatType::kFloat16, FloatType::kBfloat16})
    CHECK(round_to(t, largest_finite(t)) == largest_finite(t));
}

TEST_CASE("a rounded scale is finite, not 0, keeps its sign, and rounds no further") {
  const CounterRandom random(3);
  for (const ScaleType type : kTypes) {
    CAPTURE(static_cast<int>(type));
    index_t bad = 0;
    for (std::uint64_t i = 0; i < 20000; ++i) {
      const float s = std::bit_cast<float>(random.at(i));
      if (!std::isfinite(s) || s == 0.0f) continue;
      const float r = round_scale(type, s);
      bad += !std::isfinite(r) || r == 0.0f || std::signbit(r) != std::signbit(s) || round_scale(type, r) != r;
    }
    CHECK(bad == 0);
  }
}

TEST_CASE("each scale type rounds as its name says") {
  CHECK(round_scale(ScaleType::kFloat16, 0.1f) == static_cast<float>(half(0.1f)));
  CHECK(round_scale(ScaleType::kBfloat16, 0.1f) == static_cast<float>(bfloat16(0.1f)));
  CHECK(round_scale(ScaleType::kE4M3, 0.1f) == static_cast<float>(float8_e4m3(0.1f)));
  CHECK(round_scale(ScaleType::kE8M0, 0.1f) == 0.125f);  // up: nothing clips
  CHECK(round_scale(ScaleType::kE8M0, 0.125f) == 0.125f);
  CHECK(round_scale(ScaleType::kE8M0, -0.13f) == -0.25f);
  for (const float s : {1e-30f, 1e30f, 0.1f, 3.0f}) {  // bf16-safe: bfloat16, half and fp32 all hold it
    const float r = round_scale(ScaleType::kBfloat16Safe, s);
    CHECK(static_cast<float>(half(r)) == r);
    CHECK(static_cast<float>(bfloat16(r)) == r);
  }
}

TEST_CASE("kInput resolves to the dtype of the tensor; bits of each") {
  static_assert(resolve_scale_type(ScaleType::kInput, FloatType::kBfloat16) == ScaleType::kBfloat16);
  static_assert(resolve_scale_type(ScaleType::kInput, FloatType::kFloat16) == ScaleType::kFloat16);
  static_assert(resolve_scale_type(ScaleType::kInput, FloatType::kFloat32) == ScaleType::kFloat32);
  static_assert(resolve_scale_type(ScaleType::kE4M3, FloatType::kFloat16) == ScaleType::kE4M3);
  CHECK(scale_bits(ScaleType::kFloat32) == 32);
  CHECK(scale_bits(ScaleType::kBfloat16Safe) == 16);
  CHECK(scale_bits(ScaleType::kE8M0) == 8);
}
