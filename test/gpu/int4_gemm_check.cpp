// Products with int4 weights on the device, against sums in double on the processor.
#include "gpu/check.hpp"
#include "qat/base/random.hpp"
#include "qat/kernels/cuda/w4a16_gemm.hpp"

namespace qat::test::gpu {
namespace {

/// A weight in row-major form, on the host.
struct Weight {
  cuda::Int4Tiles tiles;
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;

  Weight(index_t rows, index_t columns, index_t group, std::uint64_t seed, bool power_of_two) {
    tiles.rows = rows;
    tiles.columns = columns;
    tiles.group = group;
    CounterRandom random(seed);
    codes.resize(static_cast<std::size_t>(rows * ((columns + 1) / 2)));
    for (std::uint8_t& byte : codes) byte = static_cast<std::uint8_t>(random.next_u32());
    if (columns % 2 != 0)
      for (index_t n = 0; n < rows; ++n) codes[static_cast<std::size_t>((n + 1) * ((columns + 1) / 2) - 1)] &= 0xF;
    scales.resize(static_cast<std::size_t>(rows * tiles.groups()));
    for (float& s : scales)
      s = power_of_two ? 1.0f / static_cast<float>(1 << random.next_below(4)) : 0.01f + 0.01f * random.next_float();
  }
  int code(index_t n, index_t k) const {
    const int u = codes[static_cast<std::size_t>(n * ((tiles.columns + 1) / 2) + k / 2)] >> (k % 2 * 4) & 0xF;
    return u < 8 ? u : u - 16;
  }
  double value(index_t n, index_t k) const {
    return code(n, k) * static_cast<double>(scales[static_cast<std::size_t>(n * tiles.groups() + k / tiles.group)]);
  }
};

struct TiledWeight {
  cuda::DeviceBuffer<std::uint8_t> codes;
  cuda::DeviceBuffer<float> scales;
};

TiledWeight prepack(const Device& device, Report& report, const Weight& w, const std::string& what) {
  const auto codes = to_device(device, w.codes);
  const auto scales = to_device(device, w.scales);
  TiledWeight tiled{cuda::DeviceBuffer<std::uint8_t>(w.tiles.code_bytes()),
                    cuda::DeviceBuffer<float>(w.tiles.group_entries())};
  cuda::RowMajorInt4<const std::uint8_t, const float> from;
  from.codes = codes.data();
  from.scales = scales.data();
  cuda::TiledInt4<std::uint8_t, float> to;
  to.codes = tiled.codes.data();
  to.scales = tiled.scales.data();
  cuda::prepack_int4<float>(device.backend, w.tiles, from, to);

  const cuda::DeviceBuffer<std::uint8_t> back_codes(codes.size());
  const cuda::DeviceBuffer<float> back_scales(scales.size());
  cuda::TiledInt4<const std::uint8_t, const float> read;
  read.codes = tiled.codes.data();
  read.scales = tiled.scales.data();
  cuda::RowMajorInt4<std::uint8_t, float> back;
  back.codes = back_codes.data();
  back.scales = back_scales.data();
  cuda::unpack_int4<float>(device.backend, w.tiles, read, back);
  report.expect(what + " codes there and back", compare_bits<std::uint8_t>(w.codes, to_host(device, back_codes)));
  report.expect(what + " scales there and back", compare_bits<float>(w.scales, to_host(device, back_scales)));
  return tiled;
}

void products(const Device& device, Report& report, index_t tokens, index_t rows, index_t columns, index_t group,
              const cuda::W4A16Config& config) {
  const std::string what = "w4a16 " + std::to_string(tokens) + "x" + std::to_string(rows) + "x" +
                           std::to_string(columns) + " group " + std::to_string(group) + " form " +
                           std::to_string(static_cast<int>(config.form)) + " tile " +
                           std::to_string(config.tile_tokens) + "x" + std::to_string(config.tile_rows);
  // Integers and powers of two: every sum is exact in fp32, so the result has one right value, whatever the order.
  const Weight w(rows, columns, group, static_cast<std::uint64_t>(rows + columns), true);
  const TiledWeight tiled = prepack(device, report, w, what);
  CounterRandom random(static_cast<std::uint64_t>(tokens));
  std::vector<bfloat16> x(static_cast<std::size_t>(tokens * columns));
  for (bfloat16& v : x) v = bfloat16(static_cast<float>(static_cast<int>(random.next_below(7)) - 3));
  std::vector<float> expected(static_cast<std::size_t>(tokens * rows));
  for (index_t m = 0; m < tokens; ++m)
    for (index_t n = 0; n < rows; ++n) {
      double sum = 0.0;
      for (index_t k = 0; k < columns; ++k)
        sum += static_cast<double>(static_cast<float>(x[static_cast<std::size_t>(m * columns + k)])) * w.value(n, k);
      expected[static_cast<std::size_t>(m * rows + n)] = static_cast<float>(sum);
    }

  const auto device_x = to_device(device, x);
  const cuda::DeviceBuffer<float> y(tokens * rows);
  cuda::W4A16Args<float, float> args;
  args.tokens = tokens;
  args.tiles = w.tiles;
  args.x = device_x.data();
  args.weight.codes = tiled.codes.data();
  args.weight.scales = tiled.scales.data();
  args.y = y.data();
  const cuda::W4A16Plan plan = cuda::plan_w4a16_gemm(args, config);
  if (plan.workspace_bytes > device.backend.workspace_bytes) return;  // the shape is too large for this device
  cuda::w4a16_gemm(device.backend, args, config);
  const std::vector<float> first = to_host(device, y);
  report.expect(what, compare_bits<float>(expected, first));
  cuda::w4a16_gemm(device.backend, args, config);
  report.expect(what + " again", compare_bits<float>(first, to_host(device, y)));
}

void every_tile(const Device& device, Report& report) {
  using Form = cuda::W4A16Config::Form;
  const auto run = [&](index_t tokens, index_t rows, index_t columns, index_t group, Form form, int tile_tokens,
                       int tile_rows) {
    cuda::W4A16Config config;
    config.form = form;
    config.tile_tokens = tile_tokens;
    config.tile_rows = tile_rows;
    products(device, report, tokens, rows, columns, group, config);
  };
  for (const index_t tokens : {1, 3, 8}) run(tokens, 48, 320, 32, Form::kStream, 0, 16);
  for (const index_t tokens : {2, 7}) run(tokens, 100, 256, 256, Form::kStream, 0, 32);
  for (const int tile : {8, 16, 32, 64, 128}) run(tile - 3, 130, 192, 64, Form::kTiles, tile, 128);
  run(20, 77, 77, 32, Form::kAuto, 0, 0);
  run(5, 33, 129, 129, Form::kAuto, 0, 0);
  if (!device.large) return;
  for (const index_t tokens : {1, 2, 4, 8, 9, 16, 17, 32, 33, 64, 100, 128, 129, 300})
    for (const index_t group : {32, 128, 4096}) run(tokens, 768, 4096, group, Form::kAuto, 0, 0);
  run(16, 8192, 1000, 128, Form::kAuto, 0, 0);
}

const Registration tiles_check("w4a16_gemm: exact sums give the one right result in every form", every_tile);

}  // namespace
}  // namespace qat::test::gpu
