// ONNX export: codes and scales in the operator's blocks stand for the trained values; what it cannot hold is refused.
// That a runtime computes the model's logits from the file is test/cli/onnx_test.py.
#include "qat/recipe/onnx_export.hpp"

#include <doctest/doctest.h>

#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

TEST_CASE("MatMulNBits's blocks dequantize to the packed weights, for every width, group and zero point") {
  nn::Transformer model = tiny_model();
  const Parameter& weight = model.blocks()[0].mlp.down_proj.weight();  // (64, 84)
  for (const int bits : {1, 2, 3, 4, 5, 6, 7, 8})
    for (const char* rest :
         {":group16:asymmetric", ":group32:symmetric", ":group48:asymmetric", ":axis0:symmetric", ":axis0:asymmetric"})
      for (const char* sign : {"int", "uint"}) {
        const std::string text = sign + std::to_string(bits) + rest;
        CAPTURE(text);
        const PackedWeight packed = nn::quantize_weight(two_threads(), parse_spec(text.c_str()), weight);
        const StoredWeight weight_rows(packed);
        const recipe::detail::NBitsLayout stored = recipe::detail::nbits_layout(weight_rows, "w");
        const auto written = [&](auto* write) {
          std::string bytes;
          write(weight_rows, stored,
                [&](const void* data, std::size_t size) { bytes.append(static_cast<const char*>(data), size); });
          return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
        };
        const std::vector<std::uint8_t> codes = written(recipe::detail::write_nbits_codes),
                                        zero_points = written(recipe::detail::write_nbits_zero_points),
                                        scale_bytes = written(recipe::detail::write_nbits_scales);
        std::vector<float> scales(scale_bytes.size() / sizeof(float));
        std::memcpy(scales.data(), scale_bytes.data(), scale_bytes.size());
        CHECK((stored.bits == 2 || stored.bits == 4 || stored.bits == 8));
        bool same = true;
        const index_t row_bytes = stored.row_bytes();
        for (index_t n = 0; n < 64; ++n)
          for (index_t k = 0; k < stored.blocks * stored.block_size; ++k) {
            const index_t b = k / stored.block_size;
            const auto u = static_cast<int>(qat::detail::load_packed(codes.data() + n * row_bytes, k, stored.bits));
            const int zero = stored.symmetric ? stored.middle()
                                              : static_cast<int>(qat::detail::load_packed(
                                                    zero_points.data() + n * stored.zero_bytes(), b, stored.bits));
            const float value = static_cast<float>(u - zero) * scales[static_cast<std::size_t>(n * stored.blocks + b)];
            if (k < 84) same = same && value == packed.dequantized(n, k);
          }
        CHECK(same);
      }
}

TEST_CASE("what MatMulNBits cannot hold is refused by name, and no file is there") {
  const test::TempDir dir;
  const auto error = [&](const char* scheme) {
    nn::Transformer model = tiny_model();
    quantize(two_threads(), model, {{"linear", parse_scheme(scheme)}});
    return error_of([&] { save_onnx(model, dir / "m.onnx"); });
  };
  CHECK(contains(error("weight=int4:group20:symmetric"), "q_proj"));
  CHECK(contains(error("weight=int4:group20:symmetric"), "groups of a multiple of 16"));
  CHECK(contains(error("tinygemm"), "integer zero points"));
  CHECK(contains(error("weight=int4:block16x16:symmetric"), "q_proj"));
  CHECK(contains(error("weight=int4:group32:symmetric,activation=int8:tensor:symmetric"), "activations are"));
  nn::Transformer prepared = tiny_model();
  prepare(prepared, {{"linear", parse_scheme("qat4")}});
  CHECK(contains(error_of([&] { save_onnx(prepared, dir / "m.onnx"); }), "is prepared, not converted"));
  for (const Architecture a : {Architecture::kQwen3, Architecture::kGemma, Architecture::kGpt2}) {
    nn::Transformer other(with_architecture(tiny_config(true), a));
    CHECK(contains(error_of([&] { save_onnx(other, dir / "m.onnx"); }), "accepted for ONNX: Llama"));
  }
  CHECK_FALSE(file_exists(dir / "m.onnx"));
  nn::Transformer biased(with_architecture(tiny_config(true), Architecture::kQwen2));
  CHECK(save_onnx(biased, dir / "m.onnx").in_float == 15);
}

TEST_CASE("the report counts layers, and a model in floating point is a graph too") {
  const test::TempDir dir;
  nn::Transformer model = tiny_model(true);
  CHECK(save_onnx(model, dir / "float.onnx").in_float == 15);
  quantize(two_threads(), model,
           {{"linear", parse_scheme("8da4w")}, {"embedding", LayerScheme{parse_scheme("qat4").weight, {}}}});
  const OnnxReport report = save_onnx(model, dir / "packed.onnx");
  CHECK(report.packed == 14);
  CHECK(report.in_float == 1);
  CHECK(contains(report.remarks.at(0), "embed_tokens"));
}
