// What the passes of attention share: in which order blocks of threads take heads and rows, and how two tensors stream
// through shared memory side by side.
#pragma once

#include "qat/kernels/cuda/attention.hpp"
#include "qat/kernels/cuda/bf16_tile.hpp"

namespace qat::inline v0::cuda {

namespace attention_detail {

constexpr float kLog2E = 0x1.715476p+0f, kInfinity = __builtin_inff();

/// In which order the blocks of a launch take blocks of rows of heads: some heads at a time, as many as the
/// second-level cache holds, and of those the rows with most work first.
struct HeadOrder {
  unsigned heads, heads_at_once, row_blocks;

  struct Work {
    unsigned head, rank;
  };
  /// head, and rank of the block of rows in descending order of work
  QAT_HOST_DEVICE Work find(unsigned block) const {
    const unsigned first = block / (heads_at_once * row_blocks) * heads_at_once;
    const unsigned count = heads - first < heads_at_once ? heads - first : heads_at_once;
    const unsigned rest = block - first * row_blocks;
    return {first + rest % count, rest / count};
  }

  /// Some of a head's queries. The last ones have most work.
  struct Queries {
    index_t sequence, head;
    int first_row, row_count;
  };
  template <int kRows, class Context>
  QAT_HOST_DEVICE Queries locate(const Context& c, const AttentionExtents& e) const {
    // Shuffles of what all lanes agree on: so that the compiler knows, and keeps it in uniform registers.
    const Work work = find(c.block());
    const unsigned of_sequence = static_cast<unsigned>(e.heads), sequence = c.shuffle(work.head / of_sequence, 0);
    const int first_row = static_cast<int>(row_blocks - 1 - c.shuffle(work.rank, 0)) * kRows;
    const int rest = static_cast<int>(e.query_tokens) - first_row;
    return {sequence, c.shuffle(work.head, 0) - sequence * of_sequence, first_row, rest < kRows ? rest : kRows};
  }
};

/// Two tensors of one layout whose rows stream through shared memory side by side.
template <int kDim, int kRows, int kThreads>
struct PairStream {
  const bfloat16 *first, *second;  ///< the kernel's arguments as they are: these need no registers
  index_t at;                      ///< element of either that is next

  /// Starts the copy of the next kRows rows of the first tensor.
  template <class Context>
  QAT_HOST_DEVICE void start_first(const Context& c, unsigned tile, index_t stride, int valid_rows, int head_dim) {
    copy_rows_async<kDim, kRows, kThreads>(c, tile, first + at, stride, valid_rows, head_dim);
    at += kRows * stride;
  }
  /// The same of the second, of the rows that start_first started last.
  template <class Context>
  QAT_HOST_DEVICE void start_second(const Context& c, unsigned tile, index_t stride, int valid_rows,
                                    int head_dim) const {
    copy_rows_async<kDim, kRows, kThreads>(c, tile, second + (at - kRows * stride), stride, valid_rows, head_dim);
  }
  /// Both, to two tiles, one behind the other.
  template <class Context>
  QAT_HOST_DEVICE void start(const Context& c, unsigned tile, index_t stride, int valid_rows, int head_dim) {
    start_first(c, tile, stride, valid_rows, head_dim);
    start_second(c, tile + kRows * kDim * 2, stride, valid_rows, head_dim);
  }
};

}  // namespace attention_detail

}  // namespace qat::inline v0::cuda
