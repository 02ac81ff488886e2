// What came of one golden folder.
#pragma once

namespace qat::golden {

/// Passed, failed and skipped cases.
struct Totals {
  int passed = 0, failed = 0, skipped = 0;
};

}  // namespace qat::golden
