#include "qat/io/json_lines.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/files.hpp"

namespace qat::json_lines_test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  const test::TempDir directory;
  const std::string path = join_path(directory.path(), "lines.jsonl");
  write_file(path, text);
  std::vector<std::string> found;
  for_each_json_line(path, [&](std::string_view line, index_t number) {
    found.push_back(std::to_string(number) + ":" + std::string(line));
  });
  return found;
}

TEST_CASE("JSONL: every line that is not blank, with its number in the file; a last line needs no end") {
  using Lines = std::vector<std::string>;
  CHECK(lines_of("").empty());
  CHECK(lines_of("\n \t\r\n").empty());
  CHECK(lines_of("{}") == Lines{"1:{}"});
  CHECK(lines_of("{}\n") == Lines{"1:{}"});
  CHECK(lines_of("\n1\n\n2\n3") == Lines{"2:1", "4:2", "5:3"});
}

TEST_CASE("JSONL: a file that is not there is an error that names it") {
  CHECK_THROWS_WITH_AS(for_each_json_line("/nowhere/x.jsonl", [](std::string_view, index_t) {}),
                       doctest::Contains("/nowhere/x.jsonl"), Error);
}

}  // namespace
}  // namespace qat::json_lines_test
