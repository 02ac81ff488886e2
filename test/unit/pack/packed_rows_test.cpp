// Rows of codes are what PackedWeight says element by element, and packing rows gives the same weight.
#include "qat/pack/packed_rows.hpp"

#include <doctest/doctest.h>

#include "qat/tensor/packed_view.hpp"
#include "support/packed_weights.hpp"

using namespace qat;

TEST_CASE("rows hold the codes of the weight, and pack to it, for every width, granularity and scale type") {
  for (const char* text : test::packed_schemes()) {
    const QuantSpec spec = parse_spec(text);
    CAPTURE(text);
    for (const index_t rows : {1, 17})
      for (const index_t columns : {1, 31, 33, 65}) {
        if (spec.granularity.group_size > columns) continue;
        const test::RandomWeights w(spec, rows, columns);
        std::vector<std::uint8_t> u(static_cast<std::size_t>(columns)), strings(u.size()), again(u.size());
        bool same = true;
        for (index_t n = 0; n < rows; ++n) {
          unpack_row(w.packed, n, u.data());
          detail::pack_bits(u.data(), columns, spec.bits, strings.data());
          detail::unpack_bits(strings.data(), columns, spec.bits, again.data());
          same = same && u == again;
          for (index_t k = 0; k < columns; ++k) {
            const auto i = static_cast<std::size_t>(k);
            same = same && u[i] == w.packed.code(n, k) - spec.lowest() &&
                   detail::load_packed(strings.data(), k, spec.bits) == u[i];
          }
        }
        CHECK(same);
        std::vector<float> scales(w.scales.size()), zero_points(w.zero_points.size());
        w.packed.read_qparams(scales.data(), zero_points.data());
        CHECK(scales == w.scales);
        if (w.packed.has_zero_points()) CHECK(zero_points == w.zero_points);
        const PackedWeight packed = pack_rows(
            spec, rows, columns, [&](index_t n, std::uint8_t* out) { unpack_row(w.packed, n, out); }, w.scales.data(),
            w.zero_points.empty() ? nullptr : w.zero_points.data());
        CHECK(packed == w.packed);
      }
  }
}

TEST_CASE("a scale that its storage cannot hold is refused") {
  const QuantSpec spec = parse_spec("int4:group32:symmetric:float16");
  const float scale = 0.1f;
  CHECK_THROWS_AS(pack_rows(
                      spec, 1, 32, [](index_t, std::uint8_t* u) { std::memset(u, 1, 32); }, &scale, nullptr),
                  Error);
}
