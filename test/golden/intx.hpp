// Integer schemes: parameters, codes, dequantized values and straight-through gradients of families f01, f02, f03 and of
// the tinygemm form of f06, bit for bit.
#pragma once

#include "golden/case.hpp"

namespace qat::golden {

/// The scheme a case's spec describes; throws Error(kUnsupported) for anything this file does not know.
inline QuantSpec parse_case_spec(const JsonFields& f) {
  QuantSpec spec;
  spec.bits = static_cast<int>(f.integer("bits"));
  spec.is_signed = f.integer("qmin") < 0;
  QAT_CHECK(f.integer("qmin") == spec.qmin() && f.integer("qmax") == spec.qmax(), kUnsupported, "codes [", f.integer("qmin"),
            ", ", f.integer("qmax"), "] are not all codes of ", spec.bits, " bits");
  const std::string granularity = f.string("granularity");
  Granularity& g = spec.granularity;
  if (granularity == "per_group") {
    g = {GranularityKind::kPerGroup, 0, f.integer("group_size")};
  } else if (granularity == "per_token") {
    g.kind = GranularityKind::kPerToken;
  } else if (granularity == "per_tensor") {
    g.kind = GranularityKind::kPerTensor;
  } else {
    QAT_CHECK((granularity == "per_axis" || granularity == "per_row") && f.integer_or("axis", 0) == 0, kUnsupported,
              "granularity ", granularity, " axis ", f.integer_or("axis", 0));
    g = {GranularityKind::kPerAxis, 0};
  }
  const std::string mapping = f.string("mapping"), domain = f.string("zero_point_domain");
  if (mapping == "SYMMETRIC") {
    spec.mapping = MappingKind::kSymmetric;
  } else if (mapping == "SYMMETRIC_NO_CLIPPING_ERR") {
    spec.mapping = MappingKind::kSymmetricNoClip;
  } else {
    QAT_CHECK(mapping == "ASYMMETRIC", kUnsupported, "mapping ", mapping);
    spec.mapping = domain == "FLOAT"                        ? MappingKind::kFloatZeroPoint
                   : f.boolean_or("preserve_zero", true) ? MappingKind::kAsymmetric
                                                            : MappingKind::kAsymmetricRaw;
  }
  QAT_CHECK(domain == "INT" || spec.mapping == MappingKind::kFloatZeroPoint, kUnsupported, "zero_point_domain ", domain);
  QAT_CHECK(f.string("rounding") == "half_to_even", kUnsupported, "rounding ", f.string("rounding"));
  spec.scale_type = scale_type_of(parse_float_type(f.string("scale_dtype"), "scale_dtype"));
  spec.eps = static_cast<float>(f.number("eps"));
  validate(spec);
  return spec;
}

/// What the definition gives for a whole tensor.
struct Quantized {
  std::vector<index_t> shape, groups_shape;
  std::vector<float> scale, zero_point, dequantized;
  std::vector<std::int64_t> codes;
  std::vector<index_t> group;      ///< group of each element
  std::vector<QParams> params;
  std::vector<GroupRange> ranges;
};

inline std::vector<index_t> group_of_elements(const GroupLayout& layout) {
  std::vector<index_t> group(static_cast<std::size_t>(layout.rows * layout.columns));
  for (index_t r = 0; r < layout.rows; ++r)
    for (index_t c = 0; c < layout.columns; ++c)
      group[static_cast<std::size_t>(r * layout.columns + c)] =
          r / layout.tile_rows * layout.tiles_per_row + c / layout.tile_columns;
  return group;
}

/// Parameters of `calibration`, applied to `x`, element by element through quant/affine.hpp.
inline Quantized quantize_by_definition(const Array& x, const Array& calibration, const AffineScheme& scheme) {
  const GroupLayout layout = group_layout(scheme.spec.granularity, x.rows(), x.columns());
  Quantized out;
  out.shape = x.shape;
  out.groups_shape = {layout.tile_row_count, layout.tiles_per_row};
  if (scheme.spec.granularity.kind == GranularityKind::kPerTensor) out.groups_shape = {1};
  out.group = group_of_elements(layout);
  out.ranges.resize(static_cast<std::size_t>(layout.count()));
  for (std::size_t i = 0; i < calibration.floats.size(); ++i)
    out.ranges[static_cast<std::size_t>(out.group[i])].observe(calibration.floats[i]);
  for (const GroupRange& range : out.ranges) {
    out.params.push_back(choose_qparams(range, scheme));
    out.scale.push_back(out.params.back().scale);
    out.zero_point.push_back(out.params.back().zero_point);
  }
  for (std::size_t i = 0; i < x.floats.size(); ++i) {
    const QParams& p = out.params[static_cast<std::size_t>(out.group[i])];
    out.codes.push_back(quantize(x.floats[i], p, scheme));
    out.dequantized.push_back(dequantize(static_cast<int>(out.codes.back()), p, scheme));
  }
  return out;
}
inline Quantized quantize_by_definition(const Array& x, const AffineScheme& scheme) {
  return quantize_by_definition(x, x, scheme);
}

inline std::vector<float> gradient_by_definition(const Array& x, const std::vector<float>& dy, const Quantized& q,
                                                 const AffineScheme& scheme, SteMask mask) {
  std::vector<float> out(x.floats.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = fake_quantize_backward(dy[i], x.floats[i], q.params[static_cast<std::size_t>(q.group[i])], scheme, mask);
  return out;
}

/// Our written rule for non-finite input (quant/affine.hpp): the group's parameters are those of its finite elements, NaN
/// takes the zero point and decodes to 0, infinities saturate, nothing that comes out is NaN or infinite.
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
    if (is_nan(v)) good = good && y == 0.0f && static_cast<float>(q.codes[i]) == q.zero_point[g];
    else if (is_nonfinite(v)) good = good && q.codes[i] == (v > 0.0f ? scheme.spec.qmax() : scheme.spec.qmin());
    else good = good && q.codes[i] == reference.codes[i];
    if (!good) return c.fail("element " + std::to_string(i) + " breaks the rule for non-finite input");
  }
}

/// Groups with NaN or infinity (in cases marked nonfinite), and those whose range does not fit the input dtype: torchao's
/// scale is then infinite and its output NaN, ours is clamped to the largest finite number.
inline std::vector<bool> excused_groups(const Array& x, const Quantized& q, const AffineScheme& scheme, bool nonfinite) {
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
  const double unit = scheme.input == FloatType::kFloat32 ? 0x1p-23 : scheme.input == FloatType::kBfloat16 ? 0x1p-7 : 0x1p-10;
  for (std::size_t i = 0; i < x.floats.size(); ++i) {
    const double s = q.scale[static_cast<std::size_t>(q.group[i])];
    const double levels = scheme.spec.qmax() - scheme.spec.qmin();
    const double bound = s * (1 + levels * unit * 4);
    const double error = static_cast<double>(x.floats[i]) - static_cast<double>(q.dequantized[i]);
    if (!(error <= bound && -error <= bound)) return c.fail("element " + std::to_string(i) + " is more than a step off");
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
  check("scale", q.scale, q.groups_shape);
  check("zero_point", q.zero_point, q.groups_shape);
  check("codes", q.codes, q.shape);
  check("dequantized", q.dequantized, q.shape);
  check("fake_quantized", q.dequantized, q.shape);
  if (!c.has("grad_output")) return;
  const std::vector<float>& dy = c.input("grad_output").floats;
  QAT_CHECK(dy.size() == x.floats.size(), kUnsupported, "grad_output and input differ in size");
  check("grad_input", gradient_by_definition(x, dy, q, scheme, SteMask::kStrict), q.shape);
  check("grad_input_inclusive", gradient_by_definition(x, dy, q, scheme, SteMask::kInclusive), q.shape);
}

}  // namespace qat::golden
