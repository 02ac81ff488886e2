// Sequences in batches: each has the bits that it has alone, from a cache too.
#include "qat/recipe/score_sequences.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "qat/recipe/prepare.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat_test;

namespace {

/// Nats of the targets from `first` on, of one sequence alone.
std::vector<float> alone(nn::Transformer& model, const std::vector<std::int32_t>& inputs,
                         const std::vector<std::int32_t>& targets) {
  std::vector<float> nats(inputs.size());
  model.evaluate(two_threads(), view_of(inputs), view_of(targets), 1, view(nats.data(), std::ssize(nats)));
  return nats;
}

}  // namespace

TEST_CASE("a sequence has the bits it has alone, whatever stands beside it, in floating point and packed") {
  nn::Transformer model = tiny_model();
  for (const bool packed : {false, true}) {
    if (packed) recipe::quantize(two_threads(), model, {{"linear", recipe::parse_scheme("8da4w")}});
    std::vector<std::vector<std::int32_t>> inputs, targets;
    std::vector<recipe::ScoredSequence> sequences;
    for (index_t i = 0; i < 90; ++i) {
      inputs.push_back(tiny_tokens(1 + (i * 17) % 60, static_cast<std::uint64_t>(i)));
      targets.push_back(tiny_tokens(1 + (i * 17) % 60, static_cast<std::uint64_t>(1000 + i)));
      if (targets.back().size() > 3) targets.back()[2] = ops::kIgnoreIndex;
    }
    for (std::size_t i = 0; i < inputs.size(); ++i)
      sequences.push_back({inputs[i], targets[i], std::ssize(inputs[i]) / 3});
    index_t last = 0;
    const auto scores = recipe::score_sequences(two_threads(), model, sequences, [&](index_t done, index_t total) {
      CHECK(done > last);
      CHECK(total == 90);
      last = done;
    });
    CHECK(last == 90);
    REQUIRE(scores.size() == inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const std::vector<float> nats = alone(model, inputs[i], targets[i]);
      double sum = 0.0;
      index_t counted = 0;
      for (std::size_t t = inputs[i].size() / 3; t < nats.size(); ++t) {
        if (targets[i][t] == ops::kIgnoreIndex) continue;
        sum += static_cast<double>(nats[t]);
        ++counted;
      }
      CHECK(scores[i].nats == sum);
      CHECK(scores[i].targets == counted);
    }
  }
}

TEST_CASE("targets behind a cached beginning have the bits that the whole sequence gives") {
  nn::Transformer model = tiny_model();
  const std::vector<std::int32_t> context = tiny_tokens(23, 7);
  nn::KvCache prefix(model.config(), 1, 23);
  model.decode(two_threads(), prefix, view_of(context));
  constexpr index_t kEndings = 3, kTokens = 9;
  std::vector<std::int32_t> endings, targets;
  for (index_t b = 0; b < kEndings; ++b)
    for (const std::int32_t token : tiny_tokens(kTokens, static_cast<std::uint64_t>(b))) endings.push_back(token);
  targets = tiny_tokens(kEndings * kTokens, 99);
  std::vector<float> nats(endings.size());
  nn::KvCache cache = prefix.repeated(model.config(), kEndings, 23 + kTokens);
  const auto result =
      model.evaluate(two_threads(), cache, view_of(endings), view_of(targets), view(nats.data(), std::ssize(nats)));
  CHECK(result.targets == kEndings * kTokens);
  CHECK(cache.length == 23 + kTokens);
  for (index_t b = 0; b < kEndings; ++b) {
    std::vector<std::int32_t> whole = context, wanted(23, ops::kIgnoreIndex);
    whole.insert(whole.end(), endings.begin() + b * kTokens, endings.begin() + (b + 1) * kTokens);
    wanted.insert(wanted.end(), targets.begin() + b * kTokens, targets.begin() + (b + 1) * kTokens);
    const std::vector<float> expected = alone(model, whole, wanted);
    CHECK(std::memcmp(expected.data() + 23, nats.data() + b * kTokens, kTokens * sizeof(float)) == 0);
  }
  CHECK(contains(error_of([&] { model.evaluate(two_threads(), cache, view_of(endings), view_of(targets)); }),
                 "exceed the cache"));
  CHECK(contains(error_of([&] { cache.repeated(model.config(), 2, 40); }), "accepted: one sequence"));
}
