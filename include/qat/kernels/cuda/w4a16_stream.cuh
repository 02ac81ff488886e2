// The kernel of w4a16_gemm for a few tokens: a block walks all of K for 16, 32 or 64 rows of the weight. Its warps take
// a share of K each, load tiles straight into registers, many ahead, and meet once at the end: no pipeline to fill, no
// barrier but two, no other block to wait for. Tensor cores, not fused multiply-adds of the CUDA cores: those would
// take some 3 instructions a weight (extract, convert, multiply), where a tile of 1024 weights takes a warp about 50.
#pragma once

#include "qat/kernels/cuda/w4a16_form.cuh"

namespace qat::inline v0::cuda {

/// Shared memory: activations (tokens rows of `pitch` 16-byte chunks), scales, zero points of the block's rows.
/// kRows: tiles of 16 rows of a block. kAhead: tiles of the weight that a warp has in flight.
template <int kRows, int kTokens, int kAhead, int Threads, int kBlocks>
struct W4A16StreamKernel {
  static constexpr int kThreads = Threads, kMinBlocks = kBlocks, kWarps = kThreads / 32, kSlots = kAhead / kRows;
  /// 16-byte chunks of a warp's sums of a tile: 32, and some so that tiles lie in different banks.
  static constexpr unsigned kSumChunks = kRows * kTokens == 4 ? 34 : 36;
  using Sums = detail::W4A16Sums<kRows, kTokens>;
  static constexpr int kTokensOfTile = 8 * kTokens;

  Int4Operands w;
  unsigned pitch;          ///< chunks from token to token: an odd multiple of 4, so neighbours lie in different banks
  unsigned scales, zeros;  ///< bytes
  unsigned bytes;          ///< of shared memory

  explicit W4A16StreamKernel(const Int4Operands& operands) : w(operands) {
    const unsigned groups = static_cast<unsigned>(w.groups);
    pitch = (static_cast<unsigned>(w.column_tiles) * 8) | 4u;
    scales = pitch * static_cast<unsigned>(w.tokens) * 16;
    zeros = scales + kRows * groups * 16 * static_cast<unsigned>(w.scale_bytes);
    bytes = zeros + (w.zero_points != nullptr ? kRows * groups * 16 : 0);
    constexpr unsigned kSumBytes = kWarps * kRows * kTokens * kSumChunks * 16;
    if (bytes < kSumBytes) bytes = kSumBytes;
  }

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const unsigned lane = c.lane(), warp = c.warp();
    const int row_tile = static_cast<int>(c.block()) * kRows;
    // Shares of K in whole tiles, even to one tile.
    const unsigned tiles = static_cast<unsigned>(w.column_tiles), begin = tiles * warp / kWarps,
                   end = tiles * (warp + 1) / kWarps;
    const Bytes16* codes[kRows];  // this lane's bytes of the tiles of slot 0
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int row = row_tile + i < w.row_tiles ? row_tile + i : w.row_tiles - 1;  // of rows that are not stored: any
      codes[i] =
          reinterpret_cast<const Bytes16*>(w.codes) + (static_cast<index_t>(row) * w.column_tiles + begin) * 32 + lane;
    }
    Bytes16 a[kSlots][kRows];
    QAT_CUDA_UNROLL
    for (unsigned s = 0; s < kSlots; ++s) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < kRows; ++i)
        if (begin + s < end) a[s][i] = c.load_stream(codes[i] + s * 32);
    }
    fill_shared(c, row_tile);
    c.cp_commit();
    c.template cp_wait<0>();
    c.sync();

    Sums sums;
    sums.clear(w);
    const auto shared = c.template shared<Bytes16>(0);
    if (w.group.group % 64 != 0 && w.groups > 1)  // a group can end in the middle of a tile
      multiply<true>(c, begin, end, codes, a, sums);
    else
      multiply<false>(c, begin, end, codes, a, sums);
    sums.end_group(c, w, 0);

    c.sync();  // the activations have been read
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t)
        shared.store((warp * (kRows * kTokens) + static_cast<unsigned>(i * kTokens + t)) * kSumChunks + lane,
                     detail::to_bytes(sums.total[i][t]));
    }
    c.sync();
    // Output n of token t: element n / 8 * 2 + t % 2 of lane n % 8 * 4 + t / 2.
    const auto partial = c.template shared<float>(0);
    constexpr unsigned kRuns = kRows * 2;
    QAT_CUDA_LOOP
    for (unsigned i = c.thread(); i < kRuns * static_cast<unsigned>(w.tokens); i += kThreads) {
      const unsigned run = i % kRuns, token = i / kRuns;
      const int n = row_tile * 16 + static_cast<int>(run) * 8;
      if (n >= w.rows) continue;
      float v[8];
      QAT_CUDA_UNROLL
      for (unsigned j = 0; j < 8; ++j) {
        const unsigned at =
            ((run / 2 * kTokens + token / 8) * kSumChunks + j * 4 + token % 8 / 2) * 4 + run % 2 * 2 + token % 2;
        v[j] = 0.0f;
        QAT_CUDA_UNROLL
        for (unsigned k = 0; k < kWarps; ++k)
          v[j] = c.add(v[j], partial.load(k * (kRows * kTokens * kSumChunks * 4) + at));
      }
      detail::store_outputs(c, w, static_cast<int>(token), n, v);
    }
  }

 private:
  template <bool kHalves, class Context>
  QAT_HOST_DEVICE void multiply(const Context& c, unsigned begin, unsigned end, const Bytes16* (&codes)[kRows],
                                Bytes16 (&a)[kSlots][kRows], Sums& sums) const {
    const auto enter = [&](unsigned column) {
      const auto first = [](unsigned group) { return group * 16; };
      sums.enter(c, w, column, scales, zeros, first, static_cast<unsigned>(w.groups) * 16, 0);
    };
    // Lanes of tokens that are not there compute what nobody reads, from those of the last.
    const unsigned last = static_cast<unsigned>(w.tokens) - 1;
    unsigned tokens[kTokens];
    QAT_CUDA_UNROLL
    for (unsigned t = 0; t < kTokens; ++t) {
      const unsigned token = t * 8 + c.lane() / 4;
      tokens[t] = (token < last ? token : last) * pitch + c.lane() % 4;
    }
    QAT_CUDA_LOOP
    for (unsigned first = begin; first < end; first += kSlots) {
      QAT_CUDA_UNROLL
      for (unsigned s = 0; s < kSlots; ++s) {
        const unsigned tile = first + s;
        if (tile >= end) break;
        enter(tile * 64);
        QAT_CUDA_UNROLL
        for (unsigned half = 0; half < 2; ++half) {
          if (kHalves && half == 1) enter(tile * 64 + 32);
          Bytes16 b[kTokens];
          QAT_CUDA_UNROLL
          for (int t = 0; t < kTokens; ++t)
            b[t] = c.template shared<Bytes16>((tokens[t] + first * 8) * 16).load(s * 8 + half * 4);
          sums.multiply(c, w, 0, static_cast<int>(half), a[s], b);
        }
        QAT_CUDA_UNROLL
        for (int i = 0; i < kRows; ++i)
          if (tile + kSlots < end) a[s][i] = c.load_stream(codes[i] + (kSlots + s) * 32);
      }
      QAT_CUDA_UNROLL
      for (int i = 0; i < kRows; ++i) codes[i] += kSlots * 32;
    }
  }

  template <class Context>
  QAT_HOST_DEVICE void fill_shared(const Context& c, int row_tile) const {
    const auto shared = c.template shared<Bytes16>(0);
    const unsigned chunks = static_cast<unsigned>(w.column_tiles) * 8,
                   whole = w.x_aligned ? static_cast<unsigned>(w.columns) / 8 : 0;
    QAT_CUDA_LOOP
    for (unsigned t = 0; t < static_cast<unsigned>(w.tokens); ++t) {
      const Bytes16* const row =
          reinterpret_cast<const Bytes16*>(static_cast<const bfloat16*>(w.x) + static_cast<index_t>(t) * w.x_stride);
      for (unsigned i = c.thread(); i < whole; i += kThreads) c.cp_async16(shared.at(t * pitch + i), row + i);
      QAT_CUDA_LOOP
      for (unsigned i = whole + c.thread(); i < chunks; i += kThreads)
        detail::copy_activations(c, w, t * pitch + i, static_cast<index_t>(t), static_cast<int>(i) * 8);
    }
    // The groups of neighbouring tiles of rows follow each other in memory.
    const int rows = w.row_tiles - row_tile < kRows ? w.row_tiles - row_tile : kRows;
    const unsigned run = static_cast<unsigned>(rows) * static_cast<unsigned>(w.groups);
    const index_t slot = static_cast<index_t>(row_tile) * w.groups * 16;
    QAT_CUDA_LOOP
    for (unsigned i = c.thread(); i < run * static_cast<unsigned>(w.scale_bytes); i += kThreads)
      c.cp_async16(shared.at(scales / 16 + i), w.scales + slot * w.scale_bytes + i * 16);
    if (w.zero_points == nullptr) return;
    QAT_CUDA_LOOP
    for (unsigned i = c.thread(); i < run; i += kThreads)
      c.cp_async16(shared.at(zeros / 16 + i), w.zero_points + slot + i * 16);
  }
};

}  // namespace qat::inline v0::cuda
