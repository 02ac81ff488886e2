// Mean negative log-likelihood of target tokens, with its gradient.
#pragma once

#include "qat/kernels/cpu/softmax_cross_entropy.hpp"
#include "qat/ops/grad_mode.hpp"

namespace qat::inline v0::ops {

inline constexpr std::int32_t kIgnoreIndex = -100;  ///< torch's default

struct CrossEntropyResult {
  double sum = 0.0;     ///< nats, over the targets that count
  index_t targets = 0;  ///< how many count
  /// Mean over the targets that count; 0 / 0 = NaN if none does, as in torch.
  float mean() const { return static_cast<float>(sum / static_cast<double>(targets)); }
};

/// Checks that every target is ignore_index or in [0, vocabulary) and returns how many are not ignored.
inline index_t count_targets(View<const std::int32_t, 1> targets, index_t vocabulary, std::int32_t ignore_index) {
  index_t count = 0;
  for (index_t i = 0; i < targets.shape[0]; ++i) {
    if (targets[i] == ignore_index) continue;
    QAT_CHECK(targets[i] >= 0 && targets[i] < vocabulary, kInvalidArgument, "softmax_cross_entropy: target ",
              targets[i], " at position ", i, ", must be in [0, ", vocabulary, ") or ", ignore_index);
    ++count;
  }
  return count;
}

/// losses[r] = -log softmax(logits[r])[targets[r]] in nats, 0 where the target is ignore_index; returns sum and count.
///
/// Shapes:   logits (N, V), targets (N), losses (N)
/// Special:  any finite logits are safe (the row's maximum is subtracted); NaN logits give NaN
inline CrossEntropyResult softmax_cross_entropy(const CpuBackend& backend, View<const float, 2> logits,
                                                View<const std::int32_t, 1> targets, View<float, 1> losses,
                                                std::int32_t ignore_index = kIgnoreIndex) {
  const index_t rows = logits.shape[0], cols = logits.shape[1];
  detail::check_rows("softmax_cross_entropy", "logits", logits, rows, cols);
  detail::check_vector("softmax_cross_entropy", "targets", targets, rows);
  detail::check_vector("softmax_cross_entropy", "losses", losses, rows);
  CrossEntropyResult result;
  result.targets = count_targets(targets, cols, ignore_index);
  kernels::softmax_cross_entropy(backend, logits.data, targets.data, rows, cols, ignore_index, 0.0f, losses.data,
                                 nullptr);
  for (index_t r = 0; r < rows; ++r) result.sum += static_cast<double>(losses[r]);
  return result;
}

/// dlogits = dloss / (number of targets that count) * (softmax(logits) - onehot(targets)), 0 in ignored rows: the
/// gradient of the mean. Overwrites; dlogits may be logits.
inline void softmax_cross_entropy_backward(const CpuBackend& backend, View<const float, 2> logits,
                                           View<const std::int32_t, 1> targets, float dloss, View<float, 2> dlogits,
                                           std::int32_t ignore_index = kIgnoreIndex) {
  const index_t rows = logits.shape[0], cols = logits.shape[1];
  detail::check_rows("softmax_cross_entropy_backward", "logits", logits, rows, cols);
  detail::check_rows("softmax_cross_entropy_backward", "dlogits", dlogits, rows, cols);
  detail::check_vector("softmax_cross_entropy_backward", "targets", targets, rows);
  const index_t count = count_targets(targets, cols, ignore_index);
  const float factor = count == 0 ? 0.0f : dloss / static_cast<float>(count);
  kernels::softmax_cross_entropy(backend, logits.data, targets.data, rows, cols, ignore_index, factor, nullptr,
                                 dlogits.data);
}

}  // namespace qat::inline v0::ops
