// Compiles the file QAT_TARGET_INCLUDE once per target: see simd/target.hpp. Meant to be included many times.
//
// Always compiled: baseline, avx2, avx512 (on AArch64 baseline, which is NEON there). A kernel with a form of its own
// for an instruction defines, before:
//   QAT_TARGET_WITH_DOT8   also avx2vnni and avx512vnni, neondot and neoni8mm: the int8 dot product
//   QAT_TARGET_WITH_BF16   also avx512bf16: the bf16 dot product
// A target without a form of its own runs the next lower one: the QAT_DISPATCH macros of simd/target.hpp know which.
//
// Defined while the file is read:
//   QAT_TARGET         namespace of the target
//   QAT_TARGET_LEVEL   vectors: 0 of 128 bits (NEON if QAT_HAVE_NEON), 1 AVX2, 2 and more AVX-512
//   QAT_TARGET_DOT8    the int8 dot product: 0 none, 1 of unsigned by signed bytes, 2 of signed bytes alone (neondot)
//   QAT_TARGET_BF16    1 where the bf16 dot product may be used, else 0
// All macros are undefined at the end.
#ifndef QAT_TARGET_INCLUDE
#error "define QAT_TARGET_INCLUDE as the quoted name of the -inl file, then include this file"
#endif

#define QAT_TARGET_DOT8 0
#define QAT_TARGET_BF16 0

#define QAT_TARGET baseline
#define QAT_TARGET_LEVEL 0
QAT_TARGET_BASELINE_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_BASELINE_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL

#if QAT_HAVE_X86_TARGETS
#define QAT_TARGET avx2
#define QAT_TARGET_LEVEL 1
QAT_TARGET_AVX2_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_AVX2_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL

#define QAT_TARGET avx512
#define QAT_TARGET_LEVEL 2
QAT_TARGET_AVX512_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_AVX512_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL
#endif

#ifdef QAT_TARGET_WITH_DOT8
#undef QAT_TARGET_DOT8
#define QAT_TARGET_DOT8 1
#if QAT_HAVE_X86_TARGETS
#define QAT_TARGET avx2vnni
#define QAT_TARGET_LEVEL 1
QAT_TARGET_AVX2VNNI_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_AVX2VNNI_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL

#define QAT_TARGET avx512vnni
#define QAT_TARGET_LEVEL 3
QAT_TARGET_AVX512VNNI_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_AVX512VNNI_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL
#endif
#if QAT_HAVE_ARM_TARGETS
#define QAT_TARGET neoni8mm
#define QAT_TARGET_LEVEL 0
QAT_TARGET_NEONI8MM_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_NEONI8MM_END
#undef QAT_TARGET

#undef QAT_TARGET_DOT8
#define QAT_TARGET_DOT8 2
#define QAT_TARGET neondot
QAT_TARGET_NEONDOT_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_NEONDOT_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL
#endif
#undef QAT_TARGET_WITH_DOT8
#endif

#ifdef QAT_TARGET_WITH_BF16
#undef QAT_TARGET_DOT8
#undef QAT_TARGET_BF16
#define QAT_TARGET_DOT8 1
#define QAT_TARGET_BF16 1
#if QAT_HAVE_X86_TARGETS
#define QAT_TARGET avx512bf16
#define QAT_TARGET_LEVEL 4
QAT_TARGET_AVX512BF16_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_AVX512BF16_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL
#endif
#undef QAT_TARGET_WITH_BF16
#endif

#undef QAT_TARGET_DOT8
#undef QAT_TARGET_BF16
#undef QAT_TARGET_INCLUDE
