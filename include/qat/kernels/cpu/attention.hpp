// Causal attention with grouped queries, forward and backward, on raw pointers.
#pragma once

#include "qat/backend/cpu.hpp"
#include "qat/base/aligned.hpp"
#include "qat/simd/math.hpp"

namespace qat::inline v0::kernels {

/// Pointers of one (sequence, key/value head). q, out, dq, dout are at the group's first head.
struct AttentionHead {
  const float* q;  // (Tq, group, D), token stride q_stride
  const float* k;  // (Tk, D), token stride kv_stride
  const float* v;  // (Tk, D), token stride kv_stride
  index_t q_stride, kv_stride, stat_stride;
  index_t query_tokens, key_tokens, group, head_dim;
  float scale;
  index_t window;  // 0: without

  /// Query token t sees the keys up to t + key_tokens - query_tokens, with a window only the last `window` of them.
  index_t last_key(index_t row) const { return row / group + key_tokens - query_tokens; }
  index_t first_key(index_t row) const {
    const index_t last = last_key(row);
    return window > 0 && last >= window ? last - window + 1 : 0;
  }
  /// One past the last row that sees a key.
  index_t end_row(index_t key) const {
    const index_t end = (key + window - (key_tokens - query_tokens)) * group, rows = query_tokens * group;
    return window > 0 && end < rows ? (end > 0 ? end : 0) : rows;
  }
  index_t q_offset(index_t row) const { return row / group * q_stride + row % group * head_dim; }
  index_t stat_offset(index_t row) const { return row % group * stat_stride + row / group; }
};

/// Scratch for one head: the widest target's vectors, padded rows included. 32 rows see a few keys more than a window.
inline index_t attention_scratch(index_t key_tokens, index_t head_dim, index_t window) {
  const index_t keys = window > 0 && window + 32 < key_tokens ? window + 32 : key_tokens;
  return (keys + 2 * head_dim) * 32;
}
inline index_t attention_backward_scratch(index_t rows, index_t head_dim) {
  return (rows + 16) * (head_dim + 1) + 4 * head_dim * 16 + 16;
}

}  // namespace qat::inline v0::kernels

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/attention-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// Extents of one attention call. Query token t sees the keys 0 .. t + key_tokens - query_tokens, so a decoding step
/// has query_tokens 1; with a window it sees only the last `window` of them, itself included. Tokens of a sequence are
/// q_stride (queries, outputs) and kv_stride (keys, values) floats apart, sequences q_batch_stride and kv_batch_stride;
/// a token holds its heads one after the other.
struct AttentionExtents {
  index_t batch, query_tokens, key_tokens, heads, kv_heads, head_dim;
  index_t q_stride, kv_stride, q_batch_stride, kv_batch_stride;
  float scale;
  index_t window = 0;  // 0: without
};

namespace detail {
inline AttentionHead attention_head(const AttentionExtents& e, index_t b, index_t h, const float* q, const float* k,
                                    const float* v) {
  const index_t group = e.heads / e.kv_heads;
  return {q + b * e.q_batch_stride + h * group * e.head_dim,
          k + b * e.kv_batch_stride + h * e.head_dim,
          v + b * e.kv_batch_stride + h * e.head_dim,
          e.q_stride,
          e.kv_stride,
          e.query_tokens,
          e.query_tokens,
          e.key_tokens,
          group,
          e.head_dim,
          e.scale,
          e.window};
}
}  // namespace detail

/// out = softmax(scale * q k^T, causal) v.  q, out (B, Tq, H, D); k, v (B, Tk, KV, D); head h uses key head h / (H /
/// KV). row_max, row_inverse (B, H, Tq) are what the backward pass needs; both may be null. Exact:  a row's bits depend
/// on its own query and the keys it sees alone. Memory: scores of 32 rows per thread; no (Tq, Tk) matrix.
template <class Lazy = void>
void attention(const CpuBackend& backend, const AttentionExtents& e, const float* q, const float* k, const float* v,
               float* out, float* row_max, float* row_inverse) {
  constexpr index_t kRowsPerChunk = 128;
  const index_t group = e.heads / e.kv_heads, rows = e.query_tokens * group;
  const index_t row_chunks = (rows + kRowsPerChunk - 1) / kRowsPerChunk;
  backend.parallel_for(e.batch * e.kv_heads * row_chunks, [&](index_t chunk) {
    const index_t pair = chunk / row_chunks, b = pair / e.kv_heads, h = pair % e.kv_heads;
    const index_t begin = chunk % row_chunks * kRowsPerChunk;
    const index_t end = begin + kRowsPerChunk < rows ? begin + kRowsPerChunk : rows;
    const AttentionHead head = detail::attention_head(e, b, h, q, k, v);
    const index_t statistics = (b * e.heads + h * group) * e.query_tokens;
    AlignedBuffer<float> scratch(attention_scratch(e.key_tokens, e.head_dim, e.window));
    QAT_DISPATCH(kernels, attention_rows(head, begin, end, out + (head.q - q),
                                         row_max == nullptr ? nullptr : row_max + statistics,
                                         row_inverse == nullptr ? nullptr : row_inverse + statistics, scratch.data()));
  });
}
QAT_INSTANCE(void attention<void>(const CpuBackend&, const AttentionExtents&, const float*, const float*, const float*,
                                  float*, float*, float*));

/// Overwrites dq (as q), dk and dv (as k). Deterministic: one task per (sequence, key head), each sum in one order.
template <class Lazy = void>
void attention_backward(const CpuBackend& backend, const AttentionExtents& e, const float* q, const float* k,
                        const float* v, const float* out, const float* row_max, const float* row_inverse,
                        const float* dout, float* dq, float* dk, float* dv) {
  const index_t group = e.heads / e.kv_heads;
  backend.parallel_for(e.batch * e.kv_heads, [&](index_t pair) {
    const index_t b = pair / e.kv_heads, h = pair % e.kv_heads;
    const AttentionHead head = detail::attention_head(e, b, h, q, k, v);
    const index_t q_offset = head.q - q, kv_offset = head.k - k;
    const index_t statistics = (b * e.heads + h * group) * e.query_tokens;
    AlignedBuffer<float> scratch(attention_backward_scratch(e.query_tokens * group, e.head_dim));
    QAT_DISPATCH(kernels, attention_backward_head(head, out + q_offset, dout + q_offset, row_max + statistics,
                                                  row_inverse + statistics, dq + q_offset, dk + kv_offset,
                                                  dv + kv_offset, scratch.data()));
  });
}
QAT_INSTANCE(void attention_backward<void>(const CpuBackend&, const AttentionExtents&, const float*, const float*,
                                           const float*, const float*, const float*, const float*, const float*, float*,
                                           float*, float*));

}  // namespace qat::inline v0::kernels
