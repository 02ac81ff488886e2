// The configurations people know from torchao, and QATConfig that turns one into what prepare() and convert() do.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "qat/quant/ggml_target.hpp"
#include "qat/quantizer/layer_scheme.hpp"

namespace qat::inline v0::recipe {

/// int8 dynamic activations (per token, asymmetric) with intN weights: `8da4w` at bits = 4.
/// Source: torchao Int8DynamicActivationIntxWeightConfig; the fake quantizers it infers hold scales in the input dtype.
struct Int8DynamicActivationIntxWeightConfig {
  int weight_bits = 4;  ///< 2 to 8
  Granularity weight_granularity{GranularityKind::kPerGroup, 0, 32};
  MappingKind weight_mapping = MappingKind::kSymmetric;
};
/// intN weights, floating-point activations. Also for embeddings. Source: torchao IntxWeightOnlyConfig.
struct IntxWeightOnlyConfig {
  int weight_bits = 8;  ///< 2 to 8
  Granularity granularity{GranularityKind::kPerAxis, 0};
  MappingKind mapping = MappingKind::kSymmetric;
};
/// uint4 weights with a floating-point zero point (tinygemm). Source: torchao Int4WeightOnlyQATQuantizer.
struct Int4WeightOnlyConfig {
  index_t group_size = 128;
};
/// An explicit fake quantizer for activations or weights. Source: torchao IntxFakeQuantizeConfig.
struct IntxFakeQuantizeConfig {
  QuantSpec spec;
  bool is_dynamic = true;
  bool range_learning = false;
};

using AnyConfig = std::variant<Int8DynamicActivationIntxWeightConfig, IntxWeightOnlyConfig, Int4WeightOnlyConfig,
                               IntxFakeQuantizeConfig>;

enum class QATStep { kPrepare, kConvert };

/// "prepare" or "convert", in any case.
inline QATStep parse_step(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (lower == "prepare") return QATStep::kPrepare;
  QAT_CHECK(lower == "convert", kInvalidArgument, "QATConfig: step is \"", text,
            "\", must be one of: prepare, convert");
  return QATStep::kConvert;
}

namespace detail {
inline void check_weight_bits(const char* config, int bits) {
  QAT_CHECK(bits >= 2 && bits <= 8, kUnsupported, config, ": weight_bits is ", bits, ", accepted are 2 to 8");
}
inline void check_weight_granularity(const char* config, const Granularity& g) {
  QAT_CHECK(g.kind == GranularityKind::kPerGroup || (g.kind == GranularityKind::kPerAxis && g.axis == 0), kUnsupported,
            config, ": granularity must be PerGroup(G) or PerAxis(0)");
  QAT_CHECK(g.kind != GranularityKind::kPerGroup || g.group_size >= 1, kInvalidArgument, config, ": group_size is ",
            g.group_size, ", must be at least 1");
}
}  // namespace detail

/// The schemes that prepare() infers from a base (PTQ) configuration.
/// @throws qat::Error for values the configuration does not accept, and for an IntxFakeQuantizeConfig
inline LayerScheme infer_scheme(const AnyConfig& config) {
  LayerScheme scheme;
  if (const auto* c = std::get_if<Int8DynamicActivationIntxWeightConfig>(&config)) {
    detail::check_weight_bits("Int8DynamicActivationIntxWeightConfig", c->weight_bits);
    detail::check_weight_granularity("Int8DynamicActivationIntxWeightConfig", c->weight_granularity);
    scheme.activation = QuantSpec{8, true, {GranularityKind::kPerToken}, MappingKind::kAsymmetric, ScaleType::kInput};
    scheme.weight = QuantSpec{c->weight_bits, true, c->weight_granularity, c->weight_mapping, ScaleType::kInput};
  } else if (const auto* w = std::get_if<IntxWeightOnlyConfig>(&config)) {
    detail::check_weight_bits("IntxWeightOnlyConfig", w->weight_bits);
    detail::check_weight_granularity("IntxWeightOnlyConfig", w->granularity);
    scheme.weight = QuantSpec{w->weight_bits, true, w->granularity, w->mapping, ScaleType::kInput};
  } else if (const auto* t = std::get_if<Int4WeightOnlyConfig>(&config)) {
    QAT_CHECK(t->group_size == 32 || t->group_size == 64 || t->group_size == 128 || t->group_size == 256, kUnsupported,
              "Int4WeightOnlyConfig: group_size is ", t->group_size, ", accepted are 32, 64, 128, 256");
    scheme.weight = QuantSpec{4,
                              false,
                              {GranularityKind::kPerGroup, 0, t->group_size},
                              MappingKind::kFloatZeroPoint,
                              ScaleType::kBfloat16,
                              RoundingKind::kHalfToEven,
                              1e-6f};
  } else {
    raise(ErrorCode::kInvalidArgument,
          "QATConfig: base_config is an IntxFakeQuantizeConfig, which is no base configuration; did you mean "
          "activation_config or weight_config?");
  }
  if (scheme.weight) validate(*scheme.weight);
  return scheme;
}

/// One call of prepare or convert. Error contract as torchao's QATConfig.__post_init__:
///   unknown step; base_config together with activation_config or weight_config; prepare with none of the three;
///   convert with activation_config or weight_config; a fake-quantize configuration as base_config.
class QATConfig {
 public:
  QATConfig() = default;
  explicit QATConfig(AnyConfig base_config) : base_config_(std::move(base_config)) {}

  QATConfig& base_config(AnyConfig config) { return base_config_ = std::move(config), *this; }
  QATConfig& activation_config(IntxFakeQuantizeConfig config) { return activation_config_ = config, *this; }
  QATConfig& weight_config(IntxFakeQuantizeConfig config) { return weight_config_ = config, *this; }
  QATConfig& step(QATStep step) { return step_ = step, *this; }
  QATConfig& step(std::string_view step) { return step_ = parse_step(step), *this; }

  QATStep step() const { return step_; }
  bool has_base_config() const { return base_config_.has_value(); }
  /// True where weight_config asks for range_learning: PrepareOptions::learn_scales.
  bool learns_scales() const { return weight_config_ && weight_config_->range_learning; }

  /// Checks the contract and returns the scheme of each selected layer; empty for convert without a base configuration,
  /// which restores floating-point layers.
  LayerScheme scheme() const {
    QAT_CHECK(!base_config_ || !activation_config_, kInvalidArgument,
              "QATConfig: base_config and activation_config are both given, accepted is one of them");
    QAT_CHECK(!base_config_ || !weight_config_, kInvalidArgument,
              "QATConfig: base_config and weight_config are both given, accepted is one of them");
    if (step_ == QATStep::kConvert) {
      QAT_CHECK(!activation_config_ && !weight_config_, kInvalidArgument,
                "QATConfig: activation_config or weight_config is given in the convert step, accepted is base_config "
                "or nothing");
      return base_config_ ? infer_scheme(*base_config_) : LayerScheme{};
    }
    QAT_CHECK(base_config_ || activation_config_ || weight_config_, kInvalidArgument,
              "QATConfig: nothing is given in the prepare step, one of base_config, activation_config, weight_config "
              "is needed");
    if (base_config_) return infer_scheme(*base_config_);
    LayerScheme scheme;
    QAT_CHECK(!activation_config_ || !activation_config_->range_learning, kUnsupported,
              "QATConfig: activation_config asks for range_learning, accepted is is_dynamic; scales of weights are "
              "learned");
    if (activation_config_) scheme.activation = checked("activation_config", *activation_config_);
    if (weight_config_) scheme.weight = checked("weight_config", *weight_config_);
    QAT_CHECK(!scheme.weight || scheme.weight->granularity.kind != GranularityKind::kPerToken, kUnsupported,
              "QATConfig: weight_config is per token, accepted are per tensor, axis, group and block");
    QAT_CHECK(!scheme.activation || (!has_float_zero_point(scheme.activation->mapping) &&
                                     scheme.activation->mapping != MappingKind::kSignedExtremum),
              kUnsupported, "QATConfig: activation_config maps by ", qat::to_string(*scheme.activation),
              ", accepted mappings are symmetric, symmetric_no_clip, asymmetric");
    return scheme;
  }

 private:
  static QuantSpec checked(const char* field, const IntxFakeQuantizeConfig& config) {
    QAT_CHECK(!(config.is_dynamic && config.range_learning), kInvalidArgument, "QATConfig: ", field,
              " has both is_dynamic and range_learning, accepted is one of them");
    QAT_CHECK(config.is_dynamic || config.range_learning, kUnsupported, "QATConfig: ", field,
              " is static; prepare() takes dynamic or learned ranges, static ones are set on a FakeQuantizer by "
              "calibrate()");
    validate(config.spec);
    return config.spec;
  }

  std::optional<AnyConfig> base_config_;
  std::optional<IntxFakeQuantizeConfig> activation_config_, weight_config_;
  QATStep step_ = QATStep::kPrepare;
};

/// A scheme by name or in full, for command lines and recipes:
///   8daNw            int8 dynamic activations, intN weights, amax/((2^N-1)/2) scales in fp32 (torchao)    N = 2..8
///   intN_weight_only intN weights, likewise (torchao)                                                      N = 2..8
///   tinygemm         uint4 weights, float zero point, bfloat16 scales (torchao's Int4WeightOnlyQATQuantizer)
///   qatN, qatNa8     qat's own: signed extremum, bf16-safe scales; with a8 also int8 dynamic activations   N = 2..8
///   gguf:TYPE        what a type of ggml holds exactly: q4_0 and q5_0 (qat4, qat5 in groups of 32), q8_0 (-127 to
///                    127), q4_1, iq4_nl, mxfp4, tq1_0, tq2_0
///   gguf:TYPE+q8_0   the same, with activations as llama.cpp rounds them for q4_0, q5_0, q8_0, iq4_nl and mxfp4;
///                    gguf:q4_1+q8_1 and gguf:TYPE+q8_k (tq1_0, tq2_0) for the others
///   weight=SPEC[,activation=SPEC] or activation=SPEC
/// The other named ones take ":groupG" or ":axis0" (default group32).
/// @throws qat::Error (kUnsupported) that lists these
inline LayerScheme parse_scheme(std::string_view text) {
  const auto fail = [&]() {
    raise(ErrorCode::kUnsupported, "scheme \"", text,
          "\" is unknown, accepted: 8da2w..8da8w, int2_weight_only..int8_weight_only, tinygemm, qat2..qat8, "
          "qat2a8..qat8a8, each "
          "with :groupG or :axis0, gguf:TYPE (",
          kGgmlTrained,
          "), gguf:TYPE+q8_0 (q4_0, q5_0, q8_0, iq4_nl, mxfp4), gguf:q4_1+q8_1, gguf:TYPE+q8_k (tq1_0, tq2_0), or "
          "weight=SPEC[,activation=SPEC]");
  };
  LayerScheme scheme;
  if (text.find('=') != std::string_view::npos) {
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t comma = rest.find(',');
      const std::string_view part = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
      const bool is_weight = part.starts_with("weight="), is_activation = part.starts_with("activation=");
      if ((!is_weight && !is_activation) || (is_weight ? scheme.weight : scheme.activation)) fail();
      const std::string spec(part.substr(part.find('=') + 1));
      (is_weight ? scheme.weight : scheme.activation) = parse_spec(spec.c_str());
    }
    QATConfig config;
    if (scheme.weight) config.weight_config({*scheme.weight});
    if (scheme.activation) config.activation_config({*scheme.activation});
    return config.scheme();
  }
  if (text.starts_with("gguf:")) {
    const std::size_t plus = text.find('+');
    const std::string_view type_name = text.substr(5, plus == text.npos ? plus : plus - 5);
    const GgmlTypeInfo* type = find_ggml_type_by_name(type_name.data(), type_name.size());
    const char* spec = type == nullptr ? nullptr : ggml_scheme(type->type);
    if (spec == nullptr) fail();
    scheme.weight = parse_spec(spec);
    if (plus != text.npos) {
      const GgmlActivation activation = ggml_activation(type->type);
      if (activation.name == nullptr || text.substr(plus + 1) != activation.name) fail();
      scheme.activation = parse_spec(activation.scheme);
    }
    return scheme;
  }
  const std::string_view name = text.substr(0, text.find(':'));
  Granularity granularity{GranularityKind::kPerGroup, 0, 32};
  if (name.size() < text.size())
    granularity = parse_spec(("int8:" + std::string(text.substr(name.size() + 1)) + ":symmetric").c_str()).granularity;
  if (name == "tinygemm") {
    if (granularity.kind != GranularityKind::kPerGroup) fail();
    return infer_scheme(Int4WeightOnlyConfig{granularity.group_size});
  }
  const auto bits_at = [&](std::size_t i) { return i < name.size() ? name[i] - '0' : 0; };
  const auto matches = [&](std::string_view before, std::string_view after) {
    return name.size() == before.size() + 1 + after.size() && name.starts_with(before) && name.ends_with(after) &&
           bits_at(before.size()) >= 2 && bits_at(before.size()) <= 8;
  };
  if (matches("8da", "w")) return infer_scheme(Int8DynamicActivationIntxWeightConfig{bits_at(3), granularity});
  if (matches("int", "_weight_only")) return infer_scheme(IntxWeightOnlyConfig{bits_at(3), granularity});
  if (!matches("qat", "") && !matches("qat", "a8")) fail();
  detail::check_weight_granularity("qatN", granularity);
  scheme.weight = QuantSpec{bits_at(3), true, granularity, MappingKind::kSignedExtremum, ScaleType::kBfloat16Safe};
  if (name.size() > 4) scheme.activation = QuantSpec{8, true, {GranularityKind::kPerToken}, MappingKind::kAsymmetric};
  return scheme;
}

/// The shortest text that parse_scheme() reads as this scheme of fp32 weights; "float" for an empty one.
inline std::string scheme_name(const LayerScheme& scheme) {
  const auto resolved = [](LayerScheme s) {  // as packed weights have it
    if (s.weight && s.weight->scale_type == ScaleType::kInput) s.weight->scale_type = ScaleType::kFloat32;
    return s;
  };
  if (scheme.weight) {
    const Granularity& g = scheme.weight->granularity;
    const std::string bits = std::to_string(scheme.weight->bits);
    const std::string suffix =
        g.kind == GranularityKind::kPerGroup ? ":group" + std::to_string(g.group_size) : ":axis0";
    for (const std::string& name : {"8da" + bits + "w", "int" + bits + "_weight_only", std::string("tinygemm"),
                                    "qat" + bits, "qat" + bits + "a8"}) {
      try {
        if (resolved(parse_scheme(name + suffix)) == resolved(scheme)) return name + suffix;
      } catch (const Error&) {  // a width or group that this name has no scheme for
      }
    }
  }
  return to_string(scheme).c_str();
}

}  // namespace qat::inline v0::recipe
