// gemm() of expressions: the bits of the same steps one after the other, in any shape and on every target, without a
// copy of an operand or a second pass over the result.
#include "qat/ops/gemm.hpp"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "qat/expr/quantize.hpp"
#include "qat/ops/linear.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"
#include "support/targets.hpp"

using namespace qat;

namespace {

struct ProductShape {
  index_t M, N, K;
};
// Few and many rows, ragged tiles, several blocks of rows and of columns, no K at all.
constexpr ProductShape kProductShapes[] = {{1, 1, 1},     {3, 65, 33},    {7, 40, 0},     {70, 129, 96},
                                           {600, 96, 40}, {33, 1100, 64}, {520, 530, 520}};

struct ProductOperands {
  ProductShape shape;
  std::vector<float> x, w, residual, scale;
  explicit ProductOperands(ProductShape s)
      : shape(s),
        x(test::uniform_values(s.M * s.K, 1)),
        w(test::uniform_values(s.N * s.K, 2)),
        residual(test::uniform_values(s.M * s.N, 3)),
        scale(test::uniform_values(s.N, 4)) {}
  View<const float, 2> X() const { return view(x.data(), shape.M, shape.K); }
  View<const float, 2> W() const { return view(w.data(), shape.N, shape.K); }
  View<const float, 2> R() const { return view(residual.data(), shape.M, shape.N); }
  View<const float, 2> S() const { return view(scale.data(), 1, shape.N); }
};

/// gemm with the epilogue that `make` gives for y against gemm, then assign.
template <class Make>
void check_epilogue(const CpuBackend& backend, const ProductOperands& o, const Make& make) {
  const index_t M = o.shape.M, N = o.shape.N, K = o.shape.K;
  std::vector<float> apart(static_cast<std::size_t>(M * N)), fused(apart);
  const View<float, 2> a = view(apart.data(), M, N), f = view(fused.data(), M, N);
  ops::linear(backend, o.X(), o.W(), nullptr, a);
  assign(backend, a, make(a));
  ops::gemm(backend, o.X(), o.W(), f, make(f));
  CAPTURE(M);
  CAPTURE(N);
  CAPTURE(K);
  CHECK(test::compare_bits(apart, fused));
}

}  // namespace

TEST_CASE("an epilogue gives the bits of the product and then its expression, on every target and number of threads") {
  const QuantSpec groups = parse_spec("int8:group32:symmetric"), tokens = parse_spec("int8:token:asymmetric");
  for (const Target target : test::plain_targets()) {
    const ScopedTarget scope(target);
    for (const int threads : {1, 3}) {
      const CpuBackend backend(threads);
      for (const ProductShape& shape : kProductShapes) {
        const ProductOperands o(shape);
        check_epilogue(backend, o, [&](auto y) { return y * 0.5f + o.R(); });
        check_epilogue(backend, o, [&](auto y) { return o.S() * y + y * y; });
        if (shape.N >= 32) check_epilogue(backend, o, [&](auto y) { return fake_quantize(y + o.R(), groups); });
        check_epilogue(backend, o, [&](auto y) { return fake_quantize(y, tokens); });
      }
    }
  }
}

TEST_CASE("a fake-quantized operand is the same as its copy, strided views as contiguous ones") {
  const QuantSpec spec = parse_spec("int4:group32:symmetric");
  const CpuBackend backend(2);
  for (const ProductShape& shape : kProductShapes) {
    const auto [M, N, K] = shape;
    if (K < 32) continue;
    const ProductOperands o(shape);
    std::vector<float> copy(o.w.size()), expected(static_cast<std::size_t>(M * N)), y(expected), wt(o.w.size());
    assign(backend, view(copy.data(), N, K), fake_quantize(o.W(), spec));
    ops::linear(backend, o.X(), view(static_cast<const float*>(copy.data()), N, K), nullptr,
                view(expected.data(), M, N));
    ops::gemm(backend, o.X(), fake_quantize(o.W(), spec), view(y.data(), M, N));
    CHECK(test::compare_bits(expected, y));
    assign(backend, view(wt.data(), K, N).transpose(), o.W());
    ops::gemm(backend, o.X() * 1.0f, fake_quantize(view(wt.data(), K, N).transpose(), spec), view(y.data(), M, N));
    CHECK(test::compare_bits(expected, y));
  }
}

TEST_CASE("an epilogue sees every element of the result once") {
  for (const ProductShape& shape : kProductShapes) {
    const ProductOperands o(shape);
    const auto [M, N, K] = shape;
    std::vector<float> y(static_cast<std::size_t>(M * N));
    std::vector<int> seen(y.size());
    struct Count {
      std::vector<int>* seen;
      index_t columns;
      static void run(const void* self, index_t row, index_t rows, index_t column, index_t columns) {
        const Count& me = *static_cast<const Count*>(self);
        for (index_t r = row; r < row + rows; ++r)
          for (index_t c = column; c < column + columns; ++c)
            ++(*me.seen)[static_cast<std::size_t>(r * me.columns + c)];
      }
    } count{&seen, N};
    for (const index_t granule : {index_t{1}, index_t{7}, index_t{1} << 60}) {
      std::fill(seen.begin(), seen.end(), 0);
      kernels::gemm(CpuBackend(2), M, N, K, kernels::MatrixOperand{o.x.data(), K, 1},
                    kernels::MatrixOperand{o.w.data(), K, 1}, y.data(), N, false, nullptr,
                    {&Count::run, &count, granule});
      CHECK(std::count(seen.begin(), seen.end(), 1) == M * N);
    }
  }
}

TEST_CASE("operands, results and epilogues that do not fit are refused before anything is written") {
  const CpuBackend backend(1);
  const ProductOperands o({3, 5, 4});
  std::vector<float> y(100, 7.0f);
  CHECK_THROWS_AS(ops::gemm(backend, o.X(), o.X(), view(y.data(), 3, 5)), Error);
  CHECK_THROWS_AS(ops::gemm(backend, o.X(), o.R(), view(y.data(), 3, 3)), Error);
  CHECK_THROWS_AS(ops::gemm(backend, o.X(), o.W(), view(y.data(), 5, 3).transpose()), Error);
  CHECK_THROWS_AS(ops::gemm(backend, o.X(), o.W(), view(y.data(), 3, 5), o.W() * 2.0f), Error);
  for (const float e : y) CHECK(e == 7.0f);
}
