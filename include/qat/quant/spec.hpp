// QuantSpec: a quantization scheme as a value (read from a file, printed, compared) and QuantPolicy: the same as a
// type.
#pragma once

#include <concepts>

#include "qat/numeric/int_subbyte.hpp"
#include "qat/numeric/rounding.hpp"
#include "qat/quant/formats.hpp"
#include "qat/quant/granularity.hpp"
#include "qat/quant/mapping.hpp"

namespace qat::inline v0 {

enum class RoundingKind : std::uint8_t { kHalfToEven, kHalfAwayFromZero, kTowardZero, kStochastic };

template <class R>
inline constexpr RoundingKind kRoundingKindOf = [] {
  static_assert(sizeof(R) == 0, "qat: rounding must be HalfToEven, HalfAwayFromZero, TowardZero or Stochastic");
  return RoundingKind::kHalfToEven;
}();
template <>
inline constexpr RoundingKind kRoundingKindOf<HalfToEven> = RoundingKind::kHalfToEven;
template <>
inline constexpr RoundingKind kRoundingKindOf<HalfAwayFromZero> = RoundingKind::kHalfAwayFromZero;
template <>
inline constexpr RoundingKind kRoundingKindOf<TowardZero> = RoundingKind::kTowardZero;
template <>
inline constexpr RoundingKind kRoundingKindOf<Stochastic> = RoundingKind::kStochastic;

/// Which integers of a signed type are codes.
enum class Levels : std::uint8_t {
  kAll,
  kNarrow,  ///< all but the lowest: as many below 0 as above; -1, 0, 1 at two bits
  kIq4Nl,   ///< the 16 of ggml's IQ4_NL, in 8 bits
  kE2m1,    ///< twice the values of e2m1, in 5 bits: 0, 1, 2, 3, 4, 6, 8, 12 and their negatives (MXFP4)
};

/// One quantization scheme. Orthogonal fields; every combination that validate() accepts runs.
struct QuantSpec {
  int bits = 8;           ///< 1 to 8
  bool is_signed = true;  ///< codes [-2^(bits-1), 2^(bits-1)-1], else [0, 2^bits-1]
  Granularity granularity{};
  MappingKind mapping = MappingKind::kSymmetric;
  ScaleType scale_type = ScaleType::kFloat32;
  RoundingKind rounding = RoundingKind::kHalfToEven;
  float eps = 0.0f;  ///< lower bound of |scale|; 0 = smallest normal number of the input's dtype
  Levels levels = Levels::kAll;

  /// What is stored as 0 in packed form: the lowest integer of the type, a code or not.
  QAT_HOST_DEVICE constexpr int lowest() const { return is_signed ? -(1 << (bits - 1)) : 0; }
  QAT_HOST_DEVICE constexpr int qmin() const {
    if (levels == Levels::kE2m1) return -12;
    return lowest() + (levels == Levels::kAll ? 0 : 1);
  }
  QAT_HOST_DEVICE constexpr int qmax() const {
    if (levels == Levels::kIq4Nl) return 113;
    if (levels == Levels::kE2m1) return 12;
    return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  }
  /// Codes are a few integers of the range, not all in it.
  QAT_HOST_DEVICE constexpr bool has_level_table() const { return levels == Levels::kIq4Nl || levels == Levels::kE2m1; }
  friend constexpr bool operator==(const QuantSpec&, const QuantSpec&) = default;
};

/// Scales as ggml chooses those of activations.
QAT_HOST_DEVICE constexpr bool has_ggml_scale(const QuantSpec& spec) {
  return spec.scale_type == ScaleType::kGgmlHalf || spec.scale_type == ScaleType::kGgmlFloat;
}

/// Throws Error(kUnsupported or kInvalidArgument) naming the field, what was found and what is accepted.
constexpr void validate(const QuantSpec& spec) {
  QAT_CHECK(spec.bits >= 1 && spec.bits <= 8, kUnsupported, "QuantSpec: bits is ", spec.bits, ", accepted are 1 to 8");
  QAT_CHECK(spec.granularity.kind != GranularityKind::kPerGroup || spec.granularity.group_size > 0, kInvalidArgument,
            "QuantSpec: group_size is ", spec.granularity.group_size, ", must be at least 1");
  QAT_CHECK(spec.granularity.kind != GranularityKind::kPerBlock ||
                (spec.granularity.block_rows > 0 && spec.granularity.block_columns > 0),
            kInvalidArgument, "QuantSpec: block is ", spec.granularity.block_rows, "x", spec.granularity.block_columns,
            ", both extents must be positive");
  QAT_CHECK(
      spec.granularity.kind != GranularityKind::kPerAxis || spec.granularity.axis == 0 || spec.granularity.axis == 1,
      kUnsupported, "QuantSpec: axis is ", spec.granularity.axis, ", accepted are 0 (rows) and 1 (columns)");
  QAT_CHECK(spec.mapping != MappingKind::kSignedExtremum || (spec.is_signed && spec.bits >= 2), kUnsupported,
            "QuantSpec: signed_extremum needs a signed type of at least 2 bits, found ",
            spec.is_signed ? "int" : "uint", spec.bits);
  const bool symmetric = spec.mapping == MappingKind::kSymmetric;
  QAT_CHECK(spec.mapping != MappingKind::kFloatMinimum || !spec.is_signed, kUnsupported,
            "QuantSpec: float_minimum needs an unsigned type, found int", spec.bits);
  QAT_CHECK(spec.levels == Levels::kAll ||
                (spec.is_signed && spec.bits >= 2 && (symmetric || spec.mapping == MappingKind::kSignedExtremum)),
            kUnsupported,
            "QuantSpec: types of some integers only (narrow, iq4_nl, e2m1) are signed, of at least 2 bits, ",
            "and mapped by symmetric or signed_extremum");
  QAT_CHECK(!spec.has_level_table() ||
                (spec.bits == (spec.levels == Levels::kIq4Nl ? 8 : 5) && spec.rounding == RoundingKind::kHalfToEven),
            kUnsupported, "QuantSpec: levels of a table have ", spec.levels == Levels::kIq4Nl ? 8 : 5,
            " bits and no rounding but to the nearest");
  QAT_CHECK(!has_ggml_scale(spec) || (symmetric && spec.granularity.kind == GranularityKind::kPerGroup &&
                                      spec.granularity.group_size <= 4096),
            kUnsupported,
            "QuantSpec: ggml_half and ggml_float scales are those of groups of up to 4096, mapped by symmetric");
  QAT_CHECK(spec.eps == 0.0f || (spec.eps >= 0x1p-126f && spec.eps <= 0x1p126f), kInvalidArgument, "QuantSpec: eps is ",
            spec.eps, ", accepted are 0 (default) and 1.18e-38 to 8.5e37");
}

/// True where scales can be trained (LSQ): the zero of the codes does not move with them, and all integers are codes.
constexpr bool has_learned_scale(const QuantSpec& spec) {
  return !has_float_zero_point(spec.mapping) && !spec.has_level_table() && !has_ggml_scale(spec);
}

/// Tag for ScaleType::kBfloat16Safe.
struct Bfloat16Safe {};
/// Tag for ScaleType::kInput.
struct InputScale {};
/// Tag for ScaleType::kGgmlHalf.
struct GgmlHalf {};
/// Tag for ScaleType::kGgmlFloat.
struct GgmlFloat {};

template <class S>
inline constexpr ScaleType kScaleTypeOf = [] {
  static_assert(sizeof(S) == 0,
                "qat: scale type must be float, half, bfloat16, Bfloat16Safe, float8_e8m0, float8_e4m3, GgmlHalf, "
                "GgmlFloat or InputScale");
  return ScaleType::kFloat32;
}();
template <>
inline constexpr ScaleType kScaleTypeOf<float> = ScaleType::kFloat32;
template <>
inline constexpr ScaleType kScaleTypeOf<half> = ScaleType::kFloat16;
template <>
inline constexpr ScaleType kScaleTypeOf<bfloat16> = ScaleType::kBfloat16;
template <>
inline constexpr ScaleType kScaleTypeOf<Bfloat16Safe> = ScaleType::kBfloat16Safe;
template <>
inline constexpr ScaleType kScaleTypeOf<float8_e8m0> = ScaleType::kE8M0;
template <>
inline constexpr ScaleType kScaleTypeOf<float8_e4m3> = ScaleType::kE4M3;
template <>
inline constexpr ScaleType kScaleTypeOf<InputScale> = ScaleType::kInput;
template <>
inline constexpr ScaleType kScaleTypeOf<GgmlHalf> = ScaleType::kGgmlHalf;
template <>
inline constexpr ScaleType kScaleTypeOf<GgmlFloat> = ScaleType::kGgmlFloat;

template <class Element>
constexpr Levels levels_of() {
  if constexpr (requires { Element::kLevels; }) return Element::kLevels;
  return Levels::kAll;
}

template <class T>
concept QuantizedType = requires {
  { T::kBits } -> std::convertible_to<int>;
  { T::kSigned } -> std::convertible_to<bool>;
};
template <class T>
concept GranularityPolicy = requires {
  { T::granularity } -> std::convertible_to<Granularity>;
};
template <class T>
concept MappingPolicy = requires {
  { T::kind } -> std::convertible_to<MappingKind>;
};

/// The spec of a combination of policies: spec_of<Int4, PerGroup<32>, Symmetric> ==
/// parse_spec("int4:group32:symmetric").
template <QuantizedType Element, GranularityPolicy G, MappingPolicy M, class Scale = float, class Rounding = HalfToEven>
inline constexpr QuantSpec spec_of{Element::kBits, Element::kSigned,    G::granularity,
                                   M::kind,        kScaleTypeOf<Scale>, kRoundingKindOf<Rounding>,
                                   0.0f,           levels_of<Element>()};

/// Elements that are some integers of a type.
template <int kWidth>
struct NarrowInt {
  static constexpr int kBits = kWidth;
  static constexpr bool kSigned = true;
  static constexpr Levels kLevels = Levels::kNarrow;
};
using Ternary = NarrowInt<2>;
struct Iq4Nl {
  static constexpr int kBits = 8;
  static constexpr bool kSigned = true;
  static constexpr Levels kLevels = Levels::kIq4Nl;
};
struct E2m1 {
  static constexpr int kBits = 5;
  static constexpr bool kSigned = true;
  static constexpr Levels kLevels = Levels::kE2m1;
};

/// The compile-time form of a spec; `spec` is its value.
template <QuantizedType Element, GranularityPolicy G, MappingPolicy M, class Scale = float, class Rounding = HalfToEven>
struct QuantPolicy {
  static constexpr QuantSpec spec = spec_of<Element, G, M, Scale, Rounding>;
};

namespace detail {
struct SpecName {
  const char* text;
  int value;
};
inline constexpr SpecName kMappingNames[] = {{"symmetric", static_cast<int>(MappingKind::kSymmetric)},
                                             {"symmetric_no_clip", static_cast<int>(MappingKind::kSymmetricNoClip)},
                                             {"asymmetric", static_cast<int>(MappingKind::kAsymmetric)},
                                             {"asymmetric_raw", static_cast<int>(MappingKind::kAsymmetricRaw)},
                                             {"signed_extremum", static_cast<int>(MappingKind::kSignedExtremum)},
                                             {"float_zero_point", static_cast<int>(MappingKind::kFloatZeroPoint)},
                                             {"float_minimum", static_cast<int>(MappingKind::kFloatMinimum)}};
inline constexpr SpecName kScaleNames[] = {{"input", static_cast<int>(ScaleType::kInput)},
                                           {"float32", static_cast<int>(ScaleType::kFloat32)},
                                           {"float16", static_cast<int>(ScaleType::kFloat16)},
                                           {"bfloat16", static_cast<int>(ScaleType::kBfloat16)},
                                           {"bf16safe", static_cast<int>(ScaleType::kBfloat16Safe)},
                                           {"e8m0", static_cast<int>(ScaleType::kE8M0)},
                                           {"e4m3", static_cast<int>(ScaleType::kE4M3)},
                                           {"ggml_half", static_cast<int>(ScaleType::kGgmlHalf)},
                                           {"ggml_float", static_cast<int>(ScaleType::kGgmlFloat)}};
inline constexpr SpecName kRoundingNames[] = {
    {"half_to_even", static_cast<int>(RoundingKind::kHalfToEven)},
    {"half_away_from_zero", static_cast<int>(RoundingKind::kHalfAwayFromZero)},
    {"toward_zero", static_cast<int>(RoundingKind::kTowardZero)},
    {"stochastic", static_cast<int>(RoundingKind::kStochastic)}};

template <std::size_t N>
constexpr const char* name_of(const SpecName (&names)[N], int value) {
  for (const SpecName& name : names)
    if (name.value == value) return name.text;
  return "?";
}

/// A field of a spec string: characters [begin, end).
struct SpecField {
  const char* begin;
  const char* end;
  constexpr std::size_t size() const { return static_cast<std::size_t>(end - begin); }
  constexpr const char* data() const { return begin; }
  constexpr bool equals(const char* text) const {
    const char* p = begin;
    while (p != end && *text != '\0' && *p == *text) ++p, ++text;
    return p == end && *text == '\0';
  }
  /// Drops `prefix`; false if the field does not start with it.
  constexpr bool consume(const char* prefix) {
    const char* p = begin;
    for (; *prefix != '\0'; ++prefix, ++p)
      if (p == end || *p != *prefix) return false;
    begin = p;
    return true;
  }
  /// Drops a decimal number without sign; false if there is none or it exceeds 2^31 - 1.
  constexpr bool consume_number(index_t& value) {
    if (begin == end || *begin < '0' || *begin > '9') return false;
    value = 0;
    for (; begin != end && *begin >= '0' && *begin <= '9'; ++begin) {
      value = value * 10 + (*begin - '0');
      if (value > 0x7FFFFFFF) return false;
    }
    return true;
  }
};
template <std::size_t N>
constexpr bool find_name(const SpecName (&names)[N], const SpecField& field, int& value) {
  for (const SpecName& name : names)
    if (field.equals(name.text)) return value = name.value, true;
  return false;
}
}  // namespace detail

/// Canonical text: ELEMENT:GRANULARITY:MAPPING[:SCALE][:ROUNDING][:eps=E]; defaults (float32, half_to_even, 0) are left
/// out. Example: int4:group32:signed_extremum:bf16safe. parse_spec(to_string(spec)) == spec for every valid spec.
inline FixedString<120> to_string(const QuantSpec& spec) {
  FixedString<120> out(spec.levels == Levels::kIq4Nl  ? "iq4_nl"
                       : spec.levels == Levels::kE2m1 ? "e2m1"
                       : spec.is_signed               ? "int"
                                                      : "uint");
  const Granularity& g = spec.granularity;
  const auto number = [&](index_t n) { out.append(static_cast<long long>(n)); };
  if (!spec.has_level_table()) number(spec.bits);
  if (spec.levels == Levels::kNarrow) out.append("narrow");
  switch (g.kind) {
    case GranularityKind::kPerTensor:
      out.append(":tensor");
      break;
    case GranularityKind::kPerAxis:
      out.append(":axis"), number(g.axis);
      break;
    case GranularityKind::kPerToken:
      out.append(":token");
      break;
    case GranularityKind::kPerGroup:
      out.append(":group"), number(g.group_size);
      break;
    case GranularityKind::kPerBlock:
      out.append(":block"), number(g.block_rows), out.append('x'), number(g.block_columns);
      break;
  }
  out.append(':').append(detail::name_of(detail::kMappingNames, static_cast<int>(spec.mapping)));
  if (spec.scale_type != ScaleType::kFloat32)
    out.append(':').append(detail::name_of(detail::kScaleNames, static_cast<int>(spec.scale_type)));
  if (spec.rounding != RoundingKind::kHalfToEven)
    out.append(':').append(detail::name_of(detail::kRoundingNames, static_cast<int>(spec.rounding)));
  if (spec.eps != 0.0f) out.append(":eps=").append(static_cast<double>(spec.eps));
  return out;
}

/// Reads the text to_string writes; strict: an unknown, missing, repeated or misplaced field is an Error that names it
/// and lists what is accepted.
inline QuantSpec parse_spec(const char* text) {
  QuantSpec spec;
  const char* cursor = text;
  const auto next_field = [&]() -> detail::SpecField {
    if (*cursor == ':' && cursor != text) ++cursor;
    const char* begin = cursor;
    while (*cursor != '\0' && *cursor != ':') ++cursor;
    return {begin, cursor};
  };
  const auto fail = [&](const char* what, const detail::SpecField& found, const char* accepted) {
    raise(ErrorCode::kUnsupported, "spec \"", text, "\": ", what, " is \"", found, "\", accepted: ", accepted);
  };

  detail::SpecField element = next_field(), rest = element;
  index_t bits = 0;
  if (element.equals("iq4_nl")) {
    spec.levels = Levels::kIq4Nl;
  } else if (element.equals("e2m1")) {
    spec.levels = Levels::kE2m1;
    spec.bits = 5;
  } else {
    spec.is_signed = !rest.consume("u");
    const bool is_integer = rest.consume("int") && rest.consume_number(bits) && bits >= 1 && bits <= 8;
    if (is_integer && spec.is_signed && rest.consume("narrow")) spec.levels = Levels::kNarrow;
    if (!is_integer || rest.size() != 0)
      fail("element type", element, "int1 to int8, uint1 to uint8, int2narrow to int8narrow, iq4_nl, e2m1");
    spec.bits = static_cast<int>(bits);
  }

  const detail::SpecField granularity = next_field();
  Granularity& g = spec.granularity;
  rest = granularity;
  index_t axis = 0;
  bool known = false;
  if (granularity.equals("tensor")) {
    known = true;
  } else if (granularity.equals("token")) {
    g.kind = GranularityKind::kPerToken;
    known = true;
  } else if (rest.consume("axis")) {
    g.kind = GranularityKind::kPerAxis;
    known = rest.consume_number(axis) && rest.size() == 0 && axis <= 1;
    g.axis = static_cast<int>(axis);
  } else if (rest.consume("group")) {
    g.kind = GranularityKind::kPerGroup;
    known = rest.consume_number(g.group_size) && rest.size() == 0 && g.group_size > 0;
  } else if (rest.consume("block")) {
    g.kind = GranularityKind::kPerBlock;
    known = rest.consume_number(g.block_rows) && rest.consume("x") && rest.consume_number(g.block_columns) &&
            rest.size() == 0 && g.block_rows > 0 && g.block_columns > 0;
  }
  if (!known) fail("granularity", granularity, "tensor, token, axis0, axis1, groupG (G >= 1), blockRxC");

  const detail::SpecField mapping = next_field();
  int value = 0;
  if (!detail::find_name(detail::kMappingNames, mapping, value))
    fail("mapping", mapping,
         "symmetric, symmetric_no_clip, asymmetric, asymmetric_raw, signed_extremum, float_zero_point, float_minimum");
  spec.mapping = static_cast<MappingKind>(value);

  int stage = 0;  // optional fields keep their order and come once
  while (*cursor == ':') {
    const detail::SpecField field = next_field();
    rest = field;
    if (stage < 1 && detail::find_name(detail::kScaleNames, field, value)) {
      spec.scale_type = static_cast<ScaleType>(value);
      stage = 1;
    } else if (stage < 2 && detail::find_name(detail::kRoundingNames, field, value)) {
      spec.rounding = static_cast<RoundingKind>(value);
      stage = 2;
    } else if (stage < 3 && rest.consume("eps=") && rest.size() > 0 && rest.size() < 32) {
      char digits[32] = {};
      for (std::size_t i = 0; i < rest.size(); ++i) digits[i] = rest.begin[i];
      char* end = nullptr;
      spec.eps = std::strtof(digits, &end);
      if (end != digits + rest.size()) fail("eps", rest, "a number such as 1e-6");
      stage = 3;
    } else {
      fail("field", field,
           "then in this order a scale type (input, float32, float16, bfloat16, bf16safe, e8m0, e4m3, ggml_half, "
           "ggml_float), a "
           "rounding "
           "(half_to_even, "
           "half_away_from_zero, toward_zero, stochastic), eps=NUMBER");
    }
  }
  validate(spec);
  return spec;
}

}  // namespace qat::inline v0
