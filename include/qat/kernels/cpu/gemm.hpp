// Matrix product in fp32: C[m,n] (+)= sum_k A(m,k) * B(n,k), for operands stored in any order or computed while
// packing.
//
// Each output is one chain of multiply-adds over ascending k that starts at 0; then C is added if `accumulate`, then
// the bias. So the bits of an output depend on its row of A, its row of B and nothing else: not on M, N, blocking,
// threads, or how an operand is stored. Where has_fused_multiply_add(target) every step is one fused multiply-add and
// the bits equal kernels/reference/gemm.hpp; on the baseline of x86-64 each step rounds twice (error at most (K + 1) *
// 2^-24 * sum |a||b|, twice that).
#pragma once

#include <type_traits>
#include <utility>

#include "qat/base/aligned.hpp"
#include "qat/base/config.hpp"
#include "qat/kernels/cpu/gemm_epilogue.hpp"
#include "qat/kernels/cpu/tuning.hpp"
#include "qat/simd/vec.hpp"

namespace qat::inline v0::kernels {

/// A strided matrix seen as rows x K: element (row, k) is data[row * row_stride + k * k_stride].
struct MatrixOperand {
  const float* data = nullptr;
  index_t row_stride = 0;
  index_t k_stride = 1;

  void load(index_t row, index_t k0, index_t count, float* out) const {
    for (index_t i = 0; i < count; ++i) out[i] = data[row * row_stride + (k0 + i) * k_stride];
  }
};

struct GemmTile {
  index_t count;  // k of this K-block
  index_t a_row_stride, a_k_stride;
  index_t ldc;
  bool first, last;  // K-block: chains start at zero; chains end in C
  bool accumulate;
};

struct GemmBlock {
  GemmTile tile;
  const float* a;  // element (0, 0) of the block
  float* a_panel;  // scratch to copy the rows of a tile to, rows contiguous; null: A is read in place
  const float* b;  // packed panels
  float* partial;  // chains between K-blocks
  float* c;
  const float* bias;
  index_t rows, columns;
};

struct GemmKernels {
  index_t tile_rows, tile_columns;
  index_t step;  // k that a multiplication takes: 1, or 2 where packed elements are pairs of bf16
  void (*block)(const GemmBlock&);
  void (*pack_b)(const float* source, index_t row_stride, index_t k_stride, index_t rows, index_t count, float* out);
  void (*pair_panel)(float* panel, index_t width, index_t count);  // a packed fp32 panel to steps, in place
};

inline constexpr index_t kInPlaceStep = 16;     ///< k from one round of prefetches to the next
inline constexpr index_t kInPlaceOverlap = 16;  ///< rows of P in a tile, at most

/// A block of C from rows of P, an operand read where it lies, its rows along k, and packed rows of Q, the other one.
struct InPlaceBlock {
  const float* q;            // [k][width]
  const float* p;            // kInPlaceOverlap rows or more are in the matrix, before this one or from it on
  index_t p_stride, p_left;  // p_left: rows to the end of the matrix
  index_t count;             // of k
  float* out;                // scratch: [row of P][width], with kInPlaceOverlap rows before and as many after
  float* c;
  index_t ldc;
  const float* bias;
  bool accumulate;
  bool p_is_a;  // rows of P are rows of C, else columns
  index_t p_rows, q_rows;
};

struct InPlaceKernels {
  index_t lanes;
  index_t most_rows;  // of Q in a block
  index_t (*width)(index_t rows);
  void (*pack)(const float* source, index_t row_stride, index_t k_stride, index_t rows, index_t count, float* out);
  void (*pack_along)(const float* source, index_t k_stride, index_t rows, index_t count, index_t block_rows, float* out,
                     index_t pitch);
  void (*turn)(const float* source, index_t k_stride, index_t rows, index_t count, float* out, index_t pitch);
  void (*block)(const InPlaceBlock&);
};

}  // namespace qat::inline v0::kernels

#define QAT_TARGET_WITH_BF16
#define QAT_TARGET_INCLUDE "qat/kernels/cpu/gemm-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/gemm_in_place-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

namespace detail {

/// An operand without its type: strided memory, or a function that computes pieces of rows.
struct GemmOperand {
  MatrixOperand matrix;
  void (*load)(const void* self, index_t row, index_t k0, index_t count, float* out) = nullptr;
  void (*load_panel)(const void* self, index_t row, index_t rows, index_t k0, index_t count, index_t width,
                     float* out) = nullptr;
  const void* self = nullptr;
};

/// Operands that can write packed panels themselves: out[k * width + r] is element (row + r, k0 + k) for r < rows <=
/// width; row and width are multiples of the vector length.
template <class Operand>
concept LoadsPanels = requires(const Operand& operand, index_t i, float* out) {
  operand.load_panel(i, i, i, i, i, out);
};

template <class Operand>
GemmOperand erase(const Operand& operand) {
  GemmOperand erased;
  if constexpr (std::is_same_v<Operand, MatrixOperand>) {
    erased.matrix = operand;
  } else {
    erased.self = &operand;
    erased.load = [](const void* self, index_t row, index_t k0, index_t count, float* out) {
      static_cast<const Operand*>(self)->load(row, k0, count, out);
    };
    if constexpr (LoadsPanels<Operand>)
      erased.load_panel = [](const void* self, index_t row, index_t rows, index_t k0, index_t count, index_t width,
                             float* out) {
        static_cast<const Operand*>(self)->load_panel(row, rows, k0, count, width, out);
      };
  }
  return erased;
}

/// Scratch of one thread, kept between calls: a call allocates only when it needs more than any call before.
struct GemmWorkspace {
  AlignedBuffer<float> b, a, a_panel, partial, rows;
  std::uint64_t packed_call = 0;  // what b holds: the call and the block of columns
  index_t packed_block = -1;

  static GemmWorkspace& of_this_thread() {
    static thread_local GemmWorkspace workspace;
    return workspace;
  }
};

inline std::uint64_t next_gemm_call() {
  static std::atomic<std::uint64_t> calls{0};
  return calls.fetch_add(1, std::memory_order_relaxed) + 1;
}

/// Blocks of C, from sizes alone.
struct GemmPlan {
  index_t rows, columns;  // of a block
  index_t row_blocks, column_blocks;
  index_t depth, depth_blocks;  // k of a K-block
  bool keep_b;                  // packed B holds all of K and serves several row blocks

  GemmPlan(const GemmKernels& kernels, index_t M, index_t N, index_t K) {
    const index_t tile_rows = kernels.tile_rows, tile_columns = kernels.tile_columns;
    constexpr index_t kDepth = 256, kDepthFewRows = 128;
    const bool few_rows = M <= 2 * tile_rows;
    const index_t max_depth = few_rows ? kDepthFewRows : kDepth;
    depth_blocks = K == 0 ? 1 : (K + max_depth - 1) / max_depth;
    depth = ((K + depth_blocks - 1) / depth_blocks + 15) / 16 * 16;
    depth_blocks = K == 0 ? 1 : (K + depth - 1) / depth;

    rows = M < 512 ? M : 512;
    // Packed B of a block: 2 MiB at most over all of K, so that it stays in the caches between row blocks.
    index_t most_columns = (index_t{1} << 19) / (K < 1 ? 1 : K) / tile_columns * tile_columns;
    // One block of rows holds a K-block of B alone, and fewer blocks of columns copy the rows of A less often.
    const index_t wide = N / 8 / tile_columns * tile_columns;
    if (M <= rows && most_columns < wide) most_columns = wide;
    if (most_columns > 512) most_columns = 512;
    if (most_columns < 3 * tile_columns) most_columns = 3 * tile_columns;
    if (few_rows) most_columns = tile_columns;
    columns = N < most_columns ? N : most_columns;
    // At least 8 blocks if each keeps 2^18 multiply-adds and is not so thin that packing shows.
    const auto blocks = [&] { return ((M + rows - 1) / rows) * ((N + columns - 1) / columns); };
    while (blocks() < 8 && rows * columns * (K + 1) > (index_t{1} << 19)) {
      if (rows >= columns && rows > 4 * tile_rows) {
        rows = (rows + 1) / 2;
      } else if (columns > tile_columns) {
        columns = ((columns + 1) / 2 + tile_columns - 1) / tile_columns * tile_columns;
      } else if (rows > 4 * tile_rows) {
        rows = (rows + 1) / 2;
      } else {
        break;
      }
    }
    row_blocks = (M + rows - 1) / rows;
    column_blocks = (N + columns - 1) / columns;
    keep_b = row_blocks > 1;
  }
};

struct GemmProblem {
  GemmOperand a, b;
  index_t M, N, K;
  float* c;
  index_t ldc;
  bool accumulate;
  const float* bias;
};

struct GemmCall : GemmProblem {
  const GemmKernels& kernels;
  GemmPlan plan;
  std::uint64_t id;

  /// Packs k in [k0, k0 + count) of B's rows [n0, n0 + columns).
  void pack_b(GemmWorkspace& space, index_t n0, index_t columns, index_t k0, index_t count, float* out) const {
    if (b.load == nullptr) {
      const MatrixOperand& m = b.matrix;
      kernels.pack_b(m.data + n0 * m.row_stride + k0 * m.k_stride, m.row_stride, m.k_stride, columns, count, out);
      return;
    }
    const index_t pitch = plan.depth + 16, steps = (count + kernels.step - 1) / kernels.step;
    float* rows = space.rows.reserve(kernels.tile_columns * pitch);
    for (index_t n = 0; n < columns; n += kernels.tile_columns) {
      const index_t width = columns - n < kernels.tile_columns ? columns - n : kernels.tile_columns;
      if (b.load_panel != nullptr) {
        const index_t half = kernels.tile_columns / 2, padded = width <= half ? half : kernels.tile_columns;
        b.load_panel(b.self, n0 + n, width, k0, count, padded, out + n * steps);
        if (kernels.step > 1) kernels.pair_panel(out + n * steps, padded, count);
        continue;
      }
      for (index_t r = 0; r < width; ++r) b.load(b.self, n0 + n + r, k0, count, rows + r * pitch);
      kernels.pack_b(rows, pitch, 1, width, count, out + n * steps);
    }
  }

  void block(index_t row_block, index_t column_block) const {
    GemmWorkspace& space = GemmWorkspace::of_this_thread();
    const index_t m0 = row_block * plan.rows, rows = M - m0 < plan.rows ? M - m0 : plan.rows;
    const index_t n0 = column_block * plan.columns, columns = N - n0 < plan.columns ? N - n0 : plan.columns;
    const index_t padded = (columns + kernels.tile_columns - 1) / kernels.tile_columns * kernels.tile_columns;

    float* b_panels = space.b.reserve(padded * plan.depth * (plan.keep_b ? plan.depth_blocks : 1));
    const bool packed = plan.keep_b && space.packed_call == id && space.packed_block == column_block;
    space.packed_call = 0;  // until all of B is there

    GemmBlock block = {};
    block.rows = rows;
    block.columns = columns;
    block.c = c + m0 * ldc + n0;
    block.bias = bias == nullptr ? nullptr : bias + n0;
    if (plan.depth_blocks > 1) block.partial = space.partial.reserve(rows * padded);
    block.tile.ldc = ldc;
    block.tile.accumulate = accumulate;

    for (index_t kb = 0; kb < plan.depth_blocks; ++kb) {
      const index_t k0 = kb * plan.depth, count = K - k0 < plan.depth ? K - k0 : plan.depth;
      float* panels = b_panels + (plan.keep_b ? padded * k0 : 0);
      if (!packed) pack_b(space, n0, columns, k0, count, panels);
      block.b = panels;
      block.tile.count = count;
      block.tile.first = kb == 0;
      block.tile.last = kb + 1 == plan.depth_blocks;
      set_a(space, block, m0, rows, k0, count);
      kernels.block(block);
    }
    if (plan.keep_b) {
      space.packed_call = id;
      space.packed_block = column_block;
    }
  }

  void set_a(GemmWorkspace& space, GemmBlock& block, index_t m0, index_t rows, index_t k0, index_t count) const {
    const auto copy_tiles = [&] {
      block.a_panel = space.a_panel.reserve((kernels.tile_rows + 15) / 16 * 16 * plan.depth);
    };
    if (kernels.step > 1) copy_tiles();
    if (a.load != nullptr) {
      const index_t pitch = plan.depth + 16;
      float* to = space.a.reserve(rows * pitch);
      for (index_t r = 0; r < rows; ++r) a.load(a.self, m0 + r, k0, count, to + r * pitch);
      block.a = to;
      block.tile.a_row_stride = pitch;
      block.tile.a_k_stride = 1;
      return;
    }
    const MatrixOperand& m = a.matrix;
    block.a = m.data + m0 * m.row_stride + k0 * m.k_stride;
    block.tile.a_row_stride = m.row_stride;
    block.tile.a_k_stride = m.k_stride;
    const bool by_rows = m.k_stride == 1 && !collide(m.row_stride, rows);
    const bool by_k = m.row_stride == 1 && m.k_stride <= 512 && m.k_stride % 256 != 0;
    if (!by_rows && !by_k) copy_tiles();
  }

  /// True if the rows of a tile, read in step, would fall on too few sets of an 8-way first-level cache (4 KiB apart).
  bool collide(index_t row_stride, index_t rows) const { return rows > 4 && (row_stride * 4) % 2048 == 0; }
};

template <class Lazy>
const InPlaceKernels& in_place_kernels() {
  return QAT_DISPATCH(kernels, kInPlaceKernels<Lazy>);
}
QAT_INSTANCE(const InPlaceKernels& in_place_kernels<void>());

/// True where packing A alone is faster (measured on a Zen 5): the outputs of short chains cost more to transpose than
/// packing B, and with many rows B is packed for enough of them. What is packed takes 8 MiB at most.
inline bool reads_b_in_place(const InPlaceKernels& kernels, const GemmProblem& p) {
  return p.b.load == nullptr && p.b.matrix.k_stride == 1 && p.N >= kInPlaceOverlap && p.K >= 256 &&
         p.M <= 16 * kernels.most_rows && p.M * p.K <= index_t{1} << 21;
}
/// True where B packed whole and A read in place, or turned to lie along k, is faster than both in blocks of K.
inline bool reads_a_in_place(const GemmProblem& p) {
  const MatrixOperand& a = p.a.matrix;
  const bool turned = a.row_stride == 1 && p.M * p.K <= index_t{1} << 21;
  return p.a.load == nullptr && (a.k_stride == 1 || turned) && p.M >= 128 && p.K > 0 && p.N * p.K <= index_t{1} << 21;
}

/// A product with one operand, P, read in place from end to end of its rows, and the other, Q, packed.
struct InPlaceCall {
  const GemmProblem& problem;
  const InPlaceKernels& kernels;
  bool a_in_place;
  MatrixOperand p;
  const GemmOperand& q;
  index_t p_rows, q_rows;
  index_t p_block, q_block;  // rows of a block
  float* panels;
  float* turned = nullptr;  // P, where its rows do not lie along k

  InPlaceCall(const GemmProblem& product, const InPlaceKernels& in_place, bool in_place_a)
      : problem(product),
        kernels(in_place),
        a_in_place(in_place_a),
        p(in_place_a ? product.a.matrix : product.b.matrix),
        q(in_place_a ? product.b : product.a),
        p_rows(in_place_a ? product.M : product.N),
        q_rows(in_place_a ? product.N : product.M) {
    // Three vectors of rows where they leave no lane empty and four do.
    const index_t three = 3 * kernels.lanes;
    const bool by_three = q_rows % kernels.most_rows != 0 && q_rows % three == 0;
    const index_t most = by_three ? three : kernels.most_rows, blocks = (q_rows + most - 1) / most;
    const index_t even = (q_rows + blocks - 1) / blocks;
    q_block = blocks == 1 ? q_rows : (even + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
    p_block = 96;  // whole tiles whatever the rows of Q, as 48
    const bool few = blocks * p_blocks() < 8;
    if (few && q_block * p_block * (problem.K + 1) > (index_t{1} << 19)) p_block = 48;
    GemmWorkspace& space = GemmWorkspace::of_this_thread();
    panels = space.a.reserve(q_blocks() * kernels.width(q_block) * problem.K);
    if (p.k_stride == 1) return;
    // Rows of a length whose multiples do not fall on the same sets of a cache.
    const index_t padded = (problem.K + 15) / 16 * 16, pitch = padded % 64 == 0 ? padded + 16 : padded;
    turned = space.b.reserve(p_rows * pitch);
    p = {turned, pitch, 1};
  }
  index_t p_blocks() const { return (p_rows + p_block - 1) / p_block; }
  index_t q_blocks() const { return (q_rows + q_block - 1) / q_block; }

  /// Packs Q and turns P.
  void pack(const CpuBackend& backend) const {
    constexpr index_t kPiece = 64;  // of k
    const index_t K = problem.K;
    const MatrixOperand &a = problem.a.matrix, &m = q.matrix;
    const bool along = q.load == nullptr && m.row_stride == 1 && m.k_stride != 1 && q_block % kernels.lanes == 0;
    const index_t packed = along ? q_rows / q_block : 0;  // blocks
    if (along || turned != nullptr)
      backend.parallel_for((K + kPiece - 1) / kPiece, [&](index_t piece) {
        const index_t k = piece * kPiece, count = K - k < kPiece ? K - k : kPiece;
        if (turned != nullptr)
          kernels.turn(a.data + k * a.k_stride, a.k_stride, p_rows, count, turned + k, p.row_stride);
        const index_t rows = packed * q_block;
        if (rows > 0)
          kernels.pack_along(m.data + k * m.k_stride, m.k_stride, rows, count, q_block, panels + k * q_block,
                             K * q_block);
      });
    backend.parallel_for(q_blocks() - packed, [&](index_t index) { pack_block(packed + index); });
  }

  /// Packs the rows of a block of Q: [k][row].
  void pack_block(index_t index) const {
    const index_t K = problem.K, row = index * q_block, left = q_rows - row, rows = left < q_block ? left : q_block;
    float* to = panels + index * kernels.width(q_block) * K;
    if (q.load == nullptr) {
      const MatrixOperand& m = q.matrix;
      kernels.pack(m.data + row * m.row_stride, m.row_stride, m.k_stride, rows, K, to);
    } else if (q.load_panel != nullptr && kernels.width(rows) % kernels.lanes == 0) {
      q.load_panel(q.self, row, rows, 0, K, kernels.width(rows), to);
    } else {
      float* loaded = GemmWorkspace::of_this_thread().rows.reserve(rows * K);
      for (index_t r = 0; r < rows; ++r) q.load(q.self, row + r, 0, K, loaded + r * K);
      kernels.pack(loaded, K, 1, rows, K, to);
    }
  }

  void block(index_t row_block, index_t column_block) const {
    const index_t p_index = a_in_place ? row_block : column_block, q_index = a_in_place ? column_block : row_block;
    const index_t p0 = p_index * p_block, q0 = q_index * q_block, width = kernels.width(q_block);
    const index_t m0 = a_in_place ? p0 : q0, n0 = a_in_place ? q0 : p0;
    float* scratch = GemmWorkspace::of_this_thread().partial.reserve((p_block + 2 * kInPlaceOverlap) * width);
    InPlaceBlock block = {};
    block.q = panels + q_index * width * problem.K;
    block.p = p.data + p0 * p.row_stride;
    block.p_stride = p.row_stride;
    block.p_left = p_rows - p0;
    block.count = problem.K;
    block.out = scratch + kInPlaceOverlap * width;
    block.c = problem.c + m0 * problem.ldc + n0;
    block.ldc = problem.ldc;
    block.bias = problem.bias == nullptr ? nullptr : problem.bias + n0;
    block.accumulate = problem.accumulate;
    block.p_is_a = a_in_place;
    block.p_rows = p_rows - p0 < p_block ? p_rows - p0 : p_block;
    block.q_rows = q_rows - q0 < q_block ? q_rows - q0 : q_block;
    kernels.block(block);
  }
};

template <class Lazy>
const GemmKernels& gemm_kernels(MatmulPrecision precision) {
  return precision == MatmulPrecision::kBfloat16 && cpu_tuning().bf16_dot
             ? QAT_DISPATCH_BF16(kernels, kGemmKernels<Lazy>)
             : QAT_DISPATCH(kernels, kGemmKernels<Lazy>);
}
QAT_INSTANCE(const GemmKernels& gemm_kernels<void>(MatmulPrecision));

template <class Lazy>
void gemm(const CpuBackend& backend, index_t M, index_t N, index_t K, const GemmOperand& a, const GemmOperand& b,
          float* C, index_t ldc, bool accumulate, const float* bias, const GemmEpilogue& epilogue) {
  QAT_CHECK(M >= 0 && N >= 0 && K >= 0, kShapeMismatch, "gemm: M, N, K are ", M, ", ", N, ", ", K,
            ", must not be negative");
  if (M == 0 || N == 0) return;
  const GemmProblem problem{a, b, M, N, K, C, ldc, accumulate, bias};
  // Row blocks of one block of columns follow each other, so a thread mostly finds its packed B, or the rows of B, in
  // place.
  const auto run = [&](const auto& call, index_t rows, index_t columns, index_t row_blocks, index_t column_blocks) {
    for_each_block(
        backend, {M, N, row_blocks, column_blocks, columns, true},
        [&](index_t block) { return block * rows < M ? block * rows : M; }, epilogue,
        [&](index_t row_block, index_t column_block) { call.block(row_block, column_block); });
  };
  const InPlaceKernels& in_place = in_place_kernels<Lazy>();
  const bool a_in_place = reads_a_in_place(problem), a_is_better = M > 256 && N >= 256 && N * K <= M * (N + K);
  const bool b_in_place = reads_b_in_place(in_place, problem) && !(a_in_place && a_is_better);
  if (backend.matmul_precision() == MatmulPrecision::kFloat32 && (b_in_place || a_in_place)) {
    const InPlaceCall call(problem, in_place, !b_in_place);
    call.pack(backend);
    if (b_in_place)
      run(call, call.q_block, call.p_block, call.q_blocks(), call.p_blocks());
    else
      run(call, call.p_block, call.q_block, call.p_blocks(), call.q_blocks());
    return;
  }
  const GemmKernels& kernels = gemm_kernels<Lazy>(backend.matmul_precision());
  const GemmCall call{problem, kernels, GemmPlan(kernels, M, N, K), next_gemm_call()};
  run(call, call.plan.rows, call.plan.columns, call.plan.row_blocks, call.plan.column_blocks);
}
QAT_INSTANCE(void gemm<void>(const CpuBackend&, index_t, index_t, index_t, const GemmOperand&, const GemmOperand&,
                             float*, index_t, bool, const float*, const GemmEpilogue&));

}  // namespace detail

/// C[m,n] (+)= sum_k A(m,k) * B(n,k) (+ bias[n]), row-major C with ldc elements from row to row.
///
/// A linear layer Y = X W^T + b: gemm(backend, rows, out, in, {X, in, 1}, {W, in, 1}, Y, out, false, b).
/// dX = dY W: gemm(backend, rows, in, out, {dY, out, 1}, {W, 1, in}, dX, in).
/// dW += dY^T X: gemm(backend, out, in, rows, {dY, 1, out}, {X, 1, in}, dW, in, true).
///
/// @param a, b  MatrixOperand, or any type with `void load(index_t row, index_t k0, index_t count, float* out) const`
///              that gives the same values whenever asked (on any thread, while packing, maybe more than once)
/// @param accumulate  adds to C instead of overwriting it
/// @param bias  N values added after the sum, or null
/// @param epilogue  done last, to each block of C
///
/// Where backend.matmul_precision() is kBfloat16 and the processor has bf16 dot products (and gains by them), operands
/// are rounded to bf16, subnormal numbers to zero, and sums stay fp32: |error| <= sum_k |a||b| * (2^-8 + 2^-18 + (K +
/// 3) * 2^-23). Bits then depend on the processor, but not on threads.
///
/// C must not overlap the operands or the bias. Allocates nothing once each thread has seen the largest sizes.
/// @throws qat::Error (kShapeMismatch) on negative sizes
template <class OperandA, class OperandB>
void gemm(const CpuBackend& backend, index_t M, index_t N, index_t K, OperandA a, OperandB b, float* C, index_t ldc,
          bool accumulate = false, const float* bias = nullptr, const GemmEpilogue& epilogue = {}) {
  detail::gemm<void>(backend, M, N, K, detail::erase(a), detail::erase(b), C, ldc, accumulate, bias, epilogue);
}

}  // namespace qat::inline v0::kernels
