// The operations of ops/ as entries of a tape: each runs the forward pass now and records its backward pass.
#pragma once

#include <utility>

#include "qat/autodiff/tape.hpp"
#include "qat/ops/activation.hpp"
#include "qat/ops/attention.hpp"
#include "qat/ops/elementwise.hpp"
#include "qat/ops/embedding.hpp"
#include "qat/ops/layernorm.hpp"
#include "qat/ops/linear.hpp"
#include "qat/ops/lsq.hpp"
#include "qat/ops/rmsnorm.hpp"
#include "qat/ops/rope.hpp"
#include "qat/ops/sequences.hpp"
#include "qat/ops/softmax_cross_entropy.hpp"

namespace qat::inline v0::autodiff {

namespace detail {

struct LinearRecord {
  Variable x, weight, bias;
  void backward(Tape& tape, Tensor<float> dy) {
    const GradTarget dx = tape.target(x), dweight = tape.target(weight), dbias = tape.target(bias);
    const Tensor<float>&x_value = tape.value(x), &weight_value = tape.value(weight), &upstream = dy;
    ops::linear_backward(tape.backend(), x_value.matrix(), weight_value.matrix(), upstream.matrix(), dx.matrix(),
                         dx.mode, dweight.matrix(), dweight.mode, dbias.flat(), dbias.mode);
    tape.unsave(x);
    tape.unsave(weight);
  }
};

struct EmbeddingRecord {
  Variable weight;
  Tensor<std::int32_t> tokens;
  void backward(Tape& tape, Tensor<float> dy) {
    const GradTarget dweight = tape.target(weight);
    const Tensor<float>& upstream = dy;
    ops::embedding_backward(tape.backend(), std::as_const(tokens).flat(), upstream.matrix(), dweight.matrix(),
                            dweight.mode);
  }
};

/// A tensor of features as rows as long as a vector of parameters: (rows, parameters).
template <class T>
auto rows_like(T& tensor, const Tensor<float>& parameters) {
  return view(tensor.data(), parameters.empty() ? 0 : tensor.size() / parameters.size(), parameters.size());
}
/// The same of a gradient's place, which may be nowhere.
inline View<float, 2> rows_like(const GradTarget& target, const Tensor<float>& parameters) {
  return target.tensor == nullptr ? View<float, 2>{} : rows_like(*target.tensor, parameters);
}

struct RmsNormRecord {
  Variable x, weight;
  ops::RmsNormSaved saved;
  void backward(Tape& tape, Tensor<float> dy) {
    const GradTarget dx = tape.target(x), dweight = tape.target(weight);
    const Tensor<float>&x_value = tape.value(x), &w = tape.value(weight), &upstream = dy;
    ops::rmsnorm_backward(tape.backend(), rows_like(x_value, w), w.flat(), saved, rows_like(upstream, w),
                          rows_like(dx, w), dx.mode, dweight.flat(), dweight.mode);
    tape.unsave(x);
    tape.unsave(weight);
  }
};

struct LayerNormRecord {
  Variable x, weight, bias;
  ops::LayerNormSaved saved;
  void backward(Tape& tape, Tensor<float> dy) {
    const GradTarget dx = tape.target(x), dweight = tape.target(weight), dbias = tape.target(bias);
    const Tensor<float>&x_value = tape.value(x), &w = tape.value(weight), &upstream = dy;
    ops::layernorm_backward(tape.backend(), rows_like(x_value, w), w.flat(), saved, rows_like(upstream, w),
                            rows_like(dx, w), dx.mode, dweight.flat(), dweight.mode, dbias.flat(), dbias.mode);
    tape.unsave(x);
    tape.unsave(weight);
  }
};

struct AddRecord {
  Variable a, b;
  void backward(Tape& tape, Tensor<float> dy) {
    if (tape.needs_grad(a) && tape.needs_grad(b)) tape.give(a, dy.clone());
    tape.give(tape.needs_grad(b) ? b : a, std::move(dy));
  }
};

struct ScaleRecord {
  Variable x;
  float factor;
  void backward(Tape& tape, Tensor<float> dy) {
    ops::scale(tape.backend(), std::as_const(dy).flat(), factor, dy.flat());
    tape.give(x, std::move(dy));
  }
};

struct ShiftRecord {
  Variable x;
  void backward(Tape& tape, Tensor<float> dy) { tape.give(x, std::move(dy)); }
};

struct ActivationRecord {
  Activation kind;
  Variable gate, up;  // up is invalid without a gate
  void backward(Tape& tape, Tensor<float> dy) {
    // The gradients overwrite gate and up where nobody else reads them.
    const bool same = gate.index == up.index;
    Tensor<float> gate_storage = same ? Tensor<float>() : tape.reuse_value(gate);
    Tensor<float> up_storage = same || !up.valid() ? Tensor<float>() : tape.reuse_value(up);
    const Tensor<float>& gate_value = gate_storage.empty() ? tape.value(gate) : gate_storage;
    const View<const float, 1> g = gate_value.flat(), upstream = std::as_const(dy).flat();
    View<const float, 1> u{};
    if (up.valid()) {
      const Tensor<float>& up_value = up_storage.empty() ? tape.value(up) : up_storage;
      u = up_value.flat();
    }
    Tensor<float> dgate = gate_storage.empty() ? Tensor<float>::uninitialized(dy.shape()) : std::move(gate_storage);
    Tensor<float> dup;
    if (up.valid()) dup = up_storage.empty() ? Tensor<float>::uninitialized(dy.shape()) : std::move(up_storage);
    ops::activation_backward(tape.backend(), kind, g, u, upstream, dgate.flat(), GradMode::kOverwrite, dup.flat(),
                             up.valid() ? GradMode::kOverwrite : GradMode::kSkip);
    tape.unsave(gate);
    if (up.valid()) tape.unsave(up);
    tape.give(gate, std::move(dgate));
    if (up.valid()) tape.give(up, std::move(dup));
  }
};

/// f(first row, sequences of one length) for each run of a batch.
template <class F>
void for_each_run(const ops::Sequences& sequences, const F& f) {
  index_t row = 0;
  for (const ops::SequenceRun& run : sequences.runs()) {
    f(row, run);
    row += run.count * run.length;
  }
}

struct RopeRecord {
  Variable x;
  const ops::RopeTable* table;
  ops::Sequences sequences;
  index_t heads, first_position;
  RopePairing pairing;
  void backward(Tape& tape, Tensor<float> dy) {
    for_each_run(sequences, [&](index_t row, const ops::SequenceRun& run) {
      const View<float, 4> d =
          view(dy.data() + row * heads * table->head_dim, run.count, run.length, heads, table->head_dim);
      ops::rope_backward(tape.backend(), d, table->cosine.view<2>(), table->sine.view<2>(), first_position, pairing, d);
    });
    tape.give(x, std::move(dy));
  }
};

/// The sequences of a run in a tensor of `heads` heads a row, row: of the first one.
template <class T>
auto run_view(T& tensor, index_t row, const ops::SequenceRun& run, index_t heads, index_t head_dim) {
  return view(tensor.data() + row * heads * head_dim, run.count, run.length, heads, head_dim);
}

struct AttentionRecord {
  Variable q, k, v, out;
  ops::Sequences sequences;
  index_t heads, kv_heads, head_dim, window;
  std::vector<ops::AttentionSaved> saved;  // one a run
  void backward(Tape& tape, Tensor<float> dout) {
    const Shape q_shape = tape.value(q).shape(), kv_shape = tape.value(k).shape();
    Tensor<float> dq = Tensor<float>::uninitialized(q_shape);
    Tensor<float> dk = Tensor<float>::uninitialized(kv_shape), dv = Tensor<float>::uninitialized(kv_shape);
    std::size_t index = 0;
    for_each_run(sequences, [&](index_t row, const ops::SequenceRun& run) {
      const auto of_q = [&](auto& t) { return run_view(t, row, run, heads, head_dim); };
      const auto of_kv = [&](auto& t) { return run_view(t, row, run, kv_heads, head_dim); };
      ops::attention_backward(tape.backend(), of_q(tape.value(q)), of_kv(tape.value(k)), of_kv(tape.value(v)),
                              of_q(tape.value(out)), saved[index++], of_q(std::as_const(dout)), of_q(dq), of_kv(dk),
                              of_kv(dv), window);
    });
    for (const Variable input : {q, k, v, out}) tape.unsave(input);
    tape.give(q, std::move(dq));
    tape.give(k, std::move(dk));
    tape.give(v, std::move(dv));
  }
};

struct LsqRecord {
  Variable x, scale;
  QuantSpec spec;
  SteMask mask;
  float gradient_scale;
  Tensor<float> stored;  // (tiles)
  void backward(Tape& tape, Tensor<float> dy) {
    const GradTarget dx = tape.target(x), dscale = tape.target(scale);
    const View<const float, 2> x_value = std::as_const(tape).value(x).matrix(), upstream = std::as_const(dy).matrix();
    ops::lsq_backward(tape.backend(), spec, upstream, x_value, {std::as_const(stored).flat(), {}}, mask, gradient_scale,
                      dx.matrix(), dx.mode, dscale.flat(), dscale.mode);
    tape.unsave(x);
  }
};

struct CrossEntropyRecord {
  Variable logits;
  Tensor<std::int32_t> targets;
  std::int32_t ignore_index;
  void backward(Tape& tape, Tensor<float> dloss) {
    Tensor<float> storage = tape.reuse_value(logits);
    const Tensor<float>& logits_value = storage.empty() ? tape.value(logits) : storage;
    const View<const float, 2> source = logits_value.matrix();
    Tensor<float> dlogits = storage.empty() ? Tensor<float>::uninitialized(logits_value.shape()) : std::move(storage);
    ops::softmax_cross_entropy_backward(tape.backend(), source, std::as_const(targets).flat(), dloss[0],
                                        dlogits.matrix(), ignore_index);
    tape.unsave(logits);
    tape.give(logits, std::move(dlogits));
  }
};

inline Tensor<std::int32_t> copy_tokens(View<const std::int32_t, 1> tokens) {
  Tensor<std::int32_t> copy = Tensor<std::int32_t>::uninitialized({tokens.shape[0]});
  for (index_t i = 0; i < tokens.shape[0]; ++i) copy[i] = tokens[i];
  return copy;
}

/// Rows of a tensor whose last dimension holds features.
inline index_t rows_of(const Tensor<float>& t) { return t.size() / t.dim(t.rank() - 1); }

}  // namespace detail

/// y = x W^T + b.   x (N, C), weight (O, C), bias (O) or an invalid variable; returns (N, O)
inline Variable linear(Tape& tape, Variable x, Variable weight, Variable bias = {}) {
  const Tensor<float>&x_value = tape.value(x), &weight_value = tape.value(weight);
  Tensor<float> y = Tensor<float>::uninitialized({detail::rows_of(x_value), weight_value.dim(0)});
  ops::linear(tape.backend(), x_value.matrix(), weight_value.matrix(), bias.valid() ? tape.value(bias).data() : nullptr,
              y.matrix());
  const bool needed = tape.needs_grad(x) || tape.needs_grad(weight) || tape.needs_grad(bias);
  if (needed) {
    tape.save(x);
    tape.save(weight);
  }
  return tape.record(std::move(y), needed, detail::LinearRecord{x, weight, bias});
}

/// Rows of weight (V, C) by token; returns (N, C).
inline Variable embedding(Tape& tape, Variable weight, View<const std::int32_t, 1> tokens) {
  const Tensor<float>& table = tape.value(weight);
  Tensor<float> y = Tensor<float>::uninitialized({tokens.shape[0], table.dim(1)});
  ops::embedding(tape.backend(), table.view<2>(), tokens, y.view<2>());
  return tape.record(std::move(y), tape.needs_grad(weight),
                     detail::EmbeddingRecord{weight, detail::copy_tokens(tokens)});
}

/// x / sqrt(mean(x^2) + eps) * weight, over rows as long as weight.   x (N, k C), weight (C)
inline Variable rmsnorm(Tape& tape, Variable x, Variable weight, float eps) {
  const Tensor<float>&x_value = tape.value(x), &w = tape.value(weight);
  Tensor<float> y = Tensor<float>::uninitialized(x_value.shape());
  const bool needed = tape.needs_grad(x) || tape.needs_grad(weight);
  ops::RmsNormSaved saved;
  ops::rmsnorm(tape.backend(), detail::rows_like(x_value, w), w.flat(), eps, detail::rows_like(y, w),
               needed ? &saved : nullptr);
  if (needed) {
    tape.save(x);
    tape.save(weight);
  }
  return tape.record(std::move(y), needed, detail::RmsNormRecord{x, weight, std::move(saved)});
}

/// (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, over rows as long as weight.   x (N, k C), weight, bias (C)
inline Variable layernorm(Tape& tape, Variable x, Variable weight, Variable bias, float eps) {
  const Tensor<float>&x_value = tape.value(x), &w = tape.value(weight);
  Tensor<float> y = Tensor<float>::uninitialized(x_value.shape());
  const bool needed = tape.needs_grad(x) || tape.needs_grad(weight) || tape.needs_grad(bias);
  ops::LayerNormSaved saved;
  ops::layernorm(tape.backend(), detail::rows_like(x_value, w), w.flat(), tape.value(bias).flat(), eps,
                 detail::rows_like(y, w), needed ? &saved : nullptr);
  if (needed) {
    tape.save(x);
    tape.save(weight);
  }
  return tape.record(std::move(y), needed, detail::LayerNormRecord{x, weight, bias, std::move(saved)});
}

/// Whether an operation may write its result over an input's value. Afterwards that variable can still receive
/// gradients, but its value is gone; a value that some record has saved is copied instead.
enum class Storage { kFresh, kReuse };

/// a + b; with kReuse in b's storage.
inline Variable add(Tape& tape, Variable a, Variable b, Storage storage = Storage::kFresh) {
  QAT_CHECK(tape.value(a).size() == tape.value(b).size(), kShapeMismatch, "add: ", tape.value(a).size(), " and ",
            tape.value(b).size(), " elements");
  Tensor<float> y = storage == Storage::kFresh || a.index == b.index ? tape.value(b).clone() : tape.take_value(b);
  ops::add(tape.backend(), tape.value(a).flat(), std::as_const(y).flat(), y.flat());
  return tape.record(std::move(y), tape.needs_grad(a) || tape.needs_grad(b), detail::AddRecord{a, b});
}

/// x * factor; with kReuse in x's storage.
inline Variable scale(Tape& tape, Variable x, float factor, Storage storage = Storage::kFresh) {
  Tensor<float> y = storage == Storage::kFresh ? tape.value(x).clone() : tape.take_value(x);
  ops::scale(tape.backend(), std::as_const(y).flat(), factor, y.flat());
  return tape.record(std::move(y), tape.needs_grad(x), detail::ScaleRecord{x, factor});
}

/// x + number, of few elements.
inline Variable shift(Tape& tape, Variable x, float number) {
  Tensor<float> y = tape.value(x).clone();
  for (float& value : y) value += number;
  return tape.record(std::move(y), tape.needs_grad(x), detail::ShiftRecord{x});
}

/// activation(gate) * up, or activation(gate) without up.
inline Variable activation(Tape& tape, Activation kind, Variable gate, Variable up = {}) {
  const Tensor<float>& gate_value = tape.value(gate);
  Tensor<float> y = Tensor<float>::uninitialized(gate_value.shape());
  ops::activation(tape.backend(), kind, gate_value.flat(),
                  up.valid() ? std::as_const(tape).value(up).flat() : View<const float, 1>{}, y.flat());
  const bool needed = tape.needs_grad(gate) || tape.needs_grad(up);
  if (needed) {
    tape.save(gate);
    if (up.valid()) tape.save(up);
  }
  return tape.record(std::move(y), needed, detail::ActivationRecord{kind, gate, up});
}
/// x * sigmoid(x)
inline Variable silu(Tape& tape, Variable x) { return activation(tape, Activation::kSilu, x); }
/// silu(gate) * up
inline Variable swiglu(Tape& tape, Variable gate, Variable up) { return activation(tape, Activation::kSilu, gate, up); }

/// Rotates x (rows of sequences, heads * D), every sequence from first_position on, with kReuse in its own storage; the
/// table must outlive the tape's use.
inline Variable rope(Tape& tape, Variable x, const ops::RopeTable& table, const ops::Sequences& sequences,
                     index_t heads, index_t first_position = 0, RopePairing pairing = RopePairing::kHalf,
                     Storage storage = Storage::kFresh) {
  QAT_CHECK(tape.value(x).size() == sequences.rows() * heads * table.head_dim, kShapeMismatch, "rope: x has shape ",
            to_string(tape.value(x).shape()), ", which is not ", sequences.rows(), " rows of ", heads, " x ",
            table.head_dim);
  Tensor<float> y = storage == Storage::kFresh ? tape.value(x).clone() : tape.take_value(x);
  detail::for_each_run(sequences, [&](index_t row, const ops::SequenceRun& run) {
    const View<float, 4> d = detail::run_view(y, row, run, heads, table.head_dim);
    ops::rope(tape.backend(), d, table.cosine.view<2>(), table.sine.view<2>(), first_position, pairing, d);
  });
  return tape.record(std::move(y), tape.needs_grad(x),
                     detail::RopeRecord{x, &table, sequences, heads, first_position, pairing});
}
/// The same for `batch` sequences of `tokens` tokens.
inline Variable rope(Tape& tape, Variable x, const ops::RopeTable& table, index_t batch, index_t tokens, index_t heads,
                     index_t first_position = 0, RopePairing pairing = RopePairing::kHalf,
                     Storage storage = Storage::kFresh) {
  return rope(tape, x, table, ops::Sequences(batch, tokens), heads, first_position, pairing, storage);
}

/// x fake-quantized with trained scales (LSQ): a scale counts as stored_scale() of its variable, through which
/// gradients pass unchanged.   x (rows, columns), scale (tiles) of spec, whose zero point must be constant
/// gradient_scale: of the gradient of the scales, usually kernels::lsq_gradient_scale()
inline Variable fake_quantize(Tape& tape, Variable x, Variable scale, const QuantSpec& spec, float gradient_scale,
                              SteMask mask = SteMask::kInclusive) {
  QAT_CHECK(has_constant_zero_point(spec.mapping), kUnsupported, "fake_quantize: ", to_string(spec),
            " has zero points; accepted are mappings with a constant one");
  const AffineScheme scheme(spec, FloatType::kFloat32);
  Tensor<float> stored = tape.value(scale).clone();
  for (float& s : stored) s = stored_scale(s, scheme);
  const Tensor<float>& x_value = tape.value(x);
  Tensor<float> y = Tensor<float>::uninitialized(x_value.shape());
  ops::fake_quantize(tape.backend(), spec, x_value.matrix(), {std::as_const(stored).flat(), {}}, y.matrix());
  const bool needed = tape.needs_grad(x) || tape.needs_grad(scale);
  if (needed) tape.save(x);
  return tape.record(std::move(y), needed, detail::LsqRecord{x, scale, spec, mask, gradient_scale, std::move(stored)});
}

/// Causal attention with grouped queries inside each sequence, with a window (not 0) of the last `window` keys alone.
/// q (rows, heads * D), k and v (rows, kv_heads * D)
inline Variable attention(Tape& tape, Variable q, Variable k, Variable v, const ops::Sequences& sequences,
                          index_t heads, index_t kv_heads, index_t window = 0) {
  const Tensor<float>&q_value = tape.value(q), &k_value = tape.value(k), &v_value = tape.value(v);
  const index_t rows = sequences.rows(), head_dim = rows == 0 ? 0 : q_value.size() / (rows * heads);
  QAT_CHECK(q_value.size() == rows * heads * head_dim && k_value.size() == rows * kv_heads * head_dim &&
                v_value.size() == k_value.size(),
            kShapeMismatch, "attention: q ", to_string(q_value.shape()), ", k ", to_string(k_value.shape()), ", v ",
            to_string(v_value.shape()), " do not fit ", rows, " rows, heads ", heads, " and ", kv_heads);
  Tensor<float> out = Tensor<float>::uninitialized(q_value.shape());
  const bool needed = tape.needs_grad(q) || tape.needs_grad(k) || tape.needs_grad(v);
  std::vector<ops::AttentionSaved> saved(needed ? sequences.runs().size() : 0);
  std::size_t index = 0;
  detail::for_each_run(sequences, [&](index_t row, const ops::SequenceRun& run) {
    ops::attention(tape.backend(), detail::run_view(q_value, row, run, heads, head_dim),
                   detail::run_view(k_value, row, run, kv_heads, head_dim),
                   detail::run_view(v_value, row, run, kv_heads, head_dim),
                   detail::run_view(out, row, run, heads, head_dim), needed ? &saved[index++] : nullptr, window);
  });
  if (needed)
    for (const Variable input : {q, k, v}) tape.save(input);
  const Variable result = {tape.node_count()};  // the backward pass reads its own output
  const Variable recorded = tape.record(
      std::move(out), needed,
      detail::AttentionRecord{q, k, v, result, sequences, heads, kv_heads, head_dim, window, std::move(saved)});
  if (needed) tape.save(recorded);
  return recorded;
}
/// The same for `batch` sequences of `tokens` tokens.
inline Variable attention(Tape& tape, Variable q, Variable k, Variable v, index_t batch, index_t tokens, index_t heads,
                          index_t kv_heads, index_t window = 0) {
  return attention(tape, q, k, v, ops::Sequences(batch, tokens), heads, kv_heads, window);
}

/// Mean over the targets that are not ignore_index; returns one element. stats, if given, receives sum and count.
inline Variable softmax_cross_entropy(Tape& tape, Variable logits, View<const std::int32_t, 1> targets,
                                      std::int32_t ignore_index = ops::kIgnoreIndex,
                                      ops::CrossEntropyResult* stats = nullptr) {
  Tensor<float> losses = Tensor<float>::uninitialized({targets.shape[0]});
  const ops::CrossEntropyResult result =
      ops::softmax_cross_entropy(tape.backend(), tape.value(logits).matrix(), targets, losses.flat(), ignore_index);
  if (stats != nullptr) *stats = result;
  Tensor<float> loss({1});
  loss[0] = result.mean();
  if (tape.needs_grad(logits)) tape.save(logits);
  return tape.record(std::move(loss), tape.needs_grad(logits),
                     detail::CrossEntropyRecord{logits, detail::copy_tokens(targets), ignore_index});
}

}  // namespace qat::inline v0::autodiff
