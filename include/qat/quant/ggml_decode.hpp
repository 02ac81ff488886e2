// Decoding of ggml's blocks, bit for bit as ggml does it.
// Source of layouts: ggml, ggml-common.h (block_*) and ggml-quants.c (dequantize_row_*), version 0.26.
#pragma once

#include <cstring>

#include "qat/base/check.hpp"
#include "qat/numeric/float8.hpp"
#include "qat/quant/float16_rows.hpp"
#include "qat/quant/ggml_type.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0 {

namespace ggml {

/// The 16 levels of IQ4_NL and IQ4_XS.
inline constexpr int kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
/// Twice the values of e2m1, by code.
inline constexpr int kE2m1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

inline float load_half(const std::uint8_t* p) {
  return static_cast<float>(half::from_bits(static_cast<std::uint32_t>(p[0] | p[1] << 8)));
}
inline std::uint32_t load_u32(const std::uint8_t* p) {
  return std::uint32_t{p[0]} | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[3]} << 24;
}
/// Half of the e8m0 value of a byte: what the doubled table is multiplied with.
constexpr float halved_e8m0(int e) {
  return qat::bit_cast<float>(e < 2 ? 0x00200000u << e : static_cast<std::uint32_t>(e - 1) << 23);
}

/// Calls f(element, nibble) for the 32 nibbles of 16 bytes: byte j holds element j below and element j + 16 above.
template <class F>
void for_each_nibble(const std::uint8_t* qs, const F& f) {
  for (int j = 0; j < 16; ++j) f(j, qs[j] & 15);
  for (int j = 0; j < 16; ++j) f(j + 16, qs[j] >> 4);
}

inline void decode_q4_0(const std::uint8_t* b, float* y) {
  const float d = load_half(b);
  for_each_nibble(b + 2, [&](int i, int u) { y[i] = static_cast<float>(u - 8) * d; });
}
inline void decode_q4_1(const std::uint8_t* b, float* y) {
  const float d = load_half(b), m = load_half(b + 2);
  for_each_nibble(b + 4, [&](int i, int u) { y[i] = static_cast<float>(u) * d + m; });
}
inline int fifth_bit(std::uint32_t high, int i) { return static_cast<int>(high >> i & 1u) << 4; }
inline void decode_q5_0(const std::uint8_t* b, float* y) {
  const float d = load_half(b);
  const std::uint32_t high = load_u32(b + 2);
  for_each_nibble(b + 6, [&](int i, int u) { y[i] = static_cast<float>((u | fifth_bit(high, i)) - 16) * d; });
}
inline void decode_q5_1(const std::uint8_t* b, float* y) {
  const float d = load_half(b), m = load_half(b + 2);
  const std::uint32_t high = load_u32(b + 4);
  for_each_nibble(b + 8, [&](int i, int u) { y[i] = static_cast<float>(u | fifth_bit(high, i)) * d + m; });
}
inline void decode_q8_0(const std::uint8_t* b, float* y) {
  const float d = load_half(b);
  for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(static_cast<std::int8_t>(b[2 + i])) * d;
}
inline void decode_q1_0(const std::uint8_t* b, float* y) {
  const float d = load_half(b);
  for (int i = 0; i < 128; ++i) y[i] = (b[2 + i / 8] >> i % 8 & 1) != 0 ? d : -d;
}
inline void decode_q2_0(const std::uint8_t* b, float* y) {
  const float d = load_half(b);
  for (int i = 0; i < 64; ++i) y[i] = static_cast<float>((b[2 + i / 4] >> 2 * (i % 4) & 3) - 1) * d;
}
inline void decode_iq4_nl(const std::uint8_t* b, float* y) {
  const float d = load_half(b);
  for_each_nibble(b + 2, [&](int i, int u) { y[i] = d * static_cast<float>(kIq4Levels[u]); });
}
/// Eight runs of 32 with a 6-bit scale each: low four bits in pairs, high two bits together in one u16.
inline void decode_iq4_xs(const std::uint8_t* b, float* y) {
  const float d = load_half(b);
  const unsigned high = static_cast<unsigned>(b[2] | b[3] << 8);
  for (int run = 0; run < 8; ++run) {
    const int low = b[4 + run / 2] >> 4 * (run % 2) & 15;
    const int scale = low | static_cast<int>(high >> 2 * run & 3u) << 4;
    const float dl = d * static_cast<float>(scale - 32);
    for_each_nibble(b + 8 + 16 * run, [&](int i, int u) { y[32 * run + i] = dl * static_cast<float>(kIq4Levels[u]); });
  }
}
inline void decode_mxfp4(const std::uint8_t* b, float* y) {
  const float d = halved_e8m0(b[0]);
  for_each_nibble(b + 1, [&](int i, int u) { y[i] = static_cast<float>(kE2m1Doubled[u]) * d; });
}
/// Half of the float8 e4m3 scale of a byte, sign not used, without its NaN: 0x7F stands for 0, 0xFF for 480.
inline float halved_ue4m3(std::uint8_t byte) {
  if (byte == 0x7F) return 0.0f;
  if (byte == 0xFF) return 240.0f;
  return 0.5f * static_cast<float>(float8_e4m3::from_bits(byte & 0x7Fu));
}
/// Four runs of 16 with a scale each.
inline void decode_nvfp4(const std::uint8_t* b, float* y) {
  for (int run = 0; run < 4; ++run) {
    const float d = halved_ue4m3(b[run]);
    for (int j = 0; j < 8; ++j) {
      const std::uint8_t pair = b[4 + 8 * run + j];
      y[16 * run + j] = static_cast<float>(kE2m1Doubled[pair & 15]) * d;
      y[16 * run + j + 8] = static_cast<float>(kE2m1Doubled[pair >> 4]) * d;
    }
  }
}

/// Trit n of a byte, most significant first: bytes are fractions of 256.
inline int trit(std::uint8_t byte, int n) {
  constexpr int kPowers[5] = {1, 3, 9, 27, 81};
  return static_cast<std::uint8_t>(byte * kPowers[n]) * 3 >> 8;
}
/// Calls f(byte, element, trit position) for each element of a TQ1_0 block: 32 and 16 bytes of five, 4 of four.
template <class F>
void for_each_trit(const F& f) {
  for (int i = 0; i < 160; ++i) f(i % 32, i, i / 32);
  for (int i = 0; i < 80; ++i) f(32 + i % 16, 160 + i, i / 16);
  for (int i = 0; i < 16; ++i) f(48 + i % 4, 240 + i, i / 4);
}
inline void decode_tq1_0(const std::uint8_t* b, float* y) {
  const float d = load_half(b + 52);
  for_each_trit([&](int byte, int i, int n) { y[i] = static_cast<float>(trit(b[byte], n) - 1) * d; });
}
inline void decode_tq2_0(const std::uint8_t* b, float* y) {
  const float d = load_half(b + 64);
  for (int i = 0; i < 256; ++i) {
    const int byte = i / 128 * 32 + i % 32, shift = i % 128 / 32 * 2;
    y[i] = static_cast<float>((b[byte] >> shift & 3) - 1) * d;
  }
}

/// 16 runs of 16: a nibble of scale and one of minimum each.
inline void decode_q2_k(const std::uint8_t* b, float* y) {
  const std::uint8_t* qs = b + 16;
  const float d = load_half(b + 80), dmin = load_half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const std::uint8_t scale = b[i / 16];
    const float dl = d * static_cast<float>(scale & 15), ml = dmin * static_cast<float>(scale >> 4);
    const int u = qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
    y[i] = dl * static_cast<float>(u) - ml;
  }
}
/// 16 runs of 16: two bits below, one in a mask (absent: -4), a 6-bit scale.
inline void decode_q3_k(const std::uint8_t* b, float* y) {
  const std::uint8_t *mask = b, *qs = b + 32, *scales = b + 96;
  const float d = load_half(b + 108);
  for (int i = 0; i < 256; ++i) {
    const int run = i / 16;
    const int low = run < 8 ? scales[run] & 15 : scales[run - 8] >> 4;
    const int scale = low | (scales[8 + run % 4] >> 2 * (run / 4) & 3) << 4;
    const int u = qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
    const bool set = (mask[i % 32] >> i / 32 & 1) != 0;
    y[i] = d * static_cast<float>(scale - 32) * static_cast<float>(set ? u : u - 4);
  }
}
struct ScaleAndMin {
  float scale, min;
};
/// Of run j of 8 in Q4_K and Q5_K: 6 bits each, in 12 bytes.
inline ScaleAndMin load_scale_and_min(const std::uint8_t* b, int j) {
  const float d = load_half(b), dmin = load_half(b + 2);
  const std::uint8_t* s = b + 4;
  const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
  const int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
  return {d * static_cast<float>(scale), dmin * static_cast<float>(min)};
}
inline void decode_q4_k(const std::uint8_t* b, float* y) {
  for (int run = 0; run < 8; ++run) {
    const ScaleAndMin p = load_scale_and_min(b, run);
    for (int l = 0; l < 32; ++l) {
      const int u = b[16 + run / 2 * 32 + l] >> run % 2 * 4 & 15;
      y[32 * run + l] = p.scale * static_cast<float>(u) - p.min;
    }
  }
}
inline void decode_q5_k(const std::uint8_t* b, float* y) {
  for (int run = 0; run < 8; ++run) {
    const ScaleAndMin p = load_scale_and_min(b, run);
    for (int l = 0; l < 32; ++l) {
      const int u = (b[48 + run / 2 * 32 + l] >> run % 2 * 4 & 15) | (b[16 + l] >> run & 1) << 4;
      y[32 * run + l] = p.scale * static_cast<float>(u) - p.min;
    }
  }
}
/// 16 runs of 16 with an 8-bit scale: four bits in 128 bytes, two more in 64.
inline void decode_q6_k(const std::uint8_t* b, float* y) {
  const std::uint8_t *low = b, *high = b + 128, *scales = b + 192;
  const float d = load_half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int part = i / 128, quarter = i % 128 / 32, l = i % 32;
    const int nibble = low[part * 64 + quarter % 2 * 32 + l] >> quarter / 2 * 4 & 15;
    const int u = nibble | (high[part * 32 + l] >> 2 * quarter & 3) << 4;
    const auto scale = static_cast<float>(static_cast<std::int8_t>(scales[i / 16]));
    y[i] = d * scale * static_cast<float>(u - 32);
  }
}

inline void decode_f32(const std::uint8_t* b, float* y) { std::memcpy(y, b, sizeof *y); }
inline void decode_f16(const std::uint8_t* b, float* y) { *y = load_half(b); }
inline void decode_bf16(const std::uint8_t* b, float* y) {
  *y = static_cast<float>(bfloat16::from_bits(static_cast<std::uint32_t>(b[0] | b[1] << 8)));
}

/// Decodes one block.
using DecodeBlock = void (*)(const std::uint8_t* block, float* out);

/// nullptr for a type that is not decoded here.
constexpr DecodeBlock decoder_of(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return decode_f32;
    case GgmlType::kF16:
      return decode_f16;
    case GgmlType::kBF16:
      return decode_bf16;
    case GgmlType::kQ1_0:
      return decode_q1_0;
    case GgmlType::kQ2_0:
      return decode_q2_0;
    case GgmlType::kQ4_0:
      return decode_q4_0;
    case GgmlType::kQ4_1:
      return decode_q4_1;
    case GgmlType::kQ5_0:
      return decode_q5_0;
    case GgmlType::kQ5_1:
      return decode_q5_1;
    case GgmlType::kQ8_0:
      return decode_q8_0;
    case GgmlType::kQ2_K:
      return decode_q2_k;
    case GgmlType::kQ3_K:
      return decode_q3_k;
    case GgmlType::kQ4_K:
      return decode_q4_k;
    case GgmlType::kQ5_K:
      return decode_q5_k;
    case GgmlType::kQ6_K:
      return decode_q6_k;
    case GgmlType::kIQ4_NL:
      return decode_iq4_nl;
    case GgmlType::kIQ4_XS:
      return decode_iq4_xs;
    case GgmlType::kTQ1_0:
      return decode_tq1_0;
    case GgmlType::kTQ2_0:
      return decode_tq2_0;
    case GgmlType::kMXFP4:
      return decode_mxfp4;
    case GgmlType::kNVFP4:
      return decode_nvfp4;
    default:
      return nullptr;
  }
}

}  // namespace ggml

inline constexpr const char* kGgmlDecoded =
    "F32, F16, BF16, Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, TQ1_0, "
    "TQ2_0, MXFP4, NVFP4";

constexpr bool is_ggml_decoded(GgmlType type) { return ggml::decoder_of(type) != nullptr; }

/// n elements of a type (n: whole blocks) to fp32.
/// @throws qat::Error (kUnsupported, kInvalidArgument) for another type, or a part of a block
inline void ggml_decode(GgmlType type, const std::uint8_t* blocks, index_t n, float* out) {
  const GgmlTypeInfo& t = info(type);
  const ggml::DecodeBlock decode = ggml::decoder_of(type);
  QAT_CHECK(decode != nullptr, kUnsupported, "ggml_decode: type ", t.name, " is not decoded; accepted: ", kGgmlDecoded);
  QAT_CHECK(n >= 0 && n % t.block == 0, kInvalidArgument, "ggml_decode: ", n, " elements of ", t.name,
            "; accepted: a multiple of ", t.block);
  if (type == GgmlType::kF32) {
    if (n > 0) std::memcpy(out, blocks, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  if (type == GgmlType::kF16) return from_half_bits(blocks, n, out);
  if (type == GgmlType::kBF16) return from_bfloat16_bits(blocks, n, out);
  for (index_t i = 0; i < n; i += t.block, blocks += t.bytes) decode(blocks, out + i);
}

}  // namespace qat::inline v0

QAT_EXACT_END
