// Text and numbers as a page shows them.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include "qat/base/config.hpp"
#include "qat/data/unicode.hpp"

namespace qat_llm {

using qat::index_t;

/// Text for an HTML element or attribute: markup escaped; U+FFFD for bytes that are not UTF-8 and for control
/// characters but tabs and line ends.
inline std::string html(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const qat::CodePoint point = qat::decode_utf8(text, i);
    i += point.length;
    if (point.value == '&') {
      out += "&amp;";
    } else if (point.value == '<') {
      out += "&lt;";
    } else if (point.value == '>') {
      out += "&gt;";
    } else if (point.value == '"') {
      out += "&quot;";
    } else if (point.value == '\'') {
      out += "&#39;";
    } else {
      const bool is_control = (point.value < 0x20 && point.value != '\t' && point.value != '\n') ||
                              (point.value >= 0x7F && point.value < 0xA0);
      qat::append_utf8(out, is_control || point.value == 0xFFFFFFFFu ? 0xFFFDu : point.value);
    }
  }
  return out;
}

inline constexpr const char* kAbsent = "–";  ///< stands where there is no number

/// printf's text with a real minus sign; kAbsent for what is not finite.
inline std::string number_text(const char* format, double value) {
  if (!(std::isfinite)(value)) return kAbsent;
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  std::string out;
  for (const char* c = text; *c != '\0'; ++c) out += *c == '-' ? std::string("−") : std::string(1, *c);
  return out;
}
inline std::string fixed(double value, int digits) {
  const double unit = std::pow(10.0, -digits);
  char format[16];
  std::snprintf(format, sizeof format, "%%.%df", digits);
  return number_text(format, std::abs(value) < 0.5 * unit ? 0.0 : value);  // no "−0.00"
}
inline std::string signed_fixed(double value, int digits) {
  const std::string text = fixed(value, digits);
  return value > 0.0 && text != kAbsent ? "+" + text : text;
}
/// Three significant digits.
inline std::string short_number(double value) {
  const double size = std::abs(value);
  if (size >= 1000.0) return number_text("%.0f", value);
  return number_text(size >= 100.0 ? "%.0f" : "%.3g", value);
}
/// 91136: "91,136".
inline std::string count_text(double value) {
  std::string text = fixed(value, 0);
  if (text == kAbsent) return text;
  for (std::size_t end = text.size(); end > 3 && text[end - 4] >= '0' && text[end - 4] <= '9'; end -= 3)
    text.insert(end - 3, ",");
  return text;
}
inline std::string bytes_text(double bytes) {
  if (bytes < 1024.0) return count_text(bytes) + " B";
  const char* const kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  int unit = -1;
  do {
    bytes /= 1024.0;
    ++unit;
  } while (unit < 3 && bytes >= 10000.0);
  return (bytes < 1000.0 ? fixed(bytes, 1) : count_text(bytes)) + " " + kUnits[unit];
}

/// The last part of a path, without what says only its format: "dir/stories260K.bin" gives "stories260K".
inline std::string short_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::size_t slash = path.rfind('/');
  std::string name = slash == path.npos ? path : path.substr(slash + 1);
  if (name.size() > 4 && name.ends_with(".bin")) name.resize(name.size() - 4);
  return name;
}

}  // namespace qat_llm
