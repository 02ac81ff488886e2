// fp32 matrix product at the shapes of training, beside the measured multiply-add ceiling of one thread.
// One-thread rates are per second of processor time, so that other programs on the machine count little; two-thread
// rates need a quiet machine. Peers are in peers/ (./dev bench --peers), each built as it wants to be.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "ceilings.hpp"
#include "qat/base/random.hpp"
#include "qat/kernels/cpu/gemm.hpp"

namespace {

using qat::index_t;
using qat::kernels::MatrixOperand;

struct Shape {
  const char* form;  // NT: Y = X W^T, NN: dX = dY W, TN: dW = dY^T X
  index_t M, N, K;
};
constexpr Shape kShapes[] = {
    {"NT", 2048, 64, 64},     {"NT", 2048, 172, 64},  {"NT", 2048, 64, 172},  {"NT", 2048, 512, 64},
    {"NN", 2048, 64, 64},     {"NN", 2048, 64, 172},  {"NN", 2048, 64, 512},  {"TN", 64, 64, 2048},
    {"TN", 172, 64, 2048},    {"TN", 64, 172, 2048},  {"NT", 256, 288, 288},  {"NN", 256, 288, 288},
    {"TN", 288, 288, 256},    {"NT", 512, 512, 512},  {"NT", 1024, 768, 768}, {"NT", 512, 2048, 512},
    {"NT", 1024, 2048, 2048}, {"NT", 1, 512, 512},    {"NT", 1, 2048, 2048},  {"NT", 4, 2048, 2048},
    {"NT", 16, 2048, 2048},   {"NT", 64, 2048, 2048},
};

struct Data {
  std::vector<float> a, b, c;
  MatrixOperand a_operand, b_operand;

  explicit Data(const Shape& s)
      : a(static_cast<std::size_t>(s.M * s.K)),
        b(static_cast<std::size_t>(s.N * s.K)),
        c(static_cast<std::size_t>(s.M * s.N)) {
    qat::CounterRandom random(1);
    for (float& x : a) x = random.next_float() - 0.5f;
    for (float& x : b) x = random.next_float() - 0.5f;
    a_operand = s.form[0] == 'T' ? MatrixOperand{a.data(), 1, s.M} : MatrixOperand{a.data(), s.K, 1};
    b_operand = s.form[1] == 'N' ? MatrixOperand{b.data(), 1, s.N} : MatrixOperand{b.data(), s.K, 1};
  }
};

void report(benchmark::State& state, const Shape& s, int threads) {
  const double ops = 2.0 * static_cast<double>(s.M * s.N * s.K);
  state.counters["FLOP/s"] = benchmark::Counter(ops, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["ceiling"] = qat::bench::fma_ceiling() * threads;
}

void gemm(benchmark::State& state, const Shape& shape, int threads, qat::MatmulPrecision precision) {
  Data data(shape);
  const qat::CpuBackend backend(threads, precision);
  for (auto _ : state)
    qat::kernels::gemm(backend, shape.M, shape.N, shape.K, data.a_operand, data.b_operand, data.c.data(), shape.N);
  report(state, shape, threads);
  if (precision == qat::MatmulPrecision::kBfloat16) state.counters["ceiling"] = qat::bench::bf16_ceiling();
}

}  // namespace

int main(int argc, char** argv) {
  for (const Shape& s : kShapes) {
    const std::string name =
        std::string(s.form) + "/" + std::to_string(s.M) + "x" + std::to_string(s.N) + "x" + std::to_string(s.K);
    benchmark::RegisterBenchmark(("gemm/" + name + "/threads:1").c_str(), gemm, s, 1, qat::MatmulPrecision::kFloat32);
    benchmark::RegisterBenchmark(("gemm_bf16/" + name + "/threads:1").c_str(), gemm, s, 1,
                                 qat::MatmulPrecision::kBfloat16);
    benchmark::RegisterBenchmark(("gemm/" + name + "/threads:2").c_str(), gemm, s, 2, qat::MatmulPrecision::kFloat32)
        ->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
