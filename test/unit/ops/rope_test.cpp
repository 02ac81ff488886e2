// ops/rope.hpp
#include "qat/kernels/cpu/rope.hpp"
#include "support/op_test.hpp"
#include "support/targets.hpp"

using namespace qat;
using namespace qat::test;

TEST_CASE("rope: gradients are those of finite differences in both pairings") {
  const ops::RopeTable table = ops::rope_table({}, 6, 9);
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved})
    check_gradients([&](Tape& t, const auto& v) { return autodiff::rope(t, v[0], table, 2, 5, 3, 4, pairing); },
                    tensors(random_tensor({10, 18}, 1)));
}

TEST_CASE("rope: the pairings are one rotation, related by the permutation of a head's elements, bit for bit") {
  const CpuBackend backend(2);
  const index_t tokens = 11, heads = 3, dim = 10;
  const ops::RopeTable table = ops::rope_table({}, dim, tokens);
  const Tensor<float> interleaved = random_tensor({1, tokens, heads, dim}, 1);
  Tensor<float> halves({1, tokens, heads, dim}), from_halves({1, tokens, heads, dim}), turned({1, tokens, heads, dim});
  const auto to_half = [&](index_t i) { return (i % 2) * (dim / 2) + i / 2; };
  for (index_t row = 0; row < tokens * heads; ++row)
    for (index_t i = 0; i < dim; ++i) halves[row * dim + to_half(i)] = interleaved[row * dim + i];
  ops::rope(backend, interleaved.view<4>(), table.cosine.view<2>(), table.sine.view<2>(), 0, RopePairing::kInterleaved,
            turned.view<4>());
  ops::rope(backend, std::as_const(halves).view<4>(), table.cosine.view<2>(), table.sine.view<2>(), 0,
            RopePairing::kHalf, halves.view<4>());
  for (index_t row = 0; row < tokens * heads; ++row)
    for (index_t i = 0; i < dim; ++i) from_halves[row * dim + i] = halves[row * dim + to_half(i)];
  CHECK(compare_bits(turned, from_halves));
}

TEST_CASE("rope: heads of every length have the bits of the definition on every target, in place too") {
  for (const Target target : supported_targets())
    for (index_t half = 1; half <= 35; ++half)
      for (const bool interleaved : {false, true}) {
        const ScopedTarget forced(target);
        const index_t heads = 3, stride = 2 * half + 1;
        const std::vector<float> x = uniform_values(heads * stride, 1), cosine = uniform_values(half, 2),
                                 sine = uniform_values(half, 3);
        std::vector<float> expected = x, y = x;
        for (index_t h = 0; h < heads; ++h)
          for (index_t k = 0; k < half; ++k) {
            const std::size_t i = static_cast<std::size_t>(h * stride + (interleaved ? 2 * k : k)),
                              j = i + static_cast<std::size_t>(interleaved ? 1 : half), n = static_cast<std::size_t>(k);
            // volatile: no product may be fused with its sum
            const volatile float ac = x[i] * cosine[n], bs = x[j] * -sine[n], bc = x[j] * cosine[n],
                                 as = x[i] * -sine[n];
            expected[i] = ac - bs;
            expected[j] = bc + as;
          }
        kernels::rope_token({cosine.data(), sine.data(), half, -1.0f, interleaved}, y.data(), stride, heads, y.data(),
                            stride);
        CAPTURE(name(target));
        CAPTURE(half);
        CAPTURE(interleaved);
        CHECK(compare_bits(expected, y));
      }
}

TEST_CASE("rope: position 0 leaves x alone, and backward undoes forward") {
  const CpuBackend backend(1);
  const ops::RopeTable table = ops::rope_table({}, 8, 4);
  const Tensor<float> x = random_tensor({1, 4, 2, 8}, 1);
  Tensor<float> y = x.clone();
  ops::rope(backend, std::as_const(y).view<4>(), table.cosine.view<2>(), table.sine.view<2>(), 0, RopePairing::kHalf,
            y.view<4>());
  for (index_t i = 0; i < 16; ++i) CHECK(y[i] == x[i]);
  CHECK(y[16] != x[16]);
  ops::rope_backward(backend, std::as_const(y).view<4>(), table.cosine.view<2>(), table.sine.view<2>(), 0,
                     RopePairing::kHalf, y.view<4>());
  for (index_t i = 0; i < x.size(); ++i) CHECK(std::fabs(y[i] - x[i]) < 4e-7f);
}

TEST_CASE("rope: linear scaling divides every frequency; llama3 keeps fast ones and divides slow ones") {
  RopeConfig config;
  const Tensor<float> plain = ops::rope_inverse_frequencies(config, 16);
  CHECK(plain[0] == 1.0f);
  CHECK(plain[4] == 0.01f);
  config.scaling = RopeScaling::kLinear;
  config.factor = 4.0;
  const Tensor<float> linear = ops::rope_inverse_frequencies(config, 16);
  for (index_t i = 0; i < 8; ++i) CHECK(linear[i] == plain[i] / 4.0f);
  config = {500000.0, RopeScaling::kLlama3, 8.0, 1.0, 4.0, 8192};
  const Tensor<float> llama3 = ops::rope_inverse_frequencies(config, 128);
  config.scaling = RopeScaling::kNone;
  const Tensor<float> base = ops::rope_inverse_frequencies(config, 128);
  CHECK(llama3[0] == base[0]);
  CHECK(llama3[63] == base[63] / 8.0f);
  index_t between = 0;
  for (index_t i = 0; i < 64; ++i) between += llama3[i] < base[i] && llama3[i] > base[i] / 8.0f;
  CHECK(between > 0);
}

TEST_CASE("rope: what it cannot do is an error that says so") {
  CHECK_THROWS_WITH_AS(ops::rope_table({}, 7, 3), "rope: head_dim is 7, must be even and positive", Error);
  const CpuBackend backend(1);
  const ops::RopeTable table = ops::rope_table({}, 4, 3);
  Tensor<float> x({1, 4, 1, 4});
  CHECK_THROWS_WITH_AS(ops::rope(backend, std::as_const(x).view<4>(), table.cosine.view<2>(), table.sine.view<2>(), 0,
                                 RopePairing::kHalf, x.view<4>()),
                       "rope: positions 0 to 4 exceed the table of 3", Error);
}
