// PackedWeight: unpack undoes pack, weights decode as the definition says, and the bytes are what the layout's map
// says.
#include "qat/pack/packed_weight.hpp"

#include <string>

#include <doctest/doctest.h>

#include "support/compare.hpp"
#include "support/packed_weights.hpp"

using qat::index_t;
using qat::test::compare_bits;
using qat::test::RandomWeights;

TEST_CASE(
    "unpack undoes pack and weights decode to dequantize(), for every width, granularity, mapping and scale type") {
  for (const char* text : qat::test::packed_schemes()) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    CAPTURE(text);
    for (const index_t rows : {1, 5, 16, 17, 35})
      for (const index_t columns : {1, 3, 4, 8, 31, 32, 33, 65}) {
        if (spec.granularity.group_size > columns) continue;
        const RandomWeights w(spec, rows, columns);
        std::vector<std::int8_t> codes(w.codes.size());
        w.packed.unpack(codes.data());
        CHECK(compare_bits(w.codes, codes));

        const qat::AffineScheme scheme(spec, qat::FloatType::kFloat32);
        const float constant = spec.is_signed ? 0.0f : scheme.middle();
        std::vector<float> expected, actual;
        for (index_t n = 0; n < rows; ++n)
          for (index_t k = 0; k < columns; ++k) {
            const auto group = static_cast<std::size_t>(w.packed.group_of(n, k));
            const float z = qat::has_constant_zero_point(spec.mapping) ? constant : w.zero_points[group];
            const int raw = w.codes[static_cast<std::size_t>(n * columns + k)];
            expected.push_back(qat::dequantize(spec.is_signed ? raw : raw & 255, {w.scales[group], z, 0.0f}, scheme));
            actual.push_back(w.packed.dequantized(n, k));
          }
        CHECK(compare_bits(expected, actual));
      }
  }
}

TEST_CASE("codes take bits / 8 bytes per weight and scales the bytes of their type") {
  struct Case {
    const char* spec;
    double bits_per_weight;
  };
  for (const Case& c : {Case{"int4:group32:symmetric", 5.0}, Case{"int4:group32:symmetric:bf16safe", 4.5},
                        Case{"int4:group32:asymmetric:float16", 4.75}, Case{"int3:group32:symmetric:float16", 3.5},
                        Case{"int5:group64:symmetric:float16", 5.25}, Case{"int7:group32:symmetric:e8m0", 7.25},
                        Case{"int2:group32:float_zero_point:bfloat16", 3.0}, Case{"int8:group128:symmetric", 8.25}}) {
    CAPTURE(c.spec);
    const RandomWeights w(qat::parse_spec(c.spec), 64, 256);
    CHECK(static_cast<double>(w.packed.resident_bytes()) * 8 == c.bits_per_weight * 64 * 256);
  }
}

TEST_CASE("PanelLayout puts bits where its map says") {
  // 4 bits, 16 rows: byte 4 * c + j of chunk t holds column 8 * t + j (low) and 8 * t + 4 + j (high).
  std::uint8_t nibbles[128] = {};
  const qat::PanelLayout four{4, 16, 16};
  CHECK(four.bytes() == 128);
  four.put(nibbles, 3, 2, 0x5);
  four.put(nibbles, 3, 6, 0xA);
  four.put(nibbles, 15, 11, 0xF);
  CHECK(nibbles[4 * 3 + 2] == 0xA5);
  CHECK(nibbles[64 + 4 * 15 + 3] == 0x0F);
  // 3 bits: a plane of the top two bits (16 columns a chunk), then a plane of the low bit (32 columns a chunk).
  std::uint8_t planes[192] = {};
  const qat::PanelLayout three{3, 1, 32};
  CHECK(three.bytes() == 192);
  three.put(planes, 0, 29, 0b101);
  CHECK(planes[64 + 1] == 0b10 << 6);  // chunk 1, i = 3, j = 1
  CHECK(planes[128 + 1] == 1 << 7);    // i = 7, j = 1
  CHECK(three.get(planes, 0, 29) == 0b101);
}

TEST_CASE("what cannot be stored exactly is refused, with its place") {
  const auto message = [](const char* spec, std::int8_t code, float scale, float zero) -> std::string {
    try {
      qat::PackedWeight::pack(qat::parse_spec(spec), 1, 1, &code, &scale, &zero);
    } catch (const qat::Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message("int4:axis0:symmetric", 7, 0.1f, 0.0f) == "");
  CHECK(message("int4:axis0:symmetric", 8, 0.1f, 0.0f).find("code (0, 0) is 8") != std::string::npos);
  CHECK(message("int4:axis0:symmetric:bf16safe", 1, 0.1f, 0.0f).find("scale 0 is 0.1") != std::string::npos);
  CHECK(message("int4:axis0:asymmetric", 1, 0.5f, 9.0f).find("zero point 0 is 9") != std::string::npos);
  CHECK(message("int4:axis0:asymmetric", 1, 0.5f, 0.5f).find("zero point 0 is 0.5") != std::string::npos);
}
