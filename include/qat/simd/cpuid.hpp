// The CPUID instruction of x86-64.
#pragma once

#include "qat/base/config.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
namespace qat::inline v0::detail {

struct CpuidWords {
  std::uint32_t a, b, c, d;
};

/// All zero if the processor does not have the leaf.
inline CpuidWords cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  CpuidWords words{};
  asm volatile("cpuid" : "=a"(words.a), "=b"(words.b), "=c"(words.c), "=d"(words.d) : "0"(leaf & 0x80000000u), "2"(0));
  if (words.a < leaf) return {};
  asm volatile("cpuid" : "=a"(words.a), "=b"(words.b), "=c"(words.c), "=d"(words.d) : "0"(leaf), "2"(subleaf));
  return words;
}

}  // namespace qat::inline v0::detail
#endif
