// prepare and convert: put fake quantization into the layers of a model that rules select, and turn it into packed
// weights.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "qat/nn/prepared_linear.hpp"
#include "qat/nn/transformer.hpp"
#include "qat/recipe/qat_config.hpp"

namespace qat::inline v0::recipe {

/// Which layers a scheme is for. Rules apply in order, later ones override; an empty scheme keeps a layer in floating
/// point.
///
/// pattern: "linear" (every linear layer, but not a head tied to the embedding), "embedding", "head", "first" and
/// "last" (linear layers of the first or last block), or a glob over layer names ('*' any run of characters, '?' one),
/// with or without the leading "model.": "layers.*.mlp.*", "layers.0.self_attn.q_proj".
struct LayerRule {
  std::string pattern = "linear";
  LayerScheme scheme;
};

struct PrepareOptions {
  nn::Product product = nn::Product::kInteger;  ///< of int8-activation schemes
  SteMask mask = SteMask::kInclusive;
  bool learn_scales = false;            ///< scales of weights are trained (LSQ), from those that the scheme chooses on
  std::optional<GgmlType> target = {};  ///< a GGUF type that has to hold the linear layers of the blocks exactly
};

/// One line of a report: what became of a layer, or why nothing did.
struct LayerReport {
  std::string name;
  std::string scheme;        ///< "float" for a layer left alone
  std::string reason;        ///< why it was left alone; else empty
  index_t parameters = 0;    ///< elements of its weight
  index_t bytes_before = 0;  ///< fp32 weight
  index_t bytes_after = 0;   ///< resident weight: packed codes, scales and zero points, or fp32
};
using Report = std::vector<LayerReport>;

inline index_t bytes_before(const Report& report) {
  index_t sum = 0;
  for (const LayerReport& layer : report) sum += layer.bytes_before;
  return sum;
}
inline index_t bytes_after(const Report& report) {
  index_t sum = 0;
  for (const LayerReport& layer : report) sum += layer.bytes_after;
  return sum;
}

/// Names one after the other, each once.
inline std::string joined_once(const std::vector<std::string>& names, const char* separator) {
  std::vector<std::string_view> seen;
  std::string text;
  for (const std::string& name : names) {
    bool is_new = true;
    for (const std::string_view other : seen) is_new = is_new && other != name;
    if (!is_new) continue;
    text += (seen.empty() ? "" : separator) + name;
    seen.push_back(name);
  }
  return text;
}

/// '*' matches any run of characters, '?' one.
constexpr bool matches_glob(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

namespace detail {

/// A layer that rules can name: exactly one of linear and embedding is set, none for a layer that stays as it is.
struct NamedLayer {
  std::string name;
  nn::Linear* linear = nullptr;
  nn::Embedding* embedding = nullptr;
  const Parameter* weight = nullptr;
  const Parameter* bias = nullptr;
  int block = -1;  ///< index of its block
  bool is_head = false, is_tied = false;
  const char* type = "";  ///< of a layer that is neither linear nor an embedding
};

inline std::vector<NamedLayer> layers_of(nn::Transformer& model) {
  std::vector<NamedLayer> layers;
  int block = -1;
  const auto append = [&](auto& layer) {
    if constexpr (std::is_same_v<decltype(layer), nn::Linear&>) {
      layers.push_back({layer.name(), &layer, nullptr, &layer.weight(), layer.bias(), block});
    } else {
      layers.push_back({layer.name(), nullptr, nullptr, &layer.weight(), layer.bias(), block});
      layers.back().type = layer.kind() == NormKind::kLayerNorm ? "LayerNorm" : "RmsNorm";
    }
  };
  nn::Embedding& embedding = model.embed_tokens();
  layers.push_back({embedding.name(), nullptr, &embedding, &embedding.weight()});
  if (model.embed_positions() != nullptr) {
    layers.push_back({"model.embed_positions", nullptr, nullptr, model.embed_positions()});
    layers.back().type = "learned positions";
  }
  for (auto& b : model.blocks()) {
    ++block;
    b.visit(append);
  }
  block = -1;
  append(model.norm());
  append(model.lm_head());
  layers.back().is_head = true;
  layers.back().is_tied = model.lm_head().shared_weight() == embedding.shared_weight();
  return layers;
}

inline bool selects(const std::string& pattern, const NamedLayer& layer, int blocks) {
  if (pattern == "linear") return layer.linear != nullptr && !layer.is_tied;
  if (pattern == "embedding") return layer.embedding != nullptr;
  if (pattern == "head") return layer.is_head;
  if (pattern == "first") return layer.linear != nullptr && layer.block == 0;
  if (pattern == "last") return layer.linear != nullptr && layer.block == blocks - 1;
  const std::string_view name = layer.name;
  return matches_glob(pattern, name) || (name.starts_with("model.") && matches_glob(pattern, name.substr(6)));
}

/// The rule that decides for a layer, or null.
inline const LayerRule* deciding_rule(const std::vector<LayerRule>& rules, const NamedLayer& layer, int blocks) {
  const LayerRule* rule = nullptr;
  for (const LayerRule& candidate : rules)
    if (selects(candidate.pattern, layer, blocks)) rule = &candidate;
  return rule;
}

/// What is trained must be what is shipped: refuses a scheme whose weights the target would not hold exactly.
inline void check_target(GgmlType target, const QuantSpec& spec, const NamedLayer& layer) {
  const char* reason = ggml_misfit(target, spec, layer.weight->value.dim(1));
  if (reason == nullptr) return;
  const char* scheme = ggml_scheme(target);
  raise(ErrorCode::kUnsupported, layer.name, ": ", to_string(spec), " is not exact in the target ", info(target).name,
        ": ", reason,
        scheme != nullptr ? "; the nearest scheme that fits is weight="
                          : "; accepted targets with a scheme of their own are ",
        scheme != nullptr ? scheme : kGgmlTrained);
}

inline void check_rules(const std::vector<LayerRule>& rules, const std::vector<NamedLayer>& layers, int blocks,
                        const PrepareOptions& options) {
  for (const LayerRule& rule : rules) {
    const NamedLayer* selected = nullptr;
    bool none_fits = true;
    for (const NamedLayer& layer : layers) {
      if (!selects(rule.pattern, layer, blocks)) continue;
      selected = &layer;
      if (layer.linear == nullptr && layer.embedding == nullptr) continue;
      none_fits = false;
      QAT_CHECK(
          layer.embedding == nullptr || !rule.scheme.activation, kUnsupported, layer.name,
          ": activation fake quantization is not supported for an embedding; accepted is a weight scheme alone, found ",
          to_string(rule.scheme));
      if (!rule.scheme.weight) continue;
      const Granularity& g = rule.scheme.weight->granularity;
      QAT_CHECK(g.kind != GranularityKind::kPerGroup || g.group_size <= layer.weight->value.dim(1), kInvalidArgument,
                layer.name, ": group_size is ", g.group_size, ", accepted are 1 to its row length ",
                layer.weight->value.dim(1));
      QAT_CHECK(!options.learn_scales || has_learned_scale(*rule.scheme.weight), kUnsupported, layer.name,
                ": scales of ", to_string(*rule.scheme.weight),
                " are not learned; accepted are mappings with an integer zero point, without a table of levels");
      if (options.target && layer.block >= 0 && deciding_rule(rules, layer, blocks) == &rule)
        check_target(*options.target, *rule.scheme.weight, layer);
    }
    QAT_CHECK(selected != nullptr, kInvalidArgument, "layer pattern \"", rule.pattern,
              "\" selects nothing, accepted: linear, embedding, head, first, last, or a glob over names such as ",
              layers[2].name);
    QAT_CHECK(!none_fits, kUnsupported, selected->name, ": type ", selected->type,
              " has no quantization-aware form; accepted are Linear and Embedding layers");
  }
}

/// What a prepared layer trains with; empty for any other.
inline std::optional<LayerScheme> prepared_scheme(const NamedLayer& layer) {
  if (layer.linear != nullptr)
    if (const auto* p = dynamic_cast<const nn::PreparedLinear*>(layer.linear->quantization())) return p->scheme();
  if (layer.embedding != nullptr)
    if (const auto* p = dynamic_cast<const nn::PreparedEmbedding*>(layer.embedding->quantization()))
      return LayerScheme{p->spec(), {}};
  return std::nullopt;
}

/// The packed weight of a converted layer; null for any other.
inline std::shared_ptr<const PackedWeight> packed_of(const NamedLayer& layer) {
  if (layer.linear != nullptr)
    if (const auto* p = dynamic_cast<const nn::PackedLinear*>(layer.linear->quantization())) return p->packed();
  if (layer.embedding != nullptr)
    if (const auto* p = dynamic_cast<const nn::PackedEmbedding*>(layer.embedding->quantization())) return p->packed();
  return nullptr;
}

/// A rule's scheme, as a layer gets it. ggml's activations are those of a runtime that stores rows of no whole blocks
/// in floating point, and multiplies these with activations as they are.
inline LayerScheme scheme_for(const LayerRule& rule, const NamedLayer& layer) {
  LayerScheme scheme = rule.scheme;
  if (scheme.activation && has_ggml_scale(*scheme.activation) &&
      layer.weight->value.dim(1) % scheme.activation->granularity.group_size != 0)
    scheme.activation = std::nullopt;
  return scheme;
}

inline LayerReport report_of(const NamedLayer& layer) {
  LayerReport line{layer.name, "float", "", layer.weight->value.size(), 0, 0};
  const bool counted = !layer.is_tied;  // a tied head's bytes are the embedding's
  line.bytes_before = counted ? layer.weight->value.size_bytes() : 0;
  line.bytes_after = line.bytes_before;
  return line;
}
inline std::string stays_float(const NamedLayer& layer) {
  return layer.weight->value.rank() == 1 ? "norms stay in floating point" : "positions stay in floating point";
}
inline std::string reason_for(const NamedLayer& layer, const LayerRule* rule) {
  if (layer.linear == nullptr && layer.embedding == nullptr) return stays_float(layer);
  if (rule != nullptr) return "rule \"" + rule->pattern + "\" keeps it in floating point";
  return layer.is_tied ? "shares its weight with the embedding; no rule selects it" : "no rule selects it";
}

}  // namespace detail

/// Puts fake quantization into every layer that a rule selects with a scheme, and takes it out of every other.
/// The master weights stay where they are (optimizers keep their pointers). Ready to train afterwards.
/// @throws qat::Error if a pattern selects nothing or a norm, an embedding gets an activation scheme, or a group size
/// does
///         not fit; the model is then unchanged
inline Report prepare(nn::Transformer& model, const std::vector<LayerRule>& rules, const PrepareOptions& options = {}) {
  const std::vector<detail::NamedLayer> layers = detail::layers_of(model);
  const int blocks = static_cast<int>(model.blocks().size());
  for (const detail::NamedLayer& layer : layers)
    QAT_CHECK(!layer.weight->value.empty(), kInvalidArgument, layer.name,
              ": is converted already; prepare a floating-point model");
  detail::check_rules(rules, layers, blocks, options);
  Report report;
  for (const detail::NamedLayer& layer : layers) {
    const LayerRule* rule = detail::deciding_rule(rules, layer, blocks);
    const bool can = rule != nullptr && (layer.linear != nullptr || layer.embedding != nullptr);
    const LayerScheme scheme = can ? detail::scheme_for(*rule, layer) : LayerScheme{};
    const bool quantize = !scheme.empty();
    LayerReport line = detail::report_of(layer);
    if (quantize) line.scheme = to_string(scheme).c_str();
    if (!quantize) line.reason = detail::reason_for(layer, rule);
    report.push_back(std::move(line));
    if (layer.linear != nullptr) {
      auto prepared = quantize ? std::make_unique<nn::PreparedLinear>(scheme, options.product, options.mask) : nullptr;
      if (quantize && options.learn_scales) prepared->learn_scales(*layer.linear);
      layer.linear->set_quantization(std::move(prepared));
    }
    if (layer.embedding != nullptr) {
      auto prepared = quantize ? std::make_unique<nn::PreparedEmbedding>(*scheme.weight, options.mask) : nullptr;
      if (quantize && options.learn_scales) prepared->learn_scales(*layer.embedding);
      layer.embedding->set_quantization(std::move(prepared));
    }
  }
  return report;
}

namespace detail {
/// f(prepared) for every PreparedLinear and PreparedEmbedding, in the order of layers_of.
template <class F>
void for_each_prepared(nn::Transformer& model, const F& f) {
  for (const NamedLayer& layer : layers_of(model)) {
    if (layer.linear != nullptr)
      if (auto* prepared = dynamic_cast<nn::PreparedLinear*>(layer.linear->quantization())) f(*prepared);
    if (layer.embedding != nullptr)
      if (auto* prepared = dynamic_cast<nn::PreparedEmbedding*>(layer.embedding->quantization())) f(*prepared);
  }
}
}  // namespace detail

/// Switches fake quantization of every prepared layer on or off (delayed fake quantization).
inline void set_fake_quantization(nn::Transformer& model, bool enabled) {
  detail::for_each_prepared(model, [&](auto& prepared) { prepared.set_enabled(enabled); });
}

/// The learned scales of every layer of a model prepared with learn_scales, with their state.
inline std::vector<nn::LearnedScales> learned_scale_states(nn::Transformer& model) {
  std::vector<nn::LearnedScales> states;
  detail::for_each_prepared(model, [&](auto& prepared) {
    if (const auto state = prepared.learned_scales()) states.push_back(*state);
  });
  return states;
}

/// The same as parameters, to be trained beside model.parameters(): a tenth of the weights' learning rate, no weight
/// decay.
inline std::vector<Parameter*> learned_scales(nn::Transformer& model) {
  std::vector<Parameter*> scales;
  for (const nn::LearnedScales& state : learned_scale_states(model)) scales.push_back(state.scale);
  return scales;
}

/// Takes fake quantization out; the trained float weights stay.
inline void restore_float(nn::Transformer& model) {
  for (nn::Linear* layer : model.linear_layers()) {
    QAT_CHECK(!layer->weight().value.empty(), kInvalidArgument, layer->name(),
              ": its float weight is gone since convert; keep the prepared model to go back");
    layer->set_quantization(nullptr);
  }
  model.embed_tokens().set_quantization(nullptr);
}

/// Replaces the float weight of every prepared layer by packed integers of the layer's own scheme: the very integers
/// and scales that training multiplied with. The float weight is freed unless a layer that stays in floating point
/// shares it. Afterwards the model evaluates and generates; it no longer trains. device: quantizes; null: the CPU does
inline Report convert(const CpuBackend& backend, nn::Transformer& model, nn::PackingDevice* device = nullptr) {
  Report report;
  nn::Embedding& embedding = model.embed_tokens();
  std::shared_ptr<const PackedWeight> packed_embedding;
  const std::vector<detail::NamedLayer> layers = detail::layers_of(model);
  for (const detail::NamedLayer& layer : layers) {
    LayerReport line = detail::report_of(layer);
    if (layer.embedding != nullptr) {
      if (auto* prepared = dynamic_cast<nn::PreparedEmbedding*>(embedding.quantization())) {
        packed_embedding = std::make_shared<const PackedWeight>(prepared->pack(backend, embedding, device));
        line.scheme = to_string(LayerScheme{prepared->spec(), {}}).c_str();
        line.bytes_after = packed_embedding->resident_bytes();
        embedding.set_quantization(std::make_unique<nn::PackedEmbedding>(packed_embedding));
      } else {
        line.reason = "not prepared";
      }
    } else if (layer.linear != nullptr) {
      auto* prepared = dynamic_cast<nn::PreparedLinear*>(layer.linear->quantization());
      if (prepared != nullptr && prepared->scheme().weight) {
        const LayerScheme scheme = prepared->scheme();
        auto packed = std::make_shared<const PackedWeight>(prepared->pack(backend, *layer.linear, device));
        const bool shares = layer.is_tied && packed_embedding != nullptr && *packed == *packed_embedding;
        if (shares) packed = packed_embedding;
        line.scheme = to_string(scheme).c_str();
        line.bytes_after = shares ? 0 : packed->resident_bytes();
        layer.linear->set_quantization(
            std::make_unique<nn::PackedLinear>(std::move(packed), scheme.activation, prepared->product()));
        if (!layer.linear->weight_is_shared()) layer.linear->weight().value = Tensor<float>();
        layer.linear->weight().grad = Tensor<float>();
      } else if (prepared != nullptr) {
        line.scheme = to_string(prepared->scheme()).c_str();
        line.reason = "only its activation is quantized";
      } else {
        line.reason = layer.is_tied ? "shares its weight with the embedding; not prepared" : "not prepared";
      }
    } else {
      line.reason = detail::stays_float(layer);
    }
    report.push_back(std::move(line));
  }
  // A tied table is needed in fp32 as long as either side reads it so.
  const bool head_packed = dynamic_cast<const nn::PackedLinear*>(model.lm_head().quantization()) != nullptr;
  const bool tied = layers.back().is_tied;
  if (packed_embedding != nullptr && (!tied || head_packed)) embedding.weight().value = Tensor<float>();
  if (tied && head_packed != (packed_embedding != nullptr)) {  // one side packed, the other float: both are resident
    report.front().bytes_after =
        report.front().bytes_before + (packed_embedding != nullptr ? packed_embedding->resident_bytes() : 0);
  }
  return report;
}

/// Post-training quantization: prepare and convert without training in between.
inline Report quantize(const CpuBackend& backend, nn::Transformer& model, const std::vector<LayerRule>& rules,
                       const PrepareOptions& options = {}, nn::PackingDevice* device = nullptr) {
  prepare(model, rules, options);
  return convert(backend, model, device);
}

/// torchao's entry point: one step of a QATConfig on the layers of `pattern`.
///   prepare                    fake quantization with the inferred or explicit schemes
///   convert with base_config   packed weights; the base configuration must describe what was prepared
///   convert without            back to floating point
inline Report apply(const CpuBackend& backend, nn::Transformer& model, const QATConfig& config,
                    const std::string& pattern = "linear") {
  const LayerScheme scheme = config.scheme();
  if (config.step() == QATStep::kPrepare)
    return prepare(model, {{pattern, scheme}}, {.learn_scales = config.learns_scales()});
  if (!config.has_base_config()) {
    restore_float(model);
    return prepare(model, {});
  }
  const int blocks = static_cast<int>(model.blocks().size());
  for (const detail::NamedLayer& layer : detail::layers_of(model)) {
    if (!detail::selects(pattern, layer, blocks) || (layer.linear == nullptr && layer.embedding == nullptr)) continue;
    const std::optional<LayerScheme> prepared = detail::prepared_scheme(layer);
    QAT_CHECK(prepared.has_value(), kInvalidArgument, layer.name, ": is not prepared; call the prepare step first");
    QAT_CHECK(*prepared == scheme, kInvalidArgument, layer.name, ": was trained with ", to_string(*prepared),
              ", base_config asks for ", to_string(scheme), "; what is trained is what is shipped");
  }
  return convert(backend, model);
}

}  // namespace qat::inline v0::recipe
