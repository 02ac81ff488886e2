// Orders drawn by the counter generator.
#include "qat/data/permutation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("a permutation holds every index once, repeats for its seed and differs for another") {
  for (const index_t count : {0, 1, 2, 3, 17, 1000}) {
    const std::vector<index_t> order = permutation(count, 5, 1);
    std::vector<index_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    for (index_t i = 0; i < count; ++i) CHECK(sorted[static_cast<std::size_t>(i)] == i);
    CHECK(order == permutation(count, 5, 1));
  }
  CHECK(permutation(100, 5, 1) != permutation(100, 6, 1));
  CHECK(permutation(100, 5, 1) != permutation(100, 5, 2));
  QAT_CHECK_ERROR(permutation(-1, 0, 0), "count is -1", "accepted");
}

TEST_CASE("every order of three is about as likely") {
  index_t counts[27] = {};
  for (std::uint64_t seed = 0; seed < 6000; ++seed) {
    const std::vector<index_t> p = permutation(3, seed, 0);
    ++counts[p[0] * 9 + p[1] * 3 + p[2]];
  }
  index_t orders = 0;
  for (const index_t n : counts) {
    orders += n > 0;
    CHECK((n == 0 || (n > 850 && n < 1150)));  // 1000 expected, deviation 29
  }
  CHECK(orders == 6);
}

TEST_CASE("the held-out part is the nearest count, never all or nothing") {
  const auto count = [](const std::vector<bool>& out) { return std::count(out.begin(), out.end(), true); };
  CHECK(count(held_out(100, 0.1, 3, "f")) == 10);
  CHECK(count(held_out(7, 0.5, 3, "f")) == 4);
  CHECK(count(held_out(3, 0.01, 3, "f")) == 1);
  CHECK(count(held_out(3, 0.99, 3, "f")) == 2);
  CHECK(held_out(100, 0.1, 3, "f") == held_out(100, 0.1, 3, "f"));
  CHECK(held_out(100, 0.1, 3, "f") != held_out(100, 0.1, 4, "f"));
  QAT_CHECK_ERROR(held_out(1, 0.5, 0, "some.txt"), "some.txt", "has 1 documents", "two");
  QAT_CHECK_ERROR(held_out(5, 0.0, 0, "some.txt"), "some.txt", "is 0", "accepted");
}
