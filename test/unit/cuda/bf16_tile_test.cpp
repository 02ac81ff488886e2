#include "qat/kernels/cuda/bf16_tile.hpp"

#include <doctest/doctest.h>

#include "qat/kernels/cuda/launch.cuh"
#include "support/compare.hpp"
#include "support/random_values.hpp"

using namespace qat;
using namespace qat::test;

namespace {

/// One warp. a, b: (32, kDim) of a tile each, from `rows` rows of global memory. first = a b^T, (32, 32); second =
/// first, rounded, times b, stored to `rows` rows.
template <int kDim>
struct TileProducts {
  static constexpr int kThreads = 128;
  const bfloat16 *a, *b;
  float* first;
  bfloat16* second;
  index_t stride;
  int rows, head_dim;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    using Tile = cuda::Bf16Tile<kDim>;
    constexpr unsigned kBytes = 32 * kDim * 2;
    const unsigned tile = c.template shared<cuda::Bytes16>(0).at(0);
    cuda::copy_rows_async<kDim, 32, kThreads>(c, tile, a, stride, rows, head_dim);
    cuda::copy_rows_async<kDim, 32, kThreads>(c, tile + kBytes, b, stride, rows, head_dim);
    c.cp_commit();
    c.template cp_wait<0>();
    c.sync();
    if (c.warp() != 0) return;
    std::uint32_t fragments[2][kDim / 16][4], p[2][2][4];
    cuda::load_rows<kDim>(c, fragments, Tile::lane_by_rows(tile, c.lane()), 0);
    float s[2][4][4] = {}, d[2][kDim / 8][4] = {}, factor[2][2] = {{1.0f, 2.0f}, {1.0f, 2.0f}};
    cuda::multiply_transposed<kDim>(c, s, fragments, Tile::lane_by_columns(tile + kBytes, c.lane()), 0);
    for (unsigned t = 0; t < 2; ++t)
      for (unsigned n = 0; n < 4; ++n)
        for (unsigned i = 0; i < 4; ++i)
          c.store(first + (t * 16 + i / 2 * 8 + c.lane() / 4) * 32 + n * 8 + c.lane() % 4 * 2 + i % 2, s[t][n][i]);
    cuda::to_operand(c, p, s);
    cuda::multiply<kDim>(c, d, p, Tile::lane_by_rows(tile + kBytes, c.lane()), 0);
    c.sync_warp();
    cuda::store_rows<kDim>(c, 0, d, factor, second, stride, rows, head_dim);
  }
};

template <int kDim>
void check_tile_products(int rows, int head_dim) {
  CAPTURE(rows);
  CAPTURE(head_dim);
  const index_t stride = head_dim + 8;
  // Integers whose products and sums are exact in fp32, and those of the first product in bfloat16 too.
  const auto integers = [&](std::uint64_t seed) {
    std::vector<bfloat16> x;
    CounterRandom random(seed);
    for (index_t i = 0; i < rows * stride; ++i)
      x.push_back(bfloat16(random.next_float() < 0.2f ? 1.0f : random.next_float() < 0.2f ? -1.0f : 0.0f));
    return x;
  };
  const std::vector<bfloat16> a = integers(1), b = integers(2);
  const emulation::Buffer<const bfloat16> a_buffer(a), b_buffer(b);
  const auto first = emulation::Buffer<float>::uninitialized(32 * 32);
  const emulation::Buffer<bfloat16> second(static_cast<std::size_t>(rows * stride), bfloat16(-7.0f));
  emulation::Settings settings;
  settings.requests = true;
  const emulation::With with(settings);
  emulation::reset_counters();
  cuda::launch(
      CudaBackend{}, {1, 1, 2 * 32 * kDim * 2},
      TileProducts<kDim>{a_buffer.data(), b_buffer.data(), first.data(), second.data(), stride, rows, head_dim});
  CHECK(emulation::worst_bank_ways() == 1);

  const auto at = [&](const std::vector<bfloat16>& x, int row, int column) {
    return row < rows && column < head_dim ? static_cast<float>(x[static_cast<std::size_t>(row * stride + column)])
                                           : 0.0f;
  };
  std::vector<float> product;
  for (int i = 0; i < 32; ++i)
    for (int j = 0; j < 32; ++j) {
      product.push_back(0.0f);
      for (int d = 0; d < kDim; ++d) product.back() += at(a, i, d) * at(b, j, d);
    }
  CHECK(compare_bits(product, first.to_vector()));
  std::vector<bfloat16> expected;
  for (int i = 0; i < rows; ++i)
    for (int d = 0; d < stride; ++d) {
      float sum = 0.0f;
      for (int j = 0; j < 32; ++j) sum += product[static_cast<std::size_t>(i * 32 + j)] * at(b, j, d);
      expected.push_back(bfloat16(d < head_dim ? sum * (i % 16 < 8 ? 1.0f : 2.0f) : -7.0f));
    }
  CHECK(compare_bits(expected, second.to_vector()));
}

}  // namespace

TEST_CASE("bf16 tile: products of rows and of columns, without bank conflicts") {
  check_tile_products<32>(32, 32);
  check_tile_products<64>(32, 64);
  check_tile_products<128>(32, 128);
}

TEST_CASE("bf16 tile: rows and columns that do not exist are zero, and are neither read nor written") {
  for (const int rows : {1, 8, 17, 31}) {
    check_tile_products<32>(rows, 8);
    check_tile_products<64>(rows, 48);
    check_tile_products<128>(rows, 128);
  }
}
