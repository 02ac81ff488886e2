// Language-model evaluation: nats per token, perplexity and bits per byte over windows of a token stream.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "qat/data/sft_samples.hpp"
#include "qat/data/token_stream.hpp"
#include "qat/recipe/score_sequences.hpp"

namespace qat::inline v0::recipe {

struct Evaluation {
  double nats = 0.0;  ///< sum over targets
  index_t targets = 0;
  double seconds = 0.0;
  double nats_per_token() const { return nats / static_cast<double>(targets); }
  double perplexity() const { return std::exp(nats_per_token()); }
  /// bytes_per_token, words_per_token: of the text the windows come from. Units as lm-evaluation-harness has them.
  double bits_per_byte(double bytes_per_token) const { return nats_per_token() / std::log(2.0) / bytes_per_token; }
  double byte_perplexity(double bytes_per_token) const { return std::exp(nats_per_token() / bytes_per_token); }
  double word_perplexity(double words_per_token) const { return std::exp(nats_per_token() / words_per_token); }
  double tokens_per_second() const { return static_cast<double>(targets) / seconds; }
};

/// Scores every target of the windows. progress(done, total), if given, is called after each batch of windows.
/// per_token, if given, receives the nats of every target, in order.
template <class Progress>
Evaluation evaluate(const CpuBackend& backend, nn::Transformer& model, const TokenWindows& windows, Progress&& progress,
                    std::vector<float>* per_token = nullptr) {
  const auto start = std::chrono::steady_clock::now();
  const index_t length = windows.length(), at_once = length >= 2048 ? 1 : 2048 / length;
  std::vector<std::int32_t> inputs(static_cast<std::size_t>(at_once * length)), targets(inputs.size());
  std::vector<float> nats(inputs.size());
  Evaluation result;
  for (index_t first = 0; first < windows.count(); first += at_once) {
    const index_t batch = windows.count() - first < at_once ? windows.count() - first : at_once;
    for (index_t i = 0; i < batch; ++i) {
      std::copy_n(windows.inputs(first + i).data(), length, inputs.data() + i * length);
      std::copy_n(windows.targets(first + i).data(), length, targets.data() + i * length);
    }
    const index_t n = batch * length;
    const auto part =
        model.evaluate(backend, view(static_cast<const std::int32_t*>(inputs.data()), n),
                       view(static_cast<const std::int32_t*>(targets.data()), n), batch, view(nats.data(), n));
    result.nats += part.sum;
    result.targets += part.targets;
    if (per_token != nullptr) per_token->insert(per_token->end(), nats.begin(), nats.begin() + n);
    progress(first + batch, windows.count());
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  QAT_CHECK((std::isfinite)(result.nats), kInvalidArgument, "evaluate: the loss is ", result.nats,
            "; the model gives NaN or infinite logits");
  return result;
}
/// Scores the targets of samples that count: those of completions. progress(done, total) is called after each batch.
template <class Progress>
Evaluation evaluate_samples(const CpuBackend& backend, nn::Transformer& model, std::span<const SftSample> samples,
                            Progress&& progress) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<ScoredSequence> sequences;
  for (const SftSample& sample : samples) sequences.push_back({sample.inputs, sample.targets});
  Evaluation result;
  for (const SequenceScore& score : score_sequences(backend, model, sequences, progress)) {
    result.nats += score.nats;
    result.targets += score.targets;
  }
  QAT_CHECK(result.targets > 0, kInvalidArgument, "evaluate: there is no target to score");
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  QAT_CHECK((std::isfinite)(result.nats), kInvalidArgument, "evaluate: the loss is ", result.nats,
            "; the model gives NaN or infinite logits");
  return result;
}
inline Evaluation evaluate(const CpuBackend& backend, nn::Transformer& model, const TokenWindows& windows) {
  return evaluate(backend, model, windows, [](index_t, index_t) {});
}

}  // namespace qat::inline v0::recipe
