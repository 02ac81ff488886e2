// The concept of an expression, and the granules at which rows are divided.
#include "qat/expr/expression.hpp"

#include <doctest/doctest.h>

#include "qat/expr/operators.hpp"

static_assert(!qat::Expression<qat::View<float, 1>> && !qat::Expression<float> && !qat::Expression<qat::Tensor<float>>);
static_assert(qat::expr::Operands<qat::View<float, 1>, int> && !qat::expr::Operands<int, float>);
static_assert(!qat::expr::Operand<qat::Int4>, "codes are no operands: they have no arithmetic");

TEST_CASE("the common granule divides into both; the whole row absorbs") {
  CHECK(qat::expr::common_granule(1, 8) == 8);
  CHECK(qat::expr::common_granule(32, 8) == 32);
  CHECK(qat::expr::common_granule(24, 32) == 96);
  CHECK(qat::expr::common_granule(qat::expr::kUnlimited, 32) == qat::expr::kUnlimited);
}
