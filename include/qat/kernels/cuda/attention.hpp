// Causal attention with grouped queries on a GPU, forward and backward, as kernels/cpu/attention.hpp defines it.
#pragma once

#include <cmath>

#include "qat/backend/cuda.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

/// Extents of one attention call. Query token t sees the keys 0 .. t + key_tokens - query_tokens. Strides are elements
/// between tokens and between sequences; a token holds its heads one after the other, so q, k and v may be parts of the
/// rows of one matrix.
struct AttentionExtents {
  index_t batch = 0, query_tokens = 0, key_tokens = 0, heads = 0, kv_heads = 0;
  index_t head_dim = 0;                                 ///< a multiple of 8 up to 128; fastest at 32, 64 and 128
  float scale = 0.0f;                                   ///< of the scores, positive
  index_t q_stride = 0, kv_stride = 0, out_stride = 0;  ///< tokens of q and dq; of k, v, dk and dv; of out and dout
  index_t q_batch_stride = 0, kv_batch_stride = 0, out_batch_stride = 0;  ///< sequences of the same
};

/// Contiguous tensors: q, out (batch, query_tokens, heads, head_dim), k, v (batch, key_tokens, kv_heads, head_dim);
/// scale 1 / sqrt(head_dim).
inline AttentionExtents attention_extents(index_t batch, index_t query_tokens, index_t key_tokens, index_t heads,
                                          index_t kv_heads, index_t head_dim) {
  AttentionExtents e;
  e.batch = batch;
  e.query_tokens = query_tokens;
  e.key_tokens = key_tokens;
  e.heads = heads;
  e.kv_heads = kv_heads;
  e.head_dim = head_dim;
  e.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  e.q_stride = e.out_stride = heads * head_dim;
  e.kv_stride = kv_heads * head_dim;
  e.q_batch_stride = e.out_batch_stride = query_tokens * e.q_stride;
  e.kv_batch_stride = key_tokens * e.kv_stride;
  return e;
}

/// T: bfloat16. Pointers aligned to 16 bytes, strides multiples of 8.
template <class T>
struct AttentionArgs {
  AttentionExtents extents;
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  T* out = nullptr;
  float* log_sum_exp = nullptr;  ///< (batch, heads, query_tokens): ln sum exp(scale q k); what backward needs; or null
  int form = 0;                  ///< 0: chosen; 1, 2, ...: a shape of tiles, for benchmarks
};

template <class T>
struct AttentionBackwardArgs {
  AttentionExtents extents;
  const T *q = nullptr, *k = nullptr, *v = nullptr, *out = nullptr;
  const float* log_sum_exp = nullptr;  ///< of the forward pass
  const T* dout = nullptr;
  T *dq = nullptr, *dk = nullptr, *dv = nullptr;  ///< overwritten
  int form = 0;                                   ///< as in AttentionArgs
};

/// out = softmax(scale q k^T, causal) v
///
/// Exact:    a row's bits depend on its query and the keys it sees alone (as long as later values are finite), and not
/// on
///           T, on other heads or on the device's size
/// Rounding: scores, maxima and sums are fp32; probabilities are rounded to bfloat16 before they meet v
/// Memory:   no (T, T) matrix and no workspace
/// @throws qat::Error naming pointer, alignment, stride or extent, with what is accepted
template <class T>
void attention(const CudaBackend& backend, const AttentionArgs<T>& args);

/// Bytes of workspace that attention_backward needs: 8 per query and head, queries rounded up to 128.
inline std::size_t attention_backward_workspace(const AttentionExtents& e) {
  return static_cast<std::size_t>(e.batch * e.heads * ((e.query_tokens + 127) / 128 * 128)) * 8;
}

/// Gradients of attention for dout. Probabilities are recomputed block by block, in two launches: dq, with one block of
/// threads for some queries, over all their keys; then dk and dv, with one for some keys, over all queries that see
/// them. That is 7 products of T x T x head_dim where one pass would do with 5, but every sum has one owner and one
/// order: no float atomics, the same bits from run to run.
///
/// Rounding: probabilities and their gradients are rounded to bfloat16 before they meet q, k and dout; sums are fp32
template <class T>
void attention_backward(const CudaBackend& backend, const AttentionBackwardArgs<T>& args);

}  // namespace qat::inline v0::cuda
