// The forward pass of attention: rows of the score matrix live in the registers of a warp, keys and values stream
// through two stages of shared memory. After FlashAttention-2 (Dao 2023).
#pragma once

#include <utility>

#include "qat/kernels/cuda/attention_order.hpp"
#include "qat/kernels/cuda/lanes.hpp"

namespace qat::inline v0::cuda {

/// One block: 16 kTiles kWarps queries of one head, over all keys they see, kKeys at a time.
template <int kDim, int kTiles, int kWarps, int kKeys, int kBlocks, bool kAhead>
struct AttentionForward {
  static constexpr int kThreads = 32 * kWarps, kMinBlocks = kBlocks, kRows = 16 * kTiles * kWarps;
  static constexpr unsigned kQBytes = kRows * kDim * 2, kKeyBytes = kKeys * kDim * 2, kStageBytes = 2 * kKeyBytes;
  static constexpr unsigned kSharedBytes = kQBytes + 2 * kStageBytes;
  using Tile = Bf16Tile<kDim>;

  AttentionArgs<bfloat16> args;
  attention_detail::HeadOrder order;

  /// A warp's rows, in the layout of accumulators: lane / 4 and + 8 of each tile.
  struct Rows {
    float out[kTiles][kDim / 8][4] = {};
    float base[kTiles][2];  ///< scores are taken less this: the maximum so far, or up to 2^8 below it
    float sum[kTiles][2] = {};
  };

  using Scores = float[kTiles][kKeys / 8][4];

  static QAT_HOST_DEVICE void clear_scores(Scores& s) {
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      QAT_CUDA_UNROLL
      for (int n = 0; n < kKeys / 8; ++n) {
        QAT_CUDA_UNROLL
        for (int i = 0; i < 4; ++i) s[t][n][i] = 0.0f;
      }
    }
  }
  static QAT_HOST_DEVICE void copy_scores(Scores& to, const Scores& from) {
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      QAT_CUDA_UNROLL
      for (int n = 0; n < kKeys / 8; ++n) {
        QAT_CUDA_UNROLL
        for (int i = 0; i < 4; ++i) to[t][n][i] = from[t][n][i];
      }
    }
  }

  static constexpr int kAll = kKeys / 16, kHalf = kAll > 1 ? kAll / 2 : 1;  // of a block, 16 keys each

  /// s += q k^T of the first 16 kCount keys, over the elements 16 kFirst .. 16 kLast of head_dim.
  template <int kFirst, int kLast, int kCount, class Context>
  QAT_HOST_DEVICE void score(const Context& c, Scores& s, unsigned q_lane, unsigned k_lane) const {
    QAT_CUDA_UNROLL
    for (unsigned k = kFirst; k < kLast; ++k) {
      std::uint32_t a[kTiles][4];
      QAT_CUDA_UNROLL
      for (unsigned t = 0; t < kTiles; ++t) c.ldmatrix_x4(a[t], Tile::at(q_lane, t, k));
      QAT_CUDA_UNROLL
      for (unsigned n = 0; n < kCount; ++n) {
        std::uint32_t b[4];
        c.ldmatrix_x4(b, Tile::at(k_lane, n, k));
        QAT_CUDA_UNROLL
        for (unsigned t = 0; t < kTiles; ++t) multiply_pair(c, s, a[t], b, t, n);
      }
    }
  }

  /// Masks the scores of 16 kCount keys and makes room for them: the base of a row follows when its scores would pass
  /// it by too much.
  template <bool kMasked, int kCount, class Context>
  QAT_HOST_DEVICE void settle(const Context& c, Rows& rows, Scores& s, int last_key) const {
    // last_key: of the lane's first row, less the lane's first key of the block
    const float to_log2 = args.extents.scale * attention_detail::kLog2E;
    bool moved = false;
    float shrink[kTiles][2];
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      QAT_CUDA_UNROLL
      for (int half = 0; half < 2; ++half) {
        float most = -attention_detail::kInfinity;
        QAT_CUDA_UNROLL
        for (int n = 0; n < 2 * kCount; ++n) {
          QAT_CUDA_UNROLL
          for (int i = 0; i < 2; ++i) {
            float& score = s[t][n][2 * half + i];
            if (kMasked && n * 8 + i > last_key + 16 * t + 8 * half) score = -attention_detail::kInfinity;
            most = larger(most, score);
          }
        }
        most = larger(most, c.shuffle_xor(most, 1));
        most = larger(most, c.shuffle_xor(most, 2));
        // The base follows only when probabilities would pass 2^8: most blocks need no multiplication of the output,
        // and what a row does depends on that row alone.
        const float before = rows.base[t][half];
        const bool moves = (most - before) * to_log2 > 8.0f;
        rows.base[t][half] = moves ? most : before;
        shrink[t][half] = moves ? c.exp2((before - most) * to_log2) : 1.0f;
        moved = moved || moves;
      }
    }
    if (c.ballot(moved) != 0) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTiles; ++t) {
        QAT_CUDA_UNROLL
        for (int n = 0; n < kDim / 8; ++n) {
          QAT_CUDA_UNROLL
          for (int i = 0; i < 4; ++i) rows.out[t][n][i] *= shrink[t][i / 2];
        }
        rows.sum[t][0] *= shrink[t][0];
        rows.sum[t][1] *= shrink[t][1];
      }
    }
  }

  /// Adds the values of 16 keys, the k-th ones of the block.
  template <class Context>
  QAT_HOST_DEVICE void absorb(const Context& c, Rows& rows, const Scores& s, unsigned v_lane, unsigned k) const {
    const float to_log2 = args.extents.scale * attention_detail::kLog2E;
    std::uint32_t p[kTiles][1][4];
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int half = i % 2;
        const float* pair = s[t][2 * k + static_cast<unsigned>(i) / 2] + 2 * half;
        const float base = rows.base[t][half] * to_log2;
        const float first = c.exp2(c.fma(pair[0], to_log2, -base)), second = c.exp2(c.fma(pair[1], to_log2, -base));
        rows.sum[t][half] += first + second;
        p[t][0][i] = c.bf16_pair(first, second);
      }
    }
    multiply<kDim>(c, rows.out, p, v_lane, k);
  }

  /// Settles and absorbs 16 kCount keys.
  template <bool kMasked, int kCount, class Context>
  QAT_HOST_DEVICE void weigh(const Context& c, Rows& rows, Scores& s, unsigned v_lane, int last_key) const {
    settle<kMasked, kCount>(c, rows, s, last_key);
    QAT_CUDA_UNROLL
    for (unsigned k = 0; k < kCount; ++k) absorb(c, rows, s, v_lane, k);
  }

  /// One block of keys whose scores are s, and, so that exponentials of one block overlap products of another, the
  /// scores of the next block.
  template <int... kSlice, class Context>
  QAT_HOST_DEVICE void step(const Context& c, Rows& rows, Scores& s, Scores& next, unsigned q_lane, unsigned k_lane,
                            unsigned v_lane, std::integer_sequence<int, kSlice...>) const {
    constexpr int kPart = kDim / 16 / kAll;
    static_assert(kPart * kAll * 16 == kDim);
    clear_scores(next);
    score<0, kPart, kAll>(c, next, q_lane, k_lane);
    settle<false, kAll>(c, rows, s, 0);
    const auto slice = [&]<int k>(std::integral_constant<int, k>) {
      absorb(c, rows, s, v_lane, k);
      if constexpr (k + 1 < kAll) score<(k + 1) * kPart, (k + 2) * kPart, kAll>(c, next, q_lane, k_lane);
    };
    (slice(std::integral_constant<int, kSlice>{}), ...);
  }

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const AttentionExtents& e = args.extents;
    const int head_dim = static_cast<int>(e.head_dim);
    const auto place = order.template locate<kRows>(c, e);
    const unsigned q_tile = c.template shared<Bytes16>(0).at(0);
    copy_rows_async<kDim, kRows, kThreads>(
        c, q_tile, args.q + place.sequence * e.q_batch_stride + place.first_row * e.q_stride + place.head * e.head_dim,
        e.q_stride, place.row_count, head_dim);

    // Keys that the first row has yet to see (each row sees one more than the row before); rows after the first.
    int left = place.first_row + static_cast<int>(e.key_tokens - e.query_tokens) + 1;
    const int rest = static_cast<int>(e.query_tokens) - place.first_row - 1;
    const auto more = [rest] { return rest < kRows ? rest : kRows - 1; };  // what the last row sees besides
    attention_detail::PairStream<kDim, kKeys, kThreads> keys{
        args.k, args.v, place.sequence * e.kv_batch_stride + place.head / (e.heads / e.kv_heads) * e.head_dim};
    const int warp_row = static_cast<int>(c.shuffle(c.warp(), 0)) * 16 * kTiles,
              lane_row = static_cast<int>(c.lane() / 4);
    const int lane_key = static_cast<int>(c.lane() % 4) * 2;
    const unsigned q_lane = Tile::lane_by_rows(q_tile + static_cast<unsigned>(warp_row) * Tile::kRowBytes, c.lane());
    Rows rows;
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) rows.base[t][0] = rows.base[t][1] = -attention_detail::kInfinity;

    // last_key of settle, and of the warp's last row, less `left`.
    const int first_key = warp_row + lane_row - lane_key - 1, warp_first_key = warp_row + 16 * kTiles - 2;
    const unsigned k_tiles = q_tile + kQBytes, v_tiles = k_tiles + 2 * kKeyBytes;  // of even and of odd blocks
    unsigned odd = 0;                                                              // offset of the block's tile
    if constexpr (kAhead) {
      // Scores are one block ahead of probabilities: in use are the keys of the next block and the values of this one.
      keys.start_first(c, k_tiles, e.kv_stride, left + rest, head_dim);
      c.cp_commit();
      keys.start_second(c, v_tiles, e.kv_stride, left + rest, head_dim);
      if (left + more() > kKeys) keys.start_first(c, k_tiles + kKeyBytes, e.kv_stride, left - kKeys + rest, head_dim);
      c.cp_commit();
      const auto score_seen = [&](Scores& s, unsigned k_lane, int last_key) {
        if (last_key >= 16 * kHalf)
          score<0, kDim / 16, kAll>(c, s, q_lane, k_lane);
        else if (last_key >= 0)
          score<0, kDim / 16, kHalf>(c, s, q_lane, k_lane);
      };
      Scores s = {}, next;
      c.template cp_wait<1>();
      c.sync();
      score_seen(s, Tile::lane_by_columns(k_tiles, c.lane()), left + warp_first_key);

      unsigned k_lane, v_lane;
      const auto turn = [&] {
        c.template cp_wait<0>();
        c.sync();
        v_lane = Tile::lane_by_rows(v_tiles + odd, c.lane());
        k_lane = Tile::lane_by_columns(k_tiles + kKeyBytes - odd, c.lane());
        if (left + more() > kKeys)
          keys.start_second(c, v_tiles + kKeyBytes - odd, e.kv_stride, left - kKeys + rest, head_dim);
        if (left + more() > 2 * kKeys)
          keys.start_first(c, k_tiles + odd, e.kv_stride, left - 2 * kKeys + rest, head_dim);
        c.cp_commit();
        odd = kKeyBytes - odd;
      };
      const auto full = [&] { return left >= kKeys && left + more() > kKeys; };  // for all rows, and not the last block
      constexpr auto kSlices = std::make_integer_sequence<int, kAll>{};
      while (full()) {
        turn();
        step(c, rows, s, next, q_lane, k_lane, v_lane, kSlices);
        left -= kKeys;
        if (!full()) {
          copy_scores(s, next);
          break;
        }
        turn();
        step(c, rows, next, s, q_lane, k_lane, v_lane, kSlices);
        left -= kKeys;
      }
      for (; left + more() > 0; left -= kKeys) {
        turn();
        const int last_key = left + warp_first_key;
        clear_scores(next);
        score_seen(next, k_lane, last_key - kKeys);
        if (last_key >= 16 * kHalf)
          weigh<true, kAll>(c, rows, s, v_lane, left + first_key);
        else if (last_key >= 0)
          weigh<true, kHalf>(c, rows, s, v_lane, left + first_key);
        copy_scores(s, next);
      }
    } else {
      keys.start_first(c, k_tiles, e.kv_stride, left + rest, head_dim);
      keys.start_second(c, v_tiles, e.kv_stride, left + rest, head_dim);
      c.cp_commit();
      for (; left + more() > 0; left -= kKeys) {
        c.template cp_wait<0>();
        c.sync();
        const unsigned k_lane = Tile::lane_by_columns(k_tiles + odd, c.lane());
        const unsigned v_lane = Tile::lane_by_rows(v_tiles + odd, c.lane());
        odd = kKeyBytes - odd;
        if (left + more() > kKeys) {
          keys.start_first(c, k_tiles + odd, e.kv_stride, left - kKeys + rest, head_dim);
          keys.start_second(c, v_tiles + odd, e.kv_stride, left - kKeys + rest, head_dim);
        }
        c.cp_commit();
        const int last_key = left + warp_first_key;
        Scores s = {};
        if (left >= kKeys) {
          score<0, kDim / 16, kAll>(c, s, q_lane, k_lane);
          weigh<false, kAll>(c, rows, s, v_lane, 0);
        } else if (last_key >= 16 * kHalf) {
          score<0, kDim / 16, kAll>(c, s, q_lane, k_lane);
          weigh<true, kAll>(c, rows, s, v_lane, left + first_key);
        } else if (last_key >= 0) {
          score<0, kDim / 16, kHalf>(c, s, q_lane, k_lane);
          weigh<true, kHalf>(c, rows, s, v_lane, left + first_key);
        }
      }
    }

    const auto end = order.template locate<kRows>(c, e);
    float factor[kTiles][2];
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      QAT_CUDA_UNROLL
      for (int half = 0; half < 2; ++half) {
        float sum = rows.sum[t][half];
        sum += c.shuffle_xor(sum, 1);
        sum += c.shuffle_xor(sum, 2);
        factor[t][half] = c.div(1.0f, sum);
        const int row = warp_row + 16 * t + 8 * half + lane_row;
        if (args.log_sum_exp != nullptr && c.lane() % 4 == 0 && row < end.row_count)
          c.store(args.log_sum_exp + (end.sequence * e.heads + end.head) * e.query_tokens + end.first_row + row,
                  c.fma(rows.base[t][half], e.scale, c.log(sum)));
      }
    }
    // The warp's part of q is read by no one else, and by the warp no more once all its lanes are here.
    c.sync_warp();
    store_rows<kDim>(c, static_cast<unsigned>(warp_row) * Tile::kRowBytes, rows.out, factor,
                     args.out + end.sequence * e.out_batch_stride + (end.first_row + warp_row) * e.out_stride +
                         end.head * e.head_dim,
                     e.out_stride, end.row_count - warp_row, head_dim);
  }
};

}  // namespace qat::inline v0::cuda
