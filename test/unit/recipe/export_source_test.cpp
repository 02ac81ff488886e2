// What exporters see is the same from a model in memory and from a checkpoint read layer by layer: so are the files.
#include "qat/recipe/export_source.hpp"

#include <doctest/doctest.h>

#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/gguf_export.hpp"
#include "qat/recipe/onnx_export.hpp"
#include "qat/recipe/torchao_checkpoint.hpp"
#include "support/architectures.hpp"
#include "support/memory_limit.hpp"
#include "support/skip.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {

std::string file_text(const std::string& path) { return std::string(MappedFile(path).text()); }

void check_same(const ExportSource& a, const ExportSource& b) {
  CHECK(a.config == b.config);
  REQUIRE(a.layers.size() == b.layers.size());
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    const ExportLayer &x = a.layers[i], &y = b.layers[i];
    CAPTURE(x.name);
    CHECK(x.name == y.name);
    CHECK(x.shape == y.shape);
    CHECK(x.block == y.block);
    CHECK((x.is_linear == y.is_linear && x.is_embedding == y.is_embedding && x.is_tied == y.is_tied));
    CHECK(x.activation == y.activation);
    CHECK(a.is_table(x) == b.is_table(y));
    REQUIRE(static_cast<bool>(x.packed) == static_cast<bool>(y.packed));
    if (x.packed) CHECK(*x.packed() == *y.packed());
    if (x.weight) CHECK(same_bits(x.weight.tensor(), y.weight.tensor()));
    REQUIRE(static_cast<bool>(x.bias) == static_cast<bool>(y.bias));
    if (x.bias) CHECK(same_bits(x.bias.tensor(), y.bias.tensor()));
  }
}

}  // namespace

TEST_CASE("a packed directory has the layers of the model that was saved, for every architecture and kind of head") {
  for (const bool tied : {false, true})
    for (const test::NamedConfig& named : test::architectures(tiny_config(tied)))
      for (const char* layers : {"linear", "model.*"}) {
        CAPTURE(named.name);
        nn::Transformer model = random_model(named.config);
        std::vector<LayerRule> rules = {{"linear", parse_scheme("8da4w")}};
        if (layers != std::string("linear")) rules.push_back({"embedding", parse_scheme("qat4")});
        quantize(two_threads(), model, rules);
        const test::TempDir dir;
        save_packed(model, dir / "p");
        check_same(export_source(model), open_packed_source(dir / "p"));
      }
}

TEST_CASE("a float checkpoint read tensor by tensor is the model, and written again it is the same file") {
  for (const test::NamedConfig& named : test::architectures(tiny_config(true))) {
    CAPTURE(named.name);
    nn::Transformer model = random_model(named.config);
    const test::TempDir dir;
    save_llama({model.config(), model.tensors()}, dir / "hf");
    const WeightSource weights = open_weights(dir / "hf");
    check_same(export_source(model), export_source(weights));
    save_llama(weights, dir / "again");
    for (const char* name : {"model.safetensors", "config.json"})
      CHECK(file_text(join_path(dir / "hf", name)) == file_text(join_path(dir / "again", name)));
  }
  nn::Transformer model = random_model(tiny_config(false));
  const test::TempDir dir;
  save_llama({model.config(), model.tensors()}, dir / "m.bin");
  save_llama(open_weights(dir / "m.bin"), dir / "again.bin");
  CHECK(file_text(dir / "m.bin") == file_text(dir / "again.bin"));
}

TEST_CASE("compressed-tensors written from a packed directory is the one written from the model") {
  nn::Transformer model = random_model(tiny_config(false));
  quantize(two_threads(), model,
           {{"linear", parse_scheme("weight=int4:axis0:asymmetric,activation=int8:token:symmetric")}});
  const test::TempDir dir;
  save_packed(model, dir / "p");
  save_compressed_tensors(model, dir / "a");
  save_compressed_tensors(open_packed_source(dir / "p"), dir / "b");
  for (const char* name : {"model.safetensors", "config.json"})
    CHECK(file_text(join_path(dir / "a", name)) == file_text(join_path(dir / "b", name)));
}

TEST_CASE("a packed directory with a tensor too many or too few is refused before anything is read") {
  nn::Transformer model = random_model(tiny_config(false));
  quantize(two_threads(), model, {{"linear", parse_scheme("qat4")}});
  const test::TempDir dir;
  save_packed(model, dir / "p");
  const std::string description = join_path(dir / "p", kPackedFile), text = file_text(description);
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(text);
  json["layers"].erase("model.layers.0.mlp.up_proj");
  write_file(description, json.dump());
  CHECK(contains(error_of([&] { open_packed_source(dir / "p"); }), "'model.layers.0.mlp.up_proj.weight' is missing"));
  json = nlohmann::ordered_json::parse(text);
  json["layers"]["model.layers.9.mlp.up_proj"] = json["layers"]["model.layers.0.mlp.up_proj"];
  write_file(description, json.dump());
  CHECK(contains(error_of([&] { open_packed_source(dir / "p"); }), "'layers' names"));
}

TEST_CASE("an export needs a few megabytes, whatever the size of the model: no tensor is in memory whole") {
#if defined(QAT_ADDRESS_SANITIZER)
  QAT_SKIP("memory of an export", "AddressSanitizer's own memory counts");
#else
  LlamaConfig config = tiny_config(false);
  config.dim = 256;
  config.head_dim = 64;
  config.hidden_dim = 704;
  config.vocab_size = 8192;
  constexpr index_t kLargest = 4 * 8192 * 256, kLimit = 3 << 20;  // bytes of the embedding, and what is allowed
  static_assert(kLimit < kLargest / 2);
  const test::TempDir dir;
  const std::string hf = dir / "hf", packed = dir / "packed";
  REQUIRE(test::succeeds_within(index_t{1} << 30, [&] {  // elsewhere, so that no freed memory is here to be had again
    nn::Transformer model(config);
    model.randomize(1, 0.2f);
    save_llama({model.config(), model.tensors()}, hf);
    quantize(CpuBackend(1), model,
             {{"linear", parse_scheme("gguf:q4_0")}, {"embedding", LayerScheme{parse_scheme("qat4").weight, {}}}});
    save_packed(model, packed);
  }));
  const auto within = [&](const auto& work) { return test::succeeds_within(kLimit, work); };
  CHECK(within([&] { save_llama(open_weights(hf), dir / "m.bin"); }));
  CHECK(within([&] { save_llama(open_weights(dir / "m.bin"), dir / "bf16", DType::kBF16); }));
  CHECK(within([&] { export_gguf(export_source(open_weights(hf)), {}, dir / "m.gguf", {"m", {}, GgmlType::kF16}); }));
  CHECK(within([&] { save_llama(open_weights(dir / "m.gguf"), dir / "again"); }));
  CHECK(within([&] { save_onnx(export_source(open_weights(hf)), dir / "m.onnx"); }));
  CHECK(within([&] { save_llama(on_grid_weights(open_packed_source(packed)), dir / "grid"); }));
  CHECK(within([&] { save_compressed_tensors(open_packed_source(packed), dir / "ct"); }));
  CHECK(within([&] { save_torchao(open_packed_source(packed), dir / "ao"); }));
  CHECK(within([&] { save_onnx(open_packed_source(packed), dir / "q.onnx"); }));
  CHECK(within([&] { export_gguf(open_packed_source(packed), {}, dir / "q.gguf", {"m", GgmlType::kQ4_0}); }));
  CHECK_FALSE(within([&] { (void)open_weights(hf).tensor("model.embed_tokens.weight"); }));
#endif
}
