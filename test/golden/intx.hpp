// Integer schemes: parameters, codes, dequantized values and straight-through gradients of families f01, f02, f03 and
// of the tinygemm form of f06, bit for bit, by the definition and through every kernel.
#pragma once

#include "golden/kernels.hpp"

namespace qat::golden {

/// Our written rule for non-finite input (quant/affine.hpp): the group's parameters are those of its finite elements,
/// NaN takes the zero point and decodes to 0, infinities saturate, nothing that comes out is NaN or infinite.
inline void check_finite_rule(Case& c, const Array& x, const Quantized& q, const AffineScheme& scheme) {
  for (const float s : q.scale)
    if (is_nonfinite(s) || s == 0.0f) return c.fail("a scale is 0, NaN or infinite");
  if (!c.flag("nonfinite")) return;
  Array finite = x;
  for (float& v : finite.floats)
    if (is_nonfinite(v)) v = 0.0f;  // 0 is in every range of the mappings such cases use
  const Quantized reference = quantize_by_definition(finite, scheme);
  for (std::size_t i = 0; i < x.floats.size(); ++i) {
    const float v = x.floats[i], y = q.dequantized[i];
    const std::size_t g = static_cast<std::size_t>(q.group[i]);
    bool good = q.scale[g] == reference.scale[g] && q.zero_point[g] == reference.zero_point[g] && !is_nonfinite(y);
    if (is_nan(v))
      good = good && y == 0.0f && static_cast<float>(q.codes[i]) == q.zero_point[g];
    else if (is_nonfinite(v))
      good = good && q.codes[i] == (v > 0.0f ? scheme.spec.qmax() : scheme.spec.qmin());
    else
      good = good && q.codes[i] == reference.codes[i];
    if (!good) return c.fail("element " + std::to_string(i) + " breaks the rule for non-finite input");
  }
}

/// Groups with NaN or infinity (in cases marked nonfinite), and those whose range does not fit the input dtype:
/// torchao's scale is then infinite and its output NaN, ours is clamped to the largest finite number.
inline std::vector<bool> excused_groups(const Array& x, const Quantized& q, const AffineScheme& scheme,
                                        bool nonfinite) {
  std::vector<bool> excused(q.params.size());
  for (std::size_t i = 0; i < x.floats.size(); ++i)
    if (nonfinite && is_nonfinite(x.floats[i])) excused[static_cast<std::size_t>(q.group[i])] = true;
  for (std::size_t g = 0; g < excused.size(); ++g) {
    const GroupRange& range = q.ranges[g];
    const bool symmetric = has_constant_zero_point(scheme.spec.mapping);
    if (!symmetric && is_nonfinite(round_to(scheme.input, range.max - range.min))) excused[g] = true;
  }
  return excused;
}

/// Our own asymmetric scheme on the input of an upstream defect: no element is more than a step off (half a step for
/// rounding the element, half for rounding the zero point).
inline void check_step(Case& c, const Array& x, const Quantized& q, const AffineScheme& scheme) {
  const double unit = scheme.input == FloatType::kFloat32    ? 0x1p-23
                      : scheme.input == FloatType::kBfloat16 ? 0x1p-7
                                                             : 0x1p-10;
  for (std::size_t i = 0; i < x.floats.size(); ++i) {
    const double s = q.scale[static_cast<std::size_t>(q.group[i])];
    const double levels = scheme.spec.qmax() - scheme.spec.qmin();
    const double bound = s * (1 + levels * unit * 4);
    const double error = static_cast<double>(x.floats[i]) - static_cast<double>(q.dequantized[i]);
    if (!(error <= bound && -error <= bound))
      return c.fail("element " + std::to_string(i) + " is more than a step off");
  }
}

/// Families f01, f02, f03 and the INT and FLOAT domain cases of f06.
inline void run_intx(Case& c) {
  const Array& x = c.input("input");
  const FloatType input_type = parse_float_type(c.spec().string("input_dtype"), "input_dtype");
  QAT_CHECK(input_type == x.float_type(), kUnsupported, "input_dtype disagrees with the tensor");
  const AffineScheme scheme(parse_case_spec(c.spec()), input_type);
  const Array& calibration = c.has("calibration_input") ? c.input("calibration_input") : x;
  QAT_CHECK(calibration.shape == x.shape, kUnsupported, "calibration_input and input have different shapes");
  const Quantized q = quantize_by_definition(x, calibration, scheme);

  const bool nonfinite = c.flag("nonfinite"), defect = c.flag("upstream_defect");
  std::vector<bool> groups = excused_groups(x, q, scheme, nonfinite), elements;
  if (defect) groups.assign(groups.size(), true);
  for (const index_t g : q.group) elements.push_back(groups[static_cast<std::size_t>(g)]);
  check_finite_rule(c, x, q, scheme);
  if (defect) check_step(c, x, q, scheme);

  const auto check = [&](const char* role, const auto& actual, const std::vector<index_t>& shape) {
    if (c.has(role)) c.exact_but(role, actual, shape, shape == q.groups_shape ? groups : elements);
  };
  static const std::vector<float> none;
  const std::vector<float>& dy = c.has("grad_output") ? c.input("grad_output").floats : none;
  QAT_CHECK(dy.empty() || dy.size() == x.floats.size(), kUnsupported, "grad_output and input differ in size");
  check_kernels(c, x, calibration, dy, q, scheme);

  check("scale", q.scale, q.groups_shape);
  check("zero_point", q.zero_point, q.groups_shape);
  check("codes", q.codes, q.shape);
  check("dequantized", q.dequantized, q.shape);
  check("fake_quantized", q.dequantized, q.shape);
  if (dy.empty()) return;
  check("grad_input", gradient_by_definition(x, dy, q, scheme, SteMask::kStrict), q.shape);
  check("grad_input_inclusive", gradient_by_definition(x, dy, q, scheme, SteMask::kInclusive), q.shape);
}

}  // namespace qat::golden
