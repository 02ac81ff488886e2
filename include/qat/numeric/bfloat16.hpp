// bfloat16: the upper half of fp32. Bits as CUDA's __nv_bfloat16 and torch.bfloat16.
#pragma once

#include "qat/numeric/minifloat.hpp"

namespace qat::inline v0 {

/// 1 sign, 8 exponent, 7 mantissa bits; 8 significant bits, the range of fp32.
using bfloat16 = numeric::Minifloat<numeric::MinifloatFormat<8, 7, numeric::Overflow::kInfinity>, std::uint16_t>;
static_assert(sizeof(bfloat16) == 2, "bfloat16 must be 2 bytes");

}  // namespace qat::inline v0
