// Encoding into ggml's blocks: from floats, byte for byte as ggml's reference quantizers (without importance matrix) do
// it, and from integers and scales as they are.
// Source of the rules: ggml, ggml-quants.c (quantize_row_*_ref, quantize_iq4_nl), version 0.26.
#pragma once

#include <cmath>
#include <cstring>

#include "qat/numeric/rounding.hpp"
#include "qat/quant/ggml_decode.hpp"
#include "qat/quant/qparams.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0 {

namespace ggml {

inline void store_u16(std::uint8_t* p, std::uint16_t bits) {
  p[0] = static_cast<std::uint8_t>(bits);
  p[1] = static_cast<std::uint8_t>(bits >> 8);
}
inline void store_half(std::uint8_t* p, float value) { store_u16(p, half(value).bits); }

/// Low 8 bits of the integer part, 0 where no int32 holds it: what ggml's casts to int8 do on x86, where C leaves
/// values out of range undefined.
inline int to_int8(float x) {
  if (!(x > -2147483648.0f && x < 2147483648.0f)) return 0;
  return static_cast<std::int8_t>(static_cast<std::int32_t>(x) & 0xFF);
}
inline int capped(int u, int largest) { return u < largest ? u : largest; }
inline float inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/// Codes u[32] in [0, 15] to 16 bytes, the inverse of for_each_nibble.
inline void store_nibbles(std::uint8_t* qs, const int* u) {
  for (int j = 0; j < 16; ++j) qs[j] = static_cast<std::uint8_t>((u[j] & 15) | u[j + 16] << 4);
}
/// The fifth bits of u[32] in [0, 31], four bytes.
inline void store_fifth_bits(std::uint8_t* qh, const int* u) {
  for (int byte = 0; byte < 4; ++byte) {
    int bits = 0;
    for (int j = 0; j < 8; ++j) bits |= (u[8 * byte + j] >> 4 & 1) << j;
    qh[byte] = static_cast<std::uint8_t>(bits);
  }
}
/// Codes u[256] in [0, 2] to the 52 bytes of trits.
inline void store_trits(std::uint8_t* qs, const int* u) {
  int value[52] = {};
  for_each_trit([&](int byte, int i, int) { value[byte] = value[byte] * 3 + u[i]; });
  for (int byte = 0; byte < 52; ++byte) {
    const int of_243 = byte < 48 ? value[byte] : value[byte] * 3;  // the last bytes hold four trits, the fifth is 0
    qs[byte] = static_cast<std::uint8_t>((of_243 * 256 + 242) / 243);
  }
}
/// Codes u[256] in [0, 3] to 64 bytes.
inline void store_pairs(std::uint8_t* qs, const int* u) {
  for (int byte = 0; byte < 64; ++byte) {
    int bits = 0;
    for (int n = 0; n < 4; ++n) bits |= u[byte / 32 * 128 + n * 32 + byte % 32] << 2 * n;
    qs[byte] = static_cast<std::uint8_t>(bits);
  }
}

struct BlockRange {
  float amax = 0.0f, extremum = 0.0f, min = 0.0f, max = 0.0f;
};
inline BlockRange range_of(const float* x, int n) {
  BlockRange r{0.0f, 0.0f, x[0], x[0]};
  for (int i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    if (r.amax < magnitude) r.amax = magnitude, r.extremum = x[i];
    if (x[i] < r.min) r.min = x[i];
    if (x[i] > r.max) r.max = x[i];
  }
  return r;
}

/// Q4_0 and Q5_0: d = extremum / -2^(bits-1), whose sign is free.
template <int kBits>
void codes_of_signed_extremum(const float* x, float& d, int* u) {
  constexpr int kHalf = 1 << (kBits - 1);
  d = range_of(x, 32).extremum / static_cast<float>(-kHalf);
  const float id = inverse(d);
  for (int i = 0; i < 32; ++i) u[i] = capped(to_int8(x[i] * id + (static_cast<float>(kHalf) + 0.5f)), 2 * kHalf - 1);
}
/// Q4_1 and Q5_1: d = (max - min) / (2^bits - 1).
template <int kBits>
void codes_of_range(const float* x, float& d, float& m, int* u) {
  constexpr int kLargest = (1 << kBits) - 1;
  const BlockRange r = range_of(x, 32);
  m = r.min;
  d = (r.max - r.min) / static_cast<float>(kLargest);
  const float id = inverse(d);
  for (int i = 0; i < 32; ++i) u[i] = capped(to_int8((x[i] - m) * id + 0.5f), kLargest);
}

inline void encode_q4_0(const float* x, std::uint8_t* b) {
  int u[32];
  float d = 0.0f;
  codes_of_signed_extremum<4>(x, d, u);
  store_half(b, d);
  store_nibbles(b + 2, u);
}
inline void encode_q5_0(const float* x, std::uint8_t* b) {
  int u[32];
  float d = 0.0f;
  codes_of_signed_extremum<5>(x, d, u);
  store_half(b, d);
  store_fifth_bits(b + 2, u);
  store_nibbles(b + 6, u);
}
inline void encode_q4_1(const float* x, std::uint8_t* b) {
  int u[32];
  float d = 0.0f, m = 0.0f;
  codes_of_range<4>(x, d, m, u);
  store_half(b, d);
  store_half(b + 2, m);
  store_nibbles(b + 4, u);
}
inline void encode_q5_1(const float* x, std::uint8_t* b) {
  int u[32];
  float d = 0.0f, m = 0.0f;
  codes_of_range<5>(x, d, m, u);
  store_half(b, d);
  store_half(b + 2, m);
  store_fifth_bits(b + 4, u);
  store_nibbles(b + 8, u);
}
inline void encode_q8_0(const float* x, std::uint8_t* b) {
  const float d = range_of(x, 32).amax / 127.0f, id = inverse(d);
  store_half(b, d);
  for (int i = 0; i < 32; ++i) b[2 + i] = static_cast<std::uint8_t>(to_int8(HalfAwayFromZero::round(x[i] * id)));
}
/// The same as x86's vector instructions do it: what no int32 holds becomes the smallest, and int8 saturates.
inline void encode_q8_0_vector(const float* x, std::uint8_t* b) {
  const float amax = range_of(x, 32).amax, id = amax != 0.0f ? 127.0f / amax : 0.0f;
  store_half(b, amax / 127.0f);
  for (int i = 0; i < 32; ++i) {
    const float q = HalfToEven::round(x[i] * id);
    const bool fits = q >= -128.0f && q < 2147483648.0f;
    b[2 + i] = static_cast<std::uint8_t>(fits ? static_cast<int>(q < 127.0f ? q : 127.0f) : -128);
  }
}
/// -1, 0 or 1 plus 1.
inline void codes_of_ternary(const float* x, float d, int* u) {
  const float id = inverse(d);
  for (int i = 0; i < 256; ++i) u[i] = to_int8(HalfAwayFromZero::round(x[i] * id)) + 1;
}
inline void encode_tq1_0(const float* x, std::uint8_t* b) {
  int u[256];
  const float d = range_of(x, 256).amax;
  codes_of_ternary(x, d, u);
  store_trits(b, u);
  store_half(b + 52, d);
}
inline void encode_tq2_0(const float* x, std::uint8_t* b) {
  int u[256];
  const float d = range_of(x, 256).amax;
  codes_of_ternary(x, d, u);
  store_pairs(b, u);
  store_half(b + 64, d);
}

/// The nearest of the doubled e2m1 values times d, the first one on ties.
inline int nearest_e2m1(float x, float d) {
  int best = 0;
  float error = std::fabs(static_cast<float>(kE2m1Doubled[0]) * d - x);
  for (int u = 1; u < 16; ++u) {
    const float other = std::fabs(static_cast<float>(kE2m1Doubled[u]) * d - x);
    if (other < error) best = u, error = other;
  }
  return best;
}
inline void encode_mxfp4(const float* x, std::uint8_t* b) {
  const float amax = range_of(x, 32).amax;
  const int e = amax > 0.0f ? to_int8(std::floor(std::log2(amax)) - 2.0f + 127.0f) & 0xFF : 0;
  int u[32];
  for (int i = 0; i < 32; ++i) u[i] = nearest_e2m1(x[i], halved_e8m0(e));
  b[0] = static_cast<std::uint8_t>(e);
  store_nibbles(b + 1, u);
}

/// The nearest level, the upper one on ties.
inline int nearest_iq4(float x) {
  int upper = 0;
  while (upper < 15 && x >= static_cast<float>(kIq4Levels[upper])) ++upper;
  if (upper == 0) return 0;
  if (upper == 15 && x >= static_cast<float>(kIq4Levels[15])) return 15;
  const float below = x - static_cast<float>(kIq4Levels[upper - 1]);
  const float above = static_cast<float>(kIq4Levels[upper]) - x;
  return below < above ? upper - 1 : upper;
}
/// Scale by least squares weighted with x^2, over the codes of 16 trial scales about extremum / -127.
inline float iq4_scale(const float* x) {
  const BlockRange r = range_of(x, 32);
  if (r.amax < 1e-15f) return 0.0f;
  float d = 0.0f, best = 0.0f;
  const auto fit = [&](float id, bool first) {
    float sum_qx = 0.0f, sum_q2 = 0.0f;
    for (int i = 0; i < 32; ++i) {
      const float q = static_cast<float>(kIq4Levels[nearest_iq4(id * x[i])]), w = x[i] * x[i];
      sum_qx += w * q * x[i];
      sum_q2 += w * q * q;
    }
    if (!first && !(sum_q2 > 0.0f && sum_qx * sum_qx > best * sum_q2)) return;
    d = sum_qx / sum_q2;
    best = d * sum_qx;
  };
  fit(1.0f / (-r.extremum / static_cast<float>(kIq4Levels[0])), true);
  for (int shift = -7; shift <= 7; ++shift) fit(static_cast<float>(shift + kIq4Levels[0]) / r.extremum, false);
  return d;
}
inline void encode_iq4_nl(const float* x, std::uint8_t* b) {
  const float d = iq4_scale(x), id = inverse(d);
  int u[32];
  for (int i = 0; i < 32; ++i) u[i] = nearest_iq4(id * x[i]);
  store_half(b, d);
  store_nibbles(b + 2, u);
}

inline void encode_f32(const float* x, std::uint8_t* b) { std::memcpy(b, x, sizeof *x); }
inline void encode_f16(const float* x, std::uint8_t* b) { store_half(b, *x); }
inline void encode_bf16(const float* x, std::uint8_t* b) { store_u16(b, bfloat16(*x).bits); }

/// Encodes one block.
using EncodeBlock = void (*)(const float* x, std::uint8_t* block);

/// nullptr for a type that is not encoded here.
constexpr EncodeBlock encoder_of(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return encode_f32;
    case GgmlType::kF16:
      return encode_f16;
    case GgmlType::kBF16:
      return encode_bf16;
    case GgmlType::kQ4_0:
      return encode_q4_0;
    case GgmlType::kQ4_1:
      return encode_q4_1;
    case GgmlType::kQ5_0:
      return encode_q5_0;
    case GgmlType::kQ5_1:
      return encode_q5_1;
    case GgmlType::kQ8_0:
      return encode_q8_0;
    case GgmlType::kIQ4_NL:
      return encode_iq4_nl;
    case GgmlType::kTQ1_0:
      return encode_tq1_0;
    case GgmlType::kTQ2_0:
      return encode_tq2_0;
    case GgmlType::kMXFP4:
      return encode_mxfp4;
    default:
      return nullptr;
  }
}

}  // namespace ggml

inline constexpr const char* kGgmlEncoded = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, TQ1_0, TQ2_0, MXFP4";

constexpr bool is_ggml_encoded(GgmlType type) { return ggml::encoder_of(type) != nullptr; }

/// n floats (n: whole blocks) to blocks of a type. Codes of a block with a NaN, or whose scale no half holds, are some
/// codes: ggml's are undefined there.
/// @throws qat::Error (kUnsupported, kInvalidArgument) for another type, or a part of a block
inline void ggml_encode(GgmlType type, const float* x, index_t n, std::uint8_t* out) {
  const GgmlTypeInfo& t = info(type);
  const ggml::EncodeBlock encode = ggml::encoder_of(type);
  QAT_CHECK(encode != nullptr, kUnsupported, "ggml_encode: type ", t.name, " is not encoded; accepted: ", kGgmlEncoded);
  QAT_CHECK(n >= 0 && n % t.block == 0, kInvalidArgument, "ggml_encode: ", n, " elements for ", t.name,
            "; accepted: a multiple of ", t.block);
  if (type == GgmlType::kF32) {
    if (n > 0) std::memcpy(out, x, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  if (type == GgmlType::kF16) return to_half_bits(x, n, out);
  if (type == GgmlType::kBF16) return to_bfloat16_bits(x, n, out);
  for (index_t i = 0; i < n; i += t.block, out += t.bytes) encode(x + i, out);
}

namespace ggml {
/// The half that is the value, if there is one.
inline bool is_half(float value, std::uint16_t* bits = nullptr) {
  const std::uint32_t b = qat::bit_cast<std::uint32_t>(value), magnitude = b & 0x7FFFFFFFu;
  if ((b & 0x1FFFu) == 0 && magnitude - 0x38800000u < 0x0F000000u) {  // a normal one
    if (bits != nullptr) *bits = static_cast<std::uint16_t>((b >> 16 & 0x8000u) | (magnitude - 0x38000000u) >> 13);
    return true;
  }
  const half rounded(value);
  if (bits != nullptr) *bits = rounded.bits;
  return static_cast<float>(rounded) == value && !is_nonfinite(value);
}

/// Codes q + offset, if all lie in [0, largest].
inline bool shift_codes(const int* q, int n, int offset, int largest, int* u) {
  for (int i = 0; i < n; ++i) {
    u[i] = q[i] + offset;
    if (u[i] < 0 || u[i] > largest) return false;
  }
  return true;
}
/// Q4_1: u = q - low with a minimum low * d that a half holds; low may be anything from max - 15 to min.
inline bool store_q4_1_integers(const int* q, float d, std::uint8_t* b) {
  int u[32], min = q[0], max = q[0];
  for (int i = 1; i < 32; ++i) {
    if (q[i] < min) min = q[i];
    if (q[i] > max) max = q[i];
  }
  for (int low = min; low >= max - 15; --low) {
    const float m = static_cast<float>(low) * d;
    if (!is_half(m)) continue;
    shift_codes(q, 32, -low, 15, u);
    store_half(b, d);
    store_half(b + 2, m);
    store_nibbles(b + 4, u);
    return true;
  }
  return false;
}
/// Codes of the levels q of a table of 16 integers, each of which is another.
inline bool level_codes(const int (&levels)[16], const int* q, int* u) {
  for (int i = 0; i < 32; ++i) {
    u[i] = 0;
    while (u[i] < 16 && levels[u[i]] != q[i]) ++u[i];
    if (u[i] == 16) return false;
  }
  return true;
}
/// The byte e whose halved_e8m0 is d; 0, as ggml has it, for a block of zeros.
inline bool mxfp4_exponent(const int* q, float d, std::uint8_t& e) {
  e = 0;
  for (int i = 0; i < 32; ++i)
    if (q[i] != 0) {
      const std::uint32_t bits = qat::bit_cast<std::uint32_t>(d);
      if ((bits & 0x807FFFFFu) != 0 || bits == 0 || bits >= 0x7F000000u) return false;
      e = static_cast<std::uint8_t>((bits >> 23) + 1);
      return true;
    }
  return true;
}
}  // namespace ggml

/// One block of the values q * d with the integers and the scale as they are, never requantized.
/// @param type  Q4_0, Q4_1, Q5_0, Q8_0, IQ4_NL, MXFP4 (q in units of half the scale), TQ1_0 or TQ2_0
/// @return false where the block does not hold them exactly: an integer beyond the type's range, a scale (or minimum)
///         that no half holds
inline bool ggml_store_integers(GgmlType type, const int* q, float d, std::uint8_t* out) {
  int u[256];
  if (type == GgmlType::kMXFP4) {
    if (!ggml::mxfp4_exponent(q, d, out[0]) || !ggml::level_codes(ggml::kE2m1Doubled, q, u)) return false;
    ggml::store_nibbles(out + 1, u);
    return true;
  }
  if (!ggml::is_half(d)) return false;
  switch (type) {
    case GgmlType::kQ4_0:
      if (!ggml::shift_codes(q, 32, 8, 15, u)) return false;
      ggml::store_half(out, d);
      ggml::store_nibbles(out + 2, u);
      return true;
    case GgmlType::kQ4_1:
      return ggml::store_q4_1_integers(q, d, out);
    case GgmlType::kQ5_0:
      if (!ggml::shift_codes(q, 32, 16, 31, u)) return false;
      ggml::store_half(out, d);
      ggml::store_fifth_bits(out + 2, u);
      ggml::store_nibbles(out + 6, u);
      return true;
    case GgmlType::kQ8_0:
      if (!ggml::shift_codes(q, 32, 128, 255, u)) return false;
      ggml::store_half(out, d);
      for (int i = 0; i < 32; ++i) out[2 + i] = static_cast<std::uint8_t>(q[i]);
      return true;
    case GgmlType::kIQ4_NL:
      if (!ggml::level_codes(ggml::kIq4Levels, q, u)) return false;
      ggml::store_half(out, d);
      ggml::store_nibbles(out + 2, u);
      return true;
    case GgmlType::kTQ1_0:
      if (!ggml::shift_codes(q, 256, 1, 2, u)) return false;
      ggml::store_trits(out, u);
      ggml::store_half(out + 52, d);
      return true;
    case GgmlType::kTQ2_0:
      if (!ggml::shift_codes(q, 256, 1, 2, u)) return false;
      ggml::store_pairs(out, u);
      ggml::store_half(out + 64, d);
      return true;
    default:
      raise(ErrorCode::kUnsupported, "ggml_store_integers: type ", info(type).name,
            "; accepted: Q4_0, Q4_1, Q5_0, Q8_0, IQ4_NL, MXFP4, TQ1_0, TQ2_0");
  }
}

/// ggml_store_integers() of a Q4_0 block of integers u + lowest, lowest at least -8; eight codes at a time, as the
/// bytes of a word.
inline bool ggml_store_q4_0(const std::uint8_t* u, int lowest, float d, std::uint8_t* out) {
  constexpr std::uint64_t kEach = 0x0101010101010101u;
  std::uint16_t bits = 0;
  if (lowest > 7 || !ggml::is_half(d, &bits)) return false;
  std::uint64_t codes[4], beyond = 0;
  std::memcpy(codes, u, sizeof codes);
  for (const std::uint64_t code : codes) beyond |= code;
  if ((beyond & 0xF0 * kEach) != 0) return false;  // and none carries into the next
  beyond = 0;
  for (std::uint64_t& code : codes) beyond |= code += static_cast<std::uint64_t>(lowest + 8) * kEach;
  if ((beyond & 0xF0 * kEach) != 0) return false;
  const std::uint64_t nibbles[] = {codes[0] | codes[2] << 4, codes[1] | codes[3] << 4};
  ggml::store_u16(out, bits);
  std::memcpy(out + 2, nibbles, sizeof nibbles);
  return true;
}

/// One Q4_1 block of the values u * d + m, as they are.
/// @return false where a code is beyond 15, or d or m no half
inline bool ggml_store_minimum(const int* u, float d, float m, std::uint8_t* out) {
  int codes[32];
  if (!ggml::is_half(d) || !ggml::is_half(m) || !ggml::shift_codes(u, 32, 0, 15, codes)) return false;
  ggml::store_half(out, d);
  ggml::store_half(out + 2, m);
  ggml::store_nibbles(out + 4, codes);
  return true;
}

/// ggml's two ways to quantize activations to Q8_0. They differ on ties and where amax is near the smallest floats.
enum class Q8Rounding {
  kReference,  ///< x * (1 / (amax / 127)), ties away from zero: quantize_row_q8_0_ref, and plain C on any processor
  kVector,     ///< x * (127 / amax), ties to even: what x86 with AVX2 computes
};

/// A row of activations to Q8_0 blocks; n: a multiple of 32.
inline void ggml_encode_q8_0(const float* x, index_t n, std::uint8_t* out, Q8Rounding rounding) {
  if (rounding == Q8Rounding::kReference) return ggml_encode(GgmlType::kQ8_0, x, n, out);
  QAT_CHECK(n >= 0 && n % 32 == 0, kInvalidArgument, "ggml_encode_q8_0: ", n, " elements; accepted: a multiple of 32");
  for (index_t i = 0; i < n; i += 32, out += 34) ggml::encode_q8_0_vector(x + i, out);
}

}  // namespace qat::inline v0

QAT_EXACT_END
