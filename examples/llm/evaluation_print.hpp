// The evaluation table on a terminal: a line a figure, a column a model.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "qat/recipe/evaluation_table.hpp"

namespace qat_llm {

namespace detail {

inline std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
inline std::string bytes_text(double bytes) {
  return bytes < 1e7 ? formatted("%.1f KiB", bytes / 1024) : formatted("%.1f MiB", bytes / (1024 * 1024));
}
inline std::string score_text(const qat::recipe::MetricScore& m) {
  std::string text = formatted(m.value < 1e5 ? "%.4f" : "%.4g", m.value);
  if (m.standard_error) text += formatted(" +- %.4f", *m.standard_error);
  return text;
}

/// Cells, printed with every column as wide as its longest.
class TextTable {
 public:
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void print() const {
    std::vector<std::size_t> width;
    for (const auto& row : rows_) {
      width.resize(std::max(width.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
    }
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) line += row[i] + std::string(width[i] - row[i].size() + 2, ' ');
      line.erase(line.find_last_not_of(' ') + 1);
      std::printf("%s\n", line.c_str());
    }
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace detail

inline void print_evaluation(const qat::recipe::EvaluationTable& table) {
  using qat::recipe::EvaluatedModel;
  using qat::recipe::Figure;
  detail::TextTable text;
  const auto line = [&](const char* first, const std::string& second, auto&& cell) {
    std::vector<std::string> cells = {first, second};
    for (const EvaluatedModel& m : table.models) cells.push_back(cell(m));
    text.add(std::move(cells));
  };
  const auto figure = [](Figure f, const char* format) { return f ? detail::formatted(format, *f) : std::string("-"); };
  line("", "", [](const EvaluatedModel& m) { return m.name; });
  line("scheme", "", [](const EvaluatedModel& m) { return m.scheme; });
  for (const auto& dataset : table.datasets) {
    const auto* first = table.models.front().find(dataset.name);
    for (std::size_t i = 0; first != nullptr && i < first->metrics.size(); ++i) {
      const std::string& metric = first->metrics[i].metric;
      line(i == 0 ? dataset.name.c_str() : "", metric, [&](const EvaluatedModel& m) {
        const auto* scores = m.find(dataset.name);
        const auto* score = scores == nullptr ? nullptr : scores->find(metric);
        return score == nullptr ? std::string("-") : detail::score_text(*score);
      });
    }
  }
  line("weights", "on disk", [](const EvaluatedModel& m) { return detail::bytes_text(static_cast<double>(m.bytes)); });
  line("", "in memory", [](const EvaluatedModel& m) {
    return m.resident_bytes ? detail::bytes_text(*m.resident_bytes) : std::string("-");
  });
  line("tokens/s", "prefill", [&](const EvaluatedModel& m) { return figure(m.prefill_tokens_per_second, "%.0f"); });
  line("", "decode", [&](const EvaluatedModel& m) { return figure(m.decode_tokens_per_second, "%.0f"); });
  line("seconds", "scoring", [&](const EvaluatedModel& m) { return figure(m.seconds, "%.1f"); });
  std::printf("\n");
  text.print();
  if (!table.paired.empty()) {
    detail::TextTable paired;
    for (const auto& p : table.paired)
      paired.add({p.dataset, p.metric, p.model + " - " + p.baseline, detail::formatted("%+.4f", p.difference),
                  p.standard_error ? detail::formatted("+- %.4f", *p.standard_error) : "", ""});
    std::printf("\npaired differences\n");
    paired.print();
  }
  if (!table.degradation.empty()) {
    detail::TextTable cost;
    cost.add({"degradation", "", "PTQ", "", "QAT", "", "gap closed"});
    for (const auto& d : table.degradation) {
      const Figure closed = d.gap_closed();
      cost.add({d.dataset, d.metric, detail::formatted("%+.4f", d.ptq_minus_full()),
                detail::formatted("%+.2f %%", 100 * d.ptq_relative()), detail::formatted("%+.4f", d.qat_minus_full()),
                detail::formatted("%+.2f %%", 100 * d.qat_relative()),
                closed ? detail::formatted("%.1f %%", 100 * *closed) : "-"});
    }
    std::printf("\n");
    cost.print();
  }
}

}  // namespace qat_llm
