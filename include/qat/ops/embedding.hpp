// Table look-up and its gradient.
#pragma once

#include <cstring>

#include "qat/backend/cpu.hpp"
#include "qat/base/aligned.hpp"
#include "qat/ops/grad_mode.hpp"

namespace qat::inline v0::ops {

/// @throws qat::Error (kInvalidArgument) naming the first token outside [0, vocabulary)
inline void check_tokens(const char* op, View<const std::int32_t, 1> tokens, index_t vocabulary) {
  for (index_t i = 0; i < tokens.shape[0]; ++i)
    QAT_CHECK(tokens[i] >= 0 && tokens[i] < vocabulary, kInvalidArgument, op, ": token ", tokens[i], " at position ", i,
              ", must be in [0, ", vocabulary, ")");
}

/// y[i] = weight[tokens[i]].   weight (V, C), tokens (N), y (N, C)
inline void embedding(const CpuBackend& backend, View<const float, 2> weight, View<const std::int32_t, 1> tokens,
                      View<float, 2> y) {
  const index_t rows = tokens.shape[0], cols = weight.shape[1];
  detail::check_rows("embedding", "weight", weight, weight.shape[0], cols);
  detail::check_rows("embedding", "y", y, rows, cols);
  check_tokens("embedding", tokens, weight.shape[0]);
  constexpr index_t kRows = 256;
  backend.parallel_for((rows + kRows - 1) / kRows, [&](index_t chunk) {
    const index_t end = (chunk + 1) * kRows < rows ? (chunk + 1) * kRows : rows;
    for (index_t r = chunk * kRows; r < end; ++r)
      std::memcpy(y.data + r * cols, weight.data + tokens[r] * cols, static_cast<std::size_t>(cols) * sizeof(float));
  });
}

/// dweight[v] (+)= sum of dy[i] over the positions i with tokens[i] == v, in ascending order of i.
/// Deterministic without atomics: positions are sorted by token (counting sort), each token's row is summed by one
/// thread.
inline void embedding_backward(const CpuBackend& backend, View<const std::int32_t, 1> tokens, View<const float, 2> dy,
                               View<float, 2> dweight, GradMode mode) {
  if (mode == GradMode::kSkip) return;
  const index_t rows = tokens.shape[0], cols = dweight.shape[1], vocabulary = dweight.shape[0];
  detail::check_rows("embedding_backward", "dy", dy, rows, cols);
  detail::check_rows("embedding_backward", "dweight", dweight, vocabulary, cols);
  check_tokens("embedding_backward", tokens, vocabulary);
  AlignedBuffer<index_t> start(vocabulary + 1), order(rows);
  for (index_t v = 0; v <= vocabulary; ++v) start[v] = 0;
  for (index_t i = 0; i < rows; ++i) ++start[tokens[i] + 1];
  for (index_t v = 0; v < vocabulary; ++v) start[v + 1] += start[v];
  for (index_t i = 0; i < rows; ++i) order[start[tokens[i]]++] = i;  // start[v] becomes the end of v's positions
  constexpr index_t kTokens = 64;
  backend.parallel_for((vocabulary + kTokens - 1) / kTokens, [&](index_t chunk) {
    const index_t end = (chunk + 1) * kTokens < vocabulary ? (chunk + 1) * kTokens : vocabulary;
    for (index_t v = chunk * kTokens; v < end; ++v) {
      float* target = dweight.data + v * cols;
      if (mode == GradMode::kOverwrite)
        for (index_t c = 0; c < cols; ++c) target[c] = 0.0f;
      for (index_t i = v == 0 ? 0 : start[v - 1]; i < start[v]; ++i) {
        const float* source = dy.data + order[i] * cols;
        for (index_t c = 0; c < cols; ++c) target[c] += source[c];
      }
    }
  });
}

}  // namespace qat::inline v0::ops
