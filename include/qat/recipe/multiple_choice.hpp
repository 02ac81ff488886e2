// Multiple-choice accuracy: which ending a model finds likeliest.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "qat/data/choice_items.hpp"
#include "qat/data/token_stream.hpp"
#include "qat/nn/transformer.hpp"

namespace qat::inline v0::recipe {

struct ChoiceScores {
  index_t items = 0, correct = 0, correct_norm = 0, truncated = 0;
  double seconds = 0.0;
  /// Share of items whose right ending has the largest log-probability, summed over its tokens.
  double acc() const { return static_cast<double>(correct) / static_cast<double>(items); }
  /// The same, of the log-probability per byte of the ending.
  double acc_norm() const { return static_cast<double>(correct_norm) / static_cast<double>(items); }
  double acc_stderr() const { return standard_error(acc()); }
  double acc_norm_stderr() const { return standard_error(acc_norm()); }

 private:
  /// Of a mean of zeros and ones, from their sample variance; 0 for one item.
  double standard_error(double p) const {
    return items < 2 ? 0.0 : std::sqrt(p * (1.0 - p) / static_cast<double>(items - 1));
  }
};

namespace detail {

/// One context (of `before` tokens) with one ending as model input: tokens, and how many of the last targets belong to
/// the ending.
struct ChoiceSequence {
  std::vector<std::int32_t> tokens;
  index_t scored;
};

inline ChoiceSequence choice_sequence(const Tokenizer& tokenizer, const std::string& context, std::size_t before,
                                      const std::string& ending, index_t longest, index_t vocab_size,
                                      const std::string& where, bool& truncated) {
  ChoiceSequence sequence{tokenizer.encode(context + " " + ending, true), 0};
  check_token_ids(sequence.tokens, vocab_size, where);
  QAT_CHECK(sequence.tokens.size() > before && sequence.tokens.size() >= 2, kInvalidArgument, where, ": the ending '",
            ending, "' adds no token to its context");
  sequence.scored = static_cast<index_t>(sequence.tokens.size() - (before > 0 ? before : 1));
  const auto excess = static_cast<index_t>(sequence.tokens.size()) - (longest + 1);
  if (excess > 0) {  // the end of the context counts most
    truncated = true;
    QAT_CHECK(sequence.scored <= longest, kInvalidArgument, where, ": the ending has ", sequence.scored,
              " tokens; the model accepts ", longest);
    sequence.tokens.erase(sequence.tokens.begin(), sequence.tokens.begin() + excess);
  }
  return sequence;
}

}  // namespace detail

/// Scores every item as lm-evaluation-harness does: the ending follows the context after a space, its tokens are what
/// the whole text has beyond those of the context, contexts too long for the model lose their beginning.
/// progress(done, total) is called after each item. source: names the items in errors.
template <class Progress>
ChoiceScores score_choices(const CpuBackend& backend, nn::Transformer& model, const Tokenizer& tokenizer,
                           std::span<const ChoiceItem> items, const std::string& source, Progress&& progress) {
  const auto start = std::chrono::steady_clock::now();
  ChoiceScores scores;
  for (const ChoiceItem& item : items) {
    const std::string where = source + ", item " + std::to_string(scores.items + 1);
    std::vector<detail::ChoiceSequence> sequences;
    const std::size_t before = tokenizer.encode(item.context, true).size();
    bool truncated = false;
    index_t length = 0;
    for (const std::string& ending : item.endings) {
      sequences.push_back(detail::choice_sequence(tokenizer, item.context, before, ending, model.config().max_seq_len,
                                                  model.config().vocab_size, where, truncated));
      length = (std::max)(length, static_cast<index_t>(sequences.back().tokens.size()) - 1);
    }
    // Shorter sequences are filled up behind their end, where nothing that counts can see it.
    const auto batch = static_cast<index_t>(sequences.size());
    std::vector<std::int32_t> inputs(static_cast<std::size_t>(batch * length)),
        targets(inputs.size(), ops::kIgnoreIndex);
    std::vector<float> nats(inputs.size());
    for (index_t b = 0; b < batch; ++b) {
      const auto& [tokens, scored] = sequences[static_cast<std::size_t>(b)];
      const auto n = static_cast<index_t>(tokens.size()) - 1;
      std::copy_n(tokens.data(), n, inputs.data() + b * length);
      std::copy_n(tokens.data() + 1 + n - scored, scored, targets.data() + b * length + n - scored);
    }
    const auto total = static_cast<index_t>(inputs.size());
    model.evaluate(backend, view(static_cast<const std::int32_t*>(inputs.data()), total),
                   view(static_cast<const std::int32_t*>(targets.data()), total), batch, view(nats.data(), total));
    index_t best = 0, best_norm = 0;
    double least = 0.0, least_norm = 0.0;
    for (index_t b = 0; b < batch; ++b) {
      double sum = 0.0;
      for (index_t t = 0; t < length; ++t) sum += static_cast<double>(nats[static_cast<std::size_t>(b * length + t)]);
      QAT_CHECK((std::isfinite)(sum), kInvalidArgument, where, ": the loss is ", sum,
                "; the model gives NaN or infinite logits");
      const double norm = sum / static_cast<double>(item.endings[static_cast<std::size_t>(b)].size());
      if (b == 0 || sum < least) best = b, least = sum;
      if (b == 0 || norm < least_norm) best_norm = b, least_norm = norm;
    }
    scores.correct += best == item.label;
    scores.correct_norm += best_norm == item.label;
    scores.truncated += truncated;
    progress(++scores.items, static_cast<index_t>(items.size()));
  }
  QAT_CHECK(scores.items > 0, kInvalidArgument, source, ": has no items to score");
  scores.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return scores;
}

}  // namespace qat::inline v0::recipe
