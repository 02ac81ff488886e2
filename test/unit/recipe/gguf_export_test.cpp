// A converted model as GGUF: the values it multiplied with, and refusals that name what fits.
#include "qat/recipe/gguf_export.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {

const GgufLayer& line_of(const GgufReport& report, const std::string& name) {
  for (const GgufLayer& line : report)
    if (line.name == name) return line;
  FAIL("no layer " << name);
  return report.front();
}

/// Every tensor of the file is the model's, as fp32: +0 and -0 are the same.
void check_values(nn::Transformer& model, const std::string& path) {
  const LlamaWeights read = read_gguf_llama(path);
  for (const auto& layer : recipe::detail::layers_of(model)) {
    if (layer.is_tied && read.config.tied) continue;
    INFO(layer.name);
    const Tensor<float>& stored = read.tensors.at(layer.name + ".weight");
    const auto packed = recipe::detail::packed_of(layer);
    index_t different = 0;
    for (index_t i = 0; i < stored.size(); ++i) {
      const index_t columns = stored.dim(stored.rank() - 1);
      const float value = packed != nullptr ? packed->dequantized(i / columns, i % columns) : layer.weight->value[i];
      different += stored[i] == value ? 0 : 1;
    }
    CHECK(different == 0);
  }
}

}  // namespace

TEST_CASE("GGUF export: each scheme goes to the shortest type that holds it exactly") {
  const struct {
    const char* scheme;
    GgmlType square, ragged;  ///< of q_proj (rows of 64) and down_proj (rows of 84)
  } cases[] = {{"qat4", GgmlType::kQ4_0, GgmlType::kF16},
               {"qat2", GgmlType::kQ4_0, GgmlType::kF16},
               {"qat5", GgmlType::kQ5_0, GgmlType::kF32},
               {"qat8", GgmlType::kQ8_0, GgmlType::kF32},
               {"qat4:axis0", GgmlType::kQ4_0, GgmlType::kF16},
               {"weight=int4:group32:symmetric:float16", GgmlType::kQ4_0, GgmlType::kF32},
               {"weight=int4:group64:asymmetric:bf16safe", GgmlType::kQ4_1, GgmlType::kF32},
               {"weight=int4:group64:asymmetric:float16", GgmlType::kQ5_0, GgmlType::kF32},
               {"weight=int8:group32:symmetric:float16", GgmlType::kQ8_0, GgmlType::kF32},
               {"qat4:group16", GgmlType::kF16, GgmlType::kF16},
               {"gguf:q4_0+q8_0", GgmlType::kQ4_0, GgmlType::kF16},
               {"gguf:q8_0", GgmlType::kQ8_0, GgmlType::kF32},
               {"gguf:q4_1", GgmlType::kQ4_1, GgmlType::kF32},
               {"gguf:iq4_nl", GgmlType::kIQ4_NL, GgmlType::kF32},
               {"gguf:mxfp4", GgmlType::kMXFP4, GgmlType::kF16},
               {"8da4w", GgmlType::kF32, GgmlType::kF32},
               {"tinygemm", GgmlType::kF32, GgmlType::kF32}};
  for (const auto& c : cases) {
    CAPTURE(std::string(c.scheme));
    nn::Transformer model = tiny_model();
    quantize(two_threads(), model, {{"linear", parse_scheme(c.scheme)}, {"head", {}}});
    const test::TempDir dir;
    const GgufReport report = export_gguf(model, {}, dir / "m.gguf");
    CHECK(report.size() == 21);
    CHECK(line_of(report, "model.layers.0.self_attn.q_proj").type == c.square);
    CHECK(line_of(report, "model.layers.1.mlp.down_proj").type == c.ragged);
    CHECK(line_of(report, "model.norm").type == GgmlType::kF32);
    CHECK(line_of(report, "model.embed_tokens").type == GgmlType::kF32);
    check_values(model, dir / "m.gguf");
  }
}

TEST_CASE("GGUF export: a tied table is written once; sides of different schemes are written apart") {
  nn::Transformer same = tiny_model(true), apart = tiny_model(true), half = tiny_model(true);
  const LayerScheme q8 = parse_scheme("qat8"), q4 = parse_scheme("qat4");
  quantize(two_threads(), same, {{"linear", q4}, {"embedding", q8}, {"head", q8}});
  quantize(two_threads(), apart, {{"embedding", q8}, {"head", q4}});
  quantize(two_threads(), half, {{"head", q4}});
  const test::TempDir dir;
  GgufReport report = export_gguf(same, {}, dir / "same.gguf");
  CHECK(report.size() == 20);
  CHECK(line_of(report, "model.embed_tokens").type == GgmlType::kQ8_0);
  CHECK(line_of(report, "model.embed_tokens").bytes == 50 * 68);
  CHECK(read_gguf_llama(dir / "same.gguf").config.tied);
  check_values(same, dir / "same.gguf");
  report = export_gguf(apart, {}, dir / "apart.gguf");
  CHECK(line_of(report, "lm_head").type == GgmlType::kQ4_0);
  CHECK_FALSE(read_gguf_llama(dir / "apart.gguf").config.tied);
  check_values(apart, dir / "apart.gguf");
  report = export_gguf(half, {}, dir / "half.gguf");
  CHECK(line_of(report, "model.embed_tokens").type == GgmlType::kF32);
  check_values(half, dir / "half.gguf");
}

TEST_CASE("GGUF export: layers that stand in one tensor get the shortest type that is exact for all of them") {
  LlamaConfig config = tiny_model().config();
  config = with_architecture(config, Architecture::kGpt2);
  const struct {
    const char *query, *value;
    GgmlType type;
  } cases[] = {{"qat4", "qat4", GgmlType::kQ4_0},
               {"qat4", "qat8", GgmlType::kQ8_0},
               {"qat8", "qat4", GgmlType::kQ8_0},
               {"qat4", "none", GgmlType::kF32}};
  for (const auto& c : cases) {
    CAPTURE(std::string(c.query));
    CAPTURE(std::string(c.value));
    nn::Transformer model(config);
    model.randomize(3, 0.2f);
    std::vector<LayerRule> rules = {{"linear", parse_scheme("qat4")}, {"*.q_proj", parse_scheme(c.query)}};
    rules.push_back({"*.v_proj", std::string_view(c.value) == "none" ? LayerScheme{} : parse_scheme(c.value)});
    quantize(two_threads(), model, rules);
    const test::TempDir dir;
    const GgufReport report = export_gguf(model, {}, dir / "m.gguf");
    for (const char* layer : {"q_proj", "k_proj", "v_proj"})
      CHECK(line_of(report, std::string("model.layers.1.self_attn.") + layer).type == c.type);
    CHECK(line_of(report, "model.layers.1.self_attn.k_proj").remark.empty() == (c.type == GgmlType::kQ4_0));
    CHECK(line_of(report, "model.layers.1.mlp.up_proj").type == GgmlType::kQ4_0);
    CHECK(Gguf::open(dir / "m.gguf").tensor("blk.1.attn_qkv.weight").type == c.type);
    check_values(model, dir / "m.gguf");
  }
}

TEST_CASE("GGUF export: a type that does not hold what was trained is refused with the layer and a scheme that fits") {
  const test::TempDir dir;
  const std::string path = dir / "m.gguf";
  const auto exported = [&](const char* scheme, GgmlType type) {
    nn::Transformer model = tiny_model();
    quantize(two_threads(), model, {{"linear", parse_scheme(scheme)}});
    return error_of([&] { export_gguf(model, {}, path, {"m", type}); });
  };
  const std::string message = exported("8da4w", GgmlType::kQ4_0);
  INFO(message);
  CHECK(contains(message, "model.layers.0.self_attn.q_proj"));
  CHECK(contains(message, "not exact in Q4_0: its scales are no halves"));
  CHECK(contains(message, "accepted: weight=int4:group32:signed_extremum:bf16safe"));
  CHECK(contains(exported("qat5", GgmlType::kQ4_0), "its integers, less their zero point, do not fit"));
  CHECK_FALSE(file_exists(path));
  nn::Transformer prepared = tiny_model();
  prepare(prepared, {{"linear", parse_scheme("qat4")}});
  CHECK(contains(error_of([&] { export_gguf(prepared, {}, path); }), "is prepared, not converted"));
  nn::Transformer in_float = tiny_model();
  CHECK(contains(error_of([&] { export_gguf(in_float, {}, path, {"m", {}, GgmlType::kQ8_0}); }), "float_type is Q8_0"));
  CHECK(contains(error_of([&] { export_gguf(in_float, {}, path, {"m", GgmlType::kQ4_0}); }), "no layer is packed"));
  CHECK_FALSE(file_exists(path));

  nn::Transformer model = tiny_model();
  quantize(two_threads(), model, {{"linear", parse_scheme("qat4")}});
  const GgufReport report = export_gguf(model, {}, path, {"m", GgmlType::kQ8_0});
  CHECK(line_of(report, "model.layers.0.self_attn.q_proj").type == GgmlType::kQ8_0);
  CHECK(line_of(report, "model.layers.0.mlp.down_proj").type == GgmlType::kF16);
  CHECK(contains(line_of(report, "model.layers.0.mlp.down_proj").remark, "rows of 84 are no whole blocks of 32"));
  check_values(model, path);
}

TEST_CASE("GGUF export: a ternary model goes to TQ2_0 and TQ1_0") {
  LlamaConfig config = tiny_config(false);
  config.dim = config.hidden_dim = 256;
  config.head_dim = 64;
  nn::Transformer model(config);
  model.randomize(3, 0.2f);
  // One element of each group is one and a half steps: the scale is a step, and the code -2 does not occur.
  for (nn::Linear* layer : model.linear_layers())
    for (index_t i = 0; i < layer->weight().value.size(); ++i)
      const_cast<float*>(layer->weight().value.data())[i] =
          i % 256 == 0 ? 0.375f : static_cast<float>(i * 7 % 3 - 1) * 0.25f;
  quantize(two_threads(), model, {{"linear", parse_scheme("weight=int2:group256:symmetric:bf16safe")}, {"head", {}}});
  const test::TempDir dir;
  for (const std::optional<GgmlType> type : {std::optional<GgmlType>(), std::optional<GgmlType>(GgmlType::kTQ1_0)}) {
    const GgufReport report = export_gguf(model, {}, dir / "m.gguf", {"m", type});
    CHECK(line_of(report, "model.layers.0.mlp.down_proj").type == type.value_or(GgmlType::kTQ2_0));
    check_values(model, dir / "m.gguf");
  }
}
