// Vector helpers: each function of each target gives the lanes that the scalar definition gives.
#include "qat/simd/vec.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "qat/backend/float_mode.hpp"
#include "qat/base/random.hpp"
#include "support/compare.hpp"

#define QAT_TARGET_INCLUDE "unit/simd/vec_test-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

using qat::index_t;
using qat::test::compare_bits;

namespace {

std::vector<float> interesting_values() {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> x = {0.0f,      -0.0f,      0.5f,        -0.5f,        1.5f,        2.5f,         -2.5f,
                          0x1p-149f, -0x1p-126f, 8388607.5f,  8388608.0f,   -8388609.0f, 1e30f,        -1e30f,
                          inf,       -inf,       0.49999997f, -0.49999997f, 4194304.5f,  std::nanf("")};
  qat::CounterRandom random(5);
  while (x.size() < 400) x.push_back((random.next_float() - 0.5f) * 64.0f);
  return x;
}

float lower(float a, float b) { return a < b ? a : b; }
float higher(float a, float b) { return a > b ? a : b; }

}  // namespace

TEST_CASE("lanes of every target equal the scalar definition") {
  const qat::ScopedFloatMode mode;
  const std::vector<float> x = interesting_values();
  std::vector<float> y(x.rbegin(), x.rend());
  std::vector<float> expected;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float values[] = {x[i] + y[i],
                            x[i] - y[i],
                            x[i] * y[i],
                            x[i] / y[i],
                            lower(x[i], y[i]),
                            higher(x[i], y[i]),
                            std::fabs(x[i]),
                            std::nearbyintf(x[i]),
                            std::sqrt(std::fabs(x[i])),
                            x[i] < y[i] ? x[i] : y[i],
                            std::fma(x[i], y[i], 1.0f)};
    expected.insert(expected.end(), std::begin(values), std::end(values));
  }
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    std::vector<float> actual(expected.size());
    QAT_DISPATCH(qat::vec_test, lane_operations(x.data(), y.data(), static_cast<index_t>(x.size()), actual.data()));
    CHECK(compare_bits(expected, actual));
  }
}

TEST_CASE("partial loads and stores touch n lanes and no more; transpose, bits, bytes and shifts keep every value") {
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    CHECK(QAT_DISPATCH(qat::vec_test, partial_accesses_are_exact()));
    CHECK(QAT_DISPATCH(qat::vec_test, transpose_is_exact()));
    CHECK(QAT_DISPATCH(qat::vec_test, integer_lanes_are_exact()));
  }
}
