// A test that cannot run here says so, and is counted: QAT_SKIP("stories260K logits", "no shared data"); return;
#pragma once

#include <cstdio>
#include <string>

namespace qat::test {

inline int& skip_count() {
  static int count = 0;
  return count;
}

inline void skip(const std::string& what, const std::string& why) {
  std::printf("SKIPPED: %s (%s)\n", what.c_str(), why.c_str());
  std::fflush(stdout);
  ++skip_count();
}

}  // namespace qat::test

#define QAT_SKIP(what, why) ::qat::test::skip(what, why)
