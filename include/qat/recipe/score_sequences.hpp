// Sequences of any lengths scored in batches: each has the nats that it has alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qat/nn/transformer.hpp"

namespace qat::inline v0::recipe {

/// What a model reads and what it should say next, of one length; targets of kIgnoreIndex do not count. Borrows them.
struct ScoredSequence {
  std::span<const std::int32_t> inputs, targets;
  index_t first = 0;  ///< targets before this one do not count
};
struct SequenceScore {
  double nats = 0.0;  ///< sum over the targets that count
  index_t targets = 0;
};

namespace detail {
/// Sequences as rows of one length, filled up behind their end, where nothing that counts can see it.
struct PaddedBatch {
  index_t count, length;
  std::vector<std::int32_t> inputs, targets;
  std::vector<float> nats;  ///< of each target

  PaddedBatch(index_t sequences, index_t longest)
      : count(sequences),
        length(longest),
        inputs(static_cast<std::size_t>(sequences * longest)),
        targets(inputs.size(), ops::kIgnoreIndex),
        nats(inputs.size()) {}
  void set(index_t row, const ScoredSequence& s) {
    std::copy(s.inputs.begin(), s.inputs.end(), inputs.data() + row * length);
    std::copy(s.targets.begin() + s.first, s.targets.end(), targets.data() + row * length + s.first);
  }
  void run(const CpuBackend& backend, nn::Transformer& model) {
    model.evaluate(backend, all(inputs), all(targets), count, view(nats.data(), count * length));
  }
  /// The same where the cache holds the sequences' beginnings.
  void run(const CpuBackend& backend, nn::Transformer& model, nn::KvCache& cache) {
    model.evaluate(backend, cache, all(inputs), all(targets), view(nats.data(), count * length));
  }
  SequenceScore score(index_t row) const {
    SequenceScore score;
    for (index_t t = row * length; t < (row + 1) * length; ++t) {
      if (targets[static_cast<std::size_t>(t)] == ops::kIgnoreIndex) continue;
      score.nats += static_cast<double>(nats[static_cast<std::size_t>(t)]);
      ++score.targets;
    }
    return score;
  }

 private:
  static View<const std::int32_t, 1> all(const std::vector<std::int32_t>& v) {
    return view(v.data(), static_cast<index_t>(v.size()));
  }
};
}  // namespace detail

/// A score for each sequence, in their order. progress(done, total) is called after each batch.
template <class Progress>
std::vector<SequenceScore> score_sequences(const CpuBackend& backend, nn::Transformer& model,
                                           std::span<const ScoredSequence> sequences, Progress&& progress) {
  constexpr std::size_t kRows = 2048;
  std::vector<std::size_t> order(sequences.size());  // neighbours in length make a batch
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
    return sequences[i].inputs.size() < sequences[j].inputs.size();
  });
  std::vector<SequenceScore> scores(sequences.size());
  for (std::size_t begin = 0, end; begin < order.size(); begin = end) {
    std::size_t length = sequences[order[begin]].inputs.size();
    for (end = begin + 1; end < order.size(); ++end) {
      const std::size_t next = sequences[order[end]].inputs.size();
      if (next * (end + 1 - begin) > kRows) break;
      length = next;
    }
    detail::PaddedBatch batch(static_cast<index_t>(end - begin), static_cast<index_t>(length));
    for (std::size_t i = begin; i < end; ++i) batch.set(static_cast<index_t>(i - begin), sequences[order[i]]);
    batch.run(backend, model);
    for (std::size_t i = begin; i < end; ++i) scores[order[i]] = batch.score(static_cast<index_t>(i - begin));
    progress(static_cast<index_t>(end), static_cast<index_t>(order.size()));
  }
  return scores;
}

}  // namespace qat::inline v0::recipe
