// Integer products with int4 weights on the device: the bits of the reference product.
#include "gpu/check.hpp"
#include "qat/base/random.hpp"
#include "qat/kernels/cuda/w4a8_gemm.hpp"
#include "qat/kernels/reference/qgemm.hpp"

namespace qat::test::gpu {
namespace {

struct Product {
  index_t tokens, rows, columns, group;
  bool weight_zeros = false, token_zeros = false;
  int tile_tokens = 0;
};

void compare(const Device& device, Report& report, const Product& p) {
  const std::string what = "w4a8 " + std::to_string(p.tokens) + "x" + std::to_string(p.rows) + "x" +
                           std::to_string(p.columns) + " group " + std::to_string(p.group) +
                           (p.weight_zeros ? ", zero points of weights" : "") + (p.token_zeros ? ", of tokens" : "") +
                           ", tile " + std::to_string(p.tile_tokens);
  CounterRandom random(static_cast<std::uint64_t>(p.columns + p.tokens));
  const auto any = [&](int low, int high) {
    return low + static_cast<int>(random.next_below(static_cast<std::uint32_t>(high - low + 1)));
  };
  const QuantSpec spec{4,
                       true,
                       {GranularityKind::kPerGroup, 0, p.group},
                       p.weight_zeros ? MappingKind::kAsymmetric : MappingKind::kSymmetric,
                       ScaleType::kFloat32};
  const cuda::Int4Tiles tiles{p.rows, p.columns, p.group};
  const index_t pitch = (p.columns + 1) / 2;
  std::vector<std::int8_t> q, x;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(p.rows * pitch)), zeros;
  std::vector<float> scale, zero, x_scale, bias, expected(static_cast<std::size_t>(p.tokens * p.rows));
  std::vector<std::int32_t> x_zero;
  for (index_t n = 0; n < p.rows; ++n) {
    for (index_t k = 0; k < p.columns; ++k) {
      q.push_back(static_cast<std::int8_t>(any(-8, 7)));
      codes[static_cast<std::size_t>(n * pitch + k / 2)] |= static_cast<std::uint8_t>((q.back() & 15) << (k % 2 * 4));
    }
    bias.push_back(random.next_float());
  }
  for (index_t i = 0; i < p.rows * tiles.groups(); ++i) {
    scale.push_back(random.next_float() + 0.001f);
    zero.push_back(static_cast<float>(any(-8, 7)));
    zeros.push_back(static_cast<std::uint8_t>(static_cast<int>(zero.back()) + 8));
  }
  for (index_t i = 0; i < p.tokens * p.columns; ++i) x.push_back(static_cast<std::int8_t>(any(-128, 127)));
  for (index_t i = 0; i < p.tokens; ++i) {
    x_scale.push_back(random.next_float() + 0.01f);
    x_zero.push_back(any(-128, 127));
  }
  const PackedWeight packed =
      PackedWeight::pack(spec, p.rows, p.columns, q.data(), scale.data(), p.weight_zeros ? zero.data() : nullptr);
  kernels::reference::qgemm(p.tokens, {x.data(), p.columns, x_scale.data(), p.token_zeros ? x_zero.data() : nullptr},
                            packed, expected.data(), p.rows, bias.data());

  const auto device_codes = to_device(device, codes), device_zeros = to_device(device, zeros);
  const auto device_scale = to_device(device, scale), device_x_scale = to_device(device, x_scale),
             device_bias = to_device(device, bias);
  const auto device_x = to_device(device, x);
  const auto device_x_zero = to_device(device, x_zero);
  const cuda::DeviceBuffer<std::uint8_t> tiled_codes(tiles.code_bytes()), tiled_zeros(tiles.group_entries());
  const cuda::DeviceBuffer<float> tiled_scales(tiles.group_entries()), y(p.tokens * p.rows);
  cuda::prepack_int4<float>(
      device.backend, tiles,
      {device_codes.data(), 0, true, device_scale.data(), p.weight_zeros ? device_zeros.data() : nullptr},
      {tiled_codes.data(), tiled_scales.data(), p.weight_zeros ? tiled_zeros.data() : nullptr});
  cuda::W4A8Args<float, float> args;
  args.tokens = p.tokens;
  args.tiles = tiles;
  args.x = device_x.data();
  args.x_scales = device_x_scale.data();
  args.x_zero_points = p.token_zeros ? device_x_zero.data() : nullptr;
  args.weight = {tiled_codes.data(), tiled_scales.data(), p.weight_zeros ? tiled_zeros.data() : nullptr};
  args.bias = device_bias.data();
  args.y = y.data();
  cuda::w4a8_gemm(device.backend, args, {p.tile_tokens, 0});
  report.expect(what, compare_bits<float>(expected, to_host(device, y)));
}

void every_tile(const Device& device, Report& report) {
  for (const int tile : {8, 16, 64, 128}) {
    compare(device, report, {5, 130, 192, 64, false, false, tile});
    compare(device, report, {tile + 3, 70, 100, 100, true, true, tile});
  }
  compare(device, report, {3, 33, 320, 32, true, false});
  if (!device.large) return;
  for (const index_t tokens : {1, 16, 100, 200})
    for (const index_t group : {32, 128, 2048})
      compare(device, report, {tokens, 512, 2048, group, false, tokens == 100});
  compare(device, report, {4, 64, 20000, 20000, true, true});  // longer than a run
}

const Registration w4a8_check("w4a8_gemm: the bits of the reference product", every_tile);

}  // namespace
}  // namespace qat::test::gpu
