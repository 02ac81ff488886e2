// One model on one data set: the metrics of the field with their standard errors, and what is needed to compare two
// models on the same data item by item.
#pragma once

#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/token_stream.hpp"
#include "qat/data/wikitext.hpp"
#include "qat/io/xxhash.hpp"
#include "qat/recipe/multiple_choice.hpp"
#include "qat/recipe/named_datasets.hpp"
#include "qat/recipe/score_sequences.hpp"

namespace qat::inline v0::recipe {

struct DatasetOptions {
  index_t length = 0;        ///< targets of a window of text; 0: 512, or the model's context where that is shorter
  index_t limit = 0;         ///< windows, articles or items scored at most, from the first; 0: all
  bool skip_broken = false;  ///< leave out lines of choices that are not valid
};

/// A metric as a ratio of sums over independent parts of the data (windows, articles, items).
struct RatioSums {
  std::string metric;
  std::vector<double> values, weights;
  double ratio() const { return sum(values) / sum(weights); }
  /// Standard error of the ratio, from how the parts scatter around it; none of a single part. Parts may have any
  /// weights (linearization, as survey statistics has it); of equal ones it is the standard error of a mean.
  Figure standard_error() const {
    const auto n = static_cast<double>(values.size());
    if (values.size() < 2) return {};
    double squares = 0.0;
    const double r = ratio();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double residual = values[i] - r * weights[i];
      squares += residual * residual;
    }
    return std::sqrt(squares * n / (n - 1.0)) / sum(weights);
  }

 private:
  static double sum(const std::vector<double>& all) {
    double total = 0.0;
    for (const double x : all) total += x;
    return total;
  }
};

struct ScoredDataset {
  EvaluatedDataset description;
  DatasetScores scores;
  std::vector<RatioSums> parts;  ///< of nats_per_token; of acc and acc_norm
  std::uint64_t identity = 0;    ///< of what was scored: parts of equal ones are pairs
  index_t inputs = 0;            ///< tokens that the scores ask a model to read
  index_t truncated = 0;         ///< items whose context lost its beginning
  double seconds = 0.0;          ///< of scoring, not of reading and tokenizing
  SkippedLines skipped;
};

/// model - baseline for every metric that both have parts of; nothing where they were scored on other data.
inline std::vector<PairedDifference> paired_differences(const ScoredDataset& model, const std::string& model_name,
                                                        const ScoredDataset& baseline,
                                                        const std::string& baseline_name) {
  std::vector<PairedDifference> differences;
  if (model.identity != baseline.identity) return differences;
  for (std::size_t i = 0; i < model.parts.size() && i < baseline.parts.size(); ++i) {
    RatioSums difference = model.parts[i];
    for (std::size_t j = 0; j < difference.values.size(); ++j) difference.values[j] -= baseline.parts[i].values[j];
    differences.push_back({model.description.name, difference.metric, model_name, baseline_name, difference.ratio(),
                           difference.standard_error()});
  }
  return differences;
}

namespace detail {

/// A text as sequences to score. `windows` hold views of `tokens`.
struct TextSequences {
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<ScoredSequence> windows;
  double bytes_per_target = 0.0, words_per_target = 0.0;
};

/// Windows that follow each other in the stream of all documents; an incomplete last one is left out.
inline TextSequences stream_windows(std::string_view text, const Tokenizer& tokenizer, const LlamaConfig& config,
                                    const std::string& file, index_t length, index_t limit) {
  TextSequences all;
  TokenStream stream = make_token_stream(text, tokenizer, config.vocab_size, file);
  all.bytes_per_target = static_cast<double>(stream.bytes) / static_cast<double>(stream.tokens.size());
  all.words_per_target = static_cast<double>(stream.words) / static_cast<double>(stream.tokens.size());
  all.tokens.push_back(std::move(stream.tokens));
  const TokenWindows windows = TokenWindows::contiguous(all.tokens.front(), length, file);
  const index_t count = limit > 0 ? (std::min)(limit, windows.count()) : windows.count();
  for (index_t i = 0; i < count; ++i) all.windows.push_back({windows.inputs(i), windows.targets(i), 0});
  return all;
}

/// Every token of an article once, BOS read first; the last window reads as many tokens as the others and counts what
/// is new. Source: lm-evaluation-harness, loglikelihood_rolling with a context of one token.
inline TextSequences article_windows(std::string_view text, const Tokenizer& tokenizer, const LlamaConfig& config,
                                     const std::string& file, index_t length, index_t limit) {
  TextSequences all;
  std::vector<std::string_view> articles = wikitext_articles(text);
  QAT_CHECK(!articles.empty(), kBadFile, file, ": has no text; accepted: articles that begin with a line = Title =");
  if (limit > 0 && limit < std::ssize(articles)) articles.resize(static_cast<std::size_t>(limit));
  double bytes = 0.0, words = 0.0, targets = 0.0;
  all.tokens.reserve(articles.size());
  for (const std::string_view article : articles) {
    const auto& tokens = all.tokens.emplace_back(tokenizer.encode(detokenize_wikitext(article), true));
    check_token_ids(tokens, config.vocab_size, file);
    const std::span<const std::int32_t> inputs(tokens.data(), tokens.size() - 1),
        next(tokens.data() + 1, inputs.size());
    for (std::size_t begin = 0, step = static_cast<std::size_t>(length); begin < inputs.size(); begin += step) {
      const std::size_t end = (std::min)(begin + step, inputs.size()), from = end < step ? 0 : end - step;
      all.windows.push_back(
          {inputs.subspan(from, end - from), next.subspan(from, end - from), static_cast<index_t>(begin - from)});
    }
    bytes += static_cast<double>(article.size());
    words += static_cast<double>(count_wikitext_words(article));
    targets += static_cast<double>(inputs.size());
  }
  QAT_CHECK(targets > 0.0, kBadFile, file, ": has no token to score");
  all.bytes_per_target = bytes / targets;
  all.words_per_target = words / targets;
  return all;
}

template <class Progress>
void score_text(const CpuBackend& backend, nn::Transformer& model, const Tokenizer& tokenizer,
                const DatasetSource& source, const DatasetOptions& options, ScoredDataset& result,
                Progress&& progress) {
  const LlamaConfig& config = model.config();
  const index_t length = options.length > 0 ? options.length : (std::min)(index_t{512}, config.max_seq_len);
  QAT_CHECK(length <= config.max_seq_len, kInvalidArgument, "--length is ", length, "; the model accepts 1 to ",
            config.max_seq_len);
  const MappedFile file(source.file);
  QAT_CHECK(file.size() > 0, kBadFile, source.file, ": is empty; accepted: text");
  const TextSequences text = source.is_wikitext
                                 ? article_windows(file.text(), tokenizer, config, source.file, length, options.limit)
                                 : stream_windows(file.text(), tokenizer, config, source.file, length, options.limit);
  for (const auto& tokens : text.tokens)
    result.identity = xxh64(tokens.data(), tokens.size() * sizeof tokens[0], result.identity + 1);
  result.identity += static_cast<std::uint64_t>(text.windows.size() * 4096) + static_cast<std::uint64_t>(length);
  const auto start = std::chrono::steady_clock::now();
  RatioSums nats{"nats_per_token", {}, {}};
  for (const SequenceScore& score : score_sequences(backend, model, text.windows, progress)) {
    nats.values.push_back(score.nats);
    nats.weights.push_back(static_cast<double>(score.targets));
    result.description.targets += score.targets;
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const ScoredSequence& window : text.windows) result.inputs += std::ssize(window.inputs);
  const double mean = nats.ratio();
  QAT_CHECK((std::isfinite)(mean), kInvalidArgument, source.file, ": the loss is ", mean,
            "; the model gives NaN or infinite logits");
  const auto targets = static_cast<double>(result.description.targets);
  result.description.bytes = static_cast<index_t>(std::lround(text.bytes_per_target * targets));
  result.description.words = static_cast<index_t>(std::lround(text.words_per_target * targets));
  result.description.protocol =
      source.is_wikitext
          ? "articles in windows of " + std::to_string(length) +
                " tokens, every token scored once; read without WikiText's spaces, bytes and words counted with them"
          : "one stream of documents in windows of " + std::to_string(length) + " tokens, no normalization";
  result.scores.metrics = {{"nats_per_token", mean, nats.standard_error()},
                           {"word_perplexity", std::exp(mean / text.words_per_target), {}},
                           {"byte_perplexity", std::exp(mean / text.bytes_per_target), {}},
                           {"bits_per_byte", mean / std::log(2.0) / text.bytes_per_target, {}}};
  result.parts.push_back(std::move(nats));
}

template <class Progress>
void score_items(const CpuBackend& backend, nn::Transformer& model, const Tokenizer& tokenizer,
                 const DatasetSource& source, const DatasetOptions& options, ScoredDataset& result,
                 Progress&& progress) {
  std::vector<ChoiceItem> items = load_choice_items(source.file, options.skip_broken ? &result.skipped : nullptr);
  if (options.limit > 0 && options.limit < std::ssize(items)) items.resize(static_cast<std::size_t>(options.limit));
  for (const ChoiceItem& item : items) result.identity = xxh64(item.context, result.identity + 1);
  const ChoiceScores scores = score_choices(backend, model, tokenizer, items, source.file, progress);
  RatioSums acc{"acc", {}, {}}, acc_norm{"acc_norm", {}, {}};
  for (const ChoiceAnswer& answer : scores.answers) {
    acc.values.push_back(answer.correct ? 1.0 : 0.0);
    acc_norm.values.push_back(answer.correct_norm ? 1.0 : 0.0);
    acc.weights.push_back(1.0);
    acc_norm.weights.push_back(1.0);
  }
  result.description.items = scores.items;
  result.description.targets = scores.targets;
  result.description.protocol =
      "acc by the summed log-probability of an ending, acc_norm by that over its bytes; no examples in front";
  result.inputs = scores.inputs;
  result.truncated = scores.truncated;
  result.seconds = scores.seconds;
  for (const RatioSums& r : {acc, acc_norm}) result.scores.metrics.push_back({r.metric, r.ratio(), r.standard_error()});
  result.parts = {std::move(acc), std::move(acc_norm)};
}

}  // namespace detail

/// Scores a model on a data set. progress(done, total) is called as windows or items are done.
/// @throws qat::Error naming file, line or option
template <class Progress>
ScoredDataset score_dataset(const CpuBackend& backend, nn::Transformer& model, const Tokenizer& tokenizer,
                            const DatasetSource& source, const DatasetOptions& options, Progress&& progress) {
  ScoredDataset result;
  result.description.name = result.scores.dataset = source.name;
  result.description.kind = source.kind;
  result.description.file = source.file;
  if (source.kind == DatasetKind::kText) {
    detail::score_text(backend, model, tokenizer, source, options, result, progress);
  } else {
    detail::score_items(backend, model, tokenizer, source, options, result, progress);
  }
  return result;
}

}  // namespace qat::inline v0::recipe
