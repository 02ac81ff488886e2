// Where a training loop takes its batches from.
#pragma once

#include <cstdint>
#include <vector>

#include "qat/ops/sequences.hpp"

namespace qat::inline v0 {

/// One micro-batch: rows of inputs with the target of each, and how they fall into sequences.
struct TrainingBatch {
  std::vector<std::int32_t> inputs, targets;  ///< targets: ops::kIgnoreIndex where they do not count
  ops::Sequences sequences;
};

/// Batches by number. Batch i is a pure function of i (and of what the source was made from), so a resumed run sees the
/// same data.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// Overwrites `batch`.
  virtual void sample(std::uint64_t index, TrainingBatch& batch) = 0;
  /// Targets of a batch that count; at least one.
  virtual index_t counted_targets(std::uint64_t index) = 0;

 protected:
  BatchSource() = default;
  BatchSource(const BatchSource&) = default;
  BatchSource& operator=(const BatchSource&) = default;
};

}  // namespace qat::inline v0
