// What is checked of a whole program: after its last test case, if a filter left none out.
#pragma once

#include <string>
#include <vector>

namespace qat::test {

struct FinalCheck {
  std::string name;
  std::vector<std::string> (*problems)();  ///< none: it passes
};
inline std::vector<FinalCheck>& final_checks() {
  static std::vector<FinalCheck> checks;
  return checks;
}

/// The test case that runs; empty outside of one.
inline std::string& current_case() {
  static std::string name;
  return name;
}

}  // namespace qat::test
