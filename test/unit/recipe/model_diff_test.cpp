// Comparing models: what differs is found and counted, nothing else is.
#include "qat/recipe/model_diff.hpp"

#include <doctest/doctest.h>

#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

namespace {
nn::Transformer quantized(const char* scheme, std::uint64_t seed = 1) {
  nn::Transformer model = tiny_model(false, seed);
  quantize(two_threads(), model, {{"linear", parse_scheme(scheme)}});
  return model;
}
const LayerDiff& line_of(const std::vector<LayerDiff>& diff, const std::string& name) {
  for (const LayerDiff& d : diff)
    if (d.name == name) return d;
  FAIL("no line for ", name);
  return diff.front();
}
}  // namespace

TEST_CASE("a model does not differ from itself, packed or not") {
  nn::Transformer a = tiny_model(), b = tiny_model(), c = quantized("8da4w"), d = quantized("8da4w");
  for (const LayerDiff& line : model_diff(a, b)) CHECK(line.same());
  for (const LayerDiff& line : model_diff(c, d)) CHECK(line.same());
  CHECK(line_of(model_diff(c, d), "model.layers.0.mlp.up_proj").has_codes);
}

TEST_CASE("one changed weight is one value, and one code where both are packed") {
  nn::Transformer a = tiny_model(), b = tiny_model();
  const_cast<Tensor<float>&>(b.blocks()[1].mlp.up_proj.weight().value)[70] += 0.5f;
  int differing = 0;
  for (const LayerDiff& line : model_diff(a, b)) differing += !line.same();
  CHECK(differing == 1);
  CHECK(line_of(model_diff(a, b), "model.layers.1.mlp.up_proj").values == 1);
  CHECK(line_of(model_diff(a, b), "model.layers.1.mlp.up_proj").largest == doctest::Approx(0.5));

  nn::Transformer c = quantized("qat4:axis0"), d = quantized("qat4:axis0");
  const auto packed = dynamic_cast<const nn::PackedLinear&>(*c.blocks()[1].mlp.up_proj.quantization()).packed();
  std::vector<std::int8_t> codes(static_cast<std::size_t>(packed->rows() * packed->columns()));
  std::vector<float> scales;
  packed->unpack(codes.data());
  for (index_t g = 0; g < packed->groups().count(); ++g) scales.push_back(packed->scale(g));
  codes[70] = static_cast<std::int8_t>(codes[70] == 0 ? 1 : 0);
  d.blocks()[1].mlp.up_proj.set_quantization(std::make_unique<nn::PackedLinear>(
      std::make_shared<const PackedWeight>(
          PackedWeight::pack(packed->spec(), packed->rows(), packed->columns(), codes.data(), scales.data())),
      std::nullopt, nn::Product::kInteger));
  const LayerDiff line = line_of(model_diff(c, d), "model.layers.1.mlp.up_proj");
  CHECK(line.codes == 1);
  CHECK(line.values == 1);
  CHECK(line.scales == 0);
}

TEST_CASE("schemes are named where they differ, and values compared all the same") {
  nn::Transformer a = tiny_model(), b = quantized("8da4w"), c = quantized("qat4");
  const LayerDiff line = line_of(model_diff(a, b), "model.layers.0.self_attn.q_proj");
  CHECK(line.scheme_a == "float");
  CHECK_FALSE(line.has_codes);
  CHECK(line.values > 1000);
  CHECK(line_of(model_diff(b, c), "model.layers.0.self_attn.q_proj").scales > 100);
  nn::Transformer tied = tiny_model(true);
  CHECK(contains(error_of([&] {
                   LlamaConfig other = tiny_config(false);
                   other.hidden_dim = 96;
                   nn::Transformer wide(other);
                   model_diff(a, wide);
                 }),
                 "gate_proj has shape"));
  CHECK(model_diff(tied, tied).size() + 1 == model_diff(a, a).size());  // a tied head has no tensor of its own
}

TEST_CASE("a bias is a line of its own") {
  LlamaConfig config = tiny_config(false);
  config.qkv_bias = true;
  nn::Transformer a(config), b(config), c = tiny_model();
  const_cast<Tensor<float>&>(b.blocks()[0].self_attn.k_proj.bias()->value)[3] = 1.0f;
  int differing = 0;
  for (const LayerDiff& line : model_diff(a, b)) differing += !line.same();
  CHECK(differing == 1);
  CHECK(line_of(model_diff(a, b), "model.layers.0.self_attn.k_proj.bias").values == 1);
  CHECK(contains(error_of([&] { model_diff(a, c); }), "q_proj: one of the models has no bias"));
}
