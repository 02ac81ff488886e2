// QATConfig's error contract, the schemes inferred from base configurations, and scheme names.
#include "qat/recipe/qat_config.hpp"

#include <doctest/doctest.h>

#include <string>

#include "support/files.hpp"

using namespace qat;
using namespace qat::recipe;

using test::contains;
using test::error_of;

namespace {
const IntxFakeQuantizeConfig kWeight{parse_spec("int4:group32:symmetric")};
const IntxFakeQuantizeConfig kActivation{parse_spec("int8:token:asymmetric")};
}  // namespace

TEST_CASE("an unknown step is refused, a known one is taken in any case") {
  CHECK(parse_step("Prepare") == QATStep::kPrepare);
  CHECK(parse_step("CONVERT") == QATStep::kConvert);
  CHECK(contains(error_of([] { parse_step("train"); }), "step is \"train\", must be one of: prepare, convert"));
}

TEST_CASE("base and explicit configurations exclude each other") {
  const QATConfig base{AnyConfig(Int8DynamicActivationIntxWeightConfig{})};
  CHECK(contains(error_of([&] { QATConfig(base).activation_config(kActivation).scheme(); }),
                 "base_config and activation_config"));
  CHECK(contains(error_of([&] { QATConfig(base).weight_config(kWeight).scheme(); }), "base_config and weight_config"));
}

TEST_CASE("prepare needs a configuration, convert takes only a base configuration or nothing") {
  CHECK(contains(error_of([] { QATConfig().scheme(); }), "nothing is given in the prepare step"));
  CHECK(contains(error_of([] { QATConfig().weight_config(kWeight).step("convert").scheme(); }), "in the convert step"));
  CHECK(contains(error_of([] { QATConfig().activation_config(kActivation).step("convert").scheme(); }),
                 "in the convert step"));
  CHECK(QATConfig().step("convert").scheme().empty());
}

TEST_CASE("a fake-quantize configuration as base configuration gets a suggestion") {
  CHECK(contains(error_of([] { QATConfig(AnyConfig(kWeight)).scheme(); }),
                 "did you mean activation_config or weight_config?"));
}

TEST_CASE("range learning is for weights; static ranges are refused by name") {
  IntxFakeQuantizeConfig both = kWeight, learned = kWeight, fixed = kWeight;
  both.range_learning = true;
  learned.is_dynamic = false;
  learned.range_learning = true;
  fixed.is_dynamic = false;
  CHECK(contains(error_of([&] { QATConfig().weight_config(both).scheme(); }), "both is_dynamic and range_learning"));
  CHECK(QATConfig().weight_config(learned).scheme().weight == kWeight.spec);
  CHECK(QATConfig().weight_config(learned).learns_scales());
  CHECK_FALSE(QATConfig().weight_config(kWeight).learns_scales());
  learned.spec = kActivation.spec;
  CHECK(contains(error_of([&] { QATConfig().activation_config(learned).scheme(); }),
                 "activation_config asks for range_learning"));
  CHECK(contains(error_of([&] { QATConfig().weight_config(fixed).scheme(); }), "is static"));
}

TEST_CASE("a weight per token and an activation with a weight's mapping are refused") {
  CHECK(contains(error_of([] { QATConfig().weight_config(kActivation).scheme(); }), "weight_config is per token"));
  const IntxFakeQuantizeConfig tinygemm{parse_spec("uint4:group32:float_zero_point:bfloat16")};
  CHECK(contains(error_of([&] { QATConfig().activation_config(tinygemm).scheme(); }), "accepted mappings"));
}

TEST_CASE("base configurations infer torchao's fake quantizers") {
  const LayerScheme a = infer_scheme(Int8DynamicActivationIntxWeightConfig{});
  CHECK(*a.activation == parse_spec("int8:token:asymmetric:input"));
  CHECK(*a.weight == parse_spec("int4:group32:symmetric:input"));
  const LayerScheme b = infer_scheme(IntxWeightOnlyConfig{});
  CHECK_FALSE(b.activation);
  CHECK(*b.weight == parse_spec("int8:axis0:symmetric:input"));
  CHECK(*infer_scheme(Int4WeightOnlyConfig{32}).weight ==
        parse_spec("uint4:group32:float_zero_point:bfloat16:eps=1e-6"));
  CHECK(contains(error_of([] { infer_scheme(Int4WeightOnlyConfig{48}); }),
                 "group_size is 48, accepted are 32, 64, 128, 256"));
  CHECK(contains(error_of([] { infer_scheme(IntxWeightOnlyConfig{9}); }), "weight_bits is 9, accepted are 2 to 8"));
  CHECK(contains(error_of([] {
                   infer_scheme(IntxWeightOnlyConfig{4, {GranularityKind::kPerGroup, 0, 0}});
                 }),
                 "group_size is 0"));
}

TEST_CASE("every scheme name parses, every full scheme round-trips, the rest is refused with the list") {
  for (int bits = 2; bits <= 8; ++bits) {
    const std::string n = std::to_string(bits);
    CHECK(parse_scheme("8da" + n + "w").weight->bits == bits);
    CHECK(parse_scheme("int" + n + "_weight_only:axis0").weight->granularity.kind == GranularityKind::kPerAxis);
    CHECK(parse_scheme("qat" + n + ":group64").weight->granularity.group_size == 64);
    CHECK(parse_scheme("qat" + n + "a8").activation.has_value());
    const LayerScheme scheme = parse_scheme("qat" + n + "a8");
    CHECK(parse_scheme(to_string(scheme).c_str()) == scheme);
  }
  CHECK(parse_scheme("gguf:q4_0") == parse_scheme("qat4"));
  CHECK(parse_scheme("gguf:Q5_0") == parse_scheme("qat5"));
  CHECK(parse_scheme("gguf:q8_0").weight->qmin() == -127);
  for (const char* bad : {"", "gguf:", "gguf:q4_k", "gguf:q4_0:group64", "8da9w", "8da1w", "int4", "qat", "qat4a4",
                          "mxfp4", "weight=int4:group32:symmetric,weight=int4:tensor:symmetric"})
    CHECK(contains(error_of([&] { parse_scheme(bad); }), "accepted"));
  CHECK(contains(error_of([] { parse_scheme("8da4w:group0"); }), "group0"));
}

TEST_CASE("a scheme has the shortest name that stands for it") {
  for (const char* name :
       {"8da4w:group32", "int4_weight_only:group64", "tinygemm:group32", "qat3:axis0", "qat4a8:group32"})
    CHECK(recipe::scheme_name(recipe::parse_scheme(name)) == name);
  LayerScheme packed = recipe::parse_scheme("8da4w:group64");
  packed.weight->scale_type = ScaleType::kFloat32;  // what "input" stands for in an fp32 model
  CHECK(recipe::scheme_name(packed) == "8da4w:group64");
  CHECK(recipe::scheme_name({}) == "float");
  const char* in_full = "weight=int4:block16x16:symmetric";
  CHECK(recipe::scheme_name(recipe::parse_scheme(in_full)) == to_string(recipe::parse_scheme(in_full)).c_str());
}
