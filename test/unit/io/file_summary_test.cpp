// Summaries of files: every tensor with its bytes, and numbers that are not finite.
#include "qat/io/file_summary.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "qat/io/gguf_writer.hpp"
#include "support/files.hpp"

using namespace qat;

TEST_CASE("a summary lists what was written and counts values that are not finite, in every floating type") {
  const test::TempDir dir;
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> values(100000, 1.0f);
  values[70000] = infinity;
  values[99999] = -infinity;
  const std::vector<std::uint16_t> halves = rounded_bits(values.data(), 100000, DType::kF16);
  const std::vector<std::int32_t> codes(8, 0x7f800000);  // no float
  const std::string path = dir / "model.safetensors";
  write_safetensors(path, {{"a", DType::kF32, {100, 1000}, values.data()},
                           {"b", DType::kF16, {100000}, halves.data()},
                           {"c", DType::kI32, {8}, codes.data()}});
  const FileSummary s = summarize_safetensors(path);
  CHECK(s.format == "safetensors");
  CHECK(s.bytes == MappedFile(path).size());
  REQUIRE(s.tensors.size() == 3);
  CHECK(s.tensors[0].shape == std::vector<index_t>{100, 1000});
  CHECK(s.tensors[0].bytes == 400000);
  CHECK(s.tensors[1].type == "F16");
  CHECK(s.values_checked == 200000);
  REQUIRE(s.problems.size() == 2);
  CHECK(s.problems[0].find("tensor 'a' has 2 of 100000 values that are not finite, the first inf at element 70000") !=
        std::string::npos);
}

TEST_CASE("a block of GGUF with a scale that is NaN is found") {
  const test::TempDir dir;
  std::string block(18, '\x11');
  block[0] = '\0', block[1] = '\x7e';  // a half that is NaN
  const std::string good = std::string("\0\x3c", 2) + block.substr(2);
  GgufMetadata metadata;
  metadata.add("general.architecture", "llama");
  metadata.add("numbers", std::vector<std::int32_t>{1, 2, 3, 4});
  write_gguf(dir / "m.gguf", metadata, {{"w", GgmlType::kQ4_0, {2, 32}, [&](const ByteSink& sink) {
                                           sink(good.data(), 18);
                                           sink(block.data(), 18);
                                         }}});
  const FileSummary s = summarize_gguf(dir / "m.gguf");
  CHECK(s.format == "GGUF version 3");
  REQUIRE(s.metadata.size() == 2);
  CHECK(s.metadata[1].second == "[1, 2, 3, ... 4 in all]");
  REQUIRE(s.problems.size() == 1);
  CHECK(s.problems[0].find("tensor 'w' has 32 of 64 values that are not finite") != std::string::npos);
}
