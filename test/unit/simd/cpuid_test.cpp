// CPUID: leaves the processor has, and one it does not have.
#include "qat/simd/cpuid.hpp"

#include <doctest/doctest.h>

#if defined(__x86_64__)
TEST_CASE("CPUID gives the number of leaves and the vendor, and zeros for a leaf the processor lacks") {
  const qat::detail::CpuidWords first = qat::detail::cpuid(0);
  CHECK(first.a >= 1);
  CHECK((first.b | first.c | first.d) != 0);
  CHECK(qat::detail::cpuid(0x80000000u).a >= 0x80000000u);
  const qat::detail::CpuidWords none = qat::detail::cpuid(first.a + 1000, 3);
  CHECK((none.a | none.b | none.c | none.d) == 0);
}
#endif
