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
    const std::string config = join_path(parent_directory(path), "tokenizer_config.json");
    if (file_exists(config)) {
      const Json config_json = read_json(config);
      const JsonFields fields(config_json, config);
      if (bos_id_ < 0) bos_id_ = special_token(fields, "bos_token");
      if (eos_id_ < 0) eos_id_ = special_token(fields, "eos_token");
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
    out.steps_.push_back({PreStep::kByteLevel, true, false, {}, {}, false, false});
    out.decoder_ = TokenDecoder::byte_level();
    const Json model = {{"vocab", read_json(vocab_path)}, {"merges", std::move(merges)}};
    out.load_model(JsonFields(model, vocab_path));
    out.find_default_specials();
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
      if (!normalizers_.empty()) segment = normalized = normalize(segment);
      added_normalized_.for_each_segment(segment, [&](std::string_view rest, std::int32_t inner, bool inner_first) {
        if (inner >= 0) {
          ids.push_back(inner);
        } else {
          pre_tokenize(rest, first && inner_first, session, ids);
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
  const char* kind() const override { return "tokenizer.json"; }
  /// -1 when no piece or added token is spelled so.
  std::int32_t token_id(const std::string& piece) const {
    const auto it = piece_ids_.find(piece);
    return it == piece_ids_.end() ? -1 : it->second;
  }

 private:
  static constexpr std::int64_t kMaxId = 10'000'000;

  struct Normalizer {
    enum Kind { kPrepend, kReplace } kind;
    std::string from, to;
  };
  struct PreStep {
    enum Kind { kByteLevel, kSplit, kMetaspace } kind;
    bool use_regex;
    bool add_prefix_space;
    detail::SplitPattern pattern;
    std::string replacement;
    bool first_only;
    bool split;
  };
  BpeTokenizer() = default;

  // ---- loading -----------------------------------------------------------------------------------------------------

  void load_pipeline(const JsonFields& top) {
    detail::for_each_component(
        top.find("normalizer"), "normalizers", top.source() + ": 'normalizer'", [&](const JsonFields& f) {
          const std::string type = f.string("type");
          if (type == "Prepend") {
            normalizers_.push_back({Normalizer::kPrepend, {}, f.string("prepend")});
          } else if (type == "Replace") {
            normalizers_.push_back({Normalizer::kReplace, detail::pattern_string(f, "String"), f.string("content")});
          } else {
            detail::refuse(f, "Prepend, Replace, Sequence, null");
          }
        });
    detail::for_each_component(
        top.find("pre_tokenizer"), "pretokenizers", top.source() + ": 'pre_tokenizer'", [&](const JsonFields& f) {
          const std::string type = f.string("type");
          QAT_CHECK(!byte_level_, kUnsupported, f.source(), ": ", printable(type),
                    " comes after ByteLevel; accepted: ByteLevel last");
          PreStep step{};
          if (type == "ByteLevel") {
            step.kind = PreStep::kByteLevel;
            step.use_regex = f.boolean_or("use_regex", true);
            step.add_prefix_space = f.boolean_or("add_prefix_space", true);
            byte_level_ = true;
          } else if (type == "Split") {
            step.kind = PreStep::kSplit;
            const std::string regex = detail::pattern_string(f, "Regex");
            if (regex == detail::kGpt2Pattern) {
              step.pattern = detail::SplitPattern::kGpt2;
            } else if (regex == detail::kLlama3Pattern) {
              step.pattern = detail::SplitPattern::kLlama3;
            } else if (regex == detail::kQwen2Pattern) {
              step.pattern = detail::SplitPattern::kQwen2;
            } else {
              raise(ErrorCode::kUnsupported, f.source(), ": 'Regex' is ", printable(regex),
                    "; accepted: the patterns of GPT-2, Llama 3 and Qwen 2");
            }
            const std::string behavior = f.string_or("behavior", "Isolated");
            QAT_CHECK(behavior == "Isolated" && !f.boolean_or("invert", false), kUnsupported, f.source(),
                      ": Split has behavior ", printable(behavior), f.boolean_or("invert", false) ? " inverted" : "",
                      "; accepted: Isolated, not inverted");
          } else if (type == "Metaspace") {
            step.kind = PreStep::kMetaspace;
            step.replacement = f.string_or("replacement", detail::kSpacePiece);
            const std::string scheme = detail::prepend_scheme(f);
            step.add_prefix_space = scheme != "never";
            step.first_only = scheme == "first";
            step.split = f.boolean_or("split", true);
          } else {
            detail::refuse(f, "ByteLevel, Split (GPT-2, Llama 3 and Qwen 2 patterns), Metaspace, Sequence, null");
          }
          steps_.push_back(std::move(step));
        });
    decoder_ = TokenDecoder(top);
  }

  void set_piece(const std::string& piece, std::int64_t id, const std::string& source) {
    QAT_CHECK(id >= 0 && id < kMaxId, kBadFile, source, ": token ", printable(piece), " has id ", id,
              "; accepted: 0 to ", kMaxId - 1);
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
    for (const auto& [piece, id] : vocab.items()) {
      QAT_CHECK(id.is_number_integer(), kBadFile, model.source(), ": 'vocab' gives ", printable(piece), " the id ",
                json_text(id), "; accepted: an integer");
      set_piece(piece, id.get<std::int64_t>(), model.source());
    }
    BpeEncoder& encoder = encoder_.emplace(byte_level_ ? Symbols::kBytes : Symbols::kCodePoints);
    encoder.set_whole_pieces(model.boolean_or("ignore_merges", false));
    if (model.find("unk_token")) {
      unk_id_ = token_id(model.string("unk_token"));
      QAT_CHECK(unk_id_ >= 0, kBadFile, model.source(), ": 'unk_token' ", printable(model.string("unk_token")),
                " is not in the vocab");
      encoder.set_unknown(unk_id_, model.boolean_or("fuse_unk", false));
    }
    for (const auto& [piece, id] : piece_ids_) {
      if (!byte_level_) {
        encoder.add_piece(piece, id);
      } else if (auto bytes = detail::byte_level_to_bytes(piece)) {
        encoder.add_piece(std::move(*bytes), id);
      }
    }
    if (byte_fallback_ && !byte_level_) {
      std::array<std::int32_t, 256> byte_ids;
      for (int byte = 0; byte < 256; ++byte) {
        char name[8];
        std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
        byte_ids[static_cast<std::size_t>(byte)] = token_id(name);
      }
      encoder.set_byte_ids(byte_ids);
    }
    load_merges(model);
  }

  void load_merges(const JsonFields& model) {
    std::int32_t rank = 0;
    for (const Json& merge : model.array("merges")) {
      std::string left, right;
      bool valid = false;
      if (merge.is_string()) {  // "a b"
        const auto& text = merge.get_ref<const std::string&>();
        const std::size_t space = text.find(' ');
        valid = space != text.npos && text.find(' ', space + 1) == text.npos;
        if (valid) left = text.substr(0, space), right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {  // ["a", "b"]
        valid = true;
        left = merge[0].get<std::string>(), right = merge[1].get<std::string>();
      }
      QAT_CHECK(valid, kBadFile, model.source(), ": merge ", rank, " is ", json_text(merge),
                "; accepted: \"a b\" or [\"a\", \"b\"]");
      const std::int32_t left_id = token_id(left), right_id = token_id(right), merged = token_id(left + right);
      QAT_CHECK(left_id >= 0 && right_id >= 0 && merged >= 0, kBadFile, model.source(), ": merge ", rank, " is ",
                json_text(merge), " but ",
                printable(left_id < 0    ? left
                          : right_id < 0 ? right
                                         : left + right),
                " is not in the vocab");
      encoder_->add_merge(left, left_id, right, right_id, {rank, merged});
      merges_.push_back({left_id, right_id});
      ++rank;
    }
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
      if (token.normalized) pieces_[static_cast<std::size_t>(id)] = token.content = normalize(token.content);
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

  // ---- encoding ----------------------------------------------------------------------------------------------------

  std::string normalize(std::string_view text) const {
    std::string out(text);
    for (const Normalizer& step : normalizers_) {
      if (step.kind == Normalizer::kReplace) {
        out = detail::replace_all(out, step.from, step.to);
      } else if (!out.empty()) {
        out = step.to + out;
      }
    }
    return out;
  }

  void pre_tokenize(std::string_view text, bool first, BpeEncoder::Session& session, std::vector<std::int32_t>& ids,
                    std::size_t step_index = 0) const {
    if (text.empty()) return;
    if (step_index == steps_.size()) {
      session.encode(text, ids);
      return;
    }
    const PreStep& step = steps_[step_index];
    std::string changed;
    if (step.kind == PreStep::kMetaspace) {
      changed = detail::replace_all(text, " ", step.replacement);
      if (step.add_prefix_space && (first || !step.first_only) && !changed.starts_with(step.replacement))
        changed = step.replacement + changed;
      text = changed;
      if (step.split) {
        std::size_t start = 0;
        while (start < text.size()) {
          const std::size_t end = (std::min)(text.find(step.replacement, start + 1), text.size());
          pre_tokenize(text.substr(start, end - start), first && start == 0, session, ids, step_index + 1);
          start = end;
        }
        return;
      }
    } else if (step.kind == PreStep::kByteLevel && step.add_prefix_space && !text.starts_with(' ')) {
      changed = " " + std::string(text);
      text = changed;
    }
    if (step.kind == PreStep::kSplit || (step.kind == PreStep::kByteLevel && step.use_regex)) {
      const detail::PatternSplitter splitter(text,
                                             step.kind == PreStep::kSplit ? step.pattern : detail::SplitPattern::kGpt2);
      for (std::size_t start = 0; start < text.size();) {
        const std::size_t end = splitter.match(start);
        pre_tokenize(text.substr(start, end - start), first && start == 0, session, ids, step_index + 1);
        start = end;
      }
      return;
    }
    pre_tokenize(text, first, session, ids, step_index + 1);
  }

  bool byte_level_ = false, byte_fallback_ = false;
  std::int32_t unk_id_ = -1, bos_id_ = -1, eos_id_ = -1;
  std::vector<Normalizer> normalizers_;
  std::vector<PreStep> steps_;
  TokenDecoder decoder_;
  std::vector<std::string> pieces_;  // by id, as spelled in the file
  std::vector<bool> used_;
  std::unordered_map<std::string, std::int32_t> piece_ids_;
  std::vector<std::pair<std::int32_t, std::int32_t>> merges_;  // by rank
  std::optional<BpeEncoder> encoder_;                          // of raw bytes at byte level, else of pieces as spelled
  std::vector<std::int32_t> special_ids_;
  AddedTokens added_raw_, added_normalized_;
};

}  // namespace qat::inline v0
