// Statistics of quantized layers, against the report and against counting by hand.
#include "qat/recipe/layer_statistics.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "unit/recipe/tiny_model.hpp"

using namespace qat_test;
using qat::recipe::layer_statistics;
using qat::recipe::LayerRule;
using qat::recipe::LayerStatistics;
using qat::recipe::parse_scheme;

TEST_CASE("bytes are those of the report, for every way to quantize a tied or untied table") {
  for (const bool tied : {false, true})
    for (const auto& rules : std::vector<std::vector<LayerRule>>{
             {{"linear", parse_scheme("8da4w")}},
             {{"linear", parse_scheme("qat3")}, {"embedding", parse_scheme("int4_weight_only")}},
             {{"head", parse_scheme("qat8")}},
             {{"head", parse_scheme("qat8")}, {"embedding", parse_scheme("qat8")}},
             {{"embedding", parse_scheme("tinygemm")}}}) {
      nn::Transformer model = tiny_model(tied);
      const auto report = recipe::quantize(two_threads(), model, rules);
      const std::vector<LayerStatistics> layers = layer_statistics(model);
      REQUIRE(layers.size() == report.size());
      index_t bytes = 0;
      for (std::size_t i = 0; i < layers.size(); ++i) {
        CHECK(layers[i].name == report[i].name);
        CHECK((layers[i].scheme == "float") == (report[i].scheme == "float"));
        CHECK_FALSE(layers[i].has_sqnr);
        bytes += layers[i].bytes;
      }
      CHECK(bytes == bytes_after(report));
    }
}

TEST_CASE("histograms count every scale and code once, and the SQNR is that of the dequantized weights") {
  nn::Transformer model = tiny_model();
  const auto originals = model.tensors();
  recipe::quantize(two_threads(), model,
                   {{"linear", parse_scheme("qat4")}, {"first", parse_scheme("int2_weight_only")}});
  double four_bits = 0.0, two_bits = 0.0;
  for (const LayerStatistics& s : layer_statistics(model, originals)) {
    CAPTURE(s.name);
    if (s.scheme == "float") {
      CHECK(s.codes.empty());
      continue;
    }
    const index_t weights = s.shape[0] * s.shape[1], per_row = (s.shape[1] + 31) / 32;
    CHECK(s.scale_count == s.shape[0] * per_row);
    CHECK(std::accumulate(s.codes.begin(), s.codes.end(), index_t{0}) == weights);
    CHECK(std::accumulate(s.scales.counts.begin(), s.scales.counts.end(), s.zero_scales) == s.scale_count);
    CHECK(s.scales.counts.front() > 0);
    CHECK(s.scales.counts.back() > 0);
    CHECK(std::ilogb(s.largest_scale) == s.scales.first + static_cast<int>(s.scales.counts.size()) - 1);
    CHECK(s.least_scale <= s.median_scale);
    CHECK(s.median_scale <= s.largest_scale);
    const bool is_first = contains(s.name, "layers.0");
    CHECK(s.codes.size() == (is_first ? 4u : 16u));
    CHECK((s.negative_scales > 0) == !is_first);  // only the signed extremum turns a scale
    CHECK(s.extreme_codes ==
          doctest::Approx(static_cast<double>(s.codes.front() + s.codes.back()) / static_cast<double>(weights)));
    REQUIRE(s.has_sqnr);
    (is_first ? two_bits : four_bits) += s.sqnr_db / 7.0;
  }
  CHECK(four_bits > 18.0);
  CHECK(four_bits < 25.0);
  CHECK(two_bits > 3.0);
  CHECK(two_bits < 10.0);
}

TEST_CASE("a weight that quantization leaves as it is has an infinite SQNR") {
  nn::Transformer model = tiny_model();
  const auto weights = [&] { return model.blocks()[0].mlp.up_proj.weight().value.view<2>(); };
  for (index_t i = 0; i < weights().shape[0]; ++i)
    for (index_t k = 0; k < weights().shape[1]; ++k) weights()(i, k) = static_cast<float>((i + k) % 16 - 8);
  const auto originals = model.tensors();
  recipe::quantize(two_threads(), model, {{"layers.0.mlp.up_proj", parse_scheme("qat4:group64")}});
  for (const LayerStatistics& s : layer_statistics(model, originals))
    if (s.has_sqnr) CHECK(std::isinf(s.sqnr_db));
  CHECK(recipe::sqnr_decibel(100.0, 1.0) == doctest::Approx(20.0));
}
