// The launcher of w4a8_gemm.hpp and the table of its kernels.
#pragma once

#include "qat/kernels/cuda/int4_launch.cuh"
#include "qat/kernels/cuda/w4a8_form.cuh"
#include "qat/kernels/cuda/w4a8_gemm.hpp"

namespace qat::inline v0::cuda {
namespace detail {

/// f(shape) for each kernel, in ascending order of tokens. One warp along K: sums are added in one order.
template <class F>
void for_w4a8_shapes(const F& f) {
  //           rows tokens n  m  k  depth stages blocks   tokens x rows, warps   codes in flight
  f(Int4Shape<1, 1, 2, 1, 1, 2, 7, 4>{});  //   8 x  32,  2     48 KB
  f(Int4Shape<1, 2, 4, 1, 1, 4, 7, 2>{});  //  16 x  64,  4     96 KB
  f(Int4Shape<2, 8, 4, 1, 1, 2, 4, 2>{});  //  64 x 128,  4     48 KB
  f(Int4Shape<2, 8, 4, 2, 1, 2, 4, 1>{});  // 128 x 128,  8     24 KB, bound by arithmetic
}

/// f(launch of the kernel that the configuration names).
template <class F>
void visit_w4a8(const Int4Operands& w, const W4A8Config& config, const F& f) {
  bool found = false;
  for_w4a8_shapes([&](auto shape) {
    using Shape = decltype(shape);
    static_assert(Shape::kWarpsK == 1, "w4a8_gemm: groups are added in order, by one warp");
    const bool fits = config.tile_tokens != 0 ? config.tile_tokens == Shape::kTileTokens
                                              : w.tokens <= Shape::kTileTokens || Shape::kTileTokens == 128;
    if (found || !fits || (config.tile_rows != 0 && config.tile_rows != Shape::kTileRows)) return;
    found = true;
    f(Int4TilesLaunch<Shape, W4A8Form>("w4a8_gemm", w, kWholeTiles));
  });
  if (found) return;
  FixedString<400> names;
  for_w4a8_shapes([&](auto shape) {
    using Shape = decltype(shape);
    names.append(concat(" ", Shape::kTileTokens, "x", Shape::kTileRows).c_str());
  });
  raise(ErrorCode::kUnsupported, "w4a8_gemm: no kernel has tiles of ", config.tile_tokens, " tokens x ",
        config.tile_rows, " rows; there are", names);
}

}  // namespace detail

template <class T, class S>
void w4a8_gemm(const CudaBackend& backend, const W4A8Args<T, S>& args, const W4A8Config& config) {
  detail::check_int4_product("w4a8_gemm", args);
  if (args.tokens == 0 || args.tiles.rows == 0) return;
  QAT_CHECK(args.tiles.columns > 0, kUnsupported, "w4a8_gemm: K is 0, must be at least 1");
  Int4Operands w = detail::int4_operands(args);
  w.token_scales = args.x_scales;
  w.token_zero_points = args.x_zero_points;
  QAT_CHECK(w.token_scales != nullptr, kInvalidArgument, "w4a8_gemm: x_scales is null");
  detail::visit_w4a8(w, config, [&](const auto& found) {
    launch(backend, Grid{found.blocks, 1, found.kernel.shared_bytes()}, found.kernel, "w4a8_gemm ", w.tokens, " x ",
           w.rows, " x ", w.columns);
  });
}

}  // namespace qat::inline v0::cuda
