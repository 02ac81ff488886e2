// The layout of int4 weights for tensor cores: where each code lies, there and back, and its values.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "qat/base/random.hpp"
#include "qat/kernels/cuda/prepack_int4.cuh"
#include "qat/quant/affine.hpp"
#include "support/compare.hpp"

namespace {
namespace prepack_int4_test {

using namespace qat;
using namespace qat::cuda;
using emulation::Buffer;
using Byte = std::uint8_t;

struct Case {
  index_t rows, columns, group;
  bool is_signed, has_zero_points;
  index_t extra_pitch, offset;  // bytes
};
const Case kCases[] = {
    {16, 64, 64, true, false, 0, 0},  {1, 1, 1, true, false, 0, 0},      {17, 65, 32, true, true, 0, 0},
    {5, 100, 100, false, true, 2, 0}, {33, 130, 128, true, false, 3, 1}, {40, 512, 128, false, false, 0, 0},
    {16, 320, 96, true, true, 0, 4},  {3, 77, 13, true, true, 1, 0},
};
std::string name(const Case& c) {
  return concat(c.rows, " x ", c.columns, ", group ", c.group, c.is_signed ? ", signed" : "",
                c.has_zero_points ? ", zero points" : "", ", pitch +", c.extra_pitch, ", offset ", c.offset)
      .c_str();
}

template <class S>
struct Weights {
  Int4Tiles tiles;
  std::vector<Byte> codes, zero_points;
  std::vector<S> scales;
  index_t pitch;

  explicit Weights(const Case& c, std::uint64_t seed) : tiles{c.rows, c.columns, c.group} {
    CounterRandom random(seed);
    pitch = (c.columns + 1) / 2 + c.extra_pitch;
    codes.assign(static_cast<std::size_t>(c.rows * pitch), 0);
    for (index_t n = 0; n < c.rows; ++n)
      for (index_t k = 0; k < c.columns; ++k)
        codes[static_cast<std::size_t>(n * pitch + k / 2)] |=
            static_cast<Byte>((random.next_u32() & 15u) << (k % 2 * 4));
    for (index_t i = 0; i < c.rows * tiles.groups(); ++i) {
      scales.push_back(S(0.001f + random.next_float()));
      if (c.has_zero_points) zero_points.push_back(static_cast<Byte>(random.next_u32() & 15u));
    }
  }
  int nibble(index_t n, index_t k) const {
    return codes[static_cast<std::size_t>(n * pitch + k / 2)] >> (k % 2 * 4) & 15;
  }
};

template <class T>
const T* pointer(const Buffer<const T>& b) {
  return b.size() == 0 ? nullptr : b.data();
}

/// The tiled form of w, by the kernels.
template <class S>
struct Tiled {
  Buffer<const Byte> codes, zero_points;
  Buffer<const S> scales;
  RowMajorInt4<const Byte, const S> row_major;
  Buffer<Byte> tiled_codes, tiled_zero_points;
  Buffer<S> tiled_scales;
  TiledInt4<Byte, S> out;

  Tiled(const Case& c, const Weights<S>& w)
      : codes(w.codes, static_cast<std::size_t>(c.offset)),
        zero_points(w.zero_points),
        scales(w.scales),
        row_major{codes.data(), w.pitch, c.is_signed, scales.data(), pointer(zero_points)},
        tiled_codes(Buffer<Byte>::uninitialized(static_cast<std::size_t>(w.tiles.code_bytes()))),
        tiled_zero_points(
            Buffer<Byte>::uninitialized(c.has_zero_points ? static_cast<std::size_t>(w.tiles.group_entries()) : 0)),
        tiled_scales(Buffer<S>::uninitialized(static_cast<std::size_t>(w.tiles.group_entries()))),
        out{tiled_codes.data(), tiled_scales.data(), c.has_zero_points ? tiled_zero_points.data() : nullptr} {
    prepack_int4<S>(CudaBackend{}, w.tiles, row_major, out);
    CHECK(tiled_codes.unwritten() + tiled_scales.unwritten() + tiled_zero_points.unwritten() == 0);
  }
  TiledInt4<const Byte, const S> tiled() const { return {out.codes, out.scales, out.zero_points}; }
};

template <class S>
void check_layout(const Case& c) {
  const Weights<S> w(c, 11);
  const Tiled<S> tiled(c, w);
  const Int4Tiles& t = w.tiles;
  index_t wrong = 0;
  std::vector<int> seen(static_cast<std::size_t>(t.code_bytes() * 2));
  for (index_t n = 0; n < t.row_tiles() * 16; ++n)
    for (index_t k = 0; k < t.column_tiles() * 64; ++k) {
      const int u = tiled.tiled_codes[static_cast<std::size_t>(t.byte_of(n, k))] >> t.shift_of(n, k) & 15;
      const bool inside = n < t.rows && k < t.columns;
      wrong += u != (inside ? w.nibble(n, k) ^ (c.is_signed ? 8 : 0) : 8);
      ++seen[static_cast<std::size_t>(t.byte_of(n, k) * 2 + t.shift_of(n, k) / 4)];
    }
  CHECK_MESSAGE(wrong == 0, name(c));
  CHECK(std::count(seen.begin(), seen.end(), 1) == t.code_bytes() * 2);  // every nibble is one code's
  wrong = 0;
  for (index_t n = 0; n < t.row_tiles() * 16; ++n)
    for (index_t g = 0; g < t.groups(); ++g) {
      const std::size_t slot = static_cast<std::size_t>(t.slot_of(n, g)),
                        at = static_cast<std::size_t>(n * t.groups() + g);
      wrong += !(tiled.tiled_scales[slot] == (n < t.rows ? w.scales[at] : S{}));
      if (c.has_zero_points) wrong += tiled.tiled_zero_points[slot] != (n < t.rows ? w.zero_points[at] : 8);
    }
  CHECK_MESSAGE(wrong == 0, name(c));
}

template <class S>
void check_round_trip(const Case& c) {
  const Weights<S> w(c, 12);
  const Tiled<S> tiled(c, w);
  Buffer<Byte> codes(w.codes.size(), 0, static_cast<std::size_t>(c.offset)),
      zero_points = Buffer<Byte>::uninitialized(w.zero_points.size());
  Buffer<S> scales = Buffer<S>::uninitialized(w.scales.size());
  unpack_int4<S>(CudaBackend{}, w.tiles, tiled.tiled(),
                 {codes.data(), w.pitch, c.is_signed, scales.data(), c.has_zero_points ? zero_points.data() : nullptr});
  CHECK_MESSAGE(test::compare_bits(w.codes, codes), name(c));
  CHECK_MESSAGE(test::compare_bits(w.scales, scales), name(c));
  if (c.has_zero_points) CHECK_MESSAGE(test::compare_bits(w.zero_points, zero_points), name(c));
}

template <class S>
void check_values(const Case& c, index_t stride_extra) {
  const Weights<S> w(c, 13);
  const Tiled<S> tiled(c, w);
  const Int4Tiles& t = w.tiles;
  QuantSpec spec{4,
                 c.is_signed,
                 {GranularityKind::kPerGroup, 0, c.group},
                 MappingKind::kAsymmetric,
                 sizeof(S) == 2 ? ScaleType::kBfloat16 : ScaleType::kFloat32};
  const AffineScheme scheme(spec, FloatType::kBfloat16);
  const index_t stride = t.columns + stride_extra;
  std::vector<bfloat16> expected(static_cast<std::size_t>(t.rows * stride), bfloat16::from_bits(0x7F81));
  for (index_t n = 0; n < t.rows; ++n)
    for (index_t k = 0; k < t.columns; ++k) {
      const std::size_t at = static_cast<std::size_t>(n * t.groups() + k / c.group);
      const int low = c.is_signed ? -8 : 0, u = w.nibble(n, k), q = c.is_signed ? (u ^ 8) - 8 : u;
      const float zero = static_cast<float>(low + (c.has_zero_points ? w.zero_points[at] : 8));
      const QParams p = make_qparams(static_cast<float>(w.scales[at]), zero, scheme);
      expected[static_cast<std::size_t>(n * stride + k)] = bfloat16(dequantize(q, p, scheme));
    }
  for (const bool from_tiles : {false, true}) {
    Buffer<bfloat16> y(expected.size(), bfloat16::from_bits(0x7F81));
    if (from_tiles)
      dequantize_int4<S>(CudaBackend{}, t, tiled.tiled(), y.data(), stride_extra == 0 ? 0 : stride);
    else
      dequantize_int4<S>(CudaBackend{}, t, tiled.row_major, y.data(), stride_extra == 0 ? 0 : stride);
    CHECK_MESSAGE(test::compare_bits(test::Values<bfloat16>(expected.data(), {t.rows, stride}),
                                     test::Values<bfloat16>(y.data(), {t.rows, stride}), test::NanRule::kSameBits),
                  name(c));
  }
}

TEST_CASE("each code, scale and zero point lies where Int4Tiles says, padding holds u = 8 and scale 0") {
  for (const Case& c : kCases) {
    check_layout<float>(c);
    check_layout<bfloat16>(c);
  }
}

TEST_CASE("unpack_int4 gives back what prepack_int4 took, byte for byte") {
  for (const Case& c : kCases) {
    check_round_trip<float>(c);
    check_round_trip<bfloat16>(c);
  }
}

TEST_CASE("dequantize_int4 has the bits of dequantize() for bfloat16 weights, from either form") {
  for (const Case& c : kCases)
    for (const index_t extra : {0, 3}) {
      check_values<float>(c, extra);
      check_values<bfloat16>(c, extra);
    }
}

TEST_CASE("a lane's word, masked, is an operand register of mma.m16n8k16 in order") {
  const Int4Tiles t{16, 64, 64};
  for (index_t lane = 0; lane < 32; ++lane)
    for (index_t s = 0; s < 4; ++s)
      for (index_t i = 0; i < 4; ++i)
        for (index_t h = 0; h < 2; ++h) {
          const index_t n = lane / 4 + i % 2 * 8, k = 32 * (s / 2) + 8 * (lane % 4) + 4 * (s % 2) + i / 2 * 2 + h;
          const index_t bit = (t.byte_of(n, k) - lane * 16 - s * 4) * 8 + t.shift_of(n, k);
          REQUIRE(bit == 4 * i + 16 * h);
        }
}

TEST_CASE("prepack_int4: what does not fit is named") {
  const Weights<float> w(kCases[0], 1);
  Buffer<Byte> out(1024);
  Buffer<float> scales(64);
  const RowMajorInt4<const Byte, const float> from{w.codes.data(), 0, true, w.scales.data(), nullptr};
  const auto message = [&](const Int4Tiles& t, const TiledInt4<Byte, float>& to) -> std::string {
    try {
      prepack_int4<float>(CudaBackend{}, t, from, to);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(message(w.tiles, {out.data() + 1, scales.data(), nullptr}) ==
        "prepack_int4: the codes of the tiled weights start at 1 bytes past a multiple of 16, must be aligned to 16");
  CHECK(message(w.tiles, {out.data(), scales.data(), out.data()}) ==
        "prepack_int4: no zero points to read, some to write; must be both or neither");
  CHECK(message({16, 64, 0}, {out.data(), scales.data(), nullptr}) ==
        "prepack_int4: weights of 16 x 64 in groups of 0, accepted are extents of at least 0 and groups of at least 1");
  CHECK(message({0, 64, 64}, {out.data(), scales.data(), nullptr}) == "no error");  // nothing to do
}

}  // namespace prepack_int4_test
}  // namespace
