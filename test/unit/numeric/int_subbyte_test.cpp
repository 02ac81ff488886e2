// Codes of 1 to 8 bits: every code of every width, signed and unsigned.
#include "qat/numeric/int_subbyte.hpp"

#include <doctest/doctest.h>

namespace {
template <class T>
void check_all_codes() {
  CAPTURE(T::kBits);
  CAPTURE(T::kSigned);
  CHECK(sizeof(T) == 1);
  CHECK(T::kMax - T::kMin == (1 << T::kBits) - 1);
  for (int value = T::kMin; value <= T::kMax; ++value) {
    const T code(value);
    CHECK(code.value() == value);
    CHECK(static_cast<int>(code) == value);
    CHECK(T::from_bits(code.bits()) == code);
    CHECK((code.bits() >> T::kBits) == 0);
    CHECK(T(value + (1 << T::kBits)) == code);  // the low bits count
  }
  CHECK(T().value() == 0);
}
template <int... Bits>
void check_widths() {
  (check_all_codes<qat::Int<Bits>>(), ...);
  (check_all_codes<qat::UInt<Bits>>(), ...);
}
}  // namespace

TEST_CASE("every code of every width comes back, sign-extended") { check_widths<1, 2, 3, 4, 5, 6, 7, 8>(); }

TEST_CASE("names and ranges") {
  static_assert(qat::Int4::kMin == -8 && qat::Int4::kMax == 7 && qat::UInt4::kMax == 15 && qat::Int1::kMin == -1 &&
                qat::Int1::kMax == 0);
  static_assert(qat::Int4(-8).bits() == 8 && qat::Int4(7).value() == 7 && qat::Int4::from_bits(15).value() == -1);
  CHECK(qat::Int3(-1).bits() == 7);
}
