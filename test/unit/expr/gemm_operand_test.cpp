// An expression as a GEMM operand gives the elements that assign() would write, from any row and column on.
#include "qat/expr/gemm_operand.hpp"

#include <doctest/doctest.h>

#include "qat/backend/cpu.hpp"
#include "qat/base/random.hpp"
#include "qat/expr/quantize.hpp"

TEST_CASE("load gives the elements of assign, whole groups or parts of them, strided or not") {
  const qat::CpuBackend backend(1);
  const qat::index_t rows = 5, columns = 130;
  qat::Tensor<float> w({rows, columns}), wt({columns, rows}), expected({rows, columns});
  qat::CounterRandom random(1);
  for (float& x : w) x = random.next_float() - 0.5f;
  assign(backend, wt.view<2>().transpose(), w.view<2>());
  const qat::QuantSpec spec = qat::spec_of<qat::Int4, qat::PerGroup<32>, qat::Symmetric>;
  assign(backend, expected.view<2>(), fake_quantize(w.view<2>(), spec));
  const auto check = [&](const auto& operand) {
    CHECK(operand.rows() == rows);
    CHECK(operand.columns() == columns);
    for (const qat::index_t k0 : {0, 1, 31, 32, 64, 100, 129}) {
      for (const qat::index_t count : {1, 8, 30, 130}) {
        if (k0 + count > columns) continue;
        float out[131];
        out[count] = 42.0f;
        for (qat::index_t i = 0; i < rows; ++i) {
          operand.load(i, k0, count, out);
          for (qat::index_t j = 0; j < count; ++j) REQUIRE(out[j] == expected.view<2>()(i, k0 + j));
          REQUIRE(out[count] == 42.0f);
        }
      }
    }
  };
  check(gemm_operand(fake_quantize(w.view<2>(), spec)));
  check(gemm_operand(fake_quantize(wt.view<2>().transpose(), spec)));
  check(gemm_operand(expected.view<2>()));
}

TEST_CASE("operands that do not fit each other are refused when the operand is made") {
  qat::Tensor<float> a({3, 4}), b({3, 5});
  CHECK_THROWS_AS(gemm_operand(a.view<2>() + b.view<2>()), qat::Error);
}
