// A weight read from bit strings is the weight in memory: codes, values and parameters.
#include "qat/io/stored_weight.hpp"

#include <doctest/doctest.h>

#include "support/compare.hpp"
#include "support/packed_weights.hpp"

using namespace qat;
using qat::test::compare_bits;

TEST_CASE("rows hold the codes, bits and values of the packed weight, from memory and from strings, for every scheme") {
  for (const char* text : test::packed_schemes()) {
    const QuantSpec spec = parse_spec(text);
    CAPTURE(text);
    for (const index_t rows : {1, 17})
      for (const index_t columns : {1, 31, 33, 65}) {
        if (spec.granularity.group_size > columns) continue;
        const test::RandomWeights w(spec, rows, columns);
        const StoredWeight in_memory(w.packed);
        const index_t row_bytes = in_memory.row_bytes(), stride = row_bytes + 3;
        std::string strings, strided;
        const auto append_to = [](std::string& all) {
          return [&all](const void* data, std::size_t size) { all.append(static_cast<const char*>(data), size); };
        };
        write_bit_rows(in_memory, row_bytes, append_to(strings));
        write_bit_rows(in_memory, stride, append_to(strided));
        REQUIRE(static_cast<index_t>(strings.size()) == rows * row_bytes);
        REQUIRE(static_cast<index_t>(strided.size()) == rows * stride);
        for (index_t n = 0; n < rows; ++n)
          CHECK(strided.substr(static_cast<std::size_t>(n * stride), static_cast<std::size_t>(stride)) ==
                strings.substr(static_cast<std::size_t>(n * row_bytes), static_cast<std::size_t>(row_bytes)) +
                    std::string(3, '\0'));
        const StoredWeight from_strings(spec, rows, columns, reinterpret_cast<const std::uint8_t*>(strings.data()),
                                        in_memory.scales(), in_memory.zero_points());
        CHECK(in_memory == from_strings);
        CHECK(from_strings.packed() == w.packed);
        std::vector<std::uint8_t> u(static_cast<std::size_t>(columns)), scratch(u.size());
        std::vector<float> row(u.size()), expected, actual;
        bool same = true;
        for (index_t n = 0; n < rows; ++n) {
          from_strings.codes(n, u.data());
          from_strings.values(n, scratch.data(), row.data());
          for (index_t k = 0; k < columns; ++k) {
            same = same && u[static_cast<std::size_t>(k)] == w.packed.code(n, k) - spec.lowest();
            expected.push_back(w.packed.dequantized(n, k));
            actual.push_back(row[static_cast<std::size_t>(k)]);
          }
        }
        CHECK(same);
        CHECK(compare_bits(expected, actual));
      }
  }
}

TEST_CASE("another code, scale or zero point is another weight; bits beyond the last column are not") {
  const QuantSpec spec = parse_spec("int3:group5:asymmetric");
  const std::vector<std::uint8_t> strings = {0b10001000, 0b00000110};  // columns 0 to 4, and a bit that is none
  const auto weight = [&](const std::vector<std::uint8_t>& bits, float scale, float zero) {
    return StoredWeight(spec, 1, 5, bits.data(), {scale}, {zero});
  };
  const std::vector<std::uint8_t> filled = {0b10001000, 0b10000110}, other = {0b10001001, 0b00000110};
  CHECK(weight(strings, 0.5f, 1.0f) == weight(filled, 0.5f, 1.0f));
  CHECK_FALSE(weight(strings, 0.5f, 1.0f) == weight(other, 0.5f, 1.0f));
  CHECK_FALSE(weight(strings, 0.5f, 1.0f) == weight(strings, 0.25f, 1.0f));
  CHECK_FALSE(weight(strings, 0.5f, 1.0f) == weight(strings, 0.5f, 2.0f));
  std::uint8_t scratch[5], string[2];
  weight(filled, 0.5f, 1.0f).bits(0, scratch, string);
  CHECK(string[1] == 0b00000110);
}

TEST_CASE("parameters that such weights cannot have are refused") {
  const std::uint8_t codes[16] = {};
  const auto made = [&](const char* spec, std::vector<float> scales, std::vector<float> zero_points) {
    (void)StoredWeight(parse_spec(spec), 1, 32, codes, std::move(scales), std::move(zero_points));
  };
  CHECK_THROWS_AS(made("int4:group32:symmetric:float16", {0.1f}, {}), Error);
  CHECK_THROWS_AS(made("int4:group32:asymmetric", {0.5f}, {}), Error);
  CHECK_THROWS_AS(made("int4:group32:asymmetric", {0.5f}, {8.0f}), Error);
  CHECK_THROWS_AS(made("int4:group32:asymmetric", {0.5f}, {0.5f}), Error);
  CHECK_NOTHROW(made("int4:group32:asymmetric", {0.5f}, {7.0f}));
}
