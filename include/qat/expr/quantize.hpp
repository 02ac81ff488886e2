// Quantization inside expressions: fake_quantize, quantize and dequantize as nodes, with given or with dynamic
// parameters.
#pragma once

#include "qat/expr/operators.hpp"
#include "qat/quant/affine.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0 {

/// Stored parameters of the groups of a matrix: one row of groups per row of tiles.  // (tile rows, tiles per row)
struct GroupQParams {
  View<const float, 2> scale;
  View<const float, 2> zero_point{nullptr, {0, 0}, {0, 0}};  ///< without data: the symmetric zero point of the spec
};

namespace expr {

/// Elements a quantization node keeps on the stack. A dynamic group that is longer is evaluated twice.
inline constexpr index_t kGroupBuffer = 4096;
inline constexpr index_t kTileBuffer = 512;

/// A number that orders as x does; NaN and infinities are the caller's matter.
QAT_INLINE std::int32_t ordered_bits(float x) {
  const std::int32_t bits = qat::bit_cast<std::int32_t>(x);
  return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}
QAT_INLINE float from_ordered_bits(std::int32_t key) { return qat::bit_cast<float>(key ^ ((key >> 31) & 0x7FFFFFFF)); }

/// The GroupRange that observing x[0 .. n) one by one gives, by integer minima that vectorize. A zero minimum or
/// maximum may differ in sign, which choose_qparams does not see.
QAT_INLINE GroupRange group_range(const float* x, index_t n) {
  constexpr std::int32_t kHighest = 0x7FFFFFFF, kLowest = -0x7FFFFFFF - 1;
  std::int32_t low = kHighest, high = kLowest;
  std::int32_t nonfinite = 0;
  for (index_t j = 0; j < n; ++j) {
    const std::uint32_t bits = qat::bit_cast<std::uint32_t>(x[j]);
    const std::int32_t skip = -static_cast<std::int32_t>((bits & 0x7F800000u) == 0x7F800000u);  // all ones or zero
    const std::int32_t key = ordered_bits(x[j]);
    const std::int32_t for_low = (key & ~skip) | (kHighest & skip);
    const std::int32_t for_high = (key & ~skip) | (kLowest & skip);
    low = for_low < low ? for_low : low;
    high = for_high > high ? for_high : high;
    nonfinite -= skip;
  }
  GroupRange range;
  range.nonfinite = nonfinite;
  range.count = n - nonfinite;
  if (range.count == 0) return range;
  range.min = from_ordered_bits(low);
  range.max = from_ordered_bits(high);
  const float below = __builtin_fabsf(range.min), above = __builtin_fabsf(range.max);
  if (below != above) {
    range.extremum = below > above ? range.min : range.max;
  } else if (above > 0.0f) {  // the first of the two wins
    index_t j = 0;
    while (__builtin_fabsf(x[j]) != above) ++j;
    range.extremum = x[j];
  }
  return range;
}

/// True for schemes whose arithmetic is plain fp32 with ties to even: they have a form that vectorizes.
constexpr bool is_plain(const AffineScheme& a) {
  return a.input == FloatType::kFloat32 && a.scale == FloatType::kFloat32 && a.product == FloatType::kFloat32 &&
         a.spec.rounding == RoundingKind::kHalfToEven && !has_float_zero_point(a.spec.mapping) &&
         !a.spec.has_level_table();
}
/// quantize() of a plain scheme, integer valued; the same code as the definition in quant/affine.hpp.
QAT_INLINE float plain_code(float x, const QParams& p, float qmin, float qmax) {
  const float u = Round{}(x * p.inverse_scale) + p.zero_point;
  const float q = Clamp{}(u, qmin, qmax);
  const std::uint32_t nan = 0u - static_cast<std::uint32_t>(is_nan(x));
  return qat::bit_cast<float>((qat::bit_cast<std::uint32_t>(q) & ~nan) |
                              (qat::bit_cast<std::uint32_t>(p.zero_point) & nan));
}

enum class Step { kFakeQuantize, kQuantize, kDequantize };

/// The definition, element by element: schemes without a form that vectorizes. Out of line, for it is long.
template <Step S>
QAT_NOINLINE void defined_run(float* x, index_t n, const QParams& p, const AffineScheme& a) {
  for (index_t j = 0; j < n; ++j) {
    if constexpr (S == Step::kFakeQuantize) {
      x[j] = qat::fake_quantize(x[j], p, a);
    } else if constexpr (S == Step::kQuantize) {
      x[j] = static_cast<float>(qat::quantize(x[j], p, a));
    } else {
      x[j] = qat::dequantize(static_cast<int>(x[j]), p, a);
    }
  }
}

/// x[j] through the step, in place. Codes are integer valued numbers.
template <Step S>
QAT_INLINE void step_run(float* x, index_t n, const QParams& p, const AffineScheme& a) {
  if (!is_plain(a)) return defined_run<S>(x, n, p, a);
  const float qmin = a.qmin, qmax = a.qmax;
  const QParams params = p;
  QAT_ELEMENTWISE_LOOP
  for (index_t j = 0; j < n; ++j) {
    const float q = S == Step::kDequantize ? x[j] : plain_code(x[j], params, qmin, qmax);
    x[j] = S == Step::kQuantize ? q : rounded_product(q - params.zero_point, params.scale);
  }
}

QAT_NOINLINE inline QParams chosen_params(const GroupRange& range, const AffineScheme& a) {
  return choose_qparams(range, a);
}

inline void check_rounding(const AffineScheme& a, const char* who) {
  validate(a.spec);
  QAT_CHECK(a.spec.rounding != RoundingKind::kStochastic, kUnsupported, who,
            ": stochastic rounding draws a number per element and is not an expression");
}

/// Rows and columns of an expression seen as a matrix: leading dimensions folded into rows.
template <class E>
struct MatrixShape {
  index_t rows = 1, columns = 1;
  index_t step[kMaxRank - 1] = {};  ///< row number = sum of index * step over the leading dimensions

  constexpr explicit MatrixShape(const E& e) {
    columns = e.dim(E::kRank - 1);
    for (int d = E::kRank - 2; d >= 0; --d) {
      step[d] = e.dim(d) == 1 ? 0 : rows;
      rows *= e.dim(d);
    }
  }
  QAT_HOST_DEVICE QAT_INLINE index_t row(const Position& at) const {
    index_t r = 0;
    for (int d = 0; d + 1 < E::kRank; ++d) r += at.row[d] * step[d];
    return r;
  }
};

template <class E>
void check_grouped(const E& e, const index_t* shape, const char* who) {
  e.check_fit(shape);
  const index_t own = e.dim(E::kRank - 1);
  QAT_CHECK(own == shape[E::kRank - 1], kShapeMismatch, who, ": the grouped dimension ", E::kRank - 1, " has ", own,
            " elements, the destination has ", shape[E::kRank - 1], " (it cannot be repeated)");
}

/// Elements of A through S with stored parameters, as float.
template <Step S, class A>
struct StaticNode {
  using value_type = float;
  static constexpr int kRank = A::kRank;
  template <bool Unit>
  struct Scratch {
    typename A::template Scratch<Unit> a;
    float buffer[kTileBuffer];
  };

  A a;
  GroupQParams params;
  AffineScheme scheme;
  MatrixShape<A> shape;
  index_t tile_rows, tile_columns;

  StaticNode(const A& operand, const GroupQParams& p, const AffineScheme& s, const char* who)
      : a(operand), params(p), scheme(s), shape(operand) {
    check_rounding(s, who);
    const GroupLayout layout = group_layout(s.spec.granularity, shape.rows, shape.columns);
    tile_rows = layout.tile_rows;
    tile_columns = layout.tile_columns;
    const auto fits = [&](const View<const float, 2>& v) {
      return v.shape[0] == layout.tile_row_count && v.shape[1] == layout.tiles_per_row;
    };
    QAT_CHECK(layout.count() == 0 || fits(p.scale), kShapeMismatch, who, ": scale is ", p.scale.shape[0], "x",
              p.scale.shape[1], ", the groups of the operand are ", layout.tile_row_count, "x", layout.tiles_per_row);
    QAT_CHECK(layout.count() == 0 || p.zero_point.data == nullptr || fits(p.zero_point), kShapeMismatch, who,
              ": zero_point is ", p.zero_point.shape[0], "x", p.zero_point.shape[1], ", the groups of the operand are ",
              layout.tile_row_count, "x", layout.tiles_per_row);
  }

  constexpr index_t dim(int d) const { return a.dim(d); }
  void check_fit(const index_t* destination) const {
    check_grouped(a, destination, "quantization with given parameters");
  }
  constexpr bool unit() const { return a.unit(); }
  constexpr bool flat(const index_t*) const { return false; }
  constexpr void flatten() {}
  constexpr index_t run(index_t column) const {
    return smaller(smaller(a.run(column), kTileBuffer), tile_columns - column % tile_columns);
  }
  constexpr index_t granule() const { return a.granule(); }

  template <bool Unit>
  QAT_INLINE auto bind(const Position& at, index_t count, Scratch<Unit>& scratch) const {
    const auto cursor = a.template bind<Unit>(at, count, scratch.a);
    for (index_t j = 0; j < count; ++j) {
      if constexpr (S == Step::kDequantize) {
        scratch.buffer[j] = static_cast<float>(static_cast<int>(cursor.load(j)));
      } else {
        scratch.buffer[j] = cursor.load(j);
      }
    }
    const index_t i = shape.row(at) / tile_rows, k = at.column / tile_columns;
    const float zero_point = params.zero_point.data != nullptr ? params.zero_point(i, k)
                             : scheme.spec.is_signed           ? 0.0f
                                                               : scheme.middle();
    step_run<S>(scratch.buffer, count, make_qparams(params.scale(i, k), zero_point, scheme), scheme);
    return PointerCursor<float>{scratch.buffer};
  }
};

/// Elements of A through S with parameters chosen from each group of the same elements: the group is evaluated into a
/// buffer on the stack, so memory is read once.
template <Step S, class A>
struct DynamicNode {
  using value_type = float;
  static constexpr int kRank = A::kRank;
  template <bool Unit>
  struct Scratch {
    typename A::template Scratch<Unit> a;
    Position group;  // the group whose parameters (and elements, if it fits) are held
    bool holds_group = false;
    QParams params;
    float buffer[kGroupBuffer];
  };

  A a;
  AffineScheme scheme;
  index_t columns, group_size;

  DynamicNode(const A& operand, const AffineScheme& s, const char* who) : a(operand), scheme(s) {
    check_rounding(s, who);
    const MatrixShape<A> shape(operand);
    const GroupLayout layout = group_layout(s.spec.granularity, shape.rows, shape.columns);
    QAT_CHECK(layout.tile_rows == 1, kUnsupported, who, ": granularity of \"", to_string(s.spec),
              "\" spans rows; an expression chooses parameters per group, token or axis0 (choose them first, then pass "
              "them)");
    columns = shape.columns;
    group_size = layout.tile_columns;
  }

  constexpr index_t dim(int d) const { return a.dim(d); }
  void check_fit(const index_t* destination) const {
    check_grouped(a, destination, "quantization with dynamic parameters");
  }
  constexpr bool unit() const { return a.unit(); }
  constexpr bool flat(const index_t*) const { return false; }
  constexpr void flatten() {}
  constexpr index_t run(index_t column) const { return smaller(group_size - column % group_size, kGroupBuffer); }
  constexpr index_t granule() const { return group_size; }

  template <bool Unit>
  QAT_INLINE auto bind(const Position& at, index_t count, Scratch<Unit>& scratch) const {
    Position begin = at;
    begin.column -= at.column % group_size;
    const index_t length = smaller(group_size, columns - begin.column);
    const bool fits = length <= kGroupBuffer;
    bool choosing = !scratch.holds_group || !(scratch.group == begin);
    if (choosing || !fits) {
      Position from = choosing ? begin : at;
      index_t left = choosing ? length : count;
      GroupRange range;
      for (;;) {  // one evaluation in the text: it is inlined here, loop and all
        const index_t n = smaller(left, kGroupBuffer);
        evaluate<Unit>(a, from, n, scratch.a, PointerOut<float>{scratch.buffer});
        if (!choosing) break;
        range.merge(group_range(scratch.buffer, n));
        from.column += n;
        left -= n;
        if (left > 0) continue;
        scratch.group = begin;
        scratch.holds_group = true;
        scratch.params = chosen_params(range, scheme);
        if (fits) break;
        choosing = false;
        from = at;
        left = count;
      }
      step_run<S>(scratch.buffer, fits ? length : count, scratch.params, scheme);
    }
    return PointerCursor<float>{scratch.buffer + (fits ? at.column - begin.column : 0)};
  }
};

/// Integer valued numbers as codes.
template <class Code>
struct ToCode {
  QAT_HOST_DEVICE QAT_INLINE constexpr Code operator()(float q) const { return Code(static_cast<int>(q)); }
};

template <class Code>
void check_code(const QuantSpec& spec) {
  if constexpr (requires { Code::kBits; }) {
    QAT_CHECK(spec.qmin() >= Code::kMin && spec.qmax() <= Code::kMax, kInvalidArgument, "quantize: codes of \"",
              to_string(spec), "\" do not fit ", Code::kSigned ? "Int<" : "UInt<", Code::kBits, ">");
  } else {
    static_assert(std::is_integral_v<Code>, "qat: quantize<Code>() needs Int<N>, UInt<N> or an integer type");
    constexpr bool is_signed = std::is_signed_v<Code>;
    constexpr int bits = 8 * static_cast<int>(sizeof(Code)) - (is_signed ? 1 : 0);
    QAT_CHECK((is_signed || spec.qmin() >= 0) && (bits >= 8 || spec.qmax() < (1 << bits)), kInvalidArgument,
              "quantize: codes of \"", to_string(spec), "\" do not fit the element type of the destination");
  }
}

template <class A>
constexpr auto float_node(const A& a) {
  static_assert(std::is_same_v<Element<A>, float>,
                "qat: quantization takes float elements: use cast<float>() on storage formats and other numbers");
  return node<float>(a);
}

}  // namespace expr

/// y = dequantize(quantize(x)) with parameters chosen from each group of x itself (torchao's dynamic fake
/// quantization). x may be any expression: assign(backend, y, fake_quantize(a + b * c, spec)) makes one pass over a, b,
/// c and y.
///
/// Shapes:   x of any rank, seen as rows of its last dimension (C); groups of G along rows, the last one may be shorter
/// Exact:    bit for bit choose_qparams and fake_quantize of quant/affine.hpp
/// Cost:     loads each operand once for groups up to expr::kGroupBuffer (4096) elements, twice for longer ones
/// @throws qat::Error (kUnsupported) for stochastic rounding and for granularities that span rows
template <class X>
requires expr::Lazy<X>
auto fake_quantize(const X& x, const AffineScheme& scheme) {
  using Node = decltype(expr::float_node(x));
  return expr::DynamicNode<expr::Step::kFakeQuantize, Node>(expr::float_node(x), scheme, "fake_quantize");
}
template <class X>
requires expr::Lazy<X>
auto fake_quantize(const X& x, const QuantSpec& spec) {
  return fake_quantize(x, AffineScheme(spec, FloatType::kFloat32));
}
/// The same with parameters that were chosen before; any granularity.
template <class X>
requires expr::Lazy<X>
auto fake_quantize(const X& x, const GroupQParams& params, const AffineScheme& scheme) {
  using Node = decltype(expr::float_node(x));
  return expr::StaticNode<expr::Step::kFakeQuantize, Node>(expr::float_node(x), params, scheme, "fake_quantize");
}
template <class X>
requires expr::Lazy<X>
auto fake_quantize(const X& x, const GroupQParams& params, const QuantSpec& spec) {
  return fake_quantize(x, params, AffineScheme(spec, FloatType::kFloat32));
}

/// Codes of x: quantize<Int4>(x, params, spec). Code is Int<N>, UInt<N> or an integer type that holds [qmin, qmax].
template <class Code, class X>
requires expr::Lazy<X>
auto quantize(const X& x, const GroupQParams& params, const AffineScheme& scheme) {
  using Node = decltype(expr::float_node(x));
  using Codes = expr::StaticNode<expr::Step::kQuantize, Node>;
  expr::check_code<Code>(scheme.spec);
  return expr::UnaryNode<expr::ToCode<Code>, Codes>{{}, Codes(expr::float_node(x), params, scheme, "quantize")};
}
template <class Code, class X>
requires expr::Lazy<X>
auto quantize(const X& x, const GroupQParams& params, const QuantSpec& spec) {
  return quantize<Code>(x, params, AffineScheme(spec, FloatType::kFloat32));
}

/// Numbers of a view or expression of codes (packed or one per element).
template <class X>
requires expr::Lazy<X>
auto dequantize(const X& codes, const GroupQParams& params, const AffineScheme& scheme) {
  using Code = expr::Element<X>;
  static_assert(
      std::is_integral_v<Code> || requires { Code::kBits; },
      "qat: dequantize() takes codes: Int<N>, UInt<N> or integers");
  using Node = decltype(expr::node<Code>(codes));
  return expr::StaticNode<expr::Step::kDequantize, Node>(expr::node<Code>(codes), params, scheme, "dequantize");
}
template <class X>
requires expr::Lazy<X>
auto dequantize(const X& codes, const GroupQParams& params, const QuantSpec& spec) {
  return dequantize(codes, params, AffineScheme(spec, FloatType::kFloat32));
}

namespace expr {
using v0::dequantize;
using v0::fake_quantize;
using v0::quantize;
}  // namespace expr

}  // namespace qat::inline v0

QAT_EXACT_END
