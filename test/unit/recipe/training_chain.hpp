// A text with structure and a quick configuration for tests of training.
#pragma once

#include <vector>

#include "qat/recipe/train.hpp"
#include "unit/recipe/tiny_model.hpp"

namespace qat_test {

inline recipe::TrainConfig quick(index_t steps) {
  recipe::TrainConfig config;
  config.steps = steps;
  config.batch = 4;
  config.length = 32;
  config.warmup_steps = 2;
  config.lr = 3e-3;
  return config;
}
/// Token t is followed by (3 t + 1) mod 50, with some noise.
inline std::vector<std::int32_t> chain(index_t n) {
  CounterRandom random(5);
  std::vector<std::int32_t> tokens = {1};
  while (static_cast<index_t>(tokens.size()) < n)
    tokens.push_back(random.next_below(10) == 0 ? static_cast<std::int32_t>(random.next_below(50))
                                                : (3 * tokens.back() + 1) % 50);
  return tokens;
}

}  // namespace qat_test
