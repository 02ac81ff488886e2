// half: IEEE binary16. Bits as CUDA's __half and torch.float16.
#pragma once

#include "qat/numeric/minifloat.hpp"

namespace qat::inline v0 {

/// 1 sign, 5 exponent, 10 mantissa bits; 11 significant bits, largest finite value 65504.
using half = numeric::Minifloat<numeric::MinifloatFormat<5, 10, numeric::Overflow::kInfinity>, std::uint16_t>;
static_assert(sizeof(half) == 2, "half must be 2 bytes");

}  // namespace qat::inline v0
