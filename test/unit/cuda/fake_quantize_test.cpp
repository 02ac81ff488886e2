// Fake quantization on a GPU, emulated: the bits of kernels/reference/quantize.hpp.
#include "qat/kernels/cuda/fake_quantize.cuh"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "qat/kernels/reference/quantize.hpp"
#include "support/compare.hpp"
#include "support/quantize_cases.hpp"
#include "support/random_values.hpp"

using namespace qat;
using namespace qat::test;
namespace reference = qat::kernels::reference;

namespace {

/// Beside kShapes: groups of whole vectors, rows of one and of several vectors a thread, and more than registers hold.
constexpr MatrixShape kFakeQuantizeShapes[] = {{1, 32},   {3, 1024}, {37, 512},  {9, 768},
                                               {2, 2560}, {2, 4096}, {1, 20480}, {2, 36864}};

struct FakeQuantizeWorkspace {
  emulation::Buffer<std::uint64_t> memory{1 << 14};
  CudaBackend backend() const { return {nullptr, memory.data(), memory.size() * 8}; }
};

template <class T>
struct FakeQuantizeCase {
  QuantSpec spec;
  index_t rows, columns;
  std::size_t n, tiles;
  std::vector<T> x, dy;
  std::vector<float> scale, zero_point;
  index_t nonfinite;

  FakeQuantizeCase(const QuantSpec& s, MatrixShape shape, std::uint64_t seed)
      : spec(s),
        rows(shape.rows),
        columns(shape.columns),
        n(static_cast<std::size_t>(rows * columns)),
        tiles(static_cast<std::size_t>(group_layout(s.granularity, rows, columns).count())),
        x(adversarial<T>(rows * columns, seed)),
        dy(adversarial<T>(rows * columns, seed + 1, true)),
        scale(tiles),
        zero_point(tiles) {
    nonfinite = reference::choose_qparams(spec, x.data(), rows, columns, scale.data(), zero_point.data());
  }
  std::vector<T> values() const {
    std::vector<T> y(n);
    reference::fake_quantize(spec, x.data(), rows, columns, scale.data(), zero_point.data(), y.data(), 9);
    return y;
  }
  std::vector<std::uint8_t> mask_bits(SteMask mask) const {
    std::vector<std::uint8_t> bits((n + 7) / 8);
    reference::gradient_mask(spec, x.data(), rows, columns, scale.data(), zero_point.data(), mask, bits.data(), 9);
    return bits;
  }
  std::vector<T> gradient(SteMask mask, const std::vector<T>& dx0, bool accumulate) const {
    std::vector<T> dx = dx0;
    reference::fake_quantize_backward(spec, dy.data(), x.data(), rows, columns, scale.data(), zero_point.data(), mask,
                                      dx.data(), accumulate, 9);
    return dx;
  }
};

template <class T>
void check_dynamic(const FakeQuantizeCase<T>& c, SteMask mask, std::size_t offset) {
  const FakeQuantizeWorkspace workspace;
  const emulation::Buffer<const T> x(c.x, offset);
  const auto y = emulation::Buffer<T>::uninitialized(c.n, offset);
  const auto scale = emulation::Buffer<float>::uninitialized(c.tiles);
  const auto zero_point = emulation::Buffer<float>::uninitialized(c.tiles);
  const auto bits = emulation::Buffer<std::uint8_t>::uninitialized((c.n + 7) / 8);
  const emulation::Buffer<unsigned> nonfinite(1);
  cuda::fake_quantize_dynamic(workspace.backend(), c.spec, x.data(), c.rows, c.columns, y.data(), scale.data(),
                              zero_point.data(), {bits.data(), mask, nonfinite.data(), 9});
  CHECK(compare_bits(c.scale, scale.to_vector()));
  CHECK(compare_bits(c.zero_point, zero_point.to_vector()));
  CHECK(compare_bits(c.values(), y.to_vector()));
  CHECK(compare_bits(c.mask_bits(mask), bits.to_vector()));
  CHECK(nonfinite[0] == static_cast<unsigned>(c.nonfinite));
}

/// In place, no parameters kept, no mask.
template <class T>
void check_in_place(const FakeQuantizeCase<T>& c) {
  const FakeQuantizeWorkspace workspace;
  const emulation::Buffer<T> y(c.x);
  cuda::fake_quantize_dynamic(workspace.backend(), c.spec, y.data(), c.rows, c.columns, y.data());
  std::vector<T> expected(c.n);
  reference::fake_quantize(c.spec, c.x.data(), c.rows, c.columns, c.scale.data(), c.zero_point.data(), expected.data(),
                           0);
  CHECK(compare_bits(expected, y.to_vector()));
}

template <class T>
void check_given(const FakeQuantizeCase<T>& c, SteMask mask, std::size_t offset, bool accumulate) {
  const CudaBackend backend;
  const emulation::Buffer<const T> x(c.x, offset), dy(c.dy, offset);
  const emulation::Buffer<const float> scale(c.scale), zero_point(c.zero_point);
  const float* const zero = has_constant_zero_point(c.spec.mapping) && accumulate ? nullptr : zero_point.data();
  const auto y = emulation::Buffer<T>::uninitialized(c.n, offset);
  const auto bits = emulation::Buffer<std::uint8_t>::uninitialized((c.n + 7) / 8);
  cuda::fake_quantize(backend, c.spec, x.data(), c.rows, c.columns, scale.data(), zero, y.data(),
                      {bits.data(), mask, nullptr, 9});
  CHECK(compare_bits(c.values(), y.to_vector()));
  const std::vector<std::uint8_t> expected_bits = c.mask_bits(mask);
  CHECK(compare_bits(expected_bits, bits.to_vector()));

  const std::vector<T> dx0 = adversarial<T>(c.rows * c.columns, 78, true);
  const emulation::Buffer<T> dx(dx0, offset);
  cuda::fake_quantize_backward(backend, c.spec, dy.data(), x.data(), c.rows, c.columns, scale.data(), zero, mask,
                               dx.data(), accumulate, 9);
  CHECK(compare_bits(c.gradient(mask, dx0, accumulate), dx.to_vector()));

  std::vector<T> expected = dx0;
  reference::fake_quantize_backward_masked(c.spec, c.dy.data(), expected_bits.data(), c.rows, c.columns, c.scale.data(),
                                           c.zero_point.data(), expected.data(), accumulate);
  const emulation::Buffer<const std::uint8_t> mask_in(expected_bits);
  const emulation::Buffer<T> dx_masked(dx0, offset);
  cuda::fake_quantize_backward_masked(backend, c.spec, dy.data(), mask_in.data(), c.rows, c.columns, scale.data(), zero,
                                      dx_masked.data(), accumulate);
  CHECK(compare_bits(expected, dx_masked.to_vector()));
}

template <class T>
void check_fake_quantize() {
  index_t cases = 0;
  std::vector<MatrixShape> shapes(std::begin(kFakeQuantizeShapes), std::end(kFakeQuantizeShapes));
  shapes.insert(shapes.end(), std::begin(kShapes), std::end(kShapes));
  for (const QuantSpec& spec : specs_under_test()) {
    CAPTURE(std::string(to_string(spec).c_str()));
    for (const MatrixShape shape : shapes) {
      if (!accepts(spec, shape)) continue;
      if (shape.columns > 10000 && cases % 3 != 0) continue;  // slow here
      CAPTURE(shape.rows);
      CAPTURE(shape.columns);
      const SteMask mask = cases % 5 == 0   ? SteMask::kPassThrough
                           : cases % 2 == 0 ? SteMask::kInclusive
                                            : SteMask::kStrict;
      const std::size_t offset = cases % 7 == 6 ? 1 : 0;
      const FakeQuantizeCase<T> c(spec, shape, static_cast<std::uint64_t>(5 + cases));
      check_dynamic(c, mask, offset);
      if (cases % 4 == 0) check_in_place(c);
      FakeQuantizeCase<T> g = c;  // other parameters than the ones of x: most elements outside the range
      if (cases % 3 != 0)
        for (std::size_t i = 0; i < g.scale.size(); i += 3) g.scale[i] *= 0.5f;
      check_given(g, mask, offset, cases % 2 == 1);
      ++cases;
    }
  }
  CHECK(cases > 350);
}

}  // namespace

TEST_CASE("cuda fake_quantize, fp32: values, parameters, masks and gradients have the bits of the definition") {
  check_fake_quantize<float>();
}
TEST_CASE("cuda fake_quantize, bfloat16: values, parameters, masks and gradients have the bits of the definition") {
  check_fake_quantize<bfloat16>();
}

namespace {

template <class T>
void check_traffic(const char* text, index_t rows, index_t columns) {
  CAPTURE(std::string(text));
  CAPTURE(columns);
  const FakeQuantizeCase<T> c(parse_spec(text), {rows, columns}, 3);
  const CudaBackend backend;
  const emulation::Buffer<const T> x(c.x), dy(c.dy);
  const emulation::Buffer<T> y(c.n);
  const emulation::Buffer<float> scale(c.tiles), zero_point(c.tiles);
  const emulation::Buffer<std::uint8_t> bits(c.n / 8);
  const std::uint64_t bytes = c.n * sizeof(T);
  std::uint64_t x_before = 0, dy_before = 0, y_before = 0;
  const auto check = [&](std::uint64_t x_loaded, std::uint64_t dy_loaded) {
    CHECK(emulation::counters().launches == 1);
    CHECK(x.loaded_bytes() - x_before == x_loaded);
    CHECK(dy.loaded_bytes() - dy_before == dy_loaded);
    CHECK(y.stored_bytes() - y_before == bytes);
    x_before = x.loaded_bytes(), dy_before = dy.loaded_bytes(), y_before = y.stored_bytes();
    emulation::reset_counters();
  };
  emulation::reset_counters();
  cuda::fake_quantize_dynamic(backend, c.spec, x.data(), rows, columns, y.data());
  CHECK(emulation::counters().narrow_accesses == 0);
  check(bytes, 0);
  cuda::fake_quantize_dynamic(backend, c.spec, x.data(), rows, columns, y.data(), scale.data(), zero_point.data(),
                              {bits.data()});
  CHECK(emulation::counters().stored_bytes == bytes + c.n / 8 + 8 * c.tiles);
  check(bytes, 0);
  cuda::fake_quantize(backend, c.spec, x.data(), rows, columns, scale.data(), zero_point.data(), y.data());
  check(bytes, 0);
  cuda::fake_quantize_backward(backend, c.spec, dy.data(), x.data(), rows, columns, scale.data(), zero_point.data(),
                               SteMask::kInclusive, y.data());
  check(bytes, bytes);
  cuda::fake_quantize_backward_masked(backend, c.spec, dy.data(), bits.data(), rows, columns, scale.data(),
                                      zero_point.data(), y.data());
  check(0, bytes);
}

}  // namespace

TEST_CASE("cuda fake_quantize reads and writes each element once, 16 bytes at a time: groups and rows") {
  for (const char* text : {"int4:group32:symmetric", "int4:group128:signed_extremum:bf16safe",
                           "int2:group64:asymmetric", "uint4:group256:float_zero_point"}) {
    check_traffic<float>(text, 4, 1024);
    check_traffic<bfloat16>(text, 4, 1024);
  }
  for (const index_t columns : {256, 768, 2048, 4096, 11008})
    for (const char* text : {"int8:token:symmetric", "int8:token:asymmetric"}) {
      check_traffic<float>(text, 3, columns);
      check_traffic<bfloat16>(text, 3, columns);
    }
}

TEST_CASE("cuda fake_quantize: an empty tensor launches nothing") {
  emulation::reset_counters();
  const QuantSpec spec = parse_spec("int8:token:symmetric");
  for (const MatrixShape shape : {MatrixShape{0, 64}, MatrixShape{3, 0}}) {
    cuda::fake_quantize_dynamic<float>({}, spec, nullptr, shape.rows, shape.columns, nullptr);
    cuda::fake_quantize<float>({}, spec, nullptr, shape.rows, shape.columns, nullptr, nullptr, nullptr);
    cuda::fake_quantize_backward<float>({}, spec, nullptr, nullptr, shape.rows, shape.columns, nullptr, nullptr,
                                        SteMask::kInclusive, nullptr);
  }
  CHECK(emulation::counters().launches == 0);
}

TEST_CASE("cuda fake_quantize: missing parameters and workspace are named") {
  const emulation::Buffer<float> x(64), y(64);
  const auto message = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  const auto contains = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  CHECK(contains(message([&] {
                   cuda::fake_quantize<float>({}, parse_spec("int8:token:symmetric"), x.data(), 2, 32, nullptr, nullptr,
                                              y.data());
                 }),
                 "cuda fake_quantize: scale is null"));
  CHECK(contains(message([&] {
                   cuda::fake_quantize<float>({}, parse_spec("int8:token:asymmetric"), x.data(), 2, 32, x.data(),
                                              nullptr, y.data());
                 }),
                 "zero_point is null, which int8:token:asymmetric needs"));
  CHECK(contains(message([&] {
                   cuda::fake_quantize_dynamic<float>({}, parse_spec("int8:axis1:symmetric"), x.data(), 2, 32,
                                                      y.data());
                 }),
                 "cuda fake_quantize_dynamic: needs 256 bytes of workspace, the backend has 0"));
}

TEST_CASE("cuda fake_quantize: of equal extremes the first decides, wherever in a group or row it lies") {
  for (const char* text :
       {"int4:axis0:signed_extremum", "int4:group32:signed_extremum:bf16safe", "int4:group256:signed_extremum"}) {
    const QuantSpec spec = parse_spec(text);
    CAPTURE(std::string(text));
    for (const index_t columns : {768, 2048, 4096, 8192, 16384}) {
      CAPTURE(columns);
      const index_t rows = 24, n = rows * columns;
      const CounterRandom random(static_cast<std::uint64_t>(columns));
      std::vector<bfloat16> x(static_cast<std::size_t>(n));
      for (index_t row = 0; row < rows; ++row) {  // a few extremes of either sign in each row
        for (index_t i = 0; i < 12; ++i) {
          const std::uint32_t word = random.at(static_cast<std::uint64_t>(row * 12 + i));
          x[static_cast<std::size_t>(row * columns + word / 2 % columns)] = bfloat16(word % 2 == 0 ? 1.5f : -1.5f);
        }
      }
      const std::size_t tiles = static_cast<std::size_t>(group_layout(spec.granularity, rows, columns).count());
      std::vector<float> expected(tiles);
      reference::choose_qparams<bfloat16>(spec, x.data(), rows, columns, expected.data(), nullptr);
      const emulation::Buffer<const bfloat16> x_in(x);
      const emulation::Buffer<bfloat16> y(x.size());
      const auto scale = emulation::Buffer<float>::uninitialized(tiles);
      cuda::fake_quantize_dynamic({}, spec, x_in.data(), rows, columns, y.data(), scale.data());
      CHECK(compare_bits(expected, scale.to_vector()));
    }
  }
}
