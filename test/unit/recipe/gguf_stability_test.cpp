// Blocks of trained types come back from a checkpoint in floating point and ggml's own quantizers.
#include "qat/recipe/gguf_stability.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>

#include "unit/recipe/tiny_model.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;

TEST_CASE("GGUF stability: ggml's own rules make the same bytes of the weights of a trained type") {
  constexpr index_t kRows = 48, kColumns = 512;
  Tensor<float> values({kRows, kColumns});
  CounterRandom random(11);
  for (float& v : values) v = 0.05f * (random.next_float() + random.next_float() + random.next_float() - 1.5f);
  const Parameter weight("w", std::move(values));
  // What the weights may be stored as in between.
  const struct {
    GgmlType type;
    bool fp32, fp16, bf16;
  } cases[] = {{GgmlType::kQ4_0, true, true, true},    {GgmlType::kQ5_0, true, true, true},
               {GgmlType::kQ8_0, true, false, false},  {GgmlType::kQ4_1, true, false, false},
               {GgmlType::kTQ1_0, true, true, true},   {GgmlType::kTQ2_0, true, true, true},
               {GgmlType::kIQ4_NL, true, true, false}, {GgmlType::kMXFP4, true, true, true}};
  for (const auto& c : cases) {
    INFO(std::string(info(c.type).name));
    const PackedWeight packed = nn::quantize_weight(two_threads(), parse_spec(ggml_scheme(c.type)), weight);
    for (const GgmlType stored : {GgmlType::kF32, GgmlType::kF16, GgmlType::kBF16}) {
      const RequantizedBlocks blocks = requantized_blocks(StoredWeight(packed), c.type, stored);
      CHECK(blocks.total == kRows * kColumns / info(c.type).block);
      const bool comes_back = stored == GgmlType::kF32 ? c.fp32 : stored == GgmlType::kF16 ? c.fp16 : c.bf16;
      INFO(std::string(info(stored).name) << ": " << blocks.equal);
      CHECK((blocks.equal == blocks.total) == comes_back);
    }
  }
}

TEST_CASE("GGUF stability: every layer that is stored in blocks is counted, in the type it is exported in") {
  nn::Transformer model = tiny_model();
  quantize(two_threads(), model, {{"linear", parse_scheme("gguf:q4_0")}, {"head", parse_scheme("gguf:q8_0")}});
  const std::vector<StabilityLine> lines = gguf_stability(model, GgmlType::kQ4_0);
  CHECK(lines.size() == 2 * 7 + 1);
  for (const StabilityLine& line : lines) {
    INFO(line.name);
    const bool ragged = line.name.find("down_proj") != std::string::npos, head = line.name == "lm_head";
    CHECK(line.type == (ragged ? GgmlType::kF16 : head ? GgmlType::kQ8_0 : GgmlType::kQ4_0));
    CHECK((line.blocks.total == 0) == ragged);
    CHECK(line.is_stable() == !head);  // Q8_0 through bf16
  }
  CHECK(contains(error_of([&] { gguf_stability(model, GgmlType::kMXFP4); }), "not exact in MXFP4"));
}

TEST_CASE(
    "GGUF stability: layers that stand in one tensor of the file are counted in its one type, as they are exported") {
  nn::Transformer model(with_architecture(tiny_config(true), Architecture::kGpt2));  // one tensor for q, k and v
  model.randomize(1, 0.2f);
  quantize(two_threads(), model, {{"linear", parse_scheme("gguf:q4_0")}, {"*.k_proj", parse_scheme("gguf:q8_0")}});
  const test::TempDir dir;
  const GgufReport report = export_gguf(model, {}, dir / "m.gguf");
  for (const StabilityLine& line : gguf_stability(model, std::nullopt)) {
    INFO(line.name);
    const auto written =
        std::find_if(report.begin(), report.end(), [&](const GgufLayer& l) { return l.name == line.name; });
    REQUIRE(written != report.end());
    CHECK(line.type == written->type);
    const bool joint = line.name.find("q_proj") != line.name.npos || line.name.find("k_proj") != line.name.npos ||
                       line.name.find("v_proj") != line.name.npos;
    CHECK((line.type == GgmlType::kQ8_0) == joint);
  }
}
