// What a quantizer of a recipe means: classes of torchao, NeMo's names, rules for a model.
#include "qat/recipe/torchao_names.hpp"

#include <doctest/doctest.h>

#include "unit/recipe/tiny_model.hpp"

using namespace qat_test;
using qat::recipe::quantizer_rules;
using qat::recipe::QuantizerRecipe;
using qat::recipe::QuantizerRule;
using qat::recipe::Recipe;

namespace {

const auto kHere = [](const std::string& key) { return "r.yaml:1: " + key; };

QuantizerRecipe named(const char* target, index_t group_size = 0) {
  QuantizerRecipe q;
  q.target = target;
  if (group_size > 0) q.group_size = group_size;
  return q;
}
/// The one rule of a quantizer as text: pattern, scheme, divisor.
std::string rule_text(const QuantizerRecipe& q) {
  const std::vector<QuantizerRule> rules = quantizer_rules(q, "q");
  REQUIRE(rules.size() == 1);
  return rules[0].rule.pattern + " " + to_string(rules[0].rule.scheme).c_str() + " " + std::to_string(rules[0].divisor);
}
std::string refusal(const QuantizerRecipe& q) {
  return error_of([&] { quantizer_rules(q, "r.yaml:3: q"); });
}

}  // namespace

TEST_CASE("each class of torchao is the scheme that reproduces it") {
  CHECK(rule_text(named("torchao.quantization.qat.linear.Int8DynActInt4WeightQATQuantizer")) ==
        "linear weight=int4:group256:symmetric,activation=int8:token:asymmetric:eps=1.1920929e-07 256");
  QuantizerRecipe q = named("Int8DynActInt4WeightQATQuantizer", 32);
  q.scales_precision = "torch.bfloat16";
  q.precision = "torch.bfloat16";
  q.padding_allowed = true;
  CHECK(rule_text(q) ==
        "linear weight=int4:group32:symmetric:bfloat16,activation=int8:token:asymmetric:eps=1.1920929e-07 1");
  CHECK(rule_text(named("torchao.quantization.qat.linear.Int4WeightOnlyQATQuantizer")) ==
        "linear weight=uint4:group256:float_zero_point:bfloat16:eps=1e-06 256");
  q = named("Int4WeightOnlyQATQuantizer", 32);
  CHECK(quantizer_rules(q, "q")[0].divisor == 128);  // its layout packs 16 * inner_k_tiles columns
  q.inner_k_tiles = 2;
  CHECK(quantizer_rules(q, "q")[0].divisor == 32);
  CHECK(rule_text(named("Int4WeightOnlyEmbeddingQATQuantizer", 64)) == "embedding weight=int4:group64:symmetric 1");
  CHECK(rule_text(named("torchao.quantization.Int8DynamicActivationIntxWeightConfig")) ==
        "linear weight=int8:group32:symmetric:input,activation=int8:token:asymmetric:input 1");
  q = named("Int8DynamicActivationIntxWeightConfig");
  q.weight_dtype = "torch.int4";
  q.granularity = "PerGroup(64)";
  q.mapping_type = "MappingType.SYMMETRIC_NO_CLIPPING_ERR";
  CHECK(rule_text(q) == "linear weight=int4:group64:symmetric_no_clip:input,activation=int8:token:asymmetric:input 1");
  q = named("IntxWeightOnlyConfig");
  CHECK(rule_text(q) == "linear weight=int8:axis0:symmetric:input 1");
  q.weight_dtype = "int3";
  q.group_size = 16;
  CHECK(rule_text(q) == "linear weight=int3:group16:symmetric:input 1");
  CHECK(rule_text(named("Int4WeightOnlyConfig")) ==
        "linear weight=uint4:group128:float_zero_point:bfloat16:eps=1e-06 128");
}

TEST_CASE("QATConfig is its base configuration, as if that stood alone") {
  for (const char* base : {"torchao.quantization.Int8DynamicActivationIntxWeightConfig", "IntxWeightOnlyConfig",
                           "torchao.quantization.Int4WeightOnlyConfig", "Int8DynamicActivationInt4WeightConfig"}) {
    QuantizerRecipe q = named("torchao.quantization.qat.QATConfig");
    q.base_config.held = {named(base, 64)};
    const std::string alone = rule_text(named(base, 64));
    CHECK(rule_text(q) == alone);
    q.step = "prepare";
    CHECK(rule_text(q) == alone);
    q.step = "QATStep.PREPARE";
    CHECK(rule_text(q) == alone);
  }
  CHECK(rule_text(named("Int8DynamicActivationInt4WeightConfig")) ==
        "linear weight=int4:group32:symmetric:input,activation=int8:token:asymmetric:input 32");
}

TEST_CASE("QATConfig and its older name take fake quantizers of weights and activations") {
  for (const char* target : {"QATConfig", "torchao.quantization.qat.IntXQuantizationAwareTrainingConfig"}) {
    QuantizerRecipe q = named(target), weight = named("torchao.quantization.qat.IntxFakeQuantizeConfig", 32),
                    activation = named("FakeQuantizeConfig");
    weight.weight_dtype = "torch.int4";
    activation.weight_dtype = "torch.int8";
    activation.granularity = "per_token";
    activation.is_symmetric = false;
    q.weight_config.held = {weight};
    CHECK(rule_text(q) == "linear weight=int4:group32:symmetric 1");
    q.activation_config.held = {activation};
    CHECK(rule_text(q) == "linear weight=int4:group32:symmetric,activation=int8:token:asymmetric 1");
    q.weight_config.held.clear();
    CHECK(rule_text(q) == "linear activation=int8:token:asymmetric 1");
  }
  QuantizerRecipe q = named("QATConfig"), weight = named("IntxFakeQuantizeConfig");
  weight.weight_dtype = "int3";
  const auto text_with = [&](auto change) {
    QuantizerRecipe changed = weight;
    change(changed);
    q.weight_config.held = {changed};
    return rule_text(q);
  };
  CHECK(text_with([](auto& w) { w.granularity = "per_channel"; }) == "linear weight=int3:axis0:symmetric 1");
  CHECK(text_with([](auto& w) { w.granularity = "PerAxis(0)", w.mapping_type = "MappingType.ASYMMETRIC"; }) ==
        "linear weight=int3:axis0:asymmetric 1");
  CHECK(text_with([](auto& w) {
          w.granularity = "per_group", w.group_size = 16, w.scales_precision = "torch.bfloat16";
        }) == "linear weight=int3:group16:symmetric:bfloat16 1");
  CHECK(text_with([](auto& w) { w.granularity = "PerGroup(8)", w.mapping_type = "SYMMETRIC_NO_CLIPPING_ERR"; }) ==
        "linear weight=int3:group8:symmetric_no_clip 1");
}

TEST_CASE("what QATConfig refuses in torchao, it refuses here, by the key") {
  const QuantizerRecipe base = named("IntxWeightOnlyConfig");
  QuantizerRecipe weight = named("IntxFakeQuantizeConfig", 32);
  weight.weight_dtype = "torch.int4";
  const auto says = [&](auto change) {
    QuantizerRecipe q = named("QATConfig");
    q.base_config.held = {base};
    change(q);
    return refusal(q);
  };
  CHECK(contains(says([](auto& q) { q.base_config.held.clear(); }), "q: has none of base_config"));
  CHECK(contains(says([&](auto& q) { q.weight_config.held = {weight}; }),
                 "base_config and weight_config are both given"));
  CHECK(contains(says([](auto& q) { q.step = "convert"; }), "step is convert; a run prepares"));
  CHECK(contains(says([](auto& q) { q.step = "train"; }), "prepare, convert"));
  CHECK(contains(says([](auto& q) { q.group_size = 32; }), "QATConfig takes no groupsize"));
  CHECK(contains(says([&](auto& q) { q.base_config.held = {weight}; }),
                 "q.base_config: _target_ is IntxFakeQuantizeConfig, which is no base configuration; did you mean"));
  for (const char* other : {"", "QATConfig", "Int4WeightOnlyQATQuantizer", "ComposableQATQuantizer"})
    CHECK(contains(says([&](auto& q) { q.base_config.held = {named(other)}; }), "q.base_config: _target_ is "));
  CHECK(contains(says([&](auto& q) { q.base_config.held = {named("MXDynamicActivationMXWeightConfig")}; }),
                 "q.base_config: _target_ is MXDynamicActivationMXWeightConfig, a floating-point format"));
  const auto of_weight = [&](auto change) {
    QuantizerRecipe changed = weight;
    change(changed);
    return says([&](auto& q) { q.base_config.held.clear(), q.weight_config.held = {changed}; });
  };
  CHECK(contains(of_weight([](auto& w) { w.weight_dtype.clear(); }), "q.weight_config: dtype is missing"));
  CHECK(contains(of_weight([](auto& w) { w.group_size.reset(); }), "neither granularity nor group_size"));
  CHECK(contains(of_weight([](auto& w) { w.granularity = "PerAxis(0)"; }), "accepted: one of them"));
  CHECK(contains(of_weight([](auto& w) { w.is_symmetric = true, w.mapping_type = "SYMMETRIC"; }), "one of them"));
  CHECK(
      contains(of_weight([](auto& w) { w.target = "Float8FakeQuantizeConfig"; }), "accepted: IntxFakeQuantizeConfig"));
  CHECK(contains(of_weight([](auto& w) { w.group_size.reset(), w.granularity = "per_token"; }),
                 "weight_config is per token"));
  CHECK(contains(of_weight([](auto& w) { w.inner_k_tiles = 8; }), "takes no inner_k_tiles"));
  CHECK(contains(refusal(named("FromIntXQuantizationAwareTrainingConfig")), "the step after training"));
}

TEST_CASE("ComposableQATQuantizer applies its quantizers in order") {
  QuantizerRecipe q = named("ComposableQATQuantizer");
  CHECK(contains(refusal(q), "quantizers is empty"));
  q.quantizers = {named("Int8DynActInt4WeightQATQuantizer", 32), named("Int4WeightOnlyEmbeddingQATQuantizer", 32)};
  const std::vector<QuantizerRule> rules = quantizer_rules(q, "q");
  REQUIRE(rules.size() == 2);
  CHECK(rules[0].rule.pattern == "linear");
  CHECK(rules[1].rule.pattern == "embedding");
  q.quantizers[1].target = "Nothing";
  CHECK(contains(refusal(q), "r.yaml:3: q.quantizers[1]: _target_ is Nothing, which is unknown; accepted: Int8DynAct"));
}

TEST_CASE("arguments that a class does not take and values it does not accept are refused") {
  QuantizerRecipe q = named("Int8DynActInt4WeightQATQuantizer");
  q.inner_k_tiles = 8;
  CHECK(contains(refusal(q), "inner_k_tiles is set, but Int8DynActInt4WeightQATQuantizer takes no inner_k_tiles"));
  q = named("Int4WeightOnlyQATQuantizer");
  q.scales_precision = "torch.float32";
  CHECK(contains(refusal(q), "scales_precision is torch.float32; Int4WeightOnlyQATQuantizer accepts torch.bfloat16"));
  q.scales_precision = "torch.float16";
  CHECK(contains(refusal(q), "accepted: torch.float32, torch.bfloat16"));
  q.scales_precision.clear();
  q.inner_k_tiles = 3;
  CHECK(contains(refusal(q), "accepted: 2, 4, 8"));
  CHECK(contains(refusal(named("Int4WeightOnlyQATQuantizer", 48)), "32, 64, 128, 256"));
  q = named("IntxWeightOnlyConfig");
  for (const char* bad :
       {"PerGroup(0)", "PerGroup()", "PerGroup(x)", "PerRow()", "PerAxis(1)", "PerGroup(99999999999)"}) {
    q.granularity = bad;
    CHECK(contains(refusal(q), "accepted: PerGroup(G) with G >= 1, PerAxis(0)"));
  }
  q.granularity = "PerAxis(0)";
  q.group_size = 32;
  CHECK(contains(refusal(q), "accepted: one of them"));
  q = named("IntxWeightOnlyConfig");
  q.weight_dtype = "torch.int1";
  CHECK(contains(refusal(q), "accepted: torch.int2 to torch.int8"));
  q.weight_dtype.clear();
  q.mapping_type = "ASYMMETRIC";
  CHECK(contains(refusal(q), "accepted: SYMMETRIC, SYMMETRIC_NO_CLIPPING_ERR"));
  for (const char* format :
       {"Float8ActInt4WeightQATQuantizer", "torchao.prototype.mx.MXDynamicActivationMXWeightConfig"})
    CHECK(contains(refusal(named(format)), "a floating-point format that qat does not train"));
  CHECK(contains(refusal({}), "has neither _target_ nor scheme"));
  q = named("IntxWeightOnlyConfig");
  q.scheme = "qat4";
  CHECK(contains(refusal(q), "accepted: one of them"));
  q.target.clear();
  q.group_size = 32;
  CHECK(contains(refusal(q), "write it into the scheme, as in 8da4w:group64"));
}

TEST_CASE("NeMo's quantizer types are its two classes with bf16 scales") {
  Recipe::Qat qat;
  for (const char* type : {"8da4w", "int8_dynact_int4weight"}) {
    qat.quantizer_type = type;
    qat.quantizer = named("nemo_automodel.components.quantization.qat.QATConfig", 64);
    const std::vector<QuantizerRule> rules = quantizer_rules(qat, kHere);
    REQUIRE(rules.size() == 1);
    CHECK(to_string(*rules[0].rule.scheme.weight) == "int4:group64:symmetric:bfloat16");
    CHECK(rules[0].rule.scheme.activation->bits == 8);
  }
  qat.quantizer_type = "int4_weight_only";
  CHECK(quantizer_rules(qat, kHere)[0].rule.scheme.weight->mapping == MappingKind::kFloatZeroPoint);
  qat.quantizer_type = "4w";
  CHECK_FALSE(quantizer_rules(qat, kHere)[0].rule.scheme.activation);
  qat.quantizer_type = "mx";
  CHECK(contains(error_of([&] { quantizer_rules(qat, kHere); }), "r.yaml:1: qat.quantizer_type: quantizer_type is mx"));
  qat.quantizer_type = "4w";
  qat.quantizer.target = "IntxWeightOnlyConfig";
  CHECK(contains(error_of([&] { quantizer_rules(qat, kHere); }), "accepted: one of them"));
}

TEST_CASE("a class leaves layers alone that its groups do not divide; a scheme of qat's takes them all") {
  nn::Transformer model = tiny_model();  // rows of 64, but 84 into down_proj
  Recipe recipe;
  const auto schemes = [&] {
    std::string text;
    for (const auto& line : prepare(model, layer_rules(recipe, model, kHere)))
      if (contains(line.name, "layers.0.mlp")) text += line.scheme == "float" ? "f" : "q";
    return text;
  };
  CHECK(layer_rules(recipe, model, kHere).empty());
  recipe.qat.quantizer = named("Int8DynActInt4WeightQATQuantizer", 32);
  CHECK(schemes() == "qqf");
  recipe.qat.quantizer.padding_allowed = true;
  CHECK(schemes() == "qqq");
  recipe.qat.quantizer = {};
  recipe.qat.quantizer.scheme = "8da4w";
  CHECK(schemes() == "qqq");
  recipe.qat.layers = {{"layers.0.mlp.*", "float"}, {"layers.0.mlp.up_proj", "qat8"}};
  CHECK(schemes() == "fqf");
  recipe.qat.enabled = false;
  CHECK(layer_rules(recipe, model, kHere).empty());
  recipe = Recipe();
  recipe.qat.quantizer = named("Int8DynActInt4WeightQATQuantizer");
  CHECK(contains(error_of([&] { layer_rules(recipe, model, kHere); }),
                 "r.yaml:1: qat.quantizer: groups of 256 fit no layer; row lengths are 64, 84; accepted"));
}
