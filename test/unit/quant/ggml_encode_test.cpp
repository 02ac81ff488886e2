// Encoding into ggml's blocks: laws on random rows. Golden data: test/golden/ggml.
#include "qat/quant/ggml_encode.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "qat/base/random.hpp"
#include "support/files.hpp"

using namespace qat;

namespace {

std::vector<std::uint8_t> encoded(GgmlType type, const std::vector<float>& x) {
  std::vector<std::uint8_t> out(x.size() / static_cast<std::size_t>(info(type).block) *
                                static_cast<std::size_t>(info(type).bytes));
  ggml_encode(type, x.data(), static_cast<index_t>(x.size()), out.data());
  return out;
}
std::vector<float> decoded(GgmlType type, const std::vector<std::uint8_t>& blocks, std::size_t n) {
  std::vector<float> out(n);
  ggml_decode(type, blocks.data(), static_cast<index_t>(n), out.data());
  return out;
}

}  // namespace

TEST_CASE("ggml blocks: encoding errs by no more than the step of the type") {
  const std::pair<GgmlType, double> steps[] = {
      {GgmlType::kF32, 0.0},        {GgmlType::kF16, 0x1p-11},    {GgmlType::kBF16, 0x1p-8},
      {GgmlType::kQ4_0, 1.05 / 8},  {GgmlType::kQ4_1, 1.05 / 15}, {GgmlType::kQ5_0, 1.05 / 16},
      {GgmlType::kQ5_1, 1.05 / 31}, {GgmlType::kQ8_0, 0.6 / 127}, {GgmlType::kIQ4_NL, 25.0 / 127},
      {GgmlType::kTQ1_0, 0.51},     {GgmlType::kTQ2_0, 0.51},     {GgmlType::kMXFP4, 0.34}};
  for (const auto& entry : steps) {
    const GgmlType type = entry.first;
    INFO(info(type).name);
    std::vector<float> x(1024);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = std::sin(static_cast<float>(i * i % 977)) * (1.0f + static_cast<float>(i / 256));
    const std::vector<float> y = decoded(type, encoded(type, x), x.size());
    for (std::size_t block = 0; block < x.size(); block += 256) {
      float amax = 0.0f;
      for (std::size_t i = block; i < block + 256; ++i) amax = std::max(amax, std::fabs(x[i]));
      for (std::size_t i = block; i < block + 256; ++i)
        CHECK(std::fabs(static_cast<double>(x[i]) - static_cast<double>(y[i])) <=
              entry.second * static_cast<double>(amax));
    }
  }
}

TEST_CASE("ggml blocks: what lies on a block's grid comes back exactly") {
  for (const GgmlType type : {GgmlType::kF16, GgmlType::kBF16, GgmlType::kQ4_0, GgmlType::kQ5_0, GgmlType::kQ8_0,
                              GgmlType::kTQ1_0, GgmlType::kTQ2_0, GgmlType::kMXFP4}) {
    INFO(info(type).name);
    const int levels = type == GgmlType::kQ4_0 ? 8 : type == GgmlType::kQ5_0 ? 16 : type == GgmlType::kQ8_0 ? 127 : 1;
    std::vector<float> x(512);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const int q = i % 32 == 3 ? -levels : static_cast<int>(i * 37 % 251) % (2 * levels) - levels;
      x[i] = static_cast<float>(q) * (type == GgmlType::kMXFP4 ? 0.25f : 0.37109375f);
    }
    const std::vector<std::uint8_t> blocks = encoded(type, x);
    CHECK(decoded(type, blocks, x.size()) == x);
    CHECK(encoded(type, decoded(type, blocks, x.size())) == blocks);
  }
}

TEST_CASE("ggml blocks: the two roundings of Q8_0 differ on ties only") {
  std::vector<float> x(64), ties(64);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i + 1));
  for (std::size_t i = 0; i < ties.size(); ++i) ties[i] = i % 32 == 0 ? 127.0f : static_cast<float>(i) + 0.5f;
  std::vector<std::uint8_t> a(68), b(68);
  ggml_encode_q8_0(x.data(), 64, a.data(), Q8Rounding::kReference);
  ggml_encode_q8_0(x.data(), 64, b.data(), Q8Rounding::kVector);
  CHECK(a == b);
  ggml_encode_q8_0(ties.data(), 64, a.data(), Q8Rounding::kReference);
  ggml_encode_q8_0(ties.data(), 64, b.data(), Q8Rounding::kVector);
  CHECK(static_cast<int>(a[2 + 2]) == 3);
  CHECK(static_cast<int>(b[2 + 2]) == 2);
}

TEST_CASE("ggml blocks: infinities, NaN and huge numbers encode to something, without a trap") {
  for (const GgmlTypeInfo& type : kGgmlTypes) {
    if (!is_ggml_encoded(type.type)) continue;
    for (const float odd : {INFINITY, -INFINITY, NAN, 3e38f, -1e-45f}) {
      std::vector<float> x(256, 1.0f);
      x[5] = odd;
      x[40] = -odd;
      CHECK(encoded(type.type, x).size() > 0);
      CHECK(encoded(type.type, std::vector<float>(256, odd)).size() > 0);
    }
  }
}

TEST_CASE("ggml blocks: integers and a scale are stored as they are, or refused") {
  const struct {
    GgmlType type;
    int min, max;
  } ranges[] = {{GgmlType::kQ4_0, -8, 7},     {GgmlType::kQ4_1, -3, 12}, {GgmlType::kQ5_0, -16, 15},
                {GgmlType::kQ8_0, -128, 127}, {GgmlType::kTQ1_0, -1, 1}, {GgmlType::kTQ2_0, -1, 1}};
  for (const auto& r : ranges) {
    INFO(info(r.type).name);
    for (const float d : {0.375f, -0.0123291015625f, 0x1p-20f, 0.0f}) {
      int q[256];
      std::uint8_t block[66];
      const int n = info(r.type).block;
      for (int i = 0; i < n; ++i) q[i] = r.min + i * 7 % (r.max - r.min + 1);
      if (r.type == GgmlType::kQ4_1 && d == -0.0123291015625f) continue;  // its minimum is no half
      REQUIRE(ggml_store_integers(r.type, q, d, block));
      std::vector<float> y(static_cast<std::size_t>(n));
      ggml_decode(r.type, block, n, y.data());
      for (int i = 0; i < n; ++i) CHECK(y[static_cast<std::size_t>(i)] == static_cast<float>(q[i]) * d);
      CHECK_FALSE(ggml_store_integers(r.type, q, 0.1f, block));
      CHECK_FALSE(ggml_store_integers(r.type, q, 1e6f, block));
      q[5] = r.max + 1 + (r.type == GgmlType::kQ4_1 ? 15 : 0);
      CHECK_FALSE(ggml_store_integers(r.type, q, d, block));
      q[5] = r.min - 1 - (r.type == GgmlType::kQ4_1 ? 15 : 0);
      CHECK_FALSE(ggml_store_integers(r.type, q, d, block));
    }
  }
  int q[32] = {-15};
  std::uint8_t block[20];
  CHECK_FALSE(ggml_store_integers(GgmlType::kQ4_1, q, 1.0f + 0x1p-10f, block));  // 15 * d needs 15 bits
  q[0] = -14;
  q[1] = 1;
  CHECK_FALSE(ggml_store_integers(GgmlType::kQ4_1, q, 1.0f + 0x1p-10f, block));
  q[0] = 0;
  CHECK(ggml_store_integers(GgmlType::kQ4_1, q, 1.0f + 0x1p-10f, block));
  QAT_CHECK_ERROR(ggml_store_integers(GgmlType::kQ4_K, q, 1.0f, block), "Q4_K", "accepted: Q4_0");
}

TEST_CASE("ggml blocks: a part of a block and a type that is not encoded are refused by name") {
  const float x[64] = {};
  std::uint8_t out[64];
  QAT_CHECK_ERROR(ggml_encode(GgmlType::kQ8_0, x, 33, out), "33 elements for Q8_0", "multiple of 32");
  QAT_CHECK_ERROR(ggml_encode_q8_0(x, 33, out, Q8Rounding::kVector), "33 elements", "multiple of 32");
  QAT_CHECK_ERROR(ggml_encode(GgmlType::kQ4_K, x, 0, out), "Q4_K is not encoded", "accepted: F32");
}

TEST_CASE("ggml blocks: levels of IQ4_NL and MXFP4, and codes with a minimum, are stored as they are, or refused") {
  int q[32];
  std::uint8_t block[20];
  std::vector<float> y(32);
  for (int i = 0; i < 32; ++i) q[i] = ggml::kIq4Levels[i * 5 % 16];
  REQUIRE(ggml_store_integers(GgmlType::kIQ4_NL, q, -0.375f, block));
  ggml_decode(GgmlType::kIQ4_NL, block, 32, y.data());
  for (int i = 0; i < 32; ++i) CHECK(y[static_cast<std::size_t>(i)] == static_cast<float>(q[i]) * -0.375f);
  CHECK_FALSE(ggml_store_integers(GgmlType::kIQ4_NL, q, 0.1f, block));
  q[7] = 0;
  CHECK_FALSE(ggml_store_integers(GgmlType::kIQ4_NL, q, 0.375f, block));

  for (int i = 0; i < 32; ++i) q[i] = ggml::kE2m1Doubled[i * 5 % 16];
  for (const float d : {0x1p-3f, 0x1p-126f, 0x1p40f}) {
    REQUIRE(ggml_store_integers(GgmlType::kMXFP4, q, d, block));
    ggml_decode(GgmlType::kMXFP4, block, 32, y.data());
    for (int i = 0; i < 32; ++i) CHECK(y[static_cast<std::size_t>(i)] == static_cast<float>(q[i]) * d);
  }
  CHECK_FALSE(ggml_store_integers(GgmlType::kMXFP4, q, 0.375f, block));
  CHECK_FALSE(ggml_store_integers(GgmlType::kMXFP4, q, -0.5f, block));
  CHECK_FALSE(ggml_store_integers(GgmlType::kMXFP4, q, 0x1p127f, block));
  q[7] = 5;
  CHECK_FALSE(ggml_store_integers(GgmlType::kMXFP4, q, 0.5f, block));
  std::uint8_t zeros[17], theirs[17];
  const int none[32] = {};
  REQUIRE(ggml_store_integers(GgmlType::kMXFP4, none, 0x1p-126f, zeros));
  y.assign(32, 0.0f);
  ggml_encode(GgmlType::kMXFP4, y.data(), 32, theirs);
  CHECK(std::memcmp(zeros, theirs, 17) == 0);

  for (int i = 0; i < 32; ++i) q[i] = i * 7 % 16;
  REQUIRE(ggml_store_minimum(q, 0.375f, -0.0123291015625f, block));
  ggml_decode(GgmlType::kQ4_1, block, 32, y.data());
  for (int i = 0; i < 32; ++i)
    CHECK(y[static_cast<std::size_t>(i)] == static_cast<float>(q[i]) * 0.375f - 0.0123291015625f);
  CHECK_FALSE(ggml_store_minimum(q, 0.1f, 0.0f, block));
  CHECK_FALSE(ggml_store_minimum(q, 0.5f, 0.1f, block));
  q[7] = 16;
  CHECK_FALSE(ggml_store_minimum(q, 0.5f, 0.5f, block));
}

TEST_CASE("codes become the Q4_0 block that their integers become, or none") {
  CounterRandom random(3);
  index_t stored = 0, refused = 0;
  for (const int lowest : {-8, -7, -1, 0, 7, 8})
    for (const float d : {0.25f, -0.25f, 0x1p-24f, 0.0f, 0.1f})
      for (int round = 0; round < 40; ++round) {
        std::uint8_t u[32], block[18], expected[18];
        int q[32];
        const auto largest = static_cast<std::uint32_t>(round % 4 == 0 ? 256 : 8 - (lowest > -8 ? lowest : -8));
        for (int i = 0; i < 32; ++i) {
          u[i] = static_cast<std::uint8_t>(random.next_below(largest > 0 ? largest : 1));
          if (round % 4 == 0 && round > 0 && i != round % 32) u[i] = 0;
          q[i] = u[i] + lowest;
        }
        const bool holds = ggml_store_integers(GgmlType::kQ4_0, q, d, expected);
        REQUIRE(ggml_store_q4_0(u, lowest, d, block) == holds);
        if (holds) CHECK(std::memcmp(block, expected, sizeof block) == 0);
        ++(holds ? stored : refused);
      }
  CHECK(stored > 100);
  CHECK(refused > 100);
}
