// Products with int4 weights and int8 activations: the bits of the reference product.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "qat/base/random.hpp"
#include "qat/kernels/cuda/w4a8_gemm.cuh"
#include "qat/kernels/reference/qgemm.hpp"
#include "support/compare.hpp"

namespace {
namespace w4a8_gemm_test {

using namespace qat;
using namespace qat::cuda;
using emulation::Buffer;
using Byte = std::uint8_t;

struct Case {
  index_t tokens, rows, columns, group;  ///< group 0: one per row
  bool weight_zeros = false, token_zeros = false, bias = false;
  index_t x_extra = 0, y_extra = 0, offset = 0;
};
std::string name(const Case& c, const W4A8Config& config) {
  return concat(c.tokens, " x ", c.rows, " x ", c.columns, ", group ", c.group,
                c.weight_zeros ? ", zero points of weights" : "", c.token_zeros ? ", of tokens" : "",
                c.bias ? ", bias" : "", "; tile ", config.tile_tokens, " x ", config.tile_rows)
      .c_str();
}

template <class T, class S>
void check_bits(const Case& c, const W4A8Config& config, bool extreme = false) {
  CounterRandom random(static_cast<std::uint64_t>(c.columns + c.tokens));
  const auto any = [&](int low, int high) {
    return low + static_cast<int>(random.next_below(static_cast<std::uint32_t>(high - low + 1)));
  };
  const index_t group = c.group == 0 ? c.columns : c.group;
  QuantSpec spec{4,
                 true,
                 {GranularityKind::kPerGroup, 0, group},
                 c.weight_zeros ? MappingKind::kAsymmetric : MappingKind::kSymmetric,
                 sizeof(S) == 2 ? ScaleType::kBfloat16 : ScaleType::kFloat32};
  const Int4Tiles tiles{c.rows, c.columns, group};
  std::vector<std::int8_t> q, x;
  std::vector<float> scale, zero, x_scale, bias;
  std::vector<std::int32_t> x_zero;
  for (index_t i = 0; i < c.rows * c.columns; ++i) q.push_back(static_cast<std::int8_t>(extreme ? -8 : any(-8, 7)));
  for (index_t i = 0; i < c.rows * tiles.groups(); ++i) {
    scale.push_back(static_cast<float>(S(random.next_float() + 0.001f)));
    zero.push_back(static_cast<float>(extreme ? 7 : any(-8, 7)));
  }
  for (index_t i = 0; i < c.tokens * c.columns; ++i)
    x.push_back(static_cast<std::int8_t>(extreme ? -128 : any(-128, 127)));
  for (index_t i = 0; i < c.tokens; ++i) {
    x_scale.push_back(random.next_float() + 0.01f);
    x_zero.push_back(extreme ? 127 : any(-128, 127));
  }
  for (index_t i = 0; i < c.rows; ++i) bias.push_back(random.next_float() - 0.5f);
  const PackedWeight packed =
      PackedWeight::pack(spec, c.rows, c.columns, q.data(), scale.data(), c.weight_zeros ? zero.data() : nullptr);
  std::vector<float> reference(static_cast<std::size_t>(c.tokens * c.rows));
  kernels::reference::qgemm(c.tokens, {x.data(), c.columns, x_scale.data(), c.token_zeros ? x_zero.data() : nullptr},
                            packed, reference.data(), c.rows, c.bias ? bias.data() : nullptr);

  std::vector<Byte> codes(static_cast<std::size_t>(tiles.code_bytes()), 0x88),
      zeros(static_cast<std::size_t>(tiles.group_entries()), 8);
  std::vector<S> scales(static_cast<std::size_t>(tiles.group_entries()));
  for (index_t n = 0; n < c.rows; ++n) {
    for (index_t k = 0; k < c.columns; ++k) {
      Byte& byte = codes[static_cast<std::size_t>(tiles.byte_of(n, k))];
      const int shift = tiles.shift_of(n, k);
      byte = static_cast<Byte>((byte & ~(15 << shift)) | (q[static_cast<std::size_t>(n * c.columns + k)] + 8) << shift);
    }
    for (index_t g = 0; g < tiles.groups(); ++g) {
      const std::size_t slot = static_cast<std::size_t>(tiles.slot_of(n, g)),
                        i = static_cast<std::size_t>(n * tiles.groups() + g);
      scales[slot] = S(scale[i]);
      zeros[slot] = static_cast<Byte>(static_cast<int>(zero[i]) + 8);
    }
  }
  const index_t x_stride = c.columns + c.x_extra, y_stride = c.rows + c.y_extra;
  const std::size_t offset = static_cast<std::size_t>(c.offset);
  Buffer<std::int8_t> x_buffer(static_cast<std::size_t>(c.tokens * x_stride), 99, offset);
  for (index_t m = 0; m < c.tokens; ++m)
    for (index_t k = 0; k < c.columns; ++k)
      x_buffer[static_cast<std::size_t>(m * x_stride + k)] = x[static_cast<std::size_t>(m * c.columns + k)];
  const Buffer<const Byte> code_buffer(codes), zero_buffer(zeros);
  const Buffer<const S> scale_buffer(scales);
  const Buffer<const float> bias_buffer(bias), x_scale_buffer(x_scale);
  const Buffer<const std::int32_t> x_zero_buffer(x_zero);
  T mark;
  std::memset(static_cast<void*>(&mark), 0x5A, sizeof mark);
  Buffer<T> y(static_cast<std::size_t>(c.tokens * y_stride), mark, offset);
  W4A8Args<T, S> args;
  args.tokens = c.tokens;
  args.tiles = tiles;
  args.x = x_buffer.data();
  args.x_stride = c.x_extra == 0 ? 0 : x_stride;
  args.x_scales = x_scale_buffer.data();
  args.x_zero_points = c.token_zeros ? x_zero_buffer.data() : nullptr;
  args.weight = {code_buffer.data(), scale_buffer.data(), c.weight_zeros ? zero_buffer.data() : nullptr};
  args.bias = c.bias ? bias_buffer.data() : nullptr;
  args.y = y.data();
  args.y_stride = c.y_extra == 0 ? 0 : y_stride;
  w4a8_gemm(CudaBackend{}, args, config);
  std::vector<T> expected(y.size(), mark);  // nothing beside y is written
  for (index_t m = 0; m < c.tokens; ++m)
    for (index_t n = 0; n < c.rows; ++n)
      expected[static_cast<std::size_t>(m * y_stride + n)] = T(reference[static_cast<std::size_t>(m * c.rows + n)]);
  CHECK_MESSAGE(test::compare_bits(test::Values<T>(expected.data(), {c.tokens, y_stride}),
                                   test::Values<T>(y.data(), {c.tokens, y_stride})),
                name(c, config));
}

std::vector<W4A8Config> all_kernels() {
  std::vector<W4A8Config> all = {{}};
  cuda::detail::for_w4a8_shapes([&](auto shape) {
    using Shape = decltype(shape);
    all.push_back({Shape::kTileTokens, Shape::kTileRows});
  });
  return all;
}

TEST_CASE("w4a8_gemm has the bits of the reference product: tails, groups, zero points, strides, types") {
  const Case cases[] = {
      {3, 40, 100, 0, false, true, true},  // one group per row, K of no multiple
      {9, 130, 256, 128},
      {5, 33, 320, 32, true, true, false, 16, 8},  // a scale for half a tile
      {20, 70, 288, 96, true, false, true},        // groups across tiles and slices
      {2, 17, 65, 64, true, true, true, 0, 0, 1},  // rows of x and y at odd addresses
  };
  for (const W4A8Config& config : all_kernels())
    for (const Case& c : cases) {
      check_bits<float, float>(c, config);
      check_bits<bfloat16, bfloat16>(c, config);
    }
}

TEST_CASE("w4a8_gemm: several tiles of tokens and rows") {
  for (const W4A8Config& config : all_kernels())
    check_bits<float, float>({config.tile_tokens + 9, config.tile_rows + 16, 512, 128, false, true}, config);
}

TEST_CASE("w4a8_gemm: the largest sums of the longest groups that are added as floats, of longer ones, and of runs") {
  for (const index_t columns : {1024, 1056, 2048})
    for (const bool weight_zeros : {false, true})
      for (const bool token_zeros : {false, true})
        check_bits<float, float>({2, 17, columns, 0, weight_zeros, token_zeros}, {8, 32}, true);
  check_bits<float, float>({2, 16, 16384 + 16384 + 100, 0, true, true}, {8, 32}, true);
  check_bits<float, float>({1, 16, 16384 + 500, 0}, {8, 32});
}

TEST_CASE("w4a8_gemm: no bank of shared memory is hit twice, global memory is read in whole sectors") {
  emulation::Settings settings;
  settings.requests = true;
  const emulation::With with(settings);
  for (const W4A8Config& config : all_kernels()) {
    if (config.tile_tokens == 0) continue;
    emulation::reset_counters();
    const Case c{config.tile_tokens, config.tile_rows, 512, 128};
    check_bits<bfloat16, bfloat16>(c, config);
    CHECK_MESSAGE(emulation::worst_bank_ways() == 1, name(c, config));
    for (const auto& entry : emulation::global_requests())
      CHECK_MESSAGE(entry.second.transactions <= entry.second.ideal + entry.second.count, entry.first.first, ":",
                    entry.first.second);
  }
}

TEST_CASE("w4a8_gemm: what does not fit is named") {
  const auto message = [](const W4A8Args<float, float>& args, const W4A8Config& config) -> std::string {
    try {
      w4a8_gemm(CudaBackend{}, args, config);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  W4A8Args<float, float> args;
  args.tokens = 3;
  args.tiles = {16, 96, 48};
  CHECK(message(args, {}) ==
        "w4a8_gemm: groups of 48 columns, accepted are multiples of 32 and one group per row (96)");
  args.tiles.group = 32;
  CHECK(message(args, {}) == "w4a8_gemm: x_scales is null");
  const float scale = 1;
  args.x_scales = &scale;
  CHECK(message(args, {24, 0}) ==
        "w4a8_gemm: no kernel has tiles of 24 tokens x 0 rows; there are 8x32 16x64 64x128 128x128");
  args.tokens = 0;
  CHECK(message(args, {}) == "no error");  // nothing to do
}

}  // namespace w4a8_gemm_test
}  // namespace
