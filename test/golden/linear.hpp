// Linear and embedding layers with fake-quantized operands (f04, f05, f06) and the two int4 weight forms of f06:
// operands, codes and scales bit for bit; matrix products, which depend on the order of a sum, within the bound derived
// from it.
#pragma once

#include <functional>

#include "golden/bounded.hpp"
#include "golden/definition.hpp"
#include "qat/ops/linear.hpp"
#include "qat/quant/int4_weight.hpp"

namespace qat::golden {

inline std::vector<Bounded> exactly(const std::vector<float>& values) {
  std::vector<Bounded> out;
  for (const float v : values) out.push_back({v, 0});
  return out;
}
inline std::vector<float> values_of(const std::vector<Bounded>& values) {
  std::vector<float> out;
  for (const Bounded& v : values) out.push_back(static_cast<float>(v.value));
  return out;
}
/// Bounds for two evaluations that are each within the error.
inline std::vector<double> bounds_of(const std::vector<Bounded>& values) {
  std::vector<double> out;
  for (const Bounded& v : values) out.push_back(2 * v.error);
  return out;
}

/// A fake-quantized operand: its values, and the gradient of its source for a gradient of the values.
struct Operand {
  std::vector<float> values;
  std::function<std::vector<Bounded>(const std::vector<Bounded>& dy, SteMask mask)> backward;
};

inline Operand plain_operand(const Array& x) {
  return {x.floats, [](const std::vector<Bounded>& dy, SteMask) { return dy; }};
}

inline Operand affine_operand(const Array& x, const Quantized& q, const AffineScheme& scheme) {
  const double unit = unit_roundoff(scheme.input);
  return {q.dequantized, [&x, q, scheme, unit](const std::vector<Bounded>& dy, SteMask mask) {
            const std::vector<float> gradient = gradient_by_definition(x, values_of(dy), q, scheme, mask);
            std::vector<Bounded> out;
            for (std::size_t i = 0; i < gradient.size(); ++i) {
              const bool passes =
                  passes_gradient(x.floats[i], q.params[static_cast<std::size_t>(q.group[i])], scheme, mask);
              const double g = gradient[i], e = dy[i].error;
              out.push_back({g, passes && e > 0 ? e + kRoundings * unit * (std::fabs(g) + e) : 0.0});
            }
            return out;
          }};
}

/// Groups of `size` consecutive elements; f(first element of the group).
template <class F>
void for_each_group(index_t elements, index_t size, F&& f) {
  QAT_CHECK(size > 0 && elements % size == 0, kUnsupported, "group_size ", size, " does not divide ", elements);
  for (index_t first = 0; first < elements; first += size) f(static_cast<std::size_t>(first));
}

/// Adds `gradient`, in equal parts, to the elements of [first, first + count) that equal `extreme` under `key`.
template <class Key>
void share_among_ties(const std::vector<float>& x, std::size_t first, std::size_t count, float extreme, Key&& key,
                      Bounded gradient, double unit, std::vector<Bounded>& dx, std::vector<bool>& touched) {
  double ties = 0;
  for (std::size_t i = first; i < first + count; ++i) ties += key(x[i]) == extreme;
  const Rounding fp{unit};
  for (std::size_t i = first; i < first + count; ++i) {
    if (!(key(x[i]) == extreme)) continue;
    Bounded share = fp.divide(gradient, {ties, 0});
    if (key(x[i]) != x[i]) share.value = -share.value;  // d|x|
    dx[i] = fp.add(dx[i], share);
    touched[i] = true;
  }
}

/// Int4 with a float zero point (quant/int4_weight.hpp). The gradient also flows through the group's extremes:
/// y = q s + z, z = min + 8 s, s = max(max - min, 1e-6) / 15, q = clamp(round((x - min) / s), 0, 15) - 8.
inline Operand int4_float_zero_operand(const Array& x, index_t size) {
  const FloatType type = x.float_type();
  Operand out;
  std::vector<Int4FloatZeroGroup> groups;
  std::vector<GroupRange> ranges;
  for_each_group(x.size(), size, [&](std::size_t first) {
    GroupRange range;
    for (std::size_t i = first; i < first + static_cast<std::size_t>(size); ++i) range.observe(x.floats[i]);
    ranges.push_back(range);
    groups.push_back(choose_int4_float_zero(range));
    for (std::size_t i = first; i < first + static_cast<std::size_t>(size); ++i)
      out.values.push_back(dequantize(quantize(x.floats[i], groups.back()), groups.back(), type));
  });
  out.backward = [&x, groups, ranges, size, type](const std::vector<Bounded>& dy, SteMask mask) {
    const Rounding fp{0x1p-24};
    const double unit = unit_roundoff(type);
    std::vector<Bounded> dx(x.floats.size());
    std::vector<bool> touched(x.floats.size());
    std::size_t index = 0;
    for_each_group(x.size(), size, [&](std::size_t first) {
      const Int4FloatZeroGroup& g = groups[index];
      const GroupRange& range = ranges[index++];
      BoundedSum ds, dmin, dz;
      for (std::size_t i = first; i < first + static_cast<std::size_t>(size); ++i) {
        const float u = unclamped_code(x.floats[i], g), q = static_cast<float>(quantize(x.floats[i], g));
        const bool passes = mask == SteMask::kInclusive ? u >= 0 && u <= 15 : u > 0 && u < 15;
        const float dr = passes ? static_cast<float>(dy[i].value) * g.scale : 0.0f, direct = dr / g.scale;
        const double error = passes ? dy[i].error * (1 + 8 * fp.unit) : 0.0;
        dx[i] = {direct, error};
        ds.add(fp.multiply(dy[i], {q, 0}));
        dz.add(dy[i]);
        dmin.add({-static_cast<double>(direct), error});
        const double r = (static_cast<double>(x.floats[i]) - static_cast<double>(g.min)) / static_cast<double>(g.scale);
        ds.add(fp.multiply({-static_cast<double>(direct), error}, fp.rounded({r, 0})));
      }
      const Bounded dzero = dz.result(fp.unit);
      const Bounded dscale = fp.add(ds.result(fp.unit), fp.multiply(dzero, {8, 0}));
      const bool wide = range.max - range.min > kInt4WeightEps;
      const Bounded dwidth = wide ? fp.divide(dscale, {15, 0}) : Bounded{};
      const Bounded low = fp.subtract(fp.add(dmin.result(fp.unit), dzero), dwidth);
      const auto identity = [](float v) { return v; };
      const std::size_t count = static_cast<std::size_t>(size);
      share_among_ties(x.floats, first, count, range.max, identity, dwidth, fp.unit, dx, touched);
      share_among_ties(x.floats, first, count, range.min, identity, low, fp.unit, dx, touched);
    });
    for (std::size_t i = 0; i < dx.size(); ++i) {  // back in the weight's dtype; elements that are no extreme are exact
      dx[i].value = round_to(type, static_cast<float>(dx[i].value));
      if (touched[i] || dx[i].error > 0) dx[i].error += kRoundings * unit * std::fabs(dx[i].value);
    }
    return dx;
  };
  return out;
}

/// A gradient, and the elements at which fp32 evaluation of the published formula overflows on the way.
struct FlaggedGradient {
  std::vector<Bounded> dx;
  std::vector<bool> overflows;
};

/// Int4 over float8 rows. `float8_gradient`: as unchanged torchao, whose autograd casts the gradient to float8 as well.
inline FlaggedGradient int4_over_float8_backward(const Array& x, const std::vector<float>& dy, index_t size,
                                                 SteMask mask, bool float8_gradient, std::vector<float>* forward) {
  const FloatType type = x.float_type();
  const double unit = unit_roundoff(type);
  const Rounding fp{unit};
  const std::size_t columns = static_cast<std::size_t>(x.columns()), group = static_cast<std::size_t>(size);
  const AffineScheme scheme = int4_over_float8_scheme(size, type);
  const auto magnitude = [](float v) { return v < 0 ? -v : v; };
  std::vector<Bounded> dx(x.floats.size());
  std::vector<bool> overflows(x.floats.size());
  std::vector<float> y8(x.floats.size());
  for (std::size_t row = 0; row < x.floats.size(); row += columns) {
    float amax = 0;
    for (std::size_t i = row; i < row + columns; ++i) amax = qat::detail::maximum(amax, magnitude(x.floats[i]));
    const float s8 = float8_row_scale(amax, type);
    for (std::size_t i = row; i < row + columns; ++i) y8[i] = fake_quantize_float8(x.floats[i], s8, type);

    // Int4 over the float8 values: y = q s, q = clamp(round(y8 / s)), s = max(amax / 8, eps).
    std::vector<Bounded> dy8(x.floats.size());
    std::vector<bool> touched(x.floats.size());
    for_each_group(x.columns(), size, [&](std::size_t offset) {
      const std::size_t first = row + offset;
      float largest = 0;
      for (std::size_t i = first; i < first + group; ++i) largest = qat::detail::maximum(largest, magnitude(y8[i]));
      const QParams p = choose_int4_over_float8(largest, scheme);
      BoundedSum ds;
      double largest_product = 0;  // d(1/s) = sum dy s y8 is a product of two large numbers, divided by s^2 afterwards
      for (std::size_t i = first; i < first + group; ++i) {
        const int q = quantize(y8[i], p, scheme);
        const double product = static_cast<double>(dy[i]) * static_cast<double>(p.scale) * static_cast<double>(y8[i]);
        largest_product = std::fmax(largest_product, std::fabs(product));
        if (forward != nullptr) (*forward)[i] = dequantize(q, p, scheme);
        dy8[i] = {fake_quantize_backward(dy[i], y8[i], p, scheme, mask), 0};
        ds.add(fp.multiply({dy[i], 0}, {static_cast<double>(q), 0}));
        const Bounded through =
            fp.multiply({dy8[i].value, 0}, fp.rounded({static_cast<double>(y8[i]) / static_cast<double>(p.scale), 0}));
        ds.add({-through.value, through.error});
      }
      if (!(largest_product < static_cast<double>(largest_finite(type))))
        for (std::size_t i = row; i < row + columns; ++i)
          overflows[i] = true;  // reaches the whole row through its scale
      if (!(round_to(type, largest / 8.0f) > round_to(type, kInt4WeightEps))) return;
      share_among_ties(y8, first, group, largest, magnitude, fp.divide(ds.result(unit), {8, 0}), unit, dy8, touched);
    });

    // Float8 row: y8 = q8 s8, q8 = cast(clamp(x / s8, 448)), s8 = max(amax, 1e-12) / 448.
    BoundedSum ds8;
    std::vector<bool> row_touched(x.floats.size());
    for (std::size_t i = row; i < row + columns; ++i) {
      const double v = static_cast<double>(x.floats[i] / s8),
                   q8 = static_cast<double>(static_cast<float>(float8_e4m3(static_cast<float>(v))));
      const bool passes = mask == SteMask::kInclusive ? v >= -448 && v <= 448 : v > -448 && v < 448;
      const float g = round_to(type, static_cast<float>(dy8[i].value));
      float dv = g * s8;
      double error = (dy8[i].error + (touched[i] ? kRoundings * unit * std::fabs(static_cast<double>(g)) : 0.0)) *
                     static_cast<double>(s8);
      if (float8_gradient) {
        const float cast = static_cast<float>(float8_e4m3(dv));
        // A last-bit difference can move the cast by one code: the spacing at that magnitude, at least the smallest
        // code.
        if (error > 0) {
          const Bounded hull = interval(
              static_cast<double>(static_cast<float>(float8_e4m3(static_cast<float>(static_cast<double>(dv) - error)))),
              static_cast<double>(
                  static_cast<float>(float8_e4m3(static_cast<float>(static_cast<double>(dv) + error)))));
          error = std::fabs(hull.value - static_cast<double>(cast)) + hull.error;
        }
        dv = cast;
      }
      ds8.add({static_cast<double>(g) * q8, dy8[i].error * std::fabs(q8)});
      if (!passes) dv = 0.0f, error = 0;
      dx[i] = {round_to(type, dv / s8), error / static_cast<double>(s8)};
      ds8.add(
          {-static_cast<double>(dv) * (v / static_cast<double>(s8)), error * std::fabs(v / static_cast<double>(s8))});
    }
    if (amax > round_to(type, 1e-12f)) {
      const Bounded damax = Rounding{0x1p-24}.divide(ds8.result(0x1p-24), {448, 0});
      share_among_ties(x.floats, row, columns, amax, magnitude, fp.rounded(damax), unit, dx, row_touched);
    }
  }
  for (std::size_t i = 0; i < dx.size(); ++i) {
    dx[i].value = round_to(type, static_cast<float>(dx[i].value));
    if (dx[i].error > 0) dx[i].error += kRoundings * unit * std::fabs(dx[i].value);
  }
  return {dx, overflows};
}

/// f06/mslk-*: the two int4 weight forms alone.
inline void run_int4_weight(Case& c) {
  const Array& x = c.input("input");
  const std::vector<float>& dy = c.input("grad_output").floats;
  QAT_CHECK(x.float_type() == parse_float_type(c.spec().string("input_dtype"), "input_dtype"), kUnsupported,
            "input_dtype");
  QAT_CHECK(
      c.spec().integer("bits") == 4 && c.spec().string("granularity") == "per_group" && dy.size() == x.floats.size(),
      kUnsupported, "not int4 per group");
  const index_t size = c.spec().integer("group_size");
  const std::string activation = c.spec().string("activation_dtype");
  const auto check = [&](const char* role, const FlaggedGradient& g) {
    if (!c.has(role)) return;
    const std::vector<float> ours = values_of(g.dx);
    for (const float v : ours)
      if (is_nonfinite(v)) c.fail(role, "", "our gradient is not finite");
    c.within(role, ours, x.shape, bounds_of(g.dx), g.overflows);
  };
  if (activation == "bf16") {
    const Operand w = int4_float_zero_operand(x, size);
    c.exact("fake_quantized", w.values, x.shape);
    check("grad_input", {w.backward(exactly(dy), SteMask::kStrict), {}});
    check("grad_input_inclusive", {w.backward(exactly(dy), SteMask::kInclusive), {}});
    return;
  }
  QAT_CHECK(activation == "float8_e4m3fn", kUnsupported, "activation_dtype ", activation);
  std::vector<float> forward(x.floats.size());
  check("grad_input", int4_over_float8_backward(x, dy, size, SteMask::kStrict, true, &forward));
  check("grad_input_inclusive", int4_over_float8_backward(x, dy, size, SteMask::kInclusive, true, nullptr));
  check("grad_input_wide_inclusive", int4_over_float8_backward(x, dy, size, SteMask::kInclusive, false, nullptr));
  c.exact("fake_quantized", forward, x.shape);
}

/// Activation scheme as the cases of f04 describe it in words.
inline AffineScheme parse_activation(const std::string& text, FloatType input) {
  QuantSpec spec{8, true, {GranularityKind::kPerToken}, MappingKind::kAsymmetric, ScaleType::kInput};
  std::size_t begin = 0;
  for (int part = 0; begin <= text.size(); ++part) {
    const std::size_t end = std::min(text.find(", ", begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 2;
    if (word == "fp32 scale")
      spec.scale_type = ScaleType::kFloat32;
    else if (word == "eps 2^-23")
      spec.eps = 0x1p-23f;
    else
      QAT_CHECK(word == (part == 0 ? "int8 per-token asymmetric" : word) &&
                    (part == 0 || word == "scale in input dtype" || word == "int32 zero point" ||
                     word == "fp32 zero point" || word == "eps smallest_normal"),
                kUnsupported, "activation '", text, "': '", word, "'");
  }
  return AffineScheme(spec, input);
}

/// Sum over k of a[i,k] b[j,k] with its bound, in fp32 and then rounded to `type`.  a (n, k), b (m, k): the oracle
inline std::vector<Bounded> product_bounds(const std::vector<Bounded>& a, const std::vector<Bounded>& b, std::size_t n,
                                           std::size_t m, std::size_t k, const std::vector<float>* bias,
                                           FloatType type) {
  const double unit = unit_roundoff(type);
  std::vector<Bounded> out;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < m; ++j) {
      BoundedSum sum;
      for (std::size_t t = 0; t < k; ++t) {
        const Bounded &x = a[i * k + t], &y = b[j * k + t];
        sum.add({x.value * y.value, std::fabs(x.value) * y.error + std::fabs(y.value) * x.error + x.error * y.error});
      }
      ++sum.terms;  // a sum of one product is still rounded
      Bounded y = sum.result(0x1p-24);
      y.error += unit * std::fabs(y.value);  // the product is rounded to its dtype before the bias
      if (bias != nullptr) {
        y.value += static_cast<double>((*bias)[j]);
        y.error += unit * std::fabs(y.value) + 0x1p-24 * std::fabs(y.value);
      }
      out.push_back(y);
    }
  }
  return out;
}

inline std::vector<Bounded> transposed(const std::vector<Bounded>& x, std::size_t rows, std::size_t columns) {
  std::vector<Bounded> out(x.size());
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) out[c * rows + r] = x[r * columns + c];
  return out;
}

/// Our result with the oracle's bounds.
inline std::vector<Bounded> with_bounds(const std::vector<float>& ours, std::vector<Bounded> oracle, FloatType type) {
  for (std::size_t i = 0; i < ours.size(); ++i) oracle[i].value = round_to(type, ours[i]);
  return oracle;
}

/// The weight of a linear or embedding case: scheme checked, scale, codes and values compared.
inline Operand quantized_weight(Case& c, const Array& weight, const std::string& domain) {
  if (domain == "FLOAT" && c.spec().integer("qmin") < 0) {
    Operand w = int4_float_zero_operand(weight, c.spec().integer("group_size"));
    if (c.has("weight_fake_quantized")) c.exact("weight_fake_quantized", w.values, weight.shape);
    return w;
  }
  const AffineScheme scheme(parse_case_spec(c.spec()), weight.float_type());
  const Quantized q = quantize_by_definition(weight, scheme);
  const auto parameters = [&](const char* role, const std::vector<float>& actual) {
    if (!c.has(role)) return;  // the layout of parameters is free: (rows, groups), or (rows) where there is one group
    const Array& e = c.expected(role);
    c.exact(role, actual, e.size() == static_cast<index_t>(actual.size()) ? e.shape : q.groups_shape);
  };
  const auto elements = [&](const char* role, const auto& actual) {
    if (c.has(role)) c.exact(role, actual, weight.shape);
  };
  parameters("weight_scale", q.scale);
  parameters("weight_zero_point", q.zero_point);
  parameters("converted_scale", q.scale);
  parameters("converted_zero_point", q.zero_point);
  elements("converted_codes", q.codes);
  elements("weight_fake_quantized", q.dequantized);
  elements("converted_weight_dequantized", q.dequantized);
  return affine_operand(weight, q, scheme);
}

/// Extra error of a packed tinygemm kernel, which may round (q - mid) s + z fewer times than the simulation does.
inline std::vector<Bounded> unrounded_weights(const std::vector<float>& w, const Array& weight, FloatType type,
                                              index_t group) {
  std::vector<Bounded> out = exactly(w);
  for_each_group(weight.size(), group, [&](std::size_t first) {
    double largest = 0;
    for (std::size_t i = first; i < first + static_cast<std::size_t>(group); ++i)
      largest = std::fmax(largest, std::fabs(static_cast<double>(w[i])));
    // |(q - mid) s| and |z| are at most 2 and 1 times the group's largest magnitude.
    for (std::size_t i = first; i < first + static_cast<std::size_t>(group); ++i)
      out[i].error = 4 * unit_roundoff(type) * largest;
  });
  return out;
}

/// A linear layer whose weight came from another case (legacy convert): only the output and the codes are stored.
inline const Array& weight_of(Case& c, std::unique_ptr<Case>& source) {
  if (c.has("weight")) return c.input("weight");
  const std::string suffix = "-converted", id = c.id();
  QAT_CHECK(id.ends_with(suffix), kUnsupported, "no weight");
  source = c.sibling(id.substr(0, id.size() - suffix.size()));
  QAT_CHECK(source != nullptr, kUnsupported, "no weight, and no case ", id.substr(0, id.size() - suffix.size()));
  return source->input("weight");
}

inline void run_linear(Case& c) {
  std::unique_ptr<Case> source;
  const Array &x = c.input("activation"), &weight = weight_of(c, source);
  const FloatType type = parse_float_type(c.spec().string("input_dtype"), "input_dtype");
  QAT_CHECK(x.float_type() == type && weight.float_type() == type && x.columns() == weight.columns(), kUnsupported,
            "activation and weight disagree with each other or with input_dtype");
  const std::string domain = c.spec().string("zero_point_domain");
  const Operand w = quantized_weight(c, weight, domain);
  Operand a = plain_operand(x);
  const std::string activation = c.spec().string_or("activation", "");
  Quantized qa;
  if (!activation.empty()) {
    const AffineScheme scheme = parse_activation(activation, type);
    qa = quantize_by_definition(x, scheme);
    a = affine_operand(x, qa, scheme);
    if (c.has("activation_fake_quantized")) c.exact("activation_fake_quantized", a.values, x.shape);
    if (c.has("activation_scale")) c.exact("activation_scale", qa.scale, qa.groups_shape);
    if (c.has("activation_zero_point")) c.exact("activation_zero_point", qa.zero_point, qa.groups_shape);
  }

  const index_t n = x.rows(), k = x.columns(), m = weight.rows();
  const std::size_t un = static_cast<std::size_t>(n), uk = static_cast<std::size_t>(k),
                    um = static_cast<std::size_t>(m);
  const std::vector<float>* bias = c.has("bias") ? &c.input("bias").floats : nullptr;
  std::vector<index_t> output_shape = x.shape;
  output_shape.back() = m;
  std::vector<float> y(un * um);
  const CpuBackend& backend = CpuBackend::shared();
  const View<const float, 2> av = view(a.values.data(), n, k), wv = view(w.values.data(), m, k);
  ops::linear(backend, av, wv, bias == nullptr ? nullptr : bias->data(), view(y.data(), n, m));
  const std::vector<Bounded> exact_a = exactly(a.values), exact_w = exactly(w.values);
  const std::vector<Bounded> output = with_bounds(y, product_bounds(exact_a, exact_w, un, um, uk, bias, type), type);
  if (c.has("output")) c.within("output", values_of(output), output_shape, bounds_of(output));
  if (c.has("output_converted")) {
    const bool packed = domain == "FLOAT";
    const std::vector<Bounded> wide =
        packed ? unrounded_weights(w.values, weight, type, c.spec().integer("group_size")) : exact_w;
    const std::vector<Bounded> converted = with_bounds(y, product_bounds(exact_a, wide, un, um, uk, bias, type), type);
    c.within("output_converted", values_of(converted), output_shape, bounds_of(converted));
  }
  if (!c.has("grad_output")) return;

  const std::vector<float>& dy = c.input("grad_output").floats;
  QAT_CHECK(dy.size() == un * um, kUnsupported, "grad_output does not have the size of the output");
  std::vector<float> dx(un * uk), dw(um * uk), db(um);
  ops::linear_backward(backend, av, wv, view(dy.data(), n, m), view(dx.data(), n, k), GradMode::kOverwrite,
                       view(dw.data(), m, k), GradMode::kOverwrite, view(db.data(), m), GradMode::kOverwrite);
  const std::vector<Bounded> gy = exactly(dy), gy_t = transposed(gy, un, um);
  const std::vector<Bounded> grad_a =
      with_bounds(dx, product_bounds(gy, transposed(exact_w, um, uk), un, uk, um, nullptr, type), type);
  const std::vector<Bounded> grad_w =
      with_bounds(dw, product_bounds(gy_t, transposed(exact_a, un, uk), um, uk, un, nullptr, type), type);
  const auto check = [&](const std::string& role, const std::vector<Bounded>& g, const std::vector<index_t>& shape) {
    if (c.has(role)) c.within(role, values_of(g), shape, bounds_of(g));
  };
  check("grad_activation", a.backward(grad_a, SteMask::kStrict), x.shape);
  check("grad_activation_inclusive", a.backward(grad_a, SteMask::kInclusive), x.shape);
  check("grad_weight", w.backward(grad_w, SteMask::kStrict), weight.shape);
  check("grad_weight_inclusive", w.backward(grad_w, SteMask::kInclusive), weight.shape);
  const std::vector<Bounded> ones(un, Bounded{1, 0});
  check("grad_bias", with_bounds(db, product_bounds(ones, gy_t, 1, um, un, nullptr, type), type), {m});
}

inline void run_embedding(Case& c) {
  const Array &weight = c.input("weight"), &indices = c.input("indices");
  const FloatType type = weight.float_type();
  const Operand w = quantized_weight(c, weight, "INT");
  const std::size_t columns = static_cast<std::size_t>(weight.columns());
  std::vector<float> y;
  for (const std::int64_t row : indices.integers) {
    QAT_CHECK(row >= 0 && row < weight.rows(), kUnsupported, "index ", row, " is outside the table");
    const auto first = w.values.begin() + static_cast<index_t>(row) * weight.columns();
    y.insert(y.end(), first, first + weight.columns());
  }
  std::vector<index_t> shape = indices.shape;
  shape.push_back(weight.columns());
  c.exact("output", y, shape);
  c.exact("output_converted", y, shape);

  const std::vector<float>& dy = c.input("grad_output").floats;
  QAT_CHECK(dy.size() == y.size(), kUnsupported, "grad_output does not have the size of the output");
  std::vector<BoundedSum> sums(weight.floats.size());
  for (std::size_t i = 0; i < dy.size(); ++i)
    sums[static_cast<std::size_t>(indices.integers[i / columns]) * columns + i % columns].add({dy[i], 0});
  std::vector<Bounded> gradient;
  for (const BoundedSum& sum : sums) {
    gradient.push_back(sum.result(unit_roundoff(type)));
    gradient.back().value = round_to(type, static_cast<float>(gradient.back().value));
  }
  const std::vector<Bounded> dw = w.backward(gradient, SteMask::kStrict);
  c.within("grad_weight", values_of(dw), weight.shape, bounds_of(dw));
}

}  // namespace qat::golden
