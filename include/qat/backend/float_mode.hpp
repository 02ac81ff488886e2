// The floating-point control word during qat's arithmetic: round to nearest even, nothing flushed to zero.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

/// Puts the calling thread into the default floating-point mode (round to nearest even, subnormals kept) and restores
/// the caller's mode on destruction. Frameworks and -Ofast hosts flush subnormals, which would change codes and scales.
/// Sticky exception flags are left as the arithmetic inside set them. Does nothing on processors it does not know.
class ScopedFloatMode {
 public:
  ScopedFloatMode() : saved_(read()) {
    const Word wanted = static_cast<Word>((saved_ & ~kControl) | kDefault);
    if (wanted != saved_) write(wanted);
  }
  ScopedFloatMode(const ScopedFloatMode&) = delete;
  ScopedFloatMode& operator=(const ScopedFloatMode&) = delete;
  ~ScopedFloatMode() {
    const Word now = read();
    const Word wanted = static_cast<Word>((now & ~kControl) | (saved_ & kControl));
    if (wanted != now) write(wanted);
  }

 private:
#if defined(__x86_64__) || defined(__SSE__)
  using Word = unsigned;
  static constexpr Word kControl = 0x8000u | 0x6000u | 0x0040u;  // MXCSR: flush to zero, rounding, denormals are zero
  static constexpr Word kDefault = 0;
  static Word read() {
    asm volatile("" ::: "memory");  // keeps memory operations, and with them the arithmetic, on their side
    return __builtin_ia32_stmxcsr();
  }
  static void write(Word word) {
    __builtin_ia32_ldmxcsr(word);
    asm volatile("" ::: "memory");
  }
#elif defined(__aarch64__)
  using Word = std::uint64_t;
  // FPCR: AHP (alternative half precision), DN (one NaN for all), FZ, RMode, FZ16; NEP, AH, FIZ.
  static constexpr Word kControl = (Word{0x1F} << 22) | (Word{1} << 19) | Word{7};
  static constexpr Word kDefault = 0;
  static Word read() {
    Word word;
    asm volatile("mrs %0, fpcr" : "=r"(word)::"memory");
    return word;
  }
  static void write(Word word) { asm volatile("msr fpcr, %0" ::"r"(word) : "memory"); }
#else
  using Word = unsigned;
  static constexpr Word kControl = 0;
  static constexpr Word kDefault = 0;
  static Word read() { return 0; }
  static void write(Word) {}
#endif

  Word saved_;
};

}  // namespace qat::inline v0
