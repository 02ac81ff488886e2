// Observers: ranges over batches.
#include "qat/quantizer/observer.hpp"
#include "qat/quantizer/histogram_observer.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/random_values.hpp"

namespace {

using namespace qat;

using test::normal_values;
constexpr Granularity kOneRange{GranularityKind::kPerTensor};
constexpr Granularity kRowRanges{GranularityKind::kPerAxis, 0};

}  // namespace

TEST_CASE("MinMaxObserver holds the extremes of everything it has seen, per tile, whatever the batches") {
  const std::vector<float> x = normal_values(6 * 40, 1);
  MinMaxObserver whole(kRowRanges), parts(kRowRanges);
  whole.observe(x.data(), 2, 120);
  for (index_t part = 0; part < 3; ++part) {
    std::vector<float> batch;
    for (index_t row = 0; row < 2; ++row)
      batch.insert(batch.end(), x.begin() + row * 120 + part * 40, x.begin() + row * 120 + part * 40 + 40);
    parts.observe(batch.data(), 2, 40);
  }
  REQUIRE(whole.tile_count() == 2);
  for (index_t tile = 0; tile < 2; ++tile) {
    GroupRange expected;
    for (index_t i = 0; i < 120; ++i) expected.observe(x[static_cast<std::size_t>(tile * 120 + i)]);
    for (const MinMaxObserver* o : {&whole, &parts}) {
      CHECK(o->range(tile).min == expected.min);
      CHECK(o->range(tile).max == expected.max);
      CHECK(o->range(tile).extremum == expected.extremum);
      CHECK(o->range(tile).count == 120);
    }
  }
}

TEST_CASE("MovingAverageMinMaxObserver starts at the first batch and follows with its rate") {
  MovingAverageMinMaxObserver observer(kOneRange, 0.25f);
  const float first[] = {-1.0f, 2.0f}, second[] = {-3.0f, 4.0f};
  observer.observe(first, 1, 2);
  CHECK(observer.range(0).min == -1.0f);
  CHECK(observer.range(0).max == 2.0f);
  observer.observe(second, 1, 2);
  CHECK(observer.range(0).min == -1.5f);
  CHECK(observer.range(0).max == 2.5f);
  CHECK(observer.range(0).extremum == 2.5f);
  CHECK_THROWS_AS(MovingAverageMinMaxObserver(kOneRange, 0.0f), Error);
}

TEST_CASE("observers leave NaN and infinities out of the range and count them") {
  const float x[] = {1.0f, __builtin_nanf(""), -2.0f, __builtin_inff()};
  MinMaxObserver min_max(kOneRange);
  HistogramObserver histogram(kOneRange);
  min_max.observe(x, 1, 4);
  histogram.observe(x, 1, 4);
  for (const GroupRange& r : {min_max.range(0), histogram.range(0)}) {
    CHECK(r.min == -2.0f);
    CHECK(r.max == 1.0f);
    CHECK(r.nonfinite == 2);
  }
}

TEST_CASE("a batch with another number of scales is refused") {
  const float x[6] = {};
  MinMaxObserver observer(kRowRanges);
  observer.observe(x, 2, 3);
  CHECK_THROWS_AS(observer.observe(x, 3, 2), Error);
}
