// Integer matrix product of packed weights, the slow and obvious form: what every fast one must equal.
#pragma once

#include "qat/pack/packed_weight.hpp"

namespace qat::inline v0::kernels {

/// Rows of int8 codes with a scale and a zero point per row (per token): x[m,k] = (codes[m,k] - zero_points[m]) *
/// scales[m]; or without zero points and with a scale for every scale_columns columns.
struct QuantizedActivations {
  const std::int8_t* codes = nullptr;         ///< (M, K)
  index_t stride = 0;                         ///< elements from row to row
  const float* scales = nullptr;              ///< (M), or (M, groups())
  const std::int32_t* zero_points = nullptr;  ///< (M), in [-128, 127]; null: all zero
  index_t scale_columns = 0;                  ///< columns that share a scale; 0: all of a row
  index_t groups(index_t columns) const {
    return scale_columns == 0 ? 1 : (columns + scale_columns - 1) / scale_columns;
  }
};

/// A group of more columns is summed in runs of this many, so that no partial sum leaves int32:
/// |(qa - za) * (qw - zw)| <= 255 * 255, and 255 * 255 * 16384 < 2^30.
inline constexpr index_t kLongestRun = 16384;

namespace reference {

QAT_EXACT_BEGIN

/// C[m,n] = sum over the weight's groups (and runs) g, ascending, of fma(scale_w[n,g], float(P), acc) from acc = 0,
/// then times scale_a[m], then + bias[n]; P = sum_{k in g} (qa - za) * (qw - zw), exact. Groups of activations cut
/// those of the weight, and the factor of each part is scale_w[n,g] * scale_a[m,g], rounded, in place of scale_w[n,g]
/// (ggml's product of Q8_0 rows; of two halves it is exact).
inline void qgemm(index_t M, const QuantizedActivations& x, const PackedWeight& w, float* C, index_t ldc,
                  const float* bias = nullptr) {
  const index_t K = w.columns(), x_groups = x.groups(K), x_columns = x.scale_columns;
  for (index_t m = 0; m < M; ++m) {
    const int za = x.zero_points == nullptr ? 0 : x.zero_points[m];
    for (index_t n = 0; n < w.rows(); ++n) {
      float acc = 0.0f;
      for (index_t k = 0; k < K;) {
        const index_t group = w.group_of(n, k), begin = k;
        const int zw = static_cast<int>(w.zero_point(group));
        std::int32_t partial = 0;
        for (; k < K && w.group_of(n, k) == group && k - begin < kLongestRun &&
               (x_columns == 0 || k / x_columns == begin / x_columns);
             ++k)
          partial += (x.codes[m * x.stride + k] - za) * (w.code(n, k) - zw);
        const float own = x_columns == 0 ? 1.0f : x.scales[m * x_groups + begin / x_columns];
        acc = __builtin_fmaf(w.scale(group) * own, static_cast<float>(partial), acc);
      }
      float y = x_columns == 0 ? acc * x.scales[m] : acc;
      if (bias != nullptr) y += bias[n];
      C[m * ldc + n] = y;
    }
  }
}

QAT_EXACT_END

}  // namespace reference
}  // namespace qat::inline v0::kernels
