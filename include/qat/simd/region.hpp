// Compiler regions: code between QAT_TARGET_<NAME>_BEGIN and _END is compiled for that target, whatever the flags of
// the including program. For simd/foreach_target-inl.hpp; simd/target.hpp says how kernels use it.
#pragma once

#include "qat/base/config.hpp"

// QAT_HAVE_X86_TARGETS, QAT_HAVE_ARM_TARGETS: the compiler can build the targets of that architecture in regions of
// this translation unit. QAT_BASELINE_ONLY leaves the baseline alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(QAT_BASELINE_ONLY)
#define QAT_HAVE_X86_TARGETS 1
#if !defined(__clang__)
// As in the regions below.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#if defined(QAT_X86_EMULATION)  // a header with the intrinsics as plain code: test/emulation/x86.hpp
#include QAT_X86_EMULATION
#else
#include <immintrin.h>
#endif
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#else
#define QAT_HAVE_X86_TARGETS 0
#endif
#if defined(__aarch64__) && defined(__GNUC__) && !defined(QAT_BASELINE_ONLY)
#define QAT_HAVE_ARM_TARGETS 1
#else
#define QAT_HAVE_ARM_TARGETS 0
#endif
// QAT_HAVE_NEON: the baseline may use NEON and its fused multiply-add, which every AArch64 processor has.
#if defined(__aarch64__) && defined(__GNUC__)
#define QAT_HAVE_NEON 1
#else
#define QAT_HAVE_NEON 0
#endif

// Each region switches the target on and, under an optimizing g++, -O3 (g++ -O2 leaves loops scalar; a debug or
// sanitized build stays what it was asked to be); fast-math is off in all of them, so that an -Ofast host gets the same
// bits. Under clang a region holds functions only.
#define QAT_PRAGMA(text) _Pragma(#text)
#if defined(QAT_X86_EMULATION)
#define QAT_AVX2_FEATURES "sse2"
#define QAT_AVX2VNNI_FEATURES "sse2"
#define QAT_AVX512_FEATURES "sse2"
#define QAT_AVX512VNNI_FEATURES "sse2"
#define QAT_AVX512BF16_FEATURES "sse2"
#else
#define QAT_AVX2_FEATURES "avx2,fma,f16c,bmi,bmi2"
#if !defined(QAT_AVX2VNNI_FEATURES)  // test/consistency/avx2vnni_test.cpp has its own
#define QAT_AVX2VNNI_FEATURES "avx2,fma,f16c,bmi,bmi2,avxvnni"
#endif
#define QAT_AVX512_FEATURES "avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl"
#define QAT_AVX512VNNI_FEATURES "avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
#define QAT_AVX512BF16_FEATURES "avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16"
#endif
#if defined(__clang__)
#define QAT_NEONDOT_FEATURES "dotprod"
#define QAT_NEONI8MM_FEATURES "dotprod,i8mm"
#else
#define QAT_NEONDOT_FEATURES "arch=armv8.2-a+dotprod"
#define QAT_NEONI8MM_FEATURES "arch=armv8.2-a+dotprod+i8mm"
#endif
#if defined(__clang__)
#define QAT_TARGET_BEGIN(features) \
  QAT_EXACT_BEGIN QAT_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define QAT_TARGET_END _Pragma("clang attribute pop") QAT_EXACT_END
#define QAT_TARGET_BASELINE_BEGIN QAT_EXACT_BEGIN
#define QAT_TARGET_BASELINE_END QAT_EXACT_END
#elif defined(__GNUC__)
// The warnings are g++ 12's about the deliberately undefined operands of its own intrinsics (GCC bug 105593).
#define QAT_TARGET_BEGIN(features)                                                          \
  QAT_TARGET_BASELINE_BEGIN QAT_PRAGMA(GCC target(features)) _Pragma("GCC diagnostic push") \
      _Pragma("GCC diagnostic ignored \"-Wuninitialized\"")                                 \
          _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"")
#define QAT_TARGET_END _Pragma("GCC diagnostic pop") QAT_EXACT_END
#if defined(__OPTIMIZE__) && !defined(QAT_ADDRESS_SANITIZER)
#define QAT_TARGET_BASELINE_BEGIN QAT_EXACT_BEGIN _Pragma("GCC optimize(\"O3\")")
#else
#define QAT_TARGET_BASELINE_BEGIN QAT_EXACT_BEGIN
#endif
#define QAT_TARGET_BASELINE_END QAT_EXACT_END
#else
#define QAT_TARGET_BASELINE_BEGIN
#define QAT_TARGET_BASELINE_END
#endif
#define QAT_TARGET_AVX2_BEGIN QAT_TARGET_BEGIN(QAT_AVX2_FEATURES)
#define QAT_TARGET_AVX2_END QAT_TARGET_END
#define QAT_TARGET_AVX2VNNI_BEGIN QAT_TARGET_BEGIN(QAT_AVX2VNNI_FEATURES)
#define QAT_TARGET_AVX2VNNI_END QAT_TARGET_END
#define QAT_TARGET_AVX512_BEGIN QAT_TARGET_BEGIN(QAT_AVX512_FEATURES)
#define QAT_TARGET_AVX512_END QAT_TARGET_END
#define QAT_TARGET_AVX512VNNI_BEGIN QAT_TARGET_BEGIN(QAT_AVX512VNNI_FEATURES)
#define QAT_TARGET_AVX512VNNI_END QAT_TARGET_END
#define QAT_TARGET_AVX512BF16_BEGIN QAT_TARGET_BEGIN(QAT_AVX512BF16_FEATURES)
#define QAT_TARGET_AVX512BF16_END QAT_TARGET_END
#define QAT_TARGET_NEONDOT_BEGIN QAT_TARGET_BEGIN(QAT_NEONDOT_FEATURES)
#define QAT_TARGET_NEONDOT_END QAT_TARGET_END
#define QAT_TARGET_NEONI8MM_BEGIN QAT_TARGET_BEGIN(QAT_NEONI8MM_FEATURES)
#define QAT_TARGET_NEONI8MM_END QAT_TARGET_END

// QAT_UNROLL(n): unrolls the loop that follows completely, for register tiles; n must not be below its trip count.
#if defined(__clang__)
#define QAT_UNROLL(n) _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define QAT_UNROLL(n) QAT_PRAGMA(GCC unroll n)
#else
#define QAT_UNROLL(n)
#endif
