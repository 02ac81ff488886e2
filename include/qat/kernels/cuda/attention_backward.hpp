// The two passes of attention's gradients. The scores of a pass are recomputed in the layout in which the next product
// takes them from registers: queries by keys for dq, keys by queries for dk and dv.
#pragma once

#include "qat/kernels/cuda/attention_order.hpp"

namespace qat::inline v0::cuda {

/// The first pass of backward. One block: 16 kTiles kWarps queries of one head, over all keys they see. Leaves in
/// `statistics` what the second pass needs of each query; entries from query_tokens on make probabilities 0.
template <int kDim, int kTiles, int kWarps, int kKeys, int kSlice, int kBlocks>
struct AttentionBackwardQueries {
  static constexpr int kThreads = 32 * kWarps, kMinBlocks = kBlocks, kRows = 16 * kTiles * kWarps;
  static constexpr unsigned kTileBytes = kKeys * kDim * 2, kStageBytes = 2 * kTileBytes;
  static constexpr unsigned kRowBytes = kRows * kDim * 2;  // of q, and of dout: they lie in the second stage at first
  static constexpr unsigned kStatisticsAt = kStageBytes + (kStageBytes > 2 * kRowBytes ? kStageBytes : 2 * kRowBytes);
  static constexpr unsigned kSharedBytes = kStatisticsAt + kRows * sizeof(Bytes8);
  using Tile = Bf16Tile<kDim>;

  AttentionBackwardArgs<bfloat16> args;
  attention_detail::HeadOrder order;
  Bytes8* statistics;  ///< (batch, heads, statistics_stride): log2 sum exp, and delta: the sum of dout * out
  index_t statistics_stride;

  /// A warp's rows.
  struct Rows {
    std::uint32_t q[kTiles][kDim / 16][4], dout[kTiles][kDim / 16][4];
    float log2_sum_exp[kTiles][2], delta[kTiles][2];
    float dq[kTiles][kDim / 8][4] = {};
  };

  template <bool kMasked, class Context>
  QAT_HOST_DEVICE void add_keys(const Context& c, Rows& rows, unsigned k_columns, unsigned k_rows, unsigned v_columns,
                                int last_key, int warp_last_key) const {
    // last_key, of the lane's first row, and warp_last_key, of the warp's last row: less the first key of the block
    const float to_log2 = args.extents.scale * attention_detail::kLog2E;
    QAT_CUDA_UNROLL
    for (int slice = 0; slice < kKeys; slice += kSlice) {
      if (kMasked && slice > warp_last_key) return;
      float s[kTiles][kSlice / 8][4] = {}, dp[kTiles][kSlice / 8][4] = {};
      multiply_transposed<kDim>(c, s, rows.q, k_columns, static_cast<unsigned>(slice) / 16);
      multiply_transposed<kDim>(c, dp, rows.dout, v_columns, static_cast<unsigned>(slice) / 16);
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTiles; ++t) {
        QAT_CUDA_UNROLL
        for (int n = 0; n < kSlice / 8; ++n) {
          QAT_CUDA_UNROLL
          for (int i = 0; i < 4; ++i) {
            float p = c.exp2(c.fma(s[t][n][i], to_log2, -rows.log2_sum_exp[t][i / 2]));
            if (kMasked && slice + n * 8 + i % 2 > last_key + 16 * t + 8 * (i / 2)) p = 0.0f;
            s[t][n][i] = p * (dp[t][n][i] - rows.delta[t][i / 2]);
          }
        }
      }
      std::uint32_t ds[kTiles][kSlice / 16][4];
      to_operand(c, ds, s);
      multiply<kDim>(c, rows.dq, ds, k_rows, static_cast<unsigned>(slice) / 16);
    }
  }

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const AttentionExtents& e = args.extents;
    const int head_dim = static_cast<int>(e.head_dim);
    const auto place = order.template locate<kRows>(c, e);
    const index_t q_offset = place.sequence * e.q_batch_stride + place.first_row * e.q_stride + place.head * e.head_dim;
    const index_t out_offset =
        place.sequence * e.out_batch_stride + place.first_row * e.out_stride + place.head * e.head_dim;
    const index_t row_index = (place.sequence * e.heads + place.head) * e.query_tokens + place.first_row;

    const unsigned shared = c.template shared<Bytes16>(0).at(0), q_tile = shared + kStageBytes;
    copy_rows_async<kDim, kRows, kThreads>(c, q_tile, args.q + q_offset, e.q_stride, place.row_count, head_dim);
    copy_rows_async<kDim, kRows, kThreads>(c, q_tile + kRowBytes, args.dout + out_offset, e.out_stride, place.row_count,
                                           head_dim);
    attention_detail::PairStream<kDim, kKeys, kThreads> keys{
        args.k, args.v, place.sequence * e.kv_batch_stride + place.head / (e.heads / e.kv_heads) * e.head_dim};
    // Keys that the first row has yet to see (each row sees one more than the row before), and all others.
    int left = place.first_row + static_cast<int>(e.key_tokens - e.query_tokens) + 1;
    const int rest = static_cast<int>(e.query_tokens) - place.first_row - 1;
    keys.start(c, shared, e.kv_stride, left + rest, head_dim);
    c.cp_commit();

    // delta: kThreads / kRows threads for a row, whose part of the output comes while the copies land.
    constexpr unsigned kParts = kThreads / kRows, kLanes = 32 / kParts, kMine = Tile::kChunks / kParts;
    static_assert(kParts == 1 || kParts == 2);
    const unsigned own_row = c.warp() * kLanes + c.lane() % kLanes, part = c.lane() / kLanes;
    const bool exists = static_cast<int>(own_row) < place.row_count;
    Bytes16 out[kMine] = {};
    float log_sum_exp = attention_detail::kInfinity;
    if (exists) {
      const bfloat16* from = args.out + out_offset + static_cast<index_t>(own_row) * e.out_stride;
      QAT_CUDA_UNROLL
      for (unsigned i = 0; i < kMine; ++i) {
        const unsigned chunk = i * kParts + part;
        if (static_cast<int>(chunk * 8) < head_dim)
          out[i] = c.load_cached(reinterpret_cast<const Bytes16*>(from + chunk * 8));
      }
      if (part == 0) log_sum_exp = c.load(args.log_sum_exp + row_index + own_row);
    }
    c.template cp_wait<0>();
    c.sync();
    const auto shared_statistics = c.template shared<Bytes8>(kStatisticsAt);
    {
      const auto dout = c.template shared<Bytes16>(kStageBytes + kRowBytes);
      float delta = 0.0f;
      QAT_CUDA_UNROLL
      for (unsigned i = 0; i < kMine; ++i) {
        const Bytes16 g = dout.load(Tile::offset(own_row, i * kParts + part) / 16);
        QAT_CUDA_UNROLL
        for (int k = 0; k < 4; ++k) {
          delta = c.fma(low_bf16(g.word[k]), low_bf16(out[i].word[k]), delta);
          delta = c.fma(high_bf16(g.word[k]), high_bf16(out[i].word[k]), delta);
        }
      }
      if (kParts == 2) delta += c.shuffle_xor(delta, 16);
      if (part == 0) {
        const Bytes8 entry = {
            {bit_cast<std::uint32_t>(log_sum_exp * attention_detail::kLog2E), bit_cast<std::uint32_t>(delta)}};
        shared_statistics.store(own_row, entry);
        c.store(statistics + (place.sequence * e.heads + place.head) * statistics_stride + place.first_row + own_row,
                entry);
      }
    }
    const int warp_row = static_cast<int>(c.shuffle(c.warp(), 0)) * 16 * kTiles;
    const int lane_row = static_cast<int>(c.lane() / 4), lane_key = static_cast<int>(c.lane() % 4) * 2;
    Rows rows;
    load_rows<kDim>(c, rows.q, Tile::lane_by_rows(q_tile, c.lane()), static_cast<unsigned>(warp_row) / 16);
    load_rows<kDim>(c, rows.dout, Tile::lane_by_rows(q_tile + kRowBytes, c.lane()),
                    static_cast<unsigned>(warp_row) / 16);
    c.sync();
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      QAT_CUDA_UNROLL
      for (int half = 0; half < 2; ++half) {
        const Bytes8 entry = shared_statistics.load(static_cast<unsigned>(warp_row + 16 * t + 8 * half + lane_row));
        rows.log2_sum_exp[t][half] = bit_cast<float>(entry.word[0]);
        rows.delta[t][half] = bit_cast<float>(entry.word[1]);
      }
    }

    unsigned stage = shared;
    for (; left + (rest < kRows ? rest : kRows - 1) > 0; left -= kKeys) {
      const unsigned k_columns = Tile::lane_by_columns(stage, c.lane()), k_rows = Tile::lane_by_rows(stage, c.lane());
      const unsigned v_columns = Tile::lane_by_columns(stage + kTileBytes, c.lane());
      stage = 2 * shared + kStageBytes - stage;
      if (left + (rest < kRows ? rest : kRows - 1) > kKeys)
        keys.start(c, stage, e.kv_stride, left - kKeys + rest, head_dim);
      c.cp_commit();
      if (left >= kKeys)
        add_keys<false>(c, rows, k_columns, k_rows, v_columns, 0, 0);
      else
        add_keys<true>(c, rows, k_columns, k_rows, v_columns, left - 1 + warp_row + lane_row - lane_key,
                       left - 1 + warp_row + 16 * kTiles - 1);
      c.template cp_wait<0>();
      c.sync();
    }

    const auto end = order.template locate<kRows>(c, e);
    float factor[kTiles][2];
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) factor[t][0] = factor[t][1] = e.scale;
    store_rows<kDim>(
        c, static_cast<unsigned>(warp_row) * Tile::kRowBytes, rows.dq, factor,
        args.dq + end.sequence * e.q_batch_stride + (end.first_row + warp_row) * e.q_stride + end.head * e.head_dim,
        e.q_stride, end.row_count - warp_row, head_dim);
  }
};

/// The second pass of backward. One block: 16 kTiles kWarps keys of one key head, over all queries that see them, of
/// all heads of the group, in order.
template <int kDim, int kTiles, int kWarps, int kQueries, int kSlice, int kBlocks>
struct AttentionBackwardKeys {
  static constexpr int kThreads = 32 * kWarps, kMinBlocks = kBlocks, kRows = 16 * kTiles * kWarps;
  static constexpr int kQueriesAtOnce = kQueries;
  static constexpr unsigned kTileBytes = kQueries * kDim * 2, kStageBytes = 2 * kTileBytes + kQueries * sizeof(Bytes8);
  static constexpr unsigned kRowBytes = kRows * kDim * 2;  // of k, and of v: they lie in the second stage at first
  static constexpr unsigned kSecondAt = (kStageBytes + 255) / 256 * 256;
  static constexpr unsigned kSharedBytes = kSecondAt + (kStageBytes > 2 * kRowBytes ? kStageBytes : 2 * kRowBytes);
  using Tile = Bf16Tile<kDim>;

  AttentionBackwardArgs<bfloat16> args;
  attention_detail::HeadOrder order;  ///< of key heads
  const Bytes8* statistics;
  index_t statistics_stride;

  struct Rows {
    std::uint32_t k[kTiles][kDim / 16][4], v[kTiles][kDim / 16][4];
    float dk[kTiles][kDim / 8][4] = {}, dv[kTiles][kDim / 8][4] = {};
  };

  template <bool kMasked, class Context>
  QAT_HOST_DEVICE void add_queries(const Context& c, Rows& rows, unsigned q_columns, unsigned q_rows,
                                   unsigned dout_columns, unsigned dout_rows, std::size_t statistics_at,
                                   int first_query, int warp_first_query) const {
    // first_query, that sees the lane's first key, and warp_first_query, the warp's: less the first query of the block
    const float to_log2 = args.extents.scale * attention_detail::kLog2E;
    const auto of_queries = c.template shared<Bytes16>(statistics_at);
    QAT_CUDA_UNROLL
    for (int slice = 0; slice < kQueries; slice += kSlice) {
      if (kMasked && slice + kSlice <= warp_first_query) continue;
      float p[kTiles][kSlice / 8][4] = {}, ds[kTiles][kSlice / 8][4] = {};
      multiply_transposed<kDim>(c, p, rows.k, q_columns, static_cast<unsigned>(slice) / 16);
      multiply_transposed<kDim>(c, ds, rows.v, dout_columns, static_cast<unsigned>(slice) / 16);
      QAT_CUDA_UNROLL
      for (int n = 0; n < kSlice / 8; ++n) {
        const Bytes16 pair = of_queries.load(static_cast<unsigned>(slice + n * 8) / 2 + c.lane() % 4);
        QAT_CUDA_UNROLL
        for (int t = 0; t < kTiles; ++t) {
          QAT_CUDA_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float log2_sum_exp = bit_cast<float>(pair.word[i % 2 * 2]);
            const float delta = bit_cast<float>(pair.word[i % 2 * 2 + 1]);
            float probability = c.exp2(c.fma(p[t][n][i], to_log2, -log2_sum_exp));
            if (kMasked && slice + n * 8 + i % 2 < first_query + 16 * t + 8 * (i / 2)) probability = 0.0f;
            p[t][n][i] = probability;
            ds[t][n][i] = probability * (ds[t][n][i] - delta);
          }
        }
      }
      std::uint32_t a[kTiles][kSlice / 16][4];
      to_operand(c, a, p);
      multiply<kDim>(c, rows.dv, a, dout_rows, static_cast<unsigned>(slice) / 16);
      to_operand(c, a, ds);
      multiply<kDim>(c, rows.dk, a, q_rows, static_cast<unsigned>(slice) / 16);
    }
  }

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const AttentionExtents& e = args.extents;
    const int head_dim = static_cast<int>(e.head_dim), queries = static_cast<int>(e.query_tokens);
    const int offset = static_cast<int>(e.key_tokens - e.query_tokens);
    const auto work = order.find(c.block());
    const unsigned sequence = c.shuffle(work.head / static_cast<unsigned>(e.kv_heads), 0);
    const unsigned kv_head = c.shuffle(work.head, 0) - sequence * static_cast<unsigned>(e.kv_heads);
    const int first_key = static_cast<int>(c.shuffle(work.rank, 0)) * kRows;
    const int key_count = static_cast<int>(e.key_tokens) - first_key;
    const index_t kv_offset = sequence * e.kv_batch_stride + first_key * e.kv_stride + kv_head * e.head_dim;
    const int group = static_cast<int>(e.heads / e.kv_heads);

    const unsigned shared = c.template shared<Bytes16>(0).at(0), k_tile = shared + kSecondAt;
    copy_rows_async<kDim, kRows, kThreads>(c, k_tile, args.k + kv_offset, e.kv_stride, key_count, head_dim);
    copy_rows_async<kDim, kRows, kThreads>(c, k_tile + kRowBytes, args.v + kv_offset, e.kv_stride, key_count, head_dim);

    // All blocks of queries that see the first key, for one head of the group after the other.
    const int first_block = first_key > offset ? (first_key - offset) / kQueries : 0;
    const int last_block = (queries + kQueries - 1) / kQueries;
    int head = 0;  // of the group, of what is copied next
    const auto copy_queries = [&](unsigned to, int block) {
      const index_t from_head = kv_head * group + head, row = static_cast<index_t>(block) * kQueries;
      const int valid = queries - block * kQueries;
      copy_rows_async<kDim, kQueries, kThreads>(
          c, to, args.q + sequence * e.q_batch_stride + row * e.q_stride + from_head * e.head_dim, e.q_stride, valid,
          head_dim);
      copy_rows_async<kDim, kQueries, kThreads>(
          c, to + kTileBytes, args.dout + sequence * e.out_batch_stride + row * e.out_stride + from_head * e.head_dim,
          e.out_stride, valid, head_dim);
      static_assert(kQueries / 2 <= kThreads);
      if (c.thread() < kQueries / 2)
        c.cp_async16(to + 2 * kTileBytes + c.thread() * 16,
                     statistics + (sequence * e.heads + from_head) * statistics_stride + row + c.thread() * 2);
    };
    if (first_block < last_block) copy_queries(shared, first_block);
    c.cp_commit();
    c.template cp_wait<0>();
    c.sync();

    const int warp_row = static_cast<int>(c.shuffle(c.warp(), 0)) * 16 * kTiles;
    const int lane_row = static_cast<int>(c.lane() / 4), lane_query = static_cast<int>(c.lane() % 4) * 2;
    Rows rows;
    load_rows<kDim>(c, rows.k, Tile::lane_by_rows(k_tile, c.lane()), static_cast<unsigned>(warp_row) / 16);
    load_rows<kDim>(c, rows.v, Tile::lane_by_rows(k_tile + kRowBytes, c.lane()), static_cast<unsigned>(warp_row) / 16);
    c.sync();

    unsigned at = 0;  // of the stage
    int now = first_block;
    for (int steps = (last_block - first_block) * group; steps > 0; --steps) {
      const unsigned stage = shared + at;
      const unsigned q_columns = Tile::lane_by_columns(stage, c.lane()), q_rows = Tile::lane_by_rows(stage, c.lane());
      const unsigned dout_columns = Tile::lane_by_columns(stage + kTileBytes, c.lane());
      const unsigned dout_rows = Tile::lane_by_rows(stage + kTileBytes, c.lane());
      const unsigned statistics_at = at + 2 * kTileBytes;
      at = kSecondAt - at;
      int next = now + 1;
      if (next == last_block) {
        next = first_block;
        ++head;
      }
      if (steps > 1) copy_queries(shared + at, next);
      c.cp_commit();
      const int first_query = first_key - offset - now * kQueries;  // that sees the first key
      if (first_query + kRows <= 1)
        add_queries<false>(c, rows, q_columns, q_rows, dout_columns, dout_rows, statistics_at, 0, 0);
      else
        add_queries<true>(c, rows, q_columns, q_rows, dout_columns, dout_rows, statistics_at,
                          first_query + warp_row + lane_row - lane_query, first_query + warp_row);
      now = next;
      c.template cp_wait<0>();
      c.sync();
    }

    float factor[kTiles][2];
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) factor[t][0] = factor[t][1] = 1.0f;
    const unsigned mine = static_cast<unsigned>(warp_row) * Tile::kRowBytes;
    const index_t to = kv_offset + warp_row * e.kv_stride;
    store_rows<kDim>(c, mine, rows.dv, factor, args.dv + to, e.kv_stride, key_count - warp_row, head_dim);
    QAT_CUDA_UNROLL
    for (int t = 0; t < kTiles; ++t) factor[t][0] = factor[t][1] = e.scale;
    c.sync_warp();
    store_rows<kDim>(c, mine, rows.dk, factor, args.dk + to, e.kv_stride, key_count - warp_row, head_dim);
  }
};

}  // namespace qat::inline v0::cuda
