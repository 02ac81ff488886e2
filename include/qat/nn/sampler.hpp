// The next token of a text from a model's logits: the most likely one, or a draw by the counter generator.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "qat/base/check.hpp"
#include "qat/base/random.hpp"
#include "qat/tensor/view.hpp"

namespace qat::inline v0::nn {

struct SamplingOptions {
  float temperature = 0.0f;  ///< logits are divided by it; 0: the most likely token, always
  index_t top_k = 0;         ///< draw from the k most likely tokens; 0: from all
  float top_p = 1.0f;        ///< of those, from the fewest most likely ones that together have this probability
  std::uint64_t seed = 0;
};

/// A token and how likely it is drawn.
struct TokenProbability {
  std::int32_t token;
  double probability;
};

/// Draws one token after another: the n-th draw is a function of the seed, n and the logits alone.
class Sampler {
 public:
  /// @throws qat::Error naming the option and what it accepts
  explicit Sampler(const SamplingOptions& options = {}) : options_(options), random_(options.seed) {
    QAT_CHECK((std::isfinite)(options.temperature) && options.temperature >= 0.0f, kInvalidArgument,
              "sampling: temperature is ", options.temperature, "; accepted: 0 (greedy) and above");
    QAT_CHECK(options.top_k >= 0, kInvalidArgument, "sampling: top_k is ", options.top_k,
              "; accepted: 0 (all tokens) and above");
    QAT_CHECK(options.top_p > 0.0f && options.top_p <= 1.0f, kInvalidArgument, "sampling: top_p is ", options.top_p,
              "; accepted: above 0 up to 1 (all tokens)");
  }

  /// The token for logits (V); of equal logits the first.
  /// @throws qat::Error for logits that have a NaN, or no largest finite value
  std::int32_t operator()(View<const float, 1> logits) {
    if (options_.temperature == 0.0f) return most_likely(logits);
    const std::vector<TokenProbability> kept = distribution(logits);
    const std::uint64_t high = random_.next_u32(), low = random_.next_u32();
    double draw = static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;  // uniform in [0, 1)
    for (const TokenProbability& candidate : kept) {
      draw -= candidate.probability;
      if (draw < 0.0) return candidate.token;
    }
    return kept.back().token;  // what rounding left over
  }

  /// The tokens that may be drawn with their probabilities, which sum to 1: all in their order, or, where top_k or
  /// top_p leave some out, those kept, the most likely first.
  std::vector<TokenProbability> distribution(View<const float, 1> logits) const {
    const std::int32_t best = most_likely(logits);
    if (options_.temperature == 0.0f) return {{best, 1.0}};
    std::vector<TokenProbability> all(static_cast<std::size_t>(logits.shape[0]));
    const double largest = logits[best], temperature = options_.temperature;
    double total = 0.0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double p = std::exp((static_cast<double>(logits[static_cast<index_t>(i)]) - largest) / temperature);
      all[i] = {static_cast<std::int32_t>(i), p};
      total += p;
    }
    if (options_.top_k > 0 && options_.top_k < logits.shape[0]) {
      const auto end = all.begin() + options_.top_k;
      std::nth_element(all.begin(), end - 1, all.end(), comes_first);
      all.erase(end, all.end());
      std::sort(all.begin(), all.end(), comes_first);
      total = sum_of(all);
    }
    if (options_.top_p < 1.0f) keep_nucleus(all, total);
    for (TokenProbability& candidate : all) candidate.probability /= total;
    return all;
  }

 private:
  static bool comes_first(const TokenProbability& a, const TokenProbability& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
  }
  static double sum_of(const std::vector<TokenProbability>& some) {
    double sum = 0.0;
    for (const TokenProbability& candidate : some) sum += candidate.probability;
    return sum;
  }
  static std::int32_t most_likely(View<const float, 1> logits) {
    QAT_CHECK(logits.shape[0] > 0, kInvalidArgument, "sampling: there are no logits");
    index_t best = 0;
    bool any_nan = false;
    for (index_t i = 0; i < logits.shape[0]; ++i) {
      any_nan = any_nan || (std::isnan)(logits[i]);
      if (logits[i] > logits[best]) best = i;
    }
    QAT_CHECK(!any_nan && (std::isfinite)(logits[best]), kInvalidArgument, "sampling: the logits have ",
              any_nan ? "a NaN" : "no finite maximum", "; accepted: numbers, of which -inf excludes a token");
    return static_cast<std::int32_t>(best);
  }
  /// Leaves the fewest most likely tokens whose weights sum to top_p of `total`, which becomes their sum.
  void keep_nucleus(std::vector<TokenProbability>& all, double& total) const {
    // Were one of V tokens needed that has less than (1 - top_p) / V of the whole, it and all after it would hold less
    // than 1 - top_p, and those before it top_p already. So only the few tokens above are sorted.
    const double goal = static_cast<double>(options_.top_p) * total,
                 least = (total - goal) / static_cast<double>(all.size());
    std::vector<TokenProbability> likely;
    for (const TokenProbability& candidate : all)
      if (candidate.probability >= least) likely.push_back(candidate);
    std::sort(likely.begin(), likely.end(), comes_first);
    double kept = 0.0;
    std::size_t count = 0;
    while (count < likely.size() && (count == 0 || kept < goal)) kept += likely[count++].probability;
    likely.resize(count);
    all = std::move(likely);
    total = kept;
  }

  SamplingOptions options_;
  CounterRandom random_;
};

}  // namespace qat::inline v0::nn
