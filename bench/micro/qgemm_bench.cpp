// Products with packed weights beside the measured int8 dot-product and fp32 multiply-add ceilings of one thread.
// One-thread rates are per second of processor time; two-thread rates need a quiet machine.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "ceilings.hpp"
#include "qat/base/random.hpp"
#include "qat/kernels/cpu/qgemm.hpp"

namespace {

using qat::index_t;

struct Data {
  std::vector<std::int8_t> codes;
  std::vector<float> x, scales, c;
  std::vector<std::int32_t> zeros;
  qat::PackedWeight weight;

  Data(const char* spec_text, index_t M, index_t N, index_t K)
      : codes(static_cast<std::size_t>(M * K)),
        x(codes.size()),
        scales(static_cast<std::size_t>(M), 0.01f),
        c(static_cast<std::size_t>(M * N)),
        zeros(static_cast<std::size_t>(M), 3) {
    qat::CounterRandom random(1);
    for (std::int8_t& q : codes) q = static_cast<std::int8_t>(random.next_u32());
    for (float& v : x) v = random.next_float() - 0.5f;
    const qat::QuantSpec spec = qat::parse_spec(spec_text);
    const index_t groups = qat::group_layout(spec.granularity, N, K).count();
    std::vector<std::int8_t> q(static_cast<std::size_t>(N * K));
    for (std::int8_t& v : q)
      v = static_cast<std::int8_t>(spec.qmin() + static_cast<int>(random.next_below(1u << spec.bits)));
    const std::vector<float> s(static_cast<std::size_t>(groups), 0.5f), z(s.size(), 1.0f);
    weight = qat::PackedWeight::pack(spec, N, K, q.data(), s.data(), z.data());
  }
};

void report(benchmark::State& state, const Data& data, index_t M, double ceiling) {
  const double products = static_cast<double>(data.weight.rows() * data.weight.columns());
  state.counters["OP/s"] =
      benchmark::Counter(2.0 * static_cast<double>(M) * products, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["ceiling"] = ceiling;
  state.counters["weights_B/s"] = benchmark::Counter(static_cast<double>(data.weight.resident_bytes()),
                                                     benchmark::Counter::kIsIterationInvariantRate);
}

void int8_activations(benchmark::State& state, const char* spec, bool asymmetric, index_t M, index_t N, index_t K,
                      int threads) {
  Data data(spec, M, N, K);
  const qat::CpuBackend backend(threads);
  const qat::kernels::QuantizedActivations x{data.codes.data(), K, data.scales.data(),
                                             asymmetric ? data.zeros.data() : nullptr};
  for (auto _ : state) qat::kernels::qgemm(backend, M, x, data.weight, data.c.data(), N);
  report(state, data, M, qat::bench::vnni_ceiling() * threads);
}

void float_activations(benchmark::State& state, const char* spec, index_t M, index_t N, index_t K, int threads) {
  Data data(spec, M, N, K);
  const qat::CpuBackend backend(threads);
  for (auto _ : state)
    qat::kernels::gemm(backend, M, N, K, qat::kernels::MatrixOperand{data.x.data(), K, 1},
                       qat::kernels::PackedOperand(data.weight), data.c.data(), N);
  report(state, data, M, qat::bench::fma_ceiling() * threads);
}

}  // namespace

int main(int argc, char** argv) {
  const char* specs[] = {"int4:group32:symmetric:bf16safe", "int4:group32:asymmetric:bf16safe",
                         "int4:group128:symmetric:bf16safe", "int8:axis0:symmetric", "int3:group32:symmetric:bf16safe"};
  for (const char* spec : specs)
    for (const index_t M : {1, 4, 16, 64, 512}) {
      const std::string name = std::string(spec) + "/M:" + std::to_string(M);
      benchmark::RegisterBenchmark(("w_a8/" + name + "/threads:1").c_str(), int8_activations, spec, false, M, 2048,
                                   2048, 1);
      benchmark::RegisterBenchmark(("w_a8/" + name + "/threads:2").c_str(), int8_activations, spec, false, M, 2048,
                                   2048, 2)
          ->UseRealTime();
      benchmark::RegisterBenchmark(("w_a8_asymmetric/" + name).c_str(), int8_activations, spec, true, M, 2048, 2048, 1);
      benchmark::RegisterBenchmark(("w_a32/" + name).c_str(), float_activations, spec, M, 2048, 2048, 1);
    }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
