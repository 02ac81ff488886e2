// prepare and convert: which layers, the same bits before and after, what is left in memory, and what is refused.
#include "qat/recipe/prepare.hpp"

#include <doctest/doctest.h>

#include "qat/recipe/packed_checkpoint.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {

double largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double d = 0.0;
  for (index_t i = 0; i < a.size(); ++i) {
    const double e = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(e <= d)) d = e;
  }
  return d;
}
const LayerReport& line_of(const Report& report, const std::string& name) {
  for (const LayerReport& line : report)
    if (line.name == name) return line;
  FAIL("no line for ", name);
  return report.front();
}

}  // namespace

TEST_CASE("E2: the converted model gives the logits of the prepared one, bit for bit, for every scheme") {
  for (const char* name : {"8da4w",
                           "8da2w",
                           "8da3w",
                           "8da8w",
                           "8da4w:axis0",
                           "8da5w:group64",
                           "int2_weight_only",
                           "int4_weight_only",
                           "int7_weight_only",
                           "int8_weight_only:axis0",
                           "tinygemm",
                           "qat2",
                           "qat3",
                           "qat4",
                           "qat4a8",
                           "weight=int4:group32:asymmetric:bf16safe",
                           "weight=uint4:group20:asymmetric,activation=int8:token:asymmetric",
                           "weight=int4:block16x16:symmetric",
                           "weight=int4:group32:symmetric_no_clip:float16,activation=int8:token:symmetric",
                           "activation=int8:token:asymmetric",
                           "gguf:q4_0+q8_0",
                           "gguf:q8_0+q8_0",
                           "gguf:q4_1+q8_1",
                           "weight=int3:axis0:symmetric,activation=int8:group64:symmetric:ggml_float",
                           "gguf:iq4_nl+q8_0",
                           "gguf:mxfp4",
                           "weight=int2narrow:group20:symmetric:bf16safe",
                           "weight=int6:tensor:symmetric:e8m0,activation=int4:token:asymmetric"}) {
    CAPTURE(name);
    nn::Transformer model = tiny_model();
    const Tensor<float> full = logits(model);
    prepare(model, {{"linear", parse_scheme(name)}});
    const Tensor<float> prepared = logits(model);
    convert(two_threads(), model);
    CHECK(same_bits(logits(model), prepared));
    const double effect = largest_difference(prepared, full);
    CHECK(effect > 1e-4);
    CHECK(effect < 50.0);
  }
}

TEST_CASE("Q8_0 activations are for rows of whole blocks: others are stored in floating point, and read as they are") {
  nn::Transformer model = tiny_model();  // down_proj has rows of 84
  const Report report = prepare(model, {{"linear", parse_scheme("gguf:q4_0+q8_0")}});
  const std::string both = to_string(parse_scheme("gguf:q4_0+q8_0")).c_str(),
                    weight = to_string(parse_scheme("gguf:q4_0")).c_str();
  CHECK(line_of(report, "model.layers.0.mlp.up_proj").scheme == both);
  CHECK(line_of(report, "model.layers.0.mlp.down_proj").scheme == weight);
  for (const char* name : {"gguf:q4_1+q8_0", "gguf:tq2_0+q8_0", "gguf:+q8_0", "gguf:q4_0+q8_1", "gguf:q4_1+q8_k",
                           "gguf:q4_1+", "gguf:q2_k"}) {
    CAPTURE(name);
    CHECK(contains(error_of([&] { parse_scheme(name); }),
                   "gguf:TYPE+q8_0 (q4_0, q5_0, q8_0, iq4_nl, mxfp4), gguf:q4_1+q8_1"));
  }
}

TEST_CASE("E2 holds where products round their operands to bf16") {
  const CpuBackend backend(2, MatmulPrecision::kBfloat16);
  for (const char* name : {"8da4w", "qat4", "tinygemm", "qat3:group20"}) {
    CAPTURE(name);
    nn::Transformer model = tiny_model();
    const Tensor<float> full = logits(model), rounded = logits(model, backend);
    CHECK(largest_difference(full, rounded) < 0.2);
    prepare(model, {{"linear", parse_scheme(name)}});
    const Tensor<float> prepared = logits(model, backend);
    convert(backend, model);
    CHECK(same_bits(logits(model, backend), prepared));
  }
}

TEST_CASE(
    "E2 with learned scales: prepared, converted and packed on disk give the same bits, wherever the scales went") {
  for (const char* name :
       {"8da4w", "int3_weight_only:axis0", "qat4a8", "weight=int4:group32:asymmetric:bf16safe",
        "weight=uint4:group20:symmetric:bfloat16,activation=int8:token:asymmetric", "weight=int4:block16x16:symmetric",
        "weight=int6:tensor:symmetric:e8m0", "weight=int4:axis1:signed_extremum"}) {
    for (const bool tied : {false, true}) {
      CAPTURE(name);
      CAPTURE(tied);
      const LayerScheme scheme = parse_scheme(name);
      nn::Transformer model = tiny_model(tied), dynamic = tiny_model(tied);
      const std::vector<LayerRule> rules = {{"linear", scheme}, {"embedding", {scheme.weight, {}}}, {"head", scheme}};
      prepare(model, rules, {.learn_scales = true});
      prepare(dynamic, rules);
      CHECK(learned_scales(dynamic).empty());
      const std::vector<Parameter*> scales = learned_scales(model);
      CHECK(scales.size() == 2 * 7 + 2);
      CHECK(scales.front()->name == "model.embed_tokens.weight_scale");
      CHECK(same_bits(logits(model), logits(dynamic)));  // they start as the scheme chooses
      CounterRandom random(3);
      for (Parameter* p : scales)
        for (float& s : p->value) s *= 0.6f + 0.6f * random.next_float();
      scales[4]->value[0] = -0.01f;
      const Tensor<float> prepared = logits(model);
      CHECK_FALSE(same_bits(prepared, logits(dynamic)));
      convert(two_threads(), model);
      CHECK(same_bits(logits(model), prepared));
      const test::TempDir directory;
      save_packed(model, directory.path());
      nn::Transformer packed = load_packed(directory.path());
      CHECK(same_bits(logits(packed), prepared));
    }
  }
}

TEST_CASE("scales are learned by torchao's range_learning too, and not where the scheme has none to learn") {
  nn::Transformer model = tiny_model();
  const IntxFakeQuantizeConfig learned{parse_spec("int4:group32:symmetric"), false, true};
  apply(two_threads(), model, QATConfig().weight_config(learned));
  CHECK(learned_scales(model).size() == 2 * 7 + 1);
  nn::Transformer other = tiny_model();
  CHECK(contains(error_of([&] {
                   prepare(other, {{"linear", parse_scheme("tinygemm")}}, {.learn_scales = true});
                 }),
                 "model.layers.0.self_attn.q_proj: scales of uint4:group32:float_zero_point"));
  prepare(other, {{"linear", parse_scheme("activation=int8:token:asymmetric")}}, {.learn_scales = true});
  CHECK(learned_scales(other).empty());
}

TEST_CASE("weight-only schemes multiply exactly the fake-quantized float weights") {
  for (const char* name : {"int4_weight_only", "qat3", "tinygemm", "weight=int5:group32:asymmetric"}) {
    CAPTURE(name);
    nn::Transformer model = tiny_model(), oracle = tiny_model();
    const LayerScheme scheme = parse_scheme(name);
    for (nn::Linear* layer : oracle.linear_layers()) {
      Tensor<float>& w = layer->weight().value;
      kernels::fake_quantize_dynamic(two_threads(), *scheme.weight, w.data(), w.dim(0), w.dim(1), w.data());
    }
    prepare(model, {{"linear", scheme}});
    CHECK(same_bits(logits(model), logits(oracle)));
  }
}

TEST_CASE("the integer product stays within rounding of the float product, and both convert to their own bits") {
  const LayerScheme scheme = parse_scheme("8da4w");
  nn::Transformer integer = tiny_model(), floating = tiny_model();
  prepare(integer, {{"linear", scheme}}, {nn::Product::kInteger});
  prepare(floating, {{"linear", scheme}}, {nn::Product::kFloat});
  const Tensor<float> a = logits(integer), b = logits(floating);
  const double difference = largest_difference(a, b);
  CHECK(difference > 0.0);
  CHECK(difference < 0.2);  // a different rounding moves an activation code now and then; its step is about 0.05 here
  convert(two_threads(), floating);
  CHECK(same_bits(logits(floating), b));
}

TEST_CASE("convert keeps nothing but packed weights, and the report counts them") {
  nn::Transformer model = tiny_model();
  prepare(model, {{"linear", parse_scheme("qat4")}, {"layers.1.*", {}}});
  const Report report = convert(two_threads(), model);
  const nn::Linear& packed = model.blocks()[0].mlp.down_proj;
  CHECK(packed.weight().value.empty());
  CHECK(packed.weight().grad.empty());
  const LayerReport& line = line_of(report, "model.layers.0.mlp.down_proj");  // (64, 84): 3 groups a row
  CHECK(line.bytes_before == 64 * 84 * 4);
  CHECK(line.bytes_after == packed.quantization()->resident_bytes());
  CHECK(line.bytes_after >= 64 * 84 / 2 + 64 * 3 * 2);
  CHECK(line.bytes_after <= 64 * 88 / 2 + 64 * 3 * 2 + 64);
  CHECK(line_of(report, "model.layers.1.mlp.down_proj").reason == "not prepared");
  CHECK_FALSE(model.blocks()[1].mlp.down_proj.weight().value.empty());
  CHECK(contains(error_of([&] { prepare(model, {{"linear", parse_scheme("qat4")}}); }), "is converted already"));
  CHECK(contains(error_of([&] { restore_float(model); }), "its float weight is gone"));
}

TEST_CASE("a tied embedding and head share their packed table, and the float one is freed") {
  nn::Transformer model = tiny_model(true);
  const LayerScheme scheme = parse_scheme("int8_weight_only");
  prepare(model, {{"linear", parse_scheme("qat4")}, {"embedding", scheme}, {"head", scheme}});
  const Tensor<float> prepared = logits(model);
  const Report report = convert(two_threads(), model);
  CHECK(same_bits(logits(model), prepared));
  CHECK(model.embed_tokens().weight().value.empty());
  CHECK(line_of(report, "lm_head").bytes_after == 0);
  CHECK(line_of(report, "model.embed_tokens").bytes_after == 64 * 64 + 64 * 2 * 4);  // rows in panels of 16

  nn::Transformer half = tiny_model(true);  // only the head: the table stays for the lookup
  prepare(half, {{"head", scheme}});
  const Tensor<float> half_prepared = logits(half);
  convert(two_threads(), half);
  CHECK(same_bits(logits(half), half_prepared));
  CHECK_FALSE(half.embed_tokens().weight().value.empty());
}

TEST_CASE("rules select by role, by glob and in order") {
  nn::Transformer model = tiny_model();
  const LayerScheme four = parse_scheme("qat4"), eight = parse_scheme("qat8");
  const Report report = prepare(model, {{"linear", four}, {"layers.*.mlp.*", eight}, {"first", {}}, {"head", {}}});
  CHECK(line_of(report, "model.layers.1.self_attn.q_proj").scheme == to_string(four).c_str());
  CHECK(line_of(report, "model.layers.1.mlp.up_proj").scheme == to_string(eight).c_str());
  CHECK(line_of(report, "model.layers.0.mlp.up_proj").reason == "rule \"first\" keeps it in floating point");
  CHECK(line_of(report, "lm_head").reason == "rule \"head\" keeps it in floating point");
  CHECK(line_of(report, "model.embed_tokens").reason == "no rule selects it");
  CHECK(line_of(report, "model.norm").reason == "norms stay in floating point");
  CHECK(matches_glob("a*c?e", "abbcde"));
  CHECK(matches_glob("*", ""));
  CHECK_FALSE(matches_glob("a?", "a"));
  CHECK_FALSE(matches_glob("*b", "abc"));
}

TEST_CASE("what cannot be prepared is refused by name, and the model stays as it was") {
  nn::Transformer model = tiny_model();
  const Tensor<float> full = logits(model);
  const auto message = [&](const char* pattern, const char* scheme) {
    return error_of([&] { prepare(model, {{"linear", parse_scheme("qat4")}, {pattern, parse_scheme(scheme)}}); });
  };
  CHECK(contains(message("layers.9.*", "qat4"), "\"layers.9.*\" selects nothing"));
  CHECK(contains(message("model.norm", "qat4"), "model.norm: type RmsNorm has no quantization-aware form"));
  CHECK(contains(message("embedding", "8da4w"), "activation fake quantization is not supported for an embedding"));
  CHECK(contains(message("head", "qat4:group128"), "lm_head: group_size is 128, accepted are 1 to its row length 64"));
  CHECK(same_bits(logits(model), full));
}

TEST_CASE("NaN weights and activations end in one line that names the layer") {
  nn::Transformer model = tiny_model();
  prepare(model, {{"linear", parse_scheme("8da4w")}});
  model.blocks()[1].mlp.up_proj.weight().value[5] = __builtin_nanf("");
  CHECK(contains(error_of([&] { logits(model); }),
                 "model.layers.1.mlp.up_proj.weight: 1 of 5376 weights are NaN or infinite"));
  CHECK(contains(error_of([&] { convert(two_threads(), model); }), "model.layers.1.mlp.up_proj"));
  nn::Transformer other = tiny_model();
  prepare(other, {{"linear", parse_scheme("8da4w")}});
  other.embed_tokens().weight().value.fill(__builtin_inff());
  CHECK(contains(error_of([&] { logits(other); }), "activations are NaN or infinite"));
}

TEST_CASE("switched off, a prepared model is the float model, bit for bit; restored too") {
  nn::Transformer model = tiny_model();
  const Tensor<float> full = logits(model);
  prepare(model, {{"linear", parse_scheme("8da4w")}, {"embedding", parse_scheme("int4_weight_only")}});
  CHECK_FALSE(same_bits(logits(model), full));
  set_fake_quantization(model, false);
  CHECK(same_bits(logits(model), full));
  set_fake_quantization(model, true);
  CHECK_FALSE(same_bits(logits(model), full));
  restore_float(model);
  CHECK(same_bits(logits(model), full));
}

TEST_CASE("QATConfig drives the same steps: prepare, convert with the base configuration, or back to float") {
  const AnyConfig base = Int8DynamicActivationIntxWeightConfig{};
  nn::Transformer model = tiny_model(), direct = tiny_model();
  const Tensor<float> full = logits(model);
  apply(two_threads(), model, QATConfig(base));
  prepare(direct, {{"linear", parse_scheme("8da4w")}});
  CHECK(same_bits(logits(model), logits(direct)));
  CHECK(contains(
      error_of([&] { apply(two_threads(), model, QATConfig(AnyConfig(IntxWeightOnlyConfig{})).step("convert")); }),
      "what is trained is what is shipped"));
  const Tensor<float> prepared = logits(model);
  apply(two_threads(), model, QATConfig(base).step("convert"));
  CHECK(same_bits(logits(model), prepared));
  apply(two_threads(), direct, QATConfig().step("convert"));
  CHECK(same_bits(logits(direct), full));
  CHECK(contains(error_of([&] { apply(two_threads(), direct, QATConfig(base).step("convert")); }), "is not prepared"));
}

TEST_CASE("QATConfig converts an embedding only with what it was trained with") {
  nn::Transformer model = tiny_model();
  apply(two_threads(), model, QATConfig(AnyConfig(IntxWeightOnlyConfig{4})), "embedding");
  const auto convert_with = [&](int bits) {
    apply(two_threads(), model, QATConfig(AnyConfig(IntxWeightOnlyConfig{bits})).step("convert"), "embedding");
  };
  CHECK(contains(error_of([&] { convert_with(8); }), "model.embed_tokens: was trained with"));
  const Tensor<float> prepared = logits(model);
  convert_with(4);
  CHECK(same_bits(logits(model), prepared));
  CHECK(model.embed_tokens().weight().value.empty());
}

TEST_CASE("gradients reach every weight through fake quantization, and converted layers refuse to train") {
  nn::Transformer model = tiny_model();
  prepare(model, {{"linear", parse_scheme("8da4w")}, {"embedding", parse_scheme("int8_weight_only")}});
  const auto tokens = tiny_tokens(60), targets = tiny_tokens(60, 8);
  {
    Tape tape(two_threads());
    tape.backward(model.loss(tape, view_of(tokens), view_of(targets), 2));
  }
  for (const Parameter* p : model.parameters()) {
    CAPTURE(p->name);
    double norm = 0.0;
    for (const float g : p->grad) norm += static_cast<double>(g) * static_cast<double>(g);
    CHECK(norm > 0.0);
    CHECK(std::isfinite(norm));
  }
  convert(two_threads(), model);
  CHECK(contains(error_of([&] {
                   Tape tape(two_threads());
                   tape.backward(model.loss(tape, view_of(tokens), view_of(targets), 2));
                 }),
                 "packed weights have no gradient"));
}

TEST_CASE("a target refuses a scheme that it does not hold, before training, and names one that fits") {
  nn::Transformer model = tiny_model();
  const auto prepared = [&](std::vector<LayerRule> rules, GgmlType target) {
    return error_of([&] { prepare(model, rules, {.target = target}); });
  };
  const LayerRule good{"linear", parse_scheme("gguf:q4_0")};
  CHECK(prepared({good}, GgmlType::kQ4_0) == "(no error)");
  CHECK(prepared({good, {"embedding", parse_scheme("int8_weight_only")}}, GgmlType::kQ4_0) == "(no error)");
  CHECK(prepared({{"linear", parse_scheme("8da4w")}, good}, GgmlType::kQ4_0) == "(no error)");  // overridden
  const std::string message = prepared({good, {"layers.1.mlp.up_proj", parse_scheme("8da4w")}}, GgmlType::kQ4_0);
  INFO(message);
  CHECK(contains(message, "model.layers.1.mlp.up_proj: int4:group32:symmetric:input is not exact in the target Q4_0"));
  CHECK(contains(message, "the nearest scheme that fits is weight=int4:group32:signed_extremum:bf16safe"));
  CHECK(contains(prepared({{"linear", parse_scheme("qat5")}}, GgmlType::kQ4_0), "do not fit"));
  CHECK(contains(prepared({{"linear", parse_scheme("qat4:group16")}}, GgmlType::kQ4_0), "no whole blocks"));
  CHECK(contains(prepared({good}, GgmlType::kQ4_K), "accepted targets with a scheme of their own are q4_0"));
}

TEST_CASE("joined names stand once each, also where one is the beginning of another") {
  CHECK(joined_once({"weight=int4,activation=int8", "weight=int4", "weight=int4"}, ", ") ==
        "weight=int4,activation=int8, weight=int4");
  CHECK(joined_once({}, ", ").empty());
}
