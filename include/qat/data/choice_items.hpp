// Multiple-choice items: a context and endings, one of which is right. HellaSwag and cloze tests are such files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "qat/data/text_split.hpp"
#include "qat/data/unicode.hpp"
#include "qat/io/json.hpp"
#include "qat/io/json_lines.hpp"

namespace qat::inline v0 {

struct ChoiceItem {
  std::string context;
  std::vector<std::string> endings;
  index_t label = 0;  ///< of the right ending
};

namespace detail {
/// Text of HellaSwag's own files as lm-evaluation-harness cleans it: WikiHow's "[title]" ends a sentence, other
/// brackets go.
inline std::string hellaswag_text(std::string_view written) {
  const std::string text = replace_all(strip(written), " [title]", ". ");
  std::string out;
  std::size_t at = 0;
  for (std::size_t begin; (begin = text.find('[', at)) != text.npos;) {
    const std::size_t end = text.find(']', begin);
    if (end == text.npos) break;
    out.append(text, at, begin - at);
    at = end + 1;
  }
  out.append(text, at);
  return replace_all(out, "  ", " ");
}
/// The first letter large, all others small: of ASCII letters.
inline std::string capitalized(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == 0 && text[i] >= 'a' && text[i] <= 'z') text[i] = static_cast<char>(text[i] - 'a' + 'A');
    if (i > 0 && text[i] >= 'A' && text[i] <= 'Z') text[i] = static_cast<char>(text[i] - 'A' + 'a');
  }
  return text;
}

inline ChoiceItem parse_choice_item(std::string_view line, const std::string& where) {
  const Json json = parse_json(line, where);
  QAT_CHECK(json.is_object(), kBadFile, where, ": is ", json_text(json),
            "; accepted: an object with ctx, endings and label");
  const auto member = [&](const char* key, bool fits(const Json&), const char* accepted) -> const Json& {
    const Json* found = find_member(json, key);
    QAT_CHECK(found != nullptr && fits(*found), kBadFile, where, ": ", key, " is ",
              found == nullptr ? "missing" : json_text(*found), "; accepted: ", accepted);
    return *found;
  };
  const auto text = [&](const char* key) {
    const Json& found = member(
        key, [](const Json& j) { return j.is_string(); }, "a string");
    return found.get<std::string>();
  };
  ChoiceItem item;
  const bool is_hellaswag = find_member(json, "activity_label") != nullptr && find_member(json, "ctx_a") != nullptr;
  item.context = is_hellaswag
                     ? hellaswag_text(text("activity_label") + ": " + text("ctx_a") + " " + capitalized(text("ctx_b")))
                     : text("ctx");
  const Json& endings = member(
      "endings", [](const Json& j) { return j.is_array() && j.size() >= 2; }, "an array of at least two strings");
  for (const Json& ending : endings) {
    QAT_CHECK(ending.is_string() && !strip(ending.get_ref<const std::string&>()).empty(), kBadFile, where,
              ": endings holds ", json_text(ending), "; accepted: strings that are not empty");
    const auto& written = ending.get_ref<const std::string&>();
    item.endings.push_back(is_hellaswag ? hellaswag_text(written) : std::string(strip(written)));
  }
  const Json& label = member(
      "label", [](const Json& j) { return j.is_number_integer(); }, "the index of the right ending");
  QAT_CHECK(label >= 0 && label < item.endings.size(), kBadFile, where, ": label is ", json_text(label),
            "; accepted: 0 to ", item.endings.size() - 1);
  item.label = label.get<index_t>();
  return item;
}
}  // namespace detail

/// JSONL: {"ctx": text, "endings": [text, ...], "label": index} a line; other keys are left alone, but for HellaSwag's
/// own activity_label, ctx_a and ctx_b, of which the context is made. White space around endings is taken off.
/// skipped: where it is given, lines that are not valid are counted there and left out.
/// @throws qat::Error (kBadFile) naming file, line and key
inline std::vector<ChoiceItem> load_choice_items(const std::string& path, SkippedLines* skipped = nullptr) {
  std::vector<ChoiceItem> items;
  for_each_json_line(path, [&](std::string_view line, index_t number) {
    try {
      items.push_back(detail::parse_choice_item(line, path + ":" + std::to_string(number)));
    } catch (const Error& e) {
      if (skipped == nullptr) throw;
      if (skipped->count++ == 0) skipped->first = e.what();
    }
  });
  QAT_CHECK(!items.empty(), kBadFile, path, ": has no items",
            skipped != nullptr && skipped->count > 0 ? "; the first line left out: " : "",
            skipped != nullptr ? skipped->first : "", "; accepted: lines {\"ctx\", \"endings\", \"label\"}");
  return items;
}

}  // namespace qat::inline v0
