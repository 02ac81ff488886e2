// Packed views: the bit map of the documentation, for every width, sign and offset.
#include "qat/tensor/packed_view.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <vector>

namespace {

/// Element i read bit by bit from the documented map.
template <class T>
T by_the_map(const std::vector<std::uint8_t>& bytes, qat::index_t i) {
  std::uint32_t bits = 0;
  for (int b = 0; b < T::kBits; ++b) {
    const qat::index_t at = i * T::kBits + b;
    bits |= static_cast<std::uint32_t>(bytes[static_cast<std::size_t>(at / 8)] >> (at % 8) & 1) << b;
  }
  return T::from_bits(bits);
}

template <class T>
void check_width() {
  constexpr qat::index_t count = 61;
  // Exactly the bytes needed: a read or write beyond them is an error under AddressSanitizer.
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(qat::packed_bytes(count, T::kBits)), 0xA5);
  const auto v = qat::packed_view<T>(bytes.data(), count);
  std::vector<T> expected;
  for (qat::index_t i = 0; i < count; ++i) expected.push_back(T(static_cast<int>(i * 37 + 11)));
  for (qat::index_t i = count; i-- > 0;) v[i] = expected[static_cast<std::size_t>(i)];
  for (qat::index_t i = 0; i < count; ++i) {
    REQUIRE(v[i] == expected[static_cast<std::size_t>(i)]);
    REQUIRE(by_the_map<T>(bytes, i) == expected[static_cast<std::size_t>(i)]);
  }
  for (qat::index_t begin = 0; begin <= 9; ++begin) {  // sub-views from the middle of a byte; neighbours stay
    auto sub = v.slice(0, begin, 17);
    sub[0] = T(0);
    sub[16] = T(1);
    for (qat::index_t i = 0; i < count; ++i) {
      const T want = i == begin ? T(0) : i == begin + 16 ? T(1) : expected[static_cast<std::size_t>(i)];
      REQUIRE(v[i] == want);
    }
    v[begin] = expected[static_cast<std::size_t>(begin)];
    v[begin + 16] = expected[static_cast<std::size_t>(begin + 16)];
  }
  // Standard algorithms through the proxy.
  const auto less = [](T a, T b) { return a.value() < b.value(); };
  std::sort(v.begin(), v.end(), less);
  std::sort(expected.begin(), expected.end(), less);
  CHECK(std::equal(v.begin(), v.end(), expected.begin()));
  std::reverse(v.begin(), v.end());
  std::reverse(expected.begin(), expected.end());
  CHECK(std::equal(v.begin(), v.end(), expected.begin()));
  std::rotate(v.begin(), v.begin() + 7, v.end());
  std::rotate(expected.begin(), expected.begin() + 7, expected.end());
  CHECK(std::equal(v.begin(), v.end(), expected.begin()));
  std::fill(v.begin() + 1, v.end() - 1, T(1));
  CHECK(std::count_if(v.begin(), v.end(), [](T x) { return x == T(1); }) >= count - 2);
}

template <int... Bits>
void check_widths(std::integer_sequence<int, Bits...>) {
  (check_width<qat::Int<Bits + 1>>(), ...);
  (check_width<qat::UInt<Bits + 1>>(), ...);
}

using Iterator = qat::PackedIterator<qat::Int3>;
using ConstIterator = qat::PackedIterator<const qat::Int3>;
static_assert(std::random_access_iterator<Iterator> && std::random_access_iterator<ConstIterator>);
static_assert(std::indirectly_writable<Iterator, qat::Int3> && !std::indirectly_writable<ConstIterator, qat::Int3>);
static_assert(std::is_trivially_copyable_v<qat::PackedView<qat::Int3, 4>>);

}  // namespace

TEST_CASE("1 to 8 bits, signed and unsigned: element i is bits [i*b, (i+1)*b), and algorithms run on it") {
  check_widths(std::make_integer_sequence<int, 8>{});
}

TEST_CASE("references read, assign between elements and swap") {
  std::uint8_t bytes[3] = {};
  const auto v = qat::packed_view<qat::Int4>(bytes, 6);
  v[0] = qat::Int4(-3);
  v[1] = qat::Int4(5);
  swap(v[0], v[1]);
  CHECK(v[0].value() == 5);
  CHECK(v[1].value() == -3);
  v[2] = v[1];  // copies the code, not the reference
  v[1] = qat::Int4(0);
  CHECK(v[2] == qat::Int4(-3));
  auto r = v[2];
  r = v[0];
  CHECK(v[2].value() == 5);
  const qat::PackedView<const qat::Int4> c = v;
  CHECK(c[2].value() == 5);
  CHECK(bytes[0] == 0x05);
}

TEST_CASE("rows and slices of a matrix that starts inside a byte") {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(qat::packed_bytes(35, 3)));
  const auto all = qat::packed_view<qat::UInt3>(bytes.data(), 5, 7);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 7; ++j) all(i, j) = qat::UInt3(i + j);
  CHECK(all.row(3)[4].value() == 7);
  CHECK(all.slice(1, 2, 3)(4, 1).value() == 7);
  CHECK(all.is_contiguous());
  CHECK(!all.slice(1, 2, 3).is_contiguous());
  CHECK_THROWS_AS(all.slice(0, 4, 2), qat::Error);
  CHECK_THROWS_AS(all.row(5), qat::Error);
}
