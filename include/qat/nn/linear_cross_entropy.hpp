// Cross-entropy of a linear layer's outputs, some hundred rows at a time: the (N, V) logits are never in memory, which
// a vocabulary makes the largest tensor of a training step.
#pragma once

#include <memory>
#include <utility>

#include "qat/kernels/cpu/scale.hpp"
#include "qat/nn/linear.hpp"

namespace qat::inline v0::nn {

/// Rows of logits in memory at a time: 8 MiB of them, but enough rows that packing the weight for every chunk does not
/// show beside the products.
constexpr index_t logit_rows(index_t vocabulary) {
  const index_t fit = (index_t{1} << 21) / (vocabulary > 0 ? vocabulary : 1) / 64 * 64;
  return fit < 256 ? 256 : fit;
}

namespace detail {
/// Gradients of the mean loss, computed in the forward pass while a chunk's logits were there.
struct LinearCrossEntropyRecord {
  Linear* head;
  Variable x;
  Tensor<float> dx;       // (N, C), empty where x needs none
  Tensor<float> dweight;  // (V, C), of the weight as the product reads it
  Tensor<float> dbias;    // (V), empty without
  void backward(Tape& tape, Tensor<float> dloss) {
    const CpuBackend& backend = tape.backend();
    for (Tensor<float>* gradient : {&dx, &dweight, &dbias})
      if (dloss[0] != 1.0f) kernels::scale(backend, gradient->data(), dloss[0], gradient->data(), gradient->size());
    const auto add = [&](Tensor<float>& sum, const Tensor<float>& gradient) {
      kernels::add(backend, sum.data(), gradient.data(), sum.size(), sum.data());
    };
    if (!dx.empty()) tape.give(x, std::move(dx));
    if (head->quantization() != nullptr) {
      head->quantization()->add_weight_gradient(backend, *head, dweight);
    } else {
      add(head->weight().ensure_grad(), dweight);
    }
    if (head->bias() != nullptr) add(head->bias()->ensure_grad(), dbias);
  }
};
}  // namespace detail

/// softmax_cross_entropy(head(x)): the mean over the targets that are not ignore_index; returns one element. stats, if
/// given, receives sum and count. The gradients are computed here, chunk by chunk, and wait for backward().
///
/// Shapes:   x (N, C), targets (N); the head must outlive the tape's use
/// Exact:    loss and dx have the bits of the two operations one after the other if backward() is seeded with a power
///           of two, else one more rounding; dweight sums chunk by chunk, so its error bound is no larger
/// @param chunk_rows  rows of logits at a time; 0 takes logit_rows()
inline Variable linear_cross_entropy(Tape& tape, Linear& head, Variable x, View<const std::int32_t, 1> targets,
                                     std::int32_t ignore_index = ops::kIgnoreIndex,
                                     ops::CrossEntropyResult* stats = nullptr, index_t chunk_rows = 0) {
  LinearQuantization* const quantization = head.quantization();
  const std::optional<QuantSpec> activation = quantization == nullptr ? std::nullopt : quantization->activation();
  if (activation && activation->granularity.kind != GranularityKind::kPerToken &&
      activation->granularity.kind != GranularityKind::kPerGroup)  // a range over all rows
    return autodiff::softmax_cross_entropy(tape, head.forward(tape, x), targets, ignore_index, stats);

  const CpuBackend& backend = tape.backend();
  const View<const float, 2> input = tape.value(x).matrix();
  const index_t rows = input.shape[0], columns = head.in_features(), vocabulary = head.out_features();
  QAT_CHECK(input.shape[1] == columns, kShapeMismatch, head.name(), ": the input has ", input.shape[1],
            " features, the layer takes ", columns);
  ops::detail::check_vector("linear_cross_entropy", "targets", targets, rows);
  detail::LinearCrossEntropyRecord record{&head, x, {}, Tensor<float>::uninitialized({vocabulary, columns}), {}};
  if (tape.needs_grad(x)) record.dx = Tensor<float>::uninitialized({rows, columns});
  if (head.bias() != nullptr) record.dbias = Tensor<float>::uninitialized({vocabulary});

  if (rows == 0) {  // no chunk will write them
    record.dweight.fill(0.0f);
    record.dbias.fill(0.0f);
  }
  if (quantization != nullptr) quantization->refresh(backend, head);
  ops::CrossEntropyResult result;
  result.targets = ops::count_targets(targets, vocabulary, ignore_index);
  const float factor = result.targets == 0 ? 0.0f : 1.0f / static_cast<float>(result.targets);
  Tensor<float> losses = Tensor<float>::uninitialized({rows});
  const index_t most = chunk_rows > 0 ? chunk_rows : logit_rows(vocabulary);
  Tensor<float> logits = Tensor<float>::uninitialized({rows < most ? rows : most, vocabulary});
  for (index_t row = 0; row < rows; row += most) {
    const index_t count = rows - row < most ? rows - row : most;
    const GradMode mode = row == 0 ? GradMode::kOverwrite : GradMode::kAccumulate;
    const View<const float, 2> some = input.slice(0, row, count);
    const View<float, 2> y = logits.view<2>().slice(0, 0, count);
    std::optional<QuantizedActivation> codes;
    if (activation)
      codes = quantize_activation(backend, *activation, some, head.name().c_str(), quantization->activation_mask());
    const QuantizedActivation* const read = codes ? &*codes : nullptr;
    if (quantization == nullptr) {
      head.forward(backend, some, y);
    } else {
      quantization->forward(backend, head, some, read, y);
    }
    kernels::softmax_cross_entropy(backend, y.data, targets.data + row, count, vocabulary, ignore_index, factor,
                                   losses.data() + row, y.data);
    const View<const float, 2> dy = y;
    product_weight_gradient(backend, some, read, dy, record.dweight, mode);
    if (head.bias() != nullptr) ops::sum_rows(backend, dy, record.dbias.flat(), mode);
    if (record.dx.empty()) continue;
    const View<float, 2> dx = record.dx.view<2>().slice(0, row, count);
    if (quantization != nullptr) {
      quantization->input_gradient(backend, head, dy, dx, GradMode::kOverwrite);
    } else {
      const View<const float, 2> w = std::as_const(head.weight().value).view<2>();
      kernels::gemm(backend, count, columns, vocabulary, kernels::MatrixOperand{dy.data, vocabulary, 1},
                    kernels::MatrixOperand{w.data, 1, columns}, dx.data, columns);
    }
    if (read != nullptr) read->backward(backend, dx.data, dx.data, false);
  }
  for (index_t r = 0; r < rows; ++r) result.sum += static_cast<double>(losses[r]);
  if (stats != nullptr) *stats = result;
  Tensor<float> loss({1});
  loss[0] = result.mean();
  return tape.record(std::move(loss), true, std::move(record));
}

}  // namespace qat::inline v0::nn
