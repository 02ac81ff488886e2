// Encoding into ggml's blocks: laws on random rows. Golden data: test/golden/ggml.
#include "qat/quant/ggml_encode.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

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

TEST_CASE("ggml blocks: a part of a block and a type that is not encoded are refused by name") {
  const float x[64] = {};
  std::uint8_t out[64];
  QAT_CHECK_ERROR(ggml_encode(GgmlType::kQ8_0, x, 33, out), "33 elements for Q8_0", "multiple of 32");
  QAT_CHECK_ERROR(ggml_encode_q8_0(x, 33, out, Q8Rounding::kVector), "33 elements", "multiple of 32");
  QAT_CHECK_ERROR(ggml_encode(GgmlType::kQ4_K, x, 0, out), "Q4_K is not encoded", "accepted: F32");
}
