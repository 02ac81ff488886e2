// Laws of quantization, on random tensors, for every scheme of the menu.
#include <doctest/doctest.h>

#include "consistency/quantize_bits.hpp"
#include "support/compare.hpp"

using namespace qat;
using namespace qat::test;

namespace {

constexpr index_t kRows = 16, kColumns = 256, kSize = kRows * kColumns;
const CpuBackend& backend() { return CpuBackend::shared(); }

struct Quantized {
  std::vector<float> x, y, scale, zero;
  std::vector<std::int8_t> codes;
  index_t tile_columns;
  GroupLayout layout;
  std::size_t tile_of(std::size_t i) const {
    const index_t row = static_cast<index_t>(i) / layout.columns, column = static_cast<index_t>(i) % layout.columns;
    return static_cast<std::size_t>(row / layout.tile_rows * layout.tiles_per_row + column / layout.tile_columns);
  }
};

/// Sums of four uniform numbers: bell-shaped, with outliers of 4 now and then.
std::vector<float> bell(std::uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> x(static_cast<std::size_t>(kSize));
  for (float& value : x) {
    value = random.next_float() + random.next_float() + random.next_float() + random.next_float() - 2.0f;
    if (random.next_below(200) == 0) value *= 4.0f;
  }
  return x;
}

Quantized run(const QuantSpec& spec, const std::vector<float>& x) {
  Quantized q;
  q.x = x;
  q.layout = group_layout(spec.granularity, kRows, kColumns);
  q.y.resize(x.size());
  q.codes.resize(x.size());
  q.scale.resize(static_cast<std::size_t>(q.layout.count()));
  q.zero.resize(q.scale.size());
  kernels::fake_quantize_dynamic(backend(), spec, x.data(), kRows, kColumns, q.y.data(), q.scale.data(), q.zero.data());
  kernels::quantize(backend(), spec, x.data(), kRows, kColumns, q.scale.data(), q.zero.data(), q.codes.data());
  return q;
}
int code_value(const QuantSpec& spec, std::int8_t code) {
  return spec.is_signed ? code : static_cast<std::uint8_t>(code);
}
float magnitude(float x) { return x < 0 ? -x : x; }

}  // namespace

TEST_CASE("every value lies on the grid of its group, and inside the range it is at most half a step away") {
  for (const QuantSpec& spec : kMenu) {
    CAPTURE(std::string(to_string(spec).c_str()));
    const bool float_zero = spec.mapping == MappingKind::kFloatZeroPoint;
    const Quantized q = run(spec, bell(1));
    index_t inside = 0, off_grid = 0, too_far = 0;
    for (std::size_t i = 0; i < q.x.size(); ++i) {
      const float s = q.scale[q.tile_of(i)], z = q.zero[q.tile_of(i)];
      const int code = code_value(spec, q.codes[i]);
      if (code < spec.qmin() || code > spec.qmax()) ++off_grid;
      if (float_zero) {
        const float middle = static_cast<float>(spec.qmin() + spec.qmax() + 1) / 2;
        if (q.y[i] != (static_cast<float>(code) - middle) * s + z) ++off_grid;
      } else if (q.y[i] != (static_cast<float>(code) - z) * s) {
        ++off_grid;
      }
      if (code == spec.qmin() || code == spec.qmax()) continue;  // may be clipped
      ++inside;
      // Half a step, the roundings of x/s and of y, and under FloatZeroPoint those of the bfloat16 zero point.
      const float slack =
          float_zero ? 0x1p-7f * (magnitude(q.x[i]) + magnitude(z) + magnitude(16 * s)) : 0x1p-8f * magnitude(q.x[i]);
      const float slack_scale = spec.scale_type == ScaleType::kFloat32 ? 0x1p-21f * magnitude(q.x[i]) : slack;
      if (!(magnitude(q.x[i] - q.y[i]) <= 0.5f * magnitude(s) + slack_scale)) ++too_far;
    }
    CHECK(off_grid == 0);
    CHECK(too_far == 0);
    CHECK(inside > kSize / 16);
  }
}

TEST_CASE("fake-quantizing with the same parameters again changes nothing") {
  for (const QuantSpec& spec : kMenu) {
    if (spec.mapping == MappingKind::kFloatZeroPoint) continue;  // (x - low) / s rounds again
    CAPTURE(std::string(to_string(spec).c_str()));
    const Quantized q = run(spec, bell(2));
    std::vector<float> again(q.y.size());
    kernels::fake_quantize(backend(), spec, q.y.data(), kRows, kColumns, q.scale.data(), q.zero.data(), again.data());
    CHECK(compare_bits(q.y, again));
  }
}

TEST_CASE("the signed extremum scheme is idempotent from its own output: the largest element is a code") {
  const QuantSpec spec = parse_spec("int4:group32:signed_extremum:bf16safe");
  const Quantized q = run(spec, bell(3));
  const Quantized again = run(spec, q.y);
  CHECK(compare_bits(q.y, again.y));
}

TEST_CASE("all 2^b codes survive dequantize and quantize") {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const bool is_signed : {true, false}) {
      for (const float scale : {1.0f, 0.1f, 0x1.8p-20f, 3.3e10f}) {
        QuantSpec spec;
        spec.bits = bits;
        spec.is_signed = is_signed;
        spec.granularity = PerToken::granularity;
        spec.mapping = MappingKind::kAsymmetric;
        for (int zero = spec.qmin(); zero <= spec.qmax(); zero += bits < 6 ? 1 : 37) {
          std::vector<std::int8_t> codes;
          for (int code = spec.qmin(); code <= spec.qmax(); ++code) codes.push_back(static_cast<std::int8_t>(code));
          const index_t n = static_cast<index_t>(codes.size());
          const float z = static_cast<float>(zero);
          std::vector<float> y(codes.size());
          std::vector<std::int8_t> back(codes.size());
          kernels::dequantize(backend(), spec, codes.data(), 1, n, &scale, &z, y.data());
          kernels::quantize(backend(), spec, y.data(), 1, n, &scale, &z, back.data());
          REQUIRE(compare_bits(codes, back));
          CHECK(y[static_cast<std::size_t>(zero - spec.qmin())] == 0.0f);
        }
      }
    }
  }
}

TEST_CASE("zero is exact in every scheme but the float zero point") {
  for (const QuantSpec& spec : kMenu) {
    if (spec.mapping == MappingKind::kFloatZeroPoint) continue;
    CAPTURE(std::string(to_string(spec).c_str()));
    std::vector<float> x = bell(4);
    for (std::size_t i = 0; i < x.size(); i += 3) x[i] = 0.0f;
    const Quantized q = run(spec, x);
    index_t wrong = 0;
    for (std::size_t i = 0; i < x.size(); i += 3) wrong += q.y[i] != 0.0f ? 1 : 0;
    CHECK(wrong == 0);
  }
}

TEST_CASE("quantization is monotone: x <= x' gives y <= y' within a group") {
  for (const QuantSpec& spec : kMenu) {
    CAPTURE(std::string(to_string(spec).c_str()));
    std::vector<float> x = bell(5);
    for (index_t row = 0; row < kRows; ++row) {  // ascending rows
      float* p = x.data() + row * kColumns;
      for (index_t i = 1; i < kColumns; ++i) {
        const float value = p[i];
        index_t j = i;
        for (; j > 0 && p[j - 1] > value; --j) p[j] = p[j - 1];
        p[j] = value;
      }
    }
    const Quantized q = run(spec, x);
    index_t falls = 0;
    for (std::size_t i = 1; i < x.size(); ++i)
      if (q.tile_of(i) == q.tile_of(i - 1) && x[i] >= x[i - 1] && q.y[i] < q.y[i - 1]) ++falls;
    CHECK(falls == 0);
  }
}

TEST_CASE("the gradient is that of a clipped identity: dy inside the range, 0 outside, and the mask says which") {
  for (const QuantSpec& spec : kMenu) {
    CAPTURE(std::string(to_string(spec).c_str()));
    const Quantized q = run(spec, bell(6));
    std::vector<float> x = q.x, dy(x.size(), 1.0f), dx(x.size());
    for (std::size_t i = 0; i < x.size(); i += 7) x[i] *= 8.0f;  // beyond a static range
    kernels::fake_quantize_backward(backend(), spec, dy.data(), x.data(), kRows, kColumns, q.scale.data(),
                                    q.zero.data(), SteMask::kInclusive, dx.data());
    index_t passed = 0, blocked = 0, other = 0;
    for (const float g : dx) {
      const float bound =
          spec.scale_type == ScaleType::kBfloat16 ? 0x1p-7f : 0x1p-22f;  // 1/s is rounded to the scale's type
      if (magnitude(g - 1.0f) <= bound) {
        ++passed;
      } else {
        ++(g == 0.0f ? blocked : other);
      }
    }
    CHECK(other == 0);
    CHECK(passed > kSize / 2);
    CHECK(blocked > 0);
  }
}
