// tokenizer.json of the Hugging Face `tokenizers` library: byte-pair encoding in its two families, Llama's
// (sentencepiece pieces with byte fallback) and GPT-2's (byte level, Llama 3's split too). Source: that library's Rust
// code, 0.23.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qat/data/added_tokens.hpp"
#include "qat/data/bpe_encoder.hpp"
#include "qat/data/merge_scores.hpp"
#include "qat/data/normalizer.hpp"
#include "qat/data/pre_tokenizer.hpp"
#include "qat/data/text_split.hpp"
#include "qat/data/token_decoder.hpp"
#include "qat/data/tokenizer.hpp"
#include "qat/data/unicode.hpp"
#include "qat/io/json.hpp"

namespace qat::inline v0 {

/// A tokenizer.json, or GPT-2's vocab.json with merges.txt. What it cannot do faithfully it refuses when it is loaded.
/// Truncation and padding settings of the file are ignored.
class BpeTokenizer final : public Tokenizer {
 public:
  /// Reads tokenizer.json, and tokenizer_config.json beside it for the names of BOS and EOS.
  explicit BpeTokenizer(const std::string& path) {
    const Json json = read_json(path);
    const JsonFields top(json, path);
    load_pipeline(top);
    const JsonFields model(top.at("model"), path + ": 'model'");
    load_model(model);
    load_added_tokens(top);
    load_post_processor(top.find("post_processor"), path);
    adds_bos_ = bos_id_ >= 0;
    const std::string config = join_path(parent_directory(path), "tokenizer_config.json");
    if (file_exists(config)) {
      const Json config_json = read_json(config);
      const JsonFields fields(config_json, config);
      if (bos_id_ < 0) bos_id_ = special_token(fields, "bos_token");
      if (eos_id_ < 0) eos_id_ = special_token(fields, "eos_token");
      adds_bos_ = fields.boolean_or("add_bos_token", adds_bos_) && bos_id_ >= 0;
    }
    find_default_specials();
  }

  /// GPT-2's pair of files: byte level, no added tokens.
  static BpeTokenizer from_gpt2_files(const std::string& vocab_path, const std::string& merges_path) {
    const MappedFile file(merges_path);
    Json merges = Json::array();
    const std::string_view text = file.text();
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t end = (std::min)(text.find('\n', i), text.size());
      std::string_view line = text.substr(i, end - i);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!line.empty() && !(i == 0 && line.starts_with("#version"))) merges.push_back(std::string(line));
      i = end + 1;
    }
    BpeTokenizer out;
    out.byte_level_ = true;
    out.pre_tokenizer_ = byte_level_split(detail::SplitPattern::kGpt2);
    out.decoder_ = TokenDecoder::byte_level();
    const Json model = {{"vocab", read_json(vocab_path)}, {"merges", std::move(merges)}};
    out.load_model(JsonFields(model, vocab_path));
    out.find_default_specials();
    return out;
  }

  /// The tokenizer of a GGUF file, `source` for messages. Control, unknown and user-defined tokens are found in text,
  /// as by llama.cpp where special tokens are parsed.
  static BpeTokenizer from_vocabulary(const Vocabulary& vocabulary, const std::string& source) {
    BpeTokenizer out;
    out.kind_ = "gguf";
    out.load_vocabulary(vocabulary, source);
    return out;
  }

  std::vector<std::int32_t> encode(std::string_view text, bool bos) const override {
    std::vector<std::int32_t> ids;
    if (bos && bos_id_ >= 0) ids.push_back(bos_id_);
    BpeEncoder::Session session(*encoder_);
    added_raw_.for_each_segment(text, [&](std::string_view segment, std::int32_t token, bool first) {
      if (token >= 0) {
        ids.push_back(token);
        return;
      }
      std::string normalized;
      if (!normalizer_.steps().empty()) segment = normalized = normalizer_.apply(segment);
      added_normalized_.for_each_segment(segment, [&](std::string_view rest, std::int32_t inner, bool inner_first) {
        if (inner >= 0) {
          ids.push_back(inner);
        } else {
          pre_tokenizer_.for_each_word(rest, first && inner_first,
                                       [&](std::string_view word) { session.encode(word, ids); });
        }
      });
    });
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids, bool keep_special = false) const override {
    std::vector<std::string> tokens;
    for (const std::int32_t id : ids) {
      check_id(id);
      if (!keep_special && is_special(id)) continue;
      tokens.push_back(pieces_[static_cast<std::size_t>(id)]);
    }
    return decoder_.decode(std::move(tokens));
  }

  std::string token_bytes(std::int32_t id) const override {
    check_id(id);
    if (is_special(id)) return {};
    const std::string& piece = pieces_[static_cast<std::size_t>(id)];
    if (byte_level_) return detail::byte_level_to_bytes(piece).value_or(piece);
    if (const int byte = byte_fallback_ ? parse_byte_token(piece) : -1; byte >= 0)
      return std::string(1, static_cast<char>(byte));
    return detail::replace_all(piece, detail::kSpacePiece, " ");
  }

  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(pieces_.size()); }
  std::int32_t bos_id() const override { return bos_id_; }
  std::int32_t eos_id() const override { return eos_id_; }
  const char* kind() const override { return kind_; }
  /// Two things are lost in GGUF: what lstrip, rstrip and single_word of added tokens say, and Qwen's NFC, which
  /// llama.cpp leaves out: texts that these change may get other ids there.
  Vocabulary vocabulary() const override {
    Vocabulary out;
    out.bos = bos_id_;
    out.eos = eos_id_;
    out.unknown = unk_id_;
    out.add_bos = adds_bos_;
    out.tokens = pieces_;
    for (std::size_t id = 0; id < pieces_.size(); ++id) {
      if (!used_[id]) out.tokens[id] = "[PAD" + std::to_string(id) + "]";
      const auto token = static_cast<std::int32_t>(id);
      const bool added = std::find(added_ids_.begin(), added_ids_.end(), token) != added_ids_.end();
      out.types.push_back(!used_[id]                                             ? TokenType::kUnused
                          : token == unk_id_ && !byte_level_                     ? TokenType::kUnknown
                          : is_special(token)                                    ? TokenType::kControl
                          : added                                                ? TokenType::kUserDefined
                          : byte_fallback_ && parse_byte_token(pieces_[id]) >= 0 ? TokenType::kByte
                                                                                 : TokenType::kNormal);
    }
    if (byte_level_) {
      describe_byte_level(out);
    } else {
      describe_scored(out);
    }
    return out;
  }
  /// -1 when no piece or added token is spelled so.
  std::int32_t token_id(const std::string& piece) const {
    const auto it = piece_ids_.find(piece);
    return it == piece_ids_.end() ? -1 : it->second;
  }

 private:
  static constexpr std::int64_t kSpareIds = 100'000;  // beyond four times the size of the vocab

  BpeTokenizer() = default;

  // ---- GGUF --------------------------------------------------------------------------------------------------------

  [[noreturn]] void no_vocabulary(const std::string& why) const {
    raise(ErrorCode::kUnsupported, kind(), " tokenizer: has no form in GGUF that gives the same ids: ", why);
  }

  void describe_byte_level(Vocabulary& out) const {
    out.model = "gpt2";
    const auto& steps = pre_tokenizer_.steps();
    const bool split = steps.size() == 2 && steps[0].kind == PreTokenizer::Step::kSplit && !steps[1].use_regex;
    const bool digits =
        steps.size() == 2 && steps[0].kind == PreTokenizer::Step::kDigits && steps[0].individual && steps[1].use_regex;
    const auto pattern = split ? steps[0].pattern : detail::SplitPattern::kGpt2;
    if ((!split && !digits && (steps.size() != 1 || !steps[0].use_regex)) || steps.back().add_prefix_space ||
        !(normalizer_.steps().empty() ||
          normalizer_.steps() == std::vector<Normalizer::Step>{{Normalizer::Step::kNfc, {}, {}}}))
      no_vocabulary("text is prepared in another way than GPT-2's, Llama 3's, Qwen 2's or SmolLM's");
    out.pre = digits                                     ? "smollm"
              : pattern == detail::SplitPattern::kGpt2   ? "gpt-2"
              : pattern == detail::SplitPattern::kLlama3 ? "llama-bpe"
                                                         : "qwen2";
    if (ignore_merges_ != (out.pre == "llama-bpe"))
      no_vocabulary("'ignore_merges' is " + std::string(ignore_merges_ ? "true" : "false") + " with the split '" +
                    out.pre + "'");
    for (const auto& [left, right] : merges_)
      out.merges.push_back(pieces_[static_cast<std::size_t>(left)] + " " + pieces_[static_cast<std::size_t>(right)]);
  }

  void describe_scored(Vocabulary& out) const {
    out.model = "llama";
    out.pre = "default";
    const bool prefix = normalizer_.steps() == Normalizer::llama(true).steps();
    const bool spaces = prefix || normalizer_.steps() == Normalizer::llama(false).steps();
    const auto& steps = pre_tokenizer_.steps();
    const bool metaspace = steps.size() == 1 && steps[0].kind == PreTokenizer::Step::kMetaspace && !steps[0].split &&
                           steps[0].replacement == detail::kSpacePiece;
    if (metaspace && normalizer_.steps().empty()) {
      out.add_space_prefix = steps[0].add_prefix_space;
    } else if (spaces && steps.empty()) {
      out.add_space_prefix = prefix;
    } else {
      no_vocabulary("text is prepared in another way than Llama 2's");
    }
    if (ignore_merges_) no_vocabulary("'ignore_merges' is true");
    for (int byte = 0; byte < 256; ++byte)
      if (!byte_fallback_ || token_id(byte_token(byte)) < 0)
        no_vocabulary("it has no token " + byte_token(byte) + " to fall back on");
    const std::string why = score_merges(
        merges_, [&](const std::string& piece) { return token_id(piece); }, out);
    if (!why.empty()) no_vocabulary(why);
  }

  void load_vocabulary(const Vocabulary& vocabulary, const std::string& source) {
    const std::size_t count = vocabulary.tokens.size();
    QAT_CHECK(count > 0, kBadFile, source, ": the vocabulary has no tokens");
    QAT_CHECK(vocabulary.types.empty() || vocabulary.types.size() == count, kBadFile, source, ": the vocabulary has ",
              count, " tokens and ", vocabulary.types.size(), " types; accepted: as many");
    const bool scored = vocabulary.model == "llama";
    QAT_CHECK(scored || vocabulary.model == "gpt2", kUnsupported, source, ": the vocabulary is of model ",
              printable(vocabulary.model), "; accepted: llama, gpt2");
    QAT_CHECK(!scored || vocabulary.scores.size() == count, kBadFile, source, ": the vocabulary has ", count,
              " tokens and ", vocabulary.scores.size(), " scores; accepted: as many");
    for (const auto& [id, name] : {std::pair{vocabulary.bos, "BOS"}, std::pair{vocabulary.eos, "EOS"},
                                   std::pair{vocabulary.unknown, "the unknown token"}})
      QAT_CHECK(id >= -1 && id < static_cast<std::int64_t>(count), kBadFile, source, ": ", name, " is token ", id,
                "; accepted: 0 to ", count - 1);
    max_id_ = static_cast<std::int64_t>(count);
    const auto type_of = [&](std::size_t id) {
      return vocabulary.types.empty() ? TokenType::kNormal : vocabulary.types[id];
    };
    for (std::size_t id = 0; id < count; ++id) {
      const std::string& token = vocabulary.tokens[id];
      set_piece(token, static_cast<std::int64_t>(id), source);
      const TokenType type = type_of(id);
      const bool found_in_text =
          type == TokenType::kControl || type == TokenType::kUserDefined || type == TokenType::kUnknown;
      if (!found_in_text || token.empty()) continue;
      AddedToken added;
      added.content = token;
      added.id = static_cast<std::int32_t>(id);
      added.special = type == TokenType::kControl;
      if (added.special) special_ids_.push_back(added.id);
      added_ids_.push_back(added.id);
      added_raw_.add(std::move(added));
    }
    bos_id_ = vocabulary.bos;
    eos_id_ = vocabulary.eos;
    unk_id_ = vocabulary.unknown;
    adds_bos_ = vocabulary.add_bos;
    if (scored) {
      load_scored(vocabulary, source);
    } else {
      load_byte_level(vocabulary, source);
    }
  }

  void load_scored(const Vocabulary& vocabulary, const std::string& source) {
    byte_fallback_ = true;
    for (int byte = 0; byte < 256; ++byte)
      QAT_CHECK(token_id(byte_token(byte)) >= 0 || unk_id_ >= 0, kBadFile, source,
                ": the vocabulary has neither token ", byte_token(byte), " nor an unknown token");
    for (std::size_t id = 0; id < vocabulary.scores.size(); ++id)
      QAT_CHECK(vocabulary.scores[id] == vocabulary.scores[id], kBadFile, source, ": token ",
                printable(vocabulary.tokens[id]), " has the score NaN");
    normalizer_ = Normalizer::llama(vocabulary.add_space_prefix);
    decoder_ = TokenDecoder::llama(vocabulary.add_space_prefix);
    make_encoder(false);
    encoder_->add_scored_merges([&](std::int32_t id) { return vocabulary.scores[static_cast<std::size_t>(id)]; });
  }

  static PreTokenizer byte_level_split(detail::SplitPattern pattern, bool digits = false) {
    using Step = PreTokenizer::Step;
    std::vector<Step> steps;
    if (digits) steps.push_back({Step::kDigits, false, false, {}, true, {}, false, false});
    if (pattern == detail::SplitPattern::kGpt2) {
      steps.push_back({Step::kByteLevel, true, false, {}, false, {}, false, false});
    } else {
      steps.push_back({Step::kSplit, false, false, pattern, false, {}, false, false});
      steps.push_back({Step::kByteLevel, false, false, {}, false, {}, false, false});
    }
    return PreTokenizer(std::move(steps));
  }

  void load_byte_level(const Vocabulary& vocabulary, const std::string& source) {
    byte_level_ = true;
    decoder_ = TokenDecoder::byte_level();
    const bool gpt2 = vocabulary.pre == "gpt-2", llama3 = vocabulary.pre == "llama-bpe",
               digits = vocabulary.pre == "smollm";
    QAT_CHECK(gpt2 || llama3 || digits || vocabulary.pre == "qwen2", kUnsupported, source,
              ": the vocabulary's 'pre' is ", printable(vocabulary.pre), "; accepted: gpt-2, llama-bpe, qwen2, smollm");
    ignore_merges_ = llama3;
    pre_tokenizer_ = byte_level_split(llama3           ? detail::SplitPattern::kLlama3
                                      : gpt2 || digits ? detail::SplitPattern::kGpt2
                                                       : detail::SplitPattern::kQwen2,
                                      digits);
    make_encoder(false);
    for (const std::string& merge : vocabulary.merges) add_merge(merge, source);
  }

  // ---- loading -----------------------------------------------------------------------------------------------------

  void load_pipeline(const JsonFields& top) {
    normalizer_ = Normalizer(top);
    pre_tokenizer_ = PreTokenizer(top);
    byte_level_ = pre_tokenizer_.byte_level();
    decoder_ = TokenDecoder(top);
  }

  void set_piece(const std::string& piece, std::int64_t id, const std::string& source) {
    QAT_CHECK(id >= 0 && id < max_id_, kBadFile, source, ": token ", printable(piece), " has id ", id,
              "; accepted: 0 to ", max_id_ - 1);
    const auto index = static_cast<std::size_t>(id);
    if (index >= pieces_.size()) pieces_.resize(index + 1), used_.resize(index + 1, false);
    QAT_CHECK(!used_[index] || pieces_[index] == piece, kBadFile, source, ": tokens ", printable(pieces_[index]),
              " and ", printable(piece), " both have id ", id);
    const auto [it, inserted] = piece_ids_.emplace(piece, static_cast<std::int32_t>(id));
    QAT_CHECK(it->second == id, kBadFile, source, ": token ", printable(piece), " has ids ", it->second, " and ", id);
    pieces_[index] = piece;
    used_[index] = true;
  }

  void load_model(const JsonFields& model) {
    const std::string type = model.string_or("type", "BPE");
    QAT_CHECK(type == "BPE", kUnsupported, model.source(), ": 'type' is ", printable(type), "; accepted: BPE");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      QAT_CHECK(model.string_or(key, "").empty(), kUnsupported, model.source(), ": '", key, "' is ",
                printable(model.string(key)), "; accepted: none");
    QAT_CHECK(model.number_or("dropout", 0.0) == 0.0, kUnsupported, model.source(), ": 'dropout' is ",
              model.number("dropout"), "; accepted: 0 or null");
    byte_fallback_ = model.boolean_or("byte_fallback", false);
    const Json& vocab = model.at("vocab");
    QAT_CHECK(vocab.is_object() && !vocab.empty(), kBadFile, model.source(), ": 'vocab' is ", json_text(vocab),
              "; accepted: an object from piece to id");
    max_id_ = kSpareIds + 4 * static_cast<std::int64_t>(vocab.size());
    for (const auto& [piece, id] : vocab.items()) {
      QAT_CHECK(id.is_number_integer(), kBadFile, model.source(), ": 'vocab' gives ", printable(piece), " the id ",
                json_text(id), "; accepted: an integer");
      set_piece(piece, id.get<std::int64_t>(), model.source());
    }
    if (model.find("unk_token")) {
      unk_id_ = token_id(model.string("unk_token"));
      QAT_CHECK(unk_id_ >= 0, kBadFile, model.source(), ": 'unk_token' ", printable(model.string("unk_token")),
                " is not in the vocab");
    }
    ignore_merges_ = model.boolean_or("ignore_merges", false);
    make_encoder(model.boolean_or("fuse_unk", false));
    load_merges(model);
  }

  /// From the pieces, before the merges.
  void make_encoder(bool fuse_unknown) {
    BpeEncoder& encoder = encoder_.emplace(byte_level_ ? Symbols::kBytes : Symbols::kCodePoints);
    encoder.set_whole_pieces(ignore_merges_);
    if (unk_id_ >= 0) encoder.set_unknown(unk_id_, fuse_unknown);
    for (const auto& [piece, id] : piece_ids_) {
      if (!byte_level_) {
        encoder.add_piece(piece, id);
      } else if (auto bytes = detail::byte_level_to_bytes(piece)) {
        encoder.add_piece(std::move(*bytes), id);
      }
    }
    if (!byte_fallback_ || byte_level_) return;
    std::array<std::int32_t, 256> byte_ids;
    for (int byte = 0; byte < 256; ++byte) byte_ids[static_cast<std::size_t>(byte)] = token_id(byte_token(byte));
    encoder.set_byte_ids(byte_ids);
  }

  void load_merges(const JsonFields& model) {
    for (const Json& merge : model.array("merges")) {
      if (merge.is_string()) {  // "a b"
        add_merge(merge.get_ref<const std::string&>(), model.source());
        continue;
      }
      QAT_CHECK(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(), kBadFile,
                model.source(), ": merge ", merges_.size(), " is ", json_text(merge),
                "; accepted: \"a b\" or [\"a\", \"b\"]");
      add_merge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(), model.source());
    }
  }

  void add_merge(const std::string& merge, const std::string& source) {
    const std::size_t space = merge.find(' ');
    QAT_CHECK(space != merge.npos && merge.find(' ', space + 1) == merge.npos, kBadFile, source, ": merge ",
              merges_.size(), " is ", printable(merge), "; accepted: \"a b\" or [\"a\", \"b\"]");
    add_merge(merge.substr(0, space), merge.substr(space + 1), source);
  }

  void add_merge(const std::string& left, const std::string& right, const std::string& source) {
    const std::int32_t left_id = token_id(left), right_id = token_id(right), merged = token_id(left + right);
    QAT_CHECK(left_id >= 0 && right_id >= 0 && merged >= 0, kBadFile, source, ": merge ", merges_.size(), " is ",
              printable(left), " and ", printable(right), " but ",
              printable(left_id < 0    ? left
                        : right_id < 0 ? right
                                       : left + right),
              " is not in the vocab");
    encoder_->add_merge(left, left_id, right, right_id, {static_cast<std::int32_t>(merges_.size()), merged});
    merges_.push_back({left_id, right_id});
  }

  void load_added_tokens(const JsonFields& top) {
    if (!top.find("added_tokens")) return;
    for (const Json& entry : top.array("added_tokens")) {
      const JsonFields f(entry, top.source() + ": 'added_tokens'");
      AddedToken token;
      token.content = f.string("content");
      QAT_CHECK(!token.content.empty(), kBadFile, f.source(), ": has a token without content");
      const index_t id = f.integer("id");
      set_piece(token.content, id, f.source());
      token.id = static_cast<std::int32_t>(id);
      token.single_word = f.boolean_or("single_word", false);
      token.lstrip = f.boolean_or("lstrip", false);
      token.rstrip = f.boolean_or("rstrip", false);
      token.special = f.boolean_or("special", false);
      token.normalized = f.boolean_or("normalized", !token.special);
      if (token.special) special_ids_.push_back(token.id);
      added_ids_.push_back(token.id);
      if (token.normalized) pieces_[static_cast<std::size_t>(id)] = token.content = normalizer_.apply(token.content);
      QAT_CHECK(!token.content.empty(), kBadFile, f.source(), ": token ", id, " is empty when it is normalized");
      AddedTokens& tokens = token.normalized ? added_normalized_ : added_raw_;
      tokens.add(std::move(token));
    }
    std::sort(special_ids_.begin(), special_ids_.end());
  }

  void load_post_processor(const Json* component, const std::string& path) {
    detail::for_each_component(component, "processors", path + ": 'post_processor'", [&](const JsonFields& f) {
      const std::string type = f.string("type");
      if (type == "ByteLevel") return;  // offsets only
      if (type != "TemplateProcessing") detail::refuse(f, "TemplateProcessing, ByteLevel, Sequence, null");
      bool before = true;
      for (const Json& item : f.array("single")) {
        if (item.contains("Sequence")) before = false;
        const auto special = item.find("SpecialToken");
        if (special == item.end()) continue;
        const JsonFields token(*special, f.source() + ": 'SpecialToken'");
        const std::int32_t id = token_id(token.string("id"));
        QAT_CHECK(id >= 0, kBadFile, token.source(), " ", printable(token.string("id")), " is not in the vocab");
        std::int32_t& target = before ? bos_id_ : eos_id_;
        QAT_CHECK(target < 0, kUnsupported, f.source(), ": adds several tokens at one end of the text; accepted: one");
        target = id;
      }
    });
  }

  std::int32_t special_token(const JsonFields& config, const char* key) const {
    const Json* value = config.find(key);
    if (value == nullptr) return -1;
    const std::string name = value->is_object()
                                 ? JsonFields(*value, config.source() + ": '" + key + "'").string("content")
                                 : config.string(key);
    const std::int32_t id = token_id(name);
    QAT_CHECK(id >= 0, kBadFile, config.source(), ": '", key, "' is ", printable(name),
              ", which the tokenizer does not have");
    return id;
  }

  void find_default_specials() {
    for (const char* name : {"<s>", "<|begin_of_text|>", "<|endoftext|>"})
      if (bos_id_ < 0) bos_id_ = token_id(name);
    for (const char* name : {"</s>", "<|end_of_text|>", "<|endoftext|>"})
      if (eos_id_ < 0) eos_id_ = token_id(name);
  }

  bool is_special(std::int32_t id) const {
    return id == bos_id_ || id == eos_id_ || std::binary_search(special_ids_.begin(), special_ids_.end(), id);
  }

  const char* kind_ = "tokenizer.json";
  bool byte_level_ = false, byte_fallback_ = false, ignore_merges_ = false, adds_bos_ = false;
  std::int64_t max_id_ = 0;  // ids are below
  std::int32_t unk_id_ = -1, bos_id_ = -1, eos_id_ = -1;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  TokenDecoder decoder_;
  std::vector<std::string> pieces_;  // by id, as spelled in the file
  std::vector<bool> used_;
  std::unordered_map<std::string, std::int32_t> piece_ids_;
  std::vector<MergedPair> merges_;     // by rank
  std::optional<BpeEncoder> encoder_;  // of raw bytes at byte level, else of pieces as spelled
  std::vector<std::int32_t> special_ids_, added_ids_;
  AddedTokens added_raw_, added_normalized_;
};

}  // namespace qat::inline v0
