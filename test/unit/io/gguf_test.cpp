// GGUF, reading: files of llama.cpp, and every way a file can be wrong.
#include "qat/io/gguf.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// Bytes of a GGUF file, put together by hand.
struct GgufBytes {
  std::string bytes = "GGUF";
  template <class T>
  GgufBytes& put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.append(raw, sizeof(T));
    return *this;
  }
  GgufBytes& u32(std::uint32_t value) { return put(value); }
  GgufBytes& u64(std::uint64_t value) { return put(value); }
  GgufBytes& text(std::string_view value) {
    u64(value.size());
    bytes += value;
    return *this;
  }
  GgufBytes& start(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    return u32(version).u64(tensors).u64(keys);
  }
  GgufBytes& tensor(std::string_view name, std::vector<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset) {
    text(name).u32(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t d : dims) u64(d);
    return u32(type).u64(offset);
  }
  /// Zeros up to the alignment, then `size` bytes of data.
  GgufBytes& data(std::size_t size, std::size_t alignment = 32) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    bytes.append(size, 'd');
    return *this;
  }
};

std::string gguf_error(const std::string& bytes) {
  const TempDir dir;
  test::write_bytes(dir / "f.gguf", bytes);
  const std::string message = test::error_of([&] { Gguf::open(dir / "f.gguf"); });
  CHECK((message == "(no error)" || test::contains(message, "f.gguf: at byte ")));
  return message;
}

GgufBytes gguf_start(std::uint64_t tensors, std::uint64_t keys) { return GgufBytes().start(tensors, keys); }

/// Every value type, and two tensors.
std::string gguf_sample() {
  GgufBytes f = gguf_start(2, 17);
  f.text("a").u32(0).put(std::uint8_t{200}).text("b").u32(1).put(std::int8_t{-3});
  f.text("c").u32(2).put(std::uint16_t{65535}).text("d").u32(3).put(std::int16_t{-9});
  f.text("e").u32(4).u32(4000000000u).text("f").u32(5).put(std::int32_t{-7}).text("g").u32(6).put(1.5f);
  f.text("h").u32(7).put(std::uint8_t{1}).text("i").u32(8).text("text");
  f.text("j").u32(10).u64(1ull << 63).text("k").u32(11).put(std::int64_t{-1} << 40).text("l").u32(12).put(2.25);
  f.text("m").u32(9).u32(8).u64(3).text("x").text("").text("yz");
  f.text("n").u32(9).u32(6).u64(2).put(0.5f).put(-1.0f);
  f.text("o").u32(9).u32(5).u64(2).put(std::int32_t{-1}).put(std::int32_t{5});
  f.text("p").u32(9).u32(7).u64(0);
  f.text("general.alignment").u32(4).u32(64);
  f.tensor("w", {4, 3}, 0, 0).tensor("q", {32}, 8, 64).data(128, 64);
  return f.bytes;
}

}  // namespace

TEST_CASE("GGUF: every value type is read by value, tensors by name with the slowest axis first") {
  const TempDir dir;
  test::write_bytes(dir / "f.gguf", gguf_sample());
  const Gguf file = Gguf::open(dir / "f.gguf");
  CHECK(file.version() == 3);
  CHECK(file.alignment() == 64);
  CHECK(file.metadata().size() == 17);
  CHECK(file.metadata()[2].first == "c");
  const std::pair<const char*, std::int64_t> integers[] = {
      {"a", 200},        {"b", -3}, {"c", 65535},     {"d", -9},
      {"e", 4000000000}, {"f", -7}, {"j", INT64_MAX}, {"k", std::int64_t{-1} << 40}};
  for (const auto& entry : integers) {
    const char* const key = entry.first;
    const std::int64_t value = entry.second;
    INFO(std::string(key));
    CHECK(file.integer(key) == value);
    CHECK(file.number(key) == static_cast<double>(value));
  }
  CHECK(file.number("g") == 1.5);
  CHECK(file.number("l") == 2.25);
  CHECK(file.boolean("h"));
  CHECK(file.string("i") == "text");
  CHECK(file.strings("m") == std::vector<std::string_view>{"x", "", "yz"});
  CHECK(file.numbers("n").count == 2);
  CHECK(file.numbers("n").number(1) == -1.0);
  CHECK(file.integers("o").integer(0) == -1);
  CHECK(file.numbers("o").number(1) == 5.0);
  CHECK(file.at("p").count == 0);
  CHECK(file.integer_or("none", 4) == 4);
  CHECK(file.number_or("none", 0.5) == 0.5);
  CHECK(file.boolean_or("none", true));
  CHECK(file.string_or("none", "s") == "s");
  CHECK(file.find("none") == nullptr);
  CHECK(file.tensors().size() == 2);
  CHECK(file.tensor("w").shape == std::vector<index_t>{3, 4});
  CHECK(file.tensor("w").size() == 12);
  CHECK(file.tensor("w").bytes == 48);
  CHECK(file.tensor("q").type == GgmlType::kQ8_0);
  CHECK(file.tensor("q").bytes == 34);
  CHECK(file.tensor("q").data == file.tensor("w").data + 64);
  QAT_CHECK_ERROR(file.at("none"), "f.gguf", "key 'none' is missing");
  QAT_CHECK_ERROR(file.tensor("none"), "f.gguf", "tensor 'none' is missing");
  QAT_CHECK_ERROR(file.integer("g"), "key 'g' is of type f32", "an integer");
  QAT_CHECK_ERROR(file.integer("o"), "array of i32", "an integer");
  QAT_CHECK_ERROR(file.number("i"), "string", "a number");
  QAT_CHECK_ERROR(file.boolean("a"), "u8", "a bool");
  QAT_CHECK_ERROR(file.string("m"), "array of string", "accepted: a string");
  QAT_CHECK_ERROR(file.strings("i"), "accepted: an array of strings");
  QAT_CHECK_ERROR(file.integers("n"), "array of f32", "an array of integers");
  QAT_CHECK_ERROR(file.numbers("m"), "array of string", "an array of numbers");
}

TEST_CASE("GGUF: each defect of a file is named with its byte and field") {
  const std::string long_name(64, 'n');
  const struct {
    std::string bytes;
    const char* expected;
  } cases[] = {
      {"", "at byte 0: the magic 'GGUF' needs 4 bytes, the file has 0 more: truncated"},
      {"GGML1234", "starts with 'GGML'"},
      {GgufBytes().start(0, 0, 1).bytes, "at byte 4: the version is 1; accepted: 2 and 3"},
      {GgufBytes().start(0, 0, 0x03000000).bytes, "big-endian"},
      {gguf_start(0, 1).bytes, "at byte 24: the length of key 0 of 1 needs 8 bytes"},
      {gguf_start(0, UINT64_MAX).bytes, "truncated"},
      {gguf_start(UINT64_MAX, 0).bytes, "truncated"},
      {gguf_start(0, 1).u64(UINT64_MAX).bytes, "needs 18446744073709551615 bytes, the file has 0 more"},
      {gguf_start(0, 1).text("").u32(0).put('x').bytes, "at byte 24: key 0 is empty"},
      {gguf_start(0, 2).text("a").u32(0).put('x').text("a").u32(0).put('x').bytes, "key 'a' appears twice"},
      {gguf_start(0, 1).text("a").u32(13).bytes, "at byte 33: the value of key 'a' has type 13; accepted: 0 to 12"},
      {gguf_start(0, 1).text("a").u32(9).u32(9).u64(0).bytes, "array of arrays"},
      {gguf_start(0, 1).text("a").u32(9).u32(4).u64(1ull << 62).bytes, "needs 4611686018427387904 elements of 4 bytes"},
      {gguf_start(0, 1).text("a").u32(9).u32(8).u64(1ull << 61).bytes, "has 2305843009213693952 strings"},
      {gguf_start(0, 1).text("a").u32(9).u32(8).u64(1).u64(~0ull - 3).bytes, "truncated"},
      {gguf_start(0, 1).text("a").u32(7).put('\2').bytes, "'a' is a bool of byte 2"},
      {gguf_start(0, 1).text("general.alignment").u32(4).u32(48).bytes, "'general.alignment' is u32 48"},
      {gguf_start(0, 1).text("general.alignment").u32(4).u32(0).bytes, "'general.alignment' is u32 0"},
      {gguf_start(0, 1).text("general.alignment").u32(8).text("x").bytes, "'general.alignment' is string"},
      {gguf_start(1, 1).text("general.alignment").u32(4).u32(1u << 31).tensor("a", {1}, 0, 0).data(32).bytes,
       "the padding before the data needs 2147483558 bytes, the file has 38 more: truncated"},
      {gguf_start(1, 0).tensor("", {1}, 0, 0).data(32).bytes, "has a name of 0 bytes"},
      {gguf_start(1, 0).tensor(long_name, {1}, 0, 0).data(32).bytes, "has a name of 64 bytes; accepted: 1 to 63"},
      {gguf_start(2, 0).tensor("a", {1}, 0, 0).tensor("a", {1}, 0, 32).data(64).bytes, "tensor 'a' appears twice"},
      {gguf_start(1, 0).tensor("a", {1, 1, 1, 1, 1}, 0, 0).data(32).bytes, "tensor 'a' has 5 dimensions"},
      {gguf_start(1, 0).tensor("a", {0}, 0, 0).data(32).bytes, "has an extent 0"},
      {gguf_start(1, 0).tensor("a", {1ull << 63}, 0, 0).data(32).bytes, "has an extent -9223372036854775808"},
      {gguf_start(1, 0).tensor("a", {1ull << 31, 1ull << 31, 1ull << 31}, 0, 0).data(32).bytes, "more elements"},
      {gguf_start(1, 0).tensor("a", {1ull << 60, 8}, 0, 0).data(32).bytes, "more elements"},
      {gguf_start(1, 0).tensor("a", {1}, 4, 0).data(32).bytes, "tensor 'a' has type 4"},
      {gguf_start(1, 0).tensor("a", {48}, 2, 0).data(64).bytes, "has rows of 48 elements; Q4_0 stores blocks of 32"},
      {gguf_start(1, 0).tensor("a", {1}, 0, 32).data(64).bytes, "lies at offset 32; accepted: 0"},
      {gguf_start(2, 0).tensor("a", {9}, 0, 0).tensor("b", {1}, 0, 32).data(128).bytes,
       "tensor 'b' lies at offset 32; accepted: 64"},
      {gguf_start(2, 0).tensor("a", {1}, 0, 0).tensor("b", {1}, 0, 4).data(64).bytes,
       "tensor 'b' lies at offset 4 (not aligned); accepted: 32"},
      {gguf_start(1, 0).tensor("a", {9}, 0, 0).data(36).bytes, "needs 64 bytes with its padding, the file has 36 more"},
      {gguf_start(1, 0).tensor("a", {1}, 0, 0).bytes, "padding before the data"},
  };
  for (const auto& c : cases) {
    const std::string message = gguf_error(c.bytes);
    INFO(message);
    CHECK_MESSAGE(test::contains(message, c.expected), std::string(c.expected));
  }
  CHECK(gguf_error(gguf_start(0, 0).bytes) == "(no error)");
  CHECK(gguf_error(GgufBytes().start(1, 0, 2).tensor("a", {}, 0, 0).data(32).bytes) == "(no error)");
}

TEST_CASE("GGUF: a file cut at any byte is refused") {
  const std::string bytes = gguf_sample();
  CHECK(gguf_error(bytes) == "(no error)");
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(gguf_error(bytes.substr(0, n)) != "(no error)");
}

TEST_CASE("GGUF: a file with one byte changed is read or refused, never read beyond its end") {
  const std::string bytes = gguf_sample();
  int refused = 0;
  for (std::size_t n = 0; n < bytes.size(); ++n)
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string changed = bytes;
      changed[n] = static_cast<char>(changed[n] ^ flip);
      refused += gguf_error(changed) != "(no error)";
    }
  CHECK(refused > 300);
}

TEST_CASE("GGUF: llama.cpp's files are read, and refused when cut at any 64th") {
  const auto path = test::shared_data("stories260K-gguf");
  if (!path) return;
  for (const char* name :
       {"stories260K-F32.gguf", "stories260K-Q4_0.gguf", "stories260K-Q4_1.gguf", "stories260K-Q8_0.gguf"}) {
    const Gguf file = Gguf::open((*path / name).string());
    CHECK(file.string("general.architecture") == "llama");
    CHECK(file.strings("tokenizer.ggml.tokens").size() == 512);
    CHECK(file.tensors().size() == 47);
    CHECK(file.tensor("blk.0.ffn_down.weight").shape == std::vector<index_t>{64, 172});
    CHECK(file.tensor("blk.4.attn_k.weight").shape == std::vector<index_t>{32, 64});
    const std::string bytes = test::read_file(*path / name);
    for (std::size_t part = 0; part < 64; ++part) {
      const std::string message = gguf_error(bytes.substr(0, bytes.size() * part / 64));
      INFO(message);
      CHECK(test::contains(message, "truncated"));
    }
  }
}
