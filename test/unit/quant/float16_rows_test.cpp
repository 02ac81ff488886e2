// Rows of half and bfloat16: every bit pattern and its neighbours convert as the types do, at any alignment and length.
#include "qat/quant/float16_rows.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace qat;

namespace {

/// All values of a two-byte type, the floats beside them and halfway to the next, ordinary and rare ones in one block.
std::vector<float> values_around(bool is_half) {
  std::vector<float> out;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const std::uint32_t x = qat::bit_cast<std::uint32_t>(is_half ? static_cast<float>(half::from_bits(bits))
                                                                 : static_cast<float>(bfloat16::from_bits(bits)));
    const std::uint32_t halfway = is_half ? 0x1000u : 0x8000u;
    for (const std::uint32_t y : {x, x + 1, x - 1, x + halfway, x + halfway - 1, x + halfway + 1})
      out.push_back(qat::bit_cast<float>(y));
  }
  return out;
}

}  // namespace

TEST_CASE("a row becomes the halves and bfloat16 values that its elements become") {
  for (const bool is_half : {true, false})
    for (const std::size_t first : {0u, 5u}) {
      const std::vector<float> all = values_around(is_half),
                               x(all.begin() + static_cast<std::ptrdiff_t>(first), all.end());
      std::vector<unsigned char> bytes(2 * x.size() + 1);
      is_half ? to_half_bits(x.data(), static_cast<index_t>(x.size()), bytes.data() + 1)
              : to_bfloat16_bits(x.data(), static_cast<index_t>(x.size()), bytes.data() + 1);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, bytes.data() + 1 + 2 * i, sizeof bits);
        wrong += bits != (is_half ? half(x[i]).bits : bfloat16(x[i]).bits);
      }
      CHECK(wrong == 0);
    }
}

TEST_CASE("a row of halves and bfloat16 values becomes the floats that its elements are") {
  for (const bool is_half : {true, false}) {
    std::vector<unsigned char> bytes(2 * 0x10000 + 1);
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto stored = static_cast<std::uint16_t>(bits * 40503u);  // every pattern, in another order
      std::memcpy(bytes.data() + 1 + 2 * bits, &stored, sizeof stored);
    }
    std::vector<float> out(0x10000);
    is_half ? from_half_bits(bytes.data() + 1, 0x10000, out.data())
            : from_bfloat16_bits(bytes.data() + 1, 0x10000, out.data());
    std::size_t wrong = 0;
    for (std::uint32_t i = 0; i < 0x10000; ++i) {
      const std::uint32_t bits = i * 40503u & 0xFFFFu;
      const float expected =
          is_half ? static_cast<float>(half::from_bits(bits)) : static_cast<float>(bfloat16::from_bits(bits));
      wrong += qat::bit_cast<std::uint32_t>(out[i]) != qat::bit_cast<std::uint32_t>(expected);
    }
    CHECK(wrong == 0);
  }
}
