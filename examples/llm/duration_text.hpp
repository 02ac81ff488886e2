// Time as a person reads it.
#pragma once

#include <cstdio>
#include <string>

namespace qat_llm {

/// 59 s: "0:59"; an hour and a second: "1:00:01".
inline std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  char text[40];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  }
  return text;
}

}  // namespace qat_llm
