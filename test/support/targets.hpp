// Which targets a test of a kernel loops over.
#pragma once

#include "qat/simd/target.hpp"
#include "support/data.hpp"

namespace qat::test {

/// For kernels without a form of their own for a dot product: the supported targets that differ for them. The others
/// run one of these (target_test.cpp); a full run takes them all the same.
inline TargetList plain_targets() {
  if (full_run()) return supported_targets();
  TargetList list;
  for (const Target target : {Target::kBaseline, Target::kAvx2, Target::kAvx512})
    if (is_supported(target)) list.targets[list.size++] = target;
  return list;
}

}  // namespace qat::test
