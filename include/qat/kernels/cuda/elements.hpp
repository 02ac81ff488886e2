// Sixteen bytes of fp32 or bfloat16 as a thread holds them: to and from fp32, and their extremes. NaN is carried, not
// dropped, so that one comparison at the end tells whether every element was finite.
#pragma once

#include "qat/kernels/cuda/lanes.hpp"

namespace qat::inline v0::cuda {

inline constexpr float kInfinity = __builtin_huge_valf();

/// The larger and the smaller number; NaN if either is NaN. Which of two zeros is not said.
QAT_HOST_DEVICE inline float max_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__)
  float d;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(d) : "f"(a), "f"(b));
  return d;
#else
  return a != a ? a : b != b ? b : a > b ? a : b;
#endif
}
QAT_HOST_DEVICE inline float min_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__)
  float d;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(d) : "f"(a), "f"(b));
  return d;
#else
  return a != a ? a : b != b ? b : a < b ? a : b;
#endif
}
/// max_or_nan and min_or_nan on words of two bfloat16.
QAT_HOST_DEVICE inline std::uint32_t max_or_nan_bf16x2(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  std::uint32_t d;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
#else
  return (bit_cast<std::uint32_t>(max_or_nan(high_bf16(a), high_bf16(b))) & 0xFFFF0000u) |
         bit_cast<std::uint32_t>(max_or_nan(low_bf16(a), low_bf16(b))) >> 16;
#endif
}
QAT_HOST_DEVICE inline std::uint32_t min_or_nan_bf16x2(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  std::uint32_t d;
  asm("min.NaN.bf16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
#else
  return (bit_cast<std::uint32_t>(min_or_nan(high_bf16(a), high_bf16(b))) & 0xFFFF0000u) |
         bit_cast<std::uint32_t>(min_or_nan(low_bf16(a), low_bf16(b))) >> 16;
#endif
}

/// Bytes16 as kSize elements of T.
template <class T>
struct Vector;

template <>
struct Vector<float> {
  static constexpr int kSize = 4;
  QAT_HOST_DEVICE static float get(const Bytes16& v, int i) { return bit_cast<float>(v.word[i]); }
  QAT_HOST_DEVICE static void clear(Bytes16& v, int i) { v.word[i] = 0; }
  /// c: the context of a kernel.
  template <class Context>
  QAT_HOST_DEVICE static Bytes16 pack(const Context&, const float (&x)[4]) {
    return {{bit_cast<std::uint32_t>(x[0]), bit_cast<std::uint32_t>(x[1]), bit_cast<std::uint32_t>(x[2]),
             bit_cast<std::uint32_t>(x[3])}};
  }
  QAT_HOST_DEVICE static float magnitude(const Bytes16& v) {
    return max_or_nan(max_or_nan(cuda::magnitude(get(v, 0)), cuda::magnitude(get(v, 1))),
                      max_or_nan(cuda::magnitude(get(v, 2)), cuda::magnitude(get(v, 3))));
  }
  QAT_HOST_DEVICE static float largest(const Bytes16& v) {
    return max_or_nan(max_or_nan(get(v, 0), get(v, 1)), max_or_nan(get(v, 2), get(v, 3)));
  }
  QAT_HOST_DEVICE static float smallest(const Bytes16& v) {
    return min_or_nan(min_or_nan(get(v, 0), get(v, 1)), min_or_nan(get(v, 2), get(v, 3)));
  }
};

template <>
struct Vector<bfloat16> {
  static constexpr int kSize = 8;
  QAT_HOST_DEVICE static float get(const Bytes16& v, int i) {
    return i % 2 == 0 ? low_bf16(v.word[i / 2]) : high_bf16(v.word[i / 2]);
  }
  QAT_HOST_DEVICE static void clear(Bytes16& v, int i) { v.word[i / 2] &= i % 2 == 0 ? 0xFFFF0000u : 0x0000FFFFu; }
  /// Half to even.
  template <class Context>
  QAT_HOST_DEVICE static Bytes16 pack(const Context& c, const float (&x)[8]) {
    return {{c.bf16_pair(x[0], x[1]), c.bf16_pair(x[2], x[3]), c.bf16_pair(x[4], x[5]), c.bf16_pair(x[6], x[7])}};
  }
  QAT_HOST_DEVICE static float magnitude(const Bytes16& v) {
    constexpr std::uint32_t kMagnitudes = 0x7FFF7FFFu;
    const std::uint32_t m = max_or_nan_bf16x2(max_or_nan_bf16x2(v.word[0] & kMagnitudes, v.word[1] & kMagnitudes),
                                              max_or_nan_bf16x2(v.word[2] & kMagnitudes, v.word[3] & kMagnitudes));
    return max_or_nan(low_bf16(m), high_bf16(m));
  }
  QAT_HOST_DEVICE static float largest(const Bytes16& v) {
    const std::uint32_t m =
        max_or_nan_bf16x2(max_or_nan_bf16x2(v.word[0], v.word[1]), max_or_nan_bf16x2(v.word[2], v.word[3]));
    return max_or_nan(low_bf16(m), high_bf16(m));
  }
  QAT_HOST_DEVICE static float smallest(const Bytes16& v) {
    const std::uint32_t m =
        min_or_nan_bf16x2(min_or_nan_bf16x2(v.word[0], v.word[1]), min_or_nan_bf16x2(v.word[2], v.word[3]));
    return min_or_nan(low_bf16(m), high_bf16(m));
  }
};

/// The elements of v in fp32.
template <class T>
QAT_HOST_DEVICE void unpack(const Bytes16& v, float (&x)[Vector<T>::kSize]) {
  for (int i = 0; i < Vector<T>::kSize; ++i) x[i] = Vector<T>::get(v, i);
}

/// fp32 values to the nearest bfloat16, kept as fp32.
template <int N, class Context>
QAT_HOST_DEVICE void round_to_bf16(const Context& c, float (&x)[N]) {
  static_assert(N % 2 == 0);
  for (int i = 0; i < N; i += 2) {
    const std::uint32_t pair = c.bf16_pair(x[i], x[i + 1]);
    x[i] = low_bf16(pair);
    x[i + 1] = high_bf16(pair);
  }
}

}  // namespace qat::inline v0::cuda
