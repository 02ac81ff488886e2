// What CudaLlama keeps on the GPU: weights, and buffers for everything between the passes of a step.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qat/kernels/cuda/gemm.hpp"
#include "qat/nn/cuda_llama_options.hpp"
#include "qat/ops/rope.hpp"

namespace qat::inline v0::nn::detail {

/// Laid out once, for the largest pass that the options allow.
class CudaLlamaMemory {
 protected:
  CudaLlamaMemory(const CudaBackend& backend, const LlamaConfig& config, const CudaLlamaOptions& options)
      : backend_(backend), config_(config), options_(options), capacity_(most_tokens(options)), weights_(options) {
    QAT_CHECK(options.batch >= 1 && options.length >= 1 && options.length <= config.max_seq_len, kInvalidArgument,
              "CudaLlama: batch is ", options.batch, ", length ", options.length,
              "; accepted: at least 1, length up to max_seq_len, ", config.max_seq_len);
    check_cuda_model(config, options.longest > options.length ? options.longest : options.length);
    QAT_CHECK(options.longest <= config.max_seq_len, kInvalidArgument, "CudaLlama: longest is ", options.longest,
              "; accepted: up to max_seq_len, ", config.max_seq_len);
    make_weights();
    make_activations();
    weights_.finish(backend_);
  }
  static index_t most_tokens(const CudaLlamaOptions& o) {
    return o.batch * o.length > o.longest ? o.batch * o.length : o.longest;
  }

  /// The input of a linear layer, with what its backward pass needs of its quantization.
  struct Input {
    std::optional<QuantSpec> spec;
    cuda::DeviceBuffer<bfloat16> y;
    cuda::DeviceBuffer<float> scale, zero_point;
  };
  /// A norm with its input: the residual stream where it stands.
  struct NormedInput : Input {
    cuda::DeviceBuffer<bfloat16> stream;
    cuda::DeviceBuffer<float> inv_rms;
  };
  /// Places in weights_; the bias where there is one.
  struct Linear {
    std::size_t weight = 0;
    std::optional<std::size_t> bias = std::nullopt;
  };
  struct Block {
    std::size_t input_norm, post_norm;
    Linear qkv, out, gate_up, down;
    std::size_t q_norm = 0, k_norm = 0;
    NormedInput attention_input, mlp_input;
    Input attention_output, activated;
    cuda::DeviceBuffer<bfloat16> heads, attended, gate_and_up;  // (tokens, qkv), (tokens, q), (tokens, 2 hidden)
    cuda::DeviceBuffer<float> log_sum_exp;
    cuda::DeviceBuffer<bfloat16> raw;  // with normalized heads: queries and keys before
    cuda::DeviceBuffer<float> q_inv_rms, k_inv_rms;
  };
  /// Queries, keys and values: columns of one matrix; where heads are normalized, three matrices, whose rows are heads.
  struct Heads {
    bfloat16 *q, *k, *v;
    index_t q_stride, kv_stride;  // from token to token
  };
  Heads heads_in(bfloat16* p) const {
    const index_t q = q_width(), kv = kv_width();
    if (!config_.qk_norm) return {p, p + q, p + q + kv, qkv_width(), qkv_width()};
    return {p, p + tokens_ * q, p + tokens_ * (q + kv), q, kv};
  }

  index_t q_width() const { return config_.n_heads * config_.head_dim; }
  index_t kv_width() const { return config_.n_kv_heads * config_.head_dim; }
  index_t qkv_width() const { return q_width() + 2 * kv_width(); }

  /// The scheme of layers that read one input and are multiplied as one.
  LayerScheme scheme_of(const std::vector<std::string>& layers, bool of_block = true) const {
    LayerScheme common;
    if (options_.schemes.empty()) {
      if (of_block) common = {options_.weight, options_.activation};
      return common;
    }
    for (const std::string& layer : layers) {
      const auto at = options_.schemes.find(layer);
      const LayerScheme scheme = at == options_.schemes.end() ? LayerScheme{} : at->second;
      QAT_CHECK(&layer == &layers[0] || scheme == common, kUnsupported, "CudaLlama: ", layers[0], " has the scheme ",
                to_string(common), ", ", layer, " has ", to_string(scheme),
                "; accepted: one scheme for layers that read the same input");
      common = scheme;
    }
    return common;
  }
  /// Adds layers as rows of one weight, and gives their input its scheme.
  Linear add_linear(const std::vector<std::string>& layers, const std::vector<index_t>& rows, index_t columns,
                    Input& input, bool biased, bool of_block = true) {
    const LayerScheme scheme = scheme_of(layers, of_block);
    input.spec = scheme.activation;
    const auto names_of = [&layers](const char* what) {
      std::vector<std::string> names;
      for (const std::string& layer : layers) names.push_back(layer + what);
      return names;
    };
    Linear added{weights_.add(names_of(".weight"), rows, columns, scheme.weight)};
    if (biased) added.bias = weights_.add(names_of(".bias"), rows, 1);
    return added;
  }
  void make_weights() {
    const LlamaConfig& c = config_;
    const LayerScheme table = scheme_of({"model.embed_tokens"}, false), head = scheme_of({"lm_head"}, false);
    QAT_CHECK(!c.tied || table.weight == head.weight, kUnsupported, "CudaLlama: model.embed_tokens has the scheme ",
              to_string(table), ", lm_head, which shares its weight, ", to_string(head),
              "; accepted: one weight scheme for both");
    QAT_CHECK(!c.tied || !table.weight || !options_.learn_scales, kUnsupported,
              "CudaLlama: model.embed_tokens and lm_head share a weight, and each would learn scales of its own; "
              "accepted: no scheme for them, or scales that are not learned");
    embedding_ = weights_.add({"model.embed_tokens.weight"}, {c.vocab_size}, c.dim, table.weight);
    for (index_t n = 0; n < c.n_layers; ++n) {
      const std::string name = "model.layers." + std::to_string(n);
      const std::string attention = name + ".self_attn.", mlp = name + ".mlp.";
      Block b;
      b.input_norm = weights_.add({name + ".input_layernorm.weight"}, {1}, c.dim);
      b.qkv = add_linear({attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                         {q_width(), kv_width(), kv_width()}, c.dim, b.attention_input, c.qkv_bias);
      b.out = add_linear({attention + "o_proj"}, {c.dim}, q_width(), b.attention_output, c.out_bias);
      if (c.qk_norm) {
        b.q_norm = weights_.add({attention + "q_norm.weight"}, {1}, c.head_dim);
        b.k_norm = weights_.add({attention + "k_norm.weight"}, {1}, c.head_dim);
      }
      b.post_norm = weights_.add({name + ".post_attention_layernorm.weight"}, {1}, c.dim);
      b.gate_up = add_linear({mlp + "gate_proj", mlp + "up_proj"}, {c.hidden_dim, c.hidden_dim}, c.dim, b.mlp_input,
                             c.mlp_bias);
      b.down = add_linear({mlp + "down_proj"}, {c.dim}, c.hidden_dim, b.activated, c.mlp_bias);
      blocks_.push_back(std::move(b));
    }
    final_norm_ = weights_.add({"model.norm.weight"}, {1}, c.dim);
    normed_.spec = head.activation;
    head_ = c.tied ? Linear{embedding_} : add_linear({"lm_head"}, {c.vocab_size}, c.dim, normed_, false, false);
  }

  cuda::DeviceBuffer<bfloat16> rows_of(index_t columns) const {
    return cuda::DeviceBuffer<bfloat16>(capacity_ * columns);
  }
  void make_input(Input& input, index_t columns) const {
    input.y = rows_of(columns);
    if (!input.spec) return;
    const index_t tiles = group_layout(input.spec->granularity, capacity_, columns).count();
    input.scale = cuda::DeviceBuffer<float>(tiles);
    input.zero_point = cuda::DeviceBuffer<float>(tiles);
  }
  void make_normed(NormedInput& input) const {
    make_input(input, config_.dim);
    input.stream = rows_of(config_.dim);
    input.inv_rms = cuda::DeviceBuffer<float>(capacity_);
  }
  void make_activations() {
    const LlamaConfig& c = config_;
    for (Block& b : blocks_) {
      make_normed(b.attention_input);
      make_normed(b.mlp_input);
      make_input(b.activated, c.hidden_dim);
      b.heads = rows_of(qkv_width());
      b.attended = rows_of(q_width());
      if (b.attention_output.spec) make_input(b.attention_output, q_width());
      b.gate_and_up = rows_of(2 * c.hidden_dim);
      b.log_sum_exp = cuda::DeviceBuffer<float>(capacity_ * c.n_heads);
      if (!c.qk_norm) continue;
      b.raw = rows_of(q_width() + kv_width());
      b.q_inv_rms = cuda::DeviceBuffer<float>(capacity_ * c.n_heads);
      b.k_inv_rms = cuda::DeviceBuffer<float>(capacity_ * c.n_kv_heads);
    }
    make_normed(normed_);
    branch_ = rows_of(c.dim);
    logits_ = rows_of(c.vocab_size);
    losses_ = cuda::DeviceBuffer<float>(capacity_);
    const index_t positions = options_.longest > options_.length ? options_.longest : options_.length;
    const ops::RopeTable rope = ops::rope_table(c.rope, c.head_dim, positions);
    cosine_ = cuda::DeviceBuffer<float>(backend_, rope.cosine.data(), rope.cosine.size());
    sine_ = cuda::DeviceBuffer<float>(backend_, rope.sine.data(), rope.sine.size());
    if (!options_.trains) return;
    dstream_ = rows_of(c.dim);
    dnormed_ = rows_of(c.dim);
    dattended_ = rows_of(q_width());
    dheads_ = rows_of(qkv_width());
    dactivated_ = rows_of(c.hidden_dim);
    total_ = cuda::DeviceBuffer<float>(1);
  }

  CudaBackend backend_;
  LlamaConfig config_;
  CudaLlamaOptions options_;
  index_t capacity_;                             // tokens that buffers have room for
  index_t batch_ = 0, length_ = 0, tokens_ = 0;  // of the pass
  bool fake_quantized_ = true, accumulate_ = false;
  CudaWeights weights_;
  cuda::Blas blas_;
  std::vector<Block> blocks_;
  std::size_t embedding_ = 0, final_norm_ = 0;
  Linear head_;
  NormedInput normed_;
  cuda::DeviceBuffer<bfloat16> branch_, dstream_, dnormed_, dattended_, dheads_, dactivated_, logits_;
  cuda::DeviceBuffer<float> losses_, total_, cosine_, sine_;
};

}  // namespace qat::inline v0::nn::detail
