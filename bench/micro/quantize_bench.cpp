// Element-wise quantization kernels: bytes read and written a second, as a share of what a copy with non-temporal
// stores (large) or plain stores (in cache) reaches in the same run, beside a plain scalar loop and an Eigen
// expression.
//
// Arguments: elements. One thread, unless the name says otherwise.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <random>

#include "qat/kernels/cpu/lsq.hpp"

#if __has_include(<eigen3/Eigen/Core>)
#include <eigen3/Eigen/Core>
#define QAT_BENCH_EIGEN 1
#endif

namespace {

using namespace qat;
constexpr index_t kInCache = index_t{1} << 17;  // 512 KiB of float
constexpr index_t kLarge = index_t{1} << 26;    // 256 MiB
constexpr index_t kColumns = 4096;

struct Data {
  AlignedBuffer<float> x, y, dy, scale, zero, dscale;
  AlignedBuffer<std::int8_t> codes;
  AlignedBuffer<std::uint8_t> mask;
  explicit Data(index_t n)
      : x(n), y(n), dy(n), scale(n / 32 + 1), zero(n / 32 + 1), dscale(n / 32 + 1), codes(n), mask(n / 8) {
    std::minstd_rand random(1);
    std::normal_distribution<float> normal;
    for (index_t i = 0; i < n; ++i) x[i] = i < (1 << 20) ? normal(random) : x[i & 0xFFFFF];
    for (index_t i = 0; i < n; ++i) dy[i] = x[i], y[i] = 0.0f, codes[i] = 0;
  }
};
Data& data(index_t n) {
  static Data small(kInCache), large(kLarge);
  return n == kInCache ? small : large;
}

void copy(const float* x, float* y, index_t n, bool stream) {
#if QAT_HAVE_X86_TARGETS
  if (stream) {
    for (index_t i = 0; i < n; i += 4) _mm_stream_ps(y + i, _mm_load_ps(x + i));
    _mm_sfence();
    return;
  }
#endif
  std::copy(x, x + n, y);
}
/// Of this thread, so that other programs on the machine take no part (but for the bandwidth they use).
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Bytes a second of a copy of the same size: best of several, in this run.
double ceiling(index_t n) {
  static double rates[2] = {};
  double& rate = rates[n == kLarge];
  if (rate == 0.0) {
    Data& d = data(n);
    const int repeats = n == kLarge ? 5 : 200;
    for (int i = 0; i < repeats; ++i) {
      const double start = cpu_seconds();
      copy(d.x.data(), d.y.data(), n, n == kLarge);
      benchmark::ClobberMemory();
      rate = std::max(rate, static_cast<double>(n) * 8 / (cpu_seconds() - start));
    }
  }
  return rate;
}

template <class F>
void measure(benchmark::State& state, double bytes_per_element, F&& f, double (*seconds)() = cpu_seconds) {
  const index_t n = state.range(0);
  Data& d = data(n);
  const double copied = ceiling(n);
  double best = 1e30;
  for (auto _ : state) {
    const double start = seconds();
    f(d, n);
    benchmark::ClobberMemory();
    best = std::min(best, seconds() - start);
  }
  const double bytes = static_cast<double>(n) * bytes_per_element;
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * static_cast<std::int64_t>(state.iterations()));
  state.counters["best_GB/s"] = bytes / best * 1e-9;
  state.counters["copy_GB/s"] = copied * 1e-9;
  state.counters["%_of_copy"] = 100.0 * bytes / best / copied;
}

const CpuBackend& one() {
  static const CpuBackend backend(1);
  return backend;
}

void fake_quantize(benchmark::State& state, const char* text, bool all_threads) {
  const QuantSpec spec = parse_spec(text);
  const CpuBackend& backend = all_threads ? CpuBackend::shared() : one();
  measure(
      state, 8,
      [&](Data& d, index_t n) {
        kernels::fake_quantize_dynamic(backend, spec, d.x.data(), n / kColumns, kColumns, d.y.data(), d.scale.data(),
                                       d.zero.data());
      },
      all_threads ? wall_seconds : cpu_seconds);
}
void quantize(benchmark::State& state, const char* text) {
  const QuantSpec spec = parse_spec(text);
  measure(state, 5, [&](Data& d, index_t n) {
    kernels::quantize_dynamic(one(), spec, d.x.data(), n / kColumns, kColumns, d.codes.data(), d.scale.data(),
                              d.zero.data());
  });
}
void dequantize(benchmark::State& state, const char* text) {
  const QuantSpec spec = parse_spec(text);
  kernels::choose_qparams(one(), spec, data(state.range(0)).x.data(), state.range(0) / kColumns, kColumns,
                          data(state.range(0)).scale.data(), data(state.range(0)).zero.data());
  measure(state, 5, [&](Data& d, index_t n) {
    kernels::dequantize(one(), spec, d.codes.data(), n / kColumns, kColumns, d.scale.data(), d.zero.data(), d.y.data());
  });
}
void backward(benchmark::State& state, const char* text) {
  const QuantSpec spec = parse_spec(text);
  kernels::choose_qparams(one(), spec, data(state.range(0)).x.data(), state.range(0) / kColumns, kColumns,
                          data(state.range(0)).scale.data(), data(state.range(0)).zero.data());
  measure(state, 12, [&](Data& d, index_t n) {
    kernels::fake_quantize_backward(one(), spec, d.dy.data(), d.x.data(), n / kColumns, kColumns, d.scale.data(),
                                    d.zero.data(), SteMask::kInclusive, d.y.data());
  });
}

/// The gradient of the scales beside that of x.
void lsq_backward(benchmark::State& state, const char* text) {
  const QuantSpec spec = parse_spec(text);
  kernels::choose_qparams(one(), spec, data(state.range(0)).x.data(), state.range(0) / kColumns, kColumns,
                          data(state.range(0)).scale.data(), data(state.range(0)).zero.data());
  measure(state, 12, [&](Data& d, index_t n) {
    kernels::lsq_backward(one(), spec, d.dy.data(), d.x.data(), n / kColumns, kColumns, d.scale.data(), d.zero.data(),
                          SteMask::kInclusive, 0.1f, d.y.data(), false, d.dscale.data(), false);
  });
}

/// What one would write first: int4, groups of 32, amax / 7.5.
void scalar_loop(benchmark::State& state) {
  measure(state, 8, [](Data& d, index_t n) {
    for (index_t g = 0; g < n; g += 32) {
      float amax = 0.0f;
      for (index_t i = g; i < g + 32; ++i) amax = std::max(amax, std::fabs(d.x[i]));
      const float s = std::max(amax / 7.5f, 0x1p-126f), inverse = 1.0f / s;
      for (index_t i = g; i < g + 32; ++i)
        d.y[i] = std::min(7.0f, std::max(-8.0f, std::nearbyint(d.x[i] * inverse))) * s;
    }
  });
}
#ifdef QAT_BENCH_EIGEN
void eigen_groups(benchmark::State& state) {
  using Group = Eigen::Array<float, 32, 1>;
  measure(state, 8, [](Data& d, index_t n) {
    for (index_t g = 0; g < n; g += 32) {
      const Eigen::Map<const Group, Eigen::Aligned64> x(d.x.data() + g);
      const float s = std::max(x.abs().maxCoeff() / 7.5f, 0x1p-126f), inverse = 1.0f / s;
      Eigen::Map<Group, Eigen::Aligned64>(d.y.data() + g) = (x * inverse).rint().max(-8.0f).min(7.0f) * s;
    }
  });
}
#endif

#define QAT_SIZES Arg(kInCache)->Arg(kLarge)->MinTime(0.2)->Unit(benchmark::kMicrosecond)
BENCHMARK_CAPTURE(fake_quantize, int4_g32_symmetric, "int4:group32:symmetric", false)->QAT_SIZES;
BENCHMARK_CAPTURE(fake_quantize, int4_g32_default, "int4:group32:signed_extremum:bf16safe", false)->QAT_SIZES;
BENCHMARK_CAPTURE(fake_quantize, int4_g128_symmetric, "int4:group128:symmetric", false)->QAT_SIZES;
BENCHMARK_CAPTURE(fake_quantize, int8_token_asymmetric, "int8:token:asymmetric", false)->QAT_SIZES;
BENCHMARK_CAPTURE(fake_quantize, int8_token_symmetric, "int8:token:symmetric", false)->QAT_SIZES;
BENCHMARK_CAPTURE(fake_quantize, int4_g32_symmetric_all_threads, "int4:group32:symmetric", true)
    ->QAT_SIZES->UseRealTime();
BENCHMARK_CAPTURE(quantize, int8_token_asymmetric, "int8:token:asymmetric")->QAT_SIZES;
BENCHMARK_CAPTURE(quantize, int4_g32_symmetric, "int4:group32:symmetric")->QAT_SIZES;
BENCHMARK_CAPTURE(dequantize, int4_g32_symmetric, "int4:group32:symmetric")->QAT_SIZES;
BENCHMARK_CAPTURE(backward, int4_g32_symmetric, "int4:group32:symmetric")->QAT_SIZES;
BENCHMARK_CAPTURE(lsq_backward, int4_g32_symmetric, "int4:group32:symmetric")->QAT_SIZES;
BENCHMARK_CAPTURE(lsq_backward, int4_axis0_symmetric, "int4:axis0:symmetric")->QAT_SIZES;
BENCHMARK_CAPTURE(lsq_backward, int4_tensor_symmetric, "int4:tensor:symmetric")->QAT_SIZES;
BENCHMARK(scalar_loop)->QAT_SIZES;
#ifdef QAT_BENCH_EIGEN
BENCHMARK(eigen_groups)->QAT_SIZES;
#endif

}  // namespace

BENCHMARK_MAIN();
