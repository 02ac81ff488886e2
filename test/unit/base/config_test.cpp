// QAT_EXACT regions mean what they say: no fusing, no reassociation (test/odr repeats this under -Ofast).
#include "qat/base/config.hpp"

#include <doctest/doctest.h>

#include <type_traits>

namespace {
QAT_EXACT_BEGIN
QAT_NOINLINE float multiply_then_add(float a, float b, float c) { return a * b + c; }
QAT_EXACT_END
}  // namespace

TEST_CASE("a multiply and an add inside QAT_EXACT are rounded twice") {
  const float a =
      1.0f + 0x1p-12f;  // a * a = 1 + 2^-11 + 2^-24: the last term is lost in float, kept by a fused multiply-add
  CHECK(multiply_then_add(a, a, -(1.0f + 0x1p-11f)) == 0.0f);
}

TEST_CASE("index_t is signed and as wide as a pointer") {
  CHECK(std::is_signed_v<qat::index_t>);
  CHECK(sizeof(qat::index_t) == sizeof(void*));
}
