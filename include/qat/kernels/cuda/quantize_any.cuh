// Quantization of every scheme and shape: quant/affine.hpp as it stands, called once per element. Two passes, the
// parameters between them in memory. Slower than quantize_vectors.cuh, for what that does not cover: ragged groups,
// unaligned tensors, tiles that are not contiguous, other roundings, very long groups.
#pragma once

#include "qat/base/random.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/group_range.hpp"
#include "qat/kernels/cuda/launch.cuh"

namespace qat::inline v0::cuda {

/// CounterRandom(seed).at(i), the words in registers.
QAT_HOST_DEVICE inline std::uint32_t random_word(std::uint64_t seed, std::uint64_t i) {
  const PhiloxBlock block = philox4x32(i / 4, 0, seed);
  return i % 4 < 2 ? (i % 4 == 0 ? block.word[0] : block.word[1]) : (i % 4 == 2 ? block.word[2] : block.word[3]);
}

/// The range of a part of a tile.
struct PartRange {
  float min = kInfinity, max = -kInfinity, extremum = 0.0f;
  unsigned nonfinite = 0;
  index_t extremum_at = 0;  ///< element of the tile

  QAT_HOST_DEVICE void merge(const PartRange& other) {
    min = smaller(min, other.min);
    max = larger(max, other.max);
    nonfinite += other.nonfinite;
    const float own = magnitude(extremum), its = magnitude(other.extremum);
    if (its > own || (its == own && other.extremum_at < extremum_at)) {
      extremum = other.extremum;
      extremum_at = other.extremum_at;
    }
  }
  template <class Context>
  QAT_HOST_DEVICE void merge_warp(const Context& c) {
    for (unsigned mask = 1; mask < 32; mask *= 2) {
      PartRange other;
      other.min = c.shuffle_xor(min, mask);
      other.max = c.shuffle_xor(max, mask);
      other.extremum = c.shuffle_xor(extremum, mask);
      other.nonfinite = c.shuffle_xor(nonfinite, mask);
      other.extremum_at = c.shuffle_xor(extremum_at, mask);
      merge(other);
    }
  }
  QAT_HOST_DEVICE GroupRange group() const {
    GroupRange r;
    if (min <= max) r.min = min, r.max = max;
    r.extremum = extremum;
    return r;
  }
};

struct ParameterOutputs {
  float *scale = nullptr, *zero_point = nullptr;
  unsigned* nonfinite = nullptr;

  template <class Context>
  QAT_HOST_DEVICE void put(const Context& c, const PartRange& range, const AffineScheme& scheme, index_t tile) const {
    const QParams p = qat::choose_qparams(range.group(), scheme);
    if (scale != nullptr) c.store(scale + tile, p.scale);
    if (zero_point != nullptr) c.store(zero_point + tile, p.zero_point);
    if (range.nonfinite != 0 && nonfinite != nullptr) c.atomic_add(nonfinite, range.nonfinite);
  }
};

/// The ranges of tiles, a warp for each `part` consecutive elements of one.
template <class T>
struct RangeOfTiles {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  AffineScheme scheme;
  GroupLayout layout;
  const T* x;
  index_t part, parts;  ///< elements, and how many a tile has
  PartRange* ranges;    ///< where parts > 1; else the parameters are chosen at once
  ParameterOutputs out;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t job = index_t{c.block()} * (kThreads / 32) + c.warp();
    const index_t tile = job / parts;
    if (tile >= layout.count()) return;  // the whole warp
    const index_t row = tile / layout.tiles_per_row * layout.tile_rows;
    const index_t column = tile % layout.tiles_per_row * layout.tile_columns;
    const index_t width = layout.columns - column < layout.tile_columns ? layout.columns - column : layout.tile_columns;
    const index_t height = layout.rows - row < layout.tile_rows ? layout.rows - row : layout.tile_rows;
    const T* const corner = x + row * layout.columns + column;
    const index_t begin = job % parts * part;
    const index_t end = width * height - begin < part ? width * height : begin + part;
    PartRange range;
    range.extremum_at = end;
    if (height == 1 || width == layout.columns) {
      contiguous(c, corner, begin, end, range);
    } else {
      for (index_t i = begin + c.lane(); i < end; i += 32)
        observe(range, to_float(c.load_stream(corner + i / width * layout.columns + i % width)), i);
    }
    range.merge_warp(c);
    if (c.lane() != 0) return;
    if (parts > 1)
      c.store(reinterpret_cast<Bytes8*>(ranges + job),
              Bytes8{{bit_cast<std::uint32_t>(range.min), bit_cast<std::uint32_t>(range.max)}}),
          c.store(&ranges[job].extremum, range.extremum), c.store(&ranges[job].nonfinite, range.nonfinite),
          c.store(&ranges[job].extremum_at, range.extremum_at);
    else
      out.put(c, range, scheme, tile);
  }

 private:
  QAT_HOST_DEVICE static void observe(PartRange& range, float v, index_t i) {
    if (!is_finite(v)) {
      ++range.nonfinite;
      return;
    }
    range.min = smaller(range.min, v);
    range.max = larger(range.max, v);
    if (magnitude(v) > magnitude(range.extremum)) range.extremum = v, range.extremum_at = i;
  }
  /// Elements [begin, end) of p, the aligned ones among them by vectors.
  template <class Context>
  QAT_HOST_DEVICE static void contiguous(const Context& c, const T* p, index_t begin, index_t end, PartRange& range) {
    constexpr index_t N = Vector<T>::kSize;
    const index_t off = static_cast<index_t>(reinterpret_cast<std::uintptr_t>(p + begin) % 16 / sizeof(T));
    index_t start = begin + (N - off) % N;
    if (start > end) start = end;
    const index_t vectors = (end - start) / N, rest = start + vectors * N;
    const index_t lane = c.lane();
    if (begin + lane < start) observe(range, to_float(c.load_stream(p + begin + lane)), begin + lane);
    for (index_t at = 0; at < vectors; at += 128) {
      Bytes16 v[4];
      for (int u = 0; u < 4; ++u)
        if (at + lane + 32 * u < vectors)
          v[u] = c.load_stream(reinterpret_cast<const Bytes16*>(p + start) + at + lane + 32 * u);
      for (int u = 0; u < 4; ++u) {
        if (at + lane + 32 * u >= vectors) continue;
        const auto minmax = Range<RangeKind::kMinMax>::of<T>(v[u]);
        const index_t i = start + (at + lane + 32 * u) * N;
        if (minmax.finite()) {
          range.min = smaller(range.min, minmax.min);
          range.max = larger(range.max, minmax.max);
          const float e = Range<RangeKind::kExtremum>::of<T>(v[u]).value;
          if (magnitude(e) > magnitude(range.extremum)) range.extremum = e, range.extremum_at = i;
        } else {
          for (int k = 0; k < N; ++k) observe(range, Vector<T>::get(v[u], k), i + k);
        }
      }
    }
    if (rest + lane < end) observe(range, to_float(c.load_stream(p + rest + lane)), rest + lane);
  }
};

/// The parameters of tiles whose ranges were taken in parts; a warp for each tile.
struct ParametersOfTiles {
  static constexpr int kThreads = 256;
  AffineScheme scheme;
  index_t tiles, parts;
  const PartRange* ranges;
  ParameterOutputs out;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t tile = index_t{c.block()} * (kThreads / 32) + c.warp();
    if (tile >= tiles) return;
    PartRange range;
    range.extremum_at = bit_cast<index_t>(~std::uint64_t{0} >> 1);
    for (index_t i = c.lane(); i < parts; i += 32) {
      const PartRange* const p = ranges + tile * parts + i;
      PartRange next;
      next.min = c.load(&p->min);
      next.max = c.load(&p->max);
      next.extremum = c.load(&p->extremum);
      next.nonfinite = c.load(&p->nonfinite);
      next.extremum_at = c.load(&p->extremum_at);
      range.merge(next);
    }
    range.merge_warp(c);
    if (c.lane() == 0) out.put(c, range, scheme, tile);
  }
};

enum class ElementOp { kFakeQuantize, kQuantize, kDequantize, kBackward, kBackwardMasked };

/// One operation of affine.hpp on every element, with given parameters; eight consecutive elements, a byte of a mask
/// and `width` bytes of codes, to a thread.
template <class T>
struct EachElement {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  AffineScheme scheme;
  GroupLayout layout;
  ElementOp op;
  const T *x = nullptr, *dy = nullptr;
  T* y = nullptr;
  std::uint8_t* codes = nullptr;
  int width = 8;  ///< bits of a code in `codes`
  const float *scale = nullptr, *zero_point = nullptr;
  SteMask mask = SteMask::kInclusive;
  std::uint8_t* pass_mask = nullptr;
  bool accumulate = false;
  std::uint64_t seed = 0;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t size = layout.rows * layout.columns;
    const index_t group = index_t{c.block()} * kThreads + c.thread(), begin = group * 8;
    if (begin >= size) return;
    const index_t end = size - begin < 8 ? size : begin + 8;
    index_t row = begin / layout.columns, column = begin % layout.columns;
    std::uint64_t word = 0;
    unsigned bits = 0;
    const bool reads_mask = op == ElementOp::kBackwardMasked;
    if (reads_mask) bits = c.load(pass_mask + group);
    if (op == ElementOp::kDequantize)
      for (int b = 0; b < packed(end - begin); ++b) word |= std::uint64_t{c.load(codes + group * width + b)} << (8 * b);
    const bool passes = op == ElementOp::kBackward && mask == SteMask::kPassThrough;
    for (index_t i = begin; i < end; ++i) {
      const int k = static_cast<int>(i - begin);
      QParams p;
      if (!passes) {
        const index_t tile = row / layout.tile_rows * layout.tiles_per_row + column / layout.tile_columns;
        const float constant = scheme.spec.is_signed ? 0.0f : scheme.middle();
        p = make_qparams(c.load(scale + tile), zero_point != nullptr ? c.load(zero_point + tile) : constant, scheme);
      }
      if (++column == layout.columns) column = 0, ++row;
      std::uint32_t random = 0;
      if (scheme.spec.rounding == RoundingKind::kStochastic && op != ElementOp::kDequantize && !reads_mask)
        random = random_word(seed, static_cast<std::uint64_t>(i));
      const std::uint32_t in_code = (1u << width) - 1u;
      switch (op) {
        case ElementOp::kFakeQuantize: {
          const float v = to_float(c.load(x + i));
          c.store(y + i, to_element<T>(c, qat::fake_quantize(v, p, scheme, random)));
          if (pass_mask != nullptr && passes_gradient(v, p, scheme, mask, random)) bits |= 1u << k;
          break;
        }
        case ElementOp::kQuantize: {
          const float v = to_float(c.load(x + i));
          const std::uint32_t code = static_cast<std::uint32_t>(qat::quantize(v, p, scheme, random)) & in_code;
          word |= std::uint64_t{code} << (width * k);
          if (pass_mask != nullptr && passes_gradient(v, p, scheme, mask, random)) bits |= 1u << k;
          break;
        }
        case ElementOp::kDequantize: {
          int code = static_cast<int>(word >> (width * k) & in_code);
          if (scheme.spec.is_signed && code >> (width - 1) != 0) code -= 1 << width;
          c.store(y + i, to_element<T>(c, qat::dequantize(code, p, scheme)));
          break;
        }
        default: {
          float g = to_float(c.load(dy + i));
          if (reads_mask)
            g = (bits >> k & 1u) != 0 ? scale_gradient(g, p, scheme) : 0.0f;
          else if (!passes)
            g = qat::fake_quantize_backward(g, to_float(c.load(x + i)), p, scheme, mask, random);
          c.store(y + i, to_element<T>(c, accumulate ? c.add(to_float(c.load(y + i)), g) : g));
          break;
        }
      }
    }
    if (op == ElementOp::kQuantize)
      for (int b = 0; b < packed(end - begin); ++b)
        c.store(codes + group * width + b, static_cast<std::uint8_t>(word >> (8 * b)));
    if (pass_mask != nullptr && !reads_mask) c.store(pass_mask + group, static_cast<std::uint8_t>(bits));
  }

 private:
  QAT_HOST_DEVICE int packed(index_t elements) const { return (static_cast<int>(elements) * width + 7) / 8; }
};

inline unsigned blocks_for(index_t work, index_t per_block) {
  return static_cast<unsigned>((work + per_block - 1) / per_block);
}

/// Elements of a part of a long tile: a tile has at most about 2048 parts.
inline index_t part_of_tile(index_t elements) {
  const index_t part = (elements / 2048 + 1023) / 1024 * 1024;
  return part < 4096 ? 4096 : part;
}

/// Chooses the parameters of every tile. Needs workspace for the ranges of tiles of more than 4096 elements.
template <class T>
void choose_any(const CudaBackend& backend, const char* operation, const AffineScheme& scheme,
                const GroupLayout& layout, const T* x, const ParameterOutputs& out, std::size_t workspace_used) {
  const index_t tiles = layout.count(), elements = layout.tile_rows * layout.tile_columns;
  if (tiles == 0) return;
  const index_t part = part_of_tile(elements), parts = (elements + part - 1) / part;
  PartRange* ranges = nullptr;
  if (parts > 1) {
    check_workspace(backend, operation, workspace_used + static_cast<std::size_t>(tiles * parts) * sizeof(PartRange));
    ranges = reinterpret_cast<PartRange*>(static_cast<char*>(backend.workspace) + workspace_used);
  }
  launch(backend, {blocks_for(tiles * parts, 8)}, RangeOfTiles<T>{scheme, layout, x, part, parts, ranges, out},
         operation, " ", to_string(scheme.spec), " (", layout.rows, ", ", layout.columns, ")");
  if (parts > 1)
    launch(backend, {blocks_for(tiles, 8)}, ParametersOfTiles{scheme, tiles, parts, ranges, out}, operation);
}

template <class T>
void run_each(const CudaBackend& backend, const char* operation, const EachElement<T>& kernel) {
  launch(backend, {blocks_for(kernel.layout.rows * kernel.layout.columns, 8 * EachElement<T>::kThreads)}, kernel,
         operation, " ", to_string(kernel.scheme.spec), " (", kernel.layout.rows, ", ", kernel.layout.columns, ")");
}

}  // namespace qat::inline v0::cuda
