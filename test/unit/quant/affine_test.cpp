// The definition: golden vectors of torchao, its laws, and one case for each rule of degenerate input.
#include "qat/quant/affine.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>
#include <vector>

#include "qat/base/random.hpp"
#include "support/compare.hpp"

using namespace qat;
using test::compare_bits;

namespace {

using Floats = std::vector<float>;
const Floats kA = {0.7f, -0.3f, 0.1f, 0, -0.05f, 0.25f, 0.6f, -0.69f},
             kB = {-0.7f, 0.3f, 0.1f, 0, -0.05f, 0.25f, 0.6f, 0.69f};
const Floats kC = {1, 2, 1.5f, 1.25f, 1.75f, 1.1f, 1.9f, 2};
const float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

Floats to_grid(FloatType type, Floats x) {
  for (float& v : x) v = round_to(type, v);
  return x;
}
QuantSpec spec(int bits, MappingKind mapping, ScaleType scale = ScaleType::kFloat32, bool is_signed = true) {
  return {bits, is_signed, {GranularityKind::kPerToken}, mapping, scale};
}

/// One group through the definition.
struct Group {
  QParams p;
  std::vector<int> codes;
  Floats y;
  GroupRange range;
};
Group run(const Floats& x, const AffineScheme& a) {
  Group g;
  for (const float v : x) g.range.observe(v);
  g.p = choose_qparams(g.range, a);
  for (const float v : x) {
    g.codes.push_back(quantize(v, g.p, a));
    g.y.push_back(dequantize(g.codes.back(), g.p, a));
  }
  return g;
}

/// A golden row: scheme, input, scale, zero point, codes.
void check_row(const char* name, const QuantSpec& s, FloatType type, const Floats& x, float scale, float zero,
               const std::vector<int>& codes) {
  CAPTURE(name);
  const Group g = run(to_grid(type, x), AffineScheme(s, type));
  CHECK(compare_bits(Floats{scale, zero}, Floats{g.p.scale, g.p.zero_point}));
  CHECK(compare_bits(codes, g.codes));
}

constexpr MappingKind kAllMappings[] = {MappingKind::kSymmetric,      MappingKind::kSymmetricNoClip,
                                        MappingKind::kAsymmetric,     MappingKind::kAsymmetricRaw,
                                        MappingKind::kSignedExtremum, MappingKind::kFloatZeroPoint};
constexpr FloatType kAllTypes[] = {FloatType::kFloat32, FloatType::kFloat16, FloatType::kBfloat16};

}  // namespace

// Source of the vectors: torchao's quant_primitives, run.
TEST_CASE("golden vectors G1 to G7: symmetric, no-clip and asymmetric codes in fp32 and bf16") {
  constexpr FloatType f32 = FloatType::kFloat32, bf16 = FloatType::kBfloat16;
  const QuantSpec sym = spec(4, MappingKind::kSymmetric), noclip = spec(4, MappingKind::kSymmetricNoClip);
  const QuantSpec asym = spec(8, MappingKind::kAsymmetric);
  check_row("G1", sym, f32, kA, 0x1.7e4b18p-4f, 0, {7, -3, 1, 0, -1, 3, 6, -7});
  check_row("G2", sym, f32, kB, 0x1.7e4b18p-4f, 0, {-8, 3, 1, 0, -1, 3, 6, 7});
  check_row("G3", sym, f32, kC, 0x1.111112p-2f, 0, {4, 7, 6, 5, 7, 4, 7, 7});
  check_row("G4", sym, bf16, kB, 0x1.7ep-4f, 0, {-7, 3, 1, 0, -1, 3, 6, 7});
  check_row("G5", spec(4, MappingKind::kSymmetric, ScaleType::kInput), bf16, kB, 0x1.7ep-4f, 0,
            {-8, 3, 1, 0, -1, 3, 6, 7});
  check_row("G6A", noclip, f32, kA, 0x1.99999ap-4f, 0, {7, -3, 1, 0, 0, 2, 6, -7});
  check_row("G6B", noclip, f32, kB, 0x1.93bfa2p-4f, 0, {-7, 3, 1, 0, -1, 3, 6, 7});
  check_row("G6C", noclip, f32, kC, 0x1.24924ap-2f, 0, {3, 7, 5, 4, 6, 4, 7, 7});
  check_row("G7a", asym, f32, kA, 0x1.653c46p-8f, -1, {127, -56, 17, -1, -10, 45, 109, -128});
  check_row("G7b", asym, f32, kB, 0x1.653c46p-8f, 0, {-128, 55, 18, 0, -9, 46, 110, 127});
  check_row("G7c", asym, f32, kC, 0x1.010102p-7f, -128, {-1, 127, 63, 31, 95, 12, 114, 127});
  check_row("G7d", asym, bf16, kA, 0x1.66p-8f, -2, {126, -57, 16, -2, -11, 44, 108, -128});
  check_row("G7e", asym, bf16, kB, 0x1.66p-8f, 0, {-128, 55, 18, 0, -9, 46, 110, 127});
  check_row("G7f", spec(8, MappingKind::kAsymmetric, ScaleType::kBfloat16), bf16, kB, 0x1.66p-8f, 0,
            {-128, 55, 18, 0, -9, 46, 110, 126});
}

TEST_CASE("golden vectors: dequantized values of G1, G4 and G7d") {
  const Group g1 = run(kA, AffineScheme(spec(4, MappingKind::kSymmetric), FloatType::kFloat32));
  CHECK(compare_bits(Floats{0x1.4e81b4p-1f, -0x1.1eb852p-2f, 0x1.7e4b18p-4f, 0, -0x1.7e4b18p-4f, 0x1.1eb852p-2f,
                            0x1.1eb852p-1f, -0x1.4e81b4p-1f},
                     g1.y));
  constexpr FloatType bf16 = FloatType::kBfloat16;
  const Group g4 = run(to_grid(bf16, kB), AffineScheme(spec(4, MappingKind::kSymmetric), bf16));
  CHECK(compare_bits(Floats{-0x1.4ep-1f, 0x1.1ep-2f, 0x1.7ep-4f, 0, -0x1.7ep-4f, 0x1.1ep-2f, 0x1.1ep-1f, 0x1.4ep-1f},
                     g4.y));
  const Group g7 = run(to_grid(bf16, kA), AffineScheme(spec(8, MappingKind::kAsymmetric), bf16));
  CHECK(compare_bits(Floats{0x1.66p-1f, -0x1.6p-1f}, Floats{g7.y.front(), g7.y.back()}));
}

TEST_CASE("golden vectors: tinygemm's float zero point in bf16 and fp32") {
  const QuantSpec s = [] {
    QuantSpec t = spec(4, MappingKind::kFloatZeroPoint, ScaleType::kBfloat16, false);
    t.eps = 1e-6f;
    return t;
  }();
  const std::vector<int> codes = {0, 11, 9, 8, 7, 10, 14, 15};
  check_row("bf16", s, FloatType::kBfloat16, kB, 0x1.7cp-4f, 0x1.6p-5f, codes);
  check_row("fp32", s, FloatType::kFloat32, kB, 0x1.7cp-4f, 0x1.52p-5f, codes);
  const Group b = run(to_grid(FloatType::kBfloat16, kB), AffineScheme(s, FloatType::kBfloat16));
  CHECK(compare_bits(
      Floats{-0x1.66p-1f, 0x1.48p-2f, 0x1.16p-3f, 0x1.6p-5f, -0x1.98p-5f, 0x1.d4p-3f, 0x1.32p-1f, 0x1.62p-1f}, b.y));
  const Group f = run(kB, AffineScheme(s, FloatType::kFloat32));
  CHECK(compare_bits(
      Floats{-0x1.66ep-1f, 0x1.474p-2f, 0x1.128p-3f, 0x1.52p-5f, -0x1.a6p-5f, 0x1.d08p-3f, 0x1.322p-1f, 0x1.61ap-1f},
      f.y));
}

TEST_CASE("golden vector G8: the last bit of a reciprocal decides whether the largest weight trains") {
  const AffineScheme a(spec(4, MappingKind::kSymmetric), FloatType::kFloat32);
  struct Row {
    float p, scale, u0, first_gradient;
  };
  for (const Row& r :
       {Row{0.5f, 0x1.111112p-4f, 7, 1}, Row{0.9f, 0x1.eb851ep-4f, 8, 0}, Row{1.2f, 0x1.47ae16p-3f, 7, 1}}) {
    CAPTURE(r.p);
    const Floats x = {r.p, 0.3f, 0.1f, 0, -0.05f, 0.25f, 0.4f, -0.2f};
    const Group g = run(x, a);
    CHECK(g.p.scale == r.scale);
    CHECK(unclamped_code(x[0], g.p, a) == r.u0);
    CHECK(g.codes[0] == 7);
    Floats dx;
    for (const float v : x) dx.push_back(fake_quantize_backward(1.0f, v, g.p, a));
    Floats expected(8, 1.0f);
    expected[0] = r.first_gradient;
    CHECK(test::compare_ulp(expected, dx, 1));  // dy * s * (1/s) is 1 up to an ulp; the zero must be a zero
    CHECK((dx[0] == 0.0f) == (r.first_gradient == 0.0f));
  }
}

TEST_CASE("golden vector G9: codes and gradients at a scale that clips both ends") {
  const AffineScheme a(spec(4, MappingKind::kSymmetric), FloatType::kFloat32);
  const QParams p = make_qparams(0.1f, 0.0f, a);
  const Floats x = {0.9f, 0.3f, 0.1f, 0, -0.05f, 0.26f, 0.44f, -1.2f}, expected = {0, 2, 3, 4, 5, 6, 7, 0};
  std::vector<int> codes;
  Floats dx;
  for (std::size_t i = 0; i < x.size(); ++i) {
    codes.push_back(quantize(x[i], p, a));
    dx.push_back(fake_quantize_backward(static_cast<float>(i + 1), x[i], p, a));
  }
  CHECK(compare_bits(std::vector<int>{7, 3, 1, 0, 0, 3, 4, -8}, codes));
  CHECK(test::compare_ulp(expected, dx, 1));
}

TEST_CASE("masks: inclusive passes at the bounds, strict does not, pass-through passes everything unchanged") {
  const AffineScheme a(spec(4, MappingKind::kSymmetric), FloatType::kFloat32);
  const QParams p = make_qparams(1.0f, 0.0f, a);
  struct Row {
    float x;
    bool inclusive, strict;
  };
  for (const Row& r :
       {Row{-9, false, false}, Row{-8, true, false}, Row{-7, true, true}, Row{6, true, true}, Row{7, true, false},
        Row{8, false, false}, Row{kInf, false, false}, Row{-kInf, false, false}, Row{kNan, false, false}}) {
    CAPTURE(r.x);
    CHECK(passes_gradient(r.x, p, a, SteMask::kInclusive) == r.inclusive);
    CHECK(passes_gradient(r.x, p, a, SteMask::kStrict) == r.strict);
    CHECK(passes_gradient(r.x, p, a, SteMask::kPassThrough));
    CHECK(fake_quantize_backward(0.3f, r.x, p, a, SteMask::kPassThrough) == 0.3f);
    CHECK(fake_quantize_backward(0.3f, r.x, p, a, SteMask::kStrict) == (r.strict ? 0.3f : 0.0f));
  }
}

TEST_CASE("signed extremum puts the element of largest magnitude on qmin exactly, whatever its sign") {
  const AffineScheme a(spec(4, MappingKind::kSignedExtremum), FloatType::kFloat32);
  const Group up = run({0.1f, 0.8f, -0.3f}, a), down = run({0.1f, -0.8f, 0.3f}, a);
  CHECK(up.p.scale == -0.1f);
  CHECK(down.p.scale == 0.1f);
  CHECK(up.codes == std::vector<int>{-1, -8, 3});
  CHECK(up.y[1] == 0.8f);
  CHECK(down.y[1] == -0.8f);
  CHECK(run({-0.5f, 0.5f}, a).p.scale > 0.0f);  // the first of equals
  CHECK(run({0.5f, -0.5f}, a).p.scale < 0.0f);
}

TEST_CASE("degenerate: a group of zeros has scale eps, the zero point as code, and comes back as +0") {
  for (const FloatType type : kAllTypes) {
    for (const MappingKind mapping : kAllMappings) {
      if (mapping == MappingKind::kFloatZeroPoint) continue;  // its zero point is a value: below
      CAPTURE(static_cast<int>(mapping));
      const AffineScheme a(spec(4, mapping), type);
      for (const float zero : {0.0f, -0.0f}) {
        const Group g = run({zero, zero, zero}, a);
        CHECK(g.p.scale == smallest_normal(type));
        CHECK(static_cast<float>(g.codes[0]) == g.p.zero_point);
        CHECK(compare_bits(Floats(3, 0.0f), g.y));
        CHECK(fake_quantize_backward(1.0f, zero, g.p, a) == (g.codes[0] >= -8 ? 1.0f : 0.0f));
      }
    }
    const Group tiny =
        run({0, 0}, AffineScheme(spec(4, MappingKind::kFloatZeroPoint, ScaleType::kFloat32, false), type));
    CHECK(tiny.y[0] == 0.0f);
  }
  QuantSpec s = spec(4, MappingKind::kSymmetric);
  s.eps = 1e-3f;
  CHECK(run({0, 1e-6f}, AffineScheme(s, FloatType::kFloat32)).p.scale == 1e-3f);
}

TEST_CASE("degenerate: NaN and infinities leave the range alone, are counted, and never come out") {
  for (const MappingKind mapping : kAllMappings) {
    CAPTURE(static_cast<int>(mapping));
    const bool is_signed = mapping != MappingKind::kFloatZeroPoint;
    const AffineScheme a(spec(4, mapping, ScaleType::kFloat32, is_signed), FloatType::kFloat32);
    const Group clean = run({0.5f, -1, 0.25f}, a), dirty = run({kNan, 0.5f, kInf, -1, -kInf, 0.25f}, a);
    CHECK(dirty.range.nonfinite == 3);
    CHECK(dirty.range.count == 3);
    CHECK(clean.p.scale == dirty.p.scale);
    CHECK(clean.p.zero_point == dirty.p.zero_point);
    CHECK(compare_bits(clean.y, Floats{dirty.y[1], dirty.y[3], dirty.y[5]}));
    CHECK(dirty.codes[0] == static_cast<int>(is_signed ? dirty.p.zero_point : a.middle()));
    if (is_signed) CHECK(dirty.y[0] == 0.0f);
    const bool flipped = dirty.p.scale < 0.0f;
    CHECK(dirty.codes[2] == (flipped ? a.spec.qmin() : a.spec.qmax()));
    CHECK(dirty.codes[4] == (flipped ? a.spec.qmax() : a.spec.qmin()));
    for (const float y : run({kNan, kNan, kInf}, a).y) CHECK_FALSE(is_nonfinite(y));
  }
}

TEST_CASE("degenerate: subnormals are numbers, -0 has the code of 0, 1e30 is ordinary, overflow clamps") {
  const AffineScheme sym(spec(4, MappingKind::kSymmetric), FloatType::kFloat32),
      asym(spec(8, MappingKind::kAsymmetric), FloatType::kFloat32);
  CHECK(run({0x1p-126f, -0x1p-128f}, sym).codes == std::vector<int>{1, 0});  // |scale| stays at 2^-126
  CHECK(run({0x1p-127f, 0}, sym).codes[0] == 0);
  const Group negative_zero = run({-0.0f, 1.0f}, sym);
  CHECK(compare_bits(Floats{0.0f}, Floats{negative_zero.y[0]}));
  const Group large = run({1e30f, -5e29f}, sym);
  CHECK(large.y[0] == large.p.scale * 7);
  const Group overflow = run({3e38f, -3e38f}, asym);  // the range exceeds fp32
  CHECK_FALSE(is_nonfinite(overflow.p.scale));
  for (const float y : overflow.y) CHECK_FALSE(is_nonfinite(y));
  const Group half_overflow =
      run({60000, -60000}, AffineScheme(spec(8, MappingKind::kAsymmetric), FloatType::kFloat16));
  CHECK_FALSE(is_nonfinite(half_overflow.p.scale));
}

TEST_CASE("laws on random groups: codes in range, idempotent, within a step, monotone") {
  const CounterRandom random(99);
  std::uint64_t n = 0;
  index_t checked = 0;
  for (const FloatType type : kAllTypes) {
    for (const MappingKind mapping : kAllMappings) {
      for (int bits = 1; bits <= 8; ++bits) {
        if (mapping == MappingKind::kSignedExtremum && bits == 1) continue;
        const AffineScheme a(spec(bits, mapping, ScaleType::kFloat32, mapping != MappingKind::kFloatZeroPoint), type);
        Floats x;
        for (int i = 0; i < 16; ++i)
          x.push_back(round_to(type, static_cast<float>(static_cast<std::int32_t>(random.at(n++))) * 0x1p-31f));
        const Group g = run(x, a);
        std::vector<int> order;
        for (std::size_t i = 0; i < x.size(); ++i) {
          REQUIRE(g.codes[i] >= a.spec.qmin());
          REQUIRE(g.codes[i] <= a.spec.qmax());
          REQUIRE(fake_quantize(x[i], g.p, a) == g.y[i]);
          for (std::size_t k = 0; k < x.size(); ++k)
            if (x[i] <= x[k]) REQUIRE((g.p.scale > 0 ? g.codes[i] <= g.codes[k] : g.codes[i] >= g.codes[k]));
          if (mapping != MappingKind::kFloatZeroPoint && type == FloatType::kFloat32)
            REQUIRE(fake_quantize(g.y[i], g.p, a) == g.y[i]);
          ++checked;
        }
      }
    }
  }
  CHECK(checked > 2000);
}

TEST_CASE("stochastic rounding takes its word, half away and toward zero their ties") {
  QuantSpec s = spec(4, MappingKind::kSymmetric);
  const auto code = [&](RoundingKind kind, float x, std::uint32_t r) {
    s.rounding = kind;
    const AffineScheme a(s, FloatType::kFloat32);
    return quantize(x, make_qparams(1.0f, 0.0f, a), a, r);
  };
  CHECK(code(RoundingKind::kHalfToEven, 2.5f, 0) == 2);
  CHECK(code(RoundingKind::kHalfAwayFromZero, 2.5f, 0) == 3);
  CHECK(code(RoundingKind::kTowardZero, -2.9f, 0) == -2);
  CHECK(code(RoundingKind::kStochastic, 2.5f, 0x7FFFFFFFu) == 3);
  CHECK(code(RoundingKind::kStochastic, 2.5f, 0x80000000u) == 2);
}

TEST_CASE("the definition works at compile time") {
  constexpr AffineScheme a(spec_of<Int4, PerGroup<32>, Symmetric>, FloatType::kFloat32);
  constexpr QParams p = [] {
    GroupRange range;
    range.observe(0.7f);
    range.observe(-0.3f);
    return choose_qparams(range, AffineScheme(spec_of<Int4, PerGroup<32>, Symmetric>, FloatType::kFloat32));
  }();
  static_assert(p.scale == 0x1.7e4b18p-4f && quantize(0.7f, p, a) == 7 && quantize(-0.3f, p, a) == -3);
  static_assert(fake_quantize(0.7f, p, a) == 0x1.4e81b4p-1f && passes_gradient(-0.3f, p, a, SteMask::kStrict));
  static_assert(fake_quantize_backward(0.0f, 0.1f, p, a) == 0.0f && scale_gradient(0.0f, p, a) == 0.0f);
  CHECK(a.middle() == 0.0f);
}

TEST_CASE("zeros stay zeros under ggml's scales of every input type, and beyond its ends a table has its end levels") {
  for (const FloatType type : {FloatType::kFloat32, FloatType::kFloat16, FloatType::kBfloat16})
    for (const char* text :
         {"int8narrow:group32:symmetric:ggml_half", "int8narrow:group32:symmetric:ggml_half:half_away_from_zero",
          "int8narrow:group256:symmetric:ggml_float"}) {
      const AffineScheme a(parse_spec(text), type);
      const float tiny = 0.25f * a.eps;
      for (const float amax : {0.0f, tiny}) {
        const QParams p = choose_qparams({-amax, amax, amax}, a);
        for (const float x : {0.0f, amax, -amax}) {
          CHECK(quantize(x, p, a) == 0);
          CHECK(fake_quantize(x, p, a) == 0.0f);
        }
      }
    }
  for (const char* text : {"iq4_nl:group32:signed_extremum:bf16safe", "e2m1:group32:symmetric:e8m0"}) {
    const AffineScheme a(parse_spec(text), FloatType::kFloat32);
    const QParams p = choose_qparams({-1.0f, 0.5f, -1.0f}, a);
    for (const float x : {1e30f, std::numeric_limits<float>::infinity()}) {
      CHECK(quantize(x, p, a) == (p.scale > 0.0f ? a.spec.qmax() : a.spec.qmin()));
      CHECK(quantize(-x, p, a) == (p.scale > 0.0f ? a.spec.qmin() : a.spec.qmax()));
    }
  }
}
