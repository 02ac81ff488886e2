// A model as an ONNX graph: token ids in, logits out. Packed linear layers become MatMulNBits, ONNX Runtime's product
// of packed weights, with the codes and scales that were trained.
//
// What a dynamic activation scheme does to x is in the graph too, operator by operator, so that a runtime computes what
// training computed; only the order of sums is the runtime's own.
// Source: ONNX 1.16 operators (opset 21); ONNX Runtime, ContribOperators.md (com.microsoft.MatMulNBits, version 1).
#pragma once

#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "qat/io/onnx_writer.hpp"
#include "qat/ops/rope.hpp"
#include "qat/recipe/on_grid_weights.hpp"

namespace qat::inline v0::recipe {

/// What became of a model that was written.
struct OnnxReport {
  index_t packed = 0;                ///< linear layers as MatMulNBits
  index_t in_float = 0;              ///< linear layers and embeddings as floats
  std::vector<std::string> remarks;  ///< layers written otherwise than they are held
};

namespace detail {

/// The codes of a layer in the operator's blocks.
struct NBitsWeight {
  int bits = 4;                           // 2, 4 or 8: the widths that ONNX Runtime's CPU kernels take
  index_t block_size = 32;                // a power of two >= 16
  index_t blocks = 0;                     // of a row
  std::vector<std::uint8_t> codes;        // (N, blocks, block_size * bits / 8), first code lowest
  std::vector<float> scales;              // (N, blocks)
  std::vector<std::uint8_t> zero_points;  // (N, ceil(blocks * bits / 8)); empty: 2^(bits-1)
};

/// Codes keep their values: a 3-bit code is stored in 4 bits, and a group wider than the largest block that divides it
/// is stored as several with one scale.
inline NBitsWeight nbits_weight(const PackedWeight& weight, const std::string& name) {
  const QuantSpec& spec = weight.spec();
  const Granularity& g = spec.granularity;
  const bool is_row = g.kind == GranularityKind::kPerAxis && g.axis == 0;
  const index_t group = is_row ? 128 : g.group_size;
  NBitsWeight out;
  out.bits = spec.bits <= 2 ? 2 : spec.bits <= 4 ? 4 : 8;
  const int zeros = group <= 0 ? 0 : std::countr_zero(static_cast<std::uint64_t>(group));
  out.block_size = group <= 0 ? 0 : index_t{1} << (zeros < 8 ? zeros : 8);
  QAT_CHECK(
      (is_row || g.kind == GranularityKind::kPerGroup) && out.block_size >= 16 && !has_float_zero_point(spec.mapping),
      kUnsupported, name, ": ", to_string(spec),
      " does not fit MatMulNBits; accepted: one scale a row or groups of a multiple of 16, integer zero points, "
      "such as int4:group32:symmetric");
  const index_t rows = weight.rows(), columns = weight.columns();
  out.blocks = (columns + out.block_size - 1) / out.block_size;
  const index_t row_bytes = out.blocks * out.block_size * out.bits / 8, zero_bytes = packed_bytes(out.blocks, out.bits);
  const int middle = 1 << (out.bits - 1);
  const int shift = middle - (spec.is_signed ? 0 : 1 << (spec.bits - 1));  // stored code = code + shift
  out.codes.resize(static_cast<std::size_t>(rows * row_bytes));
  out.zero_points.resize(static_cast<std::size_t>(rows * zero_bytes));
  bool symmetric = true;
  for (index_t n = 0; n < rows; ++n) {
    for (index_t k = 0; k < out.blocks * out.block_size; ++k)  // padding dequantizes to 0
      qat::detail::store_packed(out.codes.data() + n * row_bytes, k, out.bits,
                                static_cast<std::uint32_t>(k < columns ? weight.code(n, k) + shift : middle));
    for (index_t b = 0; b < out.blocks; ++b) {
      const index_t tile = weight.group_of(n, b * out.block_size);
      const int zero = static_cast<int>(weight.zero_point(tile)) + shift;
      out.scales.push_back(weight.scale(tile));
      symmetric = symmetric && zero == middle;
      qat::detail::store_packed(out.zero_points.data() + n * zero_bytes, b, out.bits, static_cast<std::uint32_t>(zero));
    }
  }
  if (symmetric) out.zero_points.clear();
  return out;
}

/// Builds the graph of a Llama.
class OnnxLlama {
 public:
  explicit OnnxLlama(nn::Transformer& model) : model_(model), c_(model.config()), graph_("qat") {}

  OnnxReport write(const std::string& path) {
    QAT_CHECK(c_.norm == NormKind::kRms && c_.activation == Activation::kSilu && c_.gated && !c_.qk_norm &&
                  c_.window == 0 && !c_.learned_positions && c_.embedding_scale == 1.0f,
              kUnsupported, path, ": the model is a ", hf_architecture(c_.architecture).class_name,
              "; accepted for ONNX: Llama, Mistral without a sliding window, Qwen2");
    graph_.input("input_ids", OnnxType::kInt64, {"batch", "sequence"});
    graph_.output("logits", OnnxType::kFloat, {"batch", "sequence", std::to_string(c_.vocab_size)});
    const std::string table = embedding_table();
    add_positions();
    std::string x = graph_.node("Gather", {table, "input_ids"});  // (B, T, C)
    for (auto& block : model_.blocks()) {
      const std::string h = norm(x, block.input_layernorm.weight().value, block.input_layernorm.eps());
      x = graph_.node("Add", {x, attention(block.self_attn, h)});
      const std::string m =
          norm(x, block.post_attention_layernorm.weight().value, block.post_attention_layernorm.eps());
      x = graph_.node("Add", {x, mlp(block.mlp, m)});
    }
    x = norm(x, model_.norm().weight().value, model_.norm().eps());
    nn::Linear& head = model_.lm_head();
    const std::string logits = head.quantization() == nullptr && c_.tied
                                   ? graph_.node("MatMul", {x, graph_.node("Transpose", {table})})
                                   : linear(head, x, {});
    graph_.named("logits", logits);
    graph_.save(path);
    return std::move(report_);
  }

 private:
  std::string embedding_table() {
    const nn::Embedding& embedding = model_.embed_tokens();
    const auto* packed = dynamic_cast<const nn::PackedEmbedding*>(embedding.quantization());
    ++report_.in_float;
    const Tensor<float> values = packed == nullptr ? Tensor<float>() : dequantized_weight(*packed->packed());  // (V, C)
    if (packed != nullptr) report_.remarks.push_back(embedding.name() + ": written as the values of its codes");
    const float* data = packed == nullptr ? embedding.weight().value.data() : values.data();
    return graph_.floats(embedding.name() + ".weight", {c_.vocab_size, c_.dim}, data, c_.vocab_size * c_.dim);
  }

  /// cos and sin of the positions of the input, and the causal mask.
  void add_positions() {
    const ops::RopeTable table = ops::rope_table(c_.rope, c_.head_dim, c_.max_seq_len);
    const index_t half = c_.head_dim / 2;
    const std::string length =
        graph_.node("Gather", {graph_.node("Shape", {"input_ids"}), graph_.integers({1})});  // (1): T
    const auto rows_of = [&](const char* name, const Tensor<float>& values) {
      const std::string all = graph_.floats(name, {c_.max_seq_len, half}, values.data(), values.size());
      return graph_.node("Slice", {all, graph_.integers({0}), length, graph_.integers({0})});  // (T, D / 2)
    };
    cos_ = rows_of("rope.cos", table.cosine);
    sin_ = rows_of("rope.sin", table.sine);
    const std::string square = graph_.node("Concat", {length, length}, {{"axis", std::int64_t{0}}});
    const std::string low = graph_.node("Expand", {graph_.constant(-1e30f), square});
    mask_ = graph_.node("Trilu", {low, graph_.integer(1)}, {{"upper", std::int64_t{1}}});  // (T, T)
  }

  std::string norm(const std::string& x, const Tensor<float>& weight, float eps) {
    const std::string mean =
        graph_.node("ReduceMean", {graph_.node("Mul", {x, x}), graph_.integers({-1})}, {{"keepdims", std::int64_t{1}}});
    const std::string scale = graph_.node("Sqrt", {graph_.node("Add", {mean, graph_.constant(eps)})});
    const std::string w =
        graph_.floats("norm_" + std::to_string(norms_++), {weight.size()}, weight.data(), weight.size());
    return graph_.node("Mul", {graph_.node("Div", {x, scale}), w});
  }

  /// What a dynamic scheme makes of each row of x, as quant/affine.hpp says it.
  std::string fake_quantize(const std::string& x, const QuantSpec& spec, const std::string& name) {
    const bool symmetric = has_constant_zero_point(spec.mapping);
    QAT_CHECK(spec.is_signed && spec.granularity.kind == GranularityKind::kPerToken &&
                  (spec.mapping == MappingKind::kAsymmetric || spec.mapping == MappingKind::kSymmetric) &&
                  (spec.scale_type == ScaleType::kFloat32 || spec.scale_type == ScaleType::kInput),
              kUnsupported, name, ": activations are ", to_string(spec),
              "; accepted: int8:token:asymmetric, int8:token:symmetric and other widths of theirs");
    const auto one = [&](float value) { return graph_.constant(value); };
    const auto reduce = [&](const char* op, const std::string& v) {
      return graph_.node(op, {v, graph_.integers({-1})}, {{"keepdims", std::int64_t{1}}});
    };
    const auto qmin = static_cast<float>(spec.qmin()), qmax = static_cast<float>(spec.qmax());
    const std::string eps = one(spec.eps > 0.0f ? spec.eps : 0x1p-126f);
    std::string scale, zero;
    if (symmetric) {
      const std::string amax = reduce("ReduceMax", graph_.node("Abs", {x}));
      scale = graph_.node("Max", {graph_.node("Div", {amax, one((qmax - qmin) / 2.0f)}), eps});
    } else {
      const std::string low = graph_.node("Min", {reduce("ReduceMin", x), one(0.0f)});
      const std::string high = graph_.node("Max", {reduce("ReduceMax", x), one(0.0f)});
      const std::string range = graph_.node("Div", {graph_.node("Sub", {high, low}), one(qmax - qmin)});
      scale = graph_.node("Max", {range, eps});
      const std::string shifted =
          graph_.node("Sub", {one(qmin), graph_.node("Round", {graph_.node("Div", {low, scale})})});
      zero = graph_.node("Clip", {shifted, one(qmin), one(qmax)});
    }
    const std::string inverse = graph_.node("Div", {one(1.0f), scale});
    std::string codes = graph_.node("Round", {graph_.node("Mul", {x, inverse})});
    if (!zero.empty()) codes = graph_.node("Add", {codes, zero});
    codes = graph_.node("Clip", {codes, one(qmin), one(qmax)});
    if (!zero.empty()) codes = graph_.node("Sub", {codes, zero});
    return graph_.node("Mul", {codes, scale});
  }

  /// The activation scheme of packed layers that read x, fake-quantized once.
  std::string quantized_input(const std::string& x, std::initializer_list<nn::Linear*> readers) {
    for (nn::Linear* layer : readers)
      if (const auto spec = activation_of(*layer)) return fake_quantize(x, *spec, layer->name());
    return {};
  }
  static std::optional<QuantSpec> activation_of(const nn::Linear& layer) {
    return layer.quantization() == nullptr ? std::nullopt : layer.quantization()->activation();
  }

  /// quantized: x as the layer's activation scheme leaves it; empty: made here.
  std::string linear(nn::Linear& layer, const std::string& x, std::string quantized) {
    const auto* packed = dynamic_cast<const nn::PackedLinear*>(layer.quantization());
    QAT_CHECK(packed != nullptr || layer.quantization() == nullptr, kInvalidArgument, layer.name(),
              ": is prepared, not converted; call convert first");
    const std::string& name = layer.name();
    std::string y;
    if (packed == nullptr) {
      ++report_.in_float;
      const Tensor<float>& w = layer.weight().value;  // (O, C)
      const std::string weight = graph_.floats(name + ".weight", {w.dim(0), w.dim(1)}, w.data(), w.size());
      y = graph_.node("MatMul", {x, graph_.node("Transpose", {weight})});
    } else {
      ++report_.packed;
      const PackedWeight& w = *packed->packed();
      const NBitsWeight stored = nbits_weight(w, name);
      if (const auto spec = activation_of(layer); spec && quantized.empty()) quantized = fake_quantize(x, *spec, name);
      std::vector<std::string> inputs = {
          activation_of(layer) ? quantized : x,
          graph_.initializer(name + ".codes", OnnxType::kUint8,
                             {w.rows(), stored.blocks, stored.block_size * stored.bits / 8}, stored.codes.data(),
                             stored.codes.size()),
          graph_.floats(name + ".scales", {w.rows() * stored.blocks}, stored.scales.data(), w.rows() * stored.blocks)};
      if (!stored.zero_points.empty())
        inputs.push_back(graph_.initializer(name + ".zero_points", OnnxType::kUint8,
                                            {static_cast<index_t>(stored.zero_points.size())},
                                            stored.zero_points.data(), stored.zero_points.size()));
      y = graph_.node("MatMulNBits", inputs,
                      {{"K", std::int64_t{w.columns()}},
                       {"N", std::int64_t{w.rows()}},
                       {"bits", std::int64_t{stored.bits}},
                       {"block_size", std::int64_t{stored.block_size}}},
                      "com.microsoft");
    }
    if (layer.bias() == nullptr) return y;
    const Tensor<float>& bias = layer.bias()->value;
    return graph_.node("Add", {y, graph_.floats(name + ".bias", {bias.size()}, bias.data(), bias.size())});
  }

  std::string heads(const std::string& x, index_t count) {  // (B, T, heads * D) -> (B, heads, T, D)
    const std::string split = graph_.node("Reshape", {x, graph_.integers({0, 0, count, c_.head_dim})});
    return graph_.transpose(split, {0, 2, 1, 3});
  }
  std::string rotated(const std::string& x) {  // pairs (i, i + D / 2)
    const auto half = graph_.nodes("Split", {x}, 2, {{"axis", std::int64_t{-1}}, {"num_outputs", std::int64_t{2}}});
    const auto mul = [&](const std::string& a, const std::string& b) { return graph_.node("Mul", {a, b}); };
    const std::string first = graph_.node("Sub", {mul(half[0], cos_), mul(half[1], sin_)});
    const std::string second = graph_.node("Add", {mul(half[1], cos_), mul(half[0], sin_)});
    return graph_.node("Concat", {first, second}, {{"axis", std::int64_t{-1}}});
  }
  std::string repeated(const std::string& x) {  // key and value heads, once for each query head
    const index_t times = c_.n_heads / c_.n_kv_heads;
    if (times == 1) return x;
    const std::string wide = graph_.node("Unsqueeze", {x, graph_.integers({2})});  // (B, KV, 1, T, D)
    const std::string all = graph_.node("Expand", {wide, graph_.integers({1, 1, times, 1, 1})});
    return graph_.node("Reshape", {all, graph_.integers({0, c_.n_heads, -1, c_.head_dim})});
  }

  template <class Attention>
  std::string attention(Attention& a, const std::string& x) {
    const std::string in = quantized_input(x, {&a.q_proj, &a.k_proj, &a.v_proj});
    const std::string q = rotated(heads(linear(a.q_proj, x, in), c_.n_heads));
    const std::string k = repeated(rotated(heads(linear(a.k_proj, x, in), c_.n_kv_heads)));
    const std::string v = repeated(heads(linear(a.v_proj, x, in), c_.n_kv_heads));
    const float scale = 1.0f / std::sqrt(static_cast<float>(c_.head_dim));
    const std::string scores = graph_.node("MatMul", {q, graph_.transpose(k, {0, 1, 3, 2})});  // (B, H, T, T)
    const std::string masked = graph_.node("Add", {graph_.node("Mul", {scores, graph_.constant(scale)}), mask_});
    const std::string weights = graph_.node("Softmax", {masked}, {{"axis", std::int64_t{-1}}});
    const std::string mixed = graph_.transpose(graph_.node("MatMul", {weights, v}), {0, 2, 1, 3});
    const std::string y = graph_.node("Reshape", {mixed, graph_.integers({0, 0, c_.n_heads * c_.head_dim})});
    return linear(a.o_proj, y, {});
  }
  template <class Mlp>
  std::string mlp(Mlp& m, const std::string& x) {
    const std::string in = quantized_input(x, {&*m.gate_proj, &m.up_proj});
    const std::string gate = linear(*m.gate_proj, x, in), up = linear(m.up_proj, x, in);
    const std::string silu = graph_.node("Mul", {gate, graph_.node("Sigmoid", {gate})});
    return linear(m.down_proj, graph_.node("Mul", {silu, up}), {});
  }

  nn::Transformer& model_;
  const LlamaConfig& c_;
  OnnxGraph graph_;
  OnnxReport report_;
  std::string cos_, sin_, mask_;
  index_t norms_ = 0;
};

}  // namespace detail

/// Writes a model, converted or in floating point, as one ONNX file: input_ids I64 (batch, sequence) to logits F32
/// (batch, sequence, vocabulary), at most config().max_seq_len tokens of context, no cache.
/// @throws qat::Error (kUnsupported) naming the layer that MatMulNBits cannot hold and a scheme it can, or a model of
/// another form than Llama's
inline OnnxReport save_onnx(nn::Transformer& model, const std::string& path) {
  return detail::OnnxLlama(model).write(path);
}

}  // namespace qat::inline v0::recipe
