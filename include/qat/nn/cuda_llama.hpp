// Training a Llama on one GPU: forward, backward and optimizer as launches over buffers laid out once.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qat/kernels/cuda/activation.hpp"
#include "qat/kernels/cuda/attention.hpp"
#include "qat/kernels/cuda/cross_entropy.hpp"
#include "qat/kernels/cuda/embedding.hpp"
#include "qat/kernels/cuda/fake_quantize.hpp"
#include "qat/kernels/cuda/gemm.hpp"
#include "qat/kernels/cuda/rmsnorm.hpp"
#include "qat/kernels/cuda/rope.hpp"
#include "qat/nn/cuda_weights.hpp"
#include "qat/nn/llama_config.hpp"
#include "qat/ops/rope.hpp"

namespace qat::inline v0::nn {

/// What a step of CudaLlama works on and how.
struct CudaLlamaOptions : CudaOptimizerOptions {  // its scheme is that of the linear layers; not of embedding and head
  index_t batch = 1, length = 1;                  ///< sequences, tokens of each
  /// Scheme of the inputs of linear layers: rows of one scale, as int8:token:asymmetric.
  std::optional<QuantSpec> activation;
};

/// Weights are fp32 masters with a bfloat16 copy, which is what products read; under a scheme the copy is the
/// fake-quantized master, rewritten by the optimizer's own pass. Activations are bfloat16, sums and gradients of
/// weights fp32. Inputs of linear layers are fake-quantized by the pass that computes them: only attention's output
/// takes one of its own.
///
/// Backward passes use the fake-quantized values exactly, as on the CPU. A step has the same bits from run to run,
/// waits for nothing and allocates nothing, so it can be captured in a CUDA graph (factors() then changes the learning
/// rate).
class CudaLlama {
 public:
  /// @throws qat::Error naming what is not accepted, or that the device's memory does not suffice
  CudaLlama(const CudaBackend& backend, const LlamaConfig& config, const CudaLlamaOptions& options)
      : backend_(backend),
        config_(config),
        options_(options),
        tokens_(options.batch * options.length),
        weights_(options) {
    QAT_CHECK(options.batch >= 1 && options.length >= 1 && options.length <= config.max_seq_len, kInvalidArgument,
              "CudaLlama: batch is ", options.batch, ", length ", options.length,
              "; accepted: at least 1, length up to max_seq_len, ", config.max_seq_len);
    QAT_CHECK(has_llama_form(config), kUnsupported,
              "CudaLlama: the model has biases, windows, normalized heads, learned positions, or other norms or "
              "activations; accepted: Llama");
    QAT_CHECK(config.dim % 8 == 0 && config.hidden_dim % 8 == 0 && config.head_dim % 8 == 0, kUnsupported,
              "CudaLlama: dim is ", config.dim, ", hidden_dim ", config.hidden_dim, ", head_dim ", config.head_dim,
              "; accepted: multiples of 8");
    make_weights();
    make_activations();
    weights_.finish(backend_);
    const std::size_t needed = workspace_bytes(config, options), step = weights_.workspace_bytes();
    cuda::check_workspace(backend_, "CudaLlama", needed > step ? needed : step);
  }

  const LlamaConfig& config() const { return config_; }
  const CudaBackend& backend() const { return backend_; }
  /// Where the next launches go. The workspace must be as large as the one of construction.
  void set_backend(const CudaBackend& backend) { backend_ = backend; }
  CudaWeights& weights() { return weights_; }

  /// Forward and backward: the mean loss, and its gradients. tokens, targets: (batch * length) in device memory.
  void backward(const std::int32_t* tokens, const std::int32_t* targets) {
    forward(tokens);
    const CudaWeight& head = weights_[head_];
    gemm_forward(normed_.y.data(), head, logits_.data());
    cuda::CrossEntropyArgs<bfloat16> loss;
    loss.logits = loss.dlogits = logits_.data();
    loss.targets = targets;
    loss.rows = tokens_;
    loss.columns = config_.vocab_size;
    loss.factor = 1.0f / static_cast<float>(tokens_);
    loss.losses = losses_.data();
    loss.total = total_.data();
    cuda::cross_entropy(backend_, loss);

    gemm_backward(logits_.data(), head, normed_.y.data(), dnormed_.data());
    norm_backward(normed_, weights_[final_norm_], dnormed_.data(), false);
    for (index_t n = config_.n_layers - 1; n >= 0; --n) block_backward(n);
    cuda::embedding_backward<bfloat16>(backend_, tokens, tokens_, dstream_.data(), config_.vocab_size, config_.dim,
                                       weights_[embedding_].gradient.data(), config_.tied);
  }

  /// Mean loss of the last backward(). Waits for the device.
  float loss() const {
    float total = 0.0f;
    total_.read(backend_, &total);
    return total / static_cast<float>(tokens_);
  }
  /// Workspace that the backend of a model must have; products like 32 MiB.
  static std::size_t workspace_bytes(const LlamaConfig& c, const CudaLlamaOptions& o) {
    const index_t tokens = o.batch * o.length;
    std::size_t bytes = std::size_t{32} << 20;
    const auto at_least = [&bytes](std::size_t needed) { bytes = needed > bytes ? needed : bytes; };
    at_least(cuda::embedding_backward_bytes(c.vocab_size, tokens));
    at_least(cuda::rmsnorm_backward_bytes<bfloat16>(tokens, c.dim));
    at_least(cuda::attention_backward_workspace(
        cuda::attention_extents(o.batch, o.length, o.length, c.n_heads, c.n_kv_heads, c.head_dim)));
    return bytes;
  }

 private:
  /// The input of a linear layer, with what its backward pass needs of its quantization.
  struct Input {
    cuda::DeviceBuffer<bfloat16> y;
    cuda::DeviceBuffer<float> scale, zero_point;
  };
  /// A norm with its input: the residual stream where it stands.
  struct NormedInput : Input {
    cuda::DeviceBuffer<bfloat16> stream;
    cuda::DeviceBuffer<float> inv_rms;
    bool quantized = false;
  };
  struct Block {
    std::size_t input_norm, qkv, out, post_norm, gate_up, down;  // in weights_
    NormedInput attention_input, mlp_input;
    Input attention_output, activated;
    cuda::DeviceBuffer<bfloat16> heads, attended, gate_and_up;  // (tokens, qkv), (tokens, q), (tokens, 2 hidden)
    cuda::DeviceBuffer<float> log_sum_exp;
  };

  index_t q_width() const { return config_.n_heads * config_.head_dim; }
  index_t kv_width() const { return config_.n_kv_heads * config_.head_dim; }
  index_t qkv_width() const { return q_width() + 2 * kv_width(); }
  const QuantSpec* activation_spec() const { return options_.activation ? &*options_.activation : nullptr; }

  void make_weights() {
    const LlamaConfig& c = config_;
    embedding_ = weights_.add({"model.embed_tokens.weight"}, {c.vocab_size}, c.dim, false);
    for (index_t n = 0; n < c.n_layers; ++n) {
      const std::string name = "model.layers." + std::to_string(n);
      const std::string attention = name + ".self_attn.", mlp = name + ".mlp.";
      Block b;
      b.input_norm = weights_.add({name + ".input_layernorm.weight"}, {1}, c.dim, false);
      b.qkv = weights_.add({attention + "q_proj.weight", attention + "k_proj.weight", attention + "v_proj.weight"},
                           {q_width(), kv_width(), kv_width()}, c.dim, true);
      b.out = weights_.add({attention + "o_proj.weight"}, {c.dim}, q_width(), true);
      b.post_norm = weights_.add({name + ".post_attention_layernorm.weight"}, {1}, c.dim, false);
      b.gate_up =
          weights_.add({mlp + "gate_proj.weight", mlp + "up_proj.weight"}, {c.hidden_dim, c.hidden_dim}, c.dim, true);
      b.down = weights_.add({mlp + "down_proj.weight"}, {c.dim}, c.hidden_dim, true);
      blocks_.push_back(std::move(b));
    }
    final_norm_ = weights_.add({"model.norm.weight"}, {1}, c.dim, false);
    head_ = c.tied ? embedding_ : weights_.add({"lm_head.weight"}, {c.vocab_size}, c.dim, false);
  }

  cuda::DeviceBuffer<bfloat16> rows_of(index_t columns) const {
    return cuda::DeviceBuffer<bfloat16>(tokens_ * columns);
  }
  void make_input(Input& input, index_t columns) const {
    input.y = rows_of(columns);
    if (!options_.activation) return;
    const index_t tiles = group_layout(options_.activation->granularity, tokens_, columns).count();
    input.scale = cuda::DeviceBuffer<float>(tiles);
    input.zero_point = cuda::DeviceBuffer<float>(tiles);
  }
  void make_normed(NormedInput& input, bool quantized) const {
    make_input(input, config_.dim);
    input.stream = rows_of(config_.dim);
    input.inv_rms = cuda::DeviceBuffer<float>(tokens_);
    input.quantized = quantized;
  }
  void make_activations() {
    const LlamaConfig& c = config_;
    for (Block& b : blocks_) {
      make_normed(b.attention_input, true);
      make_normed(b.mlp_input, true);
      make_input(b.activated, c.hidden_dim);
      b.heads = rows_of(qkv_width());
      b.attended = rows_of(q_width());
      if (options_.activation) make_input(b.attention_output, q_width());
      b.gate_and_up = rows_of(2 * c.hidden_dim);
      b.log_sum_exp = cuda::DeviceBuffer<float>(tokens_ * c.n_heads);
    }
    make_normed(normed_, false);
    branch_ = rows_of(c.dim);
    dstream_ = rows_of(c.dim);
    dnormed_ = rows_of(c.dim);
    dattended_ = rows_of(q_width());
    dheads_ = rows_of(qkv_width());
    dactivated_ = rows_of(c.hidden_dim);
    logits_ = rows_of(c.vocab_size);
    losses_ = cuda::DeviceBuffer<float>(tokens_);
    total_ = cuda::DeviceBuffer<float>(1);
    const ops::RopeTable rope = ops::rope_table(c.rope, c.head_dim, options_.length);
    cosine_ = cuda::DeviceBuffer<float>(backend_, rope.cosine.data(), rope.cosine.size());
    sine_ = cuda::DeviceBuffer<float>(backend_, rope.sine.data(), rope.sine.size());
  }
  // y = x w^T
  void gemm_forward(const bfloat16* x, const CudaWeight& w, bfloat16* y) const {
    cuda::GemmArgs<bfloat16> g;
    g.m = tokens_, g.n = w.rows, g.k = w.columns;
    g.a = x;
    g.b = w.copy.data();
    g.transpose_b = true;
    g.y = y;
    cuda::gemm(backend_, blas_, g);
  }
  // dw = dy^T x, dx = dy w
  void gemm_backward(const bfloat16* dy, const CudaWeight& w, const bfloat16* x, bfloat16* dx) const {
    cuda::GemmArgs<float> dw;
    dw.m = w.rows, dw.n = w.columns, dw.k = tokens_;
    dw.a = dy;
    dw.transpose_a = true;
    dw.b = x;
    dw.y = w.gradient.data();
    cuda::gemm(backend_, blas_, dw);
    cuda::GemmArgs<bfloat16> g;
    g.m = tokens_, g.n = w.columns, g.k = w.rows;
    g.a = dy;
    g.b = w.copy.data();
    g.y = dx;
    cuda::gemm(backend_, blas_, g);
  }

  // out.stream = x + residual (or x), out.y = norm of it, fake-quantized where it feeds a prepared layer
  void norm_forward(const bfloat16* x, const bfloat16* residual, const CudaWeight& w, NormedInput& out) const {
    cuda::RmsNormArgs<bfloat16> a;
    a.x = x;
    a.residual = residual;
    a.sum = residual != nullptr ? out.stream.data() : nullptr;
    a.weight = w.value.data();
    a.eps = config_.norm_eps;
    a.rows = tokens_;
    a.columns = config_.dim;
    a.inv_rms = out.inv_rms.data();
    a.output = quantized_output(out, out.quantized);
    cuda::rmsnorm(backend_, a);
  }
  cuda::QuantizedOutput<bfloat16> quantized_output(Input& out, bool quantized) const {
    cuda::QuantizedOutput<bfloat16> o;
    o.y = out.y.data();
    if (quantized && options_.activation) {
      o.spec = activation_spec();
      o.scale = out.scale.data();
      o.zero_point = out.zero_point.data();
    }
    return o;
  }
  cuda::QuantizedInput quantized_input(const Input& in, bool quantized) const {
    cuda::QuantizedInput q;
    if (quantized && options_.activation) {
      q.spec = activation_spec();
      q.scale = in.scale.data();
      q.zero_point = in.zero_point.data();
    }
    return q;
  }
  // dstream (+)= gradient of the norm's input, for dy of its output
  void norm_backward(const NormedInput& in, const CudaWeight& w, const bfloat16* dy, bool accumulate) {
    cuda::RmsNormBackwardArgs<bfloat16> a;
    a.x = in.stream.data();
    a.weight = w.value.data();
    a.inv_rms = in.inv_rms.data();
    a.dy = dy;
    a.rows = tokens_;
    a.columns = config_.dim;
    a.dx = dstream_.data();
    a.accumulate_dx = accumulate;
    a.dweight = w.gradient.data();
    a.quantized = quantized_input(in, in.quantized);
    cuda::rmsnorm_backward(backend_, a);
  }

  /// What the forward and the backward pass of attention read: queries, keys and values in one matrix of rows.
  template <class Args>
  void set_attention(const Block& b, Args& a) const {
    a.extents = cuda::attention_extents(options_.batch, options_.length, options_.length, config_.n_heads,
                                        config_.n_kv_heads, config_.head_dim);
    a.extents.q_stride = a.extents.kv_stride = qkv_width();
    a.extents.q_batch_stride = a.extents.kv_batch_stride = options_.length * qkv_width();
    a.q = b.heads.data();
    a.k = a.q + q_width();
    a.v = a.k + kv_width();
    a.out = b.attended.data();
    a.log_sum_exp = b.log_sum_exp.data();
  }
  template <class Args>
  void set_activation(const Block& b, Args& a) const {
    a.gate = b.gate_and_up.data();
    a.up = a.gate + config_.hidden_dim;
    a.rows = tokens_;
    a.columns = config_.hidden_dim;
    a.gate_stride = a.up_stride = 2 * config_.hidden_dim;
  }
  void turn(bfloat16* heads, bool back) const {
    cuda::RopeArgs<bfloat16> a;
    a.x = a.y = heads;
    a.cosine = cosine_.data();
    a.sine = sine_.data();
    a.tokens = tokens_;
    a.heads = config_.n_heads + config_.n_kv_heads;
    a.head_dim = config_.head_dim;
    a.token_stride = qkv_width();
    a.sequence = options_.length;
    a.backward = back;
    cuda::rope(backend_, a);
  }

  void forward(const std::int32_t* tokens) {
    bfloat16* const first = (config_.n_layers > 0 ? blocks_[0].attention_input : normed_).stream.data();
    cuda::embedding(backend_, weights_[embedding_].copy.data(), config_.vocab_size, config_.dim, tokens, tokens_,
                    first);
    const bfloat16 *x = first, *residual = nullptr;
    for (Block& b : blocks_) {
      norm_forward(x, residual, weights_[b.input_norm], b.attention_input);
      gemm_forward(b.attention_input.y.data(), weights_[b.qkv], b.heads.data());
      turn(b.heads.data(), false);
      cuda::AttentionArgs<bfloat16> a;
      set_attention(b, a);
      cuda::attention(backend_, a);
      if (options_.activation)
        cuda::fake_quantize_dynamic<bfloat16>(backend_, *options_.activation, b.attended.data(), tokens_, q_width(),
                                              b.attention_output.y.data(), b.attention_output.scale.data(),
                                              b.attention_output.zero_point.data());
      gemm_forward(attended_of(b), weights_[b.out], branch_.data());
      norm_forward(branch_.data(), b.attention_input.stream.data(), weights_[b.post_norm], b.mlp_input);
      gemm_forward(b.mlp_input.y.data(), weights_[b.gate_up], b.gate_and_up.data());
      cuda::ActivationArgs<bfloat16> act;
      set_activation(b, act);
      act.output = quantized_output(b.activated, true);
      cuda::activation(backend_, act);
      gemm_forward(b.activated.y.data(), weights_[b.down], branch_.data());
      x = branch_.data();
      residual = b.mlp_input.stream.data();
    }
    norm_forward(x, residual, weights_[final_norm_], normed_);
  }
  const bfloat16* attended_of(const Block& b) const {
    return options_.activation ? b.attention_output.y.data() : b.attended.data();
  }

  void block_backward(index_t n) {
    Block& b = blocks_[static_cast<std::size_t>(n)];
    gemm_backward(dstream_.data(), weights_[b.down], b.activated.y.data(), dactivated_.data());
    cuda::ActivationBackwardArgs<bfloat16> act;
    set_activation(b, act);
    act.dgate = b.gate_and_up.data();
    act.dup = act.dgate + config_.hidden_dim;
    act.dy = dactivated_.data();
    act.quantized = quantized_input(b.activated, true);
    cuda::activation_backward(backend_, act);
    gemm_backward(b.gate_and_up.data(), weights_[b.gate_up], b.mlp_input.y.data(), dnormed_.data());
    norm_backward(b.mlp_input, weights_[b.post_norm], dnormed_.data(), true);

    gemm_backward(dstream_.data(), weights_[b.out], attended_of(b), dattended_.data());
    if (options_.activation)
      cuda::fake_quantize_backward<bfloat16>(backend_, *options_.activation, dattended_.data(), b.attended.data(),
                                             tokens_, q_width(), b.attention_output.scale.data(),
                                             b.attention_output.zero_point.data(), SteMask::kInclusive,
                                             dattended_.data());
    cuda::AttentionBackwardArgs<bfloat16> a;
    set_attention(b, a);
    a.dout = dattended_.data();
    a.dq = dheads_.data();
    a.dk = a.dq + q_width();
    a.dv = a.dk + kv_width();
    cuda::attention_backward(backend_, a);
    turn(dheads_.data(), true);
    gemm_backward(dheads_.data(), weights_[b.qkv], b.attention_input.y.data(), dnormed_.data());
    norm_backward(b.attention_input, weights_[b.input_norm], dnormed_.data(), true);
  }

  CudaBackend backend_;
  LlamaConfig config_;
  CudaLlamaOptions options_;
  index_t tokens_;
  CudaWeights weights_;
  cuda::Blas blas_;
  std::vector<Block> blocks_;
  std::size_t embedding_ = 0, head_ = 0, final_norm_ = 0;
  NormedInput normed_;
  cuda::DeviceBuffer<bfloat16> branch_, dstream_, dnormed_, dattended_, dheads_, dactivated_, logits_;
  cuda::DeviceBuffer<float> losses_, total_, cosine_, sine_;
};

}  // namespace qat::inline v0::nn
