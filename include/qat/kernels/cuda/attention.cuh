// Launchers of cuda/attention.hpp, and the shapes of tiles they choose.
#pragma once

#include "qat/kernels/cuda/attention.hpp"
#include "qat/kernels/cuda/attention_backward.hpp"
#include "qat/kernels/cuda/attention_forward.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/launch.cuh"

namespace qat::inline v0::cuda {

namespace attention_detail {

inline void check_extents(const char* op, const AttentionExtents& e) {
  QAT_CHECK(e.batch >= 0 && e.query_tokens >= 0 && e.key_tokens >= e.query_tokens && e.key_tokens < (1 << 24),
            kShapeMismatch, op, ": ", e.batch, " sequences of ", e.query_tokens, " queries and ", e.key_tokens,
            " keys; at least as many keys as queries and at most 2^24 - 1 are accepted");
  QAT_CHECK(e.kv_heads > 0 && e.heads > 0 && e.heads % e.kv_heads == 0, kShapeMismatch, op, ": ", e.heads,
            " query heads over ", e.kv_heads, " key heads, must be a multiple");
  QAT_CHECK(e.head_dim > 0 && e.head_dim <= 128 && e.head_dim % 8 == 0, kUnsupported, op, ": head_dim ", e.head_dim,
            "; multiples of 8 up to 128 are accepted");
  QAT_CHECK(e.scale > 0.0f && e.scale <= 0x1.FFFFFEp127f, kInvalidArgument, op, ": scale ", e.scale,
            ", must be positive and finite");
  const auto check_stride = [op](const char* name, index_t stride, index_t least) {
    QAT_CHECK(stride % 8 == 0 && stride >= least && stride <= 1 << 24, kUnsupported, op, ": ", name, " ", stride,
              "; multiples of 8 from ", least, " to 2^24 are accepted");
  };
  const auto check_batch_stride = [op](const char* name, index_t stride) {
    QAT_CHECK(stride % 8 == 0 && stride >= 0, kUnsupported, op, ": ", name, " ", stride,
              "; multiples of 8 are accepted");
  };
  check_stride("q_stride", e.q_stride, e.heads * e.head_dim);
  check_stride("kv_stride", e.kv_stride, e.kv_heads * e.head_dim);
  check_stride("out_stride", e.out_stride, e.heads * e.head_dim);
  check_batch_stride("q_batch_stride", e.q_batch_stride);
  check_batch_stride("kv_batch_stride", e.kv_batch_stride);
  check_batch_stride("out_batch_stride", e.out_batch_stride);
}

inline void check_pointer(const char* op, const char* name, const void* p, std::size_t alignment) {
  QAT_CHECK(p != nullptr && reinterpret_cast<std::uintptr_t>(p) % alignment == 0, kInvalidArgument, op, ": ", name,
            p == nullptr ? " is null" : " is misaligned", "; a pointer aligned to ", alignment, " bytes is accepted");
}

/// head_bytes: what the streamed operands of one head have.
inline HeadOrder head_order(const char* op, index_t heads, index_t row_blocks, index_t head_bytes) {
  QAT_CHECK(heads * row_blocks <= 0x7FFFFFFF, kUnsupported, op, ": ", heads, " heads of ", row_blocks,
            " blocks of rows; at most 2^31 - 1 blocks are supported");
  constexpr index_t kCacheBytes = 16 << 20;
  const index_t at_once = head_bytes < kCacheBytes ? kCacheBytes / head_bytes : 1;
  return {static_cast<unsigned>(heads), static_cast<unsigned>(at_once < heads ? at_once : heads),
          static_cast<unsigned>(row_blocks)};
}

template <class Kernel>
void launch_forward(const CudaBackend& backend, const AttentionArgs<bfloat16>& args) {
  const AttentionExtents& e = args.extents;
  const index_t heads = e.batch * e.heads, row_blocks = (e.query_tokens + Kernel::kRows - 1) / Kernel::kRows;
  if (heads == 0 || row_blocks == 0) return;
  const index_t bytes = 4 * e.key_tokens * e.head_dim / (e.heads / e.kv_heads) + 1;
  const Kernel kernel{args, head_order("attention", heads, row_blocks, bytes)};
  launch(backend, {static_cast<unsigned>(heads * row_blocks), 1, Kernel::kSharedBytes}, kernel, "attention: ", e.batch,
         " sequences, ", e.query_tokens, " queries, ", e.key_tokens, " keys, ", e.heads, " heads over ", e.kv_heads,
         " of ", e.head_dim);
}

/// Entries of 8 bytes for a head's statistics: its queries, rounded up to what any kernel has in a block.
inline index_t statistics_stride(const AttentionExtents& e) { return (e.query_tokens + 127) / 128 * 128; }

template <class Kernel>
void launch_backward_queries(const CudaBackend& backend, const AttentionBackwardArgs<bfloat16>& args) {
  static_assert(128 % Kernel::kRows == 0);
  const AttentionExtents& e = args.extents;
  const index_t heads = e.batch * e.heads, row_blocks = (e.query_tokens + Kernel::kRows - 1) / Kernel::kRows;
  if (heads == 0 || row_blocks == 0) return;
  const index_t bytes = 4 * e.key_tokens * e.head_dim / (e.heads / e.kv_heads) + 1;
  const Kernel kernel{args, head_order("attention_backward", heads, row_blocks, bytes),
                      static_cast<Bytes8*>(backend.workspace), statistics_stride(e)};
  launch(backend, {static_cast<unsigned>(heads * row_blocks), 1, Kernel::kSharedBytes}, kernel,
         "attention_backward: ", e.batch, " sequences, ", e.query_tokens, " queries, ", e.key_tokens, " keys, ",
         e.heads, " heads over ", e.kv_heads, " of ", e.head_dim);
}

template <class Kernel>
void launch_backward_keys(const CudaBackend& backend, const AttentionBackwardArgs<bfloat16>& args) {
  const AttentionExtents& e = args.extents;
  const index_t heads = e.batch * e.kv_heads, row_blocks = (e.key_tokens + Kernel::kRows - 1) / Kernel::kRows;
  if (heads == 0 || row_blocks == 0) return;
  const index_t bytes = 4 * e.query_tokens * e.head_dim * (e.heads / e.kv_heads) + 1;
  const Kernel kernel{args, head_order("attention_backward", heads, row_blocks, bytes),
                      static_cast<const Bytes8*>(backend.workspace), statistics_stride(e)};
  launch(backend, {static_cast<unsigned>(heads * row_blocks), 1, Kernel::kSharedBytes}, kernel,
         "attention_backward: ", e.batch, " sequences, ", e.query_tokens, " queries, ", e.key_tokens, " keys, ",
         e.heads, " heads over ", e.kv_heads, " of ", e.head_dim);
}

template <class Queries, class Keys>
void launch_backward(const CudaBackend& backend, const AttentionBackwardArgs<bfloat16>& args) {
  static_assert(Queries::kRows % Keys::kQueriesAtOnce == 0,
                "the first pass writes all statistics that the second reads");
  launch_backward_queries<Queries>(backend, args);
  launch_backward_keys<Keys>(backend, args);
}

/// Runs the form-th of launchers (from 1), or the one that is chosen where form is 0.
template <class Args, std::size_t N>
void launch_form(const char* op, const CudaBackend& backend, const Args& args, int chosen,
                 void (*const (&launchers)[N])(const CudaBackend&, const Args&)) {
  QAT_CHECK(args.form >= 0 && args.form <= static_cast<int>(N), kInvalidArgument, op, ": form ", args.form,
            " of head_dim ", args.extents.head_dim, "; 0 to ", N, " are accepted");
  launchers[(args.form == 0 ? chosen : args.form) - 1](backend, args);
}

// Templates, so that a program without attention compiles none of its kernels. The chosen forms are the fastest of an
// H200 that do not spill.
template <class T>
void forward_form(const CudaBackend& backend, const AttentionArgs<T>& args) {
  using Launcher = void (*)(const CudaBackend&, const AttentionArgs<T>&);
  if (args.extents.head_dim <= 32) {
    const Launcher forms[] = {launch_forward<AttentionForward<32, 2, 4, 64, 3, false>>};
    return launch_form("attention", backend, args, 1, forms);
  }
  if (args.extents.head_dim <= 64) {
    const Launcher forms[] = {
        launch_forward<AttentionForward<64, 2, 4, 64, 3, false>>,
        launch_forward<AttentionForward<64, 2, 4, 32, 2, true>>,
        launch_forward<AttentionForward<64, 2, 4, 64, 2, false>>,
        launch_forward<AttentionForward<64, 2, 4, 64, 2, true>>,
    };
    return launch_form("attention", backend, args, 3, forms);
  }
  const Launcher forms[] = {
      launch_forward<AttentionForward<128, 2, 4, 32, 2, false>>,
      launch_forward<AttentionForward<128, 2, 4, 64, 2, false>>,
      launch_forward<AttentionForward<128, 1, 8, 64, 1, true>>,
  };
  launch_form("attention", backend, args, 1, forms);
}

template <class T>
void backward_form(const CudaBackend& backend, const AttentionBackwardArgs<T>& args) {
  using Launcher = void (*)(const CudaBackend&, const AttentionBackwardArgs<T>&);
  if (args.extents.head_dim <= 32) {
    const Launcher forms[] = {
        launch_backward<AttentionBackwardQueries<32, 2, 4, 64, 32, 2>, AttentionBackwardKeys<32, 2, 4, 64, 32, 2>>};
    return launch_form("attention_backward", backend, args, 1, forms);
  }
  if (args.extents.head_dim <= 64) {
    const Launcher forms[] = {
        launch_backward<AttentionBackwardQueries<64, 2, 4, 32, 32, 2>, AttentionBackwardKeys<64, 2, 4, 64, 16, 2>>,
        launch_backward<AttentionBackwardQueries<64, 1, 4, 64, 32, 2>, AttentionBackwardKeys<64, 1, 4, 64, 32, 3>>,
    };
    return launch_form("attention_backward", backend, args, 1, forms);
  }
  const Launcher forms[] = {
      launch_backward<AttentionBackwardQueries<128, 1, 8, 64, 32, 1>, AttentionBackwardKeys<128, 1, 8, 64, 16, 1>>,
      launch_backward<AttentionBackwardQueries<128, 1, 4, 64, 32, 2>, AttentionBackwardKeys<128, 1, 4, 64, 16, 2>>,
  };
  launch_form("attention_backward", backend, args, 1, forms);
}

}  // namespace attention_detail

template <class T>
void attention(const CudaBackend& backend, const AttentionArgs<T>& args) {
  static_assert(std::is_same_v<T, bfloat16>, "attention: bfloat16");
  attention_detail::check_extents("attention", args.extents);
  if (args.extents.batch == 0 || args.extents.query_tokens == 0) return;
  attention_detail::check_pointer("attention", "q", args.q, 16);
  attention_detail::check_pointer("attention", "k", args.k, 16);
  attention_detail::check_pointer("attention", "v", args.v, 16);
  attention_detail::check_pointer("attention", "out", args.out, 16);
  if (args.log_sum_exp != nullptr) attention_detail::check_pointer("attention", "log_sum_exp", args.log_sum_exp, 4);
  attention_detail::forward_form(backend, args);
}

template <class T>
void attention_backward(const CudaBackend& backend, const AttentionBackwardArgs<T>& args) {
  static_assert(std::is_same_v<T, bfloat16>, "attention_backward: bfloat16");
  const AttentionExtents& e = args.extents;
  attention_detail::check_extents("attention_backward", e);
  if (e.batch == 0 || e.key_tokens == 0) return;
  attention_detail::check_pointer("attention_backward", "k", args.k, 16);
  attention_detail::check_pointer("attention_backward", "v", args.v, 16);
  attention_detail::check_pointer("attention_backward", "dk", args.dk, 16);
  attention_detail::check_pointer("attention_backward", "dv", args.dv, 16);
  if (e.query_tokens != 0) {
    attention_detail::check_pointer("attention_backward", "q", args.q, 16);
    attention_detail::check_pointer("attention_backward", "out", args.out, 16);
    attention_detail::check_pointer("attention_backward", "log_sum_exp", args.log_sum_exp, 4);
    attention_detail::check_pointer("attention_backward", "dout", args.dout, 16);
    attention_detail::check_pointer("attention_backward", "dq", args.dq, 16);
  }
  check_workspace(backend, "attention_backward", attention_backward_workspace(e));
  attention_detail::backward_form(backend, args);
}

}  // namespace qat::inline v0::cuda
