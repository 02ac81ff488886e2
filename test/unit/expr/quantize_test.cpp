// Quantization in expressions: the bits of quant/affine.hpp in one pass without allocation.
#include "qat/expr/quantize.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cstdlib>
#include <new>
#include <string>

#include "counting.hpp"
#include "qat/base/random.hpp"
#include "support/compare.hpp"
#include "support/two_threads.hpp"

namespace {

std::atomic<long> news{0};

using qat::index_t;
using qat::test::two_threads;

const float kNan = std::bit_cast<float>(0x7FC00000u), kInfinity = std::bit_cast<float>(0x7F800000u);

/// Random numbers with every degenerate group of the definition among them.
std::vector<float> hard_values(index_t rows, index_t columns, std::uint64_t seed) {
  const qat::ScopedFloatMode mode;
  std::vector<float> x(static_cast<std::size_t>(rows * columns));
  qat::CounterRandom random(seed);
  for (float& v : x) v = (random.next_float() - 0.4f) * 3.0f;
  const auto at = [&](index_t i) -> float& { return x[static_cast<std::size_t>(i % (rows * columns))]; };
  for (index_t j = 0; j < 32; ++j) at(j) = 0.0f;
  for (index_t j = 32; j < 64; ++j) at(j) *= 1e-40f;
  for (index_t j = 64; j < 96; ++j) at(j) *= 1e30f;
  at(100) = kNan;
  at(101) = kInfinity;
  at(140) = -kInfinity;
  at(141) = -0.0f;
  at(200) = 7.0f;
  at(201) = -7.0f;
  for (index_t j = 256; j < 288; ++j) at(j) = kNan;
  return x;
}

struct Reference {
  std::vector<float> y, scale, zero_point;
  std::vector<int> code;
};

Reference reference(const std::vector<float>& x, index_t rows, index_t columns, const qat::QuantSpec& spec) {
  const qat::ScopedFloatMode mode;  // the host's may flush subnormals
  const qat::AffineScheme scheme(spec, qat::FloatType::kFloat32);
  const qat::GroupLayout layout = qat::group_layout(spec.granularity, rows, columns);
  Reference out;
  out.y.resize(x.size());
  out.code.resize(x.size());
  for (index_t ti = 0; ti < layout.tile_row_count; ++ti) {
    for (index_t tj = 0; tj < layout.tiles_per_row; ++tj) {
      const auto each = [&](auto f) {
        for (index_t i = ti * layout.tile_rows; i < rows && i < (ti + 1) * layout.tile_rows; ++i)
          for (index_t j = tj * layout.tile_columns; j < columns && j < (tj + 1) * layout.tile_columns; ++j)
            f(static_cast<std::size_t>(i * columns + j));
      };
      qat::GroupRange range;
      each([&](std::size_t e) { range.observe(x[e]); });
      const qat::QParams p = choose_qparams(range, scheme);
      out.scale.push_back(p.scale);
      out.zero_point.push_back(p.zero_point);
      each([&](std::size_t e) {
        out.code[e] = quantize(x[e], p, scheme);
        out.y[e] = fake_quantize(x[e], p, scheme);
      });
    }
  }
  return out;
}

const char* const kSpecs[] = {"int4:group32:symmetric",
                              "int4:group24:symmetric_no_clip",
                              "uint4:group32:asymmetric",
                              "int8:token:asymmetric",
                              "int2:axis0:symmetric",
                              "int4:group32:signed_extremum:bf16safe",
                              "int3:group7:asymmetric_raw",
                              "uint4:group32:float_zero_point",
                              "int4:group32:symmetric:bfloat16",
                              "int8:token:symmetric:float16",
                              "int5:group40:symmetric:toward_zero",
                              "uint8:group300:asymmetric:half_away_from_zero"};

}  // namespace

// Counts every allocation of this program; the tests look at differences.
QAT_NOINLINE void* operator new(std::size_t size) {
  news.fetch_add(1);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
QAT_NOINLINE void operator delete(void* p) noexcept { std::free(p); }
QAT_NOINLINE void operator delete(void* p, std::size_t) noexcept { std::free(p); }

TEST_CASE(
    "dynamic fake_quantize has the bits of the definition: every scheme, target and thread count, ragged groups") {
  const index_t rows = 5, columns = 333;
  const std::vector<float> x = hard_values(rows, columns, 1);
  for (const char* text : kSpecs) {
    CAPTURE(text);
    const qat::QuantSpec spec = qat::parse_spec(text);
    const Reference expected = reference(x, rows, columns, spec);
    for (const qat::Target target : qat::supported_targets()) {
      const qat::ScopedTarget forced(target);
      std::vector<float> y(x.size());
      assign(two_threads(), qat::view(y.data(), rows, columns),
             fake_quantize(qat::view(x.data(), rows, columns), spec));
      REQUIRE(qat::test::compare_bits(expected.y, y));
    }
  }
}

TEST_CASE("given parameters: fake_quantize, quantize and dequantize have the bits of the definition, any granularity") {
  const index_t rows = 6, columns = 200;
  const std::vector<float> x = hard_values(rows, columns, 2);
  std::vector<std::string> specs(std::begin(kSpecs), std::begin(kSpecs) + 11);
  for (const char* more :
       {"int4:tensor:symmetric", "int8:axis1:asymmetric", "int4:block2x50:symmetric", "uint3:block4x64:asymmetric"})
    specs.push_back(more);
  for (const std::string& text : specs) {
    CAPTURE(text);
    const qat::QuantSpec spec = qat::parse_spec(text.c_str());
    const Reference expected = reference(x, rows, columns, spec);
    const qat::GroupLayout layout = qat::group_layout(spec.granularity, rows, columns);
    const qat::GroupQParams params{qat::view(expected.scale.data(), layout.tile_row_count, layout.tiles_per_row),
                                   qat::view(expected.zero_point.data(), layout.tile_row_count, layout.tiles_per_row)};
    const auto vx = qat::view(x.data(), rows, columns);
    for (const qat::Target target : qat::supported_targets()) {
      const qat::ScopedTarget forced(target);
      std::vector<float> y(x.size()), back(x.size());
      std::vector<int> codes(x.size());
      std::vector<std::uint8_t> packed(x.size());
      assign(two_threads(), qat::view(y.data(), rows, columns), fake_quantize(vx, params, spec));
      REQUIRE(qat::test::compare_bits(expected.y, y));
      assign(two_threads(), qat::view(codes.data(), rows, columns), qat::quantize<int>(vx, params, spec));
      REQUIRE(codes == expected.code);
      const auto vback = qat::view(back.data(), rows, columns);
      assign(two_threads(), vback, dequantize(qat::view(codes.data(), rows, columns), params, spec));
      REQUIRE(qat::test::compare_bits(expected.y, back));
      if (spec.bits == 4 && spec.is_signed) {  // through packed memory
        const auto nibbles = qat::packed_view<qat::Int4>(packed.data(), rows, columns);
        assign(two_threads(), nibbles, qat::quantize<qat::Int4>(vx, params, spec));
        assign(two_threads(), vback, dequantize(nibbles, params, spec));
        REQUIRE(qat::test::compare_bits(expected.y, back));
      }
    }
  }
}

TEST_CASE("fake_quantize(a + b * c) reads each element once, writes each once and allocates nothing") {
  const index_t rows = 16, columns = 2048;
  qat::test::CountedMatrix a(rows, columns), b(rows, columns), c(rows, columns);
  qat::CounterRandom random(3);
  std::vector<float> inner(static_cast<std::size_t>(rows * columns)), y(inner.size());
  for (index_t i = 0; i < rows * columns; ++i) {
    a.at(i) = random.next_float() - 0.5f;
    b.at(i) = random.next_float() - 0.5f;
    c.at(i) = random.next_float() - 0.5f;
    volatile float product = b.value(i) * c.value(i);
    inner[static_cast<std::size_t>(i)] = a.value(i) + product;
  }
  std::vector<std::atomic<int>> stores(y.size());
  const qat::test::CountedDestination destination{y.data(), stores.data(), {rows, columns}};
  const qat::QuantSpec spec = qat::spec_of<qat::Int4, qat::PerGroup<32>, qat::Symmetric>;
  const Reference expected = reference(inner, rows, columns, spec);
  two_threads().parallel_for(4, [](index_t) {});  // the pool exists

  const long news_before = news.load();
  const index_t tensors_before = qat::memory_stats().allocations;
  assign(two_threads(), destination, fake_quantize(a.counted() + b.counted() * c.counted(), spec));
  CHECK(news.load() == news_before);
  CHECK(qat::memory_stats().allocations == tensors_before);

  CHECK(a.each_loaded(1));
  CHECK(b.each_loaded(1));
  CHECK(c.each_loaded(1));
  for (const auto& count : stores) REQUIRE(count.load() == 1);
  CHECK(qat::test::compare_bits(expected.y, y));
}

TEST_CASE("groups longer than the buffer are evaluated twice and have the same bits") {
  const index_t rows = 2, columns = 3 * qat::expr::kGroupBuffer + 5;
  const std::vector<float> x = hard_values(rows, columns, 4);
  const qat::QuantSpec spec = qat::parse_spec("int8:token:signed_extremum");
  const Reference expected = reference(x, rows, columns, spec);
  std::vector<float> y(x.size());
  assign(two_threads(), qat::view(y.data(), rows, columns), fake_quantize(qat::view(x.data(), rows, columns), spec));
  CHECK(qat::test::compare_bits(expected.y, y));
}

TEST_CASE("in place, strided, nested and combined with other groups") {
  const index_t rows = 12, columns = 96;
  const std::vector<float> x = hard_values(rows, columns, 5);
  const qat::QuantSpec by32 = qat::parse_spec("int4:group32:symmetric"),
                       by24 = qat::parse_spec("int8:group24:asymmetric");
  const Reference r32 = reference(x, rows, columns, by32), r24 = reference(x, rows, columns, by24);
  const Reference nested = reference(r24.y, rows, columns, by32);
  const auto vx = qat::view(x.data(), rows, columns);
  std::vector<float> y = x;
  const auto vy = qat::view(y.data(), rows, columns);
  assign(two_threads(), vy, fake_quantize(vy, by32));
  CHECK(qat::test::compare_bits(r32.y, y));
  assign(two_threads(), vy, fake_quantize(vx, by32) + fake_quantize(vx, by24));
  std::vector<float> sum(y.size());
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = r32.y[i] + r24.y[i];
  CHECK(qat::test::compare_bits(sum, y));
  assign(two_threads(), vy, fake_quantize(fake_quantize(vx, by24), by32));
  CHECK(qat::test::compare_bits(nested.y, y));
  // Transposed memory: groups run along the view's rows.
  std::vector<float> xt(x.size()), yt(x.size());
  assign(two_threads(), qat::view(xt.data(), columns, rows).transpose(), vx);
  assign(two_threads(), qat::view(yt.data(), columns, rows).transpose(),
         fake_quantize(qat::view(xt.data(), columns, rows).transpose(), by32));
  assign(two_threads(), vy, qat::view(yt.data(), columns, rows).transpose());
  CHECK(qat::test::compare_bits(r32.y, y));
  // Rank 3: leading dimensions are rows.
  assign(two_threads(), qat::view(y.data(), 3, 4, columns), fake_quantize(qat::view(x.data(), 3, 4, columns), by32));
  CHECK(qat::test::compare_bits(r32.y, y));
}

TEST_CASE("group_range is what observing one by one gives") {
  qat::CounterRandom random(6);
  for (int round = 0; round < 2000; ++round) {
    float x[40];
    const index_t n = 1 + random.next_below(40);
    for (index_t j = 0; j < n; ++j) {
      const std::uint32_t kind = random.next_below(12);
      x[j] = kind == 0   ? kNan
             : kind == 1 ? kInfinity
             : kind == 2 ? -0.0f
             : kind == 3 ? 2.0f
             : kind == 4 ? -2.0f
                         : random.next_float() * 4.0f - 2.0f;
    }
    qat::GroupRange expected;
    for (index_t j = 0; j < n; ++j) expected.observe(x[j]);
    const qat::GroupRange found = qat::expr::group_range(x, n);
    REQUIRE(found.min == expected.min);
    REQUIRE(found.max == expected.max);
    REQUIRE(found.extremum == expected.extremum);
    REQUIRE(found.count == expected.count);
    REQUIRE(found.nonfinite == expected.nonfinite);
  }
}

TEST_CASE("what an expression cannot do is refused with its reason") {
  std::vector<float> x(64);
  const auto v = qat::view(x.data(), 2, 32);
  CHECK_THROWS_AS(fake_quantize(v, qat::parse_spec("int4:tensor:symmetric")), qat::Error);
  CHECK_THROWS_AS(fake_quantize(v, qat::parse_spec("int4:axis1:symmetric")), qat::Error);
  CHECK_THROWS_AS(fake_quantize(v, qat::parse_spec("int4:group8:symmetric:stochastic")), qat::Error);
  CHECK_THROWS_AS(fake_quantize(v, qat::parse_spec("int4:group33:symmetric")), qat::Error);
  float scale = 1;
  const qat::GroupQParams one{qat::view(&scale, 1, 1)};
  CHECK_THROWS_AS(fake_quantize(v, one, qat::parse_spec("int4:group8:symmetric")), qat::Error);
  CHECK_THROWS_AS(qat::quantize<qat::Int3>(v, one, qat::parse_spec("int4:tensor:symmetric")), qat::Error);
  const auto column = v.slice(1, 0, 1);
  CHECK_THROWS_AS(assign(two_threads(), v, v + fake_quantize(column, qat::parse_spec("int4:token:symmetric"))),
                  qat::Error);
}
