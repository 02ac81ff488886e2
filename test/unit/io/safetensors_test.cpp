// safetensors: round trips, and every way a file can be wrong.
#include "qat/io/safetensors.hpp"

#include <doctest/doctest.h>

#include <bit>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

std::string with_header(std::string header, std::string_view buffer, std::int64_t claimed = -1) {
  std::string file;
  const std::uint64_t size = claimed >= 0 ? static_cast<std::uint64_t>(claimed) : header.size();
  for (int i = 0; i < 8; ++i) file += static_cast<char>(size >> (8 * i));
  return file + header + std::string(buffer);
}

/// The error that opening a file of these bytes gives.
std::string open_error(const std::string& bytes) {
  const TempDir dir;
  test::write_bytes(dir / "f.safetensors", bytes);
  const std::string message = test::error_of([&] { Safetensors::open(dir / "f.safetensors"); });
  CHECK((message == "(no error)" || test::contains(message, "f.safetensors")));
  return message;
}

}  // namespace

TEST_CASE("what is written is read back: shapes, bytes, metadata, in upstream's order") {
  const TempDir dir;
  const std::vector<float> f = {1.0f, -2.5f, 0.0f, 3e38f, 1e-40f, -0.0f};
  const std::vector<std::int64_t> i = {-1, 1ll << 60};
  const std::uint8_t b[3] = {1, 2, 3};
  write_safetensors(dir / "f.safetensors",
                    {{"z", DType::kU8, {3}, b},
                     {"f", DType::kF32, {2, 3}, f.data()},
                     {"i", DType::kI64, {2}, i.data()},
                     {"scalar", DType::kF32, {}, f.data()},
                     {"empty", DType::kF32, {0, 4}, nullptr}},
                    {{"note", "x"}});
  const Safetensors file = Safetensors::open(dir / "f.safetensors");
  CHECK(file.tensors().size() == 5);
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.metadata().at("note") == "x");
  CHECK(file.at("f").shape == std::vector<index_t>{2, 3});
  CHECK(std::memcmp(file.at("f").values<float>(DType::kF32).data(), f.data(), 24) == 0);
  CHECK(file.at("i").values<std::int64_t>(DType::kI64) == i);
  CHECK(file.at("z").values<std::uint8_t>(DType::kU8) == std::vector<std::uint8_t>{1, 2, 3});
  CHECK(file.at("scalar").shape.empty());
  CHECK(file.at("scalar").to_tensor()[0] == 1.0f);
  CHECK(file.at("empty").to_tensor().size() == 0);
  CHECK(file.find("none") == nullptr);
  QAT_CHECK_ERROR(file.at("none"), "f.safetensors", "'none'", "missing");
  QAT_CHECK_ERROR(file.at("z").to_tensor(), "'z'", "U8", "F32, F16, BF16, F64");
  QAT_CHECK_ERROR(file.at("z").values<float>(DType::kF32), "'z'", "U8", "accepted: F32");
  const std::string bytes = test::read_file(dir / "f.safetensors");
  CHECK(bytes.substr(8).find("\"i\"") < bytes.substr(8).find("\"empty\""));
  CHECK((8 + static_cast<unsigned char>(bytes[0]) + 256 * static_cast<unsigned char>(bytes[1])) % 8 == 0);
}

TEST_CASE("half, bfloat16 and double become floats by value") {
  const TempDir dir;
  const std::uint16_t h[2] = {0x3C01, 0x8001}, b[2] = {0x3F81, 0xFF80};
  const double d[2] = {1.0 / 3.0, -1e300};
  write_safetensors(dir / "f", {{"h", DType::kF16, {2}, h}, {"b", DType::kBF16, {2}, b}, {"d", DType::kF64, {2}, d}});
  const Safetensors file = Safetensors::open(dir / "f");
  CHECK(file.at("h").to_tensor()[0] == 1.0f + 0x1p-10f);
  CHECK(file.at("h").to_tensor()[1] == -0x1p-24f);
  CHECK(file.at("b").to_tensor()[0] == 1.0f + 0x1p-7f);
  CHECK(std::bit_cast<std::uint32_t>(file.at("b").to_tensor()[1]) == 0xFF800000u);
  CHECK(file.at("d").to_tensor()[0] == static_cast<float>(1.0 / 3.0));
  CHECK(std::bit_cast<std::uint32_t>(file.at("d").to_tensor()[1]) == 0xFF800000u);
}

TEST_CASE("tensors may lie in any order in the header and sub-byte types are counted in bits") {
  CHECK(open_error(with_header(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)"
                               R"("a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}   )",
                               "xyz")) == "(no error)");
  CHECK(open_error(with_header("{}", "")) == "(no error)");
  CHECK(test::contains(open_error(with_header(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "xy")),
                       "does not fill"));
}

TEST_CASE("each defect of a file is named") {
  const auto tensor = [](const char* text) { return std::string("{\"a\":{") + text + "}}"; };
  const struct {
    std::string bytes;
    const char* expected;
  } cases[] = {
      {"", "at byte 0: the length of the header needs 8 bytes, the file has 0"},
      {"1234567", "needs 8 bytes, the file has 7: truncated"},
      {with_header("{}", "", 3), "at byte 8: the header needs 3 bytes, the file has 2 more: truncated"},
      {with_header("{}", "", 100'000'001), "needs 100000001 bytes"},
      {with_header("{}", "", INT64_MAX), "truncated"},
      {with_header("", ""), "start with '{'"},
      {with_header(" {}", ""), "start with '{'"},
      {with_header("{\"a\"", ""), "not valid JSON after key 'a'"},
      {with_header("{\"__metadata__\":{\"a\":1}}", ""), "__metadata__"},
      {with_header("{\"__metadata__\":[]}", ""), "__metadata__"},
      {with_header("{\"a\":3}", ""), "a JSON object"},
      {with_header(tensor(R"("shape":[1],"data_offsets":[0,4])"), "1234"), "'dtype' is missing"},
      {with_header(tensor(R"("dtype":"F31","shape":[1],"data_offsets":[0,4])"), "1234"), "'F31'; accepted: BOOL F4"},
      {with_header(tensor(R"("dtype":"F32","data_offsets":[0,4])"), "1234"), "'shape' is missing"},
      {with_header(tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), "1234"), "'shape' is [-1]"},
      {with_header(tensor(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,4])"), "1234"), "'shape' is [1.5]"},
      {with_header(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), "1234"), "does not fill its 4 bytes"},
      {with_header(tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), ""),
       "does not fill"},
      {with_header(tensor(R"("dtype":"F32","shape":[9223372036854775807,2,0],"data_offsets":[0,0])"), ""),
       "does not fill"},
      {with_header(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), "1234"),
       "'data_offsets' are bytes 0 to 8 after the header, the file has 4: truncated"},
      {with_header(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), "1234"),
       "'data_offsets' are bytes 4 to 0"},
      {with_header(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[-4,0])"), "1234"), "data_offsets"},
      {with_header(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), "1234"), "data_offsets"},
      {with_header(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), "12345678"), "after a hole"},
      {with_header(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), "12345"), "the tensors end at byte 4"},
      {with_header(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           "xyz"),
       "inside the tensor before it"},
      {with_header(
           R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           "xy"),
       "'a' appears twice"},
      {with_header(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "x"),
       "'dtype' appears twice"},
  };
  for (const auto& c : cases) {
    const std::string message = open_error(c.bytes);
    INFO(message);
    CHECK_MESSAGE(test::contains(message, c.expected), std::string(c.expected));
  }
}

TEST_CASE("a file cut at any byte is refused") {
  const TempDir dir;
  const float f[4] = {1, 2, 3, 4};
  write_safetensors(dir / "f", {{"a", DType::kF32, {4}, f}});
  const std::string bytes = test::read_file(dir / "f");
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(open_error(bytes.substr(0, n)) != "(no error)");
  CHECK(open_error(bytes + "x") != "(no error)");
}

TEST_CASE("shards are found through the index and must agree with it") {
  const TempDir dir;
  const float f[2] = {1, 2};
  write_safetensors(dir / "one.safetensors", {{"a", DType::kF32, {2}, f}});
  write_safetensors(dir / "two.safetensors", {{"b", DType::kF32, {1}, f}});
  const auto open_with = [&](const char* index) {
    write_file(dir / "model.safetensors.index.json", index);
    return Safetensors::open(dir.path());
  };
  const Safetensors file = open_with(R"({"metadata":{},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  CHECK(file.tensors().size() == 2);
  CHECK(test::contains(file.at("b").file, "two.safetensors"));
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"one.safetensors","b":"three.safetensors"}})"), "'three.safetensors'",
                  "missing");
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"one.safetensors","c":"two.safetensors"}})"), "'c'", "in no shard");
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"two.safetensors","b":"one.safetensors"}})"), "'a'",
                  "one.safetensors");
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"../one.safetensors"}})"), "same directory");
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"/one.safetensors"}})"), "'/one.safetensors'", "same directory");
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"model.safetensors.index.json"}})"),
                  "index.json: at byte 8: the header needs");
  std::filesystem::create_symlink("loop.safetensors", std::filesystem::path(dir.path()) / "loop.safetensors");
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"loop.safetensors"}})"), "'loop.safetensors' is missing");
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{}})"), "weight_map");
  QAT_CHECK_ERROR(open_with(R"({})"), "weight_map", "missing");
  write_safetensors(dir / "two.safetensors", {{"b", DType::kF32, {1}, f}, {"extra", DType::kF32, {1}, f}});
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"), "'extra'",
                  "not in the index");
  write_safetensors(dir / "two.safetensors", {{"b", DType::kF32, {1}, f}, {"a", DType::kF32, {2}, f}});
  QAT_CHECK_ERROR(open_with(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"), "'a'",
                  "also lies in one.safetensors");
  const TempDir empty;
  QAT_CHECK_ERROR(Safetensors::open(empty.path()), "no weights", "model.safetensors");
}

TEST_CASE("wrong requests to the writer are refused and leave nothing") {
  const TempDir dir;
  const float f[2] = {1, 2};
  QAT_CHECK_ERROR(write_safetensors(dir / "f", {{"a", DType::kF32, {2}, f}, {"a", DType::kF32, {2}, f}}), "'a'",
                  "twice");
  QAT_CHECK_ERROR(write_safetensors(dir / "f", {{"a", DType::kF4, {3}, f}}), "'a'", "whole bytes");
  QAT_CHECK_ERROR(write_safetensors(dir / "f", {{"a", DType::kF32, {-1}, f}}), "'a'", "[-1]");
  QAT_CHECK_ERROR(write_safetensors(dir / "f", {{"a\xff", DType::kF32, {1}, f}}), "UTF-8");
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("files that upstream wrote are read") {
  for (const char* name :
       {"golden/torchao/tensors.safetensors", "golden/ggml/tensors.safetensors", "stories260K-hf-bf16-sharded"}) {
    const auto path = test::shared_data(name);
    if (!path) continue;
    CHECK(Safetensors::open(path->string()).tensors().size() > 40);
  }
}
