// kernels/cuda/activation: within its bound of the formulas in double, and quantized with the bits of the definition.
#include "qat/kernels/cuda/activation.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "qat/kernels/reference/quantize.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::activation_test {
namespace {

using namespace qat::test;
using cuda::Activation;
using emulation::Buffer;

template <class T>
std::vector<T> values(index_t n, std::uint64_t seed, float scale) {
  std::vector<T> y;
  for (const float v : normal_values(n, seed)) y.push_back(static_cast<T>(v * scale));
  return y;
}
template <class C>
std::vector<float> floats(const C& c) {
  std::vector<float> y;
  for (const auto v : c) y.push_back(static_cast<float>(v));
  return y;
}
/// The columns of a matrix of rows of `stride`, from `first`.
template <class T>
std::vector<T> columns_of(const std::vector<T>& x, index_t stride, index_t first, index_t columns) {
  std::vector<T> y;
  for (std::size_t at = static_cast<std::size_t>(first); at < x.size(); at += static_cast<std::size_t>(stride))
    y.insert(y.end(), x.begin() + static_cast<index_t>(at), x.begin() + static_cast<index_t>(at) + columns);
  return y;
}

struct Case {
  index_t rows, columns;
  bool halves = false;  // gate and up are the halves of one matrix
  std::size_t offset = 0;
};
template <class T>
std::vector<Case> cases() {
  constexpr index_t N = 16 / sizeof(T);
  return {{1, N},       {9, 5 * N, true}, {3, 60 * N}, {2, 100 * N, true},  {2, 260 * N},
          {1, 700 * N}, {1, 2100 * N},    {5, 37},     {3, 8 * N, true, 1}, {2, 13, true}};
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
/// The argument of GPT-2's gelu's sigmoid, 2 t: 1 + tanh(t) = 2 sigmoid(2 t), without the cancellation.
double gelu_argument(double g) { return 2 * std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g); }
double value(Activation kind, double g, double up) {
  if (kind == Activation::kSwiglu) return g * sigmoid(g) * up;
  return g * sigmoid(gelu_argument(g));
}
double slope(Activation kind, double g, double up) {
  if (kind == Activation::kSwiglu) return up * (sigmoid(g) + g * sigmoid(g) * (1 - sigmoid(g)));
  const double s = sigmoid(gelu_argument(g));
  return s + g * s * (1 - s) * 2 * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * g * g);
}
/// Roundings of T and of the formula: a few of fp32, and e^x of an argument with a rounding error.
template <class T>
double bound(double wanted, double size, double argument) {
  const double rounding = sizeof(T) == 2 ? 0x1p-8 * std::fabs(wanted) : 0.0;
  return rounding + 0x1p-24 * (16 + 4 * std::fabs(argument)) * size + 1e-37;
}

template <class T>
void check_values(Activation kind) {
  for (const Case& shape : cases<T>()) {
    CAPTURE(shape.columns);
    const index_t n = shape.rows * shape.columns, stride = shape.halves ? 2 * shape.columns : shape.columns;
    const bool gated = kind == Activation::kSwiglu;
    std::vector<T> matrix = values<T>(shape.rows * stride, 1, 3.0f), other = values<T>(n, 2, 2.0f);
    const float special[] = {0.0f, -0.0f, 100.0f, -100.0f, -20.0f, 1e-30f};
    for (std::size_t i = 0; i < std::size(special) && i < static_cast<std::size_t>(shape.columns); ++i)
      matrix[i] = T(special[i]);
    const std::vector<T> gate = columns_of(matrix, stride, 0, shape.columns);
    const std::vector<T> up = shape.halves ? columns_of(matrix, stride, shape.columns, shape.columns) : other;
    const std::vector<T> dy = values<T>(n, 3, 1.0f);
    const Buffer<T> device_matrix(matrix, shape.offset), device_other(other);
    const Buffer<const T> device_dy(dy);
    const Buffer<T> y = Buffer<T>::uninitialized(static_cast<std::size_t>(n));
    cuda::ActivationArgs<T> args;
    args.kind = kind;
    args.gate = device_matrix.data(), args.rows = shape.rows, args.columns = shape.columns, args.gate_stride = stride;
    if (gated) args.up = shape.halves ? device_matrix.data() + shape.columns : device_other.data();
    if (gated) args.up_stride = shape.halves ? stride : 0;
    args.output.y = y.data();
    cuda::activation(CudaBackend{}, args);
    const std::vector<float> found = floats(y), g = floats(gate), u = floats(up), d = floats(dy);
    index_t off = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double wanted = value(kind, double{g[i]}, double{u[i]});
      off += !(std::fabs(double{found[i]} - wanted) <=
               bound<T>(wanted, std::fabs(wanted), double{g[i]} * (gated ? 1 : 3 + double{g[i]} * double{g[i]})));
    }
    CHECK(off == 0);

    cuda::ActivationBackwardArgs<T> back;
    back.kind = kind;
    back.gate = args.gate, back.up = args.up, back.gate_stride = args.gate_stride, back.up_stride = args.up_stride;
    back.rows = shape.rows, back.columns = shape.columns, back.dy = device_dy.data();
    back.dgate = device_matrix.data();  // in place
    if (gated) back.dup = shape.halves ? device_matrix.data() + shape.columns : device_other.data();
    cuda::activation_backward(CudaBackend{}, back);
    const std::vector<T> after = device_matrix.to_vector();
    const std::vector<float> dgate = floats(columns_of(after, stride, 0, shape.columns));
    const std::vector<float> dup =
        floats(shape.halves ? columns_of(after, stride, shape.columns, shape.columns) : device_other.to_vector());
    for (std::size_t i = 0; i < dgate.size(); ++i) {
      const double argument = double{g[i]} * (gated ? 1 : 3 + double{g[i]} * double{g[i]});
      const double wanted = double{d[i]} * slope(kind, double{g[i]}, double{u[i]});
      const double size = std::fabs(double{d[i]} * (gated ? double{u[i]} : 1.0)) * (1 + std::fabs(argument));
      off += !(std::fabs(double{dgate[i]} - wanted) <= bound<T>(wanted, size, argument));
      if (!gated) continue;
      const double wanted_up = double{d[i]} * double{g[i]} * sigmoid(double{g[i]});
      off += !(std::fabs(double{dup[i]} - wanted_up) <= bound<T>(wanted_up, std::fabs(wanted_up), argument));
    }
    CHECK(off == 0);
  }
}

constexpr const char* kSpecs[] = {"int8:token:symmetric", "int4:token:asymmetric", "int8:group32:symmetric:bfloat16",
                                  "int4:group64:asymmetric"};

template <class T>
void check_quantized(Activation kind) {
  constexpr index_t N = 16 / sizeof(T);
  for (const Case& shape : {Case{5, 64}, Case{2, 1088}, Case{1, 2112 * N}}) {
    const index_t n = shape.rows * shape.columns;
    const auto size = static_cast<std::size_t>(n);
    std::vector<T> gate_values = values<T>(n, 5, 2.0f);
    if (shape.rows == 5) gate_values[7] = T(NAN), gate_values[70] = T(INFINITY), gate_values[71] = T(-INFINITY);
    const Buffer<const T> gate(gate_values), up(values<T>(n, 6, 2.0f)), dy(values<T>(n, 7, 1.0f));
    cuda::ActivationArgs<T> args;
    args.kind = kind;
    args.gate = gate.data(), args.rows = shape.rows, args.columns = shape.columns;
    if (kind == Activation::kSwiglu) args.up = up.data();
    const Buffer<T> plain = Buffer<T>::uninitialized(size);
    args.output.y = plain.data();
    cuda::activation(CudaBackend{}, args);
    for (const char* text : kSpecs) {
      CAPTURE(std::string(text));
      CAPTURE(shape.columns);
      const QuantSpec spec = parse_spec(text);
      const auto tiles = static_cast<std::size_t>(group_layout(spec.granularity, shape.rows, shape.columns).count());
      const Buffer<T> y = Buffer<T>::uninitialized(size);
      const Buffer<float> scale = Buffer<float>::uninitialized(tiles), zero_point = Buffer<float>::uninitialized(tiles);
      const Buffer<std::int8_t> codes = Buffer<std::int8_t>::uninitialized(size);
      const Buffer<std::uint8_t> mask = Buffer<std::uint8_t>::uninitialized(size / 8);
      args.output = {&spec,  y.data(), codes.data(), scale.data(), zero_point.data(), mask.data(), SteMask::kInclusive,
                     nullptr};
      cuda::activation(CudaBackend{}, args);
      std::vector<T> wanted(size), wanted_dy(size);
      std::vector<float> wanted_scale(tiles), wanted_zero(tiles);
      std::vector<std::int8_t> wanted_codes(size);
      std::vector<std::uint8_t> wanted_mask(size / 8);
      namespace reference = kernels::reference;
      reference::fake_quantize_dynamic(spec, plain.data(), shape.rows, shape.columns, wanted.data(),
                                       wanted_scale.data(), wanted_zero.data());
      reference::quantize(spec, plain.data(), shape.rows, shape.columns, wanted_scale.data(), wanted_zero.data(),
                          wanted_codes.data());
      reference::gradient_mask(spec, plain.data(), shape.rows, shape.columns, wanted_scale.data(), wanted_zero.data(),
                               SteMask::kInclusive, wanted_mask.data());
      CHECK(compare_bits(wanted_scale, floats(scale)));
      CHECK(compare_bits(wanted_zero, floats(zero_point)));
      CHECK(compare_bits(floats(wanted), floats(y)));
      CHECK(wanted_codes == codes.to_vector());
      CHECK(wanted_mask == mask.to_vector());

      // The backward pass of dy through the estimator is that of the masked dy. Under narrower scales masks bite.
      std::vector<float> narrow = wanted_scale;
      for (float& s : narrow) s = stored_scale(s * 0.6f, AffineScheme(spec, kFloatTypeOf<T>));
      reference::fake_quantize_backward(spec, dy.data(), plain.data(), shape.rows, shape.columns, narrow.data(),
                                        wanted_zero.data(), SteMask::kInclusive, wanted_dy.data());
      CHECK(floats(wanted_dy) != floats(dy));
      const Buffer<const T> masked(wanted_dy);
      const Buffer<const float> device_scale(narrow), device_zero(wanted_zero);
      cuda::ActivationBackwardArgs<T> back;
      back.kind = kind;
      back.gate = args.gate, back.up = args.up, back.rows = shape.rows, back.columns = shape.columns;
      std::vector<float> results[2];
      for (const bool folded : {false, true}) {
        const Buffer<T> dgate = Buffer<T>::uninitialized(size), dup(size);
        back.dgate = dgate.data(), back.dup = dup.data();
        back.dy = folded ? dy.data() : masked.data();
        if (folded) back.quantized = {&spec, device_scale.data(), device_zero.data(), SteMask::kInclusive};
        cuda::activation_backward(CudaBackend{}, back);
        results[folded] = floats(dgate);
        const std::vector<float> more = floats(dup);
        results[folded].insert(results[folded].end(), more.begin(), more.end());
      }
      CHECK(compare_bits(results[0], results[1]));
    }
  }
}

}  // namespace

TEST_CASE("cuda::activation: values and gradients within a bound of the formulas") {
  for (const Activation kind : {Activation::kSwiglu, Activation::kGeluTanh}) {
    check_values<float>(kind);
    check_values<bfloat16>(kind);
  }
}
TEST_CASE("cuda::activation: what it quantizes has the bits of the definition, forward and backward") {
  for (const Activation kind : {Activation::kSwiglu, Activation::kGeluTanh}) {
    check_quantized<float>(kind);
    check_quantized<bfloat16>(kind);
  }
}
TEST_CASE("cuda::activation: bad arguments are errors that say what is accepted") {
  float word[64] = {};
  const QuantSpec spec = parse_spec("int8:token:symmetric");
  cuda::ActivationArgs<float> args;
  args.gate = word, args.rows = 1, args.columns = 8, args.output.y = word;
  CHECK_THROWS_WITH_AS(cuda::activation(CudaBackend{}, args), "activation: up is null", Error);
  args.up = word, args.gate_stride = 4;
  CHECK_THROWS_AS(cuda::activation(CudaBackend{}, args), Error);
  args.gate_stride = 0, args.columns = 7, args.output.spec = &spec;
  CHECK_THROWS_AS(cuda::activation(CudaBackend{}, args), Error);
  cuda::ActivationBackwardArgs<float> back;
  back.gate = word, back.up = word, back.dy = word, back.dgate = word, back.dup = word, back.rows = 1, back.columns = 8;
  back.quantized.spec = &spec;
  CHECK_THROWS_WITH_AS(cuda::activation_backward(CudaBackend{}, back), "activation_backward: scale is null", Error);
}

}  // namespace qat::activation_test
