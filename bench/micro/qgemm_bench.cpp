// Products of 4096 x 4096 packed weights, read from memory, beside the measured ceilings of one thread: int8 and bf16
// dot products, fp32 multiply-adds. One-thread rates are per second of processor time; two-thread rates need a quiet
// machine.
#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

#include "ceilings.hpp"
#include "qat/base/random.hpp"
#include "qat/kernels/cpu/bf16_gemm.hpp"
#include "qat/kernels/cpu/packed_gemm.hpp"
#include "qat/kernels/cpu/qgemm.hpp"

namespace {

using qat::index_t;

constexpr index_t kN = 4096, kK = 4096;

/// As many copies of one packed weight as leave the last-level cache before their turn comes again; made once a scheme.
const std::vector<qat::PackedWeight>& weights_of(const char* spec_text) {
  static std::map<std::string, std::vector<qat::PackedWeight>> all;
  std::vector<qat::PackedWeight>& weights = all[spec_text];
  if (!weights.empty()) return weights;
  const qat::QuantSpec spec = qat::parse_spec(spec_text);
  const index_t groups = qat::group_layout(spec.granularity, kN, kK).count();
  std::vector<std::int8_t> q(static_cast<std::size_t>(kN * kK));
  qat::CounterRandom random(1);
  for (std::int8_t& v : q)
    v = static_cast<std::int8_t>(spec.qmin() + static_cast<int>(random.next_below(1u << spec.bits)));
  const std::vector<float> s(static_cast<std::size_t>(groups), 0.5f), z(s.size(), 1.0f);
  do {
    weights.push_back(qat::PackedWeight::pack(spec, kN, kK, q.data(), s.data(), z.data()));
  } while (static_cast<index_t>(weights.size()) * weights[0].resident_bytes() < index_t{80} << 20);
  return weights;
}

struct Data {
  std::vector<std::int8_t> codes;
  std::vector<float> x, scales, c;
  std::vector<std::int32_t> zeros;
  const std::vector<qat::PackedWeight>& weights;
  std::size_t turn = 0;

  Data(const char* spec, index_t M)
      : codes(static_cast<std::size_t>(M * kK)),
        x(codes.size()),
        scales(static_cast<std::size_t>(M), 0.01f),
        c(static_cast<std::size_t>(M * kN)),
        zeros(static_cast<std::size_t>(M), 3),
        weights(weights_of(spec)) {
    qat::CounterRandom random(2);
    for (std::int8_t& q : codes) q = static_cast<std::int8_t>(random.next_u32());
    for (float& v : x) v = random.next_float() - 0.5f;
  }
  const qat::PackedWeight& next() { return weights[turn++ % weights.size()]; }
};

void report(benchmark::State& state, const Data& data, index_t M, double ceiling) {
  state.counters["OP/s"] = benchmark::Counter(2.0 * static_cast<double>(M) * static_cast<double>(kN * kK),
                                              benchmark::Counter::kIsIterationInvariantRate);
  state.counters["ceiling"] = ceiling;
  state.counters["weights_B/s"] = benchmark::Counter(static_cast<double>(data.weights[0].resident_bytes()),
                                                     benchmark::Counter::kIsIterationInvariantRate);
}

void int8_activations(benchmark::State& state, const char* spec, bool asymmetric, index_t M, int threads) {
  Data data(spec, M);
  const qat::CpuBackend backend(threads);
  const qat::kernels::QuantizedActivations x{data.codes.data(), kK, data.scales.data(),
                                             asymmetric ? data.zeros.data() : nullptr};
  for (auto _ : state) qat::kernels::qgemm(backend, M, x, data.next(), data.c.data(), kN);
  report(state, data, M, qat::bench::vnni_ceiling() * threads);
}

void bf16_activations(benchmark::State& state, const char* spec, index_t M) {
  Data data(spec, M);
  const qat::CpuBackend backend(1);
  for (auto _ : state) qat::kernels::bf16_gemm(backend, M, {data.x.data(), kK, 1}, data.next(), data.c.data(), kN);
  report(state, data, M, qat::bench::bf16_ceiling());
}

void float_activations(benchmark::State& state, const char* spec, index_t M) {
  Data data(spec, M);
  const qat::CpuBackend backend(1);
  for (auto _ : state) qat::kernels::packed_gemm(backend, M, {data.x.data(), kK, 1}, data.next(), data.c.data(), kN);
  report(state, data, M, qat::bench::fma_ceiling());
}

}  // namespace

int main(int argc, char** argv) {
  const char* specs[] = {"int4:group32:symmetric:bf16safe", "int4:group32:asymmetric:bf16safe",
                         "int4:group128:symmetric:bf16safe", "int8:axis0:symmetric", "int3:group32:symmetric:bf16safe"};
  for (const char* spec : specs)
    for (const index_t M : {1, 4, 8, 16, 64, 256}) {
      const std::string name = std::string(spec) + "/M:" + std::to_string(M);
      benchmark::RegisterBenchmark(("w_a8/" + name + "/threads:1").c_str(), int8_activations, spec, false, M, 1);
      benchmark::RegisterBenchmark(("w_a8/" + name + "/threads:2").c_str(), int8_activations, spec, false, M, 2)
          ->UseRealTime();
      benchmark::RegisterBenchmark(("w_a8_asymmetric/" + name).c_str(), int8_activations, spec, true, M, 1);
      benchmark::RegisterBenchmark(("w_a16/" + name).c_str(), bf16_activations, spec, M);
      benchmark::RegisterBenchmark(("w_a32/" + name).c_str(), float_activations, spec, M);
    }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
