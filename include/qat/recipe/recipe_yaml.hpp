// Recipe files: YAML read strictly, and single keys set on a command line. The only header that needs yaml-cpp: link
// -lyaml-cpp.
#pragma once

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/recipe/recipe_check.hpp"
#include "qat/recipe/recipe_text.hpp"

namespace qat::inline v0::recipe {

/// A recipe and where its keys stand.
struct RecipeFile {
  Recipe recipe;
  RecipePlaces places;
};

namespace detail {

/// Levenshtein's distance.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = (std::min)((std::min)(above, row[j - 1]) + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[b.size()];
}

/// The paths of a key: its own, then its aliases.
template <class T>
std::vector<std::string_view> paths_of(const RecipeKey<T>& key) {
  std::vector<std::string_view> paths = {key.path};
  std::string_view rest = key.aliases;
  while (!rest.empty()) {
    const std::size_t space = rest.find(' ');
    paths.push_back(rest.substr(0, space));
    rest = space == rest.npos ? std::string_view() : rest.substr(space + 1);
  }
  return paths;
}
template <class T>
const RecipeKey<T>* find_key(const std::vector<RecipeKey<T>>& keys, std::string_view path) {
  for (const RecipeKey<T>& key : keys)
    for (const std::string_view name : paths_of(key))
      if (name == path) return &key;
  return nullptr;
}

/// Writes what a YAML document says into a recipe.
class RecipeReader {
 public:
  /// origin: a file's name, or the option that sets a key; only files have lines
  RecipeReader(RecipeFile& file, std::string origin, bool has_lines)
      : file_(file), origin_(std::move(origin)), has_lines_(has_lines) {}

  void read(const YAML::Node& root) {
    if (root.IsNull()) return;
    QAT_CHECK(root.IsMap(), kBadFile, at(root), ": is ", kind_of(root),
              "; accepted: sections such as model: and data:");
    section(root, file_.recipe, "", "", 0);
  }

 private:
  std::string at(const YAML::Node& node) const {
    return has_lines_ ? origin_ + ":" + std::to_string(node.Mark().line + 1) : origin_;
  }
  static std::string kind_of(const YAML::Node& node) {
    if (node.IsScalar()) return (node.Tag() == "!" ? "the text " : "") + printable(node.Scalar());
    return node.IsSequence() ? "a list" : node.IsMap() ? "a section" : "empty";
  }

  /// The keys of `node` into `target`. prefix: path of target in the recipe; inside: path of node in target.
  template <class T>
  void section(const YAML::Node& node, T& target, const std::string& prefix, const std::string& inside, int depth) {
    const std::vector<RecipeKey<T>>& keys = keys_of(&target);
    std::set<std::string> written;
    for (const auto& entry : node) {
      QAT_CHECK(entry.first.IsScalar(), kBadFile, at(entry.first), ": a key is ", kind_of(entry.first),
                "; accepted: text");
      const std::string path = inside + entry.first.Scalar(), full = prefix + path;
      QAT_CHECK(written.insert(path).second, kBadFile, at(entry.first), ": ", full,
                " is given twice; accepted: each key once");
      if (const RecipeKey<T>* key = find_key(keys, path)) {
        assign(entry.first, entry.second, *key, target, prefix, depth);
        continue;
      }
      if constexpr (!std::is_same_v<T, Recipe>) {
        if (const RecipeKey<Recipe>* outer = find_key(recipe_keys(), full)) {
          assign(entry.first, entry.second, *outer, file_.recipe, "", depth);
          continue;
        }
      }
      const bool is_section = std::any_of(keys.begin(), keys.end(), [&](const RecipeKey<T>& key) {
        const std::vector<std::string_view> paths = paths_of(key);
        return std::any_of(paths.begin(), paths.end(), [&](std::string_view p) { return p.starts_with(path + "."); });
      });
      if (!is_section) unknown(entry.first, full, keys, prefix);
      if (entry.second.IsNull()) continue;
      QAT_CHECK(entry.second.IsMap(), kBadFile, at(entry.second), ": ", full, " is ", kind_of(entry.second),
                "; accepted: a section with keys");
      section(entry.second, target, prefix, path + ".", depth);
    }
  }

  template <class T>
  [[noreturn]] void unknown(const YAML::Node& where, const std::string& full, const std::vector<RecipeKey<T>>& keys,
                            const std::string& prefix) const {
    const auto last = [](std::string_view path) { return path.substr(path.rfind('.') + 1); };
    std::string nearest;
    std::size_t least = 0;
    const auto consider = [&](const std::string& candidate) {
      const std::size_t distance =
          (std::min)(edit_distance(full, candidate), edit_distance(last(full), last(candidate)) + 1);
      if (nearest.empty() || distance < least) nearest = candidate, least = distance;
    };
    for (const RecipeKey<T>& key : keys) consider(prefix + key.path);
    if constexpr (std::is_same_v<T, Recipe>)
      for (const RecipeKey<QuantizerRecipe>& key : quantizer_keys()) consider(std::string("qat.quantizer.") + key.path);
    raise(ErrorCode::kBadFile, at(where), ": key ", printable(full), " is unknown; the nearest key is ", nearest);
  }

  template <class T>
  void assign(const YAML::Node& name, const YAML::Node& value, const RecipeKey<T>& key, T& target,
              const std::string& prefix, int depth) {
    const std::string path = prefix + key.path;
    QAT_CHECK(given_.insert(path).second, kBadFile, at(name), ": ", path,
              " is given a second time, by another name; accepted: each key once");
    file_.places.lines[path] = at(name);
    const RecipeField field = key.field(target);
    std::visit([&](auto* place) { set(value, *place, key, path, depth); }, field);
  }

  template <class T>
  [[noreturn]] void wrong(const YAML::Node& value, const RecipeKey<T>& key, const std::string& path) const {
    T standard{};
    raise(ErrorCode::kBadFile, at(value), ": ", path, " is ", kind_of(value),
          "; accepted: ", accepted_text(key, key.field(standard)));
  }

  template <class Number, class T>
  Number number(const YAML::Node& value, const RecipeKey<T>& key, const std::string& path) const {
    Number result{};
    if (!value.IsScalar() || value.Tag() == "!") wrong(value, key, path);  // "!": in quotes
    const std::string& text = value.Scalar();
    const char* begin = text.data();
    const char* const end = begin + text.size();
    if (text.size() > 1 && text[0] == '+' && text[1] != '-') ++begin;
    const auto parsed = std::from_chars(begin, end, result);
    const auto wide = static_cast<double>(result);
    if (parsed.ec != std::errc() || parsed.ptr != end || !(wide >= key.least && wide <= key.most))
      wrong(value, key, path);
    return result;
  }

  template <class V, class T>
  void set(const YAML::Node& value, V& place, const RecipeKey<T>& key, const std::string& path, int depth) {
    if constexpr (std::is_same_v<V, std::optional<bool>> || std::is_same_v<V, std::optional<index_t>>) {
      if (value.IsNull()) {
        place.reset();
        return;
      }
      set(value, place.emplace(), key, path, depth);
    } else if constexpr (std::is_same_v<V, bool>) {
      const std::string text = value.IsScalar() && value.Tag() != "!" ? value.Scalar() : "";
      const bool is_true = text == "true" || text == "True" || text == "TRUE";
      if (!is_true && text != "false" && text != "False" && text != "FALSE") wrong(value, key, path);
      place = is_true;
    } else if constexpr (std::is_enum_v<V>) {
      const auto& names = kChoiceNames<V>;
      const auto found = std::find(names.begin(), names.end(), value.IsScalar() ? value.Scalar() : "");
      if (found == names.end()) wrong(value, key, path);
      place = static_cast<V>(found - names.begin());
    } else if constexpr (std::is_arithmetic_v<V>) {
      place = number<V>(value, key, path);
    } else if constexpr (std::is_same_v<V, std::array<double, 2>>) {
      if (!value.IsSequence() || value.size() != 2) wrong(value, key, path);
      for (std::size_t i = 0; i < 2; ++i) place[i] = number<double>(value[i], key, path);
    } else if constexpr (std::is_same_v<V, std::string>) {
      if (!value.IsScalar() && !value.IsNull()) wrong(value, key, path);
      place = value.IsNull() ? std::string() : value.Scalar();
    } else if constexpr (std::is_same_v<V, std::vector<std::string>>) {
      place.clear();
      if (value.IsNull()) return;
      if (!value.IsSequence()) wrong(value, key, path);
      for (std::size_t i = 0; i < value.size(); ++i) {
        if (!value[i].IsScalar()) wrong(value[i], key, path + "[" + std::to_string(i) + "]");
        place.push_back(value[i].Scalar());
      }
    } else if constexpr (std::is_same_v<V, QuantizerRecipe>) {
      if (value.IsNull()) return;
      if (!value.IsMap() || depth > 3) wrong(value, key, path);
      section(value, place, path + ".", "", depth + 1);
    } else if constexpr (std::is_same_v<V, InnerQuantizer>) {
      if (value.IsNull()) return;
      if (!value.IsMap() || depth > 3) wrong(value, key, path);
      if (place.held.empty()) place.held.emplace_back();
      section(value, place.held.front(), path + ".", "", depth + 1);
    } else {
      place.clear();
      if (value.IsNull()) return;
      if (!value.IsSequence()) wrong(value, key, path);
      for (std::size_t i = 0; i < value.size(); ++i) {
        const YAML::Node entry = value[i];
        const std::string name = path + "[" + std::to_string(i) + "]";
        if ((!entry.IsMap() && !entry.IsNull()) || depth > 3) wrong(entry, key, name);
        file_.places.lines[name] = at(entry);
        place.emplace_back();
        if (entry.IsMap()) section(entry, place.back(), name + ".", "", depth + 1);
      }
    }
  }

  RecipeFile& file_;
  std::string origin_;
  bool has_lines_;
  std::set<std::string> given_;
};

/// Takes a parser's events and does nothing.
struct IgnoredEvents : YAML::EventHandler {
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

inline YAML::Node parse_yaml(const std::string& text, const std::string& source, bool has_lines) {
  try {
    // Not LoadAll(): on some broken texts it gives documents without an end.
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    IgnoredEvents ignored;
    const bool one = parser.HandleNextDocument(ignored), more = one && parser.HandleNextDocument(ignored);
    QAT_CHECK(!more, kBadFile, source,
              ": has more than one document (a line ---), or a text that ends one; accepted: one");
    return one ? YAML::Load(text) : YAML::Node();
  } catch (const YAML::Exception& e) {
    raise(ErrorCode::kBadFile, has_lines ? source + ":" + std::to_string(e.mark.line + 1) : source,
          ": is not valid YAML: ", printable(e.msg));  // it quotes the file, line ends too
  }
}

}  // namespace detail

/// Reads a recipe strictly: an unknown, repeated or wrongly typed key is an error. What the values must be to each
/// other is check_recipe()'s. source: a file's name, for errors
/// @throws qat::Error (kBadFile) naming file, line, key and what is accepted
inline RecipeFile parse_recipe(std::string_view text, const std::string& source) {
  RecipeFile file;
  file.places.source = source;
  detail::RecipeReader(file, source, true).read(detail::parse_yaml(std::string(text), source, true));
  return file;
}

inline RecipeFile load_recipe(const std::string& path) {
  const MappedFile file(path);
  QAT_CHECK(file.size() > 0, kBadFile, path, ": is empty; accepted: a recipe such as `qat-llm recipe --print` writes");
  return parse_recipe(file.text(), path);
}

namespace detail {
inline void set_key(RecipeFile& file, const std::string& path, YAML::Node value, const std::string& origin) {
  std::string_view rest = path;
  while (!rest.empty()) {  // from the last level to the first
    const std::size_t dot = rest.rfind('.');
    YAML::Node level(YAML::NodeType::Map);
    level[std::string(dot == rest.npos ? rest : rest.substr(dot + 1))] = value;
    value = level;
    rest = dot == rest.npos ? std::string_view() : rest.substr(0, dot);
  }
  RecipeReader(file, origin, false).read(value);
}
}  // namespace detail

/// `--set`: "trainer.max_steps=100", or any YAML value: "optimizer.betas=[0.9, 0.99]", "qat.quantizer={scheme: qat4}"
/// (which replaces the section; "qat.quantizer.scheme=qat4" changes one of its keys).
inline void set_recipe_key(RecipeFile& file, std::string_view assignment) {
  const std::string origin = "--set " + std::string(assignment);
  const std::size_t equals = assignment.find('=');
  QAT_CHECK(equals != assignment.npos && equals > 0, kInvalidArgument, origin,
            ": accepted: KEY=VALUE, such as trainer.max_steps=100");
  const std::string path(assignment.substr(0, equals));
  const YAML::Node value = detail::parse_yaml(std::string(assignment.substr(equals + 1)), origin, false);
  if (const auto* key = detail::find_key(recipe_keys(), path))
    if (const RecipeField field = key->field(file.recipe); std::holds_alternative<QuantizerRecipe*>(field))
      *std::get<QuantizerRecipe*>(field) = QuantizerRecipe();
  detail::set_key(file, path, value, origin);
}

/// One key from an option of its own: the text is taken as it is, whatever YAML would make of it.
inline void set_recipe_text(RecipeFile& file, const std::string& path, const std::string& text,
                            const std::string& origin) {
  detail::set_key(file, path, YAML::Node(text), origin);
}

}  // namespace qat::inline v0::recipe
