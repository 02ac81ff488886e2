// A vocabulary as tokenizer.json, for programs of Hugging Face's: the tokenizers library and transformers.
// Source: https://github.com/huggingface/tokenizers, the JSON of its BPE, normalizers, pre-tokenizers and decoders.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/bpe_encoder.hpp"
#include "qat/data/text_split.hpp"
#include "qat/data/vocabulary.hpp"
#include "qat/io/json.hpp"

namespace qat::inline v0 {

namespace detail {

/// What there is in the file beside tokens: {"type": TYPE, ...}.
using JsonPart = Json;

inline JsonPart json_sequence(const char* key, JsonPart parts) {
  return parts.size() == 1 ? parts[0] : JsonPart{{"type", "Sequence"}, {key, std::move(parts)}};
}

/// Merges as scores order them, [left, right]: any two tokens that are one together merge, the largest score first.
/// A character that is no token merges with none here.
inline JsonPart merges_of_scores(const Vocabulary& v, const std::string& source) {
  std::map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < v.tokens.size(); ++id) ids.emplace(v.tokens[id], id);
  const auto refuse = [&](const std::string& why) {
    raise(ErrorCode::kUnsupported, source,
          ": the vocabulary has no form in tokenizer.json that gives the same ids: ", why);
  };
  const auto is_character = [](std::string_view text) { return decode_utf8(text, 0).length == text.size(); };
  std::map<float, std::pair<std::string_view, JsonPart>, std::greater<>> by_score;
  for (std::size_t id = 0; id < v.tokens.size(); ++id) {
    const std::string_view token = v.tokens[id];
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      if ((static_cast<unsigned char>(token[cut]) & 0xC0u) == 0x80u) continue;  // inside a character
      const std::string_view left = token.substr(0, cut), right = token.substr(cut);
      const bool has_left = ids.contains(left), has_right = ids.contains(right);
      if (!(has_left || is_character(left)) || !(has_right || is_character(right))) continue;
      if (!has_left || !has_right) refuse("a character of token " + printable(token) + " is no token");
      auto& [merged, splits] = by_score.try_emplace(v.scores[id], token, JsonPart::array()).first->second;
      if (merged != token) refuse("tokens " + printable(merged) + " and " + printable(token) + " have one score");
      splits.push_back({left, right});
    }
  }
  JsonPart merges = JsonPart::array();
  for (auto& [score, piece] : by_score)
    for (JsonPart& split : piece.second) merges.push_back(std::move(split));
  return merges;
}

/// Adds how text is prepared and joined again, and what the model does beside merging.
inline void add_scored_parts(const Vocabulary& v, const std::string& source, JsonPart& json, JsonPart& model) {
  JsonPart normalizers = JsonPart::array(),
           decoders = {{{"type", "Replace"}, {"pattern", {{"String", kSpacePiece}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}}};
  if (v.add_space_prefix) {
    normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpacePiece}});
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpacePiece}});
  json["normalizer"] = json_sequence("normalizers", std::move(normalizers));
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = json_sequence("decoders", std::move(decoders));
  if (v.unknown >= 0) model["unk_token"] = v.tokens[static_cast<std::size_t>(v.unknown)];
  model["byte_fallback"] = true;
  model["merges"] = merges_of_scores(v, source);
}
inline void add_byte_level_parts(const Vocabulary& v, JsonPart& json, JsonPart& model) {
  const bool by_pattern = v.pre == "llama-bpe" || v.pre == "qwen2";
  const JsonPart byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", !by_pattern}};
  JsonPart steps = JsonPart::array();
  if (v.pre == "smollm") steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  if (by_pattern)
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", v.pre == "qwen2" ? kQwen2Pattern : kLlama3Pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  steps.push_back(byte_level);
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = json_sequence("pretokenizers", std::move(steps));
  json["decoder"] = byte_level;
  model["ignore_merges"] = v.pre == "llama-bpe";
  JsonPart merges = JsonPart::array();
  for (const std::string& merge : v.merges) {
    const std::size_t space = merge.find(' ');
    merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
  model["merges"] = std::move(merges);
}

/// BOS and EOS around a text.
inline JsonPart template_of(const Vocabulary& v) {
  const auto special = [&](std::int32_t id, int type) -> JsonPart {
    return {{"SpecialToken", {{"id", v.tokens[static_cast<std::size_t>(id)]}, {"type_id", type}}}};
  };
  const bool bos = v.add_bos && v.bos >= 0, eos = v.add_eos && v.eos >= 0;
  if (!bos && !eos) return nullptr;
  JsonPart single = JsonPart::array(), pair = JsonPart::array(), tokens = JsonPart::object();
  for (const int type : {0, 1})
    for (JsonPart* const list : {&single, &pair}) {
      if (type == 1 && list == &single) continue;
      if (bos) list->push_back(special(v.bos, type));
      list->push_back({{"Sequence", {{"id", type == 0 ? "A" : "B"}, {"type_id", type}}}});
      if (eos) list->push_back(special(v.eos, type));
    }
  for (const std::int32_t id : {bos ? v.bos : v.eos, eos ? v.eos : v.bos}) {
    const std::string& name = v.tokens[static_cast<std::size_t>(id)];
    tokens[name] = {{"id", name}, {"ids", JsonPart::array({id})}, {"tokens", JsonPart::array({name})}};
  }
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

}  // namespace detail

/// The text of tokenizer.json. vocabulary: one that BpeTokenizer::from_vocabulary() takes; `source` names it in errors.
/// Where merges are ordered by scores they become a list, as transformers converts sentencepiece's models.
/// @throws qat::Error (kUnsupported) if no list of merges gives the ids that its scores give
inline std::string tokenizer_json_text(const Vocabulary& vocabulary, const std::string& source) {
  using detail::JsonPart;
  JsonPart vocab = JsonPart::object(), added = JsonPart::array();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const TokenType type = vocabulary.types.empty() ? TokenType::kNormal : vocabulary.types[id];
    vocab[vocabulary.tokens[id]] = id;
    if (type != TokenType::kControl && type != TokenType::kUnknown && type != TokenType::kUserDefined) continue;
    if (vocabulary.tokens[id].empty()) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type == TokenType::kControl}});
  }
  JsonPart json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added}};
  JsonPart model = {{"type", "BPE"},          {"unk_token", nullptr},   {"fuse_unk", false},
                    {"byte_fallback", false}, {"ignore_merges", false}, {"vocab", std::move(vocab)}};
  if (vocabulary.model == "llama") {
    detail::add_scored_parts(vocabulary, source, json, model);
  } else {
    detail::add_byte_level_parts(vocabulary, json, model);
  }
  json["post_processor"] = detail::template_of(vocabulary);
  json["model"] = std::move(model);
  return json.dump(1, ' ', false, JsonPart::error_handler_t::replace) + "\n";
}

/// The text of tokenizer_config.json, which names BOS, EOS and the unknown token for transformers.
inline std::string tokenizer_config_text(const Vocabulary& vocabulary) {
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"add_bos_token", vocabulary.add_bos && vocabulary.bos >= 0},
               {"add_eos_token", vocabulary.add_eos && vocabulary.eos >= 0},
               {"clean_up_tokenization_spaces", false}};
  for (const auto& [key, id] : {std::pair{"bos_token", vocabulary.bos}, std::pair{"eos_token", vocabulary.eos},
                                std::pair{"unk_token", vocabulary.unknown}})
    if (id >= 0) json[key] = vocabulary.tokens[static_cast<std::size_t>(id)];
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace qat::inline v0
