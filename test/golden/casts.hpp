// Family f10: conversions between fp32 and the small floats, code by code.
#pragma once

#include "golden/case.hpp"
#include "qat/numeric/float4.hpp"
#include "qat/numeric/float8.hpp"

namespace qat::golden {

/// Compares codes (stored as bytes) or, for the 16-bit formats, values. NaN codes are the same whatever their payload.
template <class Format>
void run_cast(Case& c, float clamp_to) {
  if (c.has("decoded")) {
    const char* from = c.has("codes") ? "codes" : "input";  // fp16 to fp32: the input is the code
    const Array& codes = c.input(from);
    std::vector<float> decoded;
    for (const std::int64_t code : codes.integers)
      decoded.push_back(static_cast<float>(Format::from_bits(static_cast<std::uint32_t>(code))));
    for (const float value : codes.floats) decoded.push_back(static_cast<float>(Format(value)));
    return c.exact("decoded", decoded, codes.shape);
  }
  const Array& x = c.input("input");
  const Array& expected = c.expected("codes");
  std::vector<std::int64_t> codes;
  std::vector<float> values;
  for (std::size_t i = 0; i < x.floats.size(); ++i) {
    float value = x.floats[i];
    if (clamp_to > 0 && value > clamp_to) value = clamp_to;
    if (clamp_to > 0 && value < -clamp_to) value = -clamp_to;
    const Format ours(value);
    values.push_back(static_cast<float>(ours));
    codes.push_back(ours.bits);
    if (i >= expected.integers.size()) continue;
    const float theirs = static_cast<float>(Format::from_bits(static_cast<std::uint32_t>(expected.integers[i])));
    if (is_nan(theirs) && is_nan(values.back())) codes.back() = expected.integers[i];
  }
  if (expected.integers.empty()) return c.exact("codes", values, x.shape);
  if (!c.flag("nonfinite")) return c.exact("codes", codes, x.shape);
  // A format without NaN: ours becomes the largest magnitude with NaN's sign; what torchao does is recorded, not a
  // rule.
  std::vector<bool> excused;
  for (std::size_t i = 0; i < x.floats.size(); ++i) {
    excused.push_back(is_nonfinite(x.floats[i]));
    if (is_nan(x.floats[i]) && !(values[i] == static_cast<float>(Format(values[i] > 0 ? 1e30f : -1e30f))))
      c.fail("NaN does not become the largest magnitude");
  }
  c.exact_but("codes", codes, x.shape, excused);
}

inline void run_casts(Case& c) {
  const std::string element = c.spec().string("element_dtype"), rule = c.spec().string_or("rule", "");
  float clamp_to = 0.0f;
  if (rule.starts_with("clamp to +-max")) clamp_to = element == "e4m3" ? 448.0f : element == "e5m2" ? 57344.0f : 0.0f;
  QAT_CHECK(rule.empty() || rule.starts_with("torch Tensor.to") || rule.starts_with("saturating") || clamp_to > 0,
            kUnsupported, "rule ", rule, " for ", element);
  if (element == "e4m3")
    run_cast<float8_e4m3>(c, clamp_to);
  else if (element == "e5m2")
    run_cast<float8_e5m2>(c, clamp_to);
  else if (element == "e8m0")
    run_cast<float8_e8m0>(c, clamp_to);
  else if (element == "e2m1")
    run_cast<float4_e2m1>(c, clamp_to);
  else if (element == "e2m3")
    run_cast<float6_e2m3>(c, clamp_to);
  else if (element == "e3m2")
    run_cast<float6_e3m2>(c, clamp_to);
  else if (element == "bf16")
    run_cast<bfloat16>(c, clamp_to);
  else if (element == "fp16" || (element == "fp32" && c.spec().string("input_dtype") == "fp16"))
    run_cast<half>(c, clamp_to);
  else
    raise(ErrorCode::kUnsupported, "element_dtype ", element);
}

}  // namespace qat::golden
