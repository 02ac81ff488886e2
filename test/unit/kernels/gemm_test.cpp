// gemm: bits of the reference on FMA targets, a derived bound everywhere, no dependence on threads, storage or host
// mode.
#include "qat/kernels/cpu/gemm.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "qat/base/random.hpp"
#include "qat/kernels/reference/gemm.hpp"
#include "qat/numeric/bfloat16.hpp"
#include "support/compare.hpp"
#include "support/host_mode.hpp"
#include "support/tuning_scope.hpp"

using qat::CpuBackend;
using qat::index_t;
using qat::Target;
using qat::kernels::MatrixOperand;
using qat::test::compare_bits;

namespace {

/// An operand without memory order: what fake-quantized weights and expressions look like to gemm.
struct ComputedOperand {
  MatrixOperand matrix;
  void load(index_t row, index_t k0, index_t count, float* out) const { matrix.load(row, k0, count, out); }
};

struct Problem {
  index_t M, N, K, ldc;
  std::vector<float> a, b, c, bias;
  MatrixOperand a_operand, b_operand;
  bool computed, accumulate, biased;

  Problem(index_t m, index_t n, index_t k, int variant) : M(m), N(n), K(k), ldc(n + variant % 3) {
    qat::CounterRandom random(static_cast<std::uint64_t>((m * 1009 + n) * 1009 + k), 1);
    const auto fill = [&](std::vector<float>& x, index_t size) {
      x.resize(static_cast<std::size_t>(size) + 1);
      for (float& value : x) value = random.next_float() - 0.5f;
    };
    fill(a, m * k), fill(b, n * k), fill(c, m * ldc), fill(bias, n);
    a_operand = (variant & 1) ? MatrixOperand{a.data(), 1, m} : MatrixOperand{a.data(), k, 1};
    b_operand = (variant & 2) ? MatrixOperand{b.data(), 1, n} : MatrixOperand{b.data(), k, 1};
    computed = variant & 4;
    accumulate = (m + n) & 1;
    biased = (n + k) & 1;
  }
  const float* bias_or_null() const { return biased ? bias.data() : nullptr; }

  std::vector<float> reference() const {
    std::vector<float> out = c;
    qat::kernels::reference::gemm(M, N, K, a_operand, b_operand, out.data(), ldc, accumulate, bias_or_null());
    return out;
  }
  std::vector<float> product(const CpuBackend& backend) const {
    std::vector<float> out = c;
    if (computed)
      qat::kernels::gemm(backend, M, N, K, ComputedOperand{a_operand}, ComputedOperand{b_operand}, out.data(), ldc,
                         accumulate, bias_or_null());
    else
      qat::kernels::gemm(backend, M, N, K, a_operand, b_operand, out.data(), ldc, accumulate, bias_or_null());
    return out;
  }
  /// Against double precision: bound (K + 1 + 2) * eps * (sum |a||b| + |c| + |bias|), twice that where steps round
  /// twice.
  double worst_excess(const std::vector<float>& out, double roundings) const {
    double worst = -1.0;
    for (index_t m = 0; m < M; ++m)
      for (index_t n = 0; n < N; ++n) {
        double exact = 0.0, magnitude = 0.0;
        for (index_t k = 0; k < K; ++k) {
          float x, y;
          a_operand.load(m, k, 1, &x);
          b_operand.load(n, k, 1, &y);
          exact += double{x} * y;
          magnitude += std::fabs(double{x} * y);
        }
        const double added = (accumulate ? double{c[static_cast<std::size_t>(m * ldc + n)]} : 0.0) +
                             (biased ? double{bias[static_cast<std::size_t>(n)]} : 0.0);
        magnitude += 2.0;  // |c|, |bias| <= 1
        const double bound = roundings * static_cast<double>(K + 3) * 0x1p-24 * magnitude;
        const double excess = std::fabs(out[static_cast<std::size_t>(m * ldc + n)] - exact - added) - bound;
        if (!(excess <= worst)) worst = excess;
      }
    return worst;
  }
};

std::vector<Target> fused_targets() {
  std::vector<Target> targets;
  for (const Target target : qat::supported_targets())
    if (qat::has_fused_multiply_add(target)) targets.push_back(target);
  return targets;
}

}  // namespace

TEST_CASE("every shape up to 20 x 20 x 20 equals the reference bit for bit on targets with fused multiply-add") {
  const CpuBackend backend(1);
  std::vector<float> expected;
  std::vector<std::vector<float>> actual(fused_targets().size());
  for (index_t M = 0; M <= 20; ++M)
    for (index_t N = 0; N <= 20; ++N)
      for (index_t K = 0; K <= 20; ++K) {
        const Problem problem(M, N, K, static_cast<int>(M + 3 * N + 5 * K) % 8);
        const std::vector<float> reference = problem.reference();
        expected.insert(expected.end(), reference.begin(), reference.end());
        for (std::size_t i = 0; i < actual.size(); ++i) {
          const qat::ScopedTarget scope(fused_targets()[i]);
          const std::vector<float> out = problem.product(backend);
          actual[i].insert(actual[i].end(), out.begin(), out.end());
        }
      }
  for (const auto& out : actual) CHECK(compare_bits(expected, out));
}

TEST_CASE("shapes around tiles, panels and K-blocks equal the reference, in every operand order") {
  const CpuBackend backend(2);
  for (const Target target : fused_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    int variant = 0;
    for (const index_t M : {1, 6, 7, 14, 15, 28, 29, 130})
      for (const index_t N : {1, 16, 17, 31, 33, 100})
        for (const index_t K : {64, 127, 256, 257, 513}) {
          const Problem problem(M, N, K, ++variant % 8);
          CAPTURE(M);
          CAPTURE(N);
          CAPTURE(K);
          CAPTURE(variant % 8);
          CHECK(compare_bits(problem.reference(), problem.product(backend)));
        }
    const Problem strided(33, 40, 1024, 0);  // rows 4 KiB apart: A is copied, not read in place
    CHECK(compare_bits(strided.reference(), strided.product(backend)));
  }
}

namespace {
/// Every target that fuses gives the bits of the reference, which are returned.
std::vector<float> check_targets(const CpuBackend& backend, const Problem& problem) {
  const std::vector<float> expected = problem.reference();
  for (const Target target : fused_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    CHECK(compare_bits(expected, problem.product(backend)));
  }
  return expected;
}
}  // namespace

TEST_CASE("with B read in place every number of rows and columns around tiles equals the reference") {
  const CpuBackend backend(2);
  for (const index_t M : {1, 4, 5, 8, 9, 16, 17, 33, 49, 64, 65, 130})
    for (const index_t N : {16, 17, 97, 110})
      for (int variant = 0; variant < 2; ++variant) {  // A by rows, A by k
        const Problem problem(M, N, 256 + M % 32, variant);
        CAPTURE(M);
        CAPTURE(N);
        CAPTURE(variant);
        check_targets(backend, problem);
      }
}

TEST_CASE("with A read in place or turned every number of rows and columns around tiles equals the reference") {
  const CpuBackend backend(2);
  check_targets(backend, Problem(257, 259, 258, 0));  // B could be read in place as well
  for (const index_t M : {128, 133, 197})
    for (const index_t N : {1, 7, 16, 31, 48, 65, 130})
      for (int variant = 0; variant < 4; ++variant) {  // A by rows or by k, B by rows or by k
        const Problem problem(M, N, 33 + M % 3 + variant % 2 * 64, variant);
        CAPTURE(M);
        CAPTURE(N);
        CAPTURE(variant);
        const std::vector<float> expected = check_targets(backend, problem);
        std::vector<float> computed = problem.c;
        qat::kernels::gemm(backend, M, N, problem.K, problem.a_operand, ComputedOperand{problem.b_operand},
                           computed.data(), problem.ldc, problem.accumulate, problem.bias_or_null());
        CHECK(compare_bits(expected, computed));
      }
}

TEST_CASE("every target is within the derived bound of double precision") {
  const CpuBackend backend(1);
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    for (int variant = 0; variant < 8; ++variant) {
      const Problem problem(19, 37, 300 + variant, variant);
      CHECK(problem.worst_excess(problem.product(backend), qat::has_fused_multiply_add(target) ? 1.0 : 2.0) <= 0.0);
    }
  }
}

TEST_CASE(
    "at bf16 precision operands are rounded to bf16, sums are within the bound of fp32, on any number of threads") {
  qat::test::TuningScope tuning;
  qat::kernels::cpu_tuning().bf16_dot = true;
  const CpuBackend backend(1, qat::MatmulPrecision::kBfloat16), three(3, qat::MatmulPrecision::kBfloat16);
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    int variant = 0;
    for (const index_t M : {1, 3, 14, 15, 130})
      for (const index_t N : {1, 16, 33, 100})
        for (const index_t K : {0, 1, 2, 17, 64, 257, 513}) {
          Problem problem(M, N, K, ++variant % 8);
          CAPTURE(M);
          CAPTURE(N);
          CAPTURE(K);
          CAPTURE(variant % 8);
          if (target != Target::kAvx512Bf16) {  // nothing to gain: the same as fp32
            CHECK(compare_bits(problem.product(CpuBackend(1)), problem.product(backend)));
            continue;
          }
          const std::vector<float> unrounded = problem.product(backend);
          for (std::vector<float>* x : {&problem.a, &problem.b})
            for (float& value : *x) value = static_cast<float>(qat::bfloat16(value));
          CHECK(compare_bits(unrounded, problem.product(backend)));
          CHECK(compare_bits(unrounded, problem.product(three)));
          CHECK(problem.worst_excess(unrounded, 2.0) <= 0.0);
        }
  }
}

TEST_CASE("1, 2, 3 and 7 threads give the same bytes on every target") {
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    for (int variant = 0; variant < 8; ++variant) {
      const Problem problem(150, 200, 310, variant);
      const CpuBackend one(1);
      const std::vector<float> expected = problem.product(one);
      for (const int threads : {2, 3, 7}) CHECK(compare_bits(expected, problem.product(CpuBackend(threads))));
    }
  }
}

TEST_CASE("the bits of an output do not depend on the other rows and columns") {
  const CpuBackend backend(2);
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    const Problem all(40, 70, 300, 0);
    std::vector<float> whole(40 * 70), row(70), column(40);
    qat::kernels::gemm(backend, 40, 70, 300, all.a_operand, all.b_operand, whole.data(), 70);
    qat::kernels::gemm(backend, 1, 70, 300, MatrixOperand{all.a.data() + 17 * 300, 300, 1}, all.b_operand, row.data(),
                       70);
    qat::kernels::gemm(backend, 40, 1, 300, all.a_operand, MatrixOperand{all.b.data() + 65 * 300, 300, 1},
                       column.data(), 1);
    std::vector<float> expected_row(whole.begin() + 17 * 70, whole.begin() + 18 * 70), expected_column;
    for (std::size_t m = 0; m < 40; ++m) expected_column.push_back(whole[m * 70 + 65]);
    CHECK(compare_bits(expected_row, row));
    CHECK(compare_bits(expected_column, column));
  }
}

TEST_CASE("a host that flushes subnormals gets the same bytes") {
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    for (const int threads : {1, 3}) {
      const CpuBackend backend(threads);
      Problem problem(30, 30, 40, 0);
      for (float& x : problem.a) x *= 0x1p-120f;
      for (float& x : problem.b) x *= 0x1p-14f;
      for (float& x : problem.c) x = 0.0f;
      problem.biased = false;
      const std::vector<float> expected = problem.product(backend);
      bool subnormal = false;
      for (const float x : expected) subnormal = subnormal || (x != 0.0f && std::fabs(x) < 0x1p-126f);
      CHECK(subnormal);
      std::vector<float> actual;
      {
        const qat::test::HostMode host;
        actual = problem.product(backend);
      }
      CHECK(compare_bits(expected, actual));
    }
  }
}

TEST_CASE("NaN and infinity of an operand reach exactly the outputs that depend on them") {
  const CpuBackend backend(1);
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    std::vector<float> a(20 * 50, 1.0f), b(40 * 50, 1.0f), c(20 * 40);
    a[3 * 50 + 49] = std::numeric_limits<float>::quiet_NaN();
    b[39 * 50] = std::numeric_limits<float>::infinity();
    qat::kernels::gemm(backend, 20, 40, 50, MatrixOperand{a.data(), 50, 1}, MatrixOperand{b.data(), 50, 1}, c.data(),
                       40);
    int wrong = 0;
    for (std::size_t m = 0; m < 20; ++m)
      for (std::size_t n = 0; n < 40; ++n) {
        const float y = c[m * 40 + n];
        // By bits: the test may itself be built with -ffast-math.
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(y) & 0x7FFFFFFFu;
        wrong += m == 3 ? bits <= 0x7F800000u : n == 39 ? bits != 0x7F800000u : y != 50.0f;
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("negative sizes are refused, empty products leave or clear C as the definition says") {
  const CpuBackend backend(1);
  float c[2] = {3.0f, 4.0f};
  CHECK_THROWS_AS(qat::kernels::gemm(backend, -1, 1, 1, MatrixOperand{}, MatrixOperand{}, c, 1), qat::Error);
  qat::kernels::gemm(backend, 0, 2, 0, MatrixOperand{}, MatrixOperand{}, c, 2);
  CHECK(c[0] == 3.0f);
  qat::kernels::gemm(backend, 1, 1, 0, MatrixOperand{}, MatrixOperand{}, c, 1, true);
  CHECK(c[0] == 3.0f);
  qat::kernels::gemm(backend, 1, 1, 0, MatrixOperand{}, MatrixOperand{}, c, 1);
  CHECK(c[0] == 0.0f);
  CHECK(c[1] == 4.0f);
}
