// gemm() with packed weights: its epilogue gives the bits of the product and then the expression, in every form and on
// every target, in one pass over what the expression reads.
#include "qat/ops/packed_gemm.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "qat/expr/quantize.hpp"
#include "support/compare.hpp"
#include "support/packed_weights.hpp"
#include "support/random_values.hpp"
#include "support/tuning_scope.hpp"
#include "unit/expr/counting.hpp"

using namespace qat;

namespace {

struct PackedShape {
  index_t M, N, K;
};
// One row, few and many; ragged columns, one and several blocks of them; with K = 100 strips.
constexpr PackedShape kPackedShapes[] = {{1, 1, 64}, {1, 300, 128}, {4, 33, 100}, {5, 130, 96}, {70, 300, 64}};
constexpr const char* kPackedSpecs[] = {"int4:group32:symmetric:bf16safe", "uint3:group32:asymmetric",
                                        "int8:axis0:symmetric", "uint5:group20:asymmetric"};
constexpr index_t kGap = 3;  // between the rows of a result

/// Every kind of x, and what its product with the weights is: c (M, N).
struct Activations {
  PackedShape shape;
  std::vector<float> values, columns;  // (M, K), and (K, M)
  std::vector<std::int8_t> codes;
  std::vector<float> scales, group_scales;
  std::vector<std::int32_t> zero_points;
  static constexpr index_t kScaleColumns = 32;

  explicit Activations(PackedShape s) : shape(s), values(test::uniform_values(s.M * s.K, 1)), columns(values.size()) {
    CounterRandom random(5);
    const index_t groups = (s.K + kScaleColumns - 1) / kScaleColumns;
    for (index_t m = 0; m < s.M; ++m) {
      for (index_t k = 0; k < s.K; ++k) {
        columns[static_cast<std::size_t>(k * s.M + m)] = values[static_cast<std::size_t>(m * s.K + k)];
        codes.push_back(static_cast<std::int8_t>(static_cast<int>(random.next_below(256)) - 128));
      }
      scales.push_back(0.01f + random.next_float());
      zero_points.push_back(static_cast<std::int32_t>(random.next_below(256)) - 128);
      for (index_t g = 0; g < groups; ++g) group_scales.push_back(0.01f + random.next_float());
    }
  }
  View<const float, 2> rows() const { return view(values.data(), shape.M, shape.K); }
  View<const float, 2> strided() const { return view(columns.data(), shape.K, shape.M).transpose(); }
  ops::Int8Rows int8(bool with_zero_points) const {
    return {view(codes.data(), shape.M, shape.K), view(scales.data(), shape.M),
            with_zero_points ? view(zero_points.data(), shape.M) : View<const std::int32_t, 1>{}};
  }
  ops::Int8Rows int8_groups() const {
    return {view(codes.data(), shape.M, shape.K),
            view(group_scales.data(), static_cast<index_t>(group_scales.size())),
            {},
            kScaleColumns};
  }
};

/// f(x, product of x) for every kind of x that these weights take.
template <class F>
void for_each_activation(const CpuBackend& backend, const PackedShape& s, const PackedWeight& w, const F& f) {
  const Activations x(s);
  std::vector<float> dense, c(static_cast<std::size_t>(s.M * s.N));
  for (index_t n = 0; n < s.N; ++n)
    for (index_t k = 0; k < s.K; ++k) dense.push_back(w.dequantized(n, k));
  kernels::gemm(backend, s.M, s.N, s.K, kernels::MatrixOperand{x.values.data(), s.K, 1},
                kernels::MatrixOperand{dense.data(), s.K, 1}, c.data(), s.N);
  f(x.rows(), c);
  f(x.strided(), c);
  f(x.rows() * 1.0f, c);
  kernels::bf16_gemm(backend, s.M, {x.values.data(), s.K, 1}, w, c.data(), s.N);
  f(cast<bfloat16>(x.rows()), c);
  for (const ops::Int8Rows& codes : {x.int8(false), x.int8(true), x.int8_groups()}) {
    kernels::reference::qgemm(s.M, ops::detail::activations_of(codes), w, c.data(), s.N);
    f(codes, c);
  }
}

/// gemm into rows that are apart, with the epilogue that `make` gives, against the product and then assign().
template <class X, class Make>
void check_packed_epilogue(const CpuBackend& backend, const X& x, const PackedWeight& w,
                           const std::vector<float>& product, PackedShape s, const Make& make) {
  std::vector<float> expected = product, fused(static_cast<std::size_t>(s.M * (s.N + kGap)), 7.0f);
  const View<float, 2> e = view(expected.data(), s.M, s.N), y{fused.data(), {s.M, s.N}, {s.N + kGap, 1}};
  assign(backend, e, make(e));
  ops::gemm(backend, x, w, y, make(y));
  std::vector<float> actual(expected.size());
  assign(backend, view(actual.data(), s.M, s.N), y);
  CHECK(test::compare_bits(expected, actual));
  CHECK(std::count(fused.begin(), fused.end(), 7.0f) >= s.M * kGap);
}

}  // namespace

TEST_CASE("packed weights: an epilogue gives the bits of the product and then its expression, on every target") {
  const QuantSpec groups = parse_spec("int8:group48:symmetric"), tokens = parse_spec("int8:token:asymmetric");
  for (const Target target : supported_targets()) {
    const ScopedTarget scope(target);
    const test::TuningScope restored;
    kernels::cpu_tuning().bf16_dot = true;
    for (const PackedShape& shape : kPackedShapes)
      for (const char* spec : kPackedSpecs) {
        const CpuBackend backend(shape.M % 2 == 0 ? 3 : 1);
        const test::RandomWeights w(parse_spec(spec), shape.N, shape.K);
        std::vector<float> residual = test::uniform_values(shape.M * shape.N, 3),
                           bias = test::uniform_values(shape.N, 4);
        for (std::size_t i = 0; i < residual.size(); i += 11)
          residual[i] = i % 2 == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
        const auto R = view(static_cast<const float*>(residual.data()), shape.M, shape.N);
        const auto B = view(static_cast<const float*>(bias.data()), 1, shape.N);
        CAPTURE(name(target));
        CAPTURE(spec);
        CAPTURE(shape.M);
        CAPTURE(shape.N);
        CAPTURE(shape.K);
        for_each_activation(backend, shape, w.packed, [&](const auto& x, const std::vector<float>& product) {
          const auto check = [&](const auto& make) {
            check_packed_epilogue(backend, x, w.packed, product, shape, make);
          };
          check([&](auto y) { return max(y + B, 0.0f) + R; });
          check([&](auto y) { return B * y + y * y; });
          if (shape.N >= 48) check([&](auto y) { return fake_quantize(y + B, groups); });
          check([&](auto y) { return fake_quantize(y, tokens); });
          std::vector<float> plain(product.size());
          ops::gemm(backend, x, w.packed, view(plain.data(), shape.M, shape.N));
          CHECK(test::compare_bits(product, plain));
        });
      }
  }
}

TEST_CASE("packed weights: an epilogue reads each element of its operands once") {
  for (const PackedShape& shape : kPackedShapes)
    for (const char* spec : kPackedSpecs) {
      const CpuBackend backend(2);
      const test::RandomWeights w(parse_spec(spec), shape.N, shape.K);
      for_each_activation(backend, shape, w.packed, [&](const auto& x, const std::vector<float>& product) {
        test::CountedMatrix residual(shape.M, shape.N);
        std::vector<float> fused(product.size());
        const View<float, 2> y = view(fused.data(), shape.M, shape.N);
        ops::gemm(backend, x, w.packed, y, y + residual.counted());
        CHECK(residual.each_loaded(1));
        CHECK(fused == product);
      });
    }
}

TEST_CASE("packed weights: an epilogue runs once on every element and begins only where it may") {
  struct Count {
    std::vector<int>* seen;
    index_t columns, granule;
    static void run(const void* self, index_t row, index_t rows, index_t column, index_t columns) {
      const Count& me = *static_cast<const Count*>(self);
      const bool begins = column % me.granule == 0;
      const bool ends = (column + columns) % me.granule == 0 || column + columns == me.columns;
      for (index_t r = row; r < row + rows; ++r)
        for (index_t c = column; c < column + columns; ++c)
          (*me.seen)[static_cast<std::size_t>(r * me.columns + c)] += begins && ends ? 1 : 1000;
    }
  };
  for (const PackedShape& shape : kPackedShapes)
    for (const char* spec : kPackedSpecs) {
      const auto [M, N, K] = shape;
      const CpuBackend backend(2);
      const test::RandomWeights w(parse_spec(spec), N, K);
      const Activations x(shape);
      std::vector<float> y(static_cast<std::size_t>(M * N));
      for (const index_t granule : {index_t{1}, index_t{7}, index_t{32}, index_t{48}, index_t{1} << 60}) {
        std::vector<int> seen(y.size());
        const Count count{&seen, N, granule};
        const kernels::GemmEpilogue epilogue{&Count::run, &count, granule};
        kernels::qgemm(backend, M, ops::detail::activations_of(x.int8(true)), w.packed, y.data(), N, nullptr, epilogue);
        kernels::packed_gemm(backend, M, {x.values.data(), K, 1}, w.packed, y.data(), N, nullptr, epilogue);
        kernels::bf16_gemm(backend, M, {x.values.data(), K, 1}, w.packed, y.data(), N, nullptr, epilogue);
        CHECK(std::count(seen.begin(), seen.end(), 3) == M * N);
      }
    }
}

TEST_CASE("packed weights: what does not fit is refused before anything is written") {
  const CpuBackend backend(1);
  const PackedShape shape{3, 5, 32};
  const Activations x(shape);
  const test::RandomWeights w(parse_spec("int4:group32:symmetric"), 5, 32);
  const test::RandomWeights float_zeros(parse_spec("uint4:group32:float_zero_point"), 5, 32);
  std::vector<float> memory(100, 7.0f);
  const View<float, 2> y = view(memory.data(), 3, 5), narrow = view(memory.data(), 3, 4);
  CHECK_THROWS_AS(ops::gemm(backend, x.rows(), w.packed, narrow), Error);
  CHECK_THROWS_AS(ops::gemm(backend, x.strided().transpose(), w.packed, y), Error);
  CHECK_THROWS_AS(ops::gemm(backend, x.int8(true), w.packed, narrow), Error);
  CHECK_THROWS_AS(ops::gemm(backend, x.int8(true), float_zeros.packed, y), Error);
  CHECK_THROWS_AS(ops::gemm(backend, x.rows(), w.packed, view(memory.data(), 5, 3).transpose()), Error);
  CHECK_THROWS_AS(ops::gemm(backend, x.rows(), w.packed, y, y + narrow), Error);
  ops::Int8Rows few = x.int8(true);
  few.scales = view(x.scales.data(), 2);
  CHECK_THROWS_AS(ops::gemm(backend, few, w.packed, y), Error);
  few = x.int8(true);
  few.zero_points = view(x.zero_points.data(), 2);
  CHECK_THROWS_AS(ops::gemm(backend, few, w.packed, y), Error);
  few = x.int8(true);
  few.scale_columns = 32;
  CHECK_THROWS_AS(ops::gemm(backend, few, w.packed, y), Error);
  few.scale_columns = -1;
  CHECK_THROWS_AS(ops::gemm(backend, few, w.packed, y), Error);
  for (const float e : memory) CHECK(e == 7.0f);
}
