// kernels/cuda/rope: the bits of the processor's rotation, rounded once to the element.
#include "qat/kernels/cuda/rope.cuh"

#include <doctest/doctest.h>

#include <vector>

#include "qat/kernels/cpu/rope.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::rope_test {
namespace {

using namespace qat::test;
using emulation::Buffer;

template <class T>
void check(index_t tokens, index_t heads, index_t head_dim, index_t gap, index_t sequence) {
  CAPTURE(head_dim);
  const index_t half = head_dim / 2, stride = heads * head_dim + gap;
  const index_t positions = sequence == 0 ? tokens : sequence;
  std::vector<T> x;
  for (const float v : normal_values(tokens * stride, 1)) x.push_back(T(v));
  const std::vector<float> cosine = uniform_values(positions * half, 2), sine = uniform_values(positions * half, 3);
  for (const bool interleaved : {false, true}) {
    for (const bool backward : {false, true}) {
      std::vector<T> wanted = x;
      for (index_t t = 0; t < tokens; ++t) {
        std::vector<float> token;
        for (index_t i = 0; i < heads * head_dim; ++i)
          token.push_back(static_cast<float>(x[static_cast<std::size_t>(t * stride + i)]));
        const index_t at = t % positions * half;
        const kernels::RopeAngles angles{cosine.data() + at, sine.data() + at, half, backward ? -1.0f : 1.0f,
                                         interleaved};
        kernels::rope_token(angles, token.data(), head_dim, heads, token.data(), head_dim);
        for (index_t i = 0; i < heads * head_dim; ++i)
          wanted[static_cast<std::size_t>(t * stride + i)] = T(token[static_cast<std::size_t>(i)]);
      }
      const Buffer<T> y(x);  // in place; what lies between the tokens stays
      const Buffer<const float> device_cosine(cosine), device_sine(sine);
      cuda::RopeArgs<T> args;
      args.x = y.data(), args.y = y.data(), args.cosine = device_cosine.data(), args.sine = device_sine.data();
      args.tokens = tokens, args.heads = heads, args.head_dim = head_dim, args.sequence = sequence;
      args.token_stride = gap == 0 ? 0 : stride, args.backward = backward, args.interleaved = interleaved;
      cuda::rope(CudaBackend{}, args);
      CHECK(wanted == y.to_vector());
    }
  }
}

}  // namespace

TEST_CASE("cuda::rope: both pairings, both directions, fused and ragged heads have the bits of the processor") {
  check<float>(7, 3, 16, 0, 0);
  check<float>(6, 2, 64, 8, 3);
  check<float>(3, 1, 6, 1, 0);
  check<bfloat16>(7, 3, 64, 0, 4);
  check<bfloat16>(5, 2, 128, 64, 0);
  check<bfloat16>(4, 2, 10, 0, 2);
  check<bfloat16>(3, 2, 48, 3, 0);
}
TEST_CASE("cuda::rope: a head of odd size, or tokens closer than their heads, are errors") {
  cuda::RopeArgs<float> args;
  args.head_dim = 7;
  CHECK_THROWS_AS(cuda::rope(CudaBackend{}, args), Error);
  args.head_dim = 8, args.heads = 2, args.token_stride = 8;
  CHECK_THROWS_AS(cuda::rope(CudaBackend{}, args), Error);
}

}  // namespace qat::rope_test
