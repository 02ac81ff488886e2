// Language and compiler facts: the only file that asks which compiler reads us.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(_MSVC_LANG) ? _MSVC_LANG < 202002L : __cplusplus < 202002L
#error "qat needs C++20: compile with -std=c++20 or newer"
#endif

#if defined(__CUDACC__)
#pragma nv_diag_suppress 1675  // nvcc's front end warns of pragmas that it hands on to the host's compiler
#define QAT_HOST_DEVICE __host__ __device__
#else
#define QAT_HOST_DEVICE
#endif

#if defined(__GNUC__) || defined(__clang__)
#define QAT_INLINE inline __attribute__((always_inline))
#define QAT_INLINE_LAMBDA __attribute__((always_inline))  // after a lambda's parameters
#define QAT_NOINLINE __attribute__((noinline))
#define QAT_RESTRICT __restrict__
#else
#define QAT_INLINE inline
#define QAT_INLINE_LAMBDA
#define QAT_NOINLINE
#define QAT_RESTRICT
#endif

// QAT_ADDRESS_SANITIZER, QAT_THREAD_SANITIZER: defined in a program built with it, by either compiler.
#if defined(__SANITIZE_ADDRESS__)
#define QAT_ADDRESS_SANITIZER 1
#endif
#if defined(__SANITIZE_THREAD__)
#define QAT_THREAD_SANITIZER 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(QAT_ADDRESS_SANITIZER)
#define QAT_ADDRESS_SANITIZER 1
#endif
#if __has_feature(thread_sanitizer) && !defined(QAT_THREAD_SANITIZER)
#define QAT_THREAD_SANITIZER 1
#endif
#endif

// QAT_EXACT_BEGIN / QAT_EXACT_END: a region whose floating-point arithmetic means what it says even when the including
// program is built with -Ofast: no reassociation, no reciprocal estimates, no contraction, NaN and signed zeros kept.
// Every header that defines quantization arithmetic is wrapped in it. (The rounding mode and flush-to-zero are run-time
// state: backend/float_mode.hpp.)
#if defined(__clang__) && defined(__aarch64__) && __clang_major__ < 15  // has no float_control there
#if defined(__FAST_MATH__)
#error "clang before 15 cannot switch fast-math off for a part of a program on AArch64: build without -ffast-math"
#endif
#define QAT_EXACT_BEGIN _Pragma("clang fp contract(off)")
#define QAT_EXACT_END
#elif defined(__clang__)
#define QAT_EXACT_BEGIN _Pragma("float_control(precise, on, push)") _Pragma("clang fp contract(off)")
#define QAT_EXACT_END _Pragma("float_control(pop)")
#elif defined(__GNUC__)
#define QAT_EXACT_BEGIN \
  _Pragma("GCC push_options") _Pragma("GCC optimize(\"no-fast-math\")") _Pragma("GCC optimize(\"fp-contract=off\")")
#define QAT_EXACT_END _Pragma("GCC pop_options")
#else
#define QAT_EXACT_BEGIN
#define QAT_EXACT_END
#endif

// QAT_INSTANCE(declaration of a template's instance): a kernel that can be compiled once for a whole program. In a file
// built with QAT_COMPILE_KERNELS (kernels/instances.cpp) it is that instance; with QAT_COMPILED_KERNELS (users of the
// Meson or pkg-config dependency qat-kernels) it leaves the instance to that file; else nothing: qat is header-only.
#if defined(QAT_COMPILE_KERNELS)
#define QAT_INSTANCE(...) template __VA_ARGS__
#elif defined(QAT_COMPILED_KERNELS)
#define QAT_INSTANCE(...) extern template __VA_ARGS__
#else
#define QAT_INSTANCE(...) static_assert(true, "a semicolon follows")
#endif

namespace qat::inline v0 {

/// Sizes, indices and strides, in elements unless a name says bytes. Signed, so that differences are safe.
using index_t = std::ptrdiff_t;

}  // namespace qat::inline v0
