// Vectors and tensors of random numbers for tests, from the counter generator: the same on every machine.
#pragma once

#include <vector>

#include "qat/base/random.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::test {

/// Uniform in [-range, range).
inline std::vector<float> uniform_values(index_t n, std::uint64_t seed, float range = 1.0f) {
  CounterRandom random(seed);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) v = (2.0f * random.next_float() - 1.0f) * range;
  return values;
}

/// Close to standard normal: the sum of twelve uniform numbers.
inline std::vector<float> normal_values(index_t n, std::uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) {
    v = -6.0f;
    for (int i = 0; i < 12; ++i) v += random.next_float();
  }
  return values;
}

/// Uniform in [-range, range).
inline Tensor<float> random_tensor(const Shape& shape, std::uint64_t seed, float range = 1.0f) {
  Tensor<float> t = Tensor<float>::uninitialized(shape);
  CounterRandom random(seed, 77);
  for (float& x : t) x = (random.next_float() * 2.0f - 1.0f) * range;
  return t;
}

}  // namespace qat::test
