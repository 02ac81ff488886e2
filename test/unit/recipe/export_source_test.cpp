// What exporters see is the same from a model in memory and from a checkpoint read layer by layer: so are the files.
#include "qat/recipe/export_source.hpp"

#include <doctest/doctest.h>

#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "support/architectures.hpp"
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
    if (x.weight) CHECK(same_bits(*x.weight(), *y.weight()));
    REQUIRE(static_cast<bool>(x.bias) == static_cast<bool>(y.bias));
    if (x.bias) CHECK(same_bits(*x.bias(), *y.bias()));
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
