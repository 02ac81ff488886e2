// Line plots as inline SVG. They fill the width they get, and their text keeps its size: only lines are stretched.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "html_text.hpp"

namespace qat_llm {

struct PlotPoint {
  double x, y;  ///< a y that is not finite interrupts the line
};

struct PlotSeries {
  std::string label;  ///< written at its right end
  std::string style;  ///< CSS class of its colour
  std::vector<PlotPoint> points;
  bool has_dots = false;
};

/// A vertical line with a note.
struct PlotMarker {
  double x;
  std::string text;
};

struct Plot {
  std::string title, description;  ///< for readers who do not see it
  double first = 0.0, last = 1.0;  ///< of x
  int height = 280;                ///< pixels
  bool has_zero = false;           ///< y begins at 0
  bool has_labels = true;
  std::vector<PlotSeries> series;
  std::vector<PlotMarker> markers;
};

/// Least, mean and largest of neighbouring points.
struct ThinnedSeries {
  std::vector<PlotPoint> mean, least, largest;
};

/// At most `count` points, each the mean of as many neighbours; all of them where they are few. What is not finite
/// stands alone.
inline ThinnedSeries thinned(const std::vector<PlotPoint>& points, std::size_t count) {
  ThinnedSeries out;
  const std::size_t each = (points.size() + count - 1) / count;
  if (each <= 1) return {points, {}, {}};
  for (std::size_t i = 0; i < points.size();) {
    PlotPoint mean{0.0, 0.0}, least = points[i], largest = points[i];
    std::size_t n = 0;
    for (; n < each && i + n < points.size() && (std::isfinite)(points[i + n].y); ++n) {
      mean.x += points[i + n].x;
      mean.y += points[i + n].y;
      least.y = std::min(least.y, points[i + n].y);
      largest.y = std::max(largest.y, points[i + n].y);
    }
    if (n == 0) {
      out.mean.push_back(points[i]);
      ++i;
      continue;
    }
    mean = {mean.x / static_cast<double>(n), mean.y / static_cast<double>(n)};
    least.x = largest.x = mean.x;
    out.mean.push_back(mean);
    out.least.push_back(least);
    out.largest.push_back(largest);
    i += n;
  }
  return out;
}

/// Round numbers from least to largest, about `count` of them; step receives their distance.
inline std::vector<double> round_ticks(double least, double largest, int count, double& step) {
  const double raw = (largest - least) / std::max(1, count);
  step = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0})
    if (step * factor >= raw * 0.999) {
      step *= factor;
      break;
    }
  std::vector<double> ticks;
  for (double k = std::ceil(least / step - 1e-9); k * step <= largest + 1e-9 * step; k += 1.0)
    ticks.push_back(k * step);
  return ticks;
}

/// A number at the precision of its axis.
inline std::string tick_text(double value, double step) {
  if (std::abs(value) < 1e-9 * step) return "0";
  if (step < 1e-4 || step >= 1e7) return number_text("%.1e", value);
  if (step >= 1.0) return count_text(value);
  return fixed(value, std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9))));
}

/// Places for labels: as wished, but at least `distance` apart and inside [0, height].
inline std::vector<double> spread_labels(const std::vector<double>& wished, double distance, double height) {
  std::vector<std::size_t> order(wished.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return wished[a] < wished[b]; });
  std::vector<double> places = wished;
  double least = distance / 2;
  for (const std::size_t i : order) {
    places[i] = std::max(places[i], least);
    least = places[i] + distance;
  }
  double most = height;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    places[*i] = std::min(places[*i], most);
    most = places[*i] - distance;
  }
  return places;
}

/// Draws plots of one page; ids are unique within it.
class PlotWriter {
 public:
  std::string operator()(const Plot& plot) {
    const Frame frame = frame_of(plot);
    const std::string id = "plot" + std::to_string(++count_);
    std::string out = "<svg class=\"plot" + std::string(plot.has_labels ? "" : " plain") +
                      "\" role=\"img\" aria-labelledby=\"" + id + "t " + id + "d\" width=\"100%\" height=\"" +
                      std::to_string(plot.height + 24) + "\"><title id=\"" + id + "t\">" + html(plot.title) +
                      "</title><desc id=\"" + id + "d\">" + html(plot.description) + "</desc>";
    out += axes(plot, frame);
    std::string notes;
    int row = 0;
    for (const PlotMarker& marker : plot.markers) {
      const bool is_late = frame.across(marker.x) > 55.0;
      const std::string x = percent(frame.across(marker.x));
      out += "<line class=\"marker\" x1=\"" + x + "\" x2=\"" + x + "\" y1=\"0\" y2=\"" + std::to_string(plot.height) +
             "\"/>";
      if (marker.text.empty()) continue;
      notes += "<text class=\"note\" x=\"" + x + "\" dx=\"" + (is_late ? "-5" : "5") + "\" y=\"" +
               std::to_string(12 + 16 * row++) + "\"" + (is_late ? " text-anchor=\"end\"" : "") + ">" +
               html(marker.text) + "</text>";
    }
    out += "<svg x=\"0\" y=\"0\" width=\"100%\" height=\"" + std::to_string(plot.height) + "\" viewBox=\"0 0 10000 " +
           std::to_string(plot.height * 10) + "\" preserveAspectRatio=\"none\">";
    for (std::size_t i = 0; i < plot.series.size(); ++i) out += lines(plot.series[i], frame.drawn[i], frame);
    out += "</svg>" + notes;
    if (plot.has_labels) out += labels(plot, frame);
    return out + "</svg>";
  }

 private:
  // Of a line: more than a phone has pixels; less where many share a plot, for the size of the page.
  static std::size_t most_points(const Plot& plot) {
    return plot.series.size() <= 3 ? 300 : std::max<std::size_t>(60, 900 / plot.series.size());
  }

  struct Frame {
    double first, last, least, largest, height;
    std::vector<ThinnedSeries> drawn;
    double across(double x) const { return last > first ? 100.0 * (x - first) / (last - first) : 50.0; }
    double down(double y) const { return height * (largest - y) / (largest - least); }
  };

  static Frame frame_of(const Plot& plot) {
    Frame frame{plot.first,
                plot.last,
                std::numeric_limits<double>::infinity(),
                -std::numeric_limits<double>::infinity(),
                static_cast<double>(plot.height),
                {}};
    for (const PlotSeries& series : plot.series) {
      frame.drawn.push_back(thinned(series.points, most_points(plot)));
      for (const PlotPoint& p : frame.drawn.back().mean)
        if ((std::isfinite)(p.y)) {
          frame.least = std::min(frame.least, p.y);
          frame.largest = std::max(frame.largest, p.y);
        }
    }
    if (frame.least > frame.largest) frame.least = 0.0, frame.largest = 1.0;
    if (plot.has_zero) frame.least = std::min(frame.least, 0.0);
    double span = frame.largest - frame.least;
    if (span <= 0.0) span = frame.largest != 0.0 ? std::abs(frame.largest) : 1.0;
    frame.largest += 0.06 * span;
    if (!plot.has_zero) frame.least -= 0.06 * span;
    return frame;
  }

  static std::string percent(double value) { return pixels(value) + "%"; }
  static std::string pixels(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", value);
    return text;
  }

  static std::string axes(const Plot& plot, const Frame& frame) {
    std::string out;
    double step = 1.0;
    for (const double y : round_ticks(frame.least, frame.largest, std::max(3, plot.height / 55), step)) {
      const std::string place = pixels(frame.down(y));
      out += "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"" + place + "\" y2=\"" + place +
             "\"/><text class=\"tick\" x=\"0\" dx=\"-7\" dy=\"4\" y=\"" + place + "\" text-anchor=\"end\">" +
             tick_text(y, step) + "</text>";
    }
    const int count = plot.has_labels ? 5 : 3;
    for (const double x : round_ticks(plot.first, plot.last, count, step))
      if (step >= 1.0)
        out += "<text class=\"tick\" x=\"" + percent(frame.across(x)) + "\" y=\"" + std::to_string(plot.height + 18) +
               "\" text-anchor=\"middle\">" + count_text(x) + "</text>";
    return out;
  }

  static std::string path_of(const std::vector<PlotPoint>& points, const Frame& frame, bool dots) {
    std::string out;
    bool is_on = false;
    for (const PlotPoint& p : points) {
      if (!(std::isfinite)(p.y)) {
        is_on = false;
        continue;
      }
      out += is_on && !dots ? 'L' : 'M';
      out += std::to_string(std::lround(frame.across(p.x) * 100.0)) + " " +
             std::to_string(std::lround(std::clamp(frame.down(p.y), 0.0, frame.height) * 10.0));
      if (dots) out += "h0";
      is_on = true;
    }
    return out;
  }

  static std::string lines(const PlotSeries& series, const ThinnedSeries& drawn, const Frame& frame) {
    std::string out;
    if (!drawn.least.empty()) {
      std::vector<PlotPoint> around = drawn.largest;
      around.insert(around.end(), drawn.least.rbegin(), drawn.least.rend());
      out += "<path class=\"band " + series.style + "\" d=\"" + path_of(around, frame, false) + "Z\"/>";
    }
    out += "<path class=\"line " + series.style + "\" d=\"" + path_of(drawn.mean, frame, false) + "\"/>";
    if (series.has_dots || drawn.mean.size() == 1)
      out += "<path class=\"dots " + series.style + "\" d=\"" + path_of(drawn.mean, frame, true) + "\"/>";
    return out;
  }

  static std::string labels(const Plot& plot, const Frame& frame) {
    std::vector<double> wished, across;
    std::vector<std::size_t> which;
    for (std::size_t i = 0; i < plot.series.size(); ++i) {
      if (plot.series[i].label.empty()) continue;
      for (auto p = frame.drawn[i].mean.rbegin(); p != frame.drawn[i].mean.rend(); ++p)
        if ((std::isfinite)(p->y)) {
          wished.push_back(frame.down(p->y));
          across.push_back(frame.across(p->x));
          which.push_back(i);
          break;
        }
    }
    const std::vector<double> places = spread_labels(wished, 16.0, frame.height);
    std::string out;
    for (std::size_t k = 0; k < which.size(); ++k)
      out += "<text class=\"label " + plot.series[which[k]].style + "\" x=\"" + percent(across[k]) +
             "\" dx=\"8\" dy=\"4\" y=\"" + pixels(places[k]) + "\">" + html(plot.series[which[k]].label) + "</text>";
    return out;
  }

  int count_ = 0;
};

/// Counts as bars, or as the outline of bars, in a box of `width` x `height` units; the largest fills it.
inline std::string histogram_path(const std::vector<double>& counts, double largest, int width, int height,
                                  bool outline) {
  if (counts.empty() || largest <= 0.0) return "";
  const double each = static_cast<double>(width) / static_cast<double>(counts.size());
  std::string out = outline ? "M0 " + std::to_string(height) : "";
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const long left = std::lround(each * static_cast<double>(i)),
               right = std::lround(each * static_cast<double>(i + 1));
    const long top = std::lround(height * (1.0 - counts[i] / largest));
    if (outline) {
      out += "V" + std::to_string(top) + "H" + std::to_string(right);
    } else if (top < height) {
      out += "M" + std::to_string(left) + " " + std::to_string(height) + "V" + std::to_string(top) + "H" +
             std::to_string(std::max(left + 1, right - (each > 3.0 ? 1 : 0))) + "V" + std::to_string(height) + "Z";
    }
  }
  return outline ? out + "V" + std::to_string(height) : out;
}

}  // namespace qat_llm
