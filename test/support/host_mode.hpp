// A host program that changed the floating-point mode: what frameworks and -Ofast start-up code do.
#pragma once

#include <cfenv>
#include <cstdint>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace qat::test {

/// Rounds as told and, unless told not to, flushes subnormals and takes them as zero; the mode before comes back on
/// destruction.
class HostMode {
 public:
  explicit HostMode(int rounding = FE_UPWARD, bool flush = true) : rounding_(std::fegetround()), word_(read()) {
    std::fesetround(rounding);
    if (flush) write(read() | kFlush);
  }
  HostMode(const HostMode&) = delete;
  HostMode& operator=(const HostMode&) = delete;
  ~HostMode() {
    std::fesetround(rounding_);
    write(word_);
  }

 private:
#if defined(__SSE__)
  using Word = unsigned;
  static constexpr Word kFlush = 0x8040u;  // MXCSR: flush to zero, denormals are zero
  static Word read() { return _mm_getcsr(); }
  static void write(Word word) { _mm_setcsr(word); }
#elif defined(__aarch64__)
  using Word = std::uint64_t;
  static constexpr Word kFlush = Word{1} << 24 | Word{1} << 25;  // FPCR: FZ, and DN (one NaN for all)
  static Word read() {
    Word word;
    asm volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void write(Word word) { asm volatile("msr fpcr, %0" ::"r"(word)); }
#else
  using Word = unsigned;
  static constexpr Word kFlush = 0;
  static Word read() { return 0; }
  static void write(Word) {}
#endif

  int rounding_;
  Word word_;
};

/// True if fp32 arithmetic rounds to nearest. (std::fegetround may report another unit's mode: x87's on x86-64.)
inline bool rounds_to_nearest() {
  volatile float one = 1.0f, little = 0x1p-30f;
  const float up = one + little, down = -one - little;
  return up == 1.0f && down == -1.0f;
}

}  // namespace qat::test
