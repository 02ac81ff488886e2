// Batches of samples: shuffled anew in every pass over the data, one a sequence or packed.
#pragma once

#include <utility>
#include <vector>

#include "qat/data/batch_source.hpp"
#include "qat/data/sft_samples.hpp"

namespace qat::inline v0 {

/// Samples in an endless order, pass p over them in permutation(count, seed, p)'s; batches cut it where it stands.
/// Borrows the samples.
class SftBatches final : public BatchSource {
 public:
  /// packing: a batch takes samples as long as they fit into batch * length tokens; else it takes `batch` samples.
  /// @throws qat::Error for no samples, or one longer than `length`
  SftBatches(const std::vector<SftSample>& samples, index_t batch, index_t length, bool packing, std::uint64_t seed)
      : samples_(samples), batch_(batch), capacity_(batch * length), packing_(packing), seed_(seed) {
    QAT_CHECK(!samples.empty(), kInvalidArgument, "SftBatches: there are no samples");
    QAT_CHECK(batch >= 1 && length >= 1, kInvalidArgument, "SftBatches: batch is ", batch, " samples of ", length,
              " tokens; accepted: at least 1 of each");
    for (const SftSample& s : samples)
      QAT_CHECK(static_cast<index_t>(s.inputs.size()) <= length, kInvalidArgument, "SftBatches: the sample of line ",
                s.line, " has ", s.inputs.size(), " tokens; accepted: at most ", length);
  }

  void sample(std::uint64_t index, TrainingBatch& out) override {
    out.inputs.clear();
    out.targets.clear();
    out.sequences.clear();
    const auto [begin, end] = range(index);
    for (std::uint64_t i = begin; i < end; ++i) {
      const SftSample& s = at(i);
      out.inputs.insert(out.inputs.end(), s.inputs.begin(), s.inputs.end());
      out.targets.insert(out.targets.end(), s.targets.begin(), s.targets.end());
      out.sequences.add(static_cast<index_t>(s.inputs.size()));
    }
  }
  index_t counted_targets(std::uint64_t index) override {
    index_t sum = 0;
    const auto [begin, end] = range(index);
    for (std::uint64_t i = begin; i < end; ++i) sum += at(i).counted;
    return sum;
  }

 private:
  static constexpr std::uint64_t kStream = std::uint64_t{0x5F7B} << 48;  // apart from those of other users of the seed

  /// Sample i of the endless order.
  const SftSample& at(std::uint64_t i) {
    const std::uint64_t count = samples_.size(), pass = i / count;
    if (order_.empty() || pass != pass_) {
      order_ = permutation(static_cast<index_t>(count), seed_, kStream + pass);
      pass_ = pass;
    }
    return samples_[static_cast<std::size_t>(order_[static_cast<std::size_t>(i % count)])];
  }
  /// The samples [begin, end) of a batch. Where packed batches begin follows from those before: starts_ remembers.
  std::pair<std::uint64_t, std::uint64_t> range(std::uint64_t index) {
    const auto samples = static_cast<std::uint64_t>(batch_);
    if (!packing_) return {index * samples, (index + 1) * samples};
    while (starts_.size() <= index + 1) {
      std::uint64_t end = starts_.back();
      for (index_t used = 0; (used += static_cast<index_t>(at(end).inputs.size())) <= capacity_;) ++end;
      starts_.push_back(end);
    }
    return {starts_[static_cast<std::size_t>(index)], starts_[static_cast<std::size_t>(index + 1)]};
  }

  const std::vector<SftSample>& samples_;
  index_t batch_, capacity_;
  bool packing_;
  std::uint64_t seed_, pass_ = 0;
  std::vector<index_t> order_;
  std::vector<std::uint64_t> starts_{0};
};

}  // namespace qat::inline v0
