// The launcher of w4a16_gemm.hpp and the table of its kernels.
#pragma once

#include "qat/kernels/cuda/int4_launch.cuh"
#include "qat/kernels/cuda/w4a16_form.cuh"
#include "qat/kernels/cuda/w4a16_gemm.hpp"
#include "qat/kernels/cuda/w4a16_stream.cuh"

namespace qat::inline v0::cuda {
namespace detail {

/// f(shape) for each pipelined kernel, the preferred one of a tile first. Sizes are for H100 and H200 (227 KB of shared
/// memory, 64 K registers): blocks on a multiprocessor x (stages - 1) x bytes of codes of a stage in flight.
template <class F>
void for_w4a16_shapes(const F& f) {
  //           rows tokens n  m  k  depth stages blocks   tokens x rows, warps   codes in flight
  f(Int4Shape<2, 1, 4, 1, 2, 4, 5, 2>{});  //   8 x 128,  8    128 KB
  f(Int4Shape<1, 1, 8, 1, 1, 4, 4, 2>{});  //   8 x 128,  8     96 KB
  f(Int4Shape<2, 1, 8, 1, 1, 2, 4, 2>{});  //   8 x 256,  8     96 KB
  f(Int4Shape<2, 2, 4, 1, 2, 4, 4, 2>{});  //  16 x 128,  8     96 KB
  f(Int4Shape<2, 2, 8, 1, 1, 2, 4, 2>{});  //  16 x 256,  8     96 KB
  f(Int4Shape<2, 2, 8, 1, 2, 2, 6, 1>{});  //  16 x 256, 16     80 KB
  f(Int4Shape<2, 4, 4, 1, 2, 2, 5, 2>{});  //  32 x 128,  8     64 KB
  f(Int4Shape<2, 4, 8, 1, 1, 1, 5, 2>{});  //  32 x 256,  8     64 KB
  f(Int4Shape<2, 4, 8, 1, 2, 2, 6, 1>{});  //  32 x 256, 16     80 KB
  f(Int4Shape<2, 8, 4, 1, 1, 2, 3, 2>{});  //  64 x 128,  4     32 KB, bound by arithmetic
  f(Int4Shape<2, 8, 4, 1, 2, 2, 7, 1>{});  //  64 x 128,  8     48 KB
  f(Int4Shape<2, 8, 8, 1, 1, 1, 7, 1>{});  //  64 x 256,  8     48 KB
  f(Int4Shape<4, 4, 2, 2, 1, 2, 3,
              2>{});  //  64 x 128,  4     32 KB, a third less read from shared memory; not timed yet
  f(Int4Shape<2, 8, 4, 2, 1, 1, 6, 1>{});  // 128 x 128,  8     20 KB, bound by arithmetic
  f(Int4Shape<4, 4, 2, 4, 1, 2, 3, 1>{});  // 128 x 128,  8     16 KB, likewise
  f(Int4Shape<2, 8, 2, 2, 1, 1, 4, 2>{});  // 128 x  64,  4     12 KB
}

template <class Shape>
constexpr bool fits(const Shape&, const W4A16Config& config) {
  return (config.tile_tokens == 0 || config.tile_tokens == Shape::kTileTokens) &&
         (config.tile_rows == 0 || config.tile_rows == Shape::kTileRows) &&
         (config.warp_tokens == 0 || config.warp_tokens == 8 * Shape::kTokens) &&
         (config.warps == 0 || config.warps == Shape::kThreads / 32) &&
         (config.stages == 0 || config.stages == Shape::kStages);
}

struct ClearCounters {
  static constexpr int kThreads = 256;
  unsigned* counters;
  unsigned count;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const unsigned i = c.block() * kThreads + c.thread();
    if (i < count) c.store(counters + i, 0u);
  }
};

/// f(launch of the kernel that the configuration names).
template <class F>
void visit_w4a16(const Int4Operands& w, W4A16Config config, const F& f) {
  if (config.tile_tokens == 0 && config.form != W4A16Config::Form::kStream)
    for (int size = 8; size <= 64; size *= 2)  // 64 beats 128 for more tokens, too
      if (config.tile_tokens == 0 && (w.tokens <= size || size == 64)) config.tile_tokens = size;
  const auto stream = [&](auto kernel) {
    QAT_CHECK(kernel.bytes <= kSharedLimit, kUnsupported,
              "w4a16_gemm: the stream form keeps x in shared memory: ", w.tokens, " x ", w.columns, " needs ",
              kernel.bytes, " bytes, accepted are ", kSharedLimit);
    f(kernel);
  };
  if (config.form == W4A16Config::Form::kStream) {
    const bool sixteen = config.tile_tokens == 16 && config.tile_rows == 32;
    QAT_CHECK(w.tokens <= (sixteen ? 16 : 8), kUnsupported, "w4a16_gemm: ", w.tokens,
              " tokens, the stream form takes up to 8, and 16 in tiles of 16 x 32");
    if (sixteen) return stream(W4A16StreamKernel<2, 2, 8, 512, 1>(w));
    if (config.tile_rows == 64) return stream(W4A16StreamKernel<4, 1, 8, 512, 1>(w));
    if (config.tile_rows == 32) return stream(W4A16StreamKernel<2, 1, 8, 256, 2>(w));
    QAT_CHECK(config.tile_rows == 16, kUnsupported, "w4a16_gemm: the stream form has tiles of 16, 32 and 64 rows, not ",
              config.tile_rows);
    return stream(W4A16StreamKernel<1, 1, 8, 256, 3>(w));
  }
  bool found = false;
  for_w4a16_shapes([&](auto shape) {
    if (found || !fits(shape, config)) return;
    found = true;
    f(Int4TilesLaunch<decltype(shape), W4A16Form>("w4a16_gemm", w, config.blocks, config.every_tile));
  });
  if (found) return;
  FixedString<400> names;
  for_w4a16_shapes([&](auto shape) {
    using Shape = decltype(shape);
    names.append(
        concat(" ", Shape::kTileTokens, "x", Shape::kTileRows, "/", Shape::kThreads / 32, "/", Shape::kStages).c_str());
  });
  raise(ErrorCode::kUnsupported, "w4a16_gemm: no kernel has tiles of ", config.tile_tokens, " tokens x ",
        config.tile_rows, " rows, ", config.warps, " warps and ", config.stages,
        " stages; there are (tokens x rows / warps / stages)", names);
}

/// The table: which form and tile for a shape, as measured on an H200 (bench/gpu/w4a16_sweep.cu). The stream form wins
/// wherever the activations fit in shared memory: in two blocks of 32 rows on a multiprocessor, else in one of 64 rows
/// (8 tokens at 8192 x 8192: 15 us against 20 in tiles) or, for 16 tokens, of 32 (at 4096 x 4096: 9 us against 11.5).
inline W4A16Config resolve(const Int4Operands& w, W4A16Config config) {
  using Form = W4A16Config::Form;
  const bool two_fit = w.tokens <= 8 && 2 * (W4A16StreamKernel<2, 1, 8, 256, 2>(w).bytes + 1024) <= kSharedLimit + 1024,
             one_fits = w.tokens <= 8 && W4A16StreamKernel<4, 1, 8, 512, 1>(w).bytes <= kSharedLimit;
  const int processors = static_cast<int>(resident_blocks(1));
  const bool free = config.form == Form::kAuto && config.tile_tokens == 0 && config.warps == 0 && config.stages == 0 &&
                    config.blocks == 0 && config.warp_tokens == 0;
  if (config.form == Form::kAuto) {
    config.form = free && (two_fit || (one_fits && w.row_tiles >= 2 * processors)) ? Form::kStream : Form::kTiles;
  }
  // 9 to 16 tokens: one block on each multiprocessor.
  if (free && config.form == Form::kTiles && config.tile_rows == 0 && w.tokens > 8 && w.tokens <= 16 &&
      w.row_tiles <= 2 * processors && W4A16StreamKernel<2, 2, 8, 512, 1>(w).bytes <= kSharedLimit) {
    config.form = Form::kStream;
    config.tile_tokens = 16;
    config.tile_rows = 32;
  }
  if (config.form == Form::kStream && config.tile_rows == 0)
    config.tile_rows = w.row_tiles <= processors ? 16 : two_fit ? 32 : 64;
  return config;
}

}  // namespace detail

template <class T, class S>
W4A16Plan plan_w4a16_gemm(const W4A16Args<T, S>& args, const W4A16Config& wanted) {
  detail::check_int4_product("w4a16_gemm", args);
  W4A16Plan plan;
  if (args.tokens == 0 || args.tiles.rows == 0 || args.tiles.columns == 0) return plan;
  const Int4Operands w = detail::int4_operands(args);
  plan.config = detail::resolve(w, wanted);
  detail::visit_w4a16(w, plan.config, [&](const auto& launch) {
    if constexpr (requires { launch.kernel; }) {
      using Kernel = decltype(launch.kernel);
      plan.config.tile_tokens = Kernel::kTokensOfTile;
      plan.config.tile_rows = Kernel::kRowTiles * 16;
      plan.config.warps = Kernel::kWarps;
      plan.config.stages = Kernel::kStages;
      plan.config.warp_tokens = Kernel::kWarpTokens;
      plan.config.blocks = static_cast<int>(launch.blocks);
      if (launch.is_split()) {
        plan.counters = static_cast<index_t>(launch.tiles);
        plan.workspace_bytes = launch.partial_bytes + (args.counters == nullptr ? launch.tiles * sizeof(unsigned) : 0);
      }
    } else {
      plan.config.tile_tokens = launch.kTokensOfTile;
      plan.config.warps = 8;
      plan.config.stages = plan.config.blocks = 0;
    }
  });
  return plan;
}

template <class T, class S>
void w4a16_gemm(const CudaBackend& backend, const W4A16Args<T, S>& args, const W4A16Config& wanted) {
  detail::check_int4_product("w4a16_gemm", args);
  if (args.tokens == 0 || args.tiles.rows == 0) return;
  QAT_CHECK(args.tiles.columns > 0, kUnsupported, "w4a16_gemm: K is 0, must be at least 1");
  const Int4Operands w = detail::int4_operands(args);
  const auto where = [&] { return concat("w4a16_gemm ", w.tokens, " x ", w.rows, " x ", w.columns); };
  detail::visit_w4a16(w, detail::resolve(w, wanted), [&](auto found) {
    if constexpr (requires { found.kernel; }) {
      auto kernel = found.kernel;
      if (found.is_split()) {
        kernel.counters = args.counters;
        const std::size_t needed =
            found.partial_bytes + (args.counters == nullptr ? found.tiles * sizeof(unsigned) : 0);
        QAT_CHECK(backend.workspace != nullptr && backend.workspace_bytes >= needed, kInvalidArgument, where(),
                  ": the workspace has ", backend.workspace == nullptr ? 0 : backend.workspace_bytes,
                  " bytes, needed are ", needed);
        kernel.partials = static_cast<float*>(backend.workspace);
        if (kernel.counters == nullptr) {
          kernel.counters = reinterpret_cast<unsigned*>(static_cast<char*>(backend.workspace) + found.partial_bytes);
          launch(backend, detail::blocks_of(found.tiles, 256), detail::ClearCounters{kernel.counters, found.tiles},
                 where());
        }
      }
      launch(backend, Grid{found.blocks, 1, kernel.shared_bytes()}, kernel, where());
    } else {
      const unsigned rows = static_cast<unsigned>(detail::resolve(w, wanted).tile_rows) / 16;
      launch(backend, Grid{(static_cast<unsigned>(w.row_tiles) + rows - 1) / rows, 1, found.bytes}, found, where());
    }
  });
}

}  // namespace qat::inline v0::cuda
