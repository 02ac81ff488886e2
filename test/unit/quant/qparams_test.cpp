// Ranges: what counts, which extremum wins, and that merging pieces equals observing the whole.
#include "qat/quant/qparams.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>
#include <vector>

#include "qat/base/random.hpp"

using namespace qat;

namespace {
const float kInfinity = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
GroupRange range_of(const std::vector<float>& x) {
  GroupRange r;
  for (const float v : x) r.observe(v);
  return r;
}
bool same(const GroupRange& a, const GroupRange& b) {
  return a.min == b.min && a.max == b.max && a.extremum == b.extremum && a.count == b.count &&
         a.nonfinite == b.nonfinite;
}
}  // namespace

TEST_CASE("is_nan and is_nonfinite tell by bits") {
  CHECK(is_nan(kNaN));
  CHECK(is_nan(-kNaN));
  CHECK_FALSE(is_nan(kInfinity));
  CHECK(is_nonfinite(kInfinity));
  CHECK(is_nonfinite(-kInfinity));
  CHECK(is_nonfinite(kNaN));
  CHECK_FALSE(is_nonfinite(3.4e38f));
  CHECK_FALSE(is_nonfinite(-0.0f));
}

TEST_CASE("a range is that of the finite elements; the first of equal magnitudes is the extremum") {
  CHECK(same(range_of({}), GroupRange{}));
  CHECK(same(range_of({kNaN, kInfinity, -kInfinity}), GroupRange{0, 0, 0, 0, 3}));
  CHECK(same(range_of({2, 3}), GroupRange{2, 3, 3, 2, 0}));
  CHECK(same(range_of({-2, kNaN, 2}), GroupRange{-2, 2, -2, 2, 1}));
  CHECK(same(range_of({2, -2}), GroupRange{-2, 2, 2, 2, 0}));
}

TEST_CASE("merging consecutive pieces equals observing the whole, wherever it is cut") {
  const CounterRandom random(17);
  std::vector<float> x;
  for (std::uint64_t i = 0; i < 40; ++i)
    x.push_back(i % 7 == 3    ? kNaN
                : i % 11 == 5 ? -kInfinity
                              : static_cast<float>(static_cast<int>(random.at(i) % 21) - 10));
  for (std::size_t cut = 0; cut <= x.size(); ++cut) {
    const auto middle = x.begin() + static_cast<index_t>(cut);
    GroupRange left = range_of({x.begin(), middle});
    left.merge(range_of({middle, x.end()}));
    CHECK(same(left, range_of(x)));
  }
}
