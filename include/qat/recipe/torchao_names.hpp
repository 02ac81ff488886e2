// What a quantizer of a recipe means: the classes of torchao by their names, each as the scheme that reproduces it on
// fp32 weights, and NeMo's two short names.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "qat/recipe/recipe.hpp"

namespace qat::inline v0::recipe {

/// One rule of a quantizer. Classes of torchao leave layers alone whose row length `divisor` does not divide.
struct QuantizerRule {
  LayerRule rule;
  index_t divisor = 1;
};

inline constexpr const char* kTorchaoClasses =
    "Int8DynActInt4WeightQATQuantizer, Int4WeightOnlyQATQuantizer, Int4WeightOnlyEmbeddingQATQuantizer, "
    "ComposableQATQuantizer, Int8DynamicActivationIntxWeightConfig, Int8DynamicActivationInt4WeightConfig, "
    "IntxWeightOnlyConfig, Int4WeightOnlyConfig, QATConfig";

namespace detail {

/// "torch.int4" -> "int4"; "torchao.quantization.qat.linear.X" -> "X".
inline std::string_view last_name(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == path.npos ? path : path.substr(dot + 1);
}

/// The arguments a class takes; any other that is set is an error.
struct QuantizerArguments {
  bool group_size = false, weight_dtype = false, granularity = false, mapping_type = false, precision = false,
       inner_k_tiles = false, padding_allowed = false, quantizers = false, is_symmetric = false, configs = false;
};

inline void check_arguments(const QuantizerRecipe& q, const std::string& where, const QuantizerArguments& takes) {
  const std::string_view name = q.target.empty() ? std::string_view(q.scheme) : last_name(q.target);
  const auto refuse = [&](bool is_set, bool taken, const char* key) {
    QAT_CHECK(!is_set || taken, kInvalidArgument, where, ": ", key, " is set, but ", name, " takes no ", key,
              q.target.empty() ? "; write it into the scheme, as in 8da4w:group64" : "");
  };
  refuse(q.group_size.has_value(), takes.group_size, "groupsize");
  refuse(!q.weight_dtype.empty(), takes.weight_dtype, "weight_dtype");
  refuse(!q.granularity.empty(), takes.granularity, "granularity");
  refuse(!q.mapping_type.empty(), takes.mapping_type, "mapping_type");
  refuse(!q.scales_precision.empty(), takes.precision, "scales_precision");
  refuse(!q.precision.empty(), takes.precision, "precision");
  refuse(q.inner_k_tiles.has_value(), takes.inner_k_tiles, "inner_k_tiles");
  refuse(q.padding_allowed, takes.padding_allowed, "padding_allowed");
  refuse(!q.quantizers.empty(), takes.quantizers, "quantizers");
  refuse(q.is_symmetric.has_value(), takes.is_symmetric, "is_symmetric");
  refuse(!q.base_config.held.empty(), takes.configs, "base_config");
  refuse(!q.activation_config.held.empty(), takes.configs, "activation_config");
  refuse(!q.weight_config.held.empty(), takes.configs, "weight_config");
  refuse(!q.step.empty(), takes.configs, "step");
}

inline ScaleType scale_type_of(const std::string& text, ScaleType otherwise, const std::string& where,
                               const char* key) {
  const std::string_view name = last_name(text);
  if (name.empty()) return otherwise;
  QAT_CHECK(name == "float32" || name == "bfloat16", kUnsupported, where, ": ", key, " is ", text,
            "; accepted: torch.float32, torch.bfloat16");
  return name == "float32" ? ScaleType::kFloat32 : ScaleType::kBfloat16;
}

inline int weight_bits_of(const QuantizerRecipe& q, const std::string& where) {
  const std::string_view name = last_name(q.weight_dtype);
  if (name.empty()) return 8;  // of both Intx configurations
  QAT_CHECK(name.size() == 4 && name.starts_with("int") && name[3] >= '2' && name[3] <= '8', kUnsupported, where,
            ": weight_dtype is ", q.weight_dtype, "; accepted: torch.int2 to torch.int8");
  return name[3] - '0';
}

/// PerGroup(32), PerAxis(0) or groupsize; `otherwise` where none is given.
inline Granularity granularity_of(const QuantizerRecipe& q, Granularity otherwise, const std::string& where) {
  if (q.granularity.empty())
    return q.group_size ? Granularity{GranularityKind::kPerGroup, 0, *q.group_size} : otherwise;
  QAT_CHECK(!q.group_size, kInvalidArgument, where, ": granularity is ", q.granularity, " and groupsize ",
            q.group_size.value_or(0), "; accepted: one of them");
  std::string_view text = q.granularity;
  const bool per_group = text.starts_with("PerGroup("), per_axis = text == "PerAxis(0)";
  index_t size = 0;
  bool valid = per_group && text.ends_with(")");
  if (valid) {
    text = text.substr(9, text.size() - 10);
    valid = !text.empty() && text.size() < 10;
    for (const char c : text) {
      valid = valid && c >= '0' && c <= '9';
      size = size * 10 + (c - '0');
    }
  }
  QAT_CHECK(per_axis || (valid && size > 0), kUnsupported, where, ": granularity is ", q.granularity,
            "; accepted: PerGroup(G) with G >= 1, PerAxis(0)");
  return per_axis ? Granularity{GranularityKind::kPerAxis, 0} : Granularity{GranularityKind::kPerGroup, 0, size};
}

inline MappingKind mapping_of(const QuantizerRecipe& q, const std::string& where) {
  const std::string_view name = last_name(q.mapping_type);
  if (name.empty() || name == "SYMMETRIC") return MappingKind::kSymmetric;
  QAT_CHECK(name == "SYMMETRIC_NO_CLIPPING_ERR", kUnsupported, where, ": mapping_type is ", q.mapping_type,
            "; accepted: SYMMETRIC, SYMMETRIC_NO_CLIPPING_ERR");
  return MappingKind::kSymmetricNoClip;
}

/// f(), with the place in front of an error that does not name it.
template <class F>
auto located(const std::string& where, const F& f) {
  try {
    return f();
  } catch (const Error& e) {
    if (std::string_view(e.what()).starts_with(where)) throw;
    raise(e.code(), where, ": ", e.what());
  }
}

/// parse_scheme(), or nothing for "float".
inline LayerScheme scheme_or_float(const std::string& text) {
  return text == "float" ? LayerScheme{} : parse_scheme(text);
}

inline std::vector<QuantizerRule> qat_config_rules(const QuantizerRecipe& q, const std::string& where);

/// int4 weights in groups with a symmetric range, scales held in `scale`.
inline QuantSpec legacy_int4(index_t group_size, ScaleType scale) {
  return QuantSpec{4, true, {GranularityKind::kPerGroup, 0, group_size}, MappingKind::kSymmetric, scale};
}

/// What an IntxFakeQuantizeConfig of torchao's says about weights or activations.
inline IntxFakeQuantizeConfig fake_quantize_config(const QuantizerRecipe& q, const std::string& where) {
  QAT_CHECK(last_name(q.target) == "IntxFakeQuantizeConfig" || last_name(q.target) == "FakeQuantizeConfig",
            kUnsupported, where, ": _target_ is ", q.target.empty() ? "missing" : q.target,
            "; accepted: IntxFakeQuantizeConfig");
  check_arguments(q, where,
                  {.group_size = true,
                   .weight_dtype = true,
                   .granularity = true,
                   .mapping_type = true,
                   .precision = true,
                   .is_symmetric = true});
  QAT_CHECK(!q.weight_dtype.empty(), kInvalidArgument, where, ": dtype is missing; accepted: torch.int2 to torch.int8");
  QAT_CHECK(q.precision.empty(), kInvalidArgument, where,
            ": precision is set, but IntxFakeQuantizeConfig takes no precision");
  QAT_CHECK(!q.is_symmetric || q.mapping_type.empty(), kInvalidArgument, where, ": mapping_type is ", q.mapping_type,
            " and is_symmetric is set; accepted: one of them");
  QuantizerRecipe inner = q;
  if (q.granularity == "per_group") inner.granularity.clear();
  if (q.granularity == "per_channel") inner.granularity = "PerAxis(0)";
  IntxFakeQuantizeConfig config;
  QuantSpec& spec = config.spec;
  spec.bits = weight_bits_of(q, where);
  spec.is_signed = true;
  if (q.granularity == "per_token" || q.granularity == "PerToken()") {
    QAT_CHECK(!q.group_size, kInvalidArgument, where, ": granularity is ", q.granularity, " and groupsize is set; ",
              "accepted: one of them");
    spec.granularity = {GranularityKind::kPerToken};
  } else {
    QAT_CHECK(!inner.granularity.empty() || q.group_size, kInvalidArgument, where,
              ": neither granularity nor group_size is given; accepted: one of them");
    spec.granularity = granularity_of(inner, {}, where);
  }
  const bool asymmetric = q.is_symmetric ? !*q.is_symmetric : last_name(q.mapping_type) == "ASYMMETRIC";
  spec.mapping = asymmetric ? MappingKind::kAsymmetric : mapping_of(q, where);
  spec.scale_type = scale_type_of(q.scales_precision, ScaleType::kFloat32, where, "scale_precision");
  return config;
}

}  // namespace detail

/// The rules of a quantizer, in order. where: names it in errors, as "recipe.yaml:7: qat.quantizer"
///
///   Int8DynActInt4WeightQATQuantizer       int8 activations per token with the scale at least 2^-23 (its eps), int4
///                                          weights in groups (256), scales in scales_precision (fp32)
///   Int4WeightOnlyQATQuantizer             tinygemm: uint4, float zero point, bf16 scales, groups of 256
///   Int4WeightOnlyEmbeddingQATQuantizer    the embedding's table in int4 groups (256)
///   ComposableQATQuantizer                 its quantizers, in order
///   Int8DynamicActivationIntxWeightConfig, IntxWeightOnlyConfig    infer_scheme()
///   Int8DynamicActivationInt4WeightConfig  the same with int4 weights in groups of 32: torchao's name before 0.13
///   QATConfig, IntXQuantizationAwareTrainingConfig    their base_config, or activation_config and weight_config
///   Int4WeightOnlyConfig                   tinygemm in groups of 128: torchao trains fp32 scales and ships bf16 ones;
///                                          here both are the ones that ship
/// Source: torchao 0.18, quantization/qat/{linear,embedding,api,fake_quantize_config}.py
/// @throws qat::Error naming a class that qat does not train and the ones it does, or an argument
inline std::vector<QuantizerRule> quantizer_rules(const QuantizerRecipe& q, const std::string& where) {
  using detail::check_arguments;
  QAT_CHECK(q.target.empty() || q.scheme.empty(), kInvalidArgument, where, ": _target_ is ", q.target, " and scheme ",
            q.scheme, "; accepted: one of them");
  QAT_CHECK(!q.empty(), kInvalidArgument, where, ": has neither _target_ nor scheme; give one of them");
  if (q.target.empty()) {
    check_arguments(q, where, {});
    return {{{"linear", detail::scheme_or_float(q.scheme)}, 1}};
  }
  const std::string_view name = detail::last_name(q.target);
  if (name == "ComposableQATQuantizer") {
    check_arguments(q, where, {.quantizers = true});
    QAT_CHECK(!q.quantizers.empty(), kInvalidArgument, where,
              ": quantizers is empty; ComposableQATQuantizer needs one");
    std::vector<QuantizerRule> rules;
    for (std::size_t i = 0; i < q.quantizers.size(); ++i)
      for (QuantizerRule& rule : quantizer_rules(q.quantizers[i], where + ".quantizers[" + std::to_string(i) + "]"))
        rules.push_back(std::move(rule));
    return rules;
  }
  if (name == "Int8DynActInt4WeightQATQuantizer") {
    check_arguments(q, where, {.group_size = true, .precision = true, .padding_allowed = true});
    detail::scale_type_of(q.precision, ScaleType::kFloat32, where, "precision");
    const index_t group = q.group_size.value_or(256);
    QuantSpec activation{8, true, {GranularityKind::kPerToken}, MappingKind::kAsymmetric};
    activation.eps = 0x1p-23f;
    const ScaleType scale = detail::scale_type_of(q.scales_precision, ScaleType::kFloat32, where, "scales_precision");
    return {{{"linear", {detail::legacy_int4(group, scale), activation}}, q.padding_allowed ? 1 : group}};
  }
  if (name == "Int4WeightOnlyQATQuantizer") {
    check_arguments(q, where, {.group_size = true, .precision = true, .inner_k_tiles = true});
    detail::scale_type_of(q.precision, ScaleType::kBfloat16, where, "precision");
    const ScaleType scale = detail::scale_type_of(q.scales_precision, ScaleType::kBfloat16, where, "scales_precision");
    QAT_CHECK(scale == ScaleType::kBfloat16, kUnsupported, where, ": scales_precision is ", q.scales_precision,
              "; Int4WeightOnlyQATQuantizer accepts torch.bfloat16");
    const index_t tiles = q.inner_k_tiles.value_or(8), group = q.group_size.value_or(256);
    QAT_CHECK(tiles == 2 || tiles == 4 || tiles == 8, kUnsupported, where, ": inner_k_tiles is ", tiles,
              "; accepted: 2, 4, 8");
    // Groups and blocks of 16 * tiles columns are powers of two: a row fits both where it fits the larger.
    return {{{"linear", infer_scheme(Int4WeightOnlyConfig{group})}, group > 16 * tiles ? group : 16 * tiles}};
  }
  if (name == "Int4WeightOnlyEmbeddingQATQuantizer") {
    check_arguments(q, where, {.group_size = true, .precision = true});
    const ScaleType scale = detail::scale_type_of(q.scales_precision, ScaleType::kFloat32, where, "scales_precision");
    return {{{"embedding", {detail::legacy_int4(q.group_size.value_or(256), scale), {}}}, 1}};
  }
  if (name == "Int8DynamicActivationIntxWeightConfig") {
    check_arguments(q, where, {.group_size = true, .weight_dtype = true, .granularity = true, .mapping_type = true});
    const Granularity g = detail::granularity_of(q, {GranularityKind::kPerGroup, 0, 32}, where);
    return {{{"linear", infer_scheme(Int8DynamicActivationIntxWeightConfig{detail::weight_bits_of(q, where), g,
                                                                           detail::mapping_of(q, where)})},
             1}};
  }
  if (name == "Int8DynamicActivationInt4WeightConfig") {
    check_arguments(q, where, {.group_size = true, .mapping_type = true});
    const index_t group = q.group_size.value_or(32);
    return {{{"linear", infer_scheme(Int8DynamicActivationIntxWeightConfig{
                            4, {GranularityKind::kPerGroup, 0, group}, detail::mapping_of(q, where)})},
             group}};
  }
  if (name == "QATConfig" || name == "IntXQuantizationAwareTrainingConfig") return detail::qat_config_rules(q, where);
  if (name == "IntxWeightOnlyConfig") {
    check_arguments(q, where, {.group_size = true, .weight_dtype = true, .granularity = true, .mapping_type = true});
    const Granularity g = detail::granularity_of(q, {GranularityKind::kPerAxis, 0}, where);
    return {{{"linear",
              infer_scheme(IntxWeightOnlyConfig{detail::weight_bits_of(q, where), g, detail::mapping_of(q, where)})},
             1}};
  }
  if (name == "Int4WeightOnlyConfig") {
    check_arguments(q, where, {.group_size = true});
    return {{{"linear", infer_scheme(Int4WeightOnlyConfig{q.group_size.value_or(128)})}, q.group_size.value_or(128)}};
  }
  for (const char* known : {"Float8DynamicActivationFloat8WeightConfig", "Float8DynamicActivationInt4WeightConfig",
                            "Float8ActInt4WeightQATQuantizer", "NVFP4DynamicActivationNVFP4WeightConfig",
                            "MXDynamicActivationMXWeightConfig"})
    QAT_CHECK(name != known, kUnsupported, where, ": _target_ is ", q.target,
              ", a floating-point format that qat does not train; accepted: ", kTorchaoClasses);
  QAT_CHECK(!name.starts_with("FromIntX"), kUnsupported, where, ": _target_ is ", q.target,
            ", the step after training, which `qat-llm quantize` does; accepted: ", kTorchaoClasses);
  raise(ErrorCode::kUnsupported, where, ": _target_ is ", q.target, ", which is unknown; accepted: ", kTorchaoClasses);
}

namespace detail {
inline std::vector<QuantizerRule> qat_config_rules(const QuantizerRecipe& q, const std::string& where) {
  check_arguments(q, where, {.configs = true});
  const bool has_base = !q.base_config.held.empty(), has_activation = !q.activation_config.held.empty(),
             has_weight = !q.weight_config.held.empty();
  QAT_CHECK(q.step.empty() || parse_step(last_name(q.step)) == QATStep::kPrepare, kUnsupported, where, ": step is ",
            q.step, "; a run prepares and trains: accepted is prepare");
  QAT_CHECK(!has_base || !(has_activation || has_weight), kInvalidArgument, where, ": base_config and ",
            has_activation ? "activation_config" : "weight_config", " are both given; accepted: one of them");
  QAT_CHECK(has_base || has_activation || has_weight, kInvalidArgument, where,
            ": has none of base_config, activation_config, weight_config; give one of them");
  if (has_base) {
    const QuantizerRecipe& base = q.base_config.held.front();
    const std::string place = where + ".base_config";
    const std::string_view name = last_name(base.target);
    QAT_CHECK(!name.ends_with("FakeQuantizeConfig"), kInvalidArgument, place, ": _target_ is ", base.target,
              ", which is no base configuration; did you mean activation_config or weight_config?");
    QAT_CHECK(!base.target.empty() && !name.ends_with("Quantizer") && !name.ends_with("QATConfig") &&
                  !name.ends_with("TrainingConfig"),
              kUnsupported, place, ": _target_ is ", base.target.empty() ? "missing" : base.target,
              "; accepted: Int8DynamicActivationIntxWeightConfig, Int8DynamicActivationInt4WeightConfig, "
              "IntxWeightOnlyConfig, Int4WeightOnlyConfig");
    return quantizer_rules(base, place);
  }
  QATConfig config;
  if (has_activation)
    config.activation_config(fake_quantize_config(q.activation_config.held.front(), where + ".activation_config"));
  if (has_weight) config.weight_config(fake_quantize_config(q.weight_config.held.front(), where + ".weight_config"));
  return {{{"linear", located(where, [&] { return config.scheme(); })}, 1}};
}
}  // namespace detail

/// The class that NeMo's quantizer_type stands for; NeMo passes it bf16 scales unless told otherwise.
inline QuantizerRecipe nemo_quantizer(const Recipe::Qat& qat, const std::string& where) {
  QuantizerRecipe q = qat.quantizer;
  const std::string& type = qat.quantizer_type;
  QAT_CHECK(q.scheme.empty() && (q.target.empty() || detail::last_name(q.target) == "QATConfig"), kInvalidArgument,
            where, ": quantizer_type is ", type, " and qat.quantizer names ", q.scheme.empty() ? q.target : q.scheme,
            "; accepted: one of them");
  const bool int8 = type == "8da4w" || type == "int8_dynact_int4weight";
  QAT_CHECK(int8 || type == "4w" || type == "int4_weight_only", kUnsupported, where, ": quantizer_type is ", type,
            "; accepted: 8da4w, int8_dynact_int4weight, 4w, int4_weight_only");
  q.target = int8 ? "Int8DynActInt4WeightQATQuantizer" : "Int4WeightOnlyQATQuantizer";
  if (q.scales_precision.empty()) q.scales_precision = "torch.bfloat16";
  return q;
}

/// The rules of qat.quantizer or qat.quantizer_type. where(key): names a key in errors.
template <class Where>
std::vector<QuantizerRule> quantizer_rules(const Recipe::Qat& qat, const Where& where) {
  const std::string place = where("qat.quantizer"), type = where("qat.quantizer_type");
  if (!qat.quantizer_type.empty())
    return detail::located(type, [&] { return quantizer_rules(nemo_quantizer(qat, type), type); });
  if (qat.quantizer == QuantizerRecipe()) return {};
  return detail::located(place, [&] { return quantizer_rules(qat.quantizer, place); });
}

/// qat.layers as rules.
template <class Where>
std::vector<LayerRule> single_layer_rules(const Recipe::Qat& qat, const Where& where) {
  std::vector<LayerRule> rules;
  for (const LayerRecipe& layer : qat.layers) {
    const std::string place = where("qat.layers[" + std::to_string(rules.size()) + "]");
    QAT_CHECK(!layer.match.empty(), kInvalidArgument, place, ": match is missing; accepted: linear, head, a glob ...");
    QAT_CHECK(!layer.scheme.empty(), kInvalidArgument, place, ": scheme is missing; accepted: a scheme, or float");
    rules.push_back({layer.match, detail::located(place, [&] { return detail::scheme_or_float(layer.scheme); })});
  }
  return rules;
}

/// The rules that prepare() takes for this model: those of the quantizer, exceptions for the layers its group size does
/// not divide, then qat.layers. Empty where qat.enabled is false.
/// where(key): names a key in errors.
/// @throws qat::Error naming the key; also where a group size fits no layer
template <class Where>
std::vector<LayerRule> layer_rules(const Recipe& written, nn::Transformer& model, const Where& where) {
  const Recipe recipe = resolve(written);
  std::vector<LayerRule> rules;
  if (!*recipe.qat.enabled) return rules;
  const std::vector<detail::NamedLayer> layers = detail::layers_of(model);
  const int blocks = static_cast<int>(model.blocks().size());
  for (const QuantizerRule& q : quantizer_rules(recipe.qat, where)) {
    rules.push_back(q.rule);
    bool fits_one = false;
    std::string lengths;
    for (const detail::NamedLayer& layer : layers) {
      if (!detail::selects(q.rule.pattern, layer, blocks)) continue;
      const index_t length = layer.weight->value.dim(1);
      if (length % q.divisor == 0) {
        fits_one = true;
        continue;
      }
      rules.push_back({layer.name, {}});
      const std::string text = std::to_string(length);
      if ((", " + lengths + ",").find(", " + text + ",") == std::string::npos)
        lengths += (lengths.empty() ? "" : ", ") + text;
    }
    QAT_CHECK(fits_one, kInvalidArgument, where("qat.quantizer"), ": groups of ", q.divisor,
              " fit no layer; row lengths are ", lengths,
              "; accepted: a groupsize that divides one of them, padding_allowed: true, or a scheme of qat's, which "
              "takes any");
  }
  for (LayerRule& rule : single_layer_rules(recipe.qat, where)) rules.push_back(std::move(rule));
  return rules;
}

}  // namespace qat::inline v0::recipe
