// Operands and destinations that count how often each element is read and written.
#pragma once

#include <atomic>
#include <vector>

#include "qat/expr/assign.hpp"

namespace qat::test {

/// A matrix whose loads are counted per element.
class CountedMatrix {
 public:
  CountedMatrix(index_t rows, index_t columns)
      : rows_(rows), columns_(columns), values_(static_cast<std::size_t>(rows * columns)), counts_(values_.size()) {}
  float& at(index_t i) { return values_[static_cast<std::size_t>(i)]; }
  float value(index_t i) const { return values_[static_cast<std::size_t>(i)]; }

  /// An expression over the elements; the matrix must outlive it.
  auto counted() const {
    const float* values = values_.data();
    std::atomic<int>* counts = counts_.data();
    const index_t columns = columns_;
    return generate(
        [=](index_t i, index_t j) {
          counts[i * columns + j].fetch_add(1, std::memory_order_relaxed);
          return values[i * columns + j];
        },
        rows_, columns_);
  }
  bool each_loaded(int times) const {
    for (const auto& count : counts_)
      if (count.load() != times) return false;
    return !counts_.empty();
  }

 private:
  index_t rows_, columns_;
  std::vector<float> values_;
  mutable std::vector<std::atomic<int>> counts_;
};

/// A contiguous matrix destination whose stores are counted per element.
struct CountedDestination {
  using value_type = float;
  static constexpr int kRank = 2;
  struct Out {
    float* data;
    std::atomic<int>* counts;
    Out advanced(index_t n) const { return {data + n, counts + n}; }
    void store(index_t j, float value) const {
      counts[j].fetch_add(1, std::memory_order_relaxed);
      data[j] = value;
    }
  };
  float* data;
  std::atomic<int>* counts;
  index_t shape[2];

  index_t dim(int d) const { return shape[d]; }
  bool unit() const { return true; }
  bool contiguous() const { return true; }
  void flatten() {}
  index_t granule() const { return 1; }
  template <bool Unit>
  Out bind(const expr::Position& at) const {
    const index_t first = at.row[0] * shape[1] + at.column;
    return {data + first, counts + first};
  }
};
static_assert(Destination<CountedDestination>);

}  // namespace qat::test
