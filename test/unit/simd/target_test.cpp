// Targets: the list, forcing one, and that kernels really follow.
#include "qat/simd/target.hpp"

#include <string>

#include <doctest/doctest.h>

#include "support/skip.hpp"

#define QAT_TARGET_PROBE target_plain
#define QAT_TARGET_INCLUDE "unit/simd/target_test-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"
#undef QAT_TARGET_PROBE

#define QAT_TARGET_PROBE target_dot8
#define QAT_TARGET_WITH_DOT8
#define QAT_TARGET_INCLUDE "unit/simd/target_test-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"
#undef QAT_TARGET_PROBE

#define QAT_TARGET_PROBE target_bf16
#define QAT_TARGET_WITH_BF16
#define QAT_TARGET_INCLUDE "unit/simd/target_test-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"
#undef QAT_TARGET_PROBE

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

TEST_CASE("a kernel without a form for the active target runs the next lower one; with one, that") {
  struct Row {
    Target target, plain, dot8, bf16;
  };
  using enum Target;
  constexpr Row kRows[] = {
      {kBaseline, kBaseline, kBaseline, kBaseline}, {kAvx2, kAvx2, kAvx2, kAvx2},
      {kAvx2Vnni, kAvx2, kAvx2Vnni, kAvx2},         {kAvx512, kAvx512, kAvx512, kAvx512},
      {kAvx512Vnni, kAvx512, kAvx512Vnni, kAvx512}, {kAvx512Bf16, kAvx512, kAvx512Vnni, kAvx512Bf16},
      {kNeonDot, kBaseline, kNeonDot, kBaseline},   {kNeonI8mm, kBaseline, kNeonI8mm, kBaseline}};
  static_assert(std::size(kRows) == std::size(qat::kAllTargets));
  for (const Row& row : kRows) {
    if (!qat::is_compiled(row.target)) continue;  // another architecture's: stage aarch64 of run_tests.py
    if (!qat::is_supported(row.target)) {
      QAT_SKIP(std::string("target ") + name(row.target), "this processor cannot run it");
      continue;
    }
    const qat::ScopedTarget scope(row.target);
    CAPTURE(std::string(name(row.target)));
    CHECK(QAT_DISPATCH(target_plain, form()) == row.plain);
    CHECK(QAT_DISPATCH_DOT8(target_dot8, form()) == row.dot8);
    CHECK(QAT_DISPATCH_BF16(target_bf16, form()) == row.bf16);
  }
}
