// A folder of golden ids of tokenizers: <name>.json {"tokenizer": name, "items": [{text, ids, ids_with_special,
// decoded}]}, for the tokenizers that lie at the known places below ../.. or in the shared data.
#pragma once

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "golden/totals.hpp"
#include "qat/data/load_tokenizer.hpp"
#include "qat/io/directory.hpp"
#include "support/data.hpp"

namespace qat::golden {

/// The files of such a folder: those whose object has 'tokenizer' and 'items'.
inline std::vector<std::string> tokenizer_files(const std::string& folder) {
  std::vector<std::string> out;
  if (!is_directory(folder) || file_exists(join_path(folder, "cases.json"))) return out;
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name);
    if (!name.ends_with(".json") || !file_exists(path)) continue;
    const Json json = read_json(path);
    if (json.is_object() && json.contains("tokenizer") && json.contains("items")) out.push_back(path);
  }
  return out;
}

namespace tokenizer_ids {

/// Null, and a line that says so, where this program or the folder lacks it.
inline std::unique_ptr<Tokenizer> find(const std::string& name, const std::string& folder, Totals& totals) {
  static const std::map<std::string, std::string> files = {
      {"stories260K-hf", "stories260K-hf/tokenizer.json"},
      {"tok512-model", "stories260K/tok512.model"},
      {"phi3-llama-bpe", "tokenizers/phi3-llama-bpe.tokenizer.json"},
      {"open_llama_3b-model", "tokenizers/open_llama_3b.tokenizer.model"},
      {"gpt2", "tokenizers/gpt2.vocab.json"}};
  const auto skip = [&](const std::string& why) {
    std::printf("SKIPPED: %s (%s)\n", name.c_str(), why.c_str());
    ++totals.skipped;
    return nullptr;
  };
  const auto known = files.find(name);
  if (known == files.end()) return skip("no such tokenizer is known here");
  std::string path = join_path(folder, "../../" + known->second);
  if (!file_exists(path)) {
    const auto shared = test::find_shared_data(known->second);
    if (!shared)
      return skip(known->second + " is neither below " + join_path(folder, "../..") + " nor in the shared data");
    path = shared->string();
  }
#if !defined(QAT_WITH_SENTENCEPIECE)
  if (path.ends_with(".model")) return skip("built without libsentencepiece-dev");
#endif
  if (name == "gpt2")
    return std::make_unique<BpeTokenizer>(
        BpeTokenizer::from_gpt2_files(path, join_path(parent_directory(path), "gpt2.merges.txt")));
  return load_tokenizer(path);
}

inline std::string text_of(const std::vector<std::int32_t>& ids) {
  std::string out = "[";
  for (const std::int32_t id : ids) out += (out.size() > 1 ? ", " : "") + std::to_string(id);
  return out + "]";
}

/// What is wrong with an item, or "".
inline std::string check(const Tokenizer& tokenizer, const Json& item) {
  const auto text = item.at("text").get<std::string>();
  const auto ids = item.at("ids").get<std::vector<std::int32_t>>();
  if (const auto got = tokenizer.encode(text, false); got != ids)
    return "ids are " + text_of(got) + " instead of " + text_of(ids);
  if (item.contains("ids_with_special")) {
    const auto special = item.at("ids_with_special").get<std::vector<std::int32_t>>();
    if (const auto got = tokenizer.encode(text, true); got != special)
      return "ids with special tokens are " + text_of(got) + " instead of " + text_of(special);
  }
  const std::string decoded = item.contains("decoded") ? item.at("decoded").get<std::string>() : text;
  if (const std::string got = tokenizer.decode(ids, true); got != decoded)
    return "decoded text is " + printable(got) + " instead of " + printable(decoded);
  return {};
}

}  // namespace tokenizer_ids

inline Totals run_tokenizer_folder(const std::string& folder, const std::vector<std::string>& files) {
  Totals totals;
  for (const std::string& file : files) {
    const Json golden = read_json(file);
    const JsonFields fields(golden, file);
    const std::string name = fields.string("tokenizer");
    const auto tokenizer = tokenizer_ids::find(name, folder, totals);
    if (tokenizer == nullptr) continue;
    int equal = 0, failed = 0;
    for (const Json& item : fields.array("items")) {
      const std::string wrong = tokenizer_ids::check(*tokenizer, item);
      ++(wrong.empty() ? equal : failed);
      if (!wrong.empty())
        std::printf("FAILED: %s: %s: %s\n", name.c_str(), item.at("text").dump().c_str(), wrong.c_str());
    }
    std::printf("%s: %d of %d strings: ids and texts as recorded\n", name.c_str(), equal, equal + failed);
    totals.passed += equal;
    totals.failed += failed;
  }
  return totals;
}

}  // namespace qat::golden
