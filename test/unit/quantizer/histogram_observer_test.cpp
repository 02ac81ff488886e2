// HistogramObserver and the range rules built on it.
#include "qat/quantizer/histogram_observer.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/random_values.hpp"

namespace {

using namespace qat;

using test::normal_values;
constexpr Granularity kWhole{GranularityKind::kPerTensor};

}  // namespace

TEST_CASE("a histogram does not depend on how the data was cut, also when its width had to grow") {
  std::vector<float> x = normal_values(5000, 2);
  x[4000] = 50.0f;
  HistogramObserver whole(kWhole), parts(kWhole);
  whole.observe(x.data(), 1, 5000);
  std::vector<float> late(x.rbegin(), x.rend());  // the large element comes early here, late there
  for (index_t i = 0; i < 5000; i += 500) parts.observe(late.data() + i, 1, 500);
  for (const double percentile : {0.5, 0.9, 0.99, 0.999, 1.0}) {
    CHECK(whole.percentile_range(0, percentile).min == parts.percentile_range(0, percentile).min);
    CHECK(whole.percentile_range(0, percentile).max == parts.percentile_range(0, percentile).max);
  }
}

TEST_CASE("a percentile range brackets the true quantiles within a bin, and percentile 1 is the full range") {
  const std::vector<float> x = normal_values(20000, 3);
  PercentileObserver observer(kWhole, 0.98), all(kWhole, 1.0);
  observer.observe(x.data(), 1, 20000);
  all.observe(x.data(), 1, 20000);
  index_t inside = 0;
  const GroupRange r = observer.range(0);
  for (const float v : x) inside += v >= r.min && v <= r.max;
  CHECK(inside >= 20000 * 98 / 100);
  CHECK(inside <= 20000 * 985 / 1000);
  GroupRange expected;
  for (const float v : x) expected.observe(v);
  CHECK(all.range(0).min == expected.min);
  CHECK(all.range(0).max == expected.max);
  CHECK_THROWS_AS(PercentileObserver(kWhole, 1.5), Error);
}

TEST_CASE("the least-squares range never has a larger error than the full range, and clips an outlier") {
  std::vector<float> x = normal_values(4096, 4);
  x[17] = 40.0f;
  constexpr QuantSpec spec{4, true, kWhole, MappingKind::kSymmetric};
  const AffineScheme scheme(spec, FloatType::kFloat32);
  MseObserver mse(spec);
  MinMaxObserver min_max(kWhole);
  mse.observe(x.data(), 1, 4096);
  min_max.observe(x.data(), 1, 4096);
  const auto error = [&](const GroupRange& range) {
    const QParams p = choose_qparams(range, scheme);
    double sum = 0.0;
    for (const float v : x) {
      const double d = static_cast<double>(v) - static_cast<double>(fake_quantize(v, p, scheme));
      sum += d * d;
    }
    return sum;
  };
  CHECK(mse.range(0).max < 40.0f);
  CHECK(error(mse.range(0)) < 0.9 * error(min_max.range(0)));
}
