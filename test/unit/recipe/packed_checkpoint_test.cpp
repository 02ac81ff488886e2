// Packed checkpoints: the same logits after a round trip, and every defect by name.
#include "qat/recipe/packed_checkpoint.hpp"

#include <doctest/doctest.h>

#include "support/architectures.hpp"
#include "support/files.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

TEST_CASE("a packed checkpoint gives the logits it was saved with, bit for bit") {
  for (const bool tied : {false, true})
    for (const char* scheme :
         {"8da4w", "qat3", "tinygemm", "weight=uint8:axis0:asymmetric", "weight=int1:group20:symmetric",
          "gguf:q4_0+q8_0", "gguf:q4_1+q8_1", "gguf:iq4_nl", "gguf:mxfp4"}) {
      CAPTURE(scheme);
      nn::Transformer model = tiny_model(tied);
      const LayerScheme weight_only{parse_scheme(scheme).weight, {}};
      quantize(two_threads(), model,
               {{"linear", parse_scheme(scheme)}, {"embedding", weight_only}, {"head", parse_scheme(scheme)}});
      const test::TempDir temporary;
      const std::string directory = temporary.path();
      save_packed(model, directory);
      CHECK(is_packed_checkpoint(directory));
      nn::Transformer loaded = load_packed(directory);
      CHECK(same_bits(logits(loaded), logits(model)));
      CHECK(loaded.blocks()[0].mlp.up_proj.weight().value.empty());
    }
}

TEST_CASE("E2 for every architecture: prepared, converted and packed on disk give the same bits, decoded tokens too") {
  for (const test::NamedConfig& named : test::architectures(tiny_config(false)))
    for (const char* scheme : {"8da4w", "qat4"})
      for (const bool everything : {true, false}) {
        CAPTURE(named.name);
        const LlamaConfig& config = named.config;
        CAPTURE(scheme);
        nn::Transformer model = random_model(config);
        const Tensor<float> full = logits(model);
        std::vector<LayerRule> rules = {{"linear", parse_scheme(scheme)}};
        if (everything) rules.push_back({"head", parse_scheme(scheme)});
        rules.push_back({"embedding", {parse_scheme(scheme).weight, {}}});  // a tied head then reads both forms
        prepare(model, rules);
        const Tensor<float> prepared = logits(model);
        CHECK_FALSE(same_bits(prepared, full));
        convert(two_threads(), model);
        CHECK(same_bits(logits(model), prepared));
        const test::TempDir temporary;
        save_packed(model, temporary.path());
        nn::Transformer loaded = load_packed(temporary.path());
        CHECK(loaded.config() == config);
        CHECK(same_bits(logits(loaded), prepared));
        const auto tokens = tiny_tokens(60);
        nn::KvCache cache(config, 1, 30);
        for (index_t t = 0; t < 30; ++t) {
          const Tensor<float> one = loaded.decode(two_threads(), cache, view_of(tokens).slice(0, t, 1));
          REQUIRE(std::memcmp(one.data(), prepared.data() + t * config.vocab_size,
                              static_cast<std::size_t>(one.size_bytes())) == 0);
        }
      }
}

TEST_CASE("defects are named, and an unconverted model is not saved") {
  nn::Transformer model = tiny_model();
  const test::TempDir temporary;
  const std::string directory = temporary.path();
  CHECK(contains(error_of([&] { save_packed(model, directory); }), "no packed layer"));
  prepare(model, {{"linear", parse_scheme("qat4")}});
  CHECK(contains(error_of([&] { save_packed(model, directory); }), "is prepared, not converted"));
  CHECK_FALSE(is_packed_checkpoint(directory));
  convert(two_threads(), model);
  save_packed(model, directory);
  const std::string path = directory + "/qat_packed.json";
  const std::string text(MappedFile(path).text());
  const auto message_with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    REQUIRE(changed.find(from) != std::string::npos);
    changed.replace(changed.find(from), from.size(), to);
    write_file(path, changed);
    return error_of([&] { load_packed(directory); });
  };
  CHECK(contains(message_with("\"qat-packed\"", "\"other\""), "format is"));
  CHECK(contains(message_with("int4:group32", "int4:group31"), "has shape"));
  CHECK(contains(message_with("int4:group32", "int3:group32"), "has shape"));
  CHECK(contains(message_with("int4:group32", "int4:group0"), "group0"));
  CHECK(contains(message_with("model.layers.0.self_attn.q_proj", "model.layers.7.self_attn.q_proj"), "is missing"));
  CHECK(contains(message_with("\"hidden_size\": 64", "\"hidden_size\": 128"), "shape"));
  CHECK(contains(message_with("{", ""), "qat_packed.json"));
  CHECK(contains(message_with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 99999"), "more weights than"));
  CHECK(contains(message_with("\"vocab_size\": 50", "\"vocab_size\": 2000000000"), "more weights than"));
}
