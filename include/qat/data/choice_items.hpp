// Multiple-choice items: a context and endings, one of which is right. HellaSwag and cloze tests are such files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "qat/io/json.hpp"
#include "qat/io/json_lines.hpp"

namespace qat::inline v0 {

struct ChoiceItem {
  std::string context;
  std::vector<std::string> endings;
  index_t label = 0;  ///< of the right ending
};

namespace detail {
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
  ChoiceItem item;
  item.context = member(
                     "ctx", [](const Json& j) { return j.is_string(); }, "a string")
                     .get<std::string>();
  const Json& endings = member(
      "endings", [](const Json& j) { return j.is_array() && j.size() >= 2; }, "an array of at least two strings");
  for (const Json& ending : endings) {
    QAT_CHECK(ending.is_string() && !ending.get_ref<const std::string&>().empty(), kBadFile, where, ": endings holds ",
              json_text(ending), "; accepted: strings that are not empty");
    item.endings.push_back(ending.get<std::string>());
  }
  const Json& label = member(
      "label", [](const Json& j) { return j.is_number_integer(); }, "the index of the right ending");
  QAT_CHECK(label >= 0 && label < item.endings.size(), kBadFile, where, ": label is ", json_text(label),
            "; accepted: 0 to ", item.endings.size() - 1);
  item.label = label.get<index_t>();
  return item;
}
}  // namespace detail

/// JSONL: {"ctx": text, "endings": [text, ...], "label": index} a line; other keys are left alone.
/// @throws qat::Error (kBadFile) naming file, line and key
inline std::vector<ChoiceItem> load_choice_items(const std::string& path) {
  std::vector<ChoiceItem> items;
  for_each_json_line(path, [&](std::string_view line, index_t number) {
    items.push_back(detail::parse_choice_item(line, path + ":" + std::to_string(number)));
  });
  QAT_CHECK(!items.empty(), kBadFile, path, ": has no items; accepted: lines {\"ctx\", \"endings\", \"label\"}");
  return items;
}

}  // namespace qat::inline v0
