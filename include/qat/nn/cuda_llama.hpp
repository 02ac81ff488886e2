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
#include "qat/kernels/cuda/sum_rows.hpp"
#include "qat/nn/cuda_llama_options.hpp"
#include "qat/nn/llama_config.hpp"
#include "qat/ops/rope.hpp"

namespace qat::inline v0::nn {

/// Weights are fp32 masters with a bfloat16 copy, which is what products read; under a scheme the copy is the
/// fake-quantized master, rewritten by the optimizer's own pass. Activations are bfloat16, sums and gradients of
/// weights fp32. Inputs of linear layers are fake-quantized by the pass that computes them: only attention's output
/// takes one of its own.
///
/// Backward passes use the fake-quantized values exactly, as on the CPU. A step has the same bits from run to run,
/// waits for nothing and allocates nothing, so it can be captured in a CUDA graph.
///
/// Without options.trains it has the bfloat16 copies alone and scores: weights are set as they are multiplied, rounded.
class CudaLlama {
 public:
  /// @throws qat::Error naming what is not accepted, or that the device's memory does not suffice
  CudaLlama(const CudaBackend& backend, const LlamaConfig& config, const CudaLlamaOptions& options)
      : backend_(backend), config_(config), options_(options), capacity_(capacity(options)), weights_(options) {
    QAT_CHECK(options.batch >= 1 && options.length >= 1 && options.length <= config.max_seq_len, kInvalidArgument,
              "CudaLlama: batch is ", options.batch, ", length ", options.length,
              "; accepted: at least 1, length up to max_seq_len, ", config.max_seq_len);
    check_model(config, options.longest > options.length ? options.longest : options.length);
    QAT_CHECK(options.longest <= config.max_seq_len, kInvalidArgument, "CudaLlama: longest is ", options.longest,
              "; accepted: up to max_seq_len, ", config.max_seq_len);
    make_weights();
    make_activations();
    weights_.finish(backend_);
    const std::size_t needed = workspace_bytes(config, options), step = weights_.workspace_bytes();
    cuda::check_workspace(backend_, "CudaLlama", needed > step ? needed : step);
  }

  /// longest: tokens of a sequence
  /// @throws qat::Error (kUnsupported) for a model that is not trained or scored here, saying what is
  static void check_model(const LlamaConfig& c, index_t longest) {
    const char* const foreign = foreign_part(c);
    QAT_CHECK(foreign == nullptr, kUnsupported, "CudaLlama: the model has ", foreign,
              "; accepted: what Llama has, with or without biases, as Llama, Mistral, SmolLM, Qwen2");
    QAT_CHECK(c.window == 0 || longest <= c.window, kUnsupported, "CudaLlama: a sequence has ", longest,
              " tokens, the model's attention a window of ", c.window, "; accepted: sequences within the window");
    QAT_CHECK(c.dim % 8 == 0 && c.hidden_dim % 8 == 0 && c.head_dim % 8 == 0 && c.head_dim <= 128, kUnsupported,
              "CudaLlama: dim is ", c.dim, ", hidden_dim ", c.hidden_dim, ", head_dim ", c.head_dim,
              "; accepted: multiples of 8, head_dim up to 128");
  }

  const LlamaConfig& config() const { return config_; }
  const CudaBackend& backend() const { return backend_; }
  /// Where the next launches go. The workspace must be as large as the one of construction.
  void set_backend(const CudaBackend& backend) { backend_ = backend; }
  CudaWeights& weights() { return weights_; }

  /// Whether layers with a scheme are fake-quantized (at first) or in floating point. Waits for the device where that
  /// changes.
  void set_fake_quantization(bool on) {
    weights_.set_fake_quantization(backend_, on);
    fake_quantized_ = on;
  }
  bool fake_quantized() const { return fake_quantized_; }

  /// Forward and backward: the mean loss, and its gradients. tokens, targets: (batch * length) in device memory.
  void backward(const std::int32_t* tokens, const std::int32_t* targets) {
    const index_t count = options_.batch * options_.length;
    backward(tokens, targets, {options_.batch, options_.length, 1.0f / static_cast<float>(count)});
  }
  /// The same for some sequences. Targets of ops::kIgnoreIndex do not count: tokens behind the end of a sequence, say.
  void backward(const std::int32_t* tokens, const std::int32_t* targets, const CudaLlamaPass& pass) {
    QAT_CHECK(options_.trains, kInvalidArgument, "CudaLlama: was made to score, not to train");
    QAT_CHECK(pass.batch >= 1 && pass.batch <= options_.batch && pass.length >= 1 && pass.length <= options_.length,
              kInvalidArgument, "CudaLlama: a pass of ", pass.batch, " sequences of ", pass.length,
              " tokens; accepted: up to ", options_.batch, " of ", options_.length);
    accumulate_ = pass.accumulate;
    forward(tokens, pass.batch, pass.length);
    cuda::CrossEntropyArgs<bfloat16> loss = loss_of(targets);
    loss.dlogits = logits_.data();
    loss.factor = pass.factor;
    loss.total = total_.data();
    cuda::cross_entropy(backend_, loss);

    gemm_backward(logits_.data(), head_, normed_.y.data(), dnormed_.data());
    norm_backward(normed_, weights_[final_norm_], dnormed_.data(), false);
    for (index_t n = config_.n_layers - 1; n >= 0; --n) block_backward(n);
    cuda::embedding_backward<bfloat16>(backend_, tokens, tokens_, dstream_.data(), config_.vocab_size, config_.dim,
                                       weights_[embedding_].gradient.data(), config_.tied || accumulate_);
  }

  /// Mean loss of the rows of the last backward(). Waits for the device.
  float loss() const { return loss_sum() / static_cast<float>(tokens_); }
  /// And their sum.
  float loss_sum() const {
    float total = 0.0f;
    total_.read(backend_, &total);
    return total;
  }
  /// Forward alone. losses: (batch * length) in host memory, the nats of each target, 0 for those that do not count.
  void score(const std::int32_t* tokens, const std::int32_t* targets, index_t batch, index_t length, float* losses) {
    const index_t longest = options_.longest > 0 ? options_.longest : options_.length;
    QAT_CHECK(batch >= 1 && length >= 1 && length <= longest && batch * length <= capacity_, kInvalidArgument,
              "CudaLlama: ", batch, " sequences of ", length, " tokens to score; accepted: up to ", longest, " each, ",
              capacity_, " together");
    forward(tokens, batch, length);
    cuda::cross_entropy(backend_, loss_of(targets));
    cuda::device_copy(backend_, losses, losses_.data(), static_cast<std::size_t>(tokens_) * sizeof(float));
  }
  /// Tokens that a pass has room for.
  index_t capacity() const { return capacity_; }
  /// Workspace that the backend of a model must have; products like 32 MiB.
  static std::size_t workspace_bytes(const LlamaConfig& c, const CudaLlamaOptions& o) {
    const index_t tokens = capacity(o);
    std::size_t bytes = std::size_t{32} << 20;
    const auto at_least = [&bytes](std::size_t needed) { bytes = needed > bytes ? needed : bytes; };
    if (!o.trains) return bytes;
    at_least(cuda::embedding_backward_bytes(c.vocab_size, tokens));
    at_least(cuda::rmsnorm_backward_bytes<bfloat16>(tokens, c.dim));
    at_least(cuda::sum_rows_bytes(tokens, 2 * c.hidden_dim + (c.n_heads + 2 * c.n_kv_heads) * c.head_dim + c.dim));
    at_least(cuda::attention_backward_workspace(
        cuda::attention_extents(o.batch, o.length, o.length, c.n_heads, c.n_kv_heads, c.head_dim)));
    return bytes;
  }

 private:
  static index_t capacity(const CudaLlamaOptions& o) {
    return o.batch * o.length > o.longest ? o.batch * o.length : o.longest;
  }
  /// What a model has that is not trained here, or null.
  static const char* foreign_part(const LlamaConfig& c) {
    if (c.norm == NormKind::kLayerNorm) return "layer norms (GPT-2)";
    if (c.norm == NormKind::kRmsPlusOne) return "norms with weights beside 1 (Gemma)";
    if (c.qk_norm) return "normalized heads (Qwen3)";
    LlamaConfig plain = c;
    plain.window = 0;
    plain.qkv_bias = plain.out_bias = plain.mlp_bias = false;
    return has_llama_form(plain) ? nullptr : "another activation, scaled embeddings or learned positions";
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
    NormedInput attention_input, mlp_input;
    Input attention_output, activated;
    cuda::DeviceBuffer<bfloat16> heads, attended, gate_and_up;  // (tokens, qkv), (tokens, q), (tokens, 2 hidden)
    cuda::DeviceBuffer<float> log_sum_exp;
  };

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
  // y = x w^T + bias
  void gemm_forward(const bfloat16* x, const Linear& layer, bfloat16* y) const {
    const CudaWeight& w = weights_[layer.weight];
    cuda::GemmArgs<bfloat16> g;
    g.m = tokens_, g.n = w.rows, g.k = w.columns;
    g.a = x;
    g.b = w.copy.data();
    g.transpose_b = true;
    g.y = y;
    if (layer.bias) g.bias = weights_[*layer.bias].copy.data();
    cuda::gemm(backend_, blas_, g);
  }
  // dw = dy^T x, dbias = the sum of dy's rows, dx = dy w
  void gemm_backward(const bfloat16* dy, const Linear& layer, const bfloat16* x, bfloat16* dx) const {
    const CudaWeight& w = weights_[layer.weight];
    if (layer.bias) cuda::sum_rows(backend_, dy, tokens_, w.rows, weights_[*layer.bias].gradient.data(), accumulate_);
    cuda::GemmArgs<float> dw;
    dw.m = w.rows, dw.n = w.columns, dw.k = tokens_;
    dw.a = dy;
    dw.transpose_a = true;
    dw.b = x;
    dw.y = w.gradient.data();
    dw.beta = accumulate_ ? 1.0f : 0.0f;
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
    a.output = quantized_output(out);
    cuda::rmsnorm(backend_, a);
  }
  /// The scheme of an input as the pass has it, or null.
  const QuantSpec* spec_of(const Input& input) const { return fake_quantized_ && input.spec ? &*input.spec : nullptr; }
  cuda::QuantizedOutput<bfloat16> quantized_output(Input& out) const {
    cuda::QuantizedOutput<bfloat16> o;
    o.y = out.y.data();
    o.spec = spec_of(out);
    if (o.spec == nullptr) return o;
    o.scale = out.scale.data();
    o.zero_point = out.zero_point.data();
    o.mask = options_.mask;
    return o;
  }
  cuda::QuantizedInput quantized_input(const Input& in) const {
    cuda::QuantizedInput q;
    q.spec = spec_of(in);
    if (q.spec == nullptr) return q;
    q.scale = in.scale.data();
    q.zero_point = in.zero_point.data();
    q.mask = options_.mask;
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
    a.accumulate_dweight = accumulate_;
    a.quantized = quantized_input(in);
    cuda::rmsnorm_backward(backend_, a);
  }

  /// What the forward and the backward pass of attention read: queries, keys and values in one matrix of rows.
  template <class Args>
  void set_attention(const Block& b, Args& a) const {
    a.extents =
        cuda::attention_extents(batch_, length_, length_, config_.n_heads, config_.n_kv_heads, config_.head_dim);
    a.extents.q_stride = a.extents.kv_stride = qkv_width();
    a.extents.q_batch_stride = a.extents.kv_batch_stride = length_ * qkv_width();
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
    a.sequence = length_;
    a.backward = back;
    cuda::rope(backend_, a);
  }

  /// Up to the logits.
  void forward(const std::int32_t* tokens, index_t batch, index_t length) {
    batch_ = batch;
    length_ = length;
    tokens_ = batch * length;
    bfloat16* const first = (config_.n_layers > 0 ? blocks_[0].attention_input : normed_).stream.data();
    cuda::embedding(backend_, weights_[embedding_].copy.data(), config_.vocab_size, config_.dim, tokens, tokens_,
                    first);
    const bfloat16 *x = first, *residual = nullptr;
    for (Block& b : blocks_) {
      norm_forward(x, residual, weights_[b.input_norm], b.attention_input);
      gemm_forward(b.attention_input.y.data(), b.qkv, b.heads.data());
      turn(b.heads.data(), false);
      cuda::AttentionArgs<bfloat16> a;
      set_attention(b, a);
      cuda::attention(backend_, a);
      if (const QuantSpec* const spec = spec_of(b.attention_output))
        cuda::fake_quantize_dynamic<bfloat16>(backend_, *spec, b.attended.data(), tokens_, q_width(),
                                              b.attention_output.y.data(), b.attention_output.scale.data(),
                                              b.attention_output.zero_point.data());
      gemm_forward(attended_of(b), b.out, branch_.data());
      norm_forward(branch_.data(), b.attention_input.stream.data(), weights_[b.post_norm], b.mlp_input);
      gemm_forward(b.mlp_input.y.data(), b.gate_up, b.gate_and_up.data());
      cuda::ActivationArgs<bfloat16> act;
      set_activation(b, act);
      act.output = quantized_output(b.activated);
      cuda::activation(backend_, act);
      gemm_forward(b.activated.y.data(), b.down, branch_.data());
      x = branch_.data();
      residual = b.mlp_input.stream.data();
    }
    norm_forward(x, residual, weights_[final_norm_], normed_);
    gemm_forward(normed_.y.data(), head_, logits_.data());
  }
  cuda::CrossEntropyArgs<bfloat16> loss_of(const std::int32_t* targets) const {
    cuda::CrossEntropyArgs<bfloat16> loss;
    loss.logits = logits_.data();
    loss.targets = targets;
    loss.rows = tokens_;
    loss.columns = config_.vocab_size;
    loss.losses = losses_.data();
    return loss;
  }
  const bfloat16* attended_of(const Block& b) const {
    return spec_of(b.attention_output) != nullptr ? b.attention_output.y.data() : b.attended.data();
  }

  void block_backward(index_t n) {
    Block& b = blocks_[static_cast<std::size_t>(n)];
    gemm_backward(dstream_.data(), b.down, b.activated.y.data(), dactivated_.data());
    cuda::ActivationBackwardArgs<bfloat16> act;
    set_activation(b, act);
    act.dgate = b.gate_and_up.data();
    act.dup = act.dgate + config_.hidden_dim;
    act.dy = dactivated_.data();
    act.quantized = quantized_input(b.activated);
    cuda::activation_backward(backend_, act);
    gemm_backward(b.gate_and_up.data(), b.gate_up, b.mlp_input.y.data(), dnormed_.data());
    norm_backward(b.mlp_input, weights_[b.post_norm], dnormed_.data(), true);

    gemm_backward(dstream_.data(), b.out, attended_of(b), dattended_.data());
    if (const QuantSpec* const spec = spec_of(b.attention_output))
      cuda::fake_quantize_backward<bfloat16>(backend_, *spec, dattended_.data(), b.attended.data(), tokens_, q_width(),
                                             b.attention_output.scale.data(), b.attention_output.zero_point.data(),
                                             options_.mask, dattended_.data());
    cuda::AttentionBackwardArgs<bfloat16> a;
    set_attention(b, a);
    a.dout = dattended_.data();
    a.dq = dheads_.data();
    a.dk = a.dq + q_width();
    a.dv = a.dk + kv_width();
    cuda::attention_backward(backend_, a);
    turn(dheads_.data(), true);
    gemm_backward(dheads_.data(), b.qkv, b.attention_input.y.data(), dnormed_.data());
    norm_backward(b.attention_input, weights_[b.input_norm], dnormed_.data(), true);
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

}  // namespace qat::inline v0::nn
