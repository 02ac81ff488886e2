// Kernels of prepack_int4.hpp. A thread of the tile kernels holds what a lane of mma holds: 16 bytes, 16 columns of two
// rows, which are two runs of 8 neighbours in each row, so nothing passes between threads.
#pragma once

#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/prepack_int4.hpp"

namespace qat::inline v0::cuda {
namespace detail {

/// Nibbles 0..3 of `low16` in bits 0, 16, 8, 24: the even nibbles of a word of Int4Tiles (the odd ones, << 4).
QAT_HOST_DEVICE constexpr std::uint32_t spread_nibbles(std::uint32_t low16) {
  return (low16 & 0x0F0Fu) | (low16 & 0xF0F0u) << 12;
}
QAT_HOST_DEVICE constexpr std::uint32_t gather_nibbles(std::uint32_t word) {
  return (word & 0x0F0Fu) | (word >> 12 & 0xF0F0u);
}

/// Columns [k, k + 8) of a row as nibbles of a word, those at or beyond `columns` as `padding`.
template <class Context, class S>
QAT_HOST_DEVICE std::uint32_t load_8_codes(const Context& c, const RowMajorInt4<const std::uint8_t, S>& w,
                                           index_t columns, index_t n, index_t k, bool aligned) {
  const std::uint8_t* p = w.codes + n * w.pitch(columns) + k / 2;
  if (aligned && k + 8 <= columns) return c.load_stream(reinterpret_cast<const std::uint32_t*>(p));
  std::uint32_t word = 0;
  QAT_CUDA_LOOP
  for (int i = 0; i < 4; ++i)
    if (k + 2 * i < columns) word |= std::uint32_t{c.load_stream(p + i)} << 8 * i;
  return word;
}
/// All bits of the nibbles of columns below `columns` of 8 from k.
QAT_HOST_DEVICE constexpr std::uint32_t valid_nibbles(index_t columns, index_t k) {
  const index_t n = columns - k;
  return n >= 8 ? 0xFFFFFFFFu : n <= 0 ? 0u : (1u << 4 * n) - 1;
}

/// 8 values of neighbouring columns, (u - zero) * s of one group, as bfloat16.
template <class Context>
QAT_HOST_DEVICE Bytes16 dequantize_8(const Context& c, std::uint32_t nibbles, float zero, float scale) {
  Bytes16 out;
  const float offset = 0x1p23f + zero;
  for (int i = 0; i < 4; ++i) {
    const float a = bit_cast<float>(0x4B000000u | (nibbles >> 8 * i & 15u)),  // 2^23 + u
        b = bit_cast<float>(0x4B000000u | (nibbles >> (8 * i + 4) & 15u));
    out.word[i] = c.bf16_pair(c.mul(c.sub(a, offset), scale), c.mul(c.sub(b, offset), scale));
  }
  return out;
}
/// Drops the first of 8 elements and appends one; an index that is not a constant would put them in memory.
QAT_HOST_DEVICE constexpr void shift_element(Bytes16& v, std::uint32_t last) {
  for (int i = 0; i < 3; ++i) v.word[i] = v.word[i] >> 16 | v.word[i + 1] << 16;
  v.word[3] = v.word[3] >> 16 | last << 16;
}
/// Stores columns [k, k + 8) of a row, as many as there are.
template <class Context>
QAT_HOST_DEVICE void store_8(const Context& c, bfloat16* row, index_t k, index_t columns, bool aligned,
                             const Bytes16& v) {
  if (aligned && k + 8 <= columns) return c.store(reinterpret_cast<Bytes16*>(row + k), v);
  Bytes16 rest = v;
  QAT_CUDA_LOOP
  for (int i = 0; i < 8 && k + i < columns; ++i) {
    c.store(row + k + i, bfloat16::from_bits(rest.word[0] & 0xFFFFu));
    shift_element(rest, 0);
  }
}
QAT_HOST_DEVICE constexpr float scale_value(float s) { return s; }
QAT_HOST_DEVICE constexpr float scale_value(bfloat16 s) { return low_bf16(s.bits); }
template <class Context, class S, class Byte>
QAT_HOST_DEVICE void load_group(const Context& c, const S* scales, const Byte* zero_points, index_t slot, float& scale,
                                float& zero) {
  scale = scale_value(c.load_cached(scales + slot));
  zero = zero_points == nullptr ? 8.0f : static_cast<float>(c.load_cached(zero_points + slot));
}
/// k / group, by a shift where group is a power of two; a 64-bit division is some hundred instructions.
struct GroupOf {
  unsigned group;
  int shift;  ///< -1: none
  explicit GroupOf(const Int4Tiles& t)
      : group(static_cast<unsigned>(t.group < t.columns ? t.group : t.columns)), shift(-1) {
    for (int i = 0; i < 31; ++i)
      if (group == 1u << i) shift = i;
  }
  QAT_HOST_DEVICE unsigned operator()(index_t k) const {
    return shift >= 0 ? static_cast<unsigned>(k) >> shift : static_cast<unsigned>(k) / group;
  }
};
/// Dequantizes 8 columns that may lie in several groups. slot(group) -> where scale and zero point lie.
template <class Context, class Weight, class Slot>
QAT_HOST_DEVICE Bytes16 dequantize_8(const Context& c, const Weight& w, const Int4Tiles& t, const GroupOf& group,
                                     std::uint32_t nibbles, index_t k, const Slot& slot) {
  float scale, zero;
  if (group.group % 8 == 0 || t.group >= t.columns) {
    load_group(c, w.scales, w.zero_points, slot(group(k)), scale, zero);
    return dequantize_8(c, nibbles, zero, scale);
  }
  Bytes16 out = {};
  QAT_CUDA_LOOP
  for (int i = 0; i < 8; ++i) {
    float value = 0.0f;
    if (k + i < t.columns) {
      load_group(c, w.scales, w.zero_points, slot(group(k + i)), scale, zero);
      value = c.mul(c.sub(static_cast<float>(nibbles >> 4 * i & 15u), zero), scale);
    }
    shift_element(out, c.bf16_pair(value, 0.0f));
  }
  return out;
}

inline constexpr int kTilesPerThread = 4;  // loads in flight: 16 of 4 bytes, or 4 of 16

/// The tiles of a thread: `kTilesPerThread` neighbours along the columns. load(row tile, column tile) of all of them,
/// then use(row tile, column tile, what load gave) of each.
template <class Context, class Load, class Use>
QAT_HOST_DEVICE void for_tiles(const Context& c, const Int4Tiles& t, const Load& load, const Use& use) {
  const unsigned runs = static_cast<unsigned>(t.column_tiles() + kTilesPerThread - 1) / kTilesPerThread;
  const index_t run = static_cast<index_t>(c.block()) * (c.threads() / 32) + c.warp();
  if (run >= t.row_tiles() * runs) return;
  const index_t row_tile = static_cast<unsigned>(run) / runs,
                first = static_cast<unsigned>(run) % runs * kTilesPerThread;
  Bytes16 loaded[kTilesPerThread];
  QAT_CUDA_UNROLL
  for (int i = 0; i < kTilesPerThread; ++i)
    if (first + i < t.column_tiles()) loaded[i] = load(row_tile, first + i);
  QAT_CUDA_UNROLL
  for (int i = 0; i < kTilesPerThread; ++i)
    if (first + i < t.column_tiles()) use(row_tile, first + i, loaded[i]);
}
/// f(i, n, k) for the four runs of 8 columns that a lane holds of a tile: rows g and g + 8 of each half.
template <class Context, class F>
QAT_HOST_DEVICE void for_runs(const Context& c, index_t row_tile, index_t column_tile, const F& f) {
  const index_t n = row_tile * Int4Tiles::kRows + c.lane() / 4,
                k = column_tile * Int4Tiles::kColumns + c.lane() % 4 * 8;
  QAT_CUDA_UNROLL
  for (int i = 0; i < 4; ++i) f(i, n + i % 2 * 8, k + i / 2 * 32);
}
/// Bytes of this lane of a tile.
template <class Context, class Byte>
QAT_HOST_DEVICE auto* lane_bytes(const Context& c, const Int4Tiles& t, Byte* codes, index_t row_tile,
                                 index_t column_tile) {
  using Lane = std::conditional_t<std::is_const_v<Byte>, const Bytes16, Bytes16>;
  return reinterpret_cast<Lane*>(codes + (row_tile * t.column_tiles() + column_tile) * Int4Tiles::kBytes) + c.lane();
}
inline Grid tile_grid(const Int4Tiles& t, int threads, std::size_t shared_bytes = 0) {
  const index_t runs = (t.column_tiles() + kTilesPerThread - 1) / kTilesPerThread * t.row_tiles();
  return {static_cast<unsigned>((runs + threads / 32 - 1) / (threads / 32)), 1, shared_bytes};
}

struct PrepackCodes {
  static constexpr int kThreads = 256;
  RowMajorInt4<const std::uint8_t, const float> from;
  std::uint8_t* to;
  Int4Tiles tiles;
  bool aligned;  ///< every fourth byte of a row may be read as 4 bytes

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const auto load = [&](index_t row_tile, index_t column_tile) {
      Bytes16 raw = {};
      for_runs(c, row_tile, column_tile, [&](int i, index_t n, index_t k) {
        if (n < tiles.rows && k < tiles.columns) raw.word[i] = load_8_codes(c, from, tiles.columns, n, k, aligned);
      });
      return raw;
    };
    for_tiles(c, tiles, load, [&](index_t row_tile, index_t column_tile, const Bytes16& raw) {
      std::uint32_t code[4];
      for_runs(c, row_tile, column_tile, [&](int i, index_t n, index_t k) {
        const std::uint32_t valid = n < tiles.rows ? valid_nibbles(tiles.columns, k) : 0u;
        code[i] = ((raw.word[i] ^ (from.is_signed ? 0x88888888u : 0u)) & valid) | (0x88888888u & ~valid);
      });
      Bytes16 out;
      QAT_CUDA_UNROLL
      for (int s = 0; s < 4; ++s)
        out.word[s] = spread_nibbles(code[s / 2 * 2] >> 16 * (s % 2) & 0xFFFFu) |
                      spread_nibbles(code[s / 2 * 2 + 1] >> 16 * (s % 2) & 0xFFFFu) << 4;
      c.store(lane_bytes(c, tiles, to, row_tile, column_tile), out);
    });
  }
};

/// Run i of for_runs, as row-major nibbles of u.
QAT_HOST_DEVICE constexpr std::uint32_t row_nibbles(const Bytes16& lane, int i) {
  return gather_nibbles(lane.word[i / 2 * 2] >> 4 * (i % 2)) | gather_nibbles(lane.word[i / 2 * 2 + 1] >> 4 * (i % 2))
                                                                   << 16;
}

struct UnpackCodes {
  static constexpr int kThreads = 256;
  const std::uint8_t* from;
  RowMajorInt4<std::uint8_t, float> to;
  Int4Tiles tiles;
  bool aligned;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const auto load = [&](index_t row_tile, index_t column_tile) {
      return c.load_stream(lane_bytes(c, tiles, from, row_tile, column_tile));
    };
    for_tiles(c, tiles, load, [&](index_t row_tile, index_t column_tile, const Bytes16& lane) {
      for_runs(c, row_tile, column_tile, [&](int i, index_t n, index_t k) {
        if (n >= tiles.rows || k >= tiles.columns) return;
        const std::uint32_t raw =
            (row_nibbles(lane, i) ^ (to.is_signed ? 0x88888888u : 0u)) & valid_nibbles(tiles.columns, k);
        std::uint8_t* p = to.codes + n * to.pitch(tiles.columns) + k / 2;
        if (aligned && k + 8 <= tiles.columns) return c.store(reinterpret_cast<std::uint32_t*>(p), raw);
        QAT_CUDA_LOOP
        for (int b = 0; b < 4; ++b)
          if (k + 2 * b < tiles.columns) c.store(p + b, static_cast<std::uint8_t>(raw >> 8 * b));
      });
    });
  }
};

/// One thread per slot; padding rows: zero bits and, for zero points, 8.
template <class T>
struct PrepackGroups {
  static constexpr int kThreads = 256;
  const T* from;
  T* to;
  Int4Tiles tiles;
  T padding;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t slot = static_cast<index_t>(c.block()) * c.threads() + c.thread();
    if (slot >= tiles.group_entries()) return;
    const index_t run = slot / 16, n = run / tiles.groups() * 16 + slot % 16;
    c.store(to + slot, n < tiles.rows ? c.load_stream(from + n * tiles.groups() + run % tiles.groups()) : padding);
  }
};
template <class T>
struct UnpackGroups {
  static constexpr int kThreads = 256;
  const T* from;
  T* to;
  Int4Tiles tiles;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = static_cast<index_t>(c.block()) * c.threads() + c.thread();
    if (i >= tiles.rows * tiles.groups()) return;
    c.store(to + i, c.load_stream(from + tiles.slot_of(i / tiles.groups(), i % tiles.groups())));
  }
};

/// A warp dequantizes 16 rows x 4 tiles. It passes the tiles through shared memory, so that its lanes hold neighbours
/// of one row and store 512 bytes of it at once.
template <class S>
struct DequantizeTiles {
  static constexpr int kThreads = 256;
  static constexpr unsigned kChunks = 36;  ///< of a tile in shared memory: 32, and 4 so that two lie in different banks
  static constexpr std::size_t kSharedBytes = kThreads / 32 * kTilesPerThread * kChunks * 16;
  TiledInt4<const std::uint8_t, const S> from;
  bfloat16* y;
  index_t stride;
  Int4Tiles tiles;
  bool aligned;
  GroupOf group;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const unsigned runs = static_cast<unsigned>(tiles.column_tiles() + kTilesPerThread - 1) / kTilesPerThread;
    const index_t run = static_cast<index_t>(c.block()) * (kThreads / 32) + c.warp();
    if (run >= tiles.row_tiles() * runs) return;
    const index_t row_tile = static_cast<unsigned>(run) / runs,
                  first = static_cast<unsigned>(run) % runs * kTilesPerThread;
    const unsigned lane = c.lane(), place = c.warp() * kTilesPerThread * kChunks;
    Bytes16 loaded[kTilesPerThread] = {};
    QAT_CUDA_UNROLL
    for (unsigned i = 0; i < kTilesPerThread; ++i)
      if (first + i < tiles.column_tiles())
        loaded[i] = c.load_stream(lane_bytes(c, tiles, from.codes, row_tile, first + i));
    const auto staged = c.template shared<Bytes16>(0);
    QAT_CUDA_UNROLL
    for (unsigned i = 0; i < kTilesPerThread; ++i) staged.store(place + i * kChunks + lane, loaded[i]);
    c.sync_warp();

    const index_t k = first * Int4Tiles::kColumns + lane * 8;
    if (k >= tiles.columns) return;
    const auto words = c.template shared<Bytes8>(0);
    const unsigned at = (place + lane / 8 * kChunks + lane % 4) * 2 + lane / 4 % 2;
    const bool one_group = group.group % 8 == 0 || tiles.group >= tiles.columns;
    QAT_CUDA_UNROLL
    for (int half = 0; half < 2; ++half) {  // rows 8 half .. 8 half + 7
      float scale[8], zero[8];
      if (one_group) {
        const index_t slot = (row_tile * tiles.groups() + group(k)) * 16 + half * 8;
        load_8(c, from.scales + slot, scale);
        const Bytes8 eight = from.zero_points == nullptr
                                 ? Bytes8{{0x08080808u, 0x08080808u}}
                                 : c.load_cached(reinterpret_cast<const Bytes8*>(from.zero_points + slot));
        QAT_CUDA_UNROLL
        for (int g = 0; g < 8; ++g) zero[g] = static_cast<float>(eight.word[g / 4] >> 8 * (g % 4) & 255u);
      }
      QAT_CUDA_UNROLL
      for (int g = 0; g < 8; ++g) {
        const index_t n = row_tile * 16 + g + 8 * half;
        if (n >= tiles.rows) continue;
        const Bytes8 two = words.load(at + static_cast<unsigned>(g) * 8);
        const std::uint32_t nibbles = gather_nibbles(two.word[0] >> 4 * half) | gather_nibbles(two.word[1] >> 4 * half)
                                                                                    << 16;
        const auto slot = [&](index_t of) { return (row_tile * tiles.groups() + of) * 16 + g + 8 * half; };
        store_8(c, y + n * stride, k, tiles.columns, aligned,
                one_group ? dequantize_8(c, nibbles, zero[g], scale[g])
                          : dequantize_8(c, from, tiles, group, nibbles, k, slot));
      }
    }
  }

 private:
  template <class Context>
  QAT_HOST_DEVICE static void load_8(const Context& c, const float* p, float (&v)[8]) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < 2; ++i) {
      const Bytes16 four = c.load_cached(reinterpret_cast<const Bytes16*>(p) + i);
      QAT_CUDA_UNROLL
      for (int j = 0; j < 4; ++j) v[4 * i + j] = bit_cast<float>(four.word[j]);
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static void load_8(const Context& c, const bfloat16* p, float (&v)[8]) {
    const Bytes16 eight = c.load_cached(reinterpret_cast<const Bytes16*>(p));
    QAT_CUDA_UNROLL
    for (int i = 0; i < 8; ++i) v[i] = i % 2 == 0 ? low_bf16(eight.word[i / 2]) : high_bf16(eight.word[i / 2]);
  }
};

/// A warp dequantizes up to 1024 neighbours of a row: 8 per lane and step.
template <class S>
struct DequantizeRows {
  static constexpr int kThreads = 256;
  static constexpr int kSteps = 4;
  static constexpr int kRun = kSteps * 32 * 8;
  RowMajorInt4<const std::uint8_t, const S> from;
  bfloat16* y;
  index_t stride;
  Int4Tiles tiles;
  bool aligned_codes, aligned;
  GroupOf group;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const unsigned runs = static_cast<unsigned>((tiles.columns + kRun - 1) / kRun);
    const index_t run = static_cast<index_t>(c.block()) * (kThreads / 32) + c.warp();
    if (run >= tiles.rows * runs) return;
    const index_t n = static_cast<unsigned>(run) / runs;
    const index_t first = static_cast<index_t>(static_cast<unsigned>(run) % runs * kRun + c.lane() * 8);
    std::uint32_t code[kSteps];
    QAT_CUDA_UNROLL
    for (int i = 0; i < kSteps; ++i)
      if (first + i * 256 < tiles.columns)
        code[i] = load_8_codes(c, from, tiles.columns, n, first + i * 256, aligned_codes);
    const index_t row = n * tiles.groups();
    const auto slot = [&](index_t at) { return row + at; };
    QAT_CUDA_UNROLL
    for (int i = 0; i < kSteps; ++i) {
      const index_t k = first + i * 256;
      if (k < tiles.columns)
        store_8(c, y + n * stride, k, tiles.columns, aligned,
                dequantize_8(c, from, tiles, group, code[i] ^ (from.is_signed ? 0x88888888u : 0u), k, slot));
    }
  }
};

inline bool is_aligned(const void* p, std::uintptr_t bytes) { return reinterpret_cast<std::uintptr_t>(p) % bytes == 0; }
inline Grid blocks_of(index_t threads, int per_block) {
  return {static_cast<unsigned>((threads + per_block - 1) / per_block), 1, 0};
}

inline void check_tiles(const char* operation, const Int4Tiles& t, const void* codes, const void* scales,
                        const void* zero_points) {
  QAT_CHECK(t.rows >= 0 && t.columns >= 0 && t.group >= 1, kInvalidArgument, operation, ": weights of ", t.rows, " x ",
            t.columns, " in groups of ", t.group, ", accepted are extents of at least 0 and groups of at least 1");
  QAT_CHECK(t.rows <= (index_t{1} << 30) && t.columns <= (index_t{1} << 30) &&
                t.row_tiles() * t.column_tiles() < (index_t{1} << 30) && t.group_entries() < (index_t{1} << 37),
            kUnsupported, operation, ": weights of ", t.rows, " x ", t.columns, ", accepted are up to 2^40 of them");
  const auto check_aligned = [&](const char* what, const void* p) {
    QAT_CHECK(is_aligned(p, 16), kInvalidArgument, operation, ": the ", what, " of the tiled weights start at ",
              static_cast<unsigned long long>(reinterpret_cast<std::uintptr_t>(p) % 16),
              " bytes past a multiple of 16, must be aligned to 16");
  };
  check_aligned("codes", codes);
  check_aligned("scales", scales);
  check_aligned("zero points", zero_points);
}
inline void check_zero_points(const char* operation, const void* from, const void* to) {
  QAT_CHECK((from == nullptr) == (to == nullptr), kInvalidArgument, operation, ": ", from == nullptr ? "no " : "",
            "zero points to read, ", to == nullptr ? "none" : "some", " to write; must be both or neither");
}

}  // namespace detail

template <class S>
void prepack_int4(const CudaBackend& backend, const Int4Tiles& t, const RowMajorInt4<const std::uint8_t, const S>& from,
                  const TiledInt4<std::uint8_t, S>& to) {
  detail::check_tiles("prepack_int4", t, to.codes, to.scales, to.zero_points);
  detail::check_zero_points("prepack_int4", from.zero_points, to.zero_points);
  if (t.rows == 0 || t.columns == 0) return;
  using Codes = detail::PrepackCodes;
  const bool aligned = detail::is_aligned(from.codes, 4) && from.pitch(t.columns) % 4 == 0;
  launch(backend, detail::tile_grid(t, Codes::kThreads),
         Codes{{from.codes, from.row_bytes, from.is_signed, nullptr, nullptr}, to.codes, t, aligned}, "prepack_int4 ",
         t.rows, " x ", t.columns);
  launch(backend, detail::blocks_of(t.group_entries(), 256), detail::PrepackGroups<S>{from.scales, to.scales, t, S{}},
         "prepack_int4 (scales) ", t.rows, " x ", t.columns);
  if (to.zero_points != nullptr)
    launch(backend, detail::blocks_of(t.group_entries(), 256),
           detail::PrepackGroups<std::uint8_t>{from.zero_points, to.zero_points, t, 8}, "prepack_int4 (zero points) ",
           t.rows, " x ", t.columns);
}

template <class S>
void unpack_int4(const CudaBackend& backend, const Int4Tiles& t, const TiledInt4<const std::uint8_t, const S>& from,
                 const RowMajorInt4<std::uint8_t, S>& to) {
  detail::check_tiles("unpack_int4", t, from.codes, from.scales, from.zero_points);
  detail::check_zero_points("unpack_int4", from.zero_points, to.zero_points);
  if (t.rows == 0 || t.columns == 0) return;
  using Codes = detail::UnpackCodes;
  const bool aligned = detail::is_aligned(to.codes, 4) && to.pitch(t.columns) % 4 == 0;
  launch(backend, detail::tile_grid(t, Codes::kThreads),
         Codes{from.codes, {to.codes, to.row_bytes, to.is_signed, nullptr, nullptr}, t, aligned}, "unpack_int4 ",
         t.rows, " x ", t.columns);
  launch(backend, detail::blocks_of(t.rows * t.groups(), 256), detail::UnpackGroups<S>{from.scales, to.scales, t},
         "unpack_int4 (scales) ", t.rows, " x ", t.columns);
  if (to.zero_points != nullptr)
    launch(backend, detail::blocks_of(t.rows * t.groups(), 256),
           detail::UnpackGroups<std::uint8_t>{from.zero_points, to.zero_points, t}, "unpack_int4 (zero points) ",
           t.rows, " x ", t.columns);
}

template <class S>
void dequantize_int4(const CudaBackend& backend, const Int4Tiles& t,
                     const RowMajorInt4<const std::uint8_t, const S>& from, bfloat16* y, index_t y_stride) {
  detail::check_tiles("dequantize_int4", t, nullptr, nullptr, nullptr);
  if (t.rows == 0 || t.columns == 0) return;
  using Kernel = detail::DequantizeRows<S>;
  const index_t stride = y_stride != 0 ? y_stride : t.columns;
  launch(backend, detail::blocks_of(t.rows * ((t.columns + Kernel::kRun - 1) / Kernel::kRun), Kernel::kThreads / 32),
         Kernel{from, y, stride, t, detail::is_aligned(from.codes, 4) && from.pitch(t.columns) % 4 == 0,
                detail::is_aligned(y, 16) && stride % 8 == 0, detail::GroupOf(t)},
         "dequantize_int4 ", t.rows, " x ", t.columns);
}

template <class S>
void dequantize_int4(const CudaBackend& backend, const Int4Tiles& t, const TiledInt4<const std::uint8_t, const S>& from,
                     bfloat16* y, index_t y_stride) {
  detail::check_tiles("dequantize_int4", t, from.codes, from.scales, from.zero_points);
  if (t.rows == 0 || t.columns == 0) return;
  using Kernel = detail::DequantizeTiles<S>;
  const index_t stride = y_stride != 0 ? y_stride : t.columns;
  launch(backend, detail::tile_grid(t, Kernel::kThreads, Kernel::kSharedBytes),
         Kernel{from, y, stride, t, detail::is_aligned(y, 16) && stride % 8 == 0, detail::GroupOf(t)},
         "dequantize_int4 ", t.rows, " x ", t.columns);
}

}  // namespace qat::inline v0::cuda
