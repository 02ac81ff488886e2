// Learned step size quantization: the kernel against its definition, the definition against torchao's numbers,
// numerical differentiation and laws.
#include "qat/kernels/cpu/lsq.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "consistency/quantize_bits.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"
#include "support/targets.hpp"
#include "support/tuning_scope.hpp"

using namespace qat;
using namespace qat::test;

namespace {

struct LsqCase {
  QuantSpec spec;
  index_t rows, columns;
  std::vector<float> x, dy, scale, zero_point;

  LsqCase(const QuantSpec& s, index_t r, index_t c, std::vector<float> x_values, std::vector<float> dy_values)
      : spec(s), rows(r), columns(c), x(std::move(x_values)), dy(std::move(dy_values)) {
    const auto tiles = static_cast<std::size_t>(group_layout(spec.granularity, rows, columns).count());
    scale.resize(tiles);
    zero_point.resize(tiles);
    kernels::reference::choose_qparams(spec, x.data(), rows, columns, scale.data(), zero_point.data());
  }
  /// dscale by the definition, added to what it holds if accumulate.
  std::vector<float> definition(SteMask mask, float factor, std::vector<float> dscale, bool accumulate) const {
    kernels::reference::lsq_scale_gradient(spec, dy.data(), x.data(), rows, columns, scale.data(), zero_point.data(),
                                           mask, factor, dscale.data(), accumulate, 9);
    return dscale;
  }
  std::vector<float> definition(SteMask mask = SteMask::kInclusive, float factor = 1.0f) const {
    return definition(mask, factor, std::vector<float>(scale.size()), false);
  }
  std::vector<float> kernel(float factor = 1.0f) const {
    std::vector<float> dscale(scale.size(), -1.0f);
    kernels::lsq_backward(CpuBackend::shared(), spec, dy.data(), x.data(), rows, columns, scale.data(),
                          zero_point.data(), SteMask::kInclusive, factor, nullptr, false, dscale.data(), false, 9);
    return dscale;
  }
};

constexpr SteMask kAllMasks[] = {SteMask::kInclusive, SteMask::kStrict, SteMask::kPassThrough};

void check_against_definition(const CpuBackend& backend, const LsqCase& c, const std::vector<float>& dx0,
                              const std::vector<float>& ds0) {
  for (const SteMask mask : kAllMasks)
    for (const bool accumulate : {false, true}) {
      std::vector<float> dx = dx0, expected_dx = dx0, dscale = ds0;
      kernels::reference::fake_quantize_backward(c.spec, c.dy.data(), c.x.data(), c.rows, c.columns, c.scale.data(),
                                                 c.zero_point.data(), mask, expected_dx.data(), accumulate, 9);
      kernels::lsq_backward(backend, c.spec, c.dy.data(), c.x.data(), c.rows, c.columns, c.scale.data(),
                            c.zero_point.data(), mask, 0.3f, dx.data(), accumulate, dscale.data(), accumulate, 9);
      CHECK(compare_bits(c.definition(mask, 0.3f, ds0, accumulate), dscale));
      CHECK(compare_bits(expected_dx, dx));
    }
}

}  // namespace

TEST_CASE(
    "lsq_backward has the bits of its definition: every scheme, mask, ragged shape and target, adversarial input") {
  const CpuBackend backend(2);
  for (const Target target : plain_targets()) {
    const ScopedTarget forced(target);
    CAPTURE(std::string(name(target)));
    index_t cases = 0;
    for (const QuantSpec& spec : specs_under_test()) {
      if (spec.mapping == MappingKind::kFloatZeroPoint) continue;
      CAPTURE(std::string(to_string(spec).c_str()));
      for (const MatrixShape shape : kShapes) {
        if (!accepts(spec, shape)) continue;
        CAPTURE(shape.columns);
        const index_t size = shape.rows * shape.columns;
        LsqCase c(spec, shape.rows, shape.columns, adversarial<float>(size, static_cast<std::uint64_t>(shape.columns)),
                  adversarial<float>(size, 77, true));
        for (std::size_t i = 0; i < c.scale.size(); i += 3) c.scale[i] *= 0.4f;  // most elements outside the range
        const index_t tiles = static_cast<index_t>(c.scale.size());
        check_against_definition(backend, c, adversarial<float>(size, 78, true), adversarial<float>(tiles, 79, true));
        ++cases;
      }
    }
    CHECK(cases > 150);
  }
}

TEST_CASE("tiles of many pieces and chunks give the same bytes with 1, 2, 3 and 7 threads on every target") {
  for (const char* text : {"int8:tensor:symmetric", "int4:axis0:asymmetric", "int4:group5000:symmetric",
                           "int4:group32:signed_extremum:bf16safe", "int4:axis1:symmetric"}) {
    CAPTURE(text);
    for (const MatrixShape shape : {MatrixShape{3, 12345}, MatrixShape{40, 8192}}) {
      const index_t size = shape.rows * shape.columns;
      const LsqCase c(parse_spec(text), shape.rows, shape.columns, uniform_values(size, 1), uniform_values(size, 2));
      const std::vector<float> expected = c.definition(SteMask::kInclusive, 0.01f);
      std::vector<float> expected_dx(c.x.size());
      kernels::reference::fake_quantize_backward(c.spec, c.dy.data(), c.x.data(), c.rows, c.columns, c.scale.data(),
                                                 c.zero_point.data(), SteMask::kInclusive, expected_dx.data());
      for (const Target target : plain_targets()) {
        const ScopedTarget forced(target);
        CAPTURE(std::string(name(target)));
        for (const int threads : {1, 2, 3, 7}) {
          const TuningScope restored;
          if (threads > 1) kernels::cpu_tuning().stream_bytes = 0;  // stores of dx that bypass the caches
          AlignedBuffer<float> dx(size);                            // dx in dy's place
          for (index_t i = 0; i < size; ++i) dx[i] = c.dy[static_cast<std::size_t>(i)];
          std::vector<float> dscale(c.scale.size());
          kernels::lsq_backward(CpuBackend(threads), c.spec, dx.data(), c.x.data(), c.rows, c.columns, c.scale.data(),
                                c.zero_point.data(), SteMask::kInclusive, 0.01f, dx.data(), false, dscale.data(),
                                false);
          CHECK(compare_bits(expected, dscale));
          CHECK(compare_bits(expected_dx, dx));
        }
      }
    }
  }
}

TEST_CASE("torchao's learned range: golden vector G9, a sum of (q - z) - m x/s") {
  const std::vector<float> x = {0.9f, 0.3f, 0.1f, 0.0f, -0.05f, 0.26f, 0.44f, -1.2f}, dy = {1, 2, 3, 4, 5, 6, 7, 8};
  LsqCase c(parse_spec("int4:tensor:symmetric"), 1, 8, x, dy);
  c.scale = {0.1f};
  // 7 * 1 + (3 - 3) * 2 + (1 - 1) * 3 + 0 * 4 + (0 + 0.5) * 5 + (3 - 2.6) * 6 + (4 - 4.4) * 7 - 8 * 8
  CHECK(compare_within(std::vector<float>{-54.9f}, c.kernel(), Tolerance{0x1p-24, 16, 80.0}));
}

TEST_CASE("the definition is the derivative of its surrogate, found by differences in double") {
  // The surrogate at x: round(u) = u + (round(u0) - u0) near the u0 it is taken at; outside the range the clamp holds.
  index_t inside = 0, outside = 0;
  for (const char* text : {"int4:group32:symmetric", "int3:group32:signed_extremum", "uint4:group32:asymmetric"}) {
    CAPTURE(text);
    const QuantSpec spec = parse_spec(text);
    const AffineScheme scheme(spec, FloatType::kFloat32);
    LsqCase c(spec, 1, 32, uniform_values(32, 3), std::vector<float>(32, 1.0f));
    const QParams p = make_qparams(c.scale[0] * 0.7f, c.zero_point[0], scheme);
    for (const float x : c.x) {
      const double u0 = static_cast<double>(x) / p.scale, shift = std::nearbyint(u0) - u0, z = p.zero_point;
      const bool passes = passes_gradient(x, p, scheme, SteMask::kInclusive);
      const auto surrogate = [&](double s) {
        const double q = passes ? x / s + shift + z : (std::nearbyint(u0) + z > 0 ? scheme.qmax : scheme.qmin);
        return (q - z) * s;
      };
      const double h = 1e-4 * p.scale, numeric = (surrogate(p.scale + h) - surrogate(p.scale - h)) / (2 * h);
      CHECK(std::abs(lsq_derivative(x, p, scheme) - numeric) < 1e-5);
      if (passes) continue;  // there fake_quantize itself is differentiable in the scale
      const QParams up = make_qparams(p.scale * 1.001f, p.zero_point, scheme);
      const double slope = (static_cast<double>(fake_quantize(x, up, scheme)) - fake_quantize(x, p, scheme)) /
                           (static_cast<double>(up.scale) - p.scale);
      if (!passes_gradient(x, up, scheme, SteMask::kInclusive)) CHECK(std::abs(slope - numeric) < 1e-2);
      ++outside;
    }
    inside += 32;
  }
  CHECK(outside > 10);
  CHECK(inside - outside > 20);
}

TEST_CASE("laws: linear in dy and in the factor, blind to powers of two of the units, close to the sum in double") {
  for (const char* text : {"int4:group32:symmetric", "int8:axis0:symmetric", "int3:tensor:signed_extremum"}) {
    CAPTURE(text);
    const index_t rows = 6, columns = 300, size = rows * columns;
    const LsqCase c(parse_spec(text), rows, columns, uniform_values(size, 4), uniform_values(size, 5));
    const std::vector<float> dscale = c.kernel();
    LsqCase doubled = c, small = c;
    for (float& g : doubled.dy) g *= 2.0f;
    for (float& v : small.x) v *= 0x1p-20f;
    for (float& s : small.scale) s *= 0x1p-20f;
    std::vector<float> twice;
    for (const float g : dscale) twice.push_back(2.0f * g);
    CHECK(compare_bits(twice, doubled.kernel()));
    CHECK(compare_bits(twice, c.kernel(2.0f)));
    CHECK(compare_bits(dscale, small.kernel()));

    const AffineScheme scheme(c.spec, FloatType::kFloat32);
    const GroupLayout layout = group_layout(c.spec.granularity, rows, columns);
    std::vector<float> exact;
    std::vector<double> bounds;
    for (index_t tile = 0; tile < layout.count(); ++tile) {
      const QParams p = kernels::reference::stored_qparams(scheme, c.scale.data(), c.zero_point.data(), tile);
      double sum = 0.0, magnitude = 0.0, count = 0.0;
      kernels::reference::for_each_element(layout, tile, [&](index_t i) {
        const double term = static_cast<double>(c.dy[static_cast<std::size_t>(i)]) *
                            lsq_derivative(c.x[static_cast<std::size_t>(i)], p, scheme);
        sum += term;
        magnitude += std::abs(term);
        count += 1.0;
      });
      exact.push_back(static_cast<float>(sum));
      bounds.push_back(0x1p-24 * (count / 16 + 6) * magnitude);
    }
    CHECK(compare_within(Values<float>(exact), Values<float>(dscale), bounds));
  }
}

TEST_CASE("the gradient scale is 1 / sqrt(n qmax), and what has no learned scale is refused") {
  CHECK(kernels::lsq_gradient_scale(parse_spec("int4:group32:symmetric"), 8, 64) ==
        doctest::Approx(1 / std::sqrt(224.0)));
  CHECK(kernels::lsq_gradient_scale(parse_spec("uint8:axis0:symmetric"), 8, 64) ==
        doctest::Approx(1 / std::sqrt(64.0 * 255)));
  CHECK(kernels::lsq_gradient_scale(parse_spec("int2:tensor:symmetric"), 8, 64) ==
        doctest::Approx(1 / std::sqrt(512.0)));
  CHECK(kernels::lsq_gradient_scale(parse_spec("int1:group32:symmetric"), 8, 64) ==
        doctest::Approx(1 / std::sqrt(32.0)));
  const LsqCase tinygemm(parse_spec("uint4:group32:float_zero_point"), 2, 64, uniform_values(128, 6),
                         uniform_values(128, 7));
  CHECK_THROWS_AS(tinygemm.kernel(), Error);
}

TEST_CASE("a trained scale counts as what its scheme stores: on the grid, not below eps, signed where the scheme is") {
  const auto stored = [](const char* text, float s) {
    return stored_scale(s, AffineScheme(parse_spec(text), FloatType::kFloat32));
  };
  CHECK(stored("int4:group32:symmetric", 0.1f) == 0.1f);
  CHECK(stored("int4:group32:symmetric", -0.1f) == 0x1p-126f);
  CHECK(stored("int4:group32:symmetric:float32:half_to_even:eps=0.001", 1e-5f) == 0.001f);
  CHECK(stored("int4:group32:signed_extremum", -0.1f) == -0.1f);
  CHECK(stored("int4:group32:symmetric:bfloat16", 0.1f) == static_cast<float>(bfloat16(0.1f)));
  CHECK(stored("int4:group32:symmetric:e8m0", 0.1f) == 0.125f);
  CHECK(stored("int4:group32:symmetric:float16", 1e9f) == 65504.0f);
  for (const QuantSpec& spec : specs_under_test()) {  // chosen scales stand for themselves
    if (spec.granularity.kind == GranularityKind::kPerGroup && spec.granularity.group_size > 257) continue;
    const LsqCase c(spec, 2, 257, adversarial<float>(2 * 257, 8), uniform_values(2 * 257, 9));
    const AffineScheme scheme(spec, FloatType::kFloat32);
    for (const float s : c.scale) CHECK(stored_scale(s, scheme) == s);
  }
}
