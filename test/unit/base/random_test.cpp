// Philox: the published vectors, and that a draw depends on its position alone.
#include "qat/base/random.hpp"

#include <doctest/doctest.h>

TEST_CASE("philox4x32 gives the published known answers") {
  // Source: Random123 1.14, examples/kat_vectors, philox4x32 10.
  const qat::PhiloxBlock zero = qat::philox4x32(0, 0, 0);
  CHECK(zero.word[0] == 0x6627e8d5u);
  CHECK(zero.word[1] == 0xe169c58du);
  CHECK(zero.word[2] == 0xbc57ac4cu);
  CHECK(zero.word[3] == 0x9b00dbd8u);
  const qat::PhiloxBlock ones = qat::philox4x32(~0ull, ~0ull, ~0ull);
  CHECK(ones.word[0] == 0x408f276du);
  CHECK(ones.word[1] == 0x41c83b0eu);
  CHECK(ones.word[2] == 0xa20bc7c6u);
  CHECK(ones.word[3] == 0x6d5451fdu);
}

TEST_CASE("the n-th word is the same whether drawn in order, by position, or after a seek") {
  qat::CounterRandom in_order(42, 7);
  for (std::uint64_t n = 0; n < 100; ++n) {
    qat::CounterRandom sought(42, 7);
    sought.seek(n);
    CHECK(sought.next_u32() == qat::CounterRandom(42, 7).at(n));
    CHECK(in_order.next_u32() == qat::CounterRandom(42, 7).at(n));
  }
  CHECK(in_order.position() == 100);
}

TEST_CASE("streams and seeds differ, and floats and bounded draws stay in range") {
  CHECK(qat::CounterRandom(1, 0).at(0) != qat::CounterRandom(1, 1).at(0));
  CHECK(qat::CounterRandom(1, 0).at(0) != qat::CounterRandom(2, 0).at(0));
  qat::CounterRandom random(3);
  double sum = 0;
  bool in_range = true;
  for (int i = 0; i < 4096; ++i) {
    const float value = random.next_float();
    in_range = in_range && value >= 0.0f && value < 1.0f && random.next_below(7) < 7;
    sum += value;
  }
  CHECK(in_range);
  CHECK(sum / 4096 == doctest::Approx(0.5).epsilon(0.05));
}
