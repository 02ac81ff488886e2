// The functions of feed-forward blocks.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

enum class Activation {
  kSilu,      ///< g sigmoid(g)
  kGeluTanh,  ///< g sigmoid(2 t), t = sqrt(2 / pi) (g + 0.044715 g^3): the tanh form of GELU.   Hendrycks, Gimpel 2016
};

namespace kernels {
inline constexpr float kGeluTwoSlope = 1.5957691216f, kGeluCubic = 0.044715f;  // 2 sqrt(2 / pi)
}

}  // namespace qat::inline v0
