// Speed of reading and writing: measured, and only within a model's context.
#include "qat/recipe/generation_speed.hpp"

#include <doctest/doctest.h>

#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat_test;

TEST_CASE("the speed of a model is measured within its context") {
  nn::Transformer model = tiny_model();
  const std::vector<std::int32_t> prompt = tiny_tokens(10);
  const recipe::GenerationSpeed speed = recipe::measure_generation(two_threads(), model, prompt, 5);
  CHECK(speed.prefill_tokens_per_second > 0.0);
  CHECK(speed.decode_tokens_per_second > 0.0);
  CHECK(contains(error_of([&] { recipe::measure_generation(two_threads(), model, prompt, 55); }), "context is 64"));
}
