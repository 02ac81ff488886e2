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
#include "qat/recipe/score_sequences.hpp"

namespace qat::inline v0::recipe {

/// How one item was answered.
struct ChoiceAnswer {
  bool correct, correct_norm;
};

struct ChoiceScores {
  index_t items = 0, correct = 0, correct_norm = 0, truncated = 0;
  index_t targets = 0;  ///< tokens of all endings
  index_t inputs = 0;   ///< tokens of all contexts with each of their endings
  std::vector<ChoiceAnswer> answers;
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

/// The nats of each ending. What all sequences begin with is run once, but on a device, which has no cache.
inline std::vector<SequenceScore> score_endings(const CpuBackend& backend, nn::Transformer& model,
                                                std::span<const ChoiceSequence> sequences) {
  const std::vector<std::int32_t>& first = sequences.front().tokens;
  std::size_t shared = first.size(), longest = 0;
  for (const ChoiceSequence& s : sequences) {
    const auto limit = (std::min)(shared, s.tokens.size() - static_cast<std::size_t>(s.scored));
    shared = static_cast<std::size_t>(
        std::mismatch(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(limit), s.tokens.begin()).first -
        first.begin());
    longest = (std::max)(longest, s.tokens.size());
  }
  if (model.has_scoring_device()) shared = 0;
  const std::size_t start = shared > 0 ? shared - 1 : 0;  // its last token asks for the first target
  PaddedBatch batch(std::ssize(sequences), static_cast<index_t>(longest - 1 - start));
  for (index_t b = 0; b < batch.count; ++b) {
    const ChoiceSequence& s = sequences[static_cast<std::size_t>(b)];
    const std::span<const std::int32_t> tokens = std::span(s.tokens).subspan(start);
    batch.set(b, {tokens.first(tokens.size() - 1), tokens.subspan(1), std::ssize(tokens) - 1 - s.scored});
  }
  if (start == 0) {
    batch.run(backend, model);
  } else {
    nn::KvCache prefix(model.config(), 1, static_cast<index_t>(start));
    model.decode(backend, prefix, view(first.data(), static_cast<index_t>(start)));
    nn::KvCache cache = prefix.repeated(model.config(), batch.count, static_cast<index_t>(longest) - 1);
    batch.run(backend, model, cache);
  }
  std::vector<SequenceScore> scores;
  for (index_t b = 0; b < batch.count; ++b) scores.push_back(batch.score(b));
  return scores;
}

}  // namespace detail

/// Scores every item as lm-evaluation-harness does: the ending follows the context after a space, its tokens are what
/// the whole text has beyond those of the context, contexts too long for the model lose their beginning.
/// A context is run once, whatever the number of its endings.
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
    for (const std::string& ending : item.endings) {
      sequences.push_back(detail::choice_sequence(tokenizer, item.context, before, ending, model.config().max_seq_len,
                                                  model.config().vocab_size, where, truncated));
      scores.inputs += std::ssize(sequences.back().tokens) - 1;
    }
    index_t best = 0, best_norm = 0;
    double least = 0.0, least_norm = 0.0;
    const std::vector<SequenceScore> endings = detail::score_endings(backend, model, sequences);
    for (index_t b = 0; b < std::ssize(endings); ++b) {
      const auto& [nats, targets] = endings[static_cast<std::size_t>(b)];
      QAT_CHECK((std::isfinite)(nats), kInvalidArgument, where, ": the loss is ", nats,
                "; the model gives NaN or infinite logits");
      const double norm = nats / static_cast<double>(item.endings[static_cast<std::size_t>(b)].size());
      if (b == 0 || nats < least) best = b, least = nats;
      if (b == 0 || norm < least_norm) best_norm = b, least_norm = norm;
      scores.targets += targets;
    }
    scores.answers.push_back({best == item.label, best_norm == item.label});
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
