// Sampling: the draws follow the probabilities that the options leave, and are functions of seed and number.
#include "qat/nn/sampler.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <map>

#include "support/files.hpp"

using namespace qat;
using nn::Sampler;
using nn::SamplingOptions;
using nn::TokenProbability;

namespace {

View<const float, 1> view_of(const std::vector<float>& v) { return view(v.data(), static_cast<index_t>(v.size())); }

std::vector<float> random_logits(index_t n, std::uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> logits(static_cast<std::size_t>(n));
  for (float& x : logits) x = 8.0f * random.next_float();
  return logits;
}

/// exp(logit / temperature) over their sum, each from its definition.
std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> p;
  double sum = 0.0;
  for (const float x : logits) sum += p.emplace_back(std::exp(static_cast<double>(x) / temperature));
  for (double& x : p) x /= sum;
  return p;
}

/// Pearson's statistic of draws against probabilities, over its mean of (outcomes - 1): 1 on average.
double chi_square_ratio(const std::vector<float>& logits, const SamplingOptions& options,
                        const std::map<std::int32_t, double>& expected, index_t draws) {
  Sampler sampler(options);
  std::map<std::int32_t, index_t> counts;
  for (index_t i = 0; i < draws; ++i) ++counts[sampler(view_of(logits))];
  double statistic = 0.0, sum = 0.0;
  for (const auto& [token, p] : expected) {
    const double mean = p * static_cast<double>(draws);
    REQUIRE(mean > 5.0);
    statistic += std::pow(static_cast<double>(counts[token]) - mean, 2) / mean;
    sum += p;
  }
  CHECK(sum == doctest::Approx(1.0).epsilon(1e-9));
  CHECK(counts.size() == expected.size());  // nothing else is ever drawn
  return statistic / static_cast<double>(expected.size() - 1);
}

/// The tokens that sorting keeps, with probabilities: the definition, in the order of the options.
std::map<std::int32_t, double> kept_by_definition(const std::vector<float>& logits, const SamplingOptions& options) {
  const std::vector<double> p = softmax(logits, options.temperature);
  std::vector<std::int32_t> order;
  for (std::size_t i = 0; i < p.size(); ++i) order.push_back(static_cast<std::int32_t>(i));
  const auto of = [&](std::int32_t i) { return p[static_cast<std::size_t>(i)]; };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return of(a) > of(b); });
  if (options.top_k > 0 && options.top_k < static_cast<index_t>(order.size()))
    order.resize(static_cast<std::size_t>(options.top_k));
  double whole = 0.0, kept = 0.0;
  for (const std::int32_t i : order) whole += of(i);
  std::size_t count = 0;
  do kept += of(order[count++]);
  while (count < order.size() && kept < static_cast<double>(options.top_p) * whole);
  std::map<std::int32_t, double> result;
  for (std::size_t i = 0; i < count; ++i) result[order[i]] = of(order[i]) / kept;
  return result;
}

}  // namespace

TEST_CASE("draws follow the exact probabilities: chi-square for every option and seed") {
  const std::vector<float> logits = random_logits(23, 3);
  for (const SamplingOptions& options :
       {SamplingOptions{2.0f, 0, 1.0f, 1}, SamplingOptions{3.0f, 0, 1.0f, 2}, SamplingOptions{2.0f, 7, 1.0f, 3},
        SamplingOptions{2.0f, 0, 0.8f, 4}, SamplingOptions{1.0f, 9, 0.9f, 5}}) {
    CAPTURE(options.seed);
    const double ratio = chi_square_ratio(logits, options, kept_by_definition(logits, options), 20000);
    CHECK(ratio < 2.5);   // beyond the 99.9th percentile of chi-square from 5 degrees of freedom on
    CHECK(ratio > 0.05);  // draws that fit better than chance are no draws
  }
  // The test can fail: the same draws against another temperature.
  CHECK(chi_square_ratio(logits, {2.0f, 0, 1.0f, 1}, kept_by_definition(logits, {2.3f, 0, 1.0f, 1}), 20000) > 5.0);
}

TEST_CASE("top_p keeps the smallest set of most likely tokens that reaches it, top_k the k most likely") {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const std::vector<float> logits = random_logits(1 + static_cast<index_t>(seed) * 13, seed);
    for (const SamplingOptions& options :
         {SamplingOptions{1.0f, 0, 0.9f}, SamplingOptions{0.5f, 0, 0.3f}, SamplingOptions{4.0f, 0, 0.999f},
          SamplingOptions{2.0f, 5, 1.0f}, SamplingOptions{2.0f, 12, 0.6f}, SamplingOptions{1.0f, 0, 1e-6f},
          SamplingOptions{1.0f, 1, 1.0f}, SamplingOptions{1.5f, 100000, 0.5f}}) {
      CAPTURE(seed);
      CAPTURE(options.top_p);
      const std::map<std::int32_t, double> expected = kept_by_definition(logits, options);
      const std::vector<TokenProbability> kept = Sampler(options).distribution(view_of(logits));
      REQUIRE(kept.size() == expected.size());
      for (std::size_t i = 0; i < kept.size(); ++i) {
        REQUIRE(expected.count(kept[i].token) == 1);
        CHECK(kept[i].probability == doctest::Approx(expected.at(kept[i].token)).epsilon(1e-9));
        if (expected.size() < logits.size() && i > 0) CHECK(kept[i].probability <= kept[i - 1].probability);
      }
    }
  }
}

TEST_CASE("of equal logits the first comes first; an excluded token is never drawn") {
  const float none = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {none, 1.0f, 3.0f, 3.0f, 3.0f, none};
  CHECK(Sampler()(view_of(logits)) == 2);
  const std::vector<TokenProbability> two = Sampler({1.0f, 2}).distribution(view_of(logits));
  REQUIRE(two.size() == 2);
  CHECK(two[0].token == 2);
  CHECK(two[1].token == 3);
  Sampler sampler({10.0f});
  for (int i = 0; i < 500; ++i) {
    const std::int32_t token = sampler(view_of(logits));
    CHECK(token >= 1);
    CHECK(token <= 4);
  }
}

TEST_CASE("temperature 0 is greedy, and so is what approaches it") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> logits = random_logits(300, seed);
    const auto best = static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    CHECK(Sampler({0.0f, 3, 0.5f, seed})(view_of(logits)) == best);
    CHECK(Sampler({1e-30f, 0, 1.0f, seed})(view_of(logits)) == best);
    CHECK(Sampler({5.0f, 1, 1.0f, seed})(view_of(logits)) == best);
    CHECK(Sampler({5.0f, 0, 1e-30f, seed})(view_of(logits)) == best);
  }
}

TEST_CASE("a seed repeats its draws, and another seed has others") {
  const std::vector<float> logits = random_logits(50, 1);
  const auto draws = [&](std::uint64_t seed) {
    Sampler sampler({3.0f, 0, 1.0f, seed});
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 40; ++i) tokens.push_back(sampler(view_of(logits)));
    return tokens;
  };
  CHECK(draws(7) == draws(7));
  CHECK(draws(7) != draws(8));
}

TEST_CASE("options and logits without a meaning are refused by name") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();
  QAT_CHECK_ERROR(Sampler({-1.0f}), "temperature is -1", "accepted: 0 (greedy)");
  QAT_CHECK_ERROR(Sampler({nan}), "temperature is nan");
  QAT_CHECK_ERROR(Sampler({infinite}), "temperature is inf");
  QAT_CHECK_ERROR(Sampler({1.0f, -1}), "top_k is -1");
  for (const float bad : {0.0f, -0.5f, 1.5f, nan}) QAT_CHECK_ERROR(Sampler({1.0f, 0, bad}), "top_p is ");
  for (const float temperature : {0.0f, 1.0f}) {
    const auto draw = [&](std::vector<float> logits) { Sampler({temperature})(view_of(logits)); };
    QAT_CHECK_ERROR(draw({}), "no logits");
    QAT_CHECK_ERROR(draw({1.0f, nan, 2.0f}), "have a NaN");
    QAT_CHECK_ERROR(draw({nan}), "have a NaN");
    QAT_CHECK_ERROR(draw({1.0f, infinite}), "no finite maximum");
    QAT_CHECK_ERROR(draw({-infinite, -infinite}), "no finite maximum");
  }
}
