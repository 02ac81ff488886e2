// A histogram of each tile, and the two range rules that need one: percentile clipping and least squared error.
#pragma once

#include "qat/quantizer/observer.hpp"

namespace qat::inline v0 {

/// Counts of elements in equal bins that cover [-width, width); the width doubles when a larger element arrives,
/// merging bins in pairs, so counts are exact and do not depend on how the data was cut into batches (once the width is
/// the same).
class HistogramObserver {
 public:
  static constexpr int kBins = 2048;

  explicit HistogramObserver(const Granularity& granularity) : granularity_(granularity) {}

  void observe(const float* x, index_t rows, index_t columns) {
    const GroupLayout layout = group_layout(granularity_, rows, columns);
    detail::require_tiles(tiles_, layout.count(), "HistogramObserver");
    if (counts_.empty() && layout.count() > 0) counts_ = Tensor<index_t>({layout.count(), kBins});
    detail::for_each_tile_row(layout, [&](index_t tile, index_t first, index_t count) {
      for (index_t i = 0; i < count; ++i) add(tile, x[first + i]);
    });
  }
  index_t tile_count() const { return tiles_.size(); }
  /// The extremes seen: the same as MinMaxObserver's.
  GroupRange range(index_t tile) const { return tiles_[tile].range; }

  /// Range that leaves out the share (1 - percentile)/2 of the elements on either side, to the resolution of a bin.
  GroupRange percentile_range(index_t tile, double percentile) const {
    const Tile& t = tiles_[tile];
    const double tail = (1.0 - percentile) * 0.5 * static_cast<double>(t.range.count);
    GroupRange r = t.range;
    double below = 0.0;
    int low = 0, high = kBins - 1;
    while (low < high && below + static_cast<double>(count(tile, low)) <= tail)
      below += static_cast<double>(count(tile, low++));
    double above = 0.0;
    while (high > low && above + static_cast<double>(count(tile, high)) <= tail)
      above += static_cast<double>(count(tile, high--));
    return clip(r, edge(t, low), edge(t, high + 1));
  }

  /// Range scaled by the factor in {1, 0.99, ..., 0.2} whose quantization error, summed over bin centres, is least.
  GroupRange least_squares_range(index_t tile, const QuantSpec& spec) const {
    const Tile& t = tiles_[tile];
    const AffineScheme scheme(spec, FloatType::kFloat32);
    GroupRange best = t.range;
    double best_error = -1.0;
    for (int percent = 100; percent >= 20; --percent) {
      const float factor = static_cast<float>(percent) * 0.01f;
      const GroupRange candidate = clip(t.range, t.range.min * factor, t.range.max * factor);
      const QParams p = choose_qparams(candidate, scheme);
      double error = 0.0;
      for (int bin = 0; bin < kBins; ++bin) {
        if (count(tile, bin) == 0) continue;
        const float centre = 0.5f * (edge(t, bin) + edge(t, bin + 1));
        const double difference = static_cast<double>(centre) - static_cast<double>(fake_quantize(centre, p, scheme));
        error += static_cast<double>(count(tile, bin)) * difference * difference;
      }
      if (best_error < 0.0 || error < best_error) {
        best_error = error;
        best = candidate;
      }
    }
    return best;
  }
  void reset() {
    tiles_ = {};
    counts_ = {};
  }

 private:
  struct Tile {
    GroupRange range;
    float width = 0.0f;  ///< bins cover [-width, width); 0 until a nonzero element is seen
  };

  void add(index_t tile, float x) {
    Tile& t = tiles_[tile];
    t.range.observe(x);
    if (is_nonfinite(x)) return;
    const float magnitude = x < 0.0f ? -x : x;
    if (t.width == 0.0f) {
      if (magnitude == 0.0f) {
        ++counts_[tile * kBins + kBins / 2];
        return;
      }
      t.width = smallest_width(magnitude);
    }
    while (magnitude >= t.width && t.width < 0x1p127f) widen(tile);
    const float position = (x / t.width + 1.0f) * (0.5f * kBins);
    const int bin = position < 0.0f                         ? 0
                    : position >= static_cast<float>(kBins) ? kBins - 1
                                                            : static_cast<int>(position);
    ++counts_[tile * kBins + bin];
  }
  /// The smallest power of two above |x|, at least 2^-100.
  static float smallest_width(float magnitude) {
    float width = 0x1p-100f;
    while (width <= magnitude && width < 0x1p127f) width *= 2.0f;
    return width;
  }
  void widen(index_t tile) {
    Tile& t = tiles_[tile];
    index_t* bins = counts_.data() + tile * kBins;
    index_t merged[kBins / 2];
    for (int i = 0; i < kBins / 2; ++i) merged[i] = bins[2 * i] + bins[2 * i + 1];
    for (int i = 0; i < kBins; ++i) bins[i] = i >= kBins / 4 && i < 3 * kBins / 4 ? merged[i - kBins / 4] : 0;
    t.width *= 2.0f;
  }
  index_t count(index_t tile, int bin) const { return counts_[tile * kBins + bin]; }
  static float edge(const Tile& t, int bin) { return (static_cast<float>(bin) / (0.5f * kBins) - 1.0f) * t.width; }
  static GroupRange clip(GroupRange r, float low, float high) {
    r.min = detail::maximum(r.min, low);
    r.max = r.max < high ? r.max : high;
    r.extremum = -r.min > r.max || (-r.min == r.max && r.extremum < 0.0f) ? r.min : r.max;
    return r;
  }

  Granularity granularity_;
  Tensor<Tile> tiles_;      // (tiles)
  Tensor<index_t> counts_;  // (tiles, kBins)
};

/// Clips the tails: keeps the central `percentile` of the elements (0.999 leaves out 0.05 % on either side).
class PercentileObserver {
 public:
  explicit PercentileObserver(const Granularity& granularity, double percentile = 0.999)
      : histogram_(granularity), percentile_(percentile) {
    QAT_CHECK(percentile > 0.0 && percentile <= 1.0, kInvalidArgument, "PercentileObserver: percentile is ", percentile,
              ", must be in (0, 1]");
  }
  void observe(const float* x, index_t rows, index_t columns) { histogram_.observe(x, rows, columns); }
  index_t tile_count() const { return histogram_.tile_count(); }
  GroupRange range(index_t tile) const { return histogram_.percentile_range(tile, percentile_); }
  void reset() { histogram_.reset(); }

 private:
  HistogramObserver histogram_;
  double percentile_;
};

/// The clipping factor with the least squared quantization error under `spec`.
class MseObserver {
 public:
  explicit MseObserver(const QuantSpec& spec) : histogram_(spec.granularity), spec_(spec) {}
  void observe(const float* x, index_t rows, index_t columns) { histogram_.observe(x, rows, columns); }
  index_t tile_count() const { return histogram_.tile_count(); }
  GroupRange range(index_t tile) const { return histogram_.least_squares_range(tile, spec_); }
  void reset() { histogram_.reset(); }

 private:
  HistogramObserver histogram_;
  QuantSpec spec_;
};

}  // namespace qat::inline v0
