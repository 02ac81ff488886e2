// What this core can do in registers, measured in the same run as the kernels it judges.
#pragma once

#include <chrono>

#include "qat/simd/target.hpp"

namespace qat::bench {

/// The best rate of many short runs, as other programs share the core. run() does `ops` operations.
template <class F>
double best_rate(double ops, int repeats, F&& run) {
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const double rate = ops / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (rate > best) best = rate;
  }
  return best;
}

#if QAT_HAVE_X86_TARGETS
constexpr int kCeilingRuns = 200, kCeilingLoops = 20000;

/// `loops` rounds of fourteen independent chains of one instruction: two a cycle with a latency of up to seven.
#define QAT_BENCH_CHAINS(function, instruction, type, target_text)                                  \
  __attribute__((target(target_text))) inline void function(int loops) {                            \
    type x = {}, chain[14] = {};                                                                    \
    for (int i = 0; i < loops; ++i) QAT_UNROLL(14)                                                  \
    for (int c = 0; c < 14; ++c) asm volatile(instruction " %1, %1, %0" : "+v"(chain[c]) : "v"(x)); \
  }
QAT_BENCH_CHAINS(fma_zmm_chains, "vfmadd231ps", __m512, "avx512f")
QAT_BENCH_CHAINS(fma_ymm_chains, "vfmadd231ps", __m256, "avx2,fma")
QAT_BENCH_CHAINS(vnni_zmm_chains, "vpdpbusd", __m512i, "avx512f,avx512vnni")
QAT_BENCH_CHAINS(vnni_ymm_chains, "%{vex%} vpdpbusd", __m256i, "avx2,avxvnni")
QAT_BENCH_CHAINS(bf16_zmm_chains, "vdpbf16ps", __m512, "avx512f,avx512bf16")
#undef QAT_BENCH_CHAINS

/// The int8 product of a processor without dot-product instructions: 16-bit sums, 32-bit sums, accumulate.
#define QAT_BENCH_MADDUBS(x, t, sum) \
  asm volatile("vpmaddubsw %2, %2, %1\n vpmaddwd %2, %1, %1\n vpaddd %1, %0, %0" : "+x"(sum), "=&x"(t) : "x"(x))

__attribute__((target("avx2"))) inline void maddubs_ymm_chains(int loops) {
  __m256i x = {}, t = {}, chain[10] = {};
  for (int i = 0; i < loops; ++i) QAT_UNROLL(10)
  for (int c = 0; c < 10; ++c) QAT_BENCH_MADDUBS(x, t, chain[c]);
}

/// The group bound: what group-wise scales leave of the int8 peak if nothing is loaded or stored. Eight products of
/// four codes per accumulator (a group of 32), then one conversion and one multiply-add, for `count` accumulators at a
/// time.
#define QAT_BENCH_GROUP(function, multiply, count, integers, floats, target_text)     \
  __attribute__((target(target_text))) inline void function(int loops) {              \
    integers x = {}, s = {}, sum[count] = {};                                         \
    floats scale = {}, t, total[count] = {};                                          \
    for (int i = 0; i < loops; ++i) {                                                 \
      QAT_UNROLL(8)                                                                   \
      for (int q = 0; q < 8; ++q) QAT_UNROLL(count)                                   \
      for (int c = 0; c < count; ++c) multiply(x, s, sum[c]);                         \
      QAT_UNROLL(count)                                                               \
      for (int c = 0; c < count; ++c) {                                               \
        asm volatile("vcvtdq2ps %1, %0" : "=v"(t) : "v"(sum[c]));                     \
        asm volatile("vfmadd231ps %1, %2, %0" : "+v"(total[c]) : "v"(t), "v"(scale)); \
      }                                                                               \
    }                                                                                 \
    (void)s;                                                                          \
  }
#define QAT_BENCH_VNNI_ZMM(x, s, sum) asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(x))
#define QAT_BENCH_VNNI_YMM(x, s, sum) asm volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum) : "x"(x))
QAT_BENCH_GROUP(group_zmm, QAT_BENCH_VNNI_ZMM, 10, __m512i, __m512, "avx512f,avx512vnni")
QAT_BENCH_GROUP(group_vnni_ymm, QAT_BENCH_VNNI_YMM, 6, __m256i, __m256, "avx2,fma,avxvnni")
QAT_BENCH_GROUP(group_maddubs_ymm, QAT_BENCH_MADDUBS, 5, __m256i, __m256, "avx2,fma")
#undef QAT_BENCH_GROUP
#undef QAT_BENCH_VNNI_ZMM
#undef QAT_BENCH_VNNI_YMM
#undef QAT_BENCH_MADDUBS
#endif

/// Operations a second of one thread, two per multiply-add; 0 where there is no such instruction. Each call measures.
inline double fma_rate() {
#if QAT_HAVE_X86_TARGETS
  if (is_supported(Target::kAvx512))
    return best_rate(448.0 * kCeilingLoops, kCeilingRuns, [] { fma_zmm_chains(kCeilingLoops); });
  if (is_supported(Target::kAvx2))
    return best_rate(224.0 * kCeilingLoops, kCeilingRuns, [] { fma_ymm_chains(kCeilingLoops); });
#endif
  return 0.0;
}
/// With the int8 dot-product instruction.
inline double vnni_rate() {
#if QAT_HAVE_X86_TARGETS
  if (is_supported(Target::kAvx512Vnni))
    return best_rate(1792.0 * kCeilingLoops, kCeilingRuns, [] { vnni_zmm_chains(kCeilingLoops); });
  if (is_supported(Target::kAvx2Vnni))
    return best_rate(896.0 * kCeilingLoops, kCeilingRuns, [] { vnni_ymm_chains(kCeilingLoops); });
#endif
  return 0.0;
}
/// int8 products in the best way this processor has.
inline double int8_rate() {
  double rate = vnni_rate();
#if QAT_HAVE_X86_TARGETS
  if (rate == 0.0 && is_supported(Target::kAvx2))
    rate = best_rate(640.0 * kCeilingLoops, kCeilingRuns, [] { maddubs_ymm_chains(kCeilingLoops); });
#endif
  return rate;
}
/// int8 products with a scale per 32 of them, in the best way this processor has.
inline double group_bound_rate() {
#if QAT_HAVE_X86_TARGETS
  constexpr int kLoops = kCeilingLoops / 8;
  if (is_supported(Target::kAvx512Vnni)) return best_rate(8 * 1280.0 * kLoops, kCeilingRuns, [] { group_zmm(kLoops); });
  if (is_supported(Target::kAvx2Vnni))
    return best_rate(8 * 384.0 * kLoops, kCeilingRuns, [] { group_vnni_ymm(kLoops); });
  if (is_supported(Target::kAvx2))
    return best_rate(8 * 320.0 * kLoops, kCeilingRuns, [] { group_maddubs_ymm(kLoops); });
#endif
  return 0.0;
}
inline double bf16_rate() {
#if QAT_HAVE_X86_TARGETS
  if (is_supported(Target::kAvx512Bf16))
    return best_rate(896.0 * kCeilingLoops, kCeilingRuns, [] { bf16_zmm_chains(kCeilingLoops); });
#endif
  return 0.0;
}

/// The same, measured once.
inline double fma_ceiling() {
  static const double rate = fma_rate();
  return rate;
}
inline double vnni_ceiling() {
  static const double rate = vnni_rate();
  return rate;
}
inline double bf16_ceiling() {
  static const double rate = bf16_rate();
  return rate;
}

}  // namespace qat::bench
