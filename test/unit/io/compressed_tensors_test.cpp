// compressed-tensors' packing: the bytes, codes and values of the package itself, and every way a file can be wrong.
#include "qat/io/compressed_tensors.hpp"

#include <doctest/doctest.h>

#include "qat/io/json.hpp"
#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// Holds every case of a folder of golden cases to what the package wrote; returns how many there were.
int check_golden(const std::string& folder) {
  const Json json = read_json(folder + "/cases.json");
  const Safetensors file = Safetensors::open(folder + "/pack_quantized.safetensors");
  int count = 0;
  for (const Json& entry : json.at("cases")) {
    const std::string name = entry.at("name");
    CAPTURE(name);
    const CompressedWeight stored = read_compressed_weight(file, name + ".compressed", entry.at("num_bits"));
    CHECK(stored.zero_point.empty() == entry.at("symmetric").get<bool>());
    const PackedWeight weight = decompress_weight(stored);
    const index_t n = weight.rows(), k = weight.columns();

    std::vector<std::int8_t> codes(static_cast<std::size_t>(n * k));
    weight.unpack(codes.data());
    CHECK(codes == file.at(name + ".codes").values<std::int8_t>(DType::kI8));
    std::vector<float> expected(codes.size());
    if (!stored.zero_point.empty()) {
      const std::vector<std::int8_t> zero = file.at(name + ".zero_point").values<std::int8_t>(DType::kI8);
      for (std::size_t i = 0; i < zero.size(); ++i)
        CHECK(weight.zero_point(static_cast<index_t>(i)) == static_cast<float>(zero[i]));
    }
    // The package multiplies in the dtype of the scales.
    file.at(name + ".decompressed").to_float(expected.data());
    for (index_t i = 0; i < n * k; ++i) {
      float value = weight.dequantized(i / k, i % k);
      if (stored.scale_dtype == DType::kBF16) value = static_cast<float>(bfloat16(value));
      if (stored.scale_dtype == DType::kF16) value = static_cast<float>(half(value));
      CHECK(value == expected[static_cast<std::size_t>(i)]);
    }
    const CompressedWeight again = compress_weight(weight, name, stored.scale_dtype);
    CHECK(again.packed == stored.packed);
    CHECK(again.scale == stored.scale);
    CHECK(again.zero_point == stored.zero_point);
    ++count;
  }
  return count;
}

PackedWeight weight_of(const char* spec_text, index_t rows, index_t columns) {
  const QuantSpec spec = parse_spec(spec_text);
  const auto tiles = static_cast<std::size_t>(group_layout(spec.granularity, rows, columns).count());
  std::vector<std::int8_t> codes(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<std::int8_t>(spec.qmin() + static_cast<int>(i * 7 % (1u << spec.bits)));
  std::vector<float> scale(tiles), zero(tiles);
  for (std::size_t i = 0; i < tiles; ++i) {
    scale[i] = 0.25f * static_cast<float>(i + 1);
    zero[i] = static_cast<float>(spec.qmin() + static_cast<int>(i % (1u << spec.bits)));
  }
  return PackedWeight::pack(spec, rows, columns, codes.data(), scale.data(), zero.data());
}

}  // namespace

TEST_CASE("golden: the package's bytes are read to its codes and values, and written back to the same bytes") {
  CHECK(check_golden(std::string(QAT_SOURCE_ROOT) + "/test/golden/compressed_tensors") >= 8);
}
TEST_CASE("golden: the same for all 72 cases") {
  const auto folder = test::shared_data("golden/compressed_tensors");
  if (folder) CHECK(check_golden(folder->string()) == 72);
}

TEST_CASE("what is compressed comes back: every width, ragged rows and columns, zero points") {
  for (const int bits : {1, 2, 3, 4, 5, 6, 7, 8})
    for (const char* rest :
         {":group16:asymmetric", ":group16:symmetric", ":axis0:asymmetric", ":group80:asymmetric:float16"})
      for (const char* sign : {"int", "uint"}) {
        const std::string text = sign + std::to_string(bits) + rest;
        CAPTURE(text);
        const PackedWeight weight = weight_of(text.c_str(), 37, 80);
        const CompressedWeight stored = compress_weight(weight, "w");
        const PackedWeight again = decompress_weight(stored);
        bool same = true;
        for (index_t n = 0; n < 37; ++n)
          for (index_t k = 0; k < 80; ++k) same = same && weight.dequantized(n, k) == again.dequantized(n, k);
        CHECK(same);
      }
}

TEST_CASE("a scheme that the format has no place for is refused by name, with one that it has") {
  const auto error = [](const char* spec, index_t columns, DType dtype = DType::kF32) {
    return test::error_of([&] { compress_weight(weight_of(spec, 4, columns), "layers.3.down_proj", dtype); });
  };
  CHECK(test::contains(error("int4:group32:symmetric", 172), "layers.3.down_proj"));
  CHECK(test::contains(error("int4:group32:symmetric", 172), "172 columns do not divide into groups of 32"));
  CHECK(test::contains(error("int4:block2x16:symmetric", 64), "accepted: groupG, axis0"));
  CHECK(test::contains(error("int4:tensor:symmetric", 64), "accepted: groupG, axis0"));
  CHECK(test::contains(error("uint4:group32:float_zero_point:bfloat16", 64), "int4:group32:asymmetric"));
  const QuantSpec spec = parse_spec("int4:axis0:symmetric");
  const std::int8_t codes[4] = {1, 2, 3, 4};
  const float third = 1.0f / 3.0f;
  const PackedWeight weight = PackedWeight::pack(spec, 1, 4, codes, &third);
  CHECK(compress_weight(weight, "w").scale[0] == third);
  CHECK(test::contains(test::error_of([&] { compress_weight(weight, "w", DType::kBF16); }), "BF16 cannot hold"));
}

TEST_CASE("tensors that disagree with each other or with the configuration are refused by name") {
  const CompressedWeight w = compress_weight(weight_of("int4:group32:asymmetric", 40, 64), "w");
  const auto error = [&](const char* changed, DType dtype, std::vector<index_t> shape, const void* data, int bits = 4) {
    const TempDir dir;
    const std::vector<std::int64_t> extents = {w.rows, w.columns};
    std::vector<SafetensorEntry> entries = {{"w.weight_packed", DType::kI32, {40, 8}, w.packed.data()},
                                            {"w.weight_scale", DType::kF32, {40, 2}, w.scale.data()},
                                            {"w.weight_shape", DType::kI64, {2}, extents.data()},
                                            {"w.weight_zero_point", DType::kI32, {5, 2}, w.zero_point.data()}};
    for (SafetensorEntry& entry : entries)
      if (entry.name == changed) entry = {entry.name, dtype, shape, data};
    write_safetensors(dir / "f.safetensors", entries);
    return test::error_of([&] { read_compressed_weight(Safetensors::open(dir / "f.safetensors"), "w", bits); });
  };
  const std::vector<float> zeros(400);
  const std::int64_t large[2] = {INT64_MAX, INT64_MAX}, negative[2] = {-40, 64}, longer[2] = {40, 72};
  std::vector<float> bad_scale = w.scale;
  bad_scale[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(error("", DType::kF32, {}, nullptr) == "(no error)");
  CHECK(test::contains(error("", DType::kF32, {}, nullptr, 5), "w.weight_packed"));
  CHECK(test::contains(error("", DType::kF32, {}, nullptr, 0), "num_bits is 0"));
  CHECK(test::contains(error("w.weight_packed", DType::kF32, {40, 8}, zeros.data()), "is F32; accepted: I32"));
  CHECK(test::contains(error("w.weight_packed", DType::kI32, {40, 7}, zeros.data()), "[40, 7]; accepted: [40, 8]"));
  CHECK(test::contains(error("w.weight_scale", DType::kF32, {40, 3}, zeros.data()), "groups a divisor of columns"));
  CHECK(test::contains(error("w.weight_scale", DType::kF32, {80}, zeros.data()), "w.weight_scale"));
  CHECK(test::contains(error("w.weight_scale", DType::kF32, {40, 2}, bad_scale.data()), "finite"));
  CHECK(test::contains(error("w.weight_scale", DType::kI32, {40, 2}, zeros.data()), "accepted: F32, BF16, F16"));
  CHECK(test::contains(error("w.weight_zero_point", DType::kI32, {40, 2}, zeros.data()), "accepted: [5, 2]"));
  CHECK(test::contains(error("w.weight_shape", DType::kI64, {2}, large), "w.weight_scale"));
  CHECK(test::contains(error("w.weight_shape", DType::kI64, {2}, negative), "w.weight_scale"));
  CHECK(test::contains(error("w.weight_shape", DType::kI64, {2}, longer), "w.weight_packed"));
}
