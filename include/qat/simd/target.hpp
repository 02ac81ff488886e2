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
#include <cstring>
#include <iterator>
#include <string>

#include "qat/base/check.hpp"
#include "qat/simd/cpuid.hpp"
#include "qat/simd/region.hpp"

#if QAT_HAVE_ARM_TARGETS && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace qat::inline v0 {

enum class Target {
  /// What the including program is compiled for. x86-64: SSE2, and no fused multiply-add is assumed. AArch64: NEON
  /// with its fused multiply-add, which every such processor has, so a plainer baseline could never be chosen.
  kBaseline,
  kAvx2,        ///< AVX2, FMA, F16C
  kAvx2Vnni,    ///< kAvx2 and the int8 dot product of 256 bits (AVX-VNNI)
  kAvx512,      ///< AVX-512 F, BW, DQ, VL
  kAvx512Vnni,  ///< kAvx512 and the int8 dot product
  kAvx512Bf16,  ///< kAvx512Vnni and the bf16 dot product
  kNeonDot,     ///< AArch64 with the dot product of signed bytes (dotprod)
  kNeonI8mm,    ///< kNeonDot and the dot product of unsigned by signed bytes (i8mm)
};

/// Worst first, where a processor can run several.
inline constexpr Target kAllTargets[] = {Target::kBaseline, Target::kAvx2,       Target::kAvx2Vnni,
                                         Target::kAvx512,   Target::kAvx512Vnni, Target::kAvx512Bf16,
                                         Target::kNeonDot,  Target::kNeonI8mm};

constexpr const char* name(Target target) {
  switch (target) {
    case Target::kAvx2:
      return "avx2";
    case Target::kAvx2Vnni:
      return "avx2vnni";
    case Target::kAvx512:
      return "avx512";
    case Target::kAvx512Vnni:
      return "avx512vnni";
    case Target::kAvx512Bf16:
      return "avx512bf16";
    case Target::kNeonDot:
      return "neondot";
    case Target::kNeonI8mm:
      return "neoni8mm";
    case Target::kBaseline:
      break;
  }
  return "baseline";
}

/// True if the target's code is in this program: targets of another architecture are not.
constexpr bool is_compiled(Target target) {
  if (target == Target::kBaseline) return true;
  return target >= Target::kNeonDot ? QAT_HAVE_ARM_TARGETS != 0 : QAT_HAVE_X86_TARGETS != 0;
}

/// True if mul_add of simd/vec.hpp rounds once on the target.
constexpr bool has_fused_multiply_add(Target target) { return target != Target::kBaseline || QAT_HAVE_NEON != 0; }

/// True if this processor (and operating system) can run the target.
inline bool is_supported(Target target) {
#if defined(QAT_X86_EMULATION)
  return is_compiled(target);
#elif QAT_HAVE_X86_TARGETS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  // Leaf 7, subleaf 1, EAX: bit 4 AVX-VNNI, bit 5 AVX512-BF16. Not every __builtin_cpu_supports knows them.
  const std::uint32_t extended = detail::cpuid(7).a >= 1 ? detail::cpuid(7, 1).a : 0;
  switch (target) {
    case Target::kAvx2:
      return avx2;
    case Target::kAvx2Vnni:
      return avx2 && (extended >> 4 & 1) != 0;
    case Target::kAvx512:
      return avx512;
    case Target::kAvx512Vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
    case Target::kAvx512Bf16:
      return avx512 && __builtin_cpu_supports("avx512vnni") && (extended >> 5 & 1) != 0;
    default:
      break;
  }
#elif QAT_HAVE_ARM_TARGETS && defined(__linux__)
  const bool dot = (getauxval(AT_HWCAP) >> 20 & 1) != 0;           // HWCAP_ASIMDDP
  const bool i8mm = dot && (getauxval(AT_HWCAP2) >> 13 & 1) != 0;  // HWCAP2_I8MM
  if (target == Target::kNeonDot) return dot;
  if (target == Target::kNeonI8mm) return i8mm;
#endif
  return target == Target::kBaseline;
}

/// The targets this processor can run, worst first.
struct TargetList {
  Target targets[std::size(kAllTargets)] = {};
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
  std::string names;
  for (const Target target : kAllTargets) names += (names.empty() ? "" : ", ") + std::string(name(target));
  raise(ErrorCode::kInvalidArgument, "QAT_TARGET is '", wanted, "', must be one of ", names);
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

// Calls the form of a kernel that the active target runs: QAT_DISPATCH(kernels, scale(x, n)) is
// kernels::<form>::scale(x, n). Which macro says which forms the kernel has (simd/foreach_target-inl.hpp); every target
// falls back to the next lower form, int8 kernels of avx512bf16 to those of avx512vnni.
//   QAT_DISPATCH        baseline, avx2, avx512; baseline on AArch64
//   QAT_DISPATCH_DOT8   and those of QAT_TARGET_WITH_DOT8
//   QAT_DISPATCH_BF16   and those of QAT_TARGET_WITH_BF16
// QAT_ALIAS_DOT_TARGETS, in a namespace of text without dot products (simd/vec.hpp): what kernels with a form for a dot
// product find there is the text of the target below.
#if QAT_HAVE_X86_TARGETS
#define QAT_ALIAS_DOT_TARGETS    \
  namespace avx2vnni = avx2;     \
  namespace avx512vnni = avx512; \
  namespace avx512bf16 = avx512;
#define QAT_DISPATCH(namespace_, ...)                                                 \
  (::qat::active_target() >= ::qat::Target::kAvx512 ? namespace_::avx512::__VA_ARGS__ \
   : ::qat::active_target() >= ::qat::Target::kAvx2 ? namespace_::avx2::__VA_ARGS__   \
                                                    : namespace_::baseline::__VA_ARGS__)
#define QAT_DISPATCH_DOT8(namespace_, ...)                                                    \
  (::qat::active_target() >= ::qat::Target::kAvx512Vnni ? namespace_::avx512vnni::__VA_ARGS__ \
   : ::qat::active_target() == ::qat::Target::kAvx2Vnni ? namespace_::avx2vnni::__VA_ARGS__   \
                                                        : QAT_DISPATCH(namespace_, __VA_ARGS__))
#define QAT_DISPATCH_BF16(namespace_, ...)                                                    \
  (::qat::active_target() >= ::qat::Target::kAvx512Bf16 ? namespace_::avx512bf16::__VA_ARGS__ \
                                                        : QAT_DISPATCH(namespace_, __VA_ARGS__))
#elif QAT_HAVE_ARM_TARGETS
#define QAT_ALIAS_DOT_TARGETS   \
  namespace neondot = baseline; \
  namespace neoni8mm = baseline;
#define QAT_DISPATCH(namespace_, ...) (namespace_::baseline::__VA_ARGS__)
#define QAT_DISPATCH_DOT8(namespace_, ...)                                                 \
  (::qat::active_target() == ::qat::Target::kNeonI8mm  ? namespace_::neoni8mm::__VA_ARGS__ \
   : ::qat::active_target() == ::qat::Target::kNeonDot ? namespace_::neondot::__VA_ARGS__  \
                                                       : namespace_::baseline::__VA_ARGS__)
#define QAT_DISPATCH_BF16(namespace_, ...) (namespace_::baseline::__VA_ARGS__)
#else
#define QAT_ALIAS_DOT_TARGETS
#define QAT_DISPATCH(namespace_, ...) (namespace_::baseline::__VA_ARGS__)
#define QAT_DISPATCH_DOT8(namespace_, ...) (namespace_::baseline::__VA_ARGS__)
#define QAT_DISPATCH_BF16(namespace_, ...) (namespace_::baseline::__VA_ARGS__)
#endif
