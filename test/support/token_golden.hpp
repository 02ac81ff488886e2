// Compares a tokenizer with golden/tokenizers/<name>.json: ids of strings by `tokenizers` and `sentencepiece`.
#pragma once

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "qat/data/tokenizer.hpp"
#include "support/data.hpp"

namespace qat::test {

/// Every item for which `use` holds: equal ids, equal ids with special tokens where the file has them, equal decoding.
/// Returns how many were compared.
inline int check_token_golden(
    const Tokenizer& tokenizer, const std::string& file,
    const std::function<bool(const std::string&)>& use = [](const std::string&) { return true; }) {
  int compared = 0;
  const auto golden = nlohmann::json::parse(read_file(file));
  for (const auto& item : golden.at("items")) {
    const auto text = item.at("text").get<std::string>();
    if (!use(text)) continue;
    ++compared;
    INFO(item.at("text").dump());
    const auto ids = item.at("ids").get<std::vector<std::int32_t>>();
    CHECK(tokenizer.encode(text, false) == ids);
    if (item.contains("ids_with_special"))
      CHECK(tokenizer.encode(text, true) == item.at("ids_with_special").get<std::vector<std::int32_t>>());
    CHECK(tokenizer.decode(ids, true) == (item.contains("decoded") ? item.at("decoded").get<std::string>() : text));
  }
  return compared;
}

/// llamacpp-tests.inp (strings between separators) against its .out file (a line of ids each).
inline int check_llamacpp_tests(const Tokenizer& tokenizer, const std::string& input, const std::string& output) {
  const std::string text = read_file(input), separator = "\n__ggml_vocab_test__\n";
  std::ifstream lines(output);
  int compared = 0;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(separator, start), text.size());
    std::string line;
    std::getline(lines, line);  // the last string is empty and has no line
    std::istringstream numbers(line);
    std::vector<std::int32_t> ids;
    for (std::int32_t id; numbers >> id;) ids.push_back(id);
    INFO(text.substr(start, end - start));
    CHECK(tokenizer.encode(text.substr(start, end - start), false) == ids);
    ++compared;
    start = end + separator.size();
  }
  return compared;
}

}  // namespace qat::test
