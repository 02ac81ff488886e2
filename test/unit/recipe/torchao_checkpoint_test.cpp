// Directories with torchao's tensors: codes and scales come back as they were, and what is wrong is named.
#include "qat/recipe/torchao_checkpoint.hpp"

#include <doctest/doctest.h>

#include "qat/recipe/model_diff.hpp"
#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {

nn::Transformer torchao_model(const char* scheme, bool tied = false) {
  nn::Transformer model = tiny_model(tied);
  quantize(two_threads(), model, {{"linear", parse_scheme(scheme)}});
  return model;
}

/// A directory with its model.safetensors edited: f(header, tensor bytes).
template <class F>
std::string error_after(const test::TempDir& dir, const F& f) {
  nn::Transformer model = torchao_model("weight=int4:axis0:asymmetric");
  save_torchao(export_source(model), dir / "t");
  const std::string path = join_path(dir / "t", "model.safetensors"), text(MappedFile(path).text());
  std::uint64_t size = 0;
  std::memcpy(&size, text.data(), sizeof size);
  Json header = Json::parse(text.substr(8, static_cast<std::size_t>(size)));
  std::string data = text.substr(8 + static_cast<std::size_t>(size));
  f(header, data);
  const std::string changed = header.dump();
  size = changed.size();
  write_file(path, std::string(reinterpret_cast<const char*>(&size), sizeof size) + changed + data);
  return error_of([&] { load_torchao(dir / "t"); });
}

constexpr const char* kLayer = "model.layers.0.mlp.up_proj";

}  // namespace

TEST_CASE("codes, scales, zero points and activations of every scheme the container holds come back") {
  for (const char* scheme :
       {"weight=int4:axis0:symmetric", "weight=int8:axis0:asymmetric", "weight=int3:group4:asymmetric:bfloat16",
        "weight=uint4:axis0:asymmetric", "8da2w:group4"}) {
    CAPTURE(scheme);
    for (const bool tied : {false, true}) {
      nn::Transformer model = torchao_model(scheme, tied);
      const test::TempDir dir;
      const TorchaoReport report = save_torchao(export_source(model), dir / "t");
      CHECK(report.packed == (tied ? 14 : 15));
      CHECK(quantization_method(dir / "t") == "torchao");
      nn::Transformer loaded = load_torchao(dir / "t");
      for (const LayerDiff& line : model_diff(model, loaded)) CHECK(line.same());
      CHECK(same_bits(logits(model), logits(loaded)));
    }
  }
}

TEST_CASE("what the container has no place for is refused with the layer and what fits") {
  const test::TempDir dir;
  for (const auto& [scheme, reason] :
       {std::pair{"weight=int4:group32:symmetric", "accepted: axis0, groupG with G a divisor"},
        {"tinygemm:group32", "zero points are floating point"},
        {"weight=int4:axis0:symmetric,activation=int8:token:symmetric", "accepted: none, those of 8da4w"}}) {
    nn::Transformer model = torchao_model(scheme);
    const std::string error = error_of([&] { save_torchao(export_source(model), dir / "t"); });
    CHECK_MESSAGE(contains(error, reason), error);
    CHECK(contains(error, "model.layers.0."));
  }
  nn::Transformer model = torchao_model("weight=int4:axis0:symmetric");
  CHECK(contains(error_of([&] { save_torchao(export_source(model), dir / "t", {DType::kBF16}); }), "BF16 cannot hold"));
  nn::Transformer plain = tiny_model();
  CHECK(contains(error_of([&] { save_torchao(export_source(plain), dir / "t"); }), "no packed linear layer"));
}

TEST_CASE("a directory that contradicts itself is refused by file, tensor and field") {
  const test::TempDir dir;
  const std::string weight = std::string(kLayer) + ".weight", codes = std::string(kLayer) + "._weight_qdata",
                    scale = std::string(kLayer) + "._weight_scale";
  const auto described = [&](const char* from, const char* to) {
    return error_after(dir, [&](Json& header, std::string&) {
      std::string text = header["__metadata__"][weight].get<std::string>();
      const std::size_t place = text.find(from);
      REQUIRE(place != text.npos);
      header["__metadata__"][weight] = text.replace(place, std::string(from).size(), to);
    });
  };
  CHECK(error_after(dir, [](Json&, std::string&) {}) == "(no error)");
  CHECK(
      contains(described("IntxUnpackedToInt8Tensor", "Int4Tensor"), "'_type' is 'Int4Tensor'; accepted: Tensor, Intx"));
  CHECK(contains(described("int4", "int9"), "'target_dtype' is 'int9'"));
  CHECK(contains(described("[1,64]", "[2,64]"), "'block_size' is [2,64]; accepted: [1, a divisor of 64]"));
  CHECK(contains(described("[1,64]", "[1,32]"), "_weight_zero_point' has shape"));
  CHECK(contains(error_after(dir, [&](Json& header, std::string&) { header["__metadata__"].erase(weight); }),
                 "key 'model.layers.0.mlp.up_proj.weight': is missing"));
  const auto byte = [&](const std::string& tensor, const char* bytes, std::size_t count) {
    return error_after(dir, [&](Json& header, std::string& data) {
      data.replace(header[tensor]["data_offsets"][0].get<std::size_t>(), count, std::string(bytes, count));
    });
  };
  CHECK(contains(byte(codes, "\x08", 1), "_weight_qdata' has 8 at element 0; accepted for int4: -8 to 7"));
  CHECK(contains(byte(scale, "\0\0\xc0\x7f", 4), "has a scale nan"));
}
