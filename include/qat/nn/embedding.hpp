// Token embedding with a slot for quantization.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "qat/autodiff/functions.hpp"

namespace qat::inline v0::nn {

class Embedding;

/// What stands between the table and its rows: a fake-quantizer during training, packed rows after convert.
class EmbeddingQuantization {
 public:
  virtual ~EmbeddingQuantization() = default;
  /// y[i] = quantized weight[tokens[i]].   tokens (N), y (N, C)
  virtual void forward(const CpuBackend& backend, Embedding& layer, View<const std::int32_t, 1> tokens,
                       View<float, 2> y) = 0;
  /// Adds to layer.weight().grad.
  /// @throws qat::Error (kUnsupported) by default: packed rows are not trained
  virtual void backward(const CpuBackend& backend, Embedding& layer, View<const std::int32_t, 1> tokens,
                        View<const float, 2> dy);
  virtual index_t resident_bytes() const { return 0; }
};

class Embedding {
 public:
  Embedding() = default;
  Embedding(std::string name, index_t vocabulary, index_t features)
      : name_(std::move(name)),
        vocabulary_(vocabulary),
        features_(features),
        weight_(std::make_shared<Parameter>(name_ + ".weight", Tensor<float>({vocabulary, features}))) {}

  const std::string& name() const { return name_; }
  index_t vocabulary() const { return vocabulary_; }
  index_t features() const { return features_; }
  /// (V, C). Its value is empty once convert has replaced it by packed rows.
  Parameter& weight() { return *weight_; }
  const Parameter& weight() const { return *weight_; }
  const std::shared_ptr<Parameter>& shared_weight() const { return weight_; }

  EmbeddingQuantization* quantization() const { return quantization_.get(); }
  std::unique_ptr<EmbeddingQuantization> set_quantization(std::unique_ptr<EmbeddingQuantization> quantization) {
    return std::exchange(quantization_, std::move(quantization));
  }

  /// Without a tape.   tokens (N), y (N, C)
  /// @throws qat::Error (kInvalidArgument) naming a token outside the vocabulary
  void forward(const CpuBackend& backend, View<const std::int32_t, 1> tokens, View<float, 2> y) {
    ops::check_tokens(name_.c_str(), tokens, vocabulary_);
    if (quantization_ != nullptr) return quantization_->forward(backend, *this, tokens, y);
    ops::embedding(backend, std::as_const(weight_->value).view<2>(), tokens, y);
  }

  /// On a tape; returns (N, C). The layer must outlive the tape's use.
  Variable forward(Tape& tape, View<const std::int32_t, 1> tokens);

 private:
  std::string name_;
  index_t vocabulary_ = 0, features_ = 0;
  std::shared_ptr<Parameter> weight_;
  std::unique_ptr<EmbeddingQuantization> quantization_;
};

inline void EmbeddingQuantization::backward(const CpuBackend&, Embedding& layer, View<const std::int32_t, 1>,
                                            View<const float, 2>) {
  raise(ErrorCode::kUnsupported, layer.name(), ": packed rows have no gradient; train before convert");
}

namespace detail {
struct QuantizedEmbeddingRecord {
  Embedding* layer;
  Tensor<std::int32_t> tokens;
  void backward(Tape& tape, Tensor<float> dy) {
    layer->quantization()->backward(tape.backend(), *layer, std::as_const(tokens).flat(), std::as_const(dy).matrix());
  }
};
}  // namespace detail

inline Variable Embedding::forward(Tape& tape, View<const std::int32_t, 1> tokens) {
  ops::check_tokens(name_.c_str(), tokens, vocabulary_);
  if (quantization_ == nullptr) return autodiff::embedding(tape, tape.parameter(*weight_), tokens);
  Tensor<float> y = Tensor<float>::uninitialized({tokens.shape[0], features_});
  quantization_->forward(tape.backend(), *this, tokens, y.view<2>());
  return tape.record(std::move(y), true, detail::QuantizedEmbeddingRecord{this, autodiff::detail::copy_tokens(tokens)});
}

}  // namespace qat::inline v0::nn
