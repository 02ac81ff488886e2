// One program, many copies of the library: two translation units, one of them built for a careless host (-Ofast), one
// for this very machine, and shared libraries. All must agree bit for bit, also while the host flushes subnormals.
#include <cstdint>
#include <cstdio>
#include <vector>

#if defined(__SSE__)
#include <immintrin.h>
#endif

using Bits = std::vector<std::uint32_t>;
void probe_default(Bits&);
void probe_fast_math(Bits&);
void probe_native(Bits&);
void probe_shared_default(Bits&);
void probe_shared_fast_math(Bits&);
void probe_shared_native(Bits&);

namespace {

int failures = 0;

void compare(const char* name, void (*probe)(Bits&), const Bits& expected) {
  Bits bits;
  probe(bits);
  std::size_t differing = bits.size() == expected.size() ? 0 : expected.size() + 1, first = 0;
  for (std::size_t i = 0; i < bits.size() && i < expected.size(); ++i)
    if (bits[i] != expected[i] && differing++ == 0) first = i;
  if (differing != 0 || bits.empty()) {
    ++failures;
    std::printf("FAILED: odr: %s: %zu of %zu values differ, the first at %zu\n", name, differing, expected.size(),
                first);
  } else {
    std::printf("PASSED: odr: %s\n", name);
  }
}

void compare_all(const char* mode, const Bits& expected) {
  std::printf("host mode: %s\n", mode);
  compare("translation unit, -O2", probe_default, expected);
  compare("translation unit, -Ofast", probe_fast_math, expected);
  compare("translation unit, -march=native", probe_native, expected);
  compare("shared library, -O2", probe_shared_default, expected);
  compare("shared library, -Ofast", probe_shared_fast_math, expected);
  compare("shared library, -march=native", probe_shared_native, expected);
}

}  // namespace

int main() {
#if defined(__SSE__)
  _mm_setcsr(0x1F80);  // a library linked with -Ofast may have switched flushing on at start
#endif
  Bits expected;
  probe_shared_default(expected);
  compare_all("default", expected);
#if defined(__SSE__)
  _mm_setcsr(0x1F80 | 0x8040);
  compare_all("subnormals flushed", expected);
  _mm_setcsr(0x1F80 | 0x6000);
  compare_all("rounding toward zero", expected);
#endif
  return failures != 0;
}
