// The bits of one value as another type: std::bit_cast, callable on the device without a compiler flag.
#pragma once

#include <type_traits>

#include "qat/base/config.hpp"

namespace qat::inline v0 {

template <class To, class From>
QAT_HOST_DEVICE constexpr To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From) && std::is_trivially_copyable_v<To> && std::is_trivially_copyable_v<From>,
                "bit_cast: two trivially copyable types of one size");
  return __builtin_bit_cast(To, from);
}

}  // namespace qat::inline v0
