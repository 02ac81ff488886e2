// Decoding of ggml's blocks: hand-made blocks, and what is not accepted. Golden data: test/golden/ggml.
#include "qat/quant/ggml_decode.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("ggml blocks: every type that is decoded writes its block of elements and no more") {
  for (const GgmlTypeInfo& type : kGgmlTypes) {
    if (!is_ggml_decoded(type.type)) continue;
    INFO(type.name);
    const std::vector<std::uint8_t> zeros(static_cast<std::size_t>(2 * type.bytes));
    std::vector<float> out(static_cast<std::size_t>(2 * type.block + 1), 7.0f);
    ggml_decode(type.type, zeros.data(), 2 * type.block, out.data());
    for (int i = 0; i < 2 * type.block; ++i) CHECK(out[static_cast<std::size_t>(i)] != 7.0f);
    CHECK(out.back() == 7.0f);
  }
}

TEST_CASE("ggml blocks: the place of every element of Q4_0, Q8_0 and TQ2_0") {
  float out[256];
  for (int i = 0; i < 32; ++i) {
    std::uint8_t q4_0[18] = {0x00, 0x3C}, q8_0[34] = {0x00, 0xC0};  // d = 1, d = -2
    q4_0[2 + i % 16] = static_cast<std::uint8_t>(0xF << 4 * (i / 16));
    q8_0[2 + i] = 0x81;
    ggml_decode(GgmlType::kQ4_0, q4_0, 32, out);
    for (int j = 0; j < 32; ++j) CHECK(out[j] == (j == i ? 7.0f : -8.0f));
    ggml_decode(GgmlType::kQ8_0, q8_0, 32, out);
    for (int j = 0; j < 32; ++j) CHECK(out[j] == (j == i ? 254.0f : 0.0f));
  }
  for (int i = 0; i < 256; ++i) {
    std::uint8_t tq2_0[66] = {};
    tq2_0[65] = 0x3C;
    tq2_0[i / 128 * 32 + i % 32] = static_cast<std::uint8_t>(2 << i % 128 / 32 * 2);
    ggml_decode(GgmlType::kTQ2_0, tq2_0, 256, out);
    for (int j = 0; j < 256; ++j) CHECK(out[j] == (j == i ? 1.0f : -1.0f));
  }
}

TEST_CASE("ggml blocks: a part of a block and a type that is not decoded are refused by name") {
  const std::uint8_t bytes[64] = {};
  float out[64];
  QAT_CHECK_ERROR(ggml_decode(GgmlType::kQ4_0, bytes, 33, out), "33 elements of Q4_0", "multiple of 32");
  QAT_CHECK_ERROR(ggml_decode(GgmlType::kQ4_0, bytes, -32, out), "-32 elements");
  QAT_CHECK_ERROR(ggml_decode(GgmlType::kIQ1_S, bytes, 0, out), "IQ1_S is not decoded", "Q4_0");
}
