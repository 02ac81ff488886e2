// What this core can do in registers, measured in the same run as the kernels it judges.
#pragma once

#include <chrono>

#include "qat/simd/target.hpp"

namespace qat::bench {

#if QAT_HAVE_X86_TARGETS
#define QAT_BENCH_TEN(op, r)                                                                                  \
  op " %10, %10, %0\n" op " %10, %10, %1\n" op " %10, %10, %2\n" op " %10, %10, %3\n" op " %10, %10, %4\n" op \
     " %10, %10, %5\n" op " %10, %10, %6\n" op " %10, %10, %7\n" op " %10, %10, %8\n" op " %10, %10, %9\n"

/// Operations of one run of `instruction`, ten independent chains: best of many short runs, as other programs share the
/// core.
#define QAT_BENCH_CEILING(function, instruction, type, target_text, ops)                                         \
  __attribute__((target(target_text))) inline double function() {                                                \
    type a = {}, x0 = a, x1 = a, x2 = a, x3 = a, x4 = a, x5 = a, x6 = a, x7 = a, x8 = a, x9 = a;                 \
    double best = 0;                                                                                             \
    for (int repeat = 0; repeat < 200; ++repeat) {                                                               \
      const auto start = std::chrono::steady_clock::now();                                                       \
      for (int i = 0; i < 20000; ++i)                                                                            \
        asm volatile(QAT_BENCH_TEN(instruction, 0)                                                               \
                     : "+v"(x0), "+v"(x1), "+v"(x2), "+v"(x3), "+v"(x4), "+v"(x5), "+v"(x6), "+v"(x7), "+v"(x8), \
                       "+v"(x9)                                                                                  \
                     : "v"(a));                                                                                  \
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();    \
      const double rate = 20000.0 * 10 * ops / seconds;                                                          \
      if (rate > best) best = rate;                                                                              \
    }                                                                                                            \
    return best;                                                                                                 \
  }
QAT_BENCH_CEILING(fma_zmm, "vfmadd231ps", __m512, "avx512f", 32)
QAT_BENCH_CEILING(fma_ymm, "vfmadd231ps", __m256, "avx2,fma", 16)
QAT_BENCH_CEILING(vnni_zmm, "vpdpbusd", __m512i, "avx512f,avx512vnni", 128)
#undef QAT_BENCH_CEILING
#undef QAT_BENCH_TEN
#endif

/// fp32 multiply-add operations a second of one thread, two per multiply-add; 0 if unknown.
inline double fma_ceiling() {
#if QAT_HAVE_X86_TARGETS
  static const double rate = is_supported(Target::kAvx512) ? fma_zmm() : is_supported(Target::kAvx2) ? fma_ymm() : 0.0;
  return rate;
#else
  return 0.0;
#endif
}
/// int8 dot-product operations a second of one thread; 0 without the instruction.
inline double vnni_ceiling() {
#if QAT_HAVE_X86_TARGETS
  static const double rate = is_supported(Target::kAvx512Vnni) ? vnni_zmm() : 0.0;
  return rate;
#else
  return 0.0;
#endif
}

}  // namespace qat::bench
