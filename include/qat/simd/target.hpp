// Which instruction sets kernels are compiled for, and which one runs: header-only run-time dispatch.
//
// A kernel's text lives in a `<name>-inl.hpp` that includes nothing. Its `<name>.hpp` compiles it once per target:
//
//   #define QAT_TARGET_INCLUDE "qat/kernels/cpu/scale-inl.hpp"
//   #include "qat/simd/foreach_target-inl.hpp"
//
// which re-includes the text inside a compiler region of each target, with QAT_TARGET naming the target's namespace. No
// user flag is needed: a plain -O2 build holds AVX-512 code and takes it where the processor has it. The example to
// copy is kernels/cpu/scale.hpp with scale-inl.hpp.
#pragma once

#include <atomic>
#include <cstdlib>

#include "qat/base/check.hpp"
#include "qat/base/config.hpp"

// QAT_HAVE_X86_TARGETS: the compiler can build AVX2 and AVX-512 code in regions of this translation unit.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(QAT_BASELINE_ONLY)
#define QAT_HAVE_X86_TARGETS 1
#if !defined(__clang__)
// As in the regions below.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#else
#define QAT_HAVE_X86_TARGETS 0
#endif

// Regions. Each switches the target on and, under an optimizing g++, -O3 (g++ -O2 leaves loops scalar; a debug or sanitized
// build stays what it was asked to be); fast-math is off in all of them, so that an -Ofast host gets the same bits. Under
// clang a region holds functions only.
#define QAT_PRAGMA(text) _Pragma(#text)
#define QAT_AVX2_FEATURES "avx2,fma,f16c,bmi,bmi2"
#define QAT_AVX512_FEATURES "avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl"
#define QAT_AVX512VNNI_FEATURES "avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
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
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
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
#define QAT_TARGET_AVX512_BEGIN QAT_TARGET_BEGIN(QAT_AVX512_FEATURES)
#define QAT_TARGET_AVX512_END QAT_TARGET_END
#define QAT_TARGET_AVX512VNNI_BEGIN QAT_TARGET_BEGIN(QAT_AVX512VNNI_FEATURES)
#define QAT_TARGET_AVX512VNNI_END QAT_TARGET_END

// QAT_UNROLL(n): unrolls the loop that follows completely, for register tiles; n must not be below its trip count.
#if defined(__clang__)
#define QAT_UNROLL(n) _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define QAT_UNROLL(n) QAT_PRAGMA(GCC unroll n)
#else
#define QAT_UNROLL(n)
#endif

namespace qat::inline v0 {

enum class Target {
  kBaseline,    ///< what the including program is compiled for (x86-64: SSE2); no fused multiply-add is assumed
  kAvx2,        ///< AVX2, FMA, F16C
  kAvx512,      ///< AVX-512 F, BW, DQ, VL
  kAvx512Vnni,  ///< kAvx512 and the int8 dot product; float kernels are those of kAvx512
};

inline constexpr Target kAllTargets[] = {Target::kBaseline, Target::kAvx2, Target::kAvx512, Target::kAvx512Vnni};

constexpr const char* name(Target target) {
  switch (target) {
    case Target::kAvx2:
      return "avx2";
    case Target::kAvx512:
      return "avx512";
    case Target::kAvx512Vnni:
      return "avx512vnni";
    case Target::kBaseline:
      break;
  }
  return "baseline";
}

/// True if this processor (and operating system) can run the target.
inline bool is_supported(Target target) {
#if QAT_HAVE_X86_TARGETS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (target) {
    case Target::kAvx2:
      return avx2;
    case Target::kAvx512:
      return avx512;
    case Target::kAvx512Vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
    case Target::kBaseline:
      break;
  }
#endif
  return target == Target::kBaseline;
}

/// The targets this processor can run, worst first.
struct TargetList {
  Target targets[4] = {};
  int size = 0;
  const Target* begin() const { return targets; }
  const Target* end() const { return targets + size; }
};
inline TargetList supported_targets() {
  TargetList list;
  for (const Target target : kAllTargets)
    if (is_supported(target)) list.targets[list.size++] = target;
  return list;
}

namespace detail {
inline Target checked_target(Target target, const char* who) {
  QAT_CHECK(is_supported(target), kUnsupported, who, ": this processor cannot run target ", name(target),
            ", the best it can is ", name(supported_targets().targets[supported_targets().size - 1]));
  return target;
}

inline Target target_from_environment() {
  const char* wanted = std::getenv("QAT_TARGET");
  const TargetList list = supported_targets();
  if (wanted == nullptr || *wanted == '\0') return list.targets[list.size - 1];
  for (const Target target : kAllTargets)
    if (std::strcmp(wanted, name(target)) == 0) return checked_target(target, "QAT_TARGET");
  raise(ErrorCode::kInvalidArgument, "QAT_TARGET is '", wanted, "', must be baseline, avx2, avx512 or avx512vnni");
}

inline std::atomic<int>& active_target_slot() {
  static std::atomic<int> slot{static_cast<int>(target_from_environment())};
  return slot;
}
}  // namespace detail

/// The target kernels run on: the best supported one, or the one that QAT_TARGET or force_target names.
/// @throws qat::Error at first use if QAT_TARGET names no target (kInvalidArgument) or an unsupported one
/// (kUnsupported)
inline Target active_target() {
  return static_cast<Target>(detail::active_target_slot().load(std::memory_order_relaxed));
}

/// Makes every later kernel call run on `target`, for tests and measurements; returns the target active before.
/// @throws qat::Error (kUnsupported) if the processor cannot run it
inline Target force_target(Target target) {
  return static_cast<Target>(
      detail::active_target_slot().exchange(static_cast<int>(detail::checked_target(target, "force_target"))));
}

/// Forces a target for a scope.
class ScopedTarget {
 public:
  explicit ScopedTarget(Target target) : saved_(force_target(target)) {}
  ScopedTarget(const ScopedTarget&) = delete;
  ScopedTarget& operator=(const ScopedTarget&) = delete;
  ~ScopedTarget() { force_target(saved_); }

 private:
  Target saved_;
};

}  // namespace qat::inline v0

/// Calls namespace_::<target>::call for the active target: QAT_DISPATCH(kernels, scale(x, n)). For kernels that are
/// compiled for baseline, avx2 and avx512; kAvx512Vnni runs the avx512 form.
#if QAT_HAVE_X86_TARGETS
#define QAT_DISPATCH(namespace_, ...)                                                 \
  (::qat::active_target() >= ::qat::Target::kAvx512 ? namespace_::avx512::__VA_ARGS__ \
   : ::qat::active_target() == ::qat::Target::kAvx2 ? namespace_::avx2::__VA_ARGS__   \
                                                    : namespace_::baseline::__VA_ARGS__)
#else
#define QAT_DISPATCH(namespace_, ...) (namespace_::baseline::__VA_ARGS__)
#endif
