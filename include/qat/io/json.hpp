// JSON files read strictly: duplicate keys are errors, and every error names file and key on one line.
#pragma once

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qat/io/file.hpp"

namespace qat::inline v0 {

using Json = nlohmann::json;

/// Arrays and objects inside each other: what walks a value calls itself as deep.
inline constexpr int kDeepestJson = 256;

/// Parses `text`, which came from `source` (a file name for messages).
/// @throws qat::Error (kBadFile) naming place and last key: no JSON, a key twice, more than kDeepestJson levels
inline Json parse_json(std::string_view text, const std::string& source) {
  std::vector<std::set<std::string>> keys;
  std::string duplicate, last_key;
  const auto check_keys = [&](int depth, Json::parse_event_t event, Json& value) {
    const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    QAT_CHECK(!opens || depth < kDeepestJson, kBadFile, source, ": ", last_key.empty() ? "the text" : last_key,
              " nests arrays and objects more than ", kDeepestJson, " deep; accepted: up to ", kDeepestJson);
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      last_key = "key " + printable(key);
      if (!keys.back().insert(key).second && duplicate.empty()) duplicate = printable(key);
    }
    return true;
  };
  Json json;
  try {
    json = Json::parse(text.begin(), text.end(), check_keys);
  } catch (const nlohmann::json::exception& error) {
    raise(ErrorCode::kBadFile, source, ": is not valid JSON", last_key.empty() ? "" : " after " + last_key, ": ",
          error.what());
  }
  QAT_CHECK(duplicate.empty(), kBadFile, source, ": key ", duplicate, " appears twice; accepted: each key once");
  return json;
}

inline Json read_json(const std::string& path) {
  const MappedFile file(path);
  return parse_json(file.text(), path);
}

/// Short text of a value for messages.
inline std::string json_text(const Json& value) {
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 80 ? text : text.substr(0, 77) + "...";
}

/// A member of an object, or nullptr when it is absent or null.
inline const Json* find_member(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

/// Typed members of one object; `source` names file (and place) in errors. Absent and null are the same.
class JsonFields {
 public:
  JsonFields(const Json& object, std::string source) : object_(object), source_(std::move(source)) {
    QAT_CHECK(object.is_object(), kBadFile, source_, ": is ", json_text(object), "; accepted: a JSON object");
  }
  const std::string& source() const { return source_; }
  const Json* find(const char* key) const { return find_member(object_, key); }
  const Json& at(const char* key) const {
    const Json* value = find(key);
    QAT_CHECK(value != nullptr, kBadFile, source_, ": key '", key, "' is missing");
    return *value;
  }
  index_t integer(const char* key) const {
    const Json& value = at(key);
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
    QAT_CHECK(fits, kBadFile, source_, ": '", key, "' is ", json_text(value), "; accepted: an integer");
    return static_cast<index_t>(value.get<std::int64_t>());
  }
  index_t integer_or(const char* key, index_t fallback) const { return find(key) ? integer(key) : fallback; }
  double number(const char* key) const {
    const Json& value = at(key);
    QAT_CHECK(value.is_number(), kBadFile, source_, ": '", key, "' is ", json_text(value), "; accepted: a number");
    return value.get<double>();
  }
  double number_or(const char* key, double fallback) const { return find(key) ? number(key) : fallback; }
  bool boolean_or(const char* key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    QAT_CHECK(value->is_boolean(), kBadFile, source_, ": '", key, "' is ", json_text(*value),
              "; accepted: true or false");
    return value->get<bool>();
  }
  std::string string(const char* key) const {
    const Json& value = at(key);
    QAT_CHECK(value.is_string(), kBadFile, source_, ": '", key, "' is ", json_text(value), "; accepted: a string");
    return value.get<std::string>();
  }
  std::string string_or(const char* key, const char* fallback) const { return find(key) ? string(key) : fallback; }
  const Json& array(const char* key) const {
    const Json& value = at(key);
    QAT_CHECK(value.is_array(), kBadFile, source_, ": '", key, "' is ", json_text(value), "; accepted: an array");
    return value;
  }

 private:
  const Json& object_;
  std::string source_;
};

/// The shortest decimal that reads back as the same float, as a double: 1e-5f is written 1e-05, not 9.99999974e-06.
inline double shortest_double(float value) {
  char text[32];
  for (int digits = 1; digits <= 9; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(value));
    if (std::strtof(text, nullptr) == value) break;
  }
  return std::strtod(text, nullptr);
}

}  // namespace qat::inline v0
