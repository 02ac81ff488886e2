// Evaluation: the sum over windows, whatever the batches, and its units.
#include "qat/recipe/evaluate.hpp"

#include <doctest/doctest.h>

#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat_test;

TEST_CASE("evaluate is the mean over all targets, and per-token losses add up to it") {
  nn::Transformer model = tiny_model();
  const auto tokens = tiny_tokens(1 + 33 * 10);
  const auto windows = TokenWindows::contiguous(tokens, 33);
  std::vector<float> per_token;
  index_t calls = 0;
  const recipe::Evaluation e = recipe::evaluate(
      two_threads(), model, windows,
      [&](index_t done, index_t total) {
        ++calls;
        CHECK(done <= total);
      },
      &per_token);
  CHECK(calls >= 1);
  CHECK(e.targets == 330);
  REQUIRE(per_token.size() == 330);
  double one_by_one = 0.0, sum = 0.0;
  for (index_t i = 0; i < windows.count(); ++i)
    one_by_one +=
        model.evaluate(two_threads(), view(windows.inputs(i).data(), 33), view(windows.targets(i).data(), 33), 1).sum;
  for (const float nats : per_token) sum += static_cast<double>(nats);
  CHECK(e.nats == doctest::Approx(one_by_one).epsilon(1e-12));
  CHECK(e.nats == doctest::Approx(sum).epsilon(1e-6));
  CHECK(e.perplexity() == doctest::Approx(std::exp(e.nats / 330.0)));
  CHECK(e.byte_perplexity(2.0) == doctest::Approx(std::exp(e.nats / 330.0 / 2.0)));
  CHECK(e.word_perplexity(0.25) == doctest::Approx(std::exp(e.nats / 330.0 / 0.25)));
  CHECK(e.bits_per_byte(2.0) == doctest::Approx(e.nats / 330.0 / std::log(2.0) / 2.0));
}

TEST_CASE("a model that gives NaN is an error, not a NaN score") {
  nn::Transformer model = tiny_model();
  model.norm().weight().value[3] = __builtin_nanf("");
  const auto tokens = tiny_tokens(34);
  CHECK(contains(error_of([&] { recipe::evaluate(two_threads(), model, TokenWindows::contiguous(tokens, 33)); }),
                 "NaN or infinite logits"));
}
