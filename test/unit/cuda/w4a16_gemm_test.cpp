// Products with int4 weights: exact where sums are, else within a bound; every kernel, tails of every extent.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "qat/base/random.hpp"
#include "qat/kernels/cuda/w4a16_gemm.cuh"
#include "support/compare.hpp"

namespace {
namespace w4a16_gemm_test {

using namespace qat;
using namespace qat::cuda;
using emulation::Buffer;
using Byte = std::uint8_t;
using Form = W4A16Config::Form;

struct Case {
  index_t tokens, rows, columns, group;
  bool zero_points = false, bias = false;
  index_t x_extra = 0, y_extra = 0, offset = 0;  // elements between rows, and before x and y
};
std::string name(const Case& c, const W4A16Config& config) {
  return concat(c.tokens, " x ", c.rows, " x ", c.columns, ", group ", c.group, c.zero_points ? ", zero points" : "",
                c.bias ? ", bias" : "", ", strides +", c.x_extra, " +", c.y_extra, ", offset ", c.offset, "; form ",
                static_cast<int>(config.form), ", tile ", config.tile_tokens, " x ", config.tile_rows, ", warps ",
                config.warps, " of ", config.warp_tokens, ", blocks ", config.blocks,
                config.every_tile ? ", every tile" : "")
      .c_str();
}

/// A product and its operands. exact: small integers and powers of two, so that no sum rounds.
template <class T, class S>
struct Problem {
  Case shape;
  Int4Tiles tiles;
  std::vector<float> x, w, scale, bias;  ///< (M, K), (N, K) code minus zero, (N, groups), (N)
  std::vector<Byte> codes, zero_points;
  std::vector<S> scales;

  Problem(const Case& c, bool exact, std::uint64_t seed = 1) : shape(c), tiles{c.rows, c.columns, c.group} {
    CounterRandom random(seed);
    const auto real = [&] { return static_cast<float>(bfloat16(random.next_float() * 2 - 1)); };
    const auto integer = [&](int range) {
      return static_cast<float>(static_cast<int>(random.next_below(2 * range + 1)) - range);
    };
    for (index_t i = 0; i < c.tokens * c.columns; ++i) x.push_back(exact ? integer(4) : real());
    codes.assign(static_cast<std::size_t>(tiles.code_bytes()), 0x88);
    scales.assign(static_cast<std::size_t>(tiles.group_entries()), S(0.0f));
    if (c.zero_points) zero_points.assign(static_cast<std::size_t>(tiles.group_entries()), 8);
    for (index_t n = 0; n < c.rows; ++n) {
      bias.push_back(exact ? integer(9) : real());
      for (index_t g = 0; g < tiles.groups(); ++g) {
        const std::size_t slot = static_cast<std::size_t>(tiles.slot_of(n, g));
        scales[slot] =
            S(exact ? std::ldexp(1.0f, static_cast<int>(random.next_below(3)) - 1) : 0.01f + random.next_float());
        scale.push_back(static_cast<float>(scales[slot]));
        if (c.zero_points) zero_points[slot] = static_cast<Byte>(random.next_below(16));
      }
      for (index_t k = 0; k < c.columns; ++k) {
        const int u = static_cast<int>(random.next_below(16));
        Byte& byte = codes[static_cast<std::size_t>(tiles.byte_of(n, k))];
        byte = static_cast<Byte>((byte & ~(15 << tiles.shift_of(n, k))) | u << tiles.shift_of(n, k));
        const index_t slot = tiles.slot_of(n, k / c.group);
        w.push_back(static_cast<float>(u - (c.zero_points ? zero_points[static_cast<std::size_t>(slot)] : 8)));
      }
    }
  }

  /// y and, for a bound, the sum of the absolute values that were added.
  void expect(std::vector<double>& y, std::vector<double>& magnitude) const {
    const Case& c = shape;
    for (index_t m = 0; m < c.tokens; ++m)
      for (index_t n = 0; n < c.rows; ++n) {
        double sum = c.bias ? bias[static_cast<std::size_t>(n)] : 0.0, all = std::abs(sum);
        for (index_t k = 0; k < c.columns; ++k) {
          const double term = double{x[static_cast<std::size_t>(m * c.columns + k)]} *
                              w[static_cast<std::size_t>(n * c.columns + k)] *
                              scale[static_cast<std::size_t>(n * tiles.groups() + k / c.group)];
          sum += term;
          all += std::abs(term);
        }
        y.push_back(sum);
        magnitude.push_back(all);
      }
  }

  /// What the kernel computes, (M, N). Counters are given (and must come back zero) or left to the launcher.
  std::vector<T> run(const W4A16Config& config, bool give_counters = false) const {
    const Case& c = shape;
    const index_t x_stride = c.columns + c.x_extra, y_stride = c.rows + c.y_extra;
    const std::size_t offset = static_cast<std::size_t>(c.offset);
    Buffer<bfloat16> x_buffer(static_cast<std::size_t>(c.tokens * x_stride), bfloat16::from_bits(0x7FC0),
                              offset);  // NaN between rows
    for (index_t m = 0; m < c.tokens; ++m)
      for (index_t k = 0; k < c.columns; ++k)
        x_buffer[static_cast<std::size_t>(m * x_stride + k)] = bfloat16(x[static_cast<std::size_t>(m * c.columns + k)]);
    const Buffer<const Byte> code_buffer(codes), zero_buffer(zero_points);
    const Buffer<const S> scale_buffer(scales);
    const Buffer<const float> bias_buffer(bias);
    T mark;
    std::memset(static_cast<void*>(&mark), 0x5A, sizeof mark);
    Buffer<T> y(static_cast<std::size_t>(c.tokens * y_stride), mark, offset);
    W4A16Args<T, S> args;
    args.tokens = c.tokens;
    args.tiles = tiles;
    args.x = x_buffer.data();
    args.x_stride = c.x_extra == 0 ? 0 : x_stride;
    args.weight = {code_buffer.data(), scale_buffer.data(), c.zero_points ? zero_buffer.data() : nullptr};
    args.bias = c.bias ? bias_buffer.data() : nullptr;
    args.y = y.data();
    args.y_stride = c.y_extra == 0 ? 0 : y_stride;
    const index_t wanted = give_counters ? plan_w4a16_gemm(args, config).counters : 0;
    Buffer<unsigned> counters(static_cast<std::size_t>(wanted));
    if (give_counters) args.counters = counters.data();
    const W4A16Plan plan = plan_w4a16_gemm(args, config);
    auto workspace = Buffer<Byte>::uninitialized(plan.workspace_bytes);
    w4a16_gemm(CudaBackend{nullptr, workspace.data(), plan.workspace_bytes}, args, config);
    for (const unsigned count : counters) CHECK(count == 0);
    std::vector<T> out;
    for (index_t m = 0; m < c.tokens; ++m)
      for (index_t n = 0; n < y_stride; ++n) {
        const T& v = y[static_cast<std::size_t>(m * y_stride + n)];
        if (n < c.rows) out.push_back(v);
        if (n >= c.rows) CHECK(std::memcmp(&v, &mark, sizeof v) == 0);  // nothing beside y is written
      }
    return out;
  }
};

template <class T, class S>
void check_exact(const Case& c, const W4A16Config& config, std::uint64_t seed = 1) {
  const Problem<T, S> problem(c, true, seed);
  std::vector<double> sums, magnitude;
  problem.expect(sums, magnitude);
  std::vector<T> expected;
  for (const double v : sums) {
    REQUIRE(static_cast<double>(static_cast<float>(v)) == v);
    expected.push_back(T(static_cast<float>(v)));
  }
  const std::vector<T> y = problem.run(config, seed % 2 == 0);
  CHECK_MESSAGE(test::compare_bits(test::Values<T>(expected.data(), {c.tokens, c.rows}),
                                   test::Values<T>(y.data(), {c.tokens, c.rows})),
                name(c, config));
}

/// Each fp32 addition, of K products, of groups and of shares of K, is off by at most 2^-23 of its result (mma may
/// truncate where fma rounds), and no intermediate sum exceeds `magnitude` by more than that.
template <class T, class S>
void check_bound(const Case& c, const W4A16Config& config) {
  const Problem<T, S> problem(c, false, 5);
  std::vector<double> expected, bounds;
  problem.expect(expected, bounds);
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] *= 0x1p-23 * static_cast<double>(c.columns + 2 * problem.tiles.groups() + 64) * 1.001;
    if (sizeof(T) == 2) bounds[i] += std::abs(expected[i]) * 0x1p-8;
  }
  std::vector<double> y;
  for (const T v : problem.run(config)) y.push_back(static_cast<double>(static_cast<float>(v)));
  CHECK_MESSAGE(test::compare_within(test::Values<double>(expected.data(), {c.tokens, c.rows}),
                                     test::Values<double>(y.data(), {c.tokens, c.rows}), bounds),
                name(c, config));
}

std::vector<W4A16Config> all_kernels() {
  std::vector<W4A16Config> all = {
      {Form::kStream, 0, 16}, {Form::kStream, 0, 32}, {Form::kStream, 0, 64}, {Form::kStream, 16, 32}};
  cuda::detail::for_w4a16_shapes([&](auto shape) {
    using Shape = decltype(shape);
    all.push_back({Form::kTiles, Shape::kTileTokens, Shape::kTileRows, Shape::kThreads / 32, Shape::kStages, 0,
                   8 * Shape::kTokens});
  });
  return all;
}

TEST_CASE("every kernel gives the exact product where no sum rounds: tails, groups, zero points, strides, types") {
  const Case cases[] = {
      {3, 40, 100, 100, false, true},  // one group per row, K of no multiple
      {8, 130, 256, 128},
      {5, 33, 320, 32, true, false, 8, 8},   // a scale for half a tile
      {7, 150, 288, 96, true, true},         // groups across tiles and slices
      {2, 17, 65, 64, true, true, 0, 0, 1},  // rows of x and y at odd addresses
      {4, 96, 129, 32, false, false, 3, 5},
  };
  for (const W4A16Config& config : all_kernels())
    for (const Case& c : cases) {
      check_exact<float, bfloat16>(c, config);
      if (c.x_extra + c.offset != 0) check_exact<bfloat16, float>(c, config, 2);
    }
}

TEST_CASE("the pipelined kernels: more tokens than a tile has, and any number of blocks") {
  for (const W4A16Config& kernel : all_kernels()) {
    if (kernel.form != Form::kTiles) continue;
    for (const int blocks : {1, 3, 7, 1000}) {
      W4A16Config config = kernel;
      config.blocks = blocks;
      check_exact<float, float>({kernel.tile_tokens + 3, kernel.tile_rows + 16, 512, 128, false, true}, config,
                                static_cast<std::uint64_t>(blocks));
    }
  }
}

TEST_CASE("the stream form with two tiles of tokens") {
  for (const index_t tokens : {9, 15, 16})
    check_exact<float, bfloat16>({tokens, 50, 200, 64, true, true}, {Form::kStream, 16, 32});
}

TEST_CASE("auto: any number of tokens") {
  for (const index_t tokens : {1, 8, 9, 16, 17, 31, 33, 64, 65, 130})
    check_exact<bfloat16, bfloat16>({tokens, 48, 192, 64}, {});
}

TEST_CASE("random numbers: within the bound of fp32 sums") {
  for (const W4A16Config& config : all_kernels()) {
    check_bound<float, float>({8, 48, 1024, 128, false, true}, config);
    check_bound<bfloat16, bfloat16>({6, 32, 512, 32, true}, config);
  }
}

TEST_CASE("the same bits whatever order blocks run in, and for given or cleared counters") {
  for (const W4A16Config& kernel : all_kernels()) {
    W4A16Config config = kernel;
    if (config.form == Form::kTiles) config.blocks = 9;
    const Problem<float, float> problem({8, 144, 1536, 128}, false, 3);
    const std::vector<float> first = problem.run(config);
    for (std::uint64_t seed = 2; seed < 5; ++seed) {
      emulation::Settings settings;
      settings.seed = seed;
      const emulation::With with(settings);
      CHECK(test::compare_bits(first, problem.run(config, seed % 2 == 0)));
    }
    config.every_tile = true;
    CHECK(test::compare_bits(first, problem.run(config)));
  }
}

TEST_CASE("infinities and NaN of x reach the outputs of their token and no other") {
  for (const W4A16Config& config : all_kernels()) {
    Problem<float, float> problem({4, 40, 100, 100}, true);
    problem.x[100] = INFINITY;      // token 1
    problem.x[2 * 100 + 99] = NAN;  // token 2, the last column
    const std::vector<float> y = problem.run(config);
    std::vector<double> expected, magnitude;
    problem.expect(expected, magnitude);
    std::vector<float> rounded(expected.begin(), expected.end());
    CHECK_MESSAGE(test::compare_bits(rounded, y), name(problem.shape, config));
  }
}

TEST_CASE("no bank of shared memory is hit twice, global memory is read in whole sectors") {
  emulation::Settings settings;
  settings.requests = true;
  const emulation::With with(settings);
  for (const W4A16Config& config : all_kernels()) {
    emulation::reset_counters();
    const Case c{config.tile_tokens == 0 ? 4 : config.tile_tokens, 256, 512, 128};
    Problem<bfloat16, bfloat16>(c, true).run(config);
    CHECK_MESSAGE(emulation::worst_bank_ways() == 1, name(c, config));
    for (const auto& entry : emulation::global_requests())
      CHECK_MESSAGE(entry.second.transactions == entry.second.ideal, entry.first.first, ":", entry.first.second);
  }
}

TEST_CASE("w4a16_gemm: what does not fit is named") {
  const Problem<float, float> problem({3, 16, 96, 48}, true);
  const auto message = [](const auto& run) -> std::string {
    try {
      run();
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(message([&] { problem.run({}); }) ==
        "w4a16_gemm: groups of 48 columns, accepted are multiples of 32 and one group per row (96)");
  const Problem<float, float> nine({9, 16, 64, 64}, true);
  CHECK(message([&] {
          nine.run({Form::kStream, 0, 16});
        }) == "w4a16_gemm: 9 tokens, the stream form takes up to 8, and 16 in tiles of 16 x 32");
  CHECK(message([&] {
          nine.run({Form::kTiles, 24});
        }).find("no kernel has tiles of 24 tokens x 0 rows, 0 warps and 0 stages; there are") != std::string::npos);
  W4A16Args<float, float> args;
  args.tokens = 8;
  args.tiles = {16, 4096, 128};
  W4A16Config config{Form::kTiles, 8};
  config.blocks = 4;
  CHECK(message([&] { w4a16_gemm(CudaBackend{}, args, config); }) ==
        "w4a16_gemm 8 x 16 x 4096: the workspace has 0 bytes, needed are 32772");
  args.tokens = 0;
  CHECK(message([&] { w4a16_gemm(CudaBackend{}, args, config); }) == "no error");  // nothing to do
}

}  // namespace w4a16_gemm_test
}  // namespace
