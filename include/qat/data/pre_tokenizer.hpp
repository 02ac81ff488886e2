// The pre-tokenizer of a tokenizer.json: text into words, which are then encoded each on its own.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/text_split.hpp"
#include "qat/data/token_decoder.hpp"
#include "qat/data/unicode.hpp"
#include "qat/io/json.hpp"

namespace qat::inline v0 {

class PreTokenizer {
 public:
  struct Step {
    enum Kind { kByteLevel, kSplit, kDigits, kMetaspace } kind = kByteLevel;
    bool use_regex = false;         ///< ByteLevel: splits by GPT-2's expression
    bool add_prefix_space = false;  ///< ByteLevel, Metaspace
    detail::SplitPattern pattern = detail::SplitPattern::kGpt2;
    bool individual = false;  ///< Digits: each on its own
    std::string replacement;  ///< Metaspace: stands for a space
    bool first_only = false;  ///< Metaspace: the prefix only where text begins
    bool split = false;       ///< Metaspace: before each replacement
  };

  /// None: text is one word.
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<Step> steps) : steps_(std::move(steps)) {}
  /// Reads 'pre_tokenizer'; refuses what it cannot do.
  explicit PreTokenizer(const JsonFields& top) {
    detail::for_each_component(top.find("pre_tokenizer"), "pretokenizers", top.source() + ": 'pre_tokenizer'",
                               [&](const JsonFields& f) {
                                 QAT_CHECK(!byte_level(), kUnsupported, f.source(), ": ", printable(f.string("type")),
                                           " comes after ByteLevel; accepted: ByteLevel last");
                                 steps_.push_back(read_step(f));
                               });
  }

  const std::vector<Step>& steps() const { return steps_; }
  /// Words are encoded as bytes.
  bool byte_level() const { return !steps_.empty() && steps_.back().kind == Step::kByteLevel; }

  /// Calls f(word) for each word of a text that is not empty, in order. `first`: nothing stands before the text.
  template <class F>
  void for_each_word(std::string_view text, bool first, F&& f) const {
    apply(text, first, 0, f);
  }

 private:
  static Step read_step(const JsonFields& f) {
    const std::string type = f.string("type");
    Step step;
    if (type == "ByteLevel") {
      step.use_regex = f.boolean_or("use_regex", true);
      step.add_prefix_space = f.boolean_or("add_prefix_space", true);
    } else if (type == "Split") {
      step.kind = Step::kSplit;
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
    } else if (type == "Digits") {
      step.kind = Step::kDigits;
      step.individual = f.boolean_or("individual_digits", false);
    } else if (type == "Metaspace") {
      step.kind = Step::kMetaspace;
      step.replacement = f.string_or("replacement", detail::kSpacePiece);
      QAT_CHECK(!step.replacement.empty(), kBadFile, f.source(), ": 'replacement' is empty");
      const std::string scheme = detail::prepend_scheme(f);
      step.add_prefix_space = scheme != "never";
      step.first_only = scheme == "first";
      step.split = f.boolean_or("split", true);
    } else {
      detail::refuse(f, "ByteLevel, Split (GPT-2, Llama 3 and Qwen 2 patterns), Digits, Metaspace, Sequence, null");
    }
    return step;
  }

  /// End of the part that starts at `start`: a number, or everything up to one.
  static std::size_t digits_end(std::string_view text, std::size_t start, bool individual) {
    const bool number = is_number(decode_utf8(text, start).value);
    std::size_t end = start;
    while (end < text.size()) {
      const CodePoint point = decode_utf8(text, end);
      if (is_number(point.value) != number || (number && individual && end > start)) break;
      end += point.length;
    }
    return end;
  }

  template <class F>
  void apply(std::string_view text, bool first, std::size_t index, F& f) const {
    if (text.empty()) return;
    if (index == steps_.size()) {
      f(text);
      return;
    }
    const Step& step = steps_[index];
    std::string changed;
    if (step.kind == Step::kMetaspace) {
      changed = detail::replace_all(text, " ", step.replacement);
      if (step.add_prefix_space && (first || !step.first_only) && !changed.starts_with(step.replacement))
        changed = step.replacement + changed;
      text = changed;
    } else if (step.kind == Step::kByteLevel && step.add_prefix_space && !text.starts_with(' ')) {
      changed = " " + std::string(text);
      text = changed;
    }
    const auto each = [&](auto&& end_of) {
      for (std::size_t start = 0; start < text.size();) {
        const std::size_t end = end_of(start);
        apply(text.substr(start, end - start), first && start == 0, index + 1, f);
        start = end;
      }
    };
    if (step.kind == Step::kSplit || (step.kind == Step::kByteLevel && step.use_regex)) {
      const detail::PatternSplitter splitter(text, step.pattern);
      each([&](std::size_t start) { return splitter.match(start); });
    } else if (step.kind == Step::kDigits) {
      each([&](std::size_t start) { return digits_end(text, start, step.individual); });
    } else if (step.kind == Step::kMetaspace && step.split) {
      each([&](std::size_t start) { return (std::min)(text.find(step.replacement, start + 1), text.size()); });
    } else {
      apply(text, first, index + 1, f);
    }
  }

  std::vector<Step> steps_;
};

}  // namespace qat::inline v0
