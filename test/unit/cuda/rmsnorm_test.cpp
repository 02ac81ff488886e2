// kernels/cuda/rmsnorm: within its bound of the formula in double, and quantized with the bits of the definition.
#include "qat/kernels/cuda/rmsnorm.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "qat/kernels/reference/quantize.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::rmsnorm_test {
namespace {

using namespace qat::test;
using emulation::Buffer;

template <class T>
std::vector<T> as(const std::vector<float>& x) {
  std::vector<T> y;
  for (const float v : x) y.push_back(static_cast<T>(v));
  return y;
}
template <class T>
std::vector<float> floats(const T* p, std::size_t n) {
  std::vector<float> y;
  for (std::size_t i = 0; i < n; ++i) y.push_back(static_cast<float>(p[i]));
  return y;
}
template <class C>
std::vector<float> floats(const C& c) {
  return floats(c.data(), c.size());
}

struct Case {
  index_t rows, columns;
  std::size_t offset = 0;  // elements by which x misses its alignment
};
/// A row of each kind of team, rows of odd lengths, more rows than blocks.
template <class T>
std::vector<Case> cases() {
  constexpr index_t N = 16 / sizeof(T);
  return {{1, N},       {5, 3 * N},    {90, 33 * N}, {3, 100 * N},  {40, 130 * N}, {2, 300 * N},
          {2, 600 * N}, {2, 1030 * N}, {7, 37},      {3, 8 * N, 1}, {1, 1}};
}

template <class T>
struct Inputs {
  std::vector<T> x, residual, dy;
  std::vector<float> weight;
  explicit Inputs(const Case& shape) {
    const index_t n = shape.rows * shape.columns;
    x = as<T>(normal_values(n, 1)), residual = as<T>(normal_values(n, 2)), dy = as<T>(normal_values(n, 3));
    weight = uniform_values(shape.columns, 4, 2.0f);
  }
};
constexpr float kEps = 1e-5f;

template <class T>
void check_plain() {
  for (const Case& shape : cases<T>()) {
    CAPTURE(shape.columns);
    const Inputs<T> in(shape);
    const auto n = in.x.size(), rows = static_cast<std::size_t>(shape.rows);
    for (const bool with_residual : {false, true}) {
      const Buffer<const T> x(in.x, shape.offset);
      const Buffer<T> residual(in.residual);
      const Buffer<const float> weight(in.weight);
      const Buffer<T> y = Buffer<T>::uninitialized(n);
      const Buffer<float> inv_rms = Buffer<float>::uninitialized(rows);
      cuda::RmsNormArgs<T> args;
      args.x = x.data(), args.weight = weight.data(), args.eps = kEps;
      if (with_residual) args.residual = residual.data(), args.sum = residual.data();
      args.rows = shape.rows, args.columns = shape.columns, args.inv_rms = inv_rms.data(), args.output.y = y.data();
      cuda::rmsnorm(CudaBackend{}, args);
      std::vector<float> h = floats(in.x), wanted_y;
      if (with_residual) {
        for (std::size_t i = 0; i < n; ++i) h[i] = static_cast<float>(T(h[i] + static_cast<float>(in.residual[i])));
        CHECK(compare_bits(h, floats(residual)));
      }
      for (std::size_t r = 0; r < rows; ++r) {
        const auto columns = static_cast<std::size_t>(shape.columns);
        double squares = 0;
        for (std::size_t i = 0; i < columns; ++i) squares += double{h[r * columns + i]} * double{h[r * columns + i]};
        const double inv = 1 / std::sqrt(squares / static_cast<double>(columns) + double{kEps});
        CHECK(std::fabs(double{inv_rms[r]} - inv) <= inv * 0x1p-24 * (0.5 * (16 + 5 + 32) + 4));
        for (std::size_t i = 0; i < columns; ++i) {
          const float scaled = h[r * columns + i] * inv_rms[r];
          wanted_y.push_back(static_cast<float>(T(scaled * in.weight[i])));
        }
      }
      CHECK(compare_bits(wanted_y, floats(y)));
    }
  }
}

constexpr const char* kSpecs[] = {"int8:token:symmetric",          "int8:token:asymmetric",
                                  "int4:token:asymmetric_raw",     "uint8:token:symmetric_no_clip:input",
                                  "int8:group32:symmetric",        "int4:group32:asymmetric:bfloat16",
                                  "int8:group64:symmetric_no_clip"};

template <class T>
void check_quantized() {
  for (const Case& shape : {Case{5, 96}, Case{3, 320}, Case{40, 1056}, Case{2, 2112}, Case{2, 4608},
                            Case{2, sizeof(T) == 2 ? 8448 : 4416}}) {
    CAPTURE(shape.columns);
    Inputs<T> in(shape);
    if (shape.rows == 5) in.x[3] = T(NAN), in.x[100] = T(INFINITY), in.x[201] = T(0.0f), in.residual[201] = T(-0.0f);
    const auto n = in.x.size();
    const Buffer<const T> x(in.x), residual(in.residual);
    const Buffer<const float> weight(in.weight);
    cuda::RmsNormArgs<T> args;
    args.x = x.data(), args.weight = weight.data(), args.eps = kEps;
    args.rows = shape.rows, args.columns = shape.columns;
    for (const char* text : kSpecs) {
      const QuantSpec spec = parse_spec(text);
      if (shape.columns % 64 != 0 && spec.granularity.group_size == 64) continue;
      CAPTURE(std::string(text));
      args.residual = spec.bits == 4 ? residual.data() : nullptr;
      const Buffer<T> plain = Buffer<T>::uninitialized(n), y = Buffer<T>::uninitialized(n);
      args.output = {};
      args.output.y = plain.data();
      cuda::rmsnorm(CudaBackend{}, args);
      const auto tiles = static_cast<std::size_t>(group_layout(spec.granularity, shape.rows, shape.columns).count());
      const Buffer<float> scale = Buffer<float>::uninitialized(tiles), zero_point = Buffer<float>::uninitialized(tiles);
      const Buffer<std::int8_t> codes = Buffer<std::int8_t>::uninitialized(n);
      const Buffer<std::uint8_t> mask = Buffer<std::uint8_t>::uninitialized(n / 8);
      const Buffer<unsigned> nonfinite(1, 0u);
      args.output = {&spec,       y.data(),         codes.data(),    scale.data(), zero_point.data(),
                     mask.data(), SteMask::kStrict, nonfinite.data()};
      cuda::rmsnorm(CudaBackend{}, args);
      std::vector<T> wanted(n);
      std::vector<float> wanted_scale(tiles), wanted_zero(tiles);
      std::vector<std::int8_t> wanted_codes(n);
      std::vector<std::uint8_t> wanted_mask(n / 8);
      const index_t bad = kernels::reference::fake_quantize_dynamic(
          spec, plain.data(), shape.rows, shape.columns, wanted.data(), wanted_scale.data(), wanted_zero.data());
      kernels::reference::quantize(spec, plain.data(), shape.rows, shape.columns, wanted_scale.data(),
                                   wanted_zero.data(), wanted_codes.data());
      kernels::reference::gradient_mask(spec, plain.data(), shape.rows, shape.columns, wanted_scale.data(),
                                        wanted_zero.data(), SteMask::kStrict, wanted_mask.data());
      CHECK(compare_bits(wanted_scale, floats(scale)));
      CHECK(compare_bits(wanted_zero, floats(zero_point)));
      CHECK(compare_bits(floats(wanted), floats(y)));
      CHECK(wanted_codes == codes.to_vector());
      CHECK(wanted_mask == mask.to_vector());
      CHECK(nonfinite[0] == static_cast<unsigned>(bad));
      if (shape.rows == 5) CHECK(bad > 0);
      // Codes alone: no values are written.
      const Buffer<std::int8_t> only = Buffer<std::int8_t>::uninitialized(n);
      args.output = {&spec, nullptr, only.data(), nullptr, nullptr, nullptr, SteMask::kInclusive, nullptr};
      cuda::rmsnorm(CudaBackend{}, args);
      CHECK(wanted_codes == only.to_vector());
    }
  }
}

template <class T>
struct Gradients {
  std::vector<float> dx, dweight;
};
template <class T>
Gradients<T> run_backward(const Case& shape, const Inputs<T>& in, const std::vector<T>& dy,
                          const std::vector<float>& inv_rms, const cuda::QuantizedInput& quantized, bool accumulate) {
  const Buffer<const T> x(in.x), gradient(dy);
  const Buffer<const float> weight(in.weight), inv(inv_rms);
  const Buffer<T> dx(in.residual);
  const Buffer<float> dweight(in.weight);
  const std::size_t bytes = cuda::rmsnorm_backward_bytes<T>(shape.rows, shape.columns);
  const Buffer<float> workspace = Buffer<float>::uninitialized(bytes / 4);
  CudaBackend backend;
  backend.workspace = workspace.data(), backend.workspace_bytes = bytes;
  cuda::RmsNormBackwardArgs<T> args;
  args.x = x.data(), args.weight = weight.data(), args.inv_rms = inv.data(), args.dy = gradient.data();
  args.rows = shape.rows, args.columns = shape.columns;
  args.dx = dx.data(), args.accumulate_dx = accumulate;
  args.dweight = dweight.data(), args.accumulate_dweight = accumulate;
  args.quantized = quantized;
  cuda::rmsnorm_backward(backend, args);
  return {floats(dx), dweight.to_vector()};
}

template <class T>
std::vector<float> inverse_rms(const Case& shape, const std::vector<T>& x) {
  std::vector<float> inv;
  for (index_t r = 0; r < shape.rows; ++r) {
    double squares = 0;
    for (index_t i = 0; i < shape.columns; ++i) {
      const double v = static_cast<double>(static_cast<float>(x[static_cast<std::size_t>(r * shape.columns + i)]));
      squares += v * v;
    }
    inv.push_back(static_cast<float>(1 / std::sqrt(squares / static_cast<double>(shape.columns) + double{kEps})));
  }
  return inv;
}

template <class T>
void check_backward() {
  for (const Case& shape : cases<T>()) {
    if (shape.offset != 0) continue;
    CAPTURE(shape.columns);
    const Inputs<T> in(shape);
    const std::vector<float> inv = inverse_rms(shape, in.x);
    const auto columns = static_cast<std::size_t>(shape.columns);
    std::vector<double> dweight(columns), magnitude(columns), dx;
    double largest = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(shape.rows); ++r) {
      double mean = 0, size = 0;
      const auto x = [&](std::size_t i) { return double{static_cast<float>(in.x[r * columns + i])} * double{inv[r]}; };
      const auto g = [&](std::size_t i) { return double{static_cast<float>(in.dy[r * columns + i])}; };
      for (std::size_t i = 0; i < columns; ++i) {
        mean += g(i) * double{in.weight[i]} * x(i), size += std::fabs(g(i) * double{in.weight[i]} * x(i));
        dweight[i] += g(i) * x(i), magnitude[i] += std::fabs(g(i) * x(i));
      }
      mean /= static_cast<double>(columns), size /= static_cast<double>(columns);
      for (std::size_t i = 0; i < columns; ++i) {
        dx.push_back((g(i) * double{in.weight[i]} - x(i) * mean) * double{inv[r]});
        largest =
            std::fmax(largest, (std::fabs(g(i) * double{in.weight[i]}) + std::fabs(x(i)) * size) * double{inv[r]});
      }
    }
    for (const bool accumulate : {false, true}) {
      const Gradients<T> found = run_backward(shape, in, in.dy, inv, {}, accumulate);
      index_t off = 0;
      for (std::size_t i = 0; i < dx.size(); ++i) {
        const double before = accumulate ? double{static_cast<float>(in.residual[i])} : 0.0;
        const double rounding = sizeof(T) == 2 ? 0x1p-8 * std::fabs(dx[i] + before) : 0.0;
        off += !(std::fabs(double{found.dx[i]} - dx[i] - before) <=
                 rounding + 0x1p-24 * 64 * (largest + std::fabs(before)));
      }
      CHECK(off == 0);
      for (std::size_t i = 0; i < columns; ++i) {
        const double before = accumulate ? double{in.weight[i]} : 0.0;
        CHECK(std::fabs(double{found.dweight[i]} - dweight[i] - before) <=
              0x1p-24 * static_cast<double>(shape.rows + 8) * (magnitude[i] + std::fabs(before)) + 1e-30);
      }
    }
  }
}

template <class T>
void check_quantized_backward() {
  for (const Case& shape : {Case{3, 96}, Case{5, 1056}}) {
    Inputs<T> in(shape);
    const std::vector<float> inv = inverse_rms(shape, in.x);
    std::vector<T> y;
    for (std::size_t i = 0; i < in.x.size(); ++i) {
      const auto columns = static_cast<std::size_t>(shape.columns);
      const float scaled = static_cast<float>(in.x[i]) * inv[i / columns];
      y.push_back(T(scaled * in.weight[i % columns]));
    }
    for (const char* text : kSpecs) {
      const QuantSpec spec = parse_spec(text);
      if (shape.columns % 64 != 0 && spec.granularity.group_size == 64) continue;
      for (const SteMask mask : {SteMask::kInclusive, SteMask::kStrict, SteMask::kPassThrough}) {
        CAPTURE(std::string(text));
        const auto tiles = static_cast<std::size_t>(group_layout(spec.granularity, shape.rows, shape.columns).count());
        std::vector<float> scale(tiles), zero_point(tiles);
        kernels::reference::choose_qparams(spec, y.data(), shape.rows, shape.columns, scale.data(), zero_point.data());
        for (float& s : scale) s = stored_scale(s * 0.7f, AffineScheme(spec, kFloatTypeOf<T>));  // so that masks bite
        std::vector<T> masked(y.size());
        kernels::reference::fake_quantize_backward(spec, in.dy.data(), y.data(), shape.rows, shape.columns,
                                                   scale.data(), zero_point.data(), mask, masked.data());
        const Buffer<const float> device_scale(scale), device_zero(zero_point);
        const cuda::QuantizedInput quantized{&spec, device_scale.data(), device_zero.data(), mask};
        const Gradients<T> wanted = run_backward(shape, in, masked, inv, {}, false);
        const Gradients<T> found = run_backward(shape, in, in.dy, inv, quantized, false);
        CHECK(compare_bits(wanted.dx, found.dx));
        CHECK(compare_bits(wanted.dweight, found.dweight));
        if (mask == SteMask::kStrict) CHECK(floats(masked) != floats(in.dy));
      }
    }
  }
}

}  // namespace

TEST_CASE("cuda::rmsnorm: inv_rms within its bound of the formula, elements with the bits of its operations") {
  check_plain<float>();
  check_plain<bfloat16>();
}
TEST_CASE("cuda::rmsnorm: what it quantizes has the bits of the definition on what it computes") {
  check_quantized<float>();
  check_quantized<bfloat16>();
}
TEST_CASE("cuda::rmsnorm_backward: gradients within a bound of the formula, overwritten and added") {
  check_backward<float>();
  check_backward<bfloat16>();
}
TEST_CASE("cuda::rmsnorm_backward: a quantized output's gradient goes through the estimator first, bit for bit") {
  check_quantized_backward<float>();
  check_quantized_backward<bfloat16>();
}
TEST_CASE("cuda::rmsnorm: what it cannot fold in is an error that names scheme, shape and what is accepted") {
  float word[64] = {};
  const auto message_of = [&](const char* text, index_t columns) {
    const QuantSpec spec = parse_spec(text);
    cuda::RmsNormArgs<float> args;
    args.x = word, args.weight = word, args.rows = 1, args.columns = columns;
    args.output.y = word, args.output.spec = &spec;
    try {
      cuda::rmsnorm(CudaBackend{}, args);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  for (const char* text : {"int8:tensor:symmetric", "int4:group32:signed_extremum", "int8:group8:symmetric",
                           "uint4:group32:float_zero_point", "int8:token:symmetric:half_away_from_zero"}) {
    CAPTURE(std::string(text));
    CHECK(message_of(text, 32).find(text) != std::string::npos);
    CHECK(message_of(text, 32).find("accepted are") != std::string::npos);
  }
  CHECK(message_of("int8:token:symmetric", 33).find("33") != std::string::npos);
  CudaBackend backend;
  cuda::RmsNormBackwardArgs<float> args;
  args.rows = 4, args.columns = 8, args.dweight = word;
  CHECK_THROWS_AS(cuda::rmsnorm_backward(backend, args), Error);
}

}  // namespace qat::rmsnorm_test
