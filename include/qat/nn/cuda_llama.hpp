// Training a Llama on one GPU: forward, backward and optimizer as launches over buffers laid out once.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qat/kernels/cuda/activation.hpp"
#include "qat/kernels/cuda/adamw.hpp"
#include "qat/kernels/cuda/attention.hpp"
#include "qat/kernels/cuda/cross_entropy.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/embedding.hpp"
#include "qat/kernels/cuda/fake_quantize.hpp"
#include "qat/kernels/cuda/gemm.hpp"
#include "qat/kernels/cuda/rmsnorm.hpp"
#include "qat/kernels/cuda/rope.hpp"
#include "qat/nn/llama_config.hpp"
#include "qat/ops/rope.hpp"

namespace qat::inline v0::nn {

/// What a step of CudaLlama works on and how.
struct CudaLlamaOptions {
  index_t batch = 1, length = 1;  ///< sequences, tokens of each
  /// Scheme of the linear layers' weights (not of embedding and head): of those that kernels/cuda/adamw.hpp folds in.
  std::optional<QuantSpec> weight;
  /// Scheme of their inputs: rows of one scale, as int8:token:asymmetric.
  std::optional<QuantSpec> activation;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.0;
  double clip_norm = 1.0;  ///< 0: no clipping
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
  /// A weight as it is trained: the parts are rows of one matrix, so that one product serves them.
  struct Weight {
    std::vector<std::string> names;  ///< Hugging Face names of the parts
    std::vector<index_t> part_rows;  ///< rows of each
    index_t rows = 0, columns = 0;   ///< a norm's is (1, columns)
    cuda::DeviceBuffer<float> value, gradient, mean, square, scale, zero_point;
    cuda::DeviceBuffer<bfloat16> copy;
  };

  /// @throws qat::Error naming what is not accepted, or that the device's memory does not suffice
  CudaLlama(const CudaBackend& backend, const LlamaConfig& config, const CudaLlamaOptions& options)
      : backend_(backend), config_(config), options_(options), tokens_(options.batch * options.length) {
    QAT_CHECK(options.batch >= 1 && options.length >= 1 && options.length <= config.max_seq_len, kInvalidArgument,
              "CudaLlama: batch is ", options.batch, ", length ", options.length,
              "; accepted: at least 1, length up to max_seq_len, ", config.max_seq_len);
    QAT_CHECK(config.dim % 8 == 0 && config.hidden_dim % 8 == 0 && config.head_dim % 8 == 0, kUnsupported,
              "CudaLlama: dim is ", config.dim, ", hidden_dim ", config.hidden_dim, ", head_dim ", config.head_dim,
              "; accepted: multiples of 8");
    make_weights();
    make_activations();
    make_table();
  }

  const LlamaConfig& config() const { return config_; }
  /// Where the next launches go. The workspace must be as large as the one of construction.
  void set_backend(const CudaBackend& backend) { backend_ = backend; }
  std::vector<Weight>& weights() { return weights_; }

  /// Takes one part's values from host memory. After the last of them call refresh().
  /// @throws qat::Error naming a weight that the model does not have, or its size
  void set(const std::string& name, const float* values, index_t size) {
    const Part p = find(name, size);
    cuda::device_copy(backend_, p.weight->value.data() + p.offset, values,
                      static_cast<std::size_t>(size) * sizeof(float));
  }
  /// One part's values, or those of its gradient, as fp32 in host memory.
  std::vector<float> get(const std::string& name, bool gradient = false) {
    const Part p = find(name, -1);
    std::vector<float> values(static_cast<std::size_t>(p.size));
    cuda::device_copy(backend_, values.data(), (gradient ? p.weight->gradient : p.weight->value).data() + p.offset,
                      values.size() * sizeof(float));
    return values;
  }
  /// What products read in place of the weight.
  std::vector<bfloat16> get_copy(const std::string& name) {
    const Part p = find(name, -1);
    QAT_CHECK(p.weight->copy.size() > 0, kInvalidArgument, "CudaLlama: ", name, " is read as it is");
    std::vector<bfloat16> values(static_cast<std::size_t>(p.size));
    cuda::device_copy(backend_, values.data(), p.weight->copy.data() + p.offset, values.size() * sizeof(bfloat16));
    return values;
  }

  /// Chooses scales and writes the copies for the weights as they are: a step with learning rate 0 and no gradient.
  void refresh() {
    for (Weight& w : weights_) {
      const std::vector<float> zeros(static_cast<std::size_t>(w.rows * w.columns));
      for (const auto* buffer : {&w.gradient, &w.mean, &w.square})
        cuda::device_copy(backend_, buffer->data(), zeros.data(), zeros.size() * sizeof(float));
      const std::vector<float> ones(static_cast<std::size_t>(w.scale.size()), 1.0f);
      cuda::device_copy(backend_, w.scale.data(), ones.data(), ones.size() * sizeof(float));
      cuda::device_copy(backend_, w.zero_point.data(), zeros.data(), ones.size() * sizeof(float));
    }
    set_learning_rate(0.0, 1);
    update(false);
  }

  /// The numbers of the next update. Copies to the device, so outside a captured graph. step: 1, 2, ...
  void set_learning_rate(double lr, std::int64_t step) {
    kernels::AdamWFactors factors[cuda::AdamWStep::kGroups];
    factors[kDecayed] =
        kernels::adamw_factors(lr, options_.beta1, options_.beta2, options_.eps, options_.weight_decay, step);
    factors[kNotDecayed] = kernels::adamw_factors(lr, options_.beta1, options_.beta2, options_.eps, 0.0, step);
    factors[2] = factors[3] = factors[kDecayed];
    cuda::device_copy(backend_, factors_.data(), factors, sizeof factors);
  }

  /// Forward and backward: the mean loss, and its gradients. tokens, targets: (batch * length) in device memory.
  void backward(const std::int32_t* tokens, const std::int32_t* targets) {
    forward(tokens);
    const Weight& head = weights_[head_];
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

  /// One step of AdamW on every weight, gradients clipped; the copies follow.
  void update() { update(options_.clip_norm > 0.0); }

  /// Mean loss of the last backward(). Waits for the device.
  float loss() const {
    float total = 0.0f;
    total_.read(backend_, &total);
    return total / static_cast<float>(tokens_);
  }
  /// Norm of the gradients that the last update() saw, before clipping. Waits for the device.
  float gradient_norm() const {
    std::vector<float> result(2);
    norm_.read(backend_, result.data());
    return result[0];
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
  enum Group : std::uint32_t { kDecayed, kNotDecayed };
  struct Part {
    Weight* weight;
    index_t offset, size;
  };
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

  std::size_t add(const std::vector<std::string>& names, const std::vector<index_t>& rows, index_t columns,
                  bool linear) {
    Weight w;
    w.names = names;
    w.part_rows = rows;
    for (const index_t r : rows) w.rows += r;
    w.columns = columns;
    const index_t n = w.rows * columns;
    for (auto* buffer : {&w.value, &w.gradient, &w.mean, &w.square}) *buffer = cuda::DeviceBuffer<float>(n);
    if (w.rows > 1) w.copy = cuda::DeviceBuffer<bfloat16>(n);  // norms read their master
    if (linear && options_.weight) {
      const index_t tiles = group_layout(options_.weight->granularity, w.rows, columns).count();
      w.scale = cuda::DeviceBuffer<float>(tiles);
      w.zero_point = cuda::DeviceBuffer<float>(tiles);
    }
    weights_.push_back(std::move(w));
    return weights_.size() - 1;
  }
  void make_weights() {
    const LlamaConfig& c = config_;
    embedding_ = add({"model.embed_tokens.weight"}, {c.vocab_size}, c.dim, false);
    for (index_t n = 0; n < c.n_layers; ++n) {
      const std::string name = "model.layers." + std::to_string(n);
      const std::string attention = name + ".self_attn.", mlp = name + ".mlp.";
      Block b;
      b.input_norm = add({name + ".input_layernorm.weight"}, {1}, c.dim, false);
      b.qkv = add({attention + "q_proj.weight", attention + "k_proj.weight", attention + "v_proj.weight"},
                  {q_width(), kv_width(), kv_width()}, c.dim, true);
      b.out = add({attention + "o_proj.weight"}, {c.dim}, q_width(), true);
      b.post_norm = add({name + ".post_attention_layernorm.weight"}, {1}, c.dim, false);
      b.gate_up = add({mlp + "gate_proj.weight", mlp + "up_proj.weight"}, {c.hidden_dim, c.hidden_dim}, c.dim, true);
      b.down = add({mlp + "down_proj.weight"}, {c.dim}, c.hidden_dim, true);
      blocks_.push_back(std::move(b));
    }
    final_norm_ = add({"model.norm.weight"}, {1}, c.dim, false);
    head_ = c.tied ? embedding_ : add({"lm_head.weight"}, {c.vocab_size}, c.dim, false);
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
    norm_ = cuda::DeviceBuffer<float>(2);
    factors_ = cuda::DeviceBuffer<kernels::AdamWFactors>(cuda::AdamWStep::kGroups);
    const ops::RopeTable rope = ops::rope_table(c.rope, c.head_dim, options_.length);
    cosine_ = cuda::DeviceBuffer<float>(backend_, rope.cosine.data(), rope.cosine.size());
    sine_ = cuda::DeviceBuffer<float>(backend_, rope.sine.data(), rope.sine.size());
  }
  void make_table() {
    std::vector<cuda::AdamWTensor<float, bfloat16>> table;
    for (const Weight& w : weights_) {
      cuda::AdamWTensor<float, bfloat16> t;
      t.name = w.names[0].c_str();
      t.rows = w.rows;
      t.columns = w.columns;
      t.value = w.value.data();
      t.gradient = w.gradient.data();
      t.mean = w.mean.data();
      t.square = w.square.data();
      t.copy = w.copy.data();
      t.group = w.rows > 1 ? kDecayed : kNotDecayed;
      if (w.scale.size() > 0) {
        t.scale = w.scale.data();
        t.zero_point = w.zero_point.data();
        t.spec = *options_.weight;
      }
      table.push_back(t);
    }
    const index_t count = static_cast<index_t>(table.size());
    plan_ = cuda::plan_adamw(table.data(), count, nullptr);
    std::vector<cuda::AdamWWork> works(static_cast<std::size_t>(plan_.works));
    cuda::plan_adamw(table.data(), count, works.data());
    table_ = cuda::DeviceBuffer<cuda::AdamWTensor<float, bfloat16>>(backend_, table.data(), count);
    works_ = cuda::DeviceBuffer<cuda::AdamWWork>(backend_, works.data(), plan_.works);
    const std::size_t needed = cuda::gradient_norm_bytes(plan_);
    cuda::check_workspace(backend_, "CudaLlama",
                          needed > workspace_bytes(config_, options_) ? needed : workspace_bytes(config_, options_));
  }

  Part find(const std::string& name, index_t size) {
    for (Weight& w : weights_) {
      index_t offset = 0;
      for (std::size_t i = 0; i < w.names.size(); ++i) {
        const index_t part = w.part_rows[i] * w.columns;
        if (w.names[i] == name) {
          QAT_CHECK(size < 0 || size == part, kShapeMismatch, "CudaLlama: ", name, " has ", part, " values, ", size,
                    " were given");
          return {&w, offset, part};
        }
        offset += part;
      }
    }
    raise(ErrorCode::kInvalidArgument, "CudaLlama: no weight is named ", name);
  }

  // y = x w^T
  void gemm_forward(const bfloat16* x, const Weight& w, bfloat16* y) const {
    cuda::GemmArgs<bfloat16> g;
    g.m = tokens_, g.n = w.rows, g.k = w.columns;
    g.a = x;
    g.b = w.copy.data();
    g.transpose_b = true;
    g.y = y;
    cuda::gemm(backend_, blas_, g);
  }
  // dw = dy^T x, dx = dy w
  void gemm_backward(const bfloat16* dy, const Weight& w, const bfloat16* x, bfloat16* dx) const {
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
  void norm_forward(const bfloat16* x, const bfloat16* residual, const Weight& w, NormedInput& out) const {
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
  void norm_backward(const NormedInput& in, const Weight& w, const bfloat16* dy, bool accumulate) {
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

  cuda::AttentionExtents extents() const {
    cuda::AttentionExtents e = cuda::attention_extents(options_.batch, options_.length, options_.length,
                                                       config_.n_heads, config_.n_kv_heads, config_.head_dim);
    e.q_stride = e.kv_stride = qkv_width();
    e.q_batch_stride = e.kv_batch_stride = options_.length * qkv_width();
    return e;
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
      a.extents = extents();
      a.q = b.heads.data();
      a.k = a.q + q_width();
      a.v = a.k + kv_width();
      a.out = b.attended.data();
      a.log_sum_exp = b.log_sum_exp.data();
      cuda::attention(backend_, a);
      if (options_.activation)
        cuda::fake_quantize_dynamic<bfloat16>(backend_, *options_.activation, b.attended.data(), tokens_, q_width(),
                                              b.attention_output.y.data(), b.attention_output.scale.data(),
                                              b.attention_output.zero_point.data());
      gemm_forward(attended_of(b), weights_[b.out], branch_.data());
      norm_forward(branch_.data(), b.attention_input.stream.data(), weights_[b.post_norm], b.mlp_input);
      gemm_forward(b.mlp_input.y.data(), weights_[b.gate_up], b.gate_and_up.data());
      cuda::ActivationArgs<bfloat16> act;
      act.gate = b.gate_and_up.data();
      act.up = act.gate + config_.hidden_dim;
      act.rows = tokens_;
      act.columns = config_.hidden_dim;
      act.gate_stride = act.up_stride = 2 * config_.hidden_dim;
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
    act.gate = act.dgate = b.gate_and_up.data();
    act.up = act.dup = b.gate_and_up.data() + config_.hidden_dim;
    act.dy = dactivated_.data();
    act.rows = tokens_;
    act.columns = config_.hidden_dim;
    act.gate_stride = act.up_stride = 2 * config_.hidden_dim;
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
    a.extents = extents();
    a.q = b.heads.data();
    a.k = a.q + q_width();
    a.v = a.k + kv_width();
    a.out = b.attended.data();
    a.log_sum_exp = b.log_sum_exp.data();
    a.dout = dattended_.data();
    a.dq = dheads_.data();
    a.dk = a.dq + q_width();
    a.dv = a.dk + kv_width();
    cuda::attention_backward(backend_, a);
    turn(dheads_.data(), true);
    gemm_backward(dheads_.data(), weights_[b.qkv], b.attention_input.y.data(), dnormed_.data());
    norm_backward(b.attention_input, weights_[b.input_norm], dnormed_.data(), true);
  }

  void update(bool clip) {
    cuda::AdamWStep step;
    step.device_factors = factors_.data();
    if (clip) {
      cuda::gradient_norm(backend_, table_.data(), works_.data(), plan_, options_.clip_norm, norm_.data());
      step.gradient_factor = norm_.data() + 1;
    }
    cuda::adamw(backend_, table_.data(), works_.data(), plan_, step);
  }

  CudaBackend backend_;
  LlamaConfig config_;
  CudaLlamaOptions options_;
  index_t tokens_;
  cuda::Blas blas_;
  std::vector<Weight> weights_;
  std::vector<Block> blocks_;
  std::size_t embedding_ = 0, head_ = 0, final_norm_ = 0;
  NormedInput normed_;
  cuda::DeviceBuffer<bfloat16> branch_, dstream_, dnormed_, dattended_, dheads_, dactivated_, logits_;
  cuda::DeviceBuffer<float> losses_, total_, norm_, cosine_, sine_;
  cuda::DeviceBuffer<kernels::AdamWFactors> factors_;
  cuda::DeviceBuffer<cuda::AdamWTensor<float, bfloat16>> table_;
  cuda::DeviceBuffer<cuda::AdamWWork> works_;
  cuda::AdamWPlan plan_;
};

}  // namespace qat::inline v0::nn
