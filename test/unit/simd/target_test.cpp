// Targets: the list, forcing one, and that kernels really follow.
#include "qat/simd/target.hpp"

#include <string>

#include <doctest/doctest.h>

using qat::Target;

TEST_CASE("baseline is always supported and the active target is a supported one") {
  const qat::TargetList list = qat::supported_targets();
  REQUIRE(list.size >= 1);
  CHECK(list.targets[0] == Target::kBaseline);
  bool found = false;
  for (const Target target : list) found = found || target == qat::active_target();
  CHECK(found);
}

TEST_CASE("ScopedTarget forces a target and restores the one before") {
  const Target before = qat::active_target();
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CHECK(qat::active_target() == target);
  }
  CHECK(qat::active_target() == before);
}

TEST_CASE("a target the processor lacks is refused with its name, and the best one is named") {
  CHECK_NOTHROW(qat::force_target(qat::active_target()));
  for (const Target target : qat::kAllTargets) {
    if (qat::is_supported(target)) continue;
    std::string message;
    try {
      qat::force_target(target);
    } catch (const qat::Error& error) {
      message = error.what();
    }
    CHECK(message.find(qat::name(target)) != std::string::npos);
  }
}
