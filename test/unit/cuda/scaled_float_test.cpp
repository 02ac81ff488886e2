// FP8, MX and NVFP4 fake quantization on a GPU, emulated: the bits of quant/scaled_float.hpp.
#include "qat/kernels/cuda/scaled_float.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "qat/kernels/reference/quantize.hpp"
#include "support/compare.hpp"
#include "support/quantize_cases.hpp"

using namespace qat;
using namespace qat::test;

namespace {

constexpr MatrixShape kFloatShapes[] = {{1, 32},    {37, 64}, {3, 1024}, {9, 768}, {2, 2560}, {2, 4096}, {1, 20480},
                                        {2, 36864}, {3, 7},   {5, 31},   {4, 44},  {2, 257},  {2, 1000}};
constexpr const char* kFloatSpecs[] = {"e4m3:tensor:amax",      "e4m3:token:amax",       "e5m2:axis0:amax",
                                       "e5m2:tensor:amax",      "e4m3:group32:mx_rceil", "e5m2:group32:mx_floor",
                                       "e2m3:group32:mx_even",  "e3m2:group32:mx_ceil",  "e2m1:group32:mx_rceil",
                                       "e2m1:group32:mx_floor", "e2m1:group16:nvfp4",    "e2m1:token:nvfp4",
                                       "e2m1:tensor:nvfp4",     "e3m2:token:mx_rceil",   "e2m1:group8:mx_even",
                                       "e4m3:group128:amax",    "e2m1:group7:nvfp4",     "e4m3:group256:mx_ceil"};

template <class T>
struct FloatExpected {
  std::vector<T> y;
  std::vector<float> scale;
  std::vector<std::uint8_t> bits;
  unsigned nonfinite = 0;
  float tensor_amax = 0.0f;

  FloatExpected(const ScaledFloatSpec& spec, const std::vector<T>& x, index_t rows, index_t columns)
      : y(x.size()), bits((x.size() + 7) / 8) {
    const GroupLayout layout = group_layout(spec.granularity, rows, columns);
    const auto finite = [](float v) { return !is_nonfinite(v); };
    for (const T& v : x) {
      const float f = static_cast<float>(v);
      nonfinite += finite(f) ? 0 : 1;
      if (finite(f) && std::fabs(f) > tensor_amax) tensor_amax = std::fabs(f);
    }
    for (index_t tile = 0; tile < layout.count(); ++tile) {
      float amax = 0.0f;
      kernels::reference::for_each_element(layout, tile, [&](index_t i) {
        const float f = static_cast<float>(x[static_cast<std::size_t>(i)]);
        if (finite(f) && std::fabs(f) > amax) amax = std::fabs(f);
      });
      const ScaledFloatBlock block = choose_block(amax, nvfp4_tensor_scale(tensor_amax), spec, kFloatTypeOf<T>);
      scale.push_back(block.scale);
      kernels::reference::for_each_element(layout, tile, [&](index_t i) {
        const std::size_t n = static_cast<std::size_t>(i);
        const float f = static_cast<float>(x[n]);
        y[n] = static_cast<T>(fake_quantize(f, block, spec, kFloatTypeOf<T>));
        if (passes_gradient(f, block, spec)) bits[n / 8] = static_cast<std::uint8_t>(bits[n / 8] | 1u << (n % 8));
      });
    }
  }
};

template <class T>
void check_floats() {
  int cases = 0;
  for (const char* text : kFloatSpecs) {
    const ScaledFloatSpec spec = parse_scaled_float_spec(text);
    CAPTURE(std::string(text));
    for (const MatrixShape shape : kFloatShapes) {
      if (spec.granularity.kind == GranularityKind::kPerGroup && spec.granularity.group_size > shape.columns) continue;
      CAPTURE(shape.columns);
      const index_t n = shape.rows * shape.columns;
      const std::size_t offset = cases % 6 == 5 ? 1 : 0;
      const std::vector<T> values = adversarial<T>(n, static_cast<std::uint64_t>(cases));
      const FloatExpected<T> expected(spec, values, shape.rows, shape.columns);
      const emulation::Buffer<std::uint64_t> memory(64);
      const CudaBackend backend{nullptr, memory.data(), 512};
      const emulation::Buffer<const T> x(values, offset);
      const auto y = emulation::Buffer<T>::uninitialized(values.size(), offset);
      const auto scale = emulation::Buffer<float>::uninitialized(expected.scale.size());
      const auto bits = emulation::Buffer<std::uint8_t>::uninitialized(expected.bits.size());
      const emulation::Buffer<unsigned> nonfinite(1);
      cuda::fake_quantize_float(backend, spec, x.data(), shape.rows, shape.columns, y.data(),
                                {nullptr, scale.data(), bits.data(), nonfinite.data()});
      CHECK(compare_bits(expected.y, y.to_vector()));
      CHECK(compare_bits(expected.scale, scale.to_vector()));
      CHECK(compare_bits(expected.bits, bits.to_vector()));
      CHECK(nonfinite[0] == expected.nonfinite);
      if (cases % 2 == 0) {  // in place, with a given largest magnitude, nothing else
        const emulation::Buffer<T> z(values, offset);
        const emulation::Buffer<const float> amax(1, expected.tensor_amax);
        cuda::fake_quantize_float({}, spec, z.data(), shape.rows, shape.columns, z.data(), {amax.data()});
        CHECK(compare_bits(expected.y, z.to_vector()));
      }
      ++cases;
    }
  }
  CHECK(cases > 180);
}

}  // namespace

TEST_CASE("cuda fake_quantize_float, fp32: every element and scale rule has the bits of the definition") {
  check_floats<float>();
}
TEST_CASE("cuda fake_quantize_float, bfloat16: every element and scale rule has the bits of the definition") {
  check_floats<bfloat16>();
}

TEST_CASE("rounding by one addition is the nearest element: all bfloat16, and values around every tie") {
  struct Plain {
    float add(float a, float b) const { return a + b; }
    float sub(float a, float b) const { return a - b; }
  };
  for (const FloatElement e :
       {FloatElement::kE4M3, FloatElement::kE5M2, FloatElement::kE2M3, FloatElement::kE3M2, FloatElement::kE2M1}) {
    const cuda::SmallFloatRounding rounding(e);
    std::vector<float> expected, found;
    const auto check = [&](float v) {
      expected.push_back(nearest_element(e, v));
      found.push_back(std::copysign(rounding(Plain{}, std::fabs(v)), v));
    };
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const float v = bit_cast<float>(bits << 16);
      if (is_nan(v)) continue;
      check(v);
      check(bit_cast<float>((bits << 16) + 1));
      check(bit_cast<float>((bits << 16) | 0xFFFFu));
    }
    const auto nan = [](float v) { return is_nan(v); };
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (nan(expected[i])) expected[i] = found[i] = 0.0f;
    CHECK(compare_bits(expected, found));
  }
}

TEST_CASE("cuda fake_quantize_float reads and writes once, 16 bytes at a time, with a given tensor amax") {
  for (const char* text : {"e2m1:group16:nvfp4", "e2m1:group32:mx_floor", "e4m3:token:amax", "e4m3:tensor:amax"}) {
    CAPTURE(std::string(text));
    const index_t rows = 4, columns = 4096;
    const emulation::Buffer<const bfloat16> x(adversarial<bfloat16>(rows * columns, 1));
    const emulation::Buffer<const float> amax(1, 3.0f);
    const auto y = emulation::Buffer<bfloat16>::uninitialized(static_cast<std::size_t>(rows * columns));
    emulation::reset_counters();
    cuda::fake_quantize_float({}, parse_scaled_float_spec(text), x.data(), rows, columns, y.data(), {amax.data()});
    CHECK(emulation::counters().launches == 1);
    CHECK(x.loaded_bytes() == static_cast<std::uint64_t>(2 * rows * columns));
    CHECK(emulation::counters().stored_bytes == static_cast<std::uint64_t>(2 * rows * columns));
    CHECK(y.unwritten() == 0);
  }
}

namespace {

template <class T>
void check_mask_gradient(index_t n, std::size_t offset, bool accumulate, bool in_place) {
  CAPTURE(n);
  const std::vector<T> dy = adversarial<T>(n, 4, true), old = in_place ? dy : adversarial<T>(n, 5, true);
  std::vector<std::uint8_t> bits(static_cast<std::size_t>((n + 7) / 8));
  std::vector<T> expected = old;
  const CounterRandom random(7);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint8_t>(random.at(i));
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const float g = (bits[i / 8] >> (i % 8) & 1) != 0 ? static_cast<float>(dy[i]) : 0.0f;
    expected[i] = static_cast<T>(accumulate ? static_cast<float>(old[i]) + g : g);
  }
  const emulation::Buffer<const T> dy_in(dy, offset);
  const emulation::Buffer<const std::uint8_t> mask(bits);
  const emulation::Buffer<T> dx(old, offset);
  cuda::mask_gradient<T>({}, in_place ? dx.data() : dy_in.data(), mask.data(), n, dx.data(), accumulate);
  CHECK(compare_bits(expected, dx.to_vector()));
}

}  // namespace

TEST_CASE("cuda mask_gradient passes what the mask passes: ragged sizes, unaligned, in place, accumulated") {
  for (const index_t n : {1, 7, 8, 12, 1023, 4096, 10000}) {
    for (const std::size_t offset : {0, 1}) {
      check_mask_gradient<float>(n, offset, false, n % 2 == 0);
      check_mask_gradient<bfloat16>(n, offset, n % 2 == 0, false);
      check_mask_gradient<bfloat16>(n, offset, false, true);
    }
    check_mask_gradient<float>(n, 0, true, false);
  }
  cuda::mask_gradient<float>({}, nullptr, nullptr, 0, nullptr);
}

TEST_CASE("a quotient by the rounded reciprocal is the division: random numbers, and near the ties of elements") {
  struct Plain {
    float mul(float a, float b) const { return a * b; }
    float fma(float a, float b, float c) const { return std::fma(a, b, c); }
  };
  const CounterRandom random(11);
  std::vector<float> expected, found;
  for (std::uint64_t i = 0; i < 400000; ++i) {
    const std::uint32_t word = random.at(2 * i), other = random.at(2 * i + 1);
    const float b = bit_cast<float>((word & 0x7FFFFFu) | (47u + other % 160u) << 23);  // 2^-80 to 2^80
    const float wanted = bit_cast<float>((word * 5u & 0x7FFFFFu) | (117u + (other >> 8) % 20u) << 23);
    float a = wanted * b;
    if (i % 2 == 0) {  // a hair beside a product with few bits
      const float tie = static_cast<float>(1u + (other >> 16 & 31u)) * 0.0625f;
      a = bit_cast<float>(bit_cast<std::uint32_t>(tie * b) + (other >> 21 & 3u));
    }
    expected.push_back(a / b);
    found.push_back(cuda::quotient(Plain{}, a, b, 1.0f / b));
  }
  CHECK(compare_bits(expected, found));
}
