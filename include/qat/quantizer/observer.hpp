// Observers: estimate the range of each tile (the elements that share a scale) over many batches, for static
// quantization.
#pragma once

#include "qat/quant/affine.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// observe(x, rows, columns) takes a row-major batch; range(tile) is the estimate so far; tiles are those of
/// group_layout(granularity, rows, columns) and their number must stay the same from batch to batch (so kPerToken does
/// not fit: it has no static range).
template <class T>
concept Observer = requires(T observer, const T& seen, const float* x, index_t n) {
  observer.observe(x, n, n);
  { seen.tile_count() } -> std::convertible_to<index_t>;
  { seen.range(n) } -> std::convertible_to<GroupRange>;
};

namespace detail {
/// Calls f(tile, first element, count, stride) for every row of every tile.
template <class F>
void for_each_tile_row(const GroupLayout& layout, F&& f) {
  for (index_t row = 0; row < layout.rows; ++row)
    for (index_t j = 0; j < layout.tiles_per_row; ++j) {
      const index_t begin = j * layout.tile_columns;
      const index_t end = begin + layout.tile_columns < layout.columns ? begin + layout.tile_columns : layout.columns;
      f((row / layout.tile_rows) * layout.tiles_per_row + j, row * layout.columns + begin, end - begin);
    }
}

/// Range of every tile of one batch.  // (layout.count())
inline Tensor<GroupRange> tile_ranges(const float* x, const GroupLayout& layout) {
  Tensor<GroupRange> ranges({layout.count()});
  ranges.fill(GroupRange{});
  for_each_tile_row(layout, [&](index_t tile, index_t first, index_t count) {
    for (index_t i = 0; i < count; ++i) ranges[tile].observe(x[first + i]);
  });
  return ranges;
}

/// Makes or checks the per-tile state of an observer.
template <class T>
void require_tiles(Tensor<T>& state, index_t count, const char* observer) {
  if (state.empty() && count > 0) {
    state = Tensor<T>::uninitialized({count});
    state.fill(T{});
  }
  QAT_CHECK(state.size() == count, kShapeMismatch, observer, ": this batch has ", count, " scales, earlier ones had ",
            state.size(), "; a static range needs a granularity whose number of scales does not change");
}
}  // namespace detail

/// Smallest and largest element ever seen.
class MinMaxObserver {
 public:
  explicit MinMaxObserver(const Granularity& granularity) : granularity_(granularity) {}
  void observe(const float* x, index_t rows, index_t columns) {
    const GroupLayout layout = group_layout(granularity_, rows, columns);
    const Tensor<GroupRange> batch = detail::tile_ranges(x, layout);  // (tiles)
    detail::require_tiles(ranges_, layout.count(), "MinMaxObserver");
    for (index_t i = 0; i < layout.count(); ++i) ranges_[i].merge(batch[i]);
  }
  index_t tile_count() const { return ranges_.size(); }
  GroupRange range(index_t tile) const { return ranges_[tile]; }
  void reset() { ranges_ = {}; }

 private:
  Granularity granularity_;
  Tensor<GroupRange> ranges_;  // (tiles)
};

/// Exponential moving average of the batches' extremes: r += rate * (batch - r); the first batch initializes.
/// Source: Jacob et al. 2018, section 3.1; PyTorch's MovingAverageMinMaxObserver (averaging_constant 0.01).
class MovingAverageMinMaxObserver {
 public:
  explicit MovingAverageMinMaxObserver(const Granularity& granularity, float rate = 0.01f)
      : granularity_(granularity), rate_(rate) {
    QAT_CHECK(rate > 0.0f && rate <= 1.0f, kInvalidArgument, "MovingAverageMinMaxObserver: rate is ", rate,
              ", must be in (0, 1]");
  }
  void observe(const float* x, index_t rows, index_t columns) {
    const GroupLayout layout = group_layout(granularity_, rows, columns);
    const Tensor<GroupRange> batch = detail::tile_ranges(x, layout);  // (tiles)
    detail::require_tiles(ranges_, layout.count(), "MovingAverageMinMaxObserver");
    for (index_t i = 0; i < layout.count(); ++i) {
      GroupRange& r = ranges_[i];
      if (batch[i].count == 0 || r.count == 0) {
        r.merge(batch[i]);
        continue;
      }
      r.min += rate_ * (batch[i].min - r.min);
      r.max += rate_ * (batch[i].max - r.max);
      r.extremum = -r.min > r.max ? r.min : r.max;
      r.count += batch[i].count;
      r.nonfinite += batch[i].nonfinite;
    }
  }
  index_t tile_count() const { return ranges_.size(); }
  GroupRange range(index_t tile) const { return ranges_[tile]; }
  void reset() { ranges_ = {}; }

 private:
  Granularity granularity_;
  float rate_;
  Tensor<GroupRange> ranges_;  // (tiles)
};

}  // namespace qat::inline v0
