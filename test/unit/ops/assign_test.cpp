// assign() on a GPU, emulated: the bits of the processor's assign() for every node, in one launch and one pass.
#include "qat/ops/assign.cuh"

#include <doctest/doctest.h>

#include <bit>
#include <string>
#include <vector>

#include "qat/backend/cpu.hpp"
#include "qat/base/random.hpp"
#include "qat/expr/assign.hpp"
#include "qat/numeric/bfloat16.hpp"
#include "qat/numeric/float8.hpp"
#include "qat/numeric/half.hpp"
#include "support/compare.hpp"

namespace {

using namespace qat;
using emulation::Buffer;

const float kNan = std::bit_cast<float>(0x7FC00000u), kInfinity = std::bit_cast<float>(0x7F800000u);

/// Random numbers of all magnitudes among those that break kernels.
std::vector<float> hard_floats(index_t n, std::uint64_t seed) {
  const float special[] = {0.0f,    -0.0f,    kNan,  kInfinity, -kInfinity,  1e-45f,       -1e-45f,     1.1754942e-38f,
                           3.4e38f, -3.4e38f, 0.5f,  -0.5f,     1.5f,        2.5f,         8388608.5f,  4194303.5f,
                           -7.5f,   127.5f,   1e30f, 1e-30f,    0.49999997f, -0.49999997f, 16777216.0f, 1.0f};
  std::vector<float> x(static_cast<std::size_t>(n));
  CounterRandom random(seed);
  for (float& v : x) {
    const std::uint32_t kind = random.next_u32() % 8;
    if (kind == 0)
      v = special[random.next_u32() % std::size(special)];
    else if (kind == 1)
      v = std::bit_cast<float>(random.next_u32() & 0xBFFFFFFFu);  // any magnitude up to 2
    else
      v = (random.next_float() - 0.5f) * 20.0f;
  }
  return x;
}
std::vector<std::uint8_t> random_bytes(index_t n, std::uint64_t seed) {
  std::vector<std::uint8_t> x(static_cast<std::size_t>(n));
  CounterRandom random(seed);
  for (std::uint8_t& v : x) v = static_cast<std::uint8_t>(random.next_u32());
  return x;
}

/// The destination, a view of `memory`, gets the same bits from both backends, and nothing beside it changes. Returns
/// what the launch did.
template <class T, class D, class E>
emulation::Counters same_bits(const Buffer<T>& memory, const D& destination, const E& e) {
  const std::vector<T> before = memory.to_vector();
  assign(CpuBackend(1), destination, e);
  const std::vector<T> expected = memory.to_vector();
  std::copy(before.begin(), before.end(), memory.begin());
  emulation::reset_counters();
  assign(CudaBackend{}, destination, e);
  const emulation::Counters counters = emulation::counters();
  if constexpr (std::is_same_v<T, bool>) {
    CHECK(expected == memory.to_vector());
  } else {
    CHECK(test::compare_bits<T>(expected, memory.to_vector()));
  }
  CHECK(counters.launches == 1);
  return counters;
}

constexpr index_t kSizes[] = {1, 3, 4, 5, 31, 1024, 2051};

struct Cube {
  QAT_HOST_DEVICE float operator()(float x) const { return expr::rounded_product(expr::rounded_product(x, x), x); }
};
struct IsInside {
  float limit;
  QAT_HOST_DEVICE bool operator()(float a, float b) const { return a < limit && b > -limit; }
};
struct Select {
  QAT_HOST_DEVICE float operator()(float a, float b, bool first) const { return first ? a : b; }
};
struct Index {
  QAT_HOST_DEVICE float operator()(index_t i) const { return static_cast<float>(i) * 0.5f; }
  QAT_HOST_DEVICE float operator()(index_t i, index_t j) const { return static_cast<float>(i * 1000 + j); }
  QAT_HOST_DEVICE float operator()(index_t i, index_t j, index_t k) const { return static_cast<float>(i * j - k); }
  QAT_HOST_DEVICE float operator()(index_t i, index_t j, index_t k, index_t l) const {
    return static_cast<float>(i + 10 * j + 100 * k + 1000 * l);
  }
};

}  // namespace

TEST_CASE("cuda assign: every function of elements, aligned and not, of ragged sizes") {
  for (const index_t n : kSizes) {
    for (const std::size_t offset : {std::size_t{0}, std::size_t{1}}) {
      CAPTURE(n);
      CAPTURE(offset);
      const Buffer<const float> av(hard_floats(n, 1), offset), bv(hard_floats(n, 2)), cv(hard_floats(n, 3), offset);
      const Buffer<float> yv(static_cast<std::size_t>(n), 7.0f, offset);
      const Buffer<bool> mv(static_cast<std::size_t>(n), false, offset);
      const auto a = view(av.data(), n), b = view(bv.data(), n), c = view(cv.data(), n);
      const auto y = view(yv.data(), n);
      const auto m = view(mv.data(), n);
      same_bits(yv, y, a + b * c);
      same_bits(yv, y, a - b);
      same_bits(yv, y, a * b - c * 3.0f);
      same_bits(yv, y, a / b);
      same_bits(yv, y, -a);
      same_bits(yv, y, abs(a));
      same_bits(yv, y, (min)(a, b));
      same_bits(yv, y, (max)(a, b));
      same_bits(yv, y, clamp(a, -4.0f, 5.0f));
      same_bits(yv, y, where(a < b, a, c));
      same_bits(yv, y, where(a >= b, 2.0f, c));
      same_bits(yv, y, round(a));
      same_bits(yv, y, transform(a, Cube{}));
      same_bits(yv, y, transform(a, b, a <= c, Select{}));
      same_bits(mv, m, transform(a, b, IsInside{3.0f}));
      same_bits(yv, y, transform(b, c, m, Select{}));
      same_bits(yv, y, generate(Index{}, n) + a);
      same_bits(yv, y, y * 0.5f + y);  // its own destination
    }
  }
}

TEST_CASE("cuda assign: element types, converted and mixed") {
  for (const index_t n : kSizes) {
    CAPTURE(n);
    const Buffer<const float> fv(hard_floats(n, 4));
    const auto f = view(fv.data(), n);
    Buffer<bfloat16> bv(static_cast<std::size_t>(n));
    Buffer<half> hv(static_cast<std::size_t>(n), half{}, 1);
    Buffer<float8_e4m3> ev(static_cast<std::size_t>(n));
    Buffer<double> dv(static_cast<std::size_t>(n));
    Buffer<float> yv(static_cast<std::size_t>(n));
    const auto b = view(bv.data(), n);
    const auto h = view(hv.data(), n);
    const auto e = view(ev.data(), n);
    const auto d = view(dv.data(), n);
    const auto y = view(yv.data(), n);
    same_bits(bv, b, cast<bfloat16>(f));
    same_bits(hv, h, cast<half>(f * 3.0f));
    same_bits(ev, e, cast<float8_e4m3>(f));
    same_bits(dv, d, cast<double>(f) * 1.1 + 0.1);
    same_bits(dv, d, d * d - d);
    same_bits(yv, y, cast<float>(b) + cast<float>(h) * cast<float>(e));
    same_bits(bv, b, cast<bfloat16>(cast<float>(b) * 1.5f + f));
    Buffer<std::int32_t> iv(static_cast<std::size_t>(n));
    Buffer<std::int8_t> cv(static_cast<std::size_t>(n));
    const auto i = view(iv.data(), n);
    const auto c = view(cv.data(), n);
    same_bits(iv, i, cast<std::int32_t>(transform(f, f, IsInside{2.0f})) * 3 - 1);
    same_bits(cv, c, cast<std::int8_t>(i));
    same_bits(yv, y, cast<float>(c) / cast<float>(i));
  }
}

TEST_CASE("cuda assign: ranks, rows of larger matrices, repeated operands, transposes, negative strides") {
  const Buffer<const float> av(hard_floats(3 * 4 * 5 * 8, 5)), bv(hard_floats(3 * 4 * 5 * 8, 6));
  const Buffer<float> yv(3 * 4 * 5 * 8, 7.0f);
  const auto a = view(av.data(), 3, 4, 5, 8), b = view(bv.data(), 3, 4, 5, 8);
  const auto y = view(yv.data(), 3, 4, 5, 8);
  same_bits(yv, y, a * b + 1.0f);
  same_bits(yv, y, a * b + generate(Index{}, 3, 4, 5, 8));
  same_bits(yv, view(yv.data(), 12, 5, 8), view(av.data(), 12, 5, 8) - generate(Index{}, 12, 5, 8));
  for (int d0 = 0; d0 < 4; ++d0)
    for (int d1 = 0; d1 < d0; ++d1) {
      same_bits(yv, y.transpose(d0, d1), a.transpose(d0, d1) * b.transpose(d0, d1));
      if (a.dim(d0) == a.dim(d1)) same_bits(yv, y, a.transpose(d0, d1) * b);
    }
  const auto rows = view(yv.data(), 12, 40);
  const auto wide = view(av.data(), 12, 40);
  same_bits(yv, rows.slice(1, 4, 28), wide.slice(1, 8, 28) * 2.0f);  // 16-byte rows
  same_bits(yv, rows.slice(1, 3, 29), wide.slice(1, 8, 29) * 2.0f);
  same_bits(yv, rows.slice(0, 2, 9), wide.slice(0, 1, 9) + as_row(view(bv.data(), 40)));
  same_bits(yv, rows, wide - as_column(view(bv.data(), 12)) * as_row(view(bv.data() + 16, 40)));
  same_bits(yv, rows, 2.5f);
  same_bits(yv, rows, generate(Index{}, 12, 40));
  View<const float, 1> backwards = view(av.data() + 479, 480);
  backwards.stride[0] = -1;
  same_bits(yv, view(yv.data(), 480), backwards * 2.0f);
  View<const float, 4> odd = view(av.data(), 4, 1, 3, 1);
  odd.stride[1] = 12345;
  odd.stride[3] = -77;
  same_bits(yv, view(yv.data(), 4, 1, 3, 1), odd * 2.0f);
  emulation::reset_counters();
  assign(CudaBackend{}, view(yv.data(), 0, 5), view(av.data(), 0, 5) + 1.0f);
  assign(CudaBackend{}, view(yv.data(), 5, 0), view(av.data(), 5, 0) + 1.0f);
  CHECK(emulation::counters().launches == 0);
}

TEST_CASE("cuda assign: one pass in 16-byte accesses where views are contiguous") {
  const index_t R = 24, C = 96;
  const std::size_t n = static_cast<std::size_t>(R * C);
  const Buffer<const float> av(hard_floats(R * C, 7)), bv(hard_floats(R * C, 8)), row(hard_floats(C, 9));
  Buffer<float> yv = Buffer<float>::uninitialized(n);
  emulation::reset_counters();
  assign(CudaBackend{}, view(yv.data(), R, C), view(av.data(), R, C) * view(bv.data(), R, C));
  CHECK(yv.unwritten() == 0);
  CHECK(emulation::counters().launches == 1);
  CHECK(emulation::counters().loaded_bytes == 2 * n * 4);
  CHECK(emulation::counters().stored_bytes == n * 4);
  CHECK(emulation::counters().narrow_accesses == 0);
  Buffer<bfloat16> hv = Buffer<bfloat16>::uninitialized(n);
  emulation::reset_counters();
  assign(CudaBackend{}, view(hv.data(), R, C), cast<bfloat16>(view(av.data(), R, C) + as_row(view(row.data(), C))));
  CHECK(hv.unwritten() == 0);
  CHECK(emulation::counters().stored_bytes == n * 2);
  CHECK(emulation::counters().narrow_accesses == n / 4);  // four bfloat16 beside four floats
  emulation::reset_counters();
  assign(CudaBackend{}, view(hv.data(), R, C), cast<bfloat16>(cast<float>(view(hv.data(), R, C)) * 2.0f));
  CHECK(emulation::counters().loaded_bytes == n * 2);
  CHECK(emulation::counters().narrow_accesses == 0);
}

namespace {

template <class Code>
void packed_views() {
  constexpr int B = Code::kBits;
  CAPTURE(B);
  for (const index_t columns : {index_t{1}, index_t{7}, index_t{8}, index_t{33}, index_t{64}}) {
    const index_t rows = 19, n = rows * columns;
    CAPTURE(columns);
    const Buffer<const std::uint8_t> from(random_bytes(packed_bytes(n, B), 10));
    const Buffer<std::uint8_t> to(random_bytes(packed_bytes(n, B), 11));
    const auto x = packed_view<Code>(from.data(), rows, columns);
    const auto y = packed_view<Code>(to.data(), rows, columns);
    same_bits(to, y, transform(x, [](Code q) { return Code(q.value() + 1); }));
    // All of it as one row, misaligned to any word.
    const Buffer<std::uint8_t> odd(random_bytes(packed_bytes(n, B) + 1, 12));
    same_bits(odd, packed_view<Code>(odd.data() + 1, n), packed_view<Code>(from.data(), n));
  }
  // Columns of a larger matrix, from whole bytes on and from inside one; a transpose; every third element.
  const index_t R = 12, C = 40;
  const Buffer<const std::uint8_t> from(random_bytes(packed_bytes(R * C, B), 13));
  const Buffer<std::uint8_t> to(random_bytes(packed_bytes(R * C, B), 14));
  const auto x = packed_view<Code>(from.data(), R, C);
  const auto y = packed_view<Code>(to.data(), R, C);
  same_bits(to, y.slice(1, 8, 24), x.slice(1, 16, 24));
  same_bits(to, y.slice(1, 8, 27), x.slice(1, 8, 27));
  same_bits(to, y.slice(1, 3, 30), x.slice(1, 5, 30));
  same_bits(to, y.slice(1, 8, 21), x.slice(1, 3, 21));
  auto transposed = y;
  transposed.shape[0] = C, transposed.shape[1] = R, transposed.stride[0] = 1, transposed.stride[1] = C;
  same_bits(to, transposed, packed_view<Code>(from.data(), C, R));
  auto third = packed_view<Code>(to.data(), R * C / 3);
  third.stride[0] = 3;
  same_bits(to, third, packed_view<Code>(from.data(), R * C / 3));
}

}  // namespace

TEST_CASE("cuda assign: packed views of every width, read and written; bits beside them stay") {
  packed_views<Int1>();
  packed_views<UInt2>();
  packed_views<Int3>();
  packed_views<Int4>();
  packed_views<UInt5>();
  packed_views<Int6>();
  packed_views<UInt7>();
  packed_views<Int8>();
}

namespace {

struct Parameters {
  Buffer<float> scale, zero_point;
  GroupQParams views;

  Parameters(const QuantSpec& spec, index_t rows, index_t columns, bool with_zero_point, std::uint64_t seed)
      : scale(static_cast<std::size_t>(group_layout(spec.granularity, rows, columns).count())),
        zero_point(scale.size()) {
    const GroupLayout layout = group_layout(spec.granularity, rows, columns);
    CounterRandom random(seed);
    for (float& s : scale) s = random.next_float() + 0.01f;
    for (float& z : zero_point)
      z = static_cast<float>(spec.qmin() + static_cast<int>(random.next_u32() % (1u << spec.bits)));
    views.scale = view(const_cast<const float*>(scale.data()), layout.tile_row_count, layout.tiles_per_row);
    if (with_zero_point)
      views.zero_point = view(const_cast<const float*>(zero_point.data()), layout.tile_row_count, layout.tiles_per_row);
  }
};

}  // namespace

TEST_CASE("cuda assign: quantization with stored parameters, any granularity, mapping and grid") {
  const char* const specs[] = {"int4:group32:symmetric",
                               "int8:group24:symmetric",
                               "uint4:group5:asymmetric",
                               "int8:token:asymmetric",
                               "uint8:axis0:asymmetric",
                               "int4:axis1:symmetric",
                               "int8:tensor:symmetric",
                               "int6:block3x16:symmetric",
                               "int3:block4x6:symmetric",
                               "uint4:group32:float_zero_point",
                               "int4:group16:symmetric:bfloat16",
                               "int4:group32:signed_extremum:bf16safe",
                               "int8:group8:asymmetric:half_away_from_zero",
                               "int5:group64:symmetric:toward_zero"};
  const index_t R = 10, C = 72;
  for (const char* text : specs) {
    CAPTURE(text);
    const QuantSpec spec = parse_spec(text);
    for (const index_t columns : {C, index_t{65}}) {
      const Buffer<const float> xv(hard_floats(R * columns, 20));
      const Buffer<float> yv(static_cast<std::size_t>(R * columns));
      const auto x = view(xv.data(), R, columns);
      const auto y = view(yv.data(), R, columns);
      for (const bool with_zero_point : {false, true}) {
        const bool stored_float = spec.mapping == MappingKind::kFloatZeroPoint;
        if (stored_float && !with_zero_point) continue;
        const Parameters p(spec, R, columns, with_zero_point, 21);
        same_bits(yv, y, fake_quantize(x, p.views, spec));
        same_bits(yv, y, fake_quantize(x * 0.5f + 1.0f, p.views, spec) * as_row(view(xv.data(), columns)));
        const AffineScheme bf16(spec, FloatType::kBfloat16);
        same_bits(yv, y, fake_quantize(round(x), p.views, bf16));
        const Buffer<std::int16_t> qv(static_cast<std::size_t>(R * columns));
        const auto q = view(qv.data(), R, columns);
        same_bits(qv, q, quantize<std::int16_t>(x, p.views, spec));
        same_bits(yv, y, dequantize(q, p.views, spec));
      }
    }
  }
}

TEST_CASE("cuda assign: quantize into packed codes and dequantize from them, one pass") {
  const QuantSpec spec = parse_spec("int4:group32:symmetric");
  for (const index_t columns : {index_t{64}, index_t{96}, index_t{65}}) {
    const index_t R = 9;
    CAPTURE(columns);
    const Parameters p(spec, R, columns, false, 22);
    const Buffer<const float> xv(hard_floats(R * columns, 23));
    const Buffer<std::uint8_t> codes(random_bytes(packed_bytes(R * columns, 4), 24));
    const Buffer<float> yv(static_cast<std::size_t>(R * columns));
    const auto x = view(xv.data(), R, columns);
    const auto q = packed_view<Int4>(codes.data(), R, columns);
    const auto written = same_bits(codes, q, quantize<Int4>(x, p.views, spec));
    CHECK(written.stored_bytes == codes.size());
    const auto read = same_bits(yv, view(yv.data(), R, columns), dequantize(q, p.views, spec));
    CHECK(read.stored_bytes == yv.size() * 4);
    if (columns % 8 == 0) CHECK(read.loaded_bytes == codes.size() + yv.size() / 8 * 4);
  }
}

TEST_CASE("cuda assign: parameters chosen from the groups themselves") {
  struct Case {
    const char* spec;
    index_t columns;
  };
  const Case cases[] = {{"int4:group4:symmetric", 40},
                        {"int4:group32:symmetric", 96},
                        {"int4:group32:symmetric", 70},
                        {"uint4:group24:asymmetric", 72},
                        {"int8:group7:asymmetric", 40},
                        {"int4:group128:signed_extremum:bf16safe", 256},
                        {"int8:group256:symmetric", 512},
                        {"int8:group512:asymmetric", 700},
                        {"int8:token:asymmetric", 33},
                        {"int8:axis0:symmetric_no_clip", 300},
                        {"uint4:group32:float_zero_point", 64},
                        {"int4:group16:symmetric:bfloat16", 64},
                        {"int8:group64:asymmetric:half_away_from_zero", 128}};
  for (const Case& k : cases) {
    CAPTURE(k.spec);
    CAPTURE(k.columns);
    const QuantSpec spec = parse_spec(k.spec);
    const index_t R = 7;
    const Buffer<const float> xv(hard_floats(R * k.columns, 30)), wv(hard_floats(R * k.columns, 31), 1);
    const Buffer<float> yv(static_cast<std::size_t>(R * k.columns));
    const auto x = view(xv.data(), R, k.columns), w = view(wv.data(), R, k.columns);
    const auto y = view(yv.data(), R, k.columns);
    same_bits(yv, y, fake_quantize(x, spec));
    same_bits(yv, y, fake_quantize(x * 0.25f + w, spec) - x);
    if (k.columns % 16 == 0)
      same_bits(yv, y,
                fake_quantize(fake_quantize(x, parse_spec("int8:group16:symmetric")) + 1.0f,
                              parse_spec("int4:group8:symmetric")));
  }
}

TEST_CASE("cuda assign: what is refused, before anything is written") {
  const Buffer<const float> xv(hard_floats(4 * 600, 40));
  const Buffer<float> yv(4 * 600, 7.0f);
  const auto message = [](const auto& f) {
    try {
      f();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  emulation::reset_counters();
  CHECK(message([&] { assign(CudaBackend{}, view(yv.data(), 4, 5), view(xv.data(), 4, 6) + 1.0f); }) ==
        "assign: dimension 1 of an operand has 6 elements, the destination has 5 (an operand must have as many, or 1)");
  CHECK(message([&] {
          assign(CudaBackend{}, view(yv.data(), 4, 600),
                 fake_quantize(view(xv.data(), 4, 600), parse_spec("int8:token:symmetric")));
        }) ==
        "assign: parameters are chosen from groups of 600 elements; accepted on a GPU: up to 512 (choose them "
        "first, then pass them to the expression)");
  CHECK(message([&] {
          assign(CudaBackend{}, view(yv.data(), 4, 600),
                 fake_quantize(fake_quantize(view(xv.data(), 4, 600), parse_spec("int8:group24:symmetric")),
                               parse_spec("int8:group20:symmetric")));
        }).find("groups of 24 and of 20 elements in one expression") != std::string::npos);
  const std::vector<float> host(20);
  CHECK(message([&] { assign(CudaBackend{}, view(yv.data(), 20), view(xv.data(), 20) + view(host.data(), 20)); }) ==
        "assign: operand 2 points to memory of the host; accepted: memory of the GPU (cudaMalloc, a CUDA tensor)");
  CHECK(message([&] {
          assign(CudaBackend{}, view(const_cast<float*>(host.data()), 20), view(xv.data(), 20) + 1.0f);
        }).find("assign: destination points to memory of the host") == 0);
  CHECK(emulation::counters().launches == 0);
  for (const float v : yv) REQUIRE(v == 7.0f);
}
