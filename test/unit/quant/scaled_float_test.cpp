// FP8, MX and NVFP4: the scale rules against hand-computed and published values, elements, degenerate input, text.
#include "qat/quant/scaled_float.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "support/compare.hpp"

using namespace qat;
using namespace qat::test;

namespace {

float scale_of(float amax, const char* text, FloatType input = FloatType::kFloat32, float tensor_scale = 1.0f) {
  return choose_block(amax, tensor_scale, parse_scaled_float_spec(text), input).scale;
}
float fake(float x, float amax, const char* text, float tensor_scale = 1.0f) {
  const ScaledFloatSpec spec = parse_scaled_float_spec(text);
  return fake_quantize(x, choose_block(amax, tensor_scale, spec, FloatType::kFloat32), spec, FloatType::kFloat32);
}

}  // namespace

TEST_CASE("microscaling rules: exponents at and around the largest element") {
  // largest 6, 448, 57344: exponent 0 at it, 1 an ulp above (torchao RCEIL)
  CHECK(scale_of(6.0f, "e2m1:group32:mx_rceil") == 1.0f);
  CHECK(scale_of(std::nextafterf(6.0f, 7.0f), "e2m1:group32:mx_rceil") == 2.0f);
  CHECK(scale_of(448.0f, "e4m3:group32:mx_rceil") == 1.0f);
  CHECK(scale_of(std::nextafterf(448.0f, 449.0f), "e4m3:group32:mx_rceil") == 2.0f);
  CHECK(scale_of(57344.0f, "e5m2:group32:mx_rceil") == 1.0f);
  CHECK(scale_of(std::nextafterf(57344.0f, 1e9f), "e5m2:group32:mx_rceil") == 2.0f);
  // floor(log2 7) - 2 = 0; ceil 1; to even: 7 = 1.11b * 4 rounds to 1.0b * 8 with one mantissa bit
  CHECK(scale_of(7.0f, "e2m1:group32:mx_floor") == 1.0f);
  CHECK(scale_of(7.0f, "e2m1:group32:mx_ceil") == 2.0f);
  CHECK(scale_of(7.0f, "e2m1:group32:mx_even") == 2.0f);
  CHECK(scale_of(6.9f, "e2m1:group32:mx_even") == 1.0f);
  CHECK(scale_of(4.0f, "e2m1:group32:mx_ceil") == 1.0f);
  CHECK(scale_of(1.0f, "e2m3:group32:mx_floor") == 0.25f);
  CHECK(scale_of(1.0f, "e3m2:group32:mx_floor") == 0.0625f);
  CHECK(scale_of(1.0f, "e4m3:group32:mx_floor") == 0x1p-8f);
  CHECK(scale_of(1.0f, "e5m2:group32:mx_floor") == 0x1p-15f);
}

TEST_CASE("microscaling: no range gives byte 0, 2^-127; scales of very large and very small blocks are finite") {
  for (const char* text : {"e2m1:group32:mx_floor", "e2m1:group32:mx_ceil", "e2m1:group32:mx_even",
                           "e2m1:group32:mx_rceil", "e5m2:group32:mx_rceil", "e4m3:group32:mx_floor"}) {
    CAPTURE(std::string(text));
    CHECK(scale_of(0.0f, text) == 0x1p-127f);
    CHECK(fake(0.0f, 0.0f, text) == 0.0f);
    CHECK(std::signbit(fake(-0.0f, 0.0f, text)));
    const float most = 0x1p126f;
    CHECK(std::isfinite(fake(most, most, text)));
    CHECK(fake(most, most, text) >= 0.7f * most);
    CHECK(std::isfinite(fake(1e-44f, 1e-44f, text)));
  }
}

TEST_CASE("e2m1 rounds ties to the even code") {
  const float x[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f, 5.01f, 7.0f, INFINITY, -INFINITY, -0.75f};
  const float expected[] = {0.0f, 1.0f, 1.0f, 2.0f, 2.0f, 4.0f, 4.0f, 6.0f, 6.0f, 6.0f, -6.0f, -1.0f};
  for (std::size_t i = 0; i < std::size(x); ++i) {
    CAPTURE(x[i]);
    CHECK(nearest_element(FloatElement::kE2M1, x[i]) == expected[i]);
  }
}

TEST_CASE("elements: every representable number is its own nearest, and the largest is what the format says") {
  for (const FloatElement e :
       {FloatElement::kE4M3, FloatElement::kE5M2, FloatElement::kE2M3, FloatElement::kE3M2, FloatElement::kE2M1}) {
    const FloatElementFormat f = format_of(e);
    CAPTURE(f.largest);
    CHECK(nearest_element(e, f.largest) == f.largest);
    CHECK(nearest_element(e, 2.0f * f.largest) == f.largest);
    CHECK(std::ilogb(f.largest) == f.max_exponent);
    int count = 0;
    for (int exponent = f.min_exponent; exponent <= f.max_exponent; ++exponent)
      for (int m = 0; m < 1 << f.mantissa_bits; ++m) {
        const float v = std::ldexp(1.0f + std::ldexp(static_cast<float>(m), -f.mantissa_bits), exponent);
        if (v > f.largest) continue;
        CHECK(nearest_element(e, v) == v);
        CHECK(nearest_element(e, std::ldexp(static_cast<float>(m), f.min_exponent - f.mantissa_bits)) ==
              std::ldexp(static_cast<float>(m), f.min_exponent - f.mantissa_bits));  // subnormals
        ++count;
      }
    CHECK(count > 5);
  }
}

TEST_CASE("NVFP4: block scales are e4m3 of amax / 6 over the tensor's scale, at least 2^-6") {
  const float t = nvfp4_tensor_scale(2688.0f);
  CHECK(t == 1.0f);
  CHECK(scale_of(6.0f, "e2m1:group16:nvfp4", FloatType::kFloat32, t) == 1.0f);
  CHECK(scale_of(2688.0f, "e2m1:group16:nvfp4", FloatType::kFloat32, t) == 448.0f);
  CHECK(scale_of(0.001f, "e2m1:group16:nvfp4", FloatType::kFloat32, t) == 0x1p-6f);
  CHECK(scale_of(6.6f, "e2m1:group16:nvfp4", FloatType::kFloat32, t) == 1.125f);  // 1.1 in e4m3
  CHECK(fake(5.9f, 6.0f, "e2m1:group16:nvfp4", t) == 6.0f);
  CHECK(fake(0.001f, 0.001f, "e2m1:group16:nvfp4", t) == 0.0f);
  // an all-zero tensor: no NaN
  const float least = nvfp4_tensor_scale(0.0f);
  CHECK(fake(0.0f, 0.0f, "e2m1:group16:nvfp4", least) == 0.0f);
  CHECK(std::isfinite(fake(1.0f, 0.0f, "e2m1:group16:nvfp4", least)));
}

TEST_CASE("FP8: the scale is amax / 448 on the grid of the input, and never 0") {
  CHECK(scale_of(448.0f, "e4m3:token:amax") == 1.0f);
  CHECK(scale_of(57344.0f, "e5m2:tensor:amax") == 1.0f);
  CHECK(scale_of(1.0f, "e4m3:token:amax", FloatType::kBfloat16) == static_cast<float>(bfloat16(1.0f / 448.0f)));
  CHECK(scale_of(0.0f, "e4m3:token:amax") == 0x1p-126f);
  CHECK(fake(100.0f, 448.0f, "e4m3:token:amax") == 96.0f);  // between 96 and 104: to even
  CHECK(fake(-1000.0f, 448.0f, "e4m3:token:amax") == -448.0f);
}

TEST_CASE("NaN becomes +0 in every format and does not pass its gradient; infinities saturate and do not") {
  for (const char* text : {"e4m3:token:amax", "e5m2:group32:mx_rceil", "e2m1:group16:nvfp4"}) {
    CAPTURE(std::string(text));
    const ScaledFloatSpec spec = parse_scaled_float_spec(text);
    const ScaledFloatBlock block = choose_block(3.0f, 0.001f, spec, FloatType::kFloat32);
    CHECK(compare_bits(std::vector<float>{0.0f},
                       std::vector<float>{fake_quantize(-NAN, block, spec, FloatType::kFloat32)}));
    CHECK(fake_quantize(INFINITY, block, spec, FloatType::kFloat32) == format_of(spec.element).largest * block.scale);
    CHECK_FALSE(passes_gradient(NAN, block, spec));
    CHECK_FALSE(passes_gradient(-INFINITY, block, spec));
    CHECK(passes_gradient(1.0f, block, spec));
  }
}

TEST_CASE("scaled float specs are written and read back; errors name the field") {
  for (const ScaledFloatSpec& spec :
       {kFp8Tensor, kFp8Row, kMxfp8, kMxfp4, kNvfp4,
        ScaledFloatSpec{FloatElement::kE3M2, PerAxis<0>::granularity, ScaleRule::kMxEven}})
    CHECK(parse_scaled_float_spec(to_string(spec).c_str()) == spec);
  CHECK(std::string(to_string(kNvfp4).c_str()) == "e2m1:group16:nvfp4");
  const auto message = [](const char* text) -> std::string {
    try {
      parse_scaled_float_spec(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(message("e4m2:token:amax") ==
        "spec \"e4m2:token:amax\": element type is \"e4m2\", accepted: e4m3, e5m2, e2m3, e3m2, e2m1");
  CHECK(message("e4m3:group0:amax").find("granularity is \"group0\"") != std::string::npos);
  CHECK(message("e4m3:token:max").find("scale rule is \"max\"") != std::string::npos);
  CHECK(message("e4m3:token:amax:x").find("scale rule is \"amax:x\"") != std::string::npos);
  CHECK(message("e4m3:token").find("scale rule is \"\"") != std::string::npos);
  CHECK(message("e4m3:group16:nvfp4").find("nvfp4 needs elements e2m1") != std::string::npos);
}
