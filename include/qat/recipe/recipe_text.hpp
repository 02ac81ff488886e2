// Recipes as text: YAML that parses back to the same values, and the reference page of the keys.
#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <type_traits>

#include "qat/recipe/recipe_keys.hpp"

namespace qat::inline v0::recipe {

namespace detail {

/// Shortest text that reads back as the same number.
inline std::string number_text(double value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

/// A YAML scalar: plain where no reader could take it for anything but this text, else in double quotes.
inline std::string yaml_text(std::string_view text) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
  };
  bool plain = !text.empty() && is_letter(text[0]);
  for (const char c : text)
    plain = plain && (is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' || c == '=' ||
                      c == ',' || c == '*' || c == '(' || c == ')');
  if (plain && text.back() == ':') plain = false;
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const char* word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}) plain = plain && lower != word;
  if (plain) return std::string(text);
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// The same inside [a, b].
inline std::string list_entry(std::string_view text) {
  const std::string written = yaml_text(text);
  return written[0] != '"' && text.find(',') != text.npos ? '"' + written + '"' : written;
}

inline const std::vector<RecipeKey<QuantizerRecipe>>& keys_of(const QuantizerRecipe*) { return quantizer_keys(); }
inline const std::vector<RecipeKey<LayerRecipe>>& keys_of(const LayerRecipe*) { return layer_keys(); }
inline const std::vector<RecipeKey<Recipe>>& keys_of(const Recipe*) { return recipe_keys(); }

/// Writes block style YAML: keys with values only, a section's line before its first one.
struct RecipeWriter {
  template <class T>
  static std::string section(T value, const std::string& indent) {
    std::string out, open;
    for (const RecipeKey<T>& key : keys_of(&value)) {
      const std::string_view path = key.path;
      const std::size_t dot = path.find('.');
      const std::string section(dot == path.npos ? std::string_view() : path.substr(0, dot));
      const std::string inner = section.empty() ? indent : indent + "  ";
      const RecipeField place = key.field(value);
      const std::string text = field(place, inner);
      // A class's flag that is off is not printed: most classes take none.
      const bool is_off =
          std::is_same_v<T, QuantizerRecipe> && std::holds_alternative<bool*>(place) && text == " false\n";
      if (text.empty() || is_off) continue;
      if (section != open) {
        if (!section.empty()) out += indent + section + ":\n";
        open = section;
      }
      out += inner + std::string(section.empty() ? path : path.substr(dot + 1)) + ":" + text;
    }
    return out;
  }

  /// A list of maps, one entry after the other.
  template <class T>
  static std::string list(const std::vector<T>& entries, const std::string& indent) {
    std::string out;
    for (const T& entry : entries) {
      std::string text = section(entry, indent + "  ");
      if (text.empty()) text = indent + "  {}\n";
      text[indent.size()] = '-';
      out += text;
    }
    return out;
  }

  /// What stands after "key:", with the line's end; "" where the value is unset or empty.
  static std::string field(const RecipeField& place, const std::string& indent) {
    return std::visit([&](auto* value) { return text_of(*value, indent); }, place);
  }

  template <class T>
  static std::string text_of(const T& value, const std::string& indent) {
    if constexpr (std::is_same_v<T, bool>) {
      return value ? " true\n" : " false\n";
    } else if constexpr (std::is_same_v<T, std::optional<bool>> || std::is_same_v<T, std::optional<index_t>>) {
      return value ? text_of(*value, indent) : "";
    } else if constexpr (std::is_same_v<T, double>) {
      return " " + number_text(value) + "\n";
    } else if constexpr (std::is_same_v<T, std::array<double, 2>>) {
      return " [" + number_text(value[0]) + ", " + number_text(value[1]) + "]\n";
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      std::string entries;
      for (const std::string& entry : value) entries += (entries.empty() ? " [" : ", ") + list_entry(entry);
      return entries.empty() ? "" : entries + "]\n";
    } else if constexpr (std::is_same_v<T, std::string>) {
      return value.empty() ? "" : " " + yaml_text(value) + "\n";
    } else if constexpr (std::is_enum_v<T>) {
      return std::string(" ") + kChoiceNames<T>[static_cast<std::size_t>(value)] + "\n";
    } else if constexpr (std::is_integral_v<T>) {
      return " " + std::to_string(value) + "\n";
    } else if constexpr (std::is_same_v<T, QuantizerRecipe>) {
      const std::string text = section(value, indent + "  ");
      return text.empty() ? "" : "\n" + text;
    } else if constexpr (std::is_same_v<T, InnerQuantizer>) {
      if (value.held.empty()) return "";
      const std::string text = section(value.held.front(), indent + "  ");
      return text.empty() ? " {}\n" : "\n" + text;
    } else {
      const std::string text = list(value, indent + "  ");
      return text.empty() ? "" : "\n" + text;
    }
  }
};

inline std::string type_text(const RecipeField& field) {
  return std::visit(
      [](auto* place) -> std::string {
        using T = std::remove_pointer_t<decltype(place)>;
        if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>) {
          return "true or false";
        } else if constexpr (std::is_same_v<T, double>) {
          return "number";
        } else if constexpr (std::is_same_v<T, std::array<double, 2>>) {
          return "two numbers";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return "text";
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          return "list of texts";
        } else if constexpr (std::is_enum_v<T>) {
          std::string names;
          for (const char* name : kChoiceNames<T>) names += (names.empty() ? "" : ", ") + std::string(name);
          return names;
        } else if constexpr (std::is_same_v<T, QuantizerRecipe> || std::is_same_v<T, InnerQuantizer>) {
          return "section";
        } else if constexpr (std::is_integral_v<T> || std::is_same_v<T, std::optional<index_t>>) {
          return "integer";
        } else {
          return "list of sections";
        }
      },
      field);
}

/// "integer >= 1", "number, 0 to 0.9", "lm, sft".
template <class T>
std::string accepted_text(const RecipeKey<T>& key, const RecipeField& field) {
  const std::string type = type_text(field);
  if (key.least > -1e300 && key.most < 1e300)
    return type + ", " + number_text(key.least) + " to " + number_text(key.most);
  return key.least > -1e300 ? type + " >= " + number_text(key.least) : type;
}

template <class T>
std::string key_rows(const std::vector<RecipeKey<T>>& keys, const std::string& prefix) {
  T value{};
  std::string out;
  for (const RecipeKey<T>& key : keys) {
    const RecipeField field = key.field(value);
    std::string standard = RecipeWriter::field(field, "");
    while (!standard.empty() && standard.back() == '\n') standard.pop_back();
    if (!standard.empty()) standard = "`" + standard.substr(1) + "`";
    std::string aliases;
    for (const char* c = key.aliases; *c != '\0'; ++c) aliases += *c == ' ' ? std::string("`, `") : std::string(1, *c);
    std::string doc;
    for (const char* c = key.doc; *c != '\0'; ++c) doc += *c == '|' ? std::string("\\|") : std::string(1, *c);
    out += "| `" + prefix + key.path + "` | " + accepted_text(key, field) + " | " + standard + " | " + doc +
           (aliases.empty() ? "" : "; also `" + aliases + "`") + " |\n";
  }
  return out;
}

}  // namespace detail

/// YAML that parse_recipe() reads back to the same values.
inline std::string to_yaml(const Recipe& recipe) { return detail::RecipeWriter::section(recipe, ""); }

/// docs/recipe.md, but for its title and what stands before the tables.
inline std::string recipe_reference() {
  const std::string head = "| key | accepted | default | what it is |\n| --- | --- | --- | --- |\n";
  return head + detail::key_rows(recipe_keys(), "") + "\n## qat.quantizer\n\n" + head +
         detail::key_rows(quantizer_keys(), "") + "\n## Entries of qat.layers\n\n" + head +
         detail::key_rows(layer_keys(), "");
}

}  // namespace qat::inline v0::recipe
