// The pipelined kernel of products with int4 weights: tiles of y, cut along K into slices, dealt out evenly to the
// blocks.
#pragma once

#include "qat/kernels/cuda/int4_operands.cuh"

namespace qat::inline v0::cuda {

/// Numbers of a kernel. A warp has kRows x 16 rows of the weight and kTokens x 8 tokens; kWarpsK groups of warps share
/// a slice of kDepth x 64 columns.
template <int Rows, int Tokens, int WarpsN, int WarpsM, int WarpsK, int Depth, int Stages, int MinBlocks>
struct Int4Shape {
  static constexpr int kRows = Rows, kTokens = Tokens;
  static constexpr int kWarpsN = WarpsN, kWarpsM = WarpsM, kWarpsK = WarpsK;
  static constexpr int kDepth = Depth, kStages = Stages, kMinBlocks = MinBlocks;
  static constexpr int kThreads = 32 * WarpsN * WarpsM * WarpsK;
  static constexpr int kTileRows = 16 * Rows * WarpsN, kTileTokens = 8 * Tokens * WarpsM, kColumns = 64 * Depth;
  static_assert(Depth % WarpsK == 0);
};

/// Work is a line of units, slice by slice, tile by tile; block b takes units [first(b), first(b + 1)), so shares
/// differ by one unit at most. A tile that lies in several shares is added up by the last of their blocks to arrive, in
/// order.
struct Int4Shares {
  unsigned slices;             ///< of a tile
  unsigned per_block, longer;  ///< the first `longer` blocks have one more
  QAT_HOST_DEVICE constexpr unsigned first(unsigned block) const {
    return block * per_block + (block < longer ? block : longer);
  }
  QAT_HOST_DEVICE constexpr unsigned owner(unsigned unit) const {
    const unsigned head = longer * (per_block + 1);
    return unit < head ? unit / (per_block + 1) : longer + (unit - head) / per_block;
  }
};

/// Shared memory: stages of [codes | activations], scratch, then stages of [scales | zero points]. Codes are tiles of
/// Int4Tiles as they are; a lane reads the 16 bytes that are its own. Form: the type of activations, how they lie and
/// what is done in registers (W4A16Form, W4A8Form).
template <class Shape, class Form>
struct Int4TilesKernel {
  static constexpr int kThreads = Shape::kThreads, kMinBlocks = Shape::kMinBlocks;
  static constexpr int kRowTiles = Shape::kTileRows / 16, kTokensOfTile = Shape::kTileTokens, kStages = Shape::kStages,
                       kWarps = Shape::kThreads / 32, kWarpTokens = 8 * Shape::kTokens;
  static constexpr unsigned kCodeBytes = kRowTiles * Shape::kDepth * 512;
  static constexpr unsigned kStageBytes = kCodeBytes + Shape::kTileTokens * Shape::kColumns * Form::kElementBytes;
  static constexpr unsigned kPitch = Shape::kTileRows + 4;  ///< of outputs in scratch: no bank is hit twice
  static constexpr unsigned kFragmentBytes = (Shape::kWarpsK - 1) * Shape::kTileRows * Shape::kTileTokens * 4;
  static constexpr unsigned kScratch = Shape::kStages * kStageBytes;
  static constexpr unsigned kScratchBytes =
      kPitch * Shape::kTileTokens * 4 > kFragmentBytes ? kPitch* Shape::kTileTokens * 4 : kFragmentBytes;
  static constexpr unsigned kScales = kScratch + kScratchBytes;
  static constexpr unsigned kBlocks =
      Shape::kDepth / Shape::kWarpsK;  ///< tiles of 64 columns that a warp has of a slice
  /// 16-byte chunks of a slice of a token.
  static constexpr unsigned kChunks = Shape::kColumns * Form::kElementBytes / 16;
  using Sums = typename Form::template Sums<Shape::kRows, Shape::kTokens>;

  Int4Operands w;
  Int4Shares shares;
  unsigned token_tiles;
  unsigned stage_groups;  ///< groups that a slice can touch
  bool every_tile;        ///< look for a new group at every tile of a slice, also where none begins inside
  float* partials;        ///< two tiles per block
  unsigned* counters;     ///< one per tile

  QAT_HOST_DEVICE unsigned scale_bytes() const { return stage_groups * 16 * static_cast<unsigned>(w.scale_bytes); }
  QAT_HOST_DEVICE unsigned group_stage_bytes() const {
    return kRowTiles * (scale_bytes() + (w.zero_points != nullptr ? stage_groups * 16 : 0));
  }
  std::size_t shared_bytes() const { return kScales + Shape::kStages * group_stage_bytes(); }
  static constexpr std::size_t tile_bytes() { return Shape::kTileRows * Shape::kTileTokens * 4; }

  /// What a thread copies of the next unit. From slice to slice pointers advance by a constant.
  struct Loader {
    unsigned slice;
    int row, token;  ///< of the thread's first copies of codes and activations
    const std::uint8_t* codes;
    const char* x;

    template <class Context>
    QAT_HOST_DEVICE void start(const Context& c, const Int4TilesKernel& k, unsigned at) {
      slice = at % k.shares.slices;
      const unsigned tile = at / k.shares.slices;
      const int row_tile = static_cast<int>(tile / k.token_tiles) * kRowTiles,
                column = static_cast<int>(slice) * Shape::kDepth + static_cast<int>(c.warp() % Shape::kDepth);
      row = row_tile + static_cast<int>(c.warp() / Shape::kDepth);
      codes = k.w.codes + (static_cast<index_t>(row) * k.w.column_tiles + column) * Int4Tiles::kBytes + c.lane() * 16;
      token = static_cast<int>(tile % k.token_tiles * Shape::kTileTokens + c.thread() / kChunks);
      x = static_cast<const char*>(k.w.x) +
          (token * k.w.x_stride + static_cast<index_t>(slice) * Shape::kColumns) *
              static_cast<index_t>(Form::kElementBytes) +
          c.thread() % kChunks * 16;
    }
    template <class Context>
    QAT_HOST_DEVICE void next(const Context& c, const Int4TilesKernel& k, unsigned at) {
      if (++slice == k.shares.slices) return start(c, k, at);
      codes += Shape::kDepth * Int4Tiles::kBytes;
      x += Shape::kColumns * Form::kElementBytes;
    }
  };

  /// What a warp does.
  template <class Context>
  struct Place {
    int n, m, k;
    QAT_HOST_DEVICE explicit Place(const Context& c) {
      const int warp = static_cast<int>(c.warp());
      n = warp % Shape::kWarpsN;
      m = warp / Shape::kWarpsN % Shape::kWarpsM;
      k = warp / (Shape::kWarpsN * Shape::kWarpsM);
    }
  };

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const Place<Context> at(c);
    const unsigned begin = shares.first(c.block()), end = shares.first(c.block() + 1);
    Sums sums;
    sums.clear(w);
    Loader loader;
    loader.start(c, *this, begin);
    QAT_CUDA_LOOP
    for (unsigned i = 0; i < Shape::kStages - 1; ++i) {
      if (begin + i < end) {
        load_unit(c, loader, i);
        loader.next(c, *this, begin + i + 1);
      }
      c.cp_commit();
    }
    const bool slices = Form::kGroupsOfSlices && !every_tile && (w.groups == 1 || w.group.group % (kBlocks * 64) == 0);
    const bool halves = w.group.group % 64 != 0 && w.groups > 1;  // a group can end in the middle of a tile
    unsigned stage = 0, slice = begin % shares.slices;
    QAT_CUDA_LOOP
    for (unsigned unit = begin; unit < end; ++unit) {
      c.template cp_wait<Shape::kStages - 2>();
      c.sync();  // this unit has landed for all threads, and all are done with the one before
      if (unit + Shape::kStages - 1 < end) {
        load_unit(c, loader, stage == 0 ? Shape::kStages - 1 : stage - 1);
        loader.next(c, *this, unit + Shape::kStages);
      }
      c.cp_commit();
      const int token = Form::kTokenOffsets ? first_token(c, at, unit) : 0;
      if (slices)
        multiply_unit<Entry::kSlice>(c, at, slice, token, stage, sums);
      else if (halves)
        multiply_unit<Entry::kHalf>(c, at, slice, token, stage, sums);
      else
        multiply_unit<Entry::kTile>(c, at, slice, token, stage, sums);
      if (++slice == shares.slices || unit + 1 == end) {
        sums.end_group(c, w, token);
        finish_tile(c, at, unit, sums);
        sums.clear(w);
        slice = 0;
      }
      stage = stage + 1 == Shape::kStages ? 0 : stage + 1;
    }
    c.template cp_wait<0>();
  }

 private:
  /// Where a group can begin. Without branches between its products a warp's part of a slice is scheduled as one.
  enum class Entry { kSlice, kTile, kHalf };

  template <class Context>
  QAT_HOST_DEVICE int first_token(const Context& c, const Place<Context>& at, unsigned unit) const {
    return static_cast<int>(unit / shares.slices % token_tiles) * Shape::kTileTokens + at.m * (Shape::kTokens * 8) +
           static_cast<int>(c.lane() % 4) * 2;
  }

  /// Every warp copies whole tiles of codes, a thread always the same chunk of a token's slice: what varies from copy
  /// to copy is a constant distance. These instructions are paid by every unit, so the common case has few.
  template <class Context>
  QAT_HOST_DEVICE void load_unit(const Context& c, const Loader& next, unsigned stage) const {
    const int k = static_cast<int>(next.slice) * Shape::kColumns;
    const unsigned warp = c.warp(), lane = c.lane();
    const auto shared = c.template shared<Bytes16>(0);
    {
      constexpr int kRowStep = kWarps / Shape::kDepth, kCopies = kRowTiles * Shape::kDepth / kWarps;
      static_assert(kWarps % Shape::kDepth == 0 && kRowTiles * Shape::kDepth % kWarps == 0);
      const std::uint8_t* from = next.codes;
      const index_t step = static_cast<index_t>(w.column_tiles) * (kRowStep * Int4Tiles::kBytes);
      const unsigned to = shared.at(stage * (kStageBytes / 16) + warp * 32 + lane);
      const bool inside = static_cast<int>(next.slice * Shape::kDepth + warp % Shape::kDepth) < w.column_tiles;
      QAT_CUDA_UNROLL
      for (int i = 0; i < kCopies; ++i) {
        c.cp_async16(to + static_cast<unsigned>(i) * (kWarps * 512), from,
                     inside && next.row + i * kRowStep < w.row_tiles);
        from += step;
      }
    }
    {
      constexpr int kTokenStep = kThreads / static_cast<int>(kChunks), kCopies = Shape::kTileTokens / kTokenStep;
      static_assert(kThreads % kChunks == 0 && kTokenStep % 4 == 0,
                    "the swizzle is the same for all tokens of a thread");
      static_assert(kCopies > 0 ? Shape::kTileTokens % kTokenStep == 0 : kTokenStep % Shape::kTileTokens == 0);
      const unsigned t = c.thread() / kChunks, column = c.thread() % kChunks;
      const unsigned to = (stage * kStageBytes + kCodeBytes) / 16 + t * kChunks + Form::swizzle(column, t);
      if (w.x_aligned && k + Shape::kColumns <= w.columns) {
        const char* from = next.x;
        const index_t step = w.x_stride * static_cast<index_t>(kTokenStep * Form::kElementBytes);
        QAT_CUDA_UNROLL
        for (int i = 0; i < (kCopies > 0 ? kCopies : 1); ++i) {
          if (kCopies == 0 && t >= Shape::kTileTokens) break;
          c.cp_async16(shared.at(to) + static_cast<unsigned>(i) * (kTokenStep * kChunks * 16), from,
                       next.token + i * kTokenStep < w.tokens);
          from += step;
        }
      } else {
        QAT_CUDA_LOOP
        for (unsigned i = t; i < Shape::kTileTokens; i += kTokenStep)
          Form::copy(c, w, to + (i - t) * kChunks, next.token + static_cast<int>(i - t),
                     static_cast<int>(next.slice * kChunks + column));
      }
    }
    // At most 2 kDepth groups: one chunk for each lane.
    const int row_tile = next.row - static_cast<int>(warp / Shape::kDepth);
    const unsigned first = w.group(k), left = static_cast<unsigned>(w.groups) - first,
                   count = left < stage_groups ? left : stage_groups;
    const unsigned base = (kScales + stage * group_stage_bytes()) / 16;
    QAT_CUDA_LOOP
    for (unsigned i = warp; i < kRowTiles; i += kWarps) {
      const bool valid = row_tile + static_cast<int>(i) < w.row_tiles;
      const index_t slot = valid ? ((row_tile + static_cast<index_t>(i)) * w.groups + first) * 16 : 0;
      const unsigned at = valid ? lane * 16 : 0;
      if (lane < count * static_cast<unsigned>(w.scale_bytes))
        c.cp_async16(shared.at(base + i * (scale_bytes() / 16) + lane), w.scales + slot * w.scale_bytes + at, valid);
      if (w.zero_points != nullptr && lane < count)
        c.cp_async16(shared.at(base + kRowTiles * (scale_bytes() / 16) + i * stage_groups + lane),
                     w.zero_points + slot + at, valid);
    }
  }

  template <Entry kEntry, class Context>
  QAT_HOST_DEVICE void multiply_unit(const Context& c, const Place<Context>& at, unsigned slice, int token,
                                     unsigned stage, Sums& sums) const {
    const unsigned lane = c.lane(), g = lane / 4, q = lane % 4;
    // What varies from load to load is a constant, which goes into the instruction.
    const unsigned first_block = static_cast<unsigned>(at.k) * kBlocks;
    const auto codes = c.template shared<Bytes16>(
        stage * kStageBytes +
        (static_cast<unsigned>(at.n) * (Shape::kRows * Shape::kDepth * 32) + first_block * 32 + lane) * 16);
    const unsigned tokens =
        (stage * kStageBytes + kCodeBytes) / 16 + (static_cast<unsigned>(at.m) * Shape::kTokens * 8 + g) * kChunks;
    const unsigned k = slice * Shape::kColumns;
    const std::size_t scales = kScales + stage * group_stage_bytes(), zeros = scales + kRowTiles * scale_bytes();
    const auto first = [&](unsigned group) {
      return (static_cast<unsigned>(at.n) * Shape::kRows * stage_groups + group - w.group(k)) * 16;
    };
    const auto enter = [&](unsigned column) {
      sums.enter(c, w, column, scales, zeros, first, stage_groups * 16, token);
    };
    if (kEntry == Entry::kSlice) enter(k + first_block * 64);
    QAT_CUDA_UNROLL
    for (unsigned i = 0; i < kBlocks; ++i) {
      const unsigned block = first_block + i;
      Bytes16 a[Shape::kRows];
      QAT_CUDA_UNROLL
      for (int j = 0; j < Shape::kRows; ++j) a[j] = codes.load((static_cast<unsigned>(j) * Shape::kDepth + i) * 32);
      if (kEntry != Entry::kSlice) enter(k + block * 64);
      QAT_CUDA_UNROLL
      for (unsigned half = 0; half < 2; ++half) {
        if (kEntry == Entry::kHalf && half == 1) enter(k + block * 64 + 32);
        typename Form::Operand b[Shape::kTokens];
        QAT_CUDA_UNROLL
        for (unsigned t = 0; t < Shape::kTokens; ++t)
          b[t] = Form::load(c, tokens, t * 8 * kChunks, first_block, i, half, g, q);
        sums.multiply(c, w, k + block * 64 + half * 32, static_cast<int>(half), a, b);
      }
    }
  }

  /// Calls f(i, fragment) for the fragments of a thread of the first of the warps along K; its place among theirs is
  /// `thread`.
  template <class F>
  QAT_HOST_DEVICE static void for_fragments(Sums& sums, const F& f) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < Shape::kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < Shape::kTokens; ++t) f(static_cast<unsigned>(i * Shape::kTokens + t), sums.total[i][t]);
    }
  }

  template <class Context>
  QAT_HOST_DEVICE void finish_tile(const Context& c, const Place<Context>& at, unsigned unit, Sums& sums) const {
    constexpr unsigned kOwners = kThreads / Shape::kWarpsK, kFragments = Shape::kRows * Shape::kTokens;
    const unsigned thread = c.thread() % kOwners;
    if constexpr (Shape::kWarpsK > 1) {
      const auto scratch = c.template shared<Bytes16>(kScratch);
      if (at.k != 0)
        for_fragments(sums, [&](unsigned i, const float(&v)[4]) {
          scratch.store((static_cast<unsigned>(at.k - 1) * kFragments + i) * kOwners + thread, detail::to_bytes(v));
        });
      c.sync();
      if (at.k == 0) {
        QAT_CUDA_UNROLL
        for (unsigned k = 0; k < Shape::kWarpsK - 1; ++k)
          for_fragments(sums, [&](unsigned i, float(&v)[4]) {
            add(c, v, scratch.load((k * kFragments + i) * kOwners + thread));
          });
      }
      c.sync();
    }
    const unsigned tile = unit / shares.slices, first = shares.owner(tile * shares.slices),
                   last = shares.owner((tile + 1) * shares.slices - 1);
    if (first != last && !is_last_to_arrive(c, at, tile, first, last, sums)) return;

    const auto outputs = c.template shared<float>(kScratch);
    const unsigned lane = c.lane(), g = lane / 4, q = lane % 4;
    if (at.k == 0)
      for_fragments(sums, [&](unsigned i, const float(&v)[4]) {
        const unsigned row = (static_cast<unsigned>(at.n) * Shape::kRows + i / Shape::kTokens) * 16 + g;
        const unsigned token = (static_cast<unsigned>(at.m) * Shape::kTokens + i % Shape::kTokens) * 8 + 2 * q;
        QAT_CUDA_UNROLL
        for (unsigned j = 0; j < 4; ++j) outputs.store((token + j % 2) * kPitch + row + j / 2 * 8, v[j]);
      });
    c.sync();
    const int n0 = static_cast<int>(tile / token_tiles) * Shape::kTileRows,
              m0 = static_cast<int>(tile % token_tiles) * Shape::kTileTokens;
    constexpr unsigned kRuns = Shape::kTileRows / 8;
    QAT_CUDA_LOOP
    for (unsigned i = c.thread(); i < kRuns * Shape::kTileTokens; i += kThreads) {
      const int n = n0 + static_cast<int>(i % kRuns) * 8, m = m0 + static_cast<int>(i / kRuns);
      if (n >= w.rows || m >= w.tokens) continue;
      float v[8];
      // Lanes 4 to 7 of 8 read their second half first: 8 lanes' 16 bytes lie in different banks.
      const unsigned run = (i / kRuns * kPitch + i % kRuns * 8) / 4, swap = i % kRuns / 4 % 2;
      const Bytes16 one = c.template shared<Bytes16>(kScratch).load(run + swap),
                    other = c.template shared<Bytes16>(kScratch).load(run + 1 - swap);
      QAT_CUDA_UNROLL
      for (unsigned j = 0; j < 4; ++j) {
        const float a = bit_cast<float>(one.word[j]), b = bit_cast<float>(other.word[j]);
        v[j] = swap == 0 ? a : b;
        v[4 + j] = swap == 0 ? b : a;
      }
      detail::store_outputs(c, w, m, n, v);
    }
  }

  template <class Context>
  QAT_HOST_DEVICE static void add(const Context& c, float (&v)[4], const Bytes16& other) {
    QAT_CUDA_UNROLL
    for (int j = 0; j < 4; ++j) v[j] = c.add(v[j], bit_cast<float>(other.word[j]));
  }

  /// Puts this block's sums of a tile where others find them. The last of the tile's blocks to do so gets the total of
  /// all, added in ascending order of k whoever is last, and true.
  template <class Context>
  QAT_HOST_DEVICE bool is_last_to_arrive(const Context& c, const Place<Context>& at, unsigned tile, unsigned first,
                                         unsigned last, Sums& sums) const {
    constexpr unsigned kOwners = kThreads / Shape::kWarpsK, kFragments = Shape::kRows * Shape::kTokens;
    const unsigned thread = c.thread() % kOwners;
    const auto slot = [&](unsigned block) {
      const unsigned second = shares.first(block) / shares.slices == tile ? 0 : 1;
      return reinterpret_cast<Bytes16*>(partials) +
             (static_cast<index_t>(block) * 2 + second) * (kFragments * kOwners) + thread;
    };
    Bytes16* const own = slot(c.block());
    if (at.k == 0)
      for_fragments(sums, [&](unsigned i, const float(&v)[4]) { c.store(own + i * kOwners, detail::to_bytes(v)); });
    c.sync();
    const auto flag = c.template shared<unsigned>(kScratch);
    if (c.thread() == 0) {
      c.fence();  // of all that the barrier has shown this thread
      const unsigned arrived = c.atomic_add(counters + tile, 1u);
      if (arrived == last - first) c.atomic_add(counters + tile, 0u - (last - first + 1));  // zero for the next call
      c.fence();
      flag.store(0, arrived);
    }
    c.sync();
    const bool is_last = flag.load(0) == last - first;
    c.sync();  // before scratch is written again
    if (!is_last) return false;
    if (at.k == 0) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < Shape::kRows; ++i) {
        QAT_CUDA_UNROLL
        for (int t = 0; t < Shape::kTokens; ++t) {
          QAT_CUDA_UNROLL
          for (int j = 0; j < 4; ++j) sums.total[i][t][j] = 0.0f;
        }
      }
      constexpr unsigned kAtOnce = kFragments >= 8 ? 1 : kFragments <= 2 ? 8 : 8 / kFragments;  // loads in flight
      QAT_CUDA_LOOP
      for (unsigned block = first; block <= last; block += kAtOnce) {
        Bytes16 share[kAtOnce][kFragments];
        QAT_CUDA_UNROLL
        for (unsigned b = 0; b < kAtOnce; ++b)
          if (block + b <= last) {
            const Bytes16* from = slot(block + b);
            QAT_CUDA_UNROLL
            for (unsigned i = 0; i < kFragments; ++i) share[b][i] = c.load(from + i * kOwners);
          }
        QAT_CUDA_UNROLL
        for (unsigned b = 0; b < kAtOnce; ++b)
          if (block + b <= last) for_fragments(sums, [&](unsigned i, float(&v)[4]) { add(c, v, share[b][i]); });
      }
    }
    return true;
  }
};

}  // namespace qat::inline v0::cuda
