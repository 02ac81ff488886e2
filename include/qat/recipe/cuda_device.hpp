// One NVIDIA GPU as the device of a run: nn::CudaLlama behind the training loop and behind evaluation. Plain C++ that
// links the instances of kernels/cuda/, or includes their definitions (docs/cuda.md).
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "qat/kernels/cuda/quantize.hpp"
#include "qat/nn/cuda_llama.hpp"
#include "qat/recipe/train.hpp"

namespace qat::inline v0::recipe {

namespace detail {

/// A model on the GPU with the memory that its passes need. Tokens and losses are in host memory.
class CudaModel {
 public:
  CudaModel(const LlamaConfig& config, const nn::CudaLlamaOptions& options)
      : workspace_(static_cast<index_t>(nn::CudaLlama::workspace_bytes(config, options))),
        backend_{stream_.get(), workspace_.data(), static_cast<std::size_t>(workspace_.size())},
        llama_(backend_, config, options),
        tokens_(llama_.capacity()),
        targets_(llama_.capacity()) {}

  const CudaBackend& backend() const { return backend_; }
  nn::CudaLlama& llama() { return llama_; }
  nn::CudaWeights& weights() { return llama_.weights(); }

  void use_graphs(bool on) { uses_graphs_ = on; }
  index_t replays() const { return replays_; }

  /// Sum of losses; the gradients stay on the device.
  double backward(const std::int32_t* tokens, const std::int32_t* targets, const nn::CudaLlamaPass& pass) {
    put(tokens, targets, pass.batch * pass.length);
    queue_backward(pass);
    return static_cast<double>(llama_.loss_sum());
  }
  /// As nn::Transformer::evaluate, as many sequences at a time as there is room for.
  ops::CrossEntropyResult evaluate(View<const std::int32_t, 1> tokens, View<const std::int32_t, 1> targets,
                                   index_t batch, View<float, 1> losses) {
    const index_t length = tokens.shape[0] / batch, at_once = (std::max)(index_t{1}, llama_.capacity() / length);
    ops::CrossEntropyResult total;
    std::vector<float> nats(static_cast<std::size_t>((std::min)(at_once, batch) * length));
    for (index_t first = 0; first < batch; first += at_once) {
      const index_t count = (std::min)(at_once, batch - first), begin = first * length, rows = count * length;
      put(tokens.data + begin, targets.data + begin, rows);
      llama_.score(tokens_.data(), targets_.data(), count, length, nats.data());
      for (index_t i = 0; i < rows; ++i) {
        if (losses.shape[0] > 0) losses(begin + i) = nats[static_cast<std::size_t>(i)];
        if (targets(begin + i) == ops::kIgnoreIndex) continue;
        total.sum += static_cast<double>(nats[static_cast<std::size_t>(i)]);
        ++total.targets;
      }
    }
    return total;
  }

 private:
  /// What a graph of a backward pass is for: batch, length, factor, accumulate, fake-quantized.
  using GraphKey = std::tuple<index_t, index_t, float, bool, bool>;
  static constexpr std::size_t kGraphs = 8;

  /// A pass like one before it is a graph, one launch in place of some twenty a layer; the first of its kind is not:
  /// cuBLASLt then chooses algorithms, and kernels are loaded. Where a graph cannot be made, passes go on without.
  void queue_backward(const nn::CudaLlamaPass& pass) {
    const auto queue = [&] { llama_.backward(tokens_.data(), targets_.data(), pass); };
    const GraphKey key{pass.batch, pass.length, pass.factor, pass.accumulate, llama_.fake_quantized()};
    const auto at = graphs_.find(key);
    if (!uses_graphs_) return queue();
    if (at == graphs_.end()) {
      if (graphs_.size() < kGraphs) graphs_.emplace(key, cuda::DeviceGraph());
      return queue();
    }
    if (!at->second) {
      try {
        at->second = cuda::DeviceGraph(backend_, queue);
      } catch (const Error&) {
        uses_graphs_ = false;
        return queue();
      }
    }
    at->second.launch(backend_);
    ++replays_;
  }
  /// A kernel cannot say which token is none, so this does.
  void put(const std::int32_t* tokens, const std::int32_t* targets, index_t count) {
    const index_t vocabulary = llama_.config().vocab_size;
    for (index_t i = 0; i < count; ++i)
      QAT_CHECK(tokens[i] >= 0 && tokens[i] < vocabulary &&
                    (targets[i] == ops::kIgnoreIndex || (targets[i] >= 0 && targets[i] < vocabulary)),
                kInvalidArgument, "token ", i, " is ", tokens[i], " with the target ", targets[i], "; accepted: 0 to ",
                vocabulary - 1);
    const auto bytes = static_cast<std::size_t>(count) * sizeof(std::int32_t);
    cuda::device_copy(backend_, tokens_.data(), tokens, bytes);
    cuda::device_copy(backend_, targets_.data(), targets, bytes);
  }

  cuda::DeviceStream stream_;
  cuda::DeviceBuffer<char> workspace_;
  CudaBackend backend_;
  nn::CudaLlama llama_;
  cuda::DeviceBuffer<std::int32_t> tokens_, targets_;
  std::map<GraphKey, cuda::DeviceGraph> graphs_;
  bool uses_graphs_ = true;
  index_t replays_ = 0;
};

/// What prepared layers train with, by name.
inline std::map<std::string, LayerScheme> prepared_schemes(nn::Transformer& model) {
  std::map<std::string, LayerScheme> schemes;
  for (const NamedLayer& layer : layers_of(model))
    if (const std::optional<LayerScheme> scheme = prepared_scheme(layer)) schemes.emplace(layer.name, *scheme);
  return schemes;
}

}  // namespace detail

/// Trains a Llama on the current GPU. Weights, gradients, moments and learned scales live there; products are
/// bfloat16, sums and masters fp32 (docs/decisions/0012). What it computes is the CPU's training up to bfloat16's
/// rounding, and the same bits from run to run. The model must stay where it is.
class CudaTrainingDevice final : public TrainingDevice {
 public:
  /// The model is prepared. longest: tokens of the longest sequence that is scored while it is trained
  /// @throws qat::Error naming the device's, the model's or a scheme's property that is not accepted
  CudaTrainingDevice(nn::Transformer& model, const TrainConfig& config, index_t longest)
      : model_(model),
        learned_(learned_scale_states(model)),
        batch_(config.batch),
        cuda_(model.config(), options_of(model, config, longest)) {
    cuda_.llama().set_fake_quantization(false);
  }

  /// Whether passes like one before are queued as CUDA graphs (at first) or launch by launch, with the same bits.
  void use_graphs(bool on) { cuda_.use_graphs(on); }
  /// Passes that were.
  index_t graph_replays() const { return cuda_.replays(); }

  std::string kind() const override { return "cuda"; }
  void upload(const std::vector<StateEntry>& state) override {
    cuda_.weights().refresh(cuda_.backend());
    for (const StateEntry& entry : state)
      cuda_.weights().set(cuda_.backend(), entry.name, entry.tensor->data(), entry.tensor->size());
    cuda_.weights().set_scales_begun(cuda_.backend(), !learned_.empty() && *learned_.front().begun);
    cuda_.weights().rewrite(cuda_.backend());
  }
  void download(const std::vector<StateEntry>& state) override {
    for (const StateEntry& entry : state)
      cuda_.weights().get(cuda_.backend(), entry.name, entry.tensor->data(), entry.tensor->size());
  }

  double backward(const TrainingBatch& batch, float factor, bool accumulate) override {
    follow_model();
    if (cuda_.llama().fake_quantized() && !learned_.empty()) {
      cuda_.weights().begin_scales(cuda_.backend());
      for (const nn::LearnedScales& scales : learned_) *scales.begun = true;
    }
    std::vector<index_t> lengths;
    for (const ops::SequenceRun& run : batch.sequences.runs())
      lengths.insert(lengths.end(), static_cast<std::size_t>(run.count), run.length);
    double sum = 0.0;
    index_t row = 0;
    for (std::size_t first = 0; first < lengths.size(); first += static_cast<std::size_t>(batch_)) {
      const std::size_t end = (std::min)(lengths.size(), first + static_cast<std::size_t>(batch_));
      const auto count = static_cast<index_t>(end - first);
      const index_t longest = *std::max_element(lengths.begin() + static_cast<std::ptrdiff_t>(first),
                                                lengths.begin() + static_cast<std::ptrdiff_t>(end));
      tokens_.assign(static_cast<std::size_t>(count * longest), 0);  // behind its end nothing of a sequence sees them
      targets_.assign(tokens_.size(), ops::kIgnoreIndex);
      for (index_t i = 0; i < count; ++i) {
        const index_t length = lengths[first + static_cast<std::size_t>(i)];
        std::copy_n(batch.inputs.data() + row, length, tokens_.data() + i * longest);
        std::copy_n(batch.targets.data() + row, length, targets_.data() + i * longest);
        row += length;
      }
      sum += cuda_.backward(tokens_.data(), targets_.data(), {count, longest, factor, accumulate || first > 0});
    }
    return sum;
  }
  double measure_gradients() override {
    return static_cast<double>(cuda_.weights().measure_gradients(cuda_.backend()));
  }
  void update(double lr, index_t step) override {
    cuda_.weights().set_learning_rate(cuda_.backend(), lr, step);
    cuda_.weights().apply(cuda_.backend());
  }
  void update_averages(bool of_scales, bool is_first) override {
    cuda_.weights().update_averages(cuda_.backend(), of_scales, is_first);
  }
  void swap_averages(bool scales) override { cuda_.weights().swap_averages(cuda_.backend(), scales); }
  ops::CrossEntropyResult evaluate(const CpuBackend&, nn::Transformer&, View<const std::int32_t, 1> tokens,
                                   View<const std::int32_t, 1> targets, index_t batch, View<float, 1> losses) override {
    follow_model();
    return cuda_.evaluate(tokens, targets, batch, losses);
  }

 private:
  static nn::CudaLlamaOptions options_of(nn::Transformer& model, const TrainConfig& config, index_t longest) {
    nn::CudaLlamaOptions o;
    o.batch = config.batch;
    o.length = config.length;
    o.longest = longest;
    o.schemes = detail::prepared_schemes(model);
    o.beta1 = config.beta1;
    o.beta2 = config.beta2;
    o.weight_decay = config.weight_decay;
    o.clip_norm = config.clip_norm;
    o.scale_lr = config.scale_lr;
    o.ema_decay = config.ema_decay;
    o.learn_scales = !learned_scale_states(model).empty();
    detail::for_each_prepared(model, [&](const auto& prepared) { o.mask = prepared.mask(); });
    return o;
  }
  /// Fake-quantized or not, as the model's layers are.
  void follow_model() {
    bool enabled = false;
    detail::for_each_prepared(model_, [&](const auto& prepared) { enabled = prepared.enabled(); });
    cuda_.llama().set_fake_quantization(enabled);
  }

  nn::Transformer& model_;
  std::vector<nn::LearnedScales> learned_;
  index_t batch_;  // sequences of a pass
  detail::CudaModel cuda_;
  std::vector<std::int32_t> tokens_, targets_;  // padded
};

/// Scores a model on the current GPU: floating-point, prepared or packed, as it is in the first evaluation. Weights are
/// the values that its layers multiply with, rounded to bfloat16; inputs are fake-quantized as the layers say. So a
/// prepared model and the packed one made from it score the same bits.
class CudaScoringDevice final : public nn::ScoringDevice {
 public:
  ops::CrossEntropyResult evaluate(const CpuBackend& backend, nn::Transformer& model,
                                   View<const std::int32_t, 1> tokens, View<const std::int32_t, 1> targets,
                                   index_t batch, View<float, 1> losses) override {
    const index_t length = tokens.shape[0] / batch;
    if (cuda_ == nullptr || longest_ < length) {
      constexpr index_t kTokens = 2048;
      cuda_.reset();  // its memory first
      const LlamaConfig& c = model.config();
      const index_t most = c.window > 0 ? (std::min)(c.window, c.max_seq_len) : c.max_seq_len;
      longest_ = (std::max)((std::min)((std::max)(kTokens, 2 * length), most), length);
      load(backend, model, (std::max)(kTokens / longest_, index_t{1}));
    }
    return cuda_->evaluate(tokens, targets, batch, losses);
  }

 private:
  void load(const CpuBackend& backend, nn::Transformer& model, index_t batch) {
    nn::CudaLlamaOptions options;
    options.trains = false;
    options.batch = batch;
    options.length = longest_;
    LlamaConfig config = model.config();
    const std::vector<detail::NamedLayer> layers = detail::layers_of(model);
    for (const detail::NamedLayer& layer : layers) {
      if (layer.linear == nullptr || layer.linear->quantization() == nullptr) continue;
      options.schemes[layer.name] = {std::nullopt, layer.linear->quantization()->activation()};
      if (layer.is_tied) config.tied = false;  // it may read the table in another form
    }
    cuda_ = std::make_unique<detail::CudaModel>(config, options);
    for (const detail::NamedLayer& layer : layers) {
      if (layer.is_tied && config.tied) continue;
      const Tensor<float> made = quantized_weight(backend, layer);
      const Tensor<float>& weight = made.empty() ? layer.weight->value : made;
      cuda_->weights().set(cuda_->backend(), layer.name + ".weight", weight.data(), weight.size());
      if (layer.bias != nullptr)
        cuda_->weights().set(cuda_->backend(), layer.bias->name, layer.bias->value.data(), layer.bias->value.size());
    }
  }
  /// Empty for a layer in floating point.
  static Tensor<float> quantized_weight(const CpuBackend& backend, const detail::NamedLayer& layer) {
    if (const auto packed = detail::packed_of(layer)) return dequantized_weight(*packed);
    if (layer.linear != nullptr)
      if (auto* p = dynamic_cast<nn::PreparedLinear*>(layer.linear->quantization());
          p != nullptr && p->enabled() && p->scheme().weight)
        return dequantized_weight(p->pack(backend, *layer.linear));
    if (layer.embedding != nullptr)
      if (auto* p = dynamic_cast<nn::PreparedEmbedding*>(layer.embedding->quantization()); p != nullptr && p->enabled())
        return dequantized_weight(p->pack(backend, *layer.embedding));
    return {};
  }

  index_t longest_ = 0;
  std::unique_ptr<detail::CudaModel> cuda_;
};

/// Quantizes weights on the current GPU, under any spec, to the CPU's bits.
class CudaPackingDevice final : public nn::PackingDevice {
 public:
  CudaPackingDevice()
      : workspace_(index_t{64} << 20),
        backend_{nullptr, workspace_.data(), static_cast<std::size_t>(workspace_.size())} {}

  PackedWeight pack(const QuantSpec& spec, const Parameter& weight, const float* scale,
                    const float* zero_point) override {
    const index_t rows = weight.value.dim(0), columns = weight.value.dim(1), size = weight.value.size();
    const index_t tiles = group_layout(spec.granularity, rows, columns).count();
    const cuda::DeviceBuffer<float> x(backend_, weight.value.data(), size);
    cuda::DeviceBuffer<float> scales(tiles), zeros(tiles);
    const cuda::DeviceBuffer<std::int8_t> codes(size);
    if (scale != nullptr) {
      scales = cuda::DeviceBuffer<float>(backend_, scale, tiles);
      if (zero_point != nullptr) zeros = cuda::DeviceBuffer<float>(backend_, zero_point, tiles);
      cuda::quantize<float>(backend_, spec, x.data(), rows, columns, scales.data(),
                            zero_point != nullptr ? zeros.data() : nullptr, codes.data());
    } else {
      unsigned nonfinite = 0;
      const cuda::DeviceBuffer<unsigned> counter(backend_, &nonfinite, 1);
      cuda::QuantizeExtras extras;
      extras.nonfinite = counter.data();
      cuda::quantize_dynamic<float>(backend_, spec, x.data(), rows, columns, codes.data(), scales.data(), zeros.data(),
                                    extras);
      counter.read(backend_, &nonfinite);
      nn::detail::check_finite(weight, static_cast<index_t>(nonfinite));
    }
    std::vector<std::int8_t> host_codes(static_cast<std::size_t>(size));
    std::vector<float> host_scales(static_cast<std::size_t>(tiles)), host_zeros(host_scales.size());
    codes.read(backend_, host_codes.data());
    scales.read(backend_, host_scales.data());
    zeros.read(backend_, host_zeros.data());
    return PackedWeight::pack(spec, rows, columns, host_codes.data(), host_scales.data(), host_zeros.data());
  }

 private:
  cuda::DeviceBuffer<char> workspace_;
  CudaBackend backend_;
};

}  // namespace qat::inline v0::recipe
