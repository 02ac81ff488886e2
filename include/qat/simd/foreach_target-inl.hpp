// Compiles the file QAT_TARGET_INCLUDE once per target: see simd/target.hpp. Meant to be included many times.
//
// Defined while the file is read:
//   QAT_TARGET          namespace of the target: baseline, avx2, avx512 or avx512vnni
//   QAT_TARGET_LEVEL    0, 1, 2 or 3 in that order
// avx512vnni is compiled only if QAT_TARGET_WITH_VNNI is defined before. Both macros are undefined at the end.
#ifndef QAT_TARGET_INCLUDE
#error "define QAT_TARGET_INCLUDE as the quoted name of the -inl file, then include this file"
#endif

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

#ifdef QAT_TARGET_WITH_VNNI
#define QAT_TARGET avx512vnni
#define QAT_TARGET_LEVEL 3
QAT_TARGET_AVX512VNNI_BEGIN
#include QAT_TARGET_INCLUDE
QAT_TARGET_AVX512VNNI_END
#undef QAT_TARGET
#undef QAT_TARGET_LEVEL
#endif
#endif

#undef QAT_TARGET_INCLUDE
#undef QAT_TARGET_WITH_VNNI
