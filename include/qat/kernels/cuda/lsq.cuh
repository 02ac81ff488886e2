// The kernels of lsq.hpp. Products go through shared memory, from where one thread adds those of one of the sixteen
// sums in the definition's order; 8 bytes of shared memory for the 12 of global memory that an element costs.
#pragma once

#include "qat/kernels/cuda/fake_quantize.cuh"
#include "qat/kernels/cuda/lsq.hpp"
#include "qat/kernels/reference/quantize.hpp"

namespace qat::inline v0::cuda {

struct LsqJob {
  QuantizeJob<float> job;  ///< x, given parameters, how groups lie; y: dx, may be null
  const float* dy;
  float* dscale;
  float factor;
  SteMask mask;
  bool accumulate_dx, accumulate_dscale;

  /// The products of a vector whose gradient and elements are g and v; stores dx. valid: there is such a vector.
  template <class Context>
  QAT_HOST_DEVICE Bytes16 products(const Context& c, const Bytes16& g, Bytes16 v, index_t vector, float scale,
                                   float zero_point, bool valid) const {
    const AffineVector<float, false> a{job.scheme};
    const VectorGroup group = a.group(make_qparams(scale, zero_point, job.scheme));
    const bool passes = mask == SteMask::kPassThrough;
    const float low = group.low + job.mask_inset, high = group.high - job.mask_inset;
    float d[4], product[4];
    QAT_CUDA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float dy_i = Vector<float>::get(g, i), x = Vector<float>::get(v, i);
      const bool number = x == x;
      const float steps = number ? c.mul(x, group.inverse) : 0.0f, rounded = a.round(c, steps);
      const bool pass = passes || (number && rounded >= low && rounded <= high);
      const float q = a.clamp(rounded, group);
      product[i] = c.mul(dy_i, pass ? c.sub(q, steps) : q);
      const float scaled = passes ? dy_i : c.mul(c.mul(dy_i, group.scale), group.inverse);
      d[i] = pass ? scaled : 0.0f;
    }
    if (job.y != nullptr && valid) {
      Bytes16* const to = reinterpret_cast<Bytes16*>(job.y) + vector;
      if (accumulate_dx) {
        const Bytes16 old = c.load(to);
        QAT_CUDA_UNROLL
        for (int i = 0; i < 4; ++i) d[i] = c.add(Vector<float>::get(old, i), d[i]);
      }
      c.store(to, Vector<float>::pack(c, d));
    }
    return Vector<float>::pack(c, product);
  }
  template <class Context>
  QAT_HOST_DEVICE void put(const Context& c, index_t tile, double total) const {
    const float g = static_cast<float>(total * static_cast<double>(factor));
    c.store(dscale + tile, accumulate_dscale ? c.add(c.load(dscale + tile), g) : g);
  }
};

/// The tree over sixteen neighbouring lanes that ends a sum.
template <class Context>
QAT_HOST_DEVICE float sum_of_sixteen(const Context& c, float sum) {
  for (unsigned mask = 8; mask > 0; mask /= 2) sum = c.add(sum, c.shuffle_xor(sum, mask));
  return sum;
}

/// Groups of 16 to 512 elements, a power of two: a warp has 512 elements, and its own shared memory for their products.
struct LsqGroups {
  static constexpr int kThreads = 256, kMinBlocks = 4, kWarpElements = 4 * kWarpVectors;
  // Sixteen words behind each group: the sums of two groups are then read from other banks.
  static constexpr unsigned kWarpWords = kWarpElements + 16 * (kWarpElements / 16);
  static constexpr std::size_t kSharedBytes = kThreads / 32 * kWarpWords * sizeof(float);
  LsqJob lsq;
  unsigned group;  ///< elements

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const QuantizeJob<float>& job = lsq.job;
    const index_t first = (index_t{c.block()} * (kThreads / 32) + c.warp()) * kWarpVectors + c.lane();
    Bytes16 g[4], v[4];
    const int extent = extent_of<4, 32>(first, job.vectors);
    load_vectors<32>(c, lsq.dy, first, extent, job.in_place, g);
    load_vectors<32>(c, job.x, first, extent, false, v);
    float scale[4], zero_point[4];
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const index_t tile = 32 * u < extent ? job.group_of(first + 32 * u) : 0;
      scale[u] = c.load_cached(job.scale + tile);
      zero_point[u] = job.zero_point != nullptr ? c.load_cached(job.zero_point + tile) : job.constant_zero_point();
    }
    const unsigned per_group = group / 4, stride = group + 16;
    const auto words = c.template shared<Bytes16>(c.warp() * kWarpWords * sizeof(float));
    const int shift = job.group_shift;
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const unsigned vector = c.lane() + 32 * u;
      const Bytes16 p = lsq.products(c, g[u], v[u], first + 32 * u, scale[u], zero_point[u], 32 * u < extent);
      words.store((vector >> shift) * (stride / 4) + (vector & (per_group - 1)), p);
    }
    c.sync_warp();
    const auto values = c.template shared<float>(c.warp() * kWarpWords * sizeof(float));
    const index_t first_group = job.group_of(first - c.lane()), groups = job.group_of(job.vectors);
    const unsigned count = kWarpElements / group;  // of the warp: half a warp for each, two at a time
    for (unsigned n = c.lane() / 16; n < (count + 1) / 2 * 2; n += 2) {
      const unsigned from = (n < count ? n : 0) * stride + c.lane() % 16;
      float sum = 0.0f;
      for (unsigned i = 0; i < group; i += 16) sum = c.add(sum, values.load(from + i));
      sum = sum_of_sixteen(c, sum);
      if (c.lane() % 16 == 0 && n < count && first_group + n < groups) lsq.put(c, first_group + n, sum);
    }
  }
};

/// Pieces of 4096 elements of groups of whole vectors; a block for each.
struct LsqPieces {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  static constexpr index_t kPiece = kernels::reference::kLsqPiece;
  static constexpr std::size_t kSharedBytes = kPiece * sizeof(float);
  static_assert(kPiece == 4 * 4 * kThreads, "four vectors a thread");
  LsqJob lsq;
  index_t pieces;  ///< of a group
  float* partial;  ///< sums of pieces, where there are several

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const QuantizeJob<float>& job = lsq.job;
    const index_t tile = pieces == 1 ? c.block() : c.block() / pieces, piece = pieces == 1 ? 0 : c.block() % pieces;
    const index_t begin = tile * job.group_vectors + piece * (kPiece / 4);
    const index_t tile_end = (tile + 1) * job.group_vectors;
    const index_t end = tile_end - begin < kPiece / 4 ? tile_end : begin + kPiece / 4;
    Bytes16 g[4], v[4];
    const int extent = extent_of<4, kThreads>(begin + c.thread(), end);
    load_vectors<kThreads>(c, lsq.dy, begin + c.thread(), extent, job.in_place, g);
    load_vectors<kThreads>(c, job.x, begin + c.thread(), extent, false, v);
    const float scale = c.load_cached(job.scale + tile);
    const float zero_point =
        job.zero_point != nullptr ? c.load_cached(job.zero_point + tile) : job.constant_zero_point();
    const auto words = c.template shared<Bytes16>(0);
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const index_t vector = begin + c.thread() + kThreads * u;
      words.store(c.thread() + kThreads * u,
                  lsq.products(c, g[u], v[u], vector, scale, zero_point, kThreads * u < extent));
    }
    c.sync();
    if (c.warp() != 0) return;
    const auto values = c.template shared<float>(0);
    const unsigned count = static_cast<unsigned>(end - begin) * 4, lane = c.lane() % 16;  // both halves do the same
    float sum = 0.0f;
    unsigned i = lane;
    for (; i + 112 < count; i += 128) {  // eight loads before the additions that wait for each other
      float part[8];
      QAT_CUDA_UNROLL
      for (unsigned k = 0; k < 8; ++k) part[k] = values.load(i + 16 * k);
      QAT_CUDA_UNROLL
      for (unsigned k = 0; k < 8; ++k) sum = c.add(sum, part[k]);
    }
    for (; i < count; i += 16) sum = c.add(sum, values.load(i));
    sum = sum_of_sixteen(c, sum);
    if (c.lane() != 0) return;
    if (pieces > 1)
      c.store(partial + c.block(), sum);
    else
      lsq.put(c, tile, sum);
  }
};

/// Adds the pieces of each group, in order; a thread for each.
struct LsqTotals {
  static constexpr int kThreads = 128;
  LsqJob lsq;
  index_t tiles, pieces;
  const float* partial;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t tile = index_t{c.block()} * kThreads + c.thread();
    if (tile >= tiles) return;
    double total = 0.0;
    for (index_t i = 0; i < pieces; ++i) total += static_cast<double>(c.load(partial + tile * pieces + i));
    lsq.put(c, tile, total);
  }
};

/// The gradient of the scales alone, of any scheme and shape: half a warp for each tile.
struct LsqAny {
  static constexpr int kThreads = 128;
  LsqJob lsq;
  GroupLayout layout;
  std::uint64_t seed;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const AffineScheme& scheme = lsq.job.scheme;
    const index_t warp = index_t{c.block()} * (kThreads / 32) + c.warp();
    if (2 * warp >= layout.count()) return;  // the whole warp
    const index_t own = 2 * warp + c.lane() / 16;
    const bool exists = own < layout.count();
    const index_t tile = exists ? own : 0;
    const index_t row = tile / layout.tiles_per_row * layout.tile_rows;
    const index_t column = tile % layout.tiles_per_row * layout.tile_columns;
    const index_t width = layout.columns - column < layout.tile_columns ? layout.columns - column : layout.tile_columns;
    const index_t height = layout.rows - row < layout.tile_rows ? layout.rows - row : layout.tile_rows;
    const index_t most = layout.tile_rows * layout.tile_columns, size = exists ? width * height : 0;
    const QParams p = make_qparams(
        c.load(lsq.job.scale + tile),
        lsq.job.zero_point != nullptr ? c.load(lsq.job.zero_point + tile) : lsq.job.constant_zero_point(), scheme);
    double total = 0.0;
    constexpr index_t kPiece = kernels::reference::kLsqPiece;
    for (index_t begin = 0; begin < most; begin += kPiece) {  // as many rounds for both halves: they shuffle
      float sum = 0.0f;
      const index_t end = size - begin < kPiece ? size : begin + kPiece;
      for (index_t n = begin + c.lane() % 16; n < end; n += 16) {
        const index_t i = (row + n / width) * layout.columns + column + n % width;
        std::uint32_t random = 0;
        if (scheme.spec.rounding == RoundingKind::kStochastic)
          random = random_word(seed, static_cast<std::uint64_t>(i));
        const float derivative = lsq_derivative(c.load(lsq.job.x + i), p, scheme, lsq.mask, random);
        sum = c.add(sum, c.mul(c.load(lsq.dy + i), derivative));
      }
      total += static_cast<double>(sum_of_sixteen(c, sum));
    }
    if (exists && c.lane() % 16 == 0) lsq.put(c, tile, total);
  }
};

template <class>
void lsq_backward(const CudaBackend& backend, const QuantSpec& spec, const float* dy, const float* x, index_t rows,
                  index_t columns, const float* scale, const float* zero_point, SteMask mask, float factor, float* dx,
                  bool accumulate_dx, float* dscale, bool accumulate_dscale, std::uint64_t seed) {
  constexpr const char* kName = "cuda lsq_backward";
  validate_on_device(spec);
  QAT_CHECK(spec.mapping != MappingKind::kFloatZeroPoint, kUnsupported, kName, ": ", to_string(spec),
            " has no learned scale; accepted are mappings with an integer zero point");
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  const index_t tiles = layout.count();
  if (tiles == 0) return;
  check_parameters(kName, spec, scale, zero_point);
  QAT_CHECK(dscale != nullptr, kInvalidArgument, kName, ": dscale is null, one value per tile is required");
  LsqJob lsq{{}, dy, dscale, factor, mask, accumulate_dx, accumulate_dscale};
  QuantizeJob<float>& job = lsq.job;
  job.scheme = AffineScheme(spec, FloatType::kFloat32);
  job.x = x;
  job.y = dx;
  job.scale = scale;
  job.zero_point = zero_point;
  job.set_mask(nullptr, mask);
  job.group_vectors = vectors_of_group<float>(spec, layout);
  job.group_shift = log2_of(job.group_vectors);
  job.vectors = tiles * job.group_vectors;
  job.in_place = dy == dx;
  const auto run = [&](const Grid& grid, const auto& kernel) {
    launch(backend, grid, kernel, kName, " ", to_string(spec), " (", rows, ", ", columns, ")");
  };
  if (job.group_vectors > 0 && is_aligned(dy, 16) && is_aligned(x, 16) && is_aligned(dx, 16)) {
    if (job.group_shift >= 2 && job.group_shift <= 7)
      return run({blocks_for(job.vectors, 8 * kWarpVectors), 1, LsqGroups::kSharedBytes},
                 LsqGroups{lsq, static_cast<unsigned>(job.group_vectors) * 4});
    const index_t pieces = (job.group_vectors * 4 + LsqPieces::kPiece - 1) / LsqPieces::kPiece;
    float* partial = nullptr;
    if (pieces > 1) {
      check_workspace(backend, kName, static_cast<std::size_t>(tiles * pieces) * sizeof(float));
      partial = static_cast<float*>(backend.workspace);
    }
    run({static_cast<unsigned>(tiles * pieces), 1, LsqPieces::kSharedBytes}, LsqPieces{lsq, pieces, partial});
    if (pieces > 1) run({blocks_for(tiles, LsqTotals::kThreads)}, LsqTotals{lsq, tiles, pieces, partial});
    return;
  }
  // dscale first: dx may be dy.
  run({blocks_for(tiles, 2 * (LsqAny::kThreads / 32))}, LsqAny{lsq, layout, seed});
  if (dx != nullptr)
    fake_quantize_backward(backend, spec, dy, x, rows, columns, scale, zero_point, mask, dx, accumulate_dx, seed);
}

}  // namespace qat::inline v0::cuda
