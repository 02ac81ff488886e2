// The numbers of one AdamW step, for the kernels of every backend.
#pragma once

#include <cmath>

#include "qat/base/config.hpp"

namespace qat::inline v0::kernels {

/// Numbers of one AdamW step, computed in double and rounded once, as torch does.
struct AdamWFactors {
  float decay;  ///< 1 - lr * weight_decay
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float step_size;        ///< lr / (1 - beta1^t)
  float sqrt_correction;  ///< sqrt(1 - beta2^t)
  float eps;
};

/// Those of step t = 1, 2, ...
inline AdamWFactors adamw_factors(double lr, double beta1, double beta2, double eps, double weight_decay,
                                  std::int64_t t) {
  const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(t));
  const double correction2 = 1.0 - std::pow(beta2, static_cast<double>(t));
  return {static_cast<float>(1.0 - lr * weight_decay),
          static_cast<float>(1.0 - beta1),
          static_cast<float>(beta2),
          static_cast<float>(1.0 - beta2),
          static_cast<float>(lr / correction1),
          static_cast<float>(std::sqrt(correction2)),
          static_cast<float>(eps)};
}

}  // namespace qat::inline v0::kernels
