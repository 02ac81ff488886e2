// Matrix products of int8 activations with packed integer weights: exact integer sums.
#pragma once

#include "qat/kernels/cpu/int8_dot.hpp"
#include "qat/kernels/cpu/packed_operand.hpp"
#include "qat/kernels/cpu/tuning.hpp"
#include "qat/kernels/reference/qgemm.hpp"

namespace qat::inline v0::kernels {

/// A run of columns that shares the scales of its rows: a group, or a part of one: of more than kLongestRun columns, or
/// where a group of activations begins.
struct QgemmSegment {
  index_t begin, count, quads;
  index_t blocks;  // of 32 columns, if whole
  index_t tile;    // which group of columns
  index_t x_tile;  // which of the activations'
};

struct QgemmCall {
  QuantizedActivations x;
  index_t rows;
  const PackedWeight* weight;
  float* c;
  index_t ldc;
  const float* bias;
  const QgemmSegment* segment;
  index_t segments = 0, quads = 0;
  index_t x_groups = 1;            // scales of a row of activations
  bool zeros = false;              // zero points of activations, or per group of weights
  bool paired = false;             // ... and all sums of a segment fit 16 bits
  std::int32_t constant_zero = 0;  // of all u codes, if not zeros
  index_t prefetch_bytes = 0;      // how far ahead packed weights are asked for; 0: not at all
};

/// Unpacked weights of one strip: codes [quad][row][4], and [segment][row] of the rest.
struct QgemmStrip {
  std::uint8_t* codes;
  float* scales;
  std::int32_t* zeros;  // zero point of u; if paired: (sum, zero point)
  std::int32_t* sums;   // sum of (u - zero point)
};

using QgemmDirectFunction = void (*)(const QgemmCall&, const std::uint8_t* a, index_t index);
struct QgemmDirect {
  QgemmDirectFunction function = nullptr;
  index_t rows = 0, panels = 1;  // of a call
};

inline constexpr index_t kQgemmRowBlock = 64;
inline constexpr index_t kQgemmCachedBytes = index_t{1} << 19;
struct QgemmRowStream {
  void (*pack)(const QgemmCall&, index_t row, index_t rows, std::uint8_t* out, std::int32_t* sums) = nullptr;
  void (*multiply)(const QgemmCall&, const std::uint8_t* a, const std::int32_t* sums, index_t row, index_t rows,
                   index_t pair) = nullptr;
};

/// Three forms. Segments of whole blocks of 32 columns: direct for few rows, the row stream for more. Anything: strips
/// of unpacked weights times register tiles of rows.
struct QgemmKernels {
  index_t tile_rows, strip_rows;
  QgemmDirect (*direct)(const QgemmCall&);
  void (*pack_rows)(const QgemmCall&, index_t row, index_t rows, std::uint8_t* out);
  void (*unpack)(const QgemmCall&, index_t row, const QgemmStrip&);
  void (*tile)(const QgemmCall&, const QgemmStrip&, const std::uint8_t* a, index_t row, index_t rows, index_t column);
  QgemmRowStream (*row_stream)(const QgemmCall&);
};

}  // namespace qat::inline v0::kernels

#define QAT_TARGET_WITH_DOT8
#define QAT_TARGET_INCLUDE "qat/kernels/cpu/qgemm-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

#define QAT_TARGET_WITH_DOT8
#define QAT_TARGET_INCLUDE "qat/kernels/cpu/qgemm_packed-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

namespace detail {

template <class Lazy>
const QgemmKernels& qgemm_kernels() {
  return QAT_DISPATCH_DOT8(kernels, kQgemmKernels<Lazy>);
}
QAT_INSTANCE(const QgemmKernels& qgemm_kernels<void>());

/// The weights that one row ran on lately. In a benchmark or a tiny model they lie in the core's cache when their turn
/// comes again; small layers of a large model do not, and are asked for ahead.
class RecentWeights {
 public:
  /// Whether at most kQgemmCachedBytes, these included, were read since they were last used; now they are.
  bool use(const void* data, index_t bytes) {
    index_t read = bytes;
    bool cached = false;
    for (unsigned i = 1; i <= kEntries && !cached && read <= kQgemmCachedBytes; ++i) {
      const Entry& entry = entries_[(next_ - i) % kEntries];
      cached = entry.data == data;
      read += entry.bytes;
    }
    entries_[next_++ % kEntries] = {data, bytes};
    return cached;
  }

 private:
  static constexpr unsigned kEntries = 16;
  struct Entry {
    const void* data = nullptr;
    index_t bytes = 0;
  };
  Entry entries_[kEntries];
  unsigned next_ = 0;
};

struct QgemmWorkspace {
  RecentWeights recent;
  AlignedBuffer<std::uint8_t> rows, strip;
  AlignedBuffer<std::int32_t> sums;
  AlignedBuffer<QgemmSegment> segments;

  static QgemmWorkspace& of_this_thread() {
    static thread_local QgemmWorkspace workspace;
    return workspace;
  }
};

/// Cuts the columns into segments and returns how many there are; `out` has place for segments_at_most(w, x_columns).
inline index_t make_segments(const PackedWeight& w, index_t x_columns, QgemmSegment* out) {
  index_t n = 0, begin = 0;
  for (index_t tile = 0; begin < w.columns(); ++tile) {
    const index_t left = w.columns() - begin, width = w.groups().tile_columns;
    for (const index_t end = begin + (left < width ? left : width); begin < end; ++n) {
      index_t count = end - begin < kLongestRun ? end - begin : kLongestRun;
      if (x_columns > 0 && count > x_columns - begin % x_columns) count = x_columns - begin % x_columns;
      out[n] = {begin, count, (count + 3) / 4, count / 32, tile, x_columns > 0 ? begin / x_columns : 0};
      begin += count;
    }
  }
  return n;
}
inline index_t segments_at_most(const PackedWeight& w, index_t x_columns) {
  return w.groups().tiles_per_row + w.columns() / kLongestRun + (x_columns > 0 ? w.columns() / x_columns + 1 : 0);
}

inline void qgemm_direct(const CpuBackend& backend, const QgemmKernels& kernels, const QgemmCall& call,
                         const QgemmDirect& direct, const GemmEpilogue& epilogue) {
  std::uint8_t* a = QgemmWorkspace::of_this_thread().rows.reserve(direct.rows * 4 * (call.quads + call.segments));
  kernels.pack_rows(call, 0, direct.rows, a);
  const index_t panels = call.weight->layout().panels(), width = direct.panels * PanelLayout::kPanelRows;
  for_each_block(
      backend,
      {call.rows, call.weight->rows(), 1, (panels + direct.panels - 1) / direct.panels, width, false,
       blocks_by_work(width * (call.weight->columns() + 1))},
      [&](index_t block) { return block * call.rows; }, epilogue,
      [&](index_t, index_t index) { direct.function(call, a, index); });
}

inline void qgemm_row_stream(const CpuBackend& backend, const QgemmCall& call, const QgemmRowStream& form,
                             const GemmEpilogue& epilogue) {
  const index_t M = call.rows, K = call.weight->columns();
  const index_t blocks = (M + kQgemmRowBlock - 1) / kQgemmRowBlock;
  QgemmWorkspace& space = QgemmWorkspace::of_this_thread();
  std::uint8_t* a = space.rows.reserve((M + 1) * K);
  std::int32_t* sums = space.sums.reserve((M + 1) * call.segments);
  // Blocks of whole pairs of rows; the last row may be alone.
  const auto first_row = [&](index_t block) { return block == blocks ? M : (M + 1) / 2 * block / blocks * 2; };
  backend.parallel_for(blocks, [&](index_t block) {
    const index_t row = first_row(block);
    form.pack(call, row, first_row(block + 1) - row, a + row * K, sums + row * call.segments);
  });
  const index_t pairs = (call.weight->layout().panels() + 1) / 2;
  constexpr index_t kWidth = 2 * PanelLayout::kPanelRows;
  for_each_block(
      backend, {M, call.weight->rows(), blocks, pairs, kWidth, false, blocks_by_work(kWidth * (M / blocks) * (K + 1))},
      first_row, epilogue, [&](index_t block, index_t pair) {
        const index_t row = first_row(block);
        form.multiply(call, a + row * K, sums + row * call.segments, row, first_row(block + 1) - row, pair);
      });
}

inline void qgemm_strips(const CpuBackend& backend, const QgemmKernels& kernels, const QgemmCall& call,
                         const GemmEpilogue& epilogue) {
  const index_t M = call.rows, N = call.weight->rows(), K = call.weight->columns();
  // Row tiles of even height: 8 rows are 4 + 4, not 7 + 1.
  const index_t tiles = (M + kernels.tile_rows - 1) / kernels.tile_rows;
  const index_t row_bytes = 4 * (call.quads + call.segments);
  std::uint8_t* a = QgemmWorkspace::of_this_thread().rows.reserve(M * row_bytes);
  const auto first_row = [&](index_t tile) { return M * tile / tiles; };
  const index_t together = blocks_by_work(8 * kernels.tile_rows * (K + 1));
  backend.parallel_for((tiles + together - 1) / together, [&](index_t chunk) {
    const index_t end = (chunk + 1) * together < tiles ? (chunk + 1) * together : tiles;
    for (index_t t = chunk * together; t < end; ++t)
      kernels.pack_rows(call, first_row(t), first_row(t + 1) - first_row(t), a + first_row(t) * row_bytes);
  });

  const index_t strips = (N + kernels.strip_rows - 1) / kernels.strip_rows;
  const index_t most_tiles = 256 / kernels.tile_rows;
  const index_t row_blocks = (tiles + most_tiles - 1) / most_tiles;
  const index_t code_bytes = (call.quads * kernels.strip_rows * 4 + 63) / 64 * 64;
  const index_t value_bytes = call.segments * kernels.strip_rows * 4;
  const auto first_tile = [&](index_t row_block) { return tiles * row_block / row_blocks; };
  for_each_block(
      backend,
      {M, N, row_blocks, strips, kernels.strip_rows, false,
       blocks_by_work((M / row_blocks + 1) * kernels.strip_rows * (K + 1))},
      [&](index_t row_block) { return first_row(first_tile(row_block)); }, epilogue,
      [&](index_t row_block, index_t index) {
        const index_t row = index * kernels.strip_rows;
        std::uint8_t* memory = QgemmWorkspace::of_this_thread().strip.reserve(code_bytes + 3 * value_bytes);
        const QgemmStrip strip{memory, reinterpret_cast<float*>(memory + code_bytes),
                               reinterpret_cast<std::int32_t*>(memory + code_bytes + value_bytes),
                               reinterpret_cast<std::int32_t*>(memory + code_bytes + 2 * value_bytes)};
        kernels.unpack(call, row, strip);
        for (index_t t = first_tile(row_block); t < first_tile(row_block + 1); ++t)
          kernels.tile(call, strip, a + first_row(t) * row_bytes, first_row(t), first_row(t + 1) - first_row(t), row);
      });
}

}  // namespace detail

/// C[m,n] = sum_k x[m,k] * w[n,k] (+ bias[n]) for int8 activations and packed weights, row-major C with ldc elements a
/// row. Integer sums are exact, and each output is the chain kernels/reference/qgemm.hpp defines: the same bits on
/// every target and for any number of threads, equal to that reference.
///
/// @param x     zero_points must be null where scale_columns is not 0
/// @param bias  weight.rows() values added last, or null
/// @param epilogue  done last, to each block of C
/// @throws qat::Error (kUnsupported) if the weights have float zero points (use gemm with PackedOperand)
template <class Lazy = void>
void qgemm(const CpuBackend& backend, index_t M, const QuantizedActivations& x, const PackedWeight& weight, float* C,
           index_t ldc, const float* bias = nullptr, const GemmEpilogue& epilogue = {}) {
  QAT_CHECK(M >= 0, kShapeMismatch, "qgemm: M is ", M, ", must not be negative");
  QAT_CHECK(!weight.has_float_zero_point(), kUnsupported, "qgemm: weights of ", to_string(weight.spec()),
            " have float zero points, integer ones are required");
  QAT_CHECK(x.scale_columns == 0 || x.zero_points == nullptr, kUnsupported,
            "qgemm: activations have a scale for every ", x.scale_columns,
            " columns and zero points; accepted is one of the two");
  if (M == 0 || weight.rows() == 0) return;
  const QgemmKernels& kernels = detail::qgemm_kernels<Lazy>();
  QgemmSegment* segment =
      detail::QgemmWorkspace::of_this_thread().segments.reserve(detail::segments_at_most(weight, x.scale_columns));
  QgemmCall call{x, M, &weight, C, ldc, bias, segment};
  call.segments = detail::make_segments(weight, x.scale_columns, segment);
  call.x_groups = x.groups(weight.columns());
  const bool cached =
      M == 1 && detail::QgemmWorkspace::of_this_thread().recent.use(weight.data(), weight.layout().bytes());
  call.prefetch_bytes = cached ? 0 : cpu_tuning().prefetch_bytes;  // in a cache it costs more than it gives
  call.zeros = x.zero_points != nullptr || weight.has_zero_points();
  call.constant_zero = 1 << (weight.spec().bits - 1);
  index_t longest = 0;
  bool whole_blocks = true;
  for (index_t s = 0; s < call.segments; ++s) {
    call.quads += segment[s].quads;
    if (segment[s].count > longest) longest = segment[s].count;
    whole_blocks = whole_blocks && segment[s].count % 32 == 0;
  }
  // |sum of 128 codes of activations| <= 128 * 128, |sum of 128 centred codes of weights| <= 128 * 255
  call.paired = call.zeros && longest <= 128;

  const QgemmDirect direct = whole_blocks ? kernels.direct(call) : QgemmDirect{};
  const QgemmRowStream row_stream =
      whole_blocks && cpu_tuning().row_stream ? kernels.row_stream(call) : QgemmRowStream{};
  if (direct.function != nullptr) {
    detail::qgemm_direct(backend, kernels, call, direct, epilogue);
  } else if (row_stream.multiply != nullptr) {
    // Many rows pass by in the time of one, so what is asked for farther ahead only displaces them.
    if (call.prefetch_bytes > 4096) call.prefetch_bytes = 4096;
    detail::qgemm_row_stream(backend, call, row_stream, epilogue);
  } else {
    detail::qgemm_strips(backend, kernels, call, epilogue);
  }
}

}  // namespace qat::inline v0::kernels
