// compressed-tensors directories: the same logits after a round trip, what the configuration says, and every defect by
// name.
#include "qat/recipe/compressed_tensors_checkpoint.hpp"

#include <doctest/doctest.h>

#include "support/architectures.hpp"
#include "support/files.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {

/// Linear layers by `scheme`, those of ragged rows by another one.
nn::Transformer packed_model(const char* scheme, const char* ragged, bool tied = false) {
  nn::Transformer model = tiny_model(tied);
  std::vector<LayerRule> rules = {{"linear", parse_scheme(scheme)}, {"layers.*.down_proj", {}}};
  if (*ragged != '\0') rules.back().scheme = parse_scheme(ragged);
  quantize(two_threads(), model, rules);
  return model;
}
Json quantization_of(const std::string& directory) {
  return read_json(directory + "/config.json").at("quantization_config");
}

}  // namespace

TEST_CASE("a compressed-tensors directory gives the logits it was saved with, bit for bit") {
  const char* const schemes[][2] = {{"8da4w", ""},
                                    {"8da4w", "8da4w:axis0"},
                                    {"qat4", "int8_weight_only:axis0"},
                                    {"qat4a8", "qat4a8:group28"},
                                    {"int8_weight_only:axis0", "int8_weight_only:axis0"},
                                    {"weight=int4:group16:asymmetric", "weight=uint4:group42:asymmetric"},
                                    {"weight=int3:group64:symmetric,activation=int8:token:symmetric", ""}};
  for (const bool tied : {false, true})
    for (const auto& pair : schemes) {
      const char *const scheme = pair[0], *const ragged = pair[1];
      CAPTURE(scheme);
      nn::Transformer model = packed_model(scheme, ragged, tied);
      const test::TempDir dir;
      const CompressedTensorsReport report = save_compressed_tensors(model, dir.path());
      CHECK(report.packed == (*ragged == '\0' ? 12 : 14) + (tied ? 0 : 1));
      CHECK(is_compressed_tensors(dir.path()));
      nn::Transformer loaded = load_compressed_tensors(dir.path());
      CHECK(same_bits(logits(loaded), logits(model)));
      CHECK(loaded.blocks()[0].mlp.up_proj.weight().value.empty());
    }
}

TEST_CASE("every architecture but GPT-2, whose layers are no linear ones there, travels as compressed-tensors") {
  for (const test::NamedConfig& named : test::architectures(tiny_config(false))) {
    CAPTURE(named.name);
    const LlamaConfig& config = named.config;
    nn::Transformer model = random_model(config);
    quantize(two_threads(), model, {{"layers.*.self_attn.?_proj", parse_scheme("8da4w")}});
    const test::TempDir dir;
    if (config.architecture == Architecture::kGpt2) {
      CHECK(contains(error_of([&] { save_compressed_tensors(model, dir / "m"); }), "GPT2LMHeadModel"));
      CHECK_FALSE(is_directory(dir / "m"));
      continue;
    }
    save_compressed_tensors(model, dir / "m");
    nn::Transformer loaded = load_compressed_tensors(dir / "m");
    CHECK(loaded.config() == config);
    CHECK(same_bits(logits(loaded), logits(model)));
  }
}

TEST_CASE("a packed embedding is written as the values of its codes") {
  for (const bool tied : {false, true}) {
    nn::Transformer model = tiny_model(tied);
    const LayerScheme table{parse_scheme("qat4").weight, {}};
    std::vector<LayerRule> rules = {{"linear", parse_scheme("qat4:axis0")}, {"embedding", table}};
    if (tied) rules.push_back({"head", table});
    quantize(two_threads(), model, rules);
    const test::TempDir dir;
    const CompressedTensorsReport report = save_compressed_tensors(model, dir.path());
    CHECK(contains(report.remarks.at(0), "model.embed_tokens"));
    nn::Transformer loaded = load_compressed_tensors(dir.path());
    const auto tokens = tiny_tokens(20);
    Tensor<float> a({20, 64}), b({20, 64});  // (N, C)
    model.embed_tokens().forward(two_threads(), view_of(tokens), view(a.data(), 20, 64));
    loaded.embed_tokens().forward(two_threads(), view_of(tokens), view(b.data(), 20, 64));
    CHECK(same_bits(a, b));
  }
}

TEST_CASE("config.json names schemes and layers as compressed-tensors does") {
  const test::TempDir one, two;
  nn::Transformer model = packed_model("8da4w", "");
  save_compressed_tensors(model, one.path());
  Json config = quantization_of(one.path());
  CHECK(config.at("quant_method") == "compressed-tensors");
  CHECK(config.at("format") == "pack-quantized");
  CHECK(config.at("ignore") == Json{"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"});
  const Json& group = config.at("config_groups").at("group_0");
  CHECK(group.at("targets") == Json{"Linear"});
  CHECK(group.at("weights").at("num_bits") == 4);
  CHECK(group.at("weights").at("strategy") == "group");
  CHECK(group.at("weights").at("group_size") == 32);
  CHECK(group.at("weights").at("symmetric") == true);
  CHECK(group.at("input_activations").at("strategy") == "token");
  CHECK(group.at("input_activations").at("symmetric") == false);
  model = packed_model("qat4", "int8_weight_only:axis0");
  save_compressed_tensors(model, two.path());
  config = quantization_of(two.path());
  CHECK(config.at("ignore").empty());
  CHECK(config.at("config_groups").size() == 2);
  CHECK(config.at("config_groups").at("group_1").at("targets") ==
        Json{"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"});
  CHECK(config.at("config_groups").at("group_1").at("weights").at("strategy") == "channel");
  CHECK(config.at("config_groups").at("group_1").at("input_activations").is_null());
}

TEST_CASE("limits of vLLM's kernels are reported, with how many layers they concern") {
  const test::TempDir dir;
  nn::Transformer model = packed_model("qat4", "qat4:axis0");
  std::string all;
  for (const std::string& remark : save_compressed_tensors(model, dir.path()).remarks) all += remark + "\n";
  CHECK(contains(all, "13 of 15 layers are outside of what vLLM's kernels accept: rows of 64 columns"));
  CHECK(contains(all, "2 of 15 layers are outside of what vLLM's kernels accept: rows of 84 columns"));
}

TEST_CASE("a model in 16 bits: scales that fit stay exact, others are refused before a file is there") {
  const test::TempDir dir;
  nn::Transformer model = packed_model("qat4", "");
  save_compressed_tensors(model, dir / "bf16", {DType::kBF16});
  nn::Transformer loaded = load_compressed_tensors(dir / "bf16");
  const auto& before = dynamic_cast<const nn::PackedLinear&>(*model.blocks()[0].mlp.up_proj.quantization()).packed();
  const auto& after = dynamic_cast<const nn::PackedLinear&>(*loaded.blocks()[0].mlp.up_proj.quantization()).packed();
  CHECK(after->scale(5) == before->scale(5));
  CHECK(after->code(3, 7) == before->code(3, 7));
  model = packed_model("8da4w", "");
  CHECK(contains(error_of([&] { save_compressed_tensors(model, dir / "no", {DType::kBF16}); }), "q_proj: scale"));
  CHECK_FALSE(is_directory(dir / "no"));
}

TEST_CASE("what the format cannot hold, and defects of a directory, are named") {
  const test::TempDir dir;
  nn::Transformer model = tiny_model();
  CHECK(contains(error_of([&] { save_compressed_tensors(model, dir / "a"); }), "no packed linear layer"));
  prepare(model, {{"linear", parse_scheme("qat4")}});
  CHECK(contains(error_of([&] { save_compressed_tensors(model, dir / "a"); }), "is prepared, not converted"));
  convert(two_threads(), model);
  CHECK(contains(error_of([&] { save_compressed_tensors(model, dir / "a"); }), "mlp.down_proj"));
  nn::Transformer headed = tiny_model(true);
  quantize(two_threads(), headed, {{"head", parse_scheme("qat4")}});
  CHECK(contains(error_of([&] { save_compressed_tensors(headed, dir / "a"); }), "lm_head: is packed"));
  CHECK_FALSE(is_directory(dir / "a"));

  model = packed_model("8da4w", "8da8w:axis0");
  save_compressed_tensors(model, dir / "m");
  const std::string path = dir / "m" + "/config.json";
  const std::string text(MappedFile(path).text());
  const auto message_with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    REQUIRE(changed.find(from) != std::string::npos);
    changed.replace(changed.find(from), from.size(), to);
    write_file(path, changed);
    return error_of([&] { load_compressed_tensors(dir / "m"); });
  };
  CHECK(message_with("\"format\"", "\"format\"") == "(no error)");
  CHECK(contains(message_with("\"pack-quantized\"", "\"float-quantized\""), "accepted: \"pack-quantized\""));
  CHECK(contains(message_with("\"num_bits\": 4", "\"num_bits\": 9"), "'num_bits' is 9; accepted: 1 to 8"));
  CHECK(contains(message_with("\"num_bits\": 4", "\"num_bits\": 4294967300"), "'num_bits'"));
  CHECK(contains(message_with("\"num_bits\": 4", "\"num_bits\": 5"), "q_proj.weight_packed"));
  CHECK(contains(message_with("\"group_size\": 32", "\"group_size\": 0"), "'group_size' is 0"));
  CHECK(contains(message_with("\"strategy\": \"group\"", "\"strategy\": \"block\""), "'strategy' is"));
  CHECK(contains(message_with("\"type\": \"int\"", "\"type\": \"float\""), "'type' is"));
  CHECK(contains(message_with("\"actorder\": null", "\"actorder\": \"group\""), "'actorder' is"));
  CHECK(contains(message_with("\"dynamic\": true", "\"dynamic\": false"), "'input_activations'"));
  CHECK(contains(message_with("\"config_groups\"", "\"other\""), "'config_groups' is missing"));
  CHECK(contains(message_with("\"hidden_size\": 64", "\"hidden_size\": 128"), "config.json asks for"));
  CHECK(contains(message_with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"), "tensors; config.json"));
  CHECK(contains(message_with("{", ""), "config.json"));
}
