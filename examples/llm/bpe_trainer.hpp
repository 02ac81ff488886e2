// Trains a byte-level byte-pair encoding and writes it as a tokenizer.json of Hugging Face's `tokenizers`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/bpe_tokenizer.hpp"  // GPT-2's split and byte alphabet
#include "qat/data/token_stream.hpp"
#include "qat/io/json.hpp"

namespace qat_llm {

/// The one special token, id 0: it begins every document, and so ends the one before it.
inline constexpr std::string_view kEndOfText = "<|endoftext|>";

/// Pairs of ids in the order they merge: ids are 0 kEndOfText, 1 to 256 the bytes, then one for each merge.
/// Each step merges the pair most frequent in the text, of equals the one with the smallest ids, so the result is a
/// pure function of the text. Source: Sennrich et al., "Neural machine translation of rare words with subword units",
/// 2016.
inline std::vector<std::pair<std::int32_t, std::int32_t>> train_bpe(std::string_view text, std::int32_t vocab_size) {
  QAT_CHECK(vocab_size >= 257, kInvalidArgument, "train_bpe: vocab_size is ", vocab_size, "; accepted: at least 257");
  std::map<std::string_view, std::int64_t> counts;
  for (const std::string_view document : qat::split_documents(text)) {
    const qat::detail::PatternSplitter splitter(document, qat::detail::SplitPattern::kGpt2);
    for (std::size_t start = 0; start < document.size();) {
      const std::size_t end = splitter.match(start);
      ++counts[document.substr(start, end - start)];
      start = end;
    }
  }
  struct Word {
    std::vector<std::int32_t> ids;
    std::int64_t count;
  };
  std::vector<Word> words;
  for (const auto& [word, count] : counts) {
    words.push_back({{}, count});
    for (const char c : word) words.back().ids.push_back(1 + static_cast<unsigned char>(c));
  }
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;
  for (std::int32_t next = 257; next < vocab_size; ++next) {
    std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> pairs;
    for (const Word& word : words)
      for (std::size_t i = 1; i < word.ids.size(); ++i) pairs[{word.ids[i - 1], word.ids[i]}] += word.count;
    const std::pair<std::int32_t, std::int32_t>* best = nullptr;
    std::int64_t best_count = 1;
    for (const auto& [pair, count] : pairs)
      if (count > best_count) best = &pair, best_count = count;
    QAT_CHECK(best != nullptr, kInvalidArgument, "train_bpe: the text gives ", next, " tokens; asked for ", vocab_size);
    merges.push_back(*best);
    for (Word& word : words) {
      std::size_t kept = 0;
      for (std::size_t i = 0; i < word.ids.size(); ++i, ++kept) {
        const bool merge = i + 1 < word.ids.size() && word.ids[i] == best->first && word.ids[i + 1] == best->second;
        word.ids[kept] = merge ? next : word.ids[i];
        if (merge) ++i;
      }
      word.ids.resize(kept);
    }
  }
  return merges;
}

inline std::string tokenizer_json(const std::vector<std::pair<std::int32_t, std::int32_t>>& merges) {
  using OrderedJson = nlohmann::ordered_json;
  std::vector<std::string> pieces = {std::string(kEndOfText)};
  for (const std::uint32_t point : qat::detail::byte_level_alphabet()) {  // below U+0800: one or two bytes of UTF-8
    pieces.emplace_back();
    if (point < 0x80) {
      pieces.back() += static_cast<char>(point);
    } else {
      pieces.back() += static_cast<char>(0xC0 | point >> 6);
      pieces.back() += static_cast<char>(0x80 | (point & 0x3F));
    }
  }
  OrderedJson merge_list = OrderedJson::array();
  for (const auto& [left, right] : merges) {
    const std::string& first = pieces[static_cast<std::size_t>(left)];
    const std::string& second = pieces[static_cast<std::size_t>(right)];
    merge_list.push_back(first + " " + second);
    pieces.push_back(first + second);
  }
  OrderedJson vocab = OrderedJson::object();
  for (std::size_t id = 0; id < pieces.size(); ++id) vocab[pieces[id]] = id;
  const OrderedJson special = {{"SpecialToken", {{"id", kEndOfText}, {"type_id", 0}}}};
  const auto sequence = [](const char* id) { return OrderedJson{{"Sequence", {{"id", id}, {"type_id", 0}}}}; };
  const OrderedJson byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const OrderedJson json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", OrderedJson::array({{{"id", 0},
                                            {"content", kEndOfText},
                                            {"single_word", false},
                                            {"lstrip", false},
                                            {"rstrip", false},
                                            {"normalized", false},
                                            {"special", true}}})},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", OrderedJson::array({special, sequence("A")})},
        {"pair", OrderedJson::array({special, sequence("A"), special, sequence("B")})},
        {"special_tokens",
         {{std::string(kEndOfText),
           {{"id", kEndOfText}, {"ids", OrderedJson::array({0})}, {"tokens", OrderedJson::array({kEndOfText})}}}}}}},
      {"decoder", byte_level},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", merge_list}}}};
  return json.dump(1) + "\n";
}

}  // namespace qat_llm
