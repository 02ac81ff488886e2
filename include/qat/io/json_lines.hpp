// JSONL: a JSON value on every line.
#pragma once

#include <string>
#include <string_view>

#include "qat/io/file.hpp"

namespace qat::inline v0 {

/// Lines that were left out because they are not valid.
struct SkippedLines {
  index_t count = 0;
  std::string first;  ///< why the first of them was
};

/// Calls f(line, number) for every line of the text that is not blank; number: from 1, blank lines counted.
/// @throws what f throws
template <class F>
void for_each_json_line_of(std::string_view rest, F&& f) {
  for (index_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    if (line.find_first_not_of(" \t\r") != line.npos) f(line, number);
  }
}
/// The same for a file.
/// @throws qat::Error (kIo) naming the file; what f throws
template <class F>
void for_each_json_line(const std::string& path, F&& f) {
  const MappedFile file(path);
  for_each_json_line_of(file.text(), f);
}

}  // namespace qat::inline v0
