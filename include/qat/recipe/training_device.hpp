// The seam between the training loop and a device that computes its steps in place of the CPU.
#pragma once

#include <string>
#include <vector>

#include "qat/data/batch_source.hpp"
#include "qat/nn/transformer.hpp"
#include "qat/optim/parameter.hpp"

namespace qat::inline v0::recipe {

/// Holds weights, gradients and optimizer of a model while it is trained: batches go up, losses come down. The
/// trainer's tensors are the state at rest: what a checkpoint saves, and what a finished run leaves in the model.
/// Scores the model as training has it, fake-quantized where its layers are.
class TrainingDevice : public nn::ScoringDevice {
 public:
  /// Names what computes, in the identity of a run: "cuda".
  virtual std::string kind() const = 0;

  /// Takes every tensor of Trainer::state().
  virtual void upload(const std::vector<StateEntry>& state) = 0;
  /// Overwrites them with what the steps have made of them.
  virtual void download(const std::vector<StateEntry>& state) = 0;

  /// Forward and backward. Gradients are those of the sum of losses times `factor`; added to those of the passes before
  /// where `accumulate` says so. Returns the sum of losses.
  virtual double backward(const TrainingBatch& batch, float factor, bool accumulate) = 0;
  /// The norm of the gradients, learned scales included, before clipping.
  virtual double measure_gradients() = 0;
  /// One step of the optimizer with the gradients that were measured, clipped.   step: 1, 2, ...
  virtual void update(double lr, index_t step) = 0;
  /// Moves the averages of weights, or of learned scales, towards what they are.   is_first: nothing before it counts
  virtual void update_averages(bool of_scales, bool is_first) = 0;
  /// Exchanges weights, and learned scales where asked, with their averages, for scoring; the second call takes that
  /// back.
  virtual void swap_averages(bool scales) = 0;
};

}  // namespace qat::inline v0::recipe
