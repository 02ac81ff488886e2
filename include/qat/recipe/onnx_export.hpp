// A model as an ONNX graph: token ids in, logits out. Packed linear layers become MatMulNBits, ONNX Runtime's product
// of packed weights, with the codes and scales that were trained.
//
// What a dynamic activation scheme does to x is in the graph too, operator by operator, so that a runtime computes what
// training computed; only the order of sums is the runtime's own.
// Source: ONNX 1.16 operators (opset 21); ONNX Runtime, ContribOperators.md (com.microsoft.MatMulNBits, version 1).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
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

/// How the operator holds a layer. Codes keep their values: a 3-bit code is stored in 4 bits, and a group wider than
/// the largest block that divides it is stored as several with one scale.
struct NBitsLayout {
  int bits = 4;            // 2, 4 or 8: the widths that ONNX Runtime's CPU kernels take
  index_t block_size = 0;  // a power of two >= 16
  index_t blocks = 0;      // of a row
  int shift = 0;           // stored code = code + shift
  bool symmetric = true;   // every zero point is middle(), and none is stored

  int middle() const { return 1 << (bits - 1); }
  index_t row_bytes() const { return blocks * block_size * bits / 8; }
  index_t zero_bytes() const { return packed_bytes(blocks, bits); }
};

inline NBitsLayout nbits_layout(const StoredWeight& weight, const std::string& name) {
  const QuantSpec& spec = weight.spec();
  const Granularity& g = spec.granularity;
  const bool is_row = g.kind == GranularityKind::kPerAxis && g.axis == 0;
  const index_t group = is_row ? 128 : g.group_size;
  NBitsLayout out;
  out.bits = spec.bits <= 2 ? 2 : spec.bits <= 4 ? 4 : 8;
  const int zeros = group <= 0 ? 0 : std::countr_zero(static_cast<std::uint64_t>(group));
  out.block_size = group <= 0 ? 0 : index_t{1} << (zeros < 8 ? zeros : 8);
  QAT_CHECK(
      (is_row || g.kind == GranularityKind::kPerGroup) && out.block_size >= 16 && !has_float_zero_point(spec.mapping),
      kUnsupported, name, ": ", to_string(spec),
      " does not fit MatMulNBits; accepted: one scale a row or groups of a multiple of 16, integer zero points, "
      "such as int4:group32:symmetric");
  out.blocks = (weight.columns() + out.block_size - 1) / out.block_size;
  out.shift = out.middle() - (spec.is_signed ? 0 : 1 << (spec.bits - 1));
  for (index_t i = 0; i < weight.groups().count(); ++i)
    out.symmetric = out.symmetric && static_cast<int>(weight.zero_point(i)) + out.shift == out.middle();
  return out;
}

/// U8 (N, blocks, block_size * bits / 8), first code lowest.
inline void write_nbits_codes(const StoredWeight& weight, const NBitsLayout& l, const ByteSink& sink) {
  std::vector<std::uint8_t> u(static_cast<std::size_t>(l.blocks * l.block_size)),
      bytes(static_cast<std::size_t>(l.row_bytes()));
  for (index_t n = 0; n < weight.rows(); ++n) {
    weight.codes(n, u.data());
    qat::detail::add_to_codes(u.data(), weight.columns(), weight.spec().lowest() + l.shift);
    std::fill(u.begin() + weight.columns(), u.end(), static_cast<std::uint8_t>(l.middle()));  // dequantizes to 0
    qat::detail::pack_bits(u.data(), static_cast<index_t>(u.size()), l.bits, bytes.data());
    sink(bytes.data(), bytes.size());
  }
}
/// F32 (N, blocks).
inline void write_nbits_scales(const StoredWeight& weight, const NBitsLayout& l, const ByteSink& sink) {
  std::vector<float> scales(static_cast<std::size_t>(l.blocks));
  for (index_t n = 0; n < weight.rows(); ++n) {
    for (index_t b = 0; b < l.blocks; ++b)
      scales[static_cast<std::size_t>(b)] = weight.scale(weight.group_of(n, b * l.block_size));
    sink(scales.data(), scales.size() * sizeof(float));
  }
}
/// U8 (N, ceil(blocks * bits / 8)).
inline void write_nbits_zero_points(const StoredWeight& weight, const NBitsLayout& l, const ByteSink& sink) {
  std::vector<std::uint8_t> u(static_cast<std::size_t>(l.blocks)), bytes(static_cast<std::size_t>(l.zero_bytes()));
  for (index_t n = 0; n < weight.rows(); ++n) {
    for (index_t b = 0; b < l.blocks; ++b)
      u[static_cast<std::size_t>(b)] = static_cast<std::uint8_t>(
          static_cast<int>(weight.zero_point(weight.group_of(n, b * l.block_size))) + l.shift);
    qat::detail::pack_bits(u.data(), l.blocks, l.bits, bytes.data());
    sink(bytes.data(), bytes.size());
  }
}

/// Builds the graph of a Llama.
class OnnxLlama {
 public:
  explicit OnnxLlama(const ExportSource& source) : c_(source.config), graph_("qat") {
    for (const ExportLayer& layer : source.layers) layers_[layer.name] = &layer;
  }

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
    for (index_t i = 0; i < c_.n_layers; ++i) {
      const std::string block = "model.layers." + std::to_string(i) + ".";
      const std::string h = norm(x, block + "input_layernorm");
      x = graph_.node("Add", {x, attention(block + "self_attn.", h)});
      const std::string m = norm(x, block + "post_attention_layernorm");
      x = graph_.node("Add", {x, mlp(block + "mlp.", m)});
    }
    x = norm(x, "model.norm");
    const ExportLayer& head = layer("lm_head");
    const std::string logits = !head.packed && head.is_tied
                                   ? graph_.node("MatMul", {x, graph_.node("Transpose", {table})})
                                   : linear(head, x, {});
    graph_.named("logits", logits);
    graph_.save(path);
    return std::move(report_);
  }

 private:
  std::string embedding_table() {
    const ExportLayer& embedding = layer("model.embed_tokens");
    ++report_.in_float;
    if (embedding.packed) report_.remarks.push_back(embedding.name + ": written as the values of its codes");
    return graph_.floats(embedding.name + ".weight", floats_of(embedding));  // (V, C)
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

  std::string norm(const std::string& x, const std::string& name) {
    const std::string mean =
        graph_.node("ReduceMean", {graph_.node("Mul", {x, x}), graph_.integers({-1})}, {{"keepdims", std::int64_t{1}}});
    const std::string scale = graph_.node("Sqrt", {graph_.node("Add", {mean, graph_.constant(c_.norm_eps)})});
    const std::string w = graph_.floats("norm_" + std::to_string(norms_++), layer(name).weight);
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
  std::string quantized_input(const std::string& x, const std::string& module,
                              std::initializer_list<const char*> readers) {
    for (const char* reader : readers)
      if (const auto spec = layer(module + reader).activation) return fake_quantize(x, *spec, module + reader);
    return {};
  }
  const ExportLayer& layer(const std::string& name) const { return *layers_.at(name); }

  /// quantized: x as the layer's activation scheme leaves it; empty: made here.
  std::string linear(const ExportLayer& layer, const std::string& x, std::string quantized) {
    const std::string& name = layer.name;
    std::string y;
    if (!layer.packed) {
      ++report_.in_float;
      const std::string weight = graph_.floats(name + ".weight", layer.weight);  // (O, C)
      y = graph_.node("MatMul", {x, graph_.node("Transpose", {weight})});
    } else {
      ++report_.packed;
      const index_t rows = layer.shape[0];
      const NBitsLayout l = nbits_layout(*layer.packed(), name);
      if (layer.activation && quantized.empty()) quantized = fake_quantize(x, *layer.activation, name);
      const auto part = [&](const char* suffix, OnnxType type, const std::vector<index_t>& shape, auto* content) {
        return graph_.initializer(name + suffix, type, shape, [read = layer.packed, l, content](const ByteSink& sink) {
          content(*read(), l, sink);
        });
      };
      std::vector<std::string> inputs = {
          layer.activation ? quantized : x,
          part(".codes", OnnxType::kUint8, {rows, l.blocks, l.block_size * l.bits / 8}, write_nbits_codes),
          part(".scales", OnnxType::kFloat, {rows * l.blocks}, write_nbits_scales)};
      if (!l.symmetric)
        inputs.push_back(part(".zero_points", OnnxType::kUint8, {rows * l.zero_bytes()}, write_nbits_zero_points));
      y = graph_.node("MatMulNBits", inputs,
                      {{"K", std::int64_t{layer.shape[1]}},
                       {"N", std::int64_t{rows}},
                       {"bits", std::int64_t{l.bits}},
                       {"block_size", std::int64_t{l.block_size}}},
                      "com.microsoft");
    }
    if (!layer.bias) return y;
    return graph_.node("Add", {y, graph_.floats(name + ".bias", layer.bias)});
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

  std::string attention(const std::string& a, const std::string& x) {
    const std::string in = quantized_input(x, a, {"q_proj", "k_proj", "v_proj"});
    const std::string q = rotated(heads(linear(layer(a + "q_proj"), x, in), c_.n_heads));
    const std::string k = repeated(rotated(heads(linear(layer(a + "k_proj"), x, in), c_.n_kv_heads)));
    const std::string v = repeated(heads(linear(layer(a + "v_proj"), x, in), c_.n_kv_heads));
    const float scale = 1.0f / std::sqrt(static_cast<float>(c_.head_dim));
    const std::string scores = graph_.node("MatMul", {q, graph_.transpose(k, {0, 1, 3, 2})});  // (B, H, T, T)
    const std::string masked = graph_.node("Add", {graph_.node("Mul", {scores, graph_.constant(scale)}), mask_});
    const std::string weights = graph_.node("Softmax", {masked}, {{"axis", std::int64_t{-1}}});
    const std::string mixed = graph_.transpose(graph_.node("MatMul", {weights, v}), {0, 2, 1, 3});
    const std::string y = graph_.node("Reshape", {mixed, graph_.integers({0, 0, c_.n_heads * c_.head_dim})});
    return linear(layer(a + "o_proj"), y, {});
  }
  std::string mlp(const std::string& m, const std::string& x) {
    const std::string in = quantized_input(x, m, {"gate_proj", "up_proj"});
    const std::string gate = linear(layer(m + "gate_proj"), x, in), up = linear(layer(m + "up_proj"), x, in);
    const std::string silu = graph_.node("Mul", {gate, graph_.node("Sigmoid", {gate})});
    return linear(layer(m + "down_proj"), graph_.node("Mul", {silu, up}), {});
  }

  const LlamaConfig& c_;
  std::map<std::string, const ExportLayer*> layers_;
  OnnxGraph graph_;
  OnnxReport report_;
  std::string cos_, sin_, mask_;
  index_t norms_ = 0;
};

}  // namespace detail

/// Writes a model, converted or in floating point, as one ONNX file, some rows at a time: input_ids I64 (batch,
/// sequence) to logits F32 (batch, sequence, vocabulary), at most config().max_seq_len tokens of context, no cache.
/// @throws qat::Error (kUnsupported) naming the layer that MatMulNBits cannot hold and a scheme it can, or a model of
/// another form than Llama's
inline OnnxReport save_onnx(const ExportSource& source, const std::string& path) {
  return detail::OnnxLlama(source).write(path);
}
/// The same of a model in memory.
inline OnnxReport save_onnx(nn::Transformer& model, const std::string& path) {
  return save_onnx(export_source(model), path);
}

}  // namespace qat::inline v0::recipe
