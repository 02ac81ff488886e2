// Sentences with holes: "$name lives in $town.region" is filled from an entity and what it links to.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace qat_llm {

/// A person, a town or what one document speaks of. `facts` are words; `links` lead to other entities.
struct Entity {
  std::map<std::string, std::string, std::less<>> facts;
  std::map<std::string, const Entity*, std::less<>> links;
};

/// The value of a path such as "friend.town.river"; a path that ends at an entity gives its name.
inline std::string look_up(const Entity& scope, std::string_view path) {
  const std::size_t dot = path.find('.');
  if (const auto link = scope.links.find(path.substr(0, dot)); link != scope.links.end())
    return look_up(*link->second, dot == path.npos ? "name" : path.substr(dot + 1));
  return scope.facts.find(path)->second;
}

/// Replaces each $path in the template.
inline std::string expand(std::string_view form, const Entity& scope) {
  const auto in_path = [&](std::size_t i) {
    const auto letter = [&](std::size_t k) {
      return k < form.size() &&
             ((form[k] >= 'a' && form[k] <= 'z') || (form[k] >= 'A' && form[k] <= 'Z') || form[k] == '_');
    };
    return letter(i) || (i < form.size() && form[i] == '.' && letter(i + 1));
  };
  std::string out;
  for (std::size_t i = 0; i < form.size();) {
    if (form[i] != '$') {
      out += form[i++];
      continue;
    }
    std::size_t end = i + 1;
    while (in_path(end)) ++end;
    out += look_up(scope, form.substr(i + 1, end - i - 1));
    i = end;
  }
  return out;
}

}  // namespace qat_llm
