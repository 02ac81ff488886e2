// GGUF, writing: what is written is read back, and nothing half-written appears.
#include "qat/io/gguf_writer.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

GgufEntry gguf_entry(const std::string& name, GgmlType type, std::vector<index_t> shape, std::string bytes) {
  return {name, type, std::move(shape), [bytes = std::move(bytes)](const ByteSink& sink) {
            for (std::size_t i = 0; i < bytes.size(); i += 7)
              sink(bytes.data() + i, std::min<std::size_t>(7, bytes.size() - i));
          }};
}

}  // namespace

TEST_CASE("GGUF: what is written is read back, tensors aligned and in order") {
  const TempDir dir;
  GgufMetadata metadata;
  metadata.add("general.architecture", "llama");
  metadata.add("u", std::uint32_t{7});
  metadata.add("i", std::int32_t{-7});
  metadata.add("f", 0.1f);
  metadata.add("b", true);
  metadata.add("s", std::string("a\0b", 3));
  metadata.add("strings", std::vector<std::string>{"x", "", "\xff"});
  metadata.add("floats", std::vector<float>{1.0f, -2.0f});
  metadata.add("ints", std::vector<std::int32_t>{1, -2});
  CHECK(metadata.contains("u"));
  CHECK_FALSE(metadata.contains("v"));
  std::vector<std::uint64_t> calls;
  std::uint64_t all = 0;
  write_gguf(dir / "f.gguf", metadata,
             {gguf_entry("a", GgmlType::kF32, {3}, std::string(12, 'a')),
              gguf_entry("b", GgmlType::kQ8_0, {2, 32}, std::string(68, 'b')),
              gguf_entry("c", GgmlType::kF16, {1, 2, 3, 4}, std::string(48, 'c'))},
             [&](std::uint64_t done, std::uint64_t total) {
               calls.push_back(done);
               CHECK(done <= total);
               all = total;
             });
  const Gguf file = Gguf::open(dir / "f.gguf");
  CHECK(calls.back() == all);
  CHECK(all == std::filesystem::file_size(dir / "f.gguf"));
  CHECK(std::is_sorted(calls.begin(), calls.end()));
  CHECK(file.version() == 3);
  CHECK(file.metadata().size() == 9);
  CHECK(file.at("u").type == GgufType::kU32);
  CHECK(file.integer("i") == -7);
  CHECK(static_cast<float>(file.number("f")) == 0.1f);
  CHECK(file.boolean("b"));
  CHECK(file.string("s") == std::string("a\0b", 3));
  CHECK(file.strings("strings") == std::vector<std::string_view>{"x", "", "\xff"});
  CHECK(file.numbers("floats").number(1) == -2.0);
  CHECK(file.integers("ints").integer(1) == -2);
  CHECK(file.tensors()[1].name == "b");
  CHECK(file.tensor("c").shape == std::vector<index_t>{1, 2, 3, 4});
  for (const GgufTensor& tensor : file.tensors()) {
    CHECK((tensor.data - file.tensor("a").data) % 32 == 0);
    CHECK(std::string(reinterpret_cast<const char*>(tensor.data), tensor.bytes) ==
          std::string(tensor.bytes, tensor.name[0]));
  }
}

TEST_CASE("GGUF: values and tensors of llama.cpp's file written again give the same file") {
  const auto path = test::shared_data("stories260K-gguf/stories260K-Q4_0.gguf");
  if (!path) return;
  const TempDir dir;
  const Gguf file = Gguf::open(path->string());
  GgufMetadata metadata;
  for (const auto& [key, value] : file.metadata()) metadata.add(key, value);
  std::vector<GgufEntry> entries;
  for (const GgufTensor& tensor : file.tensors())
    entries.push_back(
        {tensor.name, tensor.type, tensor.shape, [&tensor](const ByteSink& sink) { sink(tensor.data, tensor.bytes); }});
  write_gguf(dir / "f.gguf", metadata, entries);
  CHECK(test::read_file(dir / "f.gguf") == test::read_file(*path));
}

TEST_CASE("GGUF: what the format does not hold is refused, and nothing is left under the name") {
  const TempDir dir;
  const std::string path = dir / "f.gguf";
  const auto entry = [](const std::string& name, std::vector<index_t> shape, std::size_t bytes,
                        GgmlType type = GgmlType::kF32) {
    return gguf_entry(name, type, std::move(shape), std::string(bytes, 'x'));
  };
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("", {1}, 4)}), "f.gguf", "a name of 0 bytes");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry(std::string(64, 'n'), {1}, 4)}), "a name of 64 bytes");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("a", {1}, 4), entry("a", {1}, 4)}), "'a' is given twice");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("a", {}, 4)}), "0 dimensions");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("a", {1, 1, 1, 1, 1}, 4)}), "5 dimensions");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("a", {2, 0}, 0)}), "an extent 0");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("a", {2, 33}, 4, GgmlType::kQ4_0)}), "rows of 33 elements; Q4_0");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("a", {2}, 4)}), "hands over 4 of its 8 bytes");
  QAT_CHECK_ERROR(write_gguf(path, {}, {entry("a", {2}, 12)}), "hands over more than its 8 bytes");
  GgufMetadata metadata;
  metadata.add("a", 1.0f);
  QAT_CHECK_ERROR(metadata.add("a", 1.0f), "key 'a' is given twice");
  QAT_CHECK_ERROR(metadata.add("", 1.0f), "a key is empty");
  QAT_CHECK_ERROR(metadata.add("general.alignment", std::uint32_t{64}), "'general.alignment'");
  CHECK(std::filesystem::is_empty(dir.path()));
}
