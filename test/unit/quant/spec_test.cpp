// Spec text: every combination of fields comes back, and every malformed field is named.
#include "qat/quant/spec.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

using namespace qat;

namespace {
std::string error_of(const char* text) {
  try {
    parse_spec(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("parse_spec(to_string(spec)) == spec for every combination of fields") {
  const Granularity granularities[] = {
      PerTensor::granularity,   PerToken::granularity,     PerAxis<0>::granularity,       PerAxis<1>::granularity,
      PerGroup<1>::granularity, PerGroup<32>::granularity, PerBlock<128, 64>::granularity};
  index_t combinations = 0;
  for (int bits = 1; bits <= 8; ++bits)
    for (const bool is_signed : {true, false})
      for (const Granularity& g : granularities)
        for (int mapping = 0; mapping < 6; ++mapping)
          for (int scale = 0; scale < 7; ++scale)
            for (int rounding = 0; rounding < 4; ++rounding)
              for (const float eps : {0.0f, 1e-6f, 0x1p-126f, 0.1f}) {
                const QuantSpec spec{bits,
                                     is_signed,
                                     g,
                                     static_cast<MappingKind>(mapping),
                                     static_cast<ScaleType>(scale),
                                     static_cast<RoundingKind>(rounding),
                                     eps};
                if (spec.mapping == MappingKind::kSignedExtremum && (!is_signed || bits < 2)) continue;
                ++combinations;
                const auto text = to_string(spec);
                if (parse_spec(text.c_str()) == spec) continue;
                CAPTURE(text.c_str());
                REQUIRE(parse_spec(text.c_str()) == spec);
              }
  CHECK(combinations > 60000);
}

TEST_CASE("canonical text leaves defaults out") {
  CHECK(std::string_view(to_string(spec_of<Int4, PerGroup<32>, Symmetric>).c_str()) == "int4:group32:symmetric");
  CHECK(std::string_view(to_string(spec_of<Int4, PerGroup<32>, SignedExtremum, Bfloat16Safe>).c_str()) ==
        "int4:group32:signed_extremum:bf16safe");
  CHECK(std::string_view(to_string(spec_of<UInt8, PerBlock<2, 3>, AsymmetricRaw, InputScale, Stochastic>).c_str()) ==
        "uint8:block2x3:asymmetric_raw:input:stochastic");
  CHECK(parse_spec("int8:token:asymmetric:float32:half_to_even") == spec_of<Int8, PerToken, Asymmetric>);
}

TEST_CASE("every malformed field is an error that names the spec, the field, what was found and what is accepted") {
  struct Row {
    const char* text;
    const char* field;
    const char* found;
  };
  for (const Row& r : std::initializer_list<Row>{
           {"", "element type", "\"\""},
           {"int", "element type", "\"int\""},
           {"int0:tensor:symmetric", "element type", "\"int0\""},
           {"int9:tensor:symmetric", "element type", "\"int9\""},
           {"uint9:tensor:symmetric", "element type", "\"uint9\""},
           {"int4x:tensor:symmetric", "element type", "\"int4x\""},
           {"int-4:tensor:symmetric", "element type", "\"int-4\""},
           {"int99999999999999999999:tensor:symmetric", "element type", "int99999999999999999999"},
           {"float4:tensor:symmetric", "element type", "\"float4\""},
           {"uint4narrow:tensor:symmetric", "element type", "\"uint4narrow\""},
           {"int4narrows:tensor:symmetric", "element type", "\"int4narrows\""},
           {"iq4_nl8:tensor:symmetric", "element type", "\"iq4_nl8\""},
           {" int4:tensor:symmetric", "element type", "\" int4\""},
           {"Int4:tensor:symmetric", "element type", "\"Int4\""},
           {"int4", "granularity", "\"\""},
           {"int4:", "granularity", "\"\""},
           {"int4::symmetric", "granularity", "\"\""},
           {"int4:row:symmetric", "granularity", "\"row\""},
           {"int4:group:symmetric", "granularity", "\"group\""},
           {"int4:group0:symmetric", "granularity", "\"group0\""},
           {"int4:group-1:symmetric", "granularity", "\"group-1\""},
           {"int4:group32x:symmetric", "granularity", "\"group32x\""},
           {"int4:group9999999999:symmetric", "granularity", "group9999999999"},
           {"int4:axis2:symmetric", "granularity", "\"axis2\""},
           {"int4:axis:symmetric", "granularity", "\"axis\""},
           {"int4:block4:symmetric", "granularity", "\"block4\""},
           {"int4:block0x4:symmetric", "granularity", "\"block0x4\""},
           {"int4:block4x:symmetric", "granularity", "\"block4x\""},
           {"int4:tensors:symmetric", "granularity", "\"tensors\""},
           {"int4:tensor", "mapping", "\"\""},
           {"int4:tensor:sym", "mapping", "\"sym\""},
           {"int4:tensor:symmetric:", "field", "\"\""},
           {"int4:tensor:symmetric:fp32", "field", "\"fp32\""},
           {"int4:tensor:symmetric:float32:float32", "field", "\"float32\""},
           {"int4:tensor:symmetric:stochastic:float32", "field", "\"float32\""},
           {"int4:tensor:symmetric:eps=1e-6:e8m0", "field", "\"e8m0\""},
           {"int4:tensor:symmetric:eps=1e-6:eps=1e-6", "field", "\"eps=1e-6\""},
           {"int4:tensor:symmetric:eps=", "field", "\"eps=\""},
           {"int4:tensor:symmetric:eps=x", "eps", "\"x\""},
           {"int4:tensor:symmetric:eps=1e-6x", "eps", "\"1e-6x\""},
       }) {
    CAPTURE(r.text);
    const std::string error = error_of(r.text);
    CAPTURE(error);
    CHECK(contains(error, "accepted"));
    CHECK(contains(error, (std::string(r.field) + " is ").c_str()));
    CHECK(contains(error, r.found));
    CHECK_FALSE(contains(error, "\n"));
  }
}

TEST_CASE("well-formed specs that make no sense are refused by validate") {
  for (const char* text :
       {"uint4:tensor:signed_extremum", "int1:tensor:signed_extremum", "int4:tensor:symmetric:eps=-1",
        "int4:tensor:symmetric:eps=1e-40", "int4:tensor:symmetric:eps=1e38", "int4:tensor:symmetric:eps=nan",
        "int4:tensor:symmetric:eps=inf", "int4:group32:float_minimum", "int1narrow:group32:symmetric",
        "int4narrow:group32:asymmetric", "iq4_nl:group32:symmetric_no_clip", "e2m1:group32:symmetric:stochastic",
        "int8narrow:token:symmetric:ggml_half", "int8:group32:asymmetric:ggml_half",
        "int8narrow:axis0:symmetric:ggml_float"}) {
    CAPTURE(text);
    const std::string error = error_of(text);
    CAPTURE(error);
    CHECK(contains(error, "QuantSpec: "));
  }
  QuantSpec spec;
  CHECK_NOTHROW(validate(spec));
  spec.bits = 9;
  CHECK_THROWS_AS(validate(spec), Error);
  spec = QuantSpec{};
  spec.granularity = {GranularityKind::kPerAxis, 2};
  CHECK_THROWS_AS(validate(spec), Error);
  spec.granularity = {GranularityKind::kPerGroup, 0, kDynamicGroupSize};
  CHECK_THROWS_AS(validate(spec), Error);
}

TEST_CASE("elements of some integers are named, and say which") {
  for (const char* text : {"int2narrow:group256:symmetric:bf16safe", "iq4_nl:group32:signed_extremum:bf16safe",
                           "e2m1:group32:symmetric:e8m0", "int8narrow:group32:symmetric:ggml_half",
                           "int8narrow:group256:symmetric:ggml_float", "uint4:group32:float_minimum:float16"})
    CHECK(std::string(to_string(parse_spec(text)).c_str()) == text);
  CHECK(parse_spec("int2narrow:group256:symmetric") == spec_of<Ternary, PerGroup<256>, Symmetric>);
  CHECK(parse_spec("iq4_nl:group32:signed_extremum:float16") == spec_of<Iq4Nl, PerGroup<32>, SignedExtremum, half>);
  CHECK(parse_spec("e2m1:group32:symmetric:e8m0") == spec_of<E2m1, PerGroup<32>, Symmetric, float8_e8m0>);
  const auto bounds = [](const char* text) {
    const QuantSpec spec = parse_spec(text);
    return std::pair(spec.qmin(), spec.qmax());
  };
  CHECK(bounds("int2narrow:tensor:symmetric") == std::pair(-1, 1));
  CHECK(bounds("int8narrow:tensor:symmetric") == std::pair(-127, 127));
  CHECK(bounds("iq4_nl:tensor:signed_extremum") == std::pair(-127, 113));
  CHECK(bounds("e2m1:tensor:symmetric") == std::pair(-12, 12));
}

TEST_CASE("types and values agree at compile time") {
  constexpr QuantSpec s = spec_of<Int4, PerGroup<32>, Symmetric, bfloat16, HalfAwayFromZero>;
  static_assert(s.qmin() == -8 && s.qmax() == 7 && s.granularity.group_size == 32 &&
                s.scale_type == ScaleType::kBfloat16);
  static_assert(s.rounding == RoundingKind::kHalfAwayFromZero &&
                s == QuantPolicy<Int4, PerGroup<32>, Symmetric, bfloat16, HalfAwayFromZero>::spec);
  static_assert(spec_of<UInt8, PerTensor, Asymmetric>.qmin() == 0 &&
                spec_of<UInt8, PerTensor, Asymmetric>.qmax() == 255);
  static_assert(QuantizedType<Int3> && !QuantizedType<float> && GranularityPolicy<PerToken> &&
                MappingPolicy<Asymmetric>);
  static_assert(kScaleTypeOf<float8_e8m0> == ScaleType::kE8M0 && kScaleTypeOf<float8_e4m3> == ScaleType::kE4M3 &&
                kScaleTypeOf<half> == ScaleType::kFloat16);
  CHECK(s == parse_spec("int4:group32:symmetric:bfloat16:half_away_from_zero"));
}
