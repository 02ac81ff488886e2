// How the rows of a batch fall into sequences that do not see each other: several of one length, or packed ones.
#pragma once

#include <vector>

#include "qat/base/check.hpp"

namespace qat::inline v0::ops {

/// `count` sequences of `length` tokens, one after the other.
struct SequenceRun {
  index_t count, length;
  friend bool operator==(const SequenceRun&, const SequenceRun&) = default;
};

/// The rows of a batch in order, as runs of sequences of one length. Attention and positions treat each run as a batch
/// of its own, so a sequence has the same bits whatever stands beside it, and no work is done across sequences.
class Sequences {
 public:
  Sequences() = default;
  Sequences(index_t count, index_t length) : runs_{{count, length}} {}

  /// One more sequence behind the others.
  void add(index_t length) {
    QAT_CHECK(length > 0, kInvalidArgument, "Sequences: a length is ", length, ", must be positive");
    if (!runs_.empty() && runs_.back().length == length) {
      ++runs_.back().count;
    } else {
      runs_.push_back({1, length});
    }
  }
  void clear() { runs_.clear(); }

  const std::vector<SequenceRun>& runs() const { return runs_; }
  index_t rows() const {
    index_t sum = 0;
    for (const SequenceRun& run : runs_) sum += run.count * run.length;
    return sum;
  }
  index_t longest() const {
    index_t most = 0;
    for (const SequenceRun& run : runs_) most = run.length > most ? run.length : most;
    return most;
  }
  friend bool operator==(const Sequences&, const Sequences&) = default;

 private:
  std::vector<SequenceRun> runs_;
};

}  // namespace qat::inline v0::ops
