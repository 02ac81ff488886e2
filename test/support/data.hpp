// Where test data lies: shared_data() is the folder of large files beside the checkout (absent in a public clone),
// golden_dir() the small selection that is committed.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "support/skip.hpp"

namespace qat::test {

inline std::filesystem::path source_root() { return QAT_SOURCE_ROOT; }
inline std::filesystem::path golden_dir() { return source_root() / "test" / "golden"; }

/// $QAT_SHARED_DATA, else ../shared/data beside the source tree; without a value where neither has `relative`.
inline std::optional<std::filesystem::path> find_shared_data(const std::string& relative = "") {
  const char* set = std::getenv("QAT_SHARED_DATA");
  const std::filesystem::path root =
      set != nullptr ? std::filesystem::path(set) : source_root() / ".." / "shared" / "data";
  const std::filesystem::path path = relative.empty() ? root : root / relative;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return std::filesystem::canonical(path);
}

/// The same, and says loudly that `relative` is missing: `const auto path = shared_data("stories260K"); if (!path)
/// return;`
inline std::optional<std::filesystem::path> shared_data(const std::string& relative) {
  auto path = find_shared_data(relative);
  if (!path) QAT_SKIP(relative, "not in $QAT_SHARED_DATA nor in ../shared/data");
  return path;
}

/// True under `./dev test --full`: the slow matrix.
inline bool full_run() { return std::getenv("QAT_TEST_FULL") != nullptr; }

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace qat::test
