// The C interface to products with int4 weights.
#include "capi.hpp"
#include "qat/kernels/cuda/w4a16_gemm.hpp"

using namespace qat;

namespace {
cuda::Int4Tiles tiles(int64_t rows, int64_t columns, int64_t group) {
  cuda::Int4Tiles t;
  t.rows = rows;
  t.columns = columns;
  t.group = group;
  return t;
}
cuda::W4A16Config config_of(const qat_w4a16_config* c) {
  cuda::W4A16Config config;
  if (c == nullptr) return config;
  QAT_CHECK(c->form >= 0 && c->form <= 2, kInvalidArgument, "w4a16_gemm: form is ", c->form,
            "; accepted: 0 (auto), 1 (stream), 2 (tiles)");
  config.form = static_cast<cuda::W4A16Config::Form>(c->form);
  config.tile_tokens = c->tile_tokens;
  config.tile_rows = c->tile_rows;
  config.stages = c->stages;
  config.blocks = c->blocks;
  config.warp_tokens = c->warp_tokens;
  config.every_tile = c->every_tile != 0;
  return config;
}
template <class S>
cuda::W4A16Args<bfloat16, S> arguments(int64_t tokens, int64_t rows, int64_t columns, int64_t group) {
  cuda::W4A16Args<bfloat16, S> a;
  a.tokens = tokens;
  a.tiles = tiles(rows, columns, group);
  return a;
}
}  // namespace

extern "C" {

qat_status qat_cuda_int4_tiles(int64_t rows, int64_t columns, int64_t group, int64_t* code_bytes,
                               int64_t* scale_count) {
  return capi::guarded([&] {
    QAT_CHECK(rows >= 0 && columns >= 0 && group >= 1, kInvalidArgument, "int4_tiles: rows is ", rows, ", columns ",
              columns, ", group ", group, "; accepted: rows, columns >= 0, group >= 1");
    const cuda::Int4Tiles t = tiles(rows, columns, group);
    *code_bytes = t.code_bytes();
    *scale_count = t.group_entries();
  });
}
qat_status qat_cuda_prepack_int4(const qat_cuda* cuda, int64_t rows, int64_t columns, int64_t group,
                                 qat_dtype scale_dtype, const uint8_t* codes, const void* scales, uint8_t* tiled_codes,
                                 void* tiled_scales) {
  return capi::guarded([&] {
    capi::check_arguments(
        cuda, "prepack_int4", scale_dtype,
        {{"codes", codes}, {"scales", scales}, {"tiled_codes", tiled_codes}, {"tiled_scales", tiled_scales}});
    capi::with_dtype("prepack_int4", scale_dtype, [&]<class S>(S) {
      cuda::RowMajorInt4<const std::uint8_t, const S> from;
      from.codes = codes;
      from.scales = static_cast<const S*>(scales);
      cuda::TiledInt4<std::uint8_t, S> to;
      to.codes = tiled_codes;
      to.scales = static_cast<S*>(tiled_scales);
      cuda::prepack_int4<S>(capi::backend(cuda), tiles(rows, columns, group), from, to);
    });
  });
}
qat_status qat_cuda_dequantize_int4(const qat_cuda* cuda, int64_t rows, int64_t columns, int64_t group,
                                    qat_dtype scale_dtype, const uint8_t* tiled_codes, const void* tiled_scales,
                                    void* y) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "dequantize_int4", QAT_BFLOAT16,
                          {{"tiled_codes", tiled_codes}, {"tiled_scales", tiled_scales}, {"y", y}});
    capi::with_dtype("dequantize_int4", scale_dtype, [&]<class S>(S) {
      cuda::TiledInt4<const std::uint8_t, const S> from;
      from.codes = tiled_codes;
      from.scales = static_cast<const S*>(tiled_scales);
      cuda::dequantize_int4<S>(capi::backend(cuda), tiles(rows, columns, group), from, static_cast<bfloat16*>(y));
    });
  });
}
qat_status qat_cuda_w4a16_plan(int64_t tokens, int64_t rows, int64_t columns, int64_t group, qat_dtype scale_dtype,
                               const qat_w4a16_config* config, size_t* workspace_bytes, int64_t* counters,
                               qat_w4a16_config* chosen) {
  return capi::guarded([&] {
    capi::with_dtype("w4a16_gemm", scale_dtype, [&]<class S>(S) {
      const cuda::W4A16Plan plan = cuda::plan_w4a16_gemm(arguments<S>(tokens, rows, columns, group), config_of(config));
      if (workspace_bytes != nullptr) *workspace_bytes = plan.workspace_bytes;
      if (counters != nullptr) *counters = plan.counters;
      if (chosen != nullptr)
        *chosen = {static_cast<int32_t>(plan.config.form),
                   plan.config.tile_tokens,
                   plan.config.tile_rows,
                   plan.config.stages,
                   plan.config.blocks,
                   plan.config.warp_tokens,
                   plan.config.every_tile ? 1 : 0};
    });
  });
}
qat_status qat_cuda_w4a16_gemm(const qat_cuda* cuda, int64_t tokens, int64_t rows, int64_t columns, int64_t group,
                               qat_dtype scale_dtype, const void* x, const uint8_t* tiled_codes,
                               const void* tiled_scales, void* y, uint32_t* counters, const qat_w4a16_config* config) {
  return capi::guarded([&] {
    capi::check_arguments(cuda, "w4a16_gemm", QAT_BFLOAT16,
                          {{"x", x},
                           {"tiled_codes", tiled_codes},
                           {"tiled_scales", tiled_scales},
                           {"y", y},
                           {"counters", counters, true}});
    capi::with_dtype("w4a16_gemm", scale_dtype, [&]<class S>(S) {
      cuda::W4A16Args<bfloat16, S> a = arguments<S>(tokens, rows, columns, group);
      a.x = static_cast<const bfloat16*>(x);
      a.weight.codes = tiled_codes;
      a.weight.scales = static_cast<const S*>(tiled_scales);
      a.y = static_cast<bfloat16*>(y);
      a.counters = counters;
      cuda::w4a16_gemm(capi::backend(cuda), a, config_of(config));
    });
  });
}

}  // extern "C"
