// Quantized integers of 1 to 8 bits. They are codes, not numbers: no arithmetic, explicit conversion.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

/// A code of Bits bits in one byte (packed storage is a matter of layouts, tensor/packed_view.hpp and pack/).
/// Range: signed [-2^(Bits-1), 2^(Bits-1)-1], unsigned [0, 2^Bits-1]. Construction keeps the low Bits bits.
template <int Bits, bool Signed>
struct SubbyteInt {
  static_assert(Bits >= 1 && Bits <= 8, "SubbyteInt holds 1 to 8 bits");
  static constexpr int kBits = Bits;
  static constexpr bool kSigned = Signed;
  static constexpr int kMin = Signed ? -(1 << (Bits - 1)) : 0;
  static constexpr int kMax = Signed ? (1 << (Bits - 1)) - 1 : (1 << Bits) - 1;

  constexpr SubbyteInt() = default;
  QAT_HOST_DEVICE constexpr explicit SubbyteInt(int value) : bits_(static_cast<std::uint8_t>(value & kMask)) {}
  QAT_HOST_DEVICE static constexpr SubbyteInt from_bits(std::uint32_t bits) {
    return SubbyteInt(static_cast<int>(bits));
  }

  /// The code as an integer (sign-extended).
  QAT_HOST_DEVICE constexpr int value() const {
    return Signed && (bits_ >> (Bits - 1)) != 0 ? static_cast<int>(bits_) - (1 << Bits) : static_cast<int>(bits_);
  }
  QAT_HOST_DEVICE constexpr explicit operator int() const { return value(); }
  /// The Bits low bits, two's complement.
  QAT_HOST_DEVICE constexpr std::uint8_t bits() const { return bits_; }
  friend constexpr bool operator==(SubbyteInt, SubbyteInt) = default;

 private:
  static constexpr int kMask = (1 << Bits) - 1;
  std::uint8_t bits_ = 0;
};

template <int Bits>
using Int = SubbyteInt<Bits, true>;
template <int Bits>
using UInt = SubbyteInt<Bits, false>;

using Int1 = Int<1>;
using Int2 = Int<2>;
using Int3 = Int<3>;
using Int4 = Int<4>;
using Int5 = Int<5>;
using Int6 = Int<6>;
using Int7 = Int<7>;
using Int8 = Int<8>;
using UInt1 = UInt<1>;
using UInt2 = UInt<2>;
using UInt3 = UInt<3>;
using UInt4 = UInt<4>;
using UInt5 = UInt<5>;
using UInt6 = UInt<6>;
using UInt7 = UInt<7>;
using UInt8 = UInt<8>;

}  // namespace qat::inline v0
