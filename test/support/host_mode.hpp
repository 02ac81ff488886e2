// A host program that changed the floating-point mode: what frameworks and -Ofast start-up code do.
#pragma once

#include <cfenv>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace qat::test {

/// Rounds upward and, on x86, flushes subnormals and takes them as zero, until destroyed.
class HostMode {
 public:
  HostMode() {
    std::fesetround(FE_UPWARD);
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040u);
#endif
  }
  HostMode(const HostMode&) = delete;
  HostMode& operator=(const HostMode&) = delete;
  ~HostMode() {
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() & ~0x8040u);
#endif
    std::fesetround(FE_TONEAREST);
  }
};

/// True if fp32 arithmetic rounds to nearest. (std::fegetround may report another unit's mode: x87's on x86-64.)
inline bool rounds_to_nearest() {
  volatile float one = 1.0f, little = 0x1p-30f;
  const float up = one + little, down = -one - little;
  return up == 1.0f && down == -1.0f;
}

}  // namespace qat::test
