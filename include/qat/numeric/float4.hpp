// The 4- and 6-bit floats of the OCP microscaling formats, one code in the low bits of a byte.
#pragma once

#include "qat/numeric/minifloat.hpp"

namespace qat::inline v0 {

/// 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; saturates; no NaN.
using float4_e2m1 = numeric::Minifloat<numeric::MinifloatFormat<2, 1, numeric::Overflow::kSaturateNoNan>, std::uint8_t>;
/// Largest 7.5; saturates; no NaN.
using float6_e2m3 = numeric::Minifloat<numeric::MinifloatFormat<2, 3, numeric::Overflow::kSaturateNoNan>, std::uint8_t>;
/// Largest 28; saturates; no NaN.
using float6_e3m2 = numeric::Minifloat<numeric::MinifloatFormat<3, 2, numeric::Overflow::kSaturateNoNan>, std::uint8_t>;

}  // namespace qat::inline v0
