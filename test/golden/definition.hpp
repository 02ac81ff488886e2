// A case's spec as a QuantSpec, and what quant/affine.hpp gives for a whole tensor, element by element.
#pragma once

#include "golden/case.hpp"

namespace qat::golden {

/// The scheme a case's spec describes; throws Error(kUnsupported) for anything this file does not know.
inline QuantSpec parse_case_spec(const JsonFields& f) {
  QuantSpec spec;
  spec.bits = static_cast<int>(f.integer("bits"));
  spec.is_signed = f.integer("qmin") < 0;
  QAT_CHECK(f.integer("qmin") == spec.qmin() && f.integer("qmax") == spec.qmax(), kUnsupported, "codes [",
            f.integer("qmin"), ", ", f.integer("qmax"), "] are not all codes of ", spec.bits, " bits");
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
    spec.mapping = domain == "FLOAT"                     ? MappingKind::kFloatZeroPoint
                   : f.boolean_or("preserve_zero", true) ? MappingKind::kAsymmetric
                                                         : MappingKind::kAsymmetricRaw;
  }
  QAT_CHECK(domain == "INT" || spec.mapping == MappingKind::kFloatZeroPoint, kUnsupported, "zero_point_domain ",
            domain);
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
  std::vector<index_t> group;  ///< group of each element
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

}  // namespace qat::golden
