// Causal attention with grouped queries, forward and backward.
#pragma once

#include <cmath>

#include "qat/kernels/cpu/attention.hpp"
#include "qat/ops/grad_mode.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0::ops {

/// What attention_backward needs besides q, k, v and the output: two numbers per query instead of a (T, T) matrix.
struct AttentionSaved {
  Tensor<float> row_max;      // (B, H, Tq)  largest scaled score
  Tensor<float> row_inverse;  // (B, H, Tq)  1 / sum exp(score - row_max)
};

namespace detail {
/// Same extent and, where it matters, same stride.
inline bool same_layout(const View<const float, 4>& a, const View<const float, 4>& b, int d) {
  return a.shape[d] == b.shape[d] && (a.shape[d] == 1 || a.stride[d] == b.stride[d]);
}
inline kernels::AttentionExtents attention_extents(const char* op, const View<const float, 4>& q,
                                                   const View<const float, 4>& k, const View<const float, 4>& v,
                                                   const View<const float, 4>& out, index_t window) {
  const index_t heads = q.shape[2], kv_heads = k.shape[2], dim = q.shape[3];
  QAT_CHECK(kv_heads > 0 && heads % kv_heads == 0, kShapeMismatch, op, ": ", heads, " query heads over ", kv_heads,
            " key heads, must be a multiple");
  QAT_CHECK(k.shape[0] == q.shape[0] && k.shape[3] == dim, kShapeMismatch, op, ": k is (", k.shape[0], ", ", k.shape[1],
            ", ", kv_heads, ", ", k.shape[3], "), q is (", q.shape[0], ", ", q.shape[1], ", ", heads, ", ", dim, ")");
  QAT_CHECK(window >= 0, kInvalidArgument, op, ": window is ", window, ", must be positive, or 0 for none");
  QAT_CHECK(q.shape[1] <= k.shape[1], kShapeMismatch, op, ": ", q.shape[1], " queries but only ", k.shape[1], " keys");
  QAT_CHECK(k.shape[1] < (1 << 24), kUnsupported, op, ": ", k.shape[1], " keys, at most 2^24 - 1 are supported");
  for (int d = 0; d < 4; ++d) {
    QAT_CHECK(same_layout(v, k, d), kShapeMismatch, op, ": v must have the shape and strides of k (dimension ", d, ")");
    QAT_CHECK(same_layout(out, q, d), kShapeMismatch, op,
              ": the output must have the shape and strides of q (dimension ", d, ")");
  }
  const auto adjacent = [dim](const View<const float, 4>& t) {
    return (t.stride[3] == 1 || dim == 1) && (t.stride[2] == dim || t.shape[2] == 1);
  };
  QAT_CHECK(adjacent(q) && adjacent(k), kUnsupported, op, ": the heads of a token must be adjacent");
  return {q.shape[0],
          q.shape[1],
          k.shape[1],
          heads,
          kv_heads,
          dim,
          q.stride[1],
          k.stride[1],
          q.stride[0],
          k.stride[0],
          1.0f / std::sqrt(static_cast<float>(dim)),
          window};
}
}  // namespace detail

/// out = softmax(q k^T / sqrt(D), causal) v
///
/// Shapes:   q, out (B, Tq, H, D); k, v (B, Tk, KV, D), KV divides H, query head h uses key head h / (H / KV)
///           query t sees the keys 0 .. t + Tk - Tq: Tq = Tk in training, Tq = 1 in a decoding step; with a window only
///           the last `window` of them, itself included (0: without). Blocks of keys outside of it are skipped.
/// Exact:    the bits of a row depend on its query and the keys it sees alone, so decoding equals the full forward pass
/// Saved:    row_max and row_inverse, if saved is not null
/// Cost:     scratch of 32 rows of scores per thread; no (Tq, Tk) matrix
inline void attention(const CpuBackend& backend, View<const float, 4> q, View<const float, 4> k, View<const float, 4> v,
                      View<float, 4> out, AttentionSaved* saved = nullptr, index_t window = 0) {
  const kernels::AttentionExtents extents = detail::attention_extents("attention", q, k, v, out, window);
  if (saved != nullptr) {
    saved->row_max = Tensor<float>::uninitialized({q.shape[0], q.shape[2], q.shape[1]});
    saved->row_inverse = Tensor<float>::uninitialized({q.shape[0], q.shape[2], q.shape[1]});
  }
  kernels::attention(backend, extents, q.data, k.data, v.data, out.data,
                     saved == nullptr ? nullptr : saved->row_max.data(),
                     saved == nullptr ? nullptr : saved->row_inverse.data());
}

/// Overwrites dq, dk and dv (shapes and strides of q, k, v), with the probabilities recomputed block by block.
inline void attention_backward(const CpuBackend& backend, View<const float, 4> q, View<const float, 4> k,
                               View<const float, 4> v, View<const float, 4> out, const AttentionSaved& saved,
                               View<const float, 4> dout, View<float, 4> dq, View<float, 4> dk, View<float, 4> dv,
                               index_t window = 0) {
  const kernels::AttentionExtents extents = detail::attention_extents("attention_backward", q, k, v, out, window);
  detail::attention_extents("attention_backward", dq, dk, dv, dout, window);
  for (int d = 0; d < 4; ++d)
    QAT_CHECK(detail::same_layout(dq, q, d) && detail::same_layout(dk, k, d), kShapeMismatch,
              "attention_backward: dq and dk must have the shapes and strides of q and k (dimension ", d, ")");
  QAT_CHECK(saved.row_max.size() == q.shape[0] * q.shape[1] * q.shape[2], kShapeMismatch,
            "attention_backward: saved has ", saved.row_max.size(), " rows, q has ",
            q.shape[0] * q.shape[1] * q.shape[2]);
  kernels::attention_backward(backend, extents, q.data, k.data, v.data, out.data, saved.row_max.data(),
                              saved.row_inverse.data(), dout.data, dq.data, dk.data, dv.data);
}

}  // namespace qat::inline v0::ops
