// kernels/cuda/group_quantize.hpp: what a thread computes of an element has the bits of quant/affine.hpp.
#include "qat/kernels/cuda/group_quantize.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "qat/quant/spec.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

using namespace qat;
using namespace qat::test;

namespace {

/// The arithmetic of a context, by one thread.
struct Arithmetic {
  float mul(float a, float b) const { return qat::detail::rounded_product(a, b); }
  float add(float a, float b) const { return a + b; }
  float sub(float a, float b) const { return a - b; }
  float rint(float a) const { return std::nearbyintf(a); }
  std::uint32_t bf16_pair(float low, float high) const {
    return bfloat16(low).bits | static_cast<std::uint32_t>(bfloat16(high).bits) << 16;
  }
};

const char* const kSpecs[] = {
    "int4:group32:symmetric",
    "int4:group32:signed_extremum:bf16safe",
    "int2:group32:asymmetric:bfloat16",
    "uint4:group32:asymmetric:float16",
    "int8:token:asymmetric",
    "int8:token:symmetric:input",
    "int1:group32:symmetric",
    "uint8:token:symmetric_no_clip",
    "int3:group32:asymmetric_raw:e8m0",
    "int8:token:symmetric_no_clip:e4m3",
    "uint1:group32:asymmetric:eps=0.001",
};

template <class T>
std::vector<float> values_of(std::uint64_t seed) {
  std::vector<float> x = normal_values(96, seed);
  const float special[] = {0.0f,    -0.0f,    NAN,       INFINITY,        -INFINITY, 1e-40f, -1e-45f,
                           3.3e38f, -3.3e38f, 0x1p-126f, -0x1.FFFFFEp-1f, 0.5f,      -1.5f,  2.5f};
  if (seed % 3 == 1) x.insert(x.end(), std::begin(special), std::end(special));
  if (seed % 3 == 2)
    for (float& v : x) v = v * 1e-39f;
  for (float& v : x) v = static_cast<float>(T(v));
  return x;
}

template <class T>
void check_elements() {
  const Arithmetic c;
  for (const char* text : kSpecs) {
    CAPTURE(std::string(text));
    const AffineScheme scheme(parse_spec(text), kFloatTypeOf<T>);
    for (std::uint64_t seed = 0; seed < 9; ++seed) {
      const std::vector<float> x = values_of<T>(seed), dy = normal_values(static_cast<index_t>(x.size()), seed + 50);
      cuda::LaneRange lane;
      GroupRange range;
      for (const float v : x) lane.observe(v, scheme.spec.mapping), range.observe(v);
      const QParams p = choose_qparams(range, scheme), own = choose_qparams(lane.range(), scheme);
      CHECK(compare_bits(std::vector<float>{p.scale, p.zero_point, p.inverse_scale},
                         std::vector<float>{own.scale, own.zero_point, own.inverse_scale}));
      const QParams chosen = cuda::choose_in_lane<T>(range, scheme);
      const QParams made = cuda::make_in_lane(p.scale, p.zero_point, scheme);
      CHECK(
          compare_bits(std::vector<float>{p.scale, p.zero_point, p.inverse_scale, p.inverse_scale},
                       std::vector<float>{chosen.scale, chosen.zero_point, chosen.inverse_scale, made.inverse_scale}));
      const cuda::LaneQuantizer<T> q(p, scheme);
      std::vector<float> wanted, found;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const float g = static_cast<float>(T(dy[i]));
        wanted.push_back(static_cast<float>(quantize(x[i], p, scheme)));
        found.push_back(static_cast<float>(q.quantize(c, x[i])));
        wanted.push_back(fake_quantize(x[i], p, scheme));
        found.push_back(q.fake_quantize(c, x[i]));
        for (const SteMask mask : {SteMask::kInclusive, SteMask::kStrict, SteMask::kPassThrough}) {
          wanted.push_back(fake_quantize_backward(g, x[i], p, scheme, mask));
          found.push_back(q.backward(c, g, x[i], mask));
          if constexpr (std::is_same_v<T, float>) {
            float term = 0.0f;
            wanted.push_back(wanted.back());
            found.push_back(q.lsq_backward(c, g, x[i], mask, term));
            wanted.push_back(qat::detail::rounded_product(g, lsq_derivative(x[i], p, scheme, mask)));
            found.push_back(term);
          }
        }
      }
      CHECK(compare_bits(wanted, found));
    }
  }
}

}  // namespace

TEST_CASE("LaneQuantizer: codes, values, masks and gradients of fp32 have the bits of the definition") {
  check_elements<float>();
}
TEST_CASE("LaneQuantizer: codes, values, masks and gradients of bfloat16 have the bits of the definition") {
  check_elements<bfloat16>();
}

TEST_CASE("LaneRange: merging parts in order gives the range of the whole, the first of equal extrema winning") {
  for (const MappingKind mapping : {MappingKind::kSymmetric, MappingKind::kSignedExtremum}) {
    const float x[] = {1.0f, -2.0f, NAN, 2.0f, INFINITY, -0.0f, -1.0f, 2.0f};
    for (int cut = 0; cut <= 8; ++cut) {
      cuda::LaneRange first, second;
      GroupRange whole;
      for (int i = 0; i < 8; ++i) (i < cut ? first : second).observe(x[i], mapping), whole.observe(x[i]);
      first.merge(second);
      if (mapping == MappingKind::kSignedExtremum) {
        CHECK(first.range().extremum == whole.extremum);
        CHECK(whole.extremum == -2.0f);
      } else {
        CHECK(first.range().min == whole.min);
        CHECK(first.range().max == whole.max);
      }
    }
  }
  CHECK(cuda::LaneRange().range().min == 0.0f);
  CHECK(cuda::LaneRange().range().max == 0.0f);
}
