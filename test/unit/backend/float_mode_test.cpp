// ScopedFloatMode: arithmetic inside it is the default one, and the caller's mode comes back.
#include "qat/backend/float_mode.hpp"

#include <doctest/doctest.h>

#include "support/host_mode.hpp"

TEST_CASE("a host that flushes subnormals or rounds upward does not reach inside, and gets its mode back") {
  volatile float smallest_normal = 0x1p-126f, factor = 0.5f;
  const qat::test::HostMode host;  // flush to zero, rounding upward
  const float outside = smallest_normal * factor;
  CHECK_FALSE(qat::test::rounds_to_nearest());
  {
    const qat::ScopedFloatMode mode;
    CHECK(qat::test::rounds_to_nearest());
    const float inside = smallest_normal * factor;
    CHECK(inside == 0x1p-127f);
  }
  CHECK_FALSE(qat::test::rounds_to_nearest());
  const float after = smallest_normal * factor;
  CHECK(after == outside);
}
