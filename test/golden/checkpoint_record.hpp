// A Hugging Face checkpoint with results that transformers recorded beside it (expected.json, expected.safetensors,
// expected_grads.safetensors): how far ours are from them.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "qat/io/hf_llama.hpp"
#include "qat/nn/transformer.hpp"

namespace qat::golden {

inline bool is_checkpoint_record(const std::string& folder) {
  return file_exists(join_path(folder, "config.json")) && file_exists(join_path(folder, "expected.safetensors"));
}

/// Largest differences; a NaN stays one. Those of gradients are relative to the tensor's norm.
struct RecordDifferences {
  double logits = 0.0;  ///< from those computed in float64 and from those in float32, whichever is further
  double loss = 0.0;    ///< from the one computed in float64
  double gradient_norms = 0.0, gradients = 0.0;
  int tensors = 0;  ///< whose gradients were compared element by element
  std::string worst_gradient;

  static constexpr double kLogits = 2e-5, kLoss = 2e-6, kGradientNorms = 1e-4, kGradients = 1e-5;
  bool within_bounds() const {
    return logits < kLogits && loss < kLoss && gradient_norms < kGradientNorms && gradients < kGradients && tensors > 0;
  }
};

namespace detail {
inline void keep_larger(double& worst, double x) {
  if (!(x <= worst)) worst = x;
}
template <class T>
double largest_difference(const float* x, const std::vector<T>& expected) {
  double worst = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    keep_larger(worst, std::fabs(static_cast<double>(x[i]) - static_cast<double>(expected[i])));
  return worst;
}
}  // namespace detail

/// Runs the checkpoint on its recorded batch of two sequences.
/// @throws qat::Error where the folder does not hold what the record needs
inline RecordDifferences compare_with_record(const CpuBackend& backend, const std::string& folder) {
  LlamaWeights weights = read_hf_llama(folder);
  const LlamaConfig config = weights.config;
  nn::Transformer model(config);
  model.load(std::move(weights.tensors));
  const Safetensors expected = Safetensors::open(join_path(folder, "expected.safetensors"));
  const Json record = read_json(join_path(folder, "expected.json"));
  const std::vector<std::int64_t> ids = expected.at("input_ids").values<std::int64_t>(DType::kI64);
  const index_t batch = 2, rows = static_cast<index_t>(ids.size()), length = rows / batch;
  Tensor<std::int32_t> tokens({rows}), targets({rows});
  for (index_t i = 0; i < rows; ++i) {
    tokens[i] = static_cast<std::int32_t>(ids[static_cast<std::size_t>(i)]);
    const bool last = i % length == length - 1;
    targets[i] = last ? ops::kIgnoreIndex : static_cast<std::int32_t>(ids[static_cast<std::size_t>(i) + 1]);
  }

  RecordDifferences found;
  const Tensor<float> logits = model.forward(backend, std::as_const(tokens).flat(), batch);
  const std::vector<double> logits64 = expected.at("logits_f64").values<double>(DType::kF64);
  const std::vector<float> logits32 = expected.at("logits_f32").values<float>(DType::kF32);
  QAT_CHECK(logits64.size() == static_cast<std::size_t>(logits.size()) && logits32.size() == logits64.size(), kBadFile,
            folder, ": expected.safetensors has ", logits64.size(), " logits, the model gives ", logits.size());
  found.logits = detail::largest_difference(logits.data(), logits64);
  detail::keep_larger(found.logits, detail::largest_difference(logits.data(), logits32));

  Tape tape(backend);
  zero_grad(model.parameters());
  const Variable loss = model.loss(tape, std::as_const(tokens).flat(), std::as_const(targets).flat(), batch);
  found.loss = std::fabs(static_cast<double>(tape.value(loss)[0]) - record.at("loss_f64").get<double>());
  tape.backward(loss);
  LlamaWeights gradients{config, {}};  // arranged as the file arranges the weights
  for (const Parameter* p : model.parameters()) gradients.tensors.emplace(p->name, p->grad.clone());
  const Json& norms = record.at("grad_norm_f64");
  const Safetensors full = Safetensors::open(join_path(folder, "expected_grads.safetensors"));
  const std::vector<HfStoredTensor> all = hf_stored_tensors(config);
  const std::map<std::string, Shape> shapes = llama_tensor_shapes(config);
  QAT_CHECK(norms.size() == all.size(), kBadFile, folder, ": expected.json has ", norms.size(),
            " gradient norms, the model has ", all.size(), " tensors");
  for (const HfStoredTensor& stored : all) {
    const Tensor<float> ours = qat::detail::stored_values(stored, hf_stored_shape(stored, shapes), borrowed(gradients));
    double squares = 0.0;
    for (index_t i = 0; i < ours.size(); ++i) squares += static_cast<double>(ours[i]) * static_cast<double>(ours[i]);
    const double norm = std::sqrt(squares);
    detail::keep_larger(found.gradient_norms, std::fabs(norm / norms.at(stored.name).get<double>() - 1.0));
    const SafetensorView* view = full.find(stored.name);
    if (view == nullptr) continue;
    const std::vector<float> wanted = view->values<float>(DType::kF32);
    QAT_CHECK(static_cast<index_t>(wanted.size()) == ours.size(), kBadFile, folder, ": the gradient of ",
              printable(stored.name), " has ", wanted.size(), " elements, ours ", ours.size());
    const double difference = detail::largest_difference(ours.data(), wanted) / norm;
    if (!(difference <= found.gradients)) found.worst_gradient = stored.name;
    detail::keep_larger(found.gradients, difference);
    ++found.tensors;
  }
  QAT_CHECK(found.tensors == static_cast<int>(full.tensors().size()), kBadFile, folder,
            ": expected_grads.safetensors has ", full.tensors().size(), " tensors, the model has ", found.tensors,
            " of them");
  return found;
}

}  // namespace qat::golden
