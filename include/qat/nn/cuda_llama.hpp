// Training a Llama on one GPU: forward, backward and optimizer as launches over buffers laid out once.
#pragma once

#include "qat/kernels/cuda/activation.hpp"
#include "qat/kernels/cuda/attention.hpp"
#include "qat/kernels/cuda/cross_entropy.hpp"
#include "qat/kernels/cuda/embedding.hpp"
#include "qat/kernels/cuda/fake_quantize.hpp"
#include "qat/kernels/cuda/rmsnorm.hpp"
#include "qat/kernels/cuda/rope.hpp"
#include "qat/kernels/cuda/sum_rows.hpp"
#include "qat/nn/cuda_llama_memory.hpp"

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
class CudaLlama : private detail::CudaLlamaMemory {
 public:
  /// @throws qat::Error naming what is not accepted, or that the device's memory does not suffice
  CudaLlama(const CudaBackend& backend, const LlamaConfig& config, const CudaLlamaOptions& options)
      : CudaLlamaMemory(backend, config, options) {
    const std::size_t needed = workspace_bytes(config, options), step = weights_.workspace_bytes();
    cuda::check_workspace(backend_, "CudaLlama", needed > step ? needed : step);
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
    const index_t tokens = most_tokens(o);
    std::size_t bytes = std::size_t{32} << 20;
    const auto at_least = [&bytes](std::size_t needed) { bytes = needed > bytes ? needed : bytes; };
    if (!o.trains) return bytes;
    at_least(cuda::embedding_backward_bytes(c.vocab_size, tokens));
    at_least(cuda::rmsnorm_backward_bytes<bfloat16>(tokens, c.dim));
    if (c.qk_norm) at_least(cuda::rmsnorm_backward_bytes<bfloat16>(tokens * c.n_heads, c.head_dim));
    if (c.qk_norm) at_least(cuda::rmsnorm_backward_bytes<bfloat16>(tokens * c.n_kv_heads, c.head_dim));
    at_least(cuda::sum_rows_bytes(tokens, 2 * c.hidden_dim + (c.n_heads + 2 * c.n_kv_heads) * c.head_dim + c.dim));
    at_least(cuda::attention_backward_workspace(
        cuda::attention_extents(o.batch, o.length, o.length, c.n_heads, c.n_kv_heads, c.head_dim)));
    return bytes;
  }

 private:
  /// Rows of a weight.
  struct Rows {
    index_t first, count;
  };
  Rows all_rows(const Linear& layer) const { return {0, weights_[layer.weight].rows}; }
  // y = x w^T + bias
  void gemm_forward(const bfloat16* x, const Linear& layer, bfloat16* y) const {
    gemm_forward(x, layer, all_rows(layer), y);
  }
  void gemm_forward(const bfloat16* x, const Linear& layer, const Rows& rows, bfloat16* y) const {
    const CudaWeight& w = weights_[layer.weight];
    cuda::GemmArgs<bfloat16> g;
    g.m = tokens_, g.n = rows.count, g.k = w.columns;
    g.a = x;
    g.b = w.copy.data() + rows.first * w.columns;
    g.transpose_b = true;
    g.y = y;
    if (layer.bias) g.bias = weights_[*layer.bias].copy.data() + rows.first;
    cuda::gemm(backend_, blas_, g);
  }
  // dw = dy^T x, dbias = the sum of dy's rows, dx = dy w
  void gemm_backward(const bfloat16* dy, const Linear& layer, const bfloat16* x, bfloat16* dx) const {
    gemm_backward(dy, layer, all_rows(layer), x, dx);
  }
  // For rows that are not the first, dx += dy w.
  void gemm_backward(const bfloat16* dy, const Linear& layer, const Rows& rows, const bfloat16* x, bfloat16* dx) const {
    const CudaWeight& w = weights_[layer.weight];
    if (layer.bias)
      cuda::sum_rows(backend_, dy, tokens_, rows.count, weights_[*layer.bias].gradient.data() + rows.first,
                     accumulate_);
    cuda::GemmArgs<float> dw;
    dw.m = rows.count, dw.n = w.columns, dw.k = tokens_;
    dw.a = dy;
    dw.transpose_a = true;
    dw.b = x;
    dw.y = w.gradient.data() + rows.first * w.columns;
    dw.beta = accumulate_ ? 1.0f : 0.0f;
    cuda::gemm(backend_, blas_, dw);
    cuda::GemmArgs<bfloat16> g;
    g.m = tokens_, g.n = w.columns, g.k = rows.count;
    g.a = dy;
    g.b = w.copy.data() + rows.first * w.columns;
    g.y = dx;
    g.beta = rows.first > 0 ? 1.0f : 0.0f;
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
    const Heads heads = heads_in(b.heads.data());
    a.extents.q_stride = heads.q_stride;
    a.extents.kv_stride = heads.kv_stride;
    a.extents.q_batch_stride = length_ * heads.q_stride;
    a.extents.kv_batch_stride = length_ * heads.kv_stride;
    a.q = heads.q;
    a.k = heads.k;
    a.v = heads.v;
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
  void turn(bfloat16* data, bool back) const {
    const Heads heads = heads_in(data);
    const auto rope = [&](bfloat16* x, index_t count, index_t stride) {
      cuda::RopeArgs<bfloat16> a;
      a.x = a.y = x;
      a.cosine = cosine_.data();
      a.sine = sine_.data();
      a.tokens = tokens_;
      a.heads = count;
      a.head_dim = config_.head_dim;
      a.token_stride = stride;
      a.sequence = length_;
      a.backward = back;
      cuda::rope(backend_, a);
    };
    if (!config_.qk_norm) return rope(heads.q, config_.n_heads + config_.n_kv_heads, heads.q_stride);
    rope(heads.q, config_.n_heads, heads.q_stride);
    rope(heads.k, config_.n_kv_heads, heads.kv_stride);
  }
  Rows query_rows() const { return {0, q_width()}; }
  Rows key_rows() const { return {q_width(), kv_width()}; }
  Rows value_rows() const { return {q_width() + kv_width(), kv_width()}; }
  /// Heads before they are turned.
  void project_heads(Block& b) const {
    const bfloat16* const x = b.attention_input.y.data();
    if (!config_.qk_norm) return gemm_forward(x, b.qkv, b.heads.data());
    const Heads raw = heads_in(b.raw.data()), heads = heads_in(b.heads.data());
    gemm_forward(x, b.qkv, query_rows(), raw.q);
    gemm_forward(x, b.qkv, key_rows(), raw.k);
    gemm_forward(x, b.qkv, value_rows(), heads.v);
    const auto norm = [&](const bfloat16* from, std::size_t weight, index_t count, float* inv_rms, bfloat16* to) {
      cuda::RmsNormArgs<bfloat16> a;
      a.x = from;
      a.weight = weights_[weight].value.data();
      a.eps = config_.norm_eps;
      a.rows = tokens_ * count;
      a.columns = config_.head_dim;
      a.inv_rms = inv_rms;
      a.output.y = to;
      cuda::rmsnorm(backend_, a);
    };
    norm(raw.q, b.q_norm, config_.n_heads, b.q_inv_rms.data(), heads.q);
    norm(raw.k, b.k_norm, config_.n_kv_heads, b.k_inv_rms.data(), heads.k);
  }
  /// And back: from the gradients of heads to those of weights and of the block's input, dnormed_.
  void project_heads_backward(Block& b) const {
    const bfloat16* const x = b.attention_input.y.data();
    if (!config_.qk_norm) return gemm_backward(dheads_.data(), b.qkv, x, dnormed_.data());
    const Heads raw = heads_in(b.raw.data()), d = heads_in(dheads_.data());
    const auto norm = [&](const bfloat16* from, std::size_t weight, index_t count, const float* inv_rms, bfloat16* dy) {
      cuda::RmsNormBackwardArgs<bfloat16> a;
      a.x = from;
      a.weight = weights_[weight].value.data();
      a.inv_rms = inv_rms;
      a.dy = a.dx = dy;
      a.rows = tokens_ * count;
      a.columns = config_.head_dim;
      a.dweight = weights_[weight].gradient.data();
      a.accumulate_dweight = accumulate_;
      cuda::rmsnorm_backward(backend_, a);
    };
    norm(raw.q, b.q_norm, config_.n_heads, b.q_inv_rms.data(), d.q);
    norm(raw.k, b.k_norm, config_.n_kv_heads, b.k_inv_rms.data(), d.k);
    gemm_backward(d.q, b.qkv, query_rows(), x, dnormed_.data());
    gemm_backward(d.k, b.qkv, key_rows(), x, dnormed_.data());
    gemm_backward(d.v, b.qkv, value_rows(), x, dnormed_.data());
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
      project_heads(b);
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
    const Heads d = heads_in(dheads_.data());
    a.dq = d.q;
    a.dk = d.k;
    a.dv = d.v;
    cuda::attention_backward(backend_, a);
    turn(dheads_.data(), true);
    project_heads_backward(b);
    norm_backward(b.attention_input, weights_[b.input_norm], dnormed_.data(), true);
  }
};

}  // namespace qat::inline v0::nn
