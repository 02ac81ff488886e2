// Four consecutive elements of a thread: how kernels read and write rows of fp32 and bfloat16, as fp32 in registers.
#pragma once

#include "qat/kernels/cuda/context.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

QAT_HOST_DEVICE inline float to_float(float x) { return x; }
QAT_HOST_DEVICE inline float to_float(bfloat16 x) { return low_bf16(x.bits); }

/// fp32 rounded to the grid of T.
template <class T, class Context>
QAT_HOST_DEVICE float round_to_element(const Context& c, float x) {
  if constexpr (sizeof(T) == 2) return low_bf16(c.bf16_pair(x, 0.0f));
  return x;
}

template <class T, class Context>
QAT_HOST_DEVICE T to_element(const Context& c, float x) {
  if constexpr (sizeof(T) == 2)
    return T::from_bits(c.bf16_pair(x, 0.0f) & 0xFFFFu);
  else
    return x;
}

/// The larger and the smaller of two numbers; of a number and a NaN the number.
QAT_HOST_DEVICE inline float larger(float a, float b) {
#if defined(__CUDA_ARCH__)
  return fmaxf(a, b);
#else
  return a > b || b != b ? a : b;
#endif
}
QAT_HOST_DEVICE inline float smaller(float a, float b) {
#if defined(__CUDA_ARCH__)
  return fminf(a, b);
#else
  return a < b || b != b ? a : b;
#endif
}
QAT_HOST_DEVICE inline float magnitude(float x) { return bit_cast<float>(bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu); }
QAT_HOST_DEVICE inline bool is_finite(float x) { return magnitude(x) <= 0x1.FFFFFEp127f; }

/// Which caches a load goes through: as Context's load, load_stream and load_cached.
enum class Access { kPlain, kStream, kCached };

template <Access kAccess = Access::kPlain, class Context, class T>
QAT_HOST_DEVICE T load_as(const Context& c, const T* p) {
  if constexpr (kAccess == Access::kStream) return c.load_stream(p);
  if constexpr (kAccess == Access::kCached) return c.load_cached(p);
  return c.load(p);
}

/// p[0 .. 4) as fp32, in one access of 16 or 8 bytes.
template <Access kAccess = Access::kPlain, class Context>
QAT_HOST_DEVICE void load4(const Context& c, const float* p, float (&x)[4]) {
  const Bytes16 raw = load_as<kAccess>(c, reinterpret_cast<const Bytes16*>(p));
  for (int i = 0; i < 4; ++i) x[i] = bit_cast<float>(raw.word[i]);
}
template <Access kAccess = Access::kPlain, class Context>
QAT_HOST_DEVICE void load4(const Context& c, const bfloat16* p, float (&x)[4]) {
  const Bytes8 raw = load_as<kAccess>(c, reinterpret_cast<const Bytes8*>(p));
  x[0] = low_bf16(raw.word[0]);
  x[1] = high_bf16(raw.word[0]);
  x[2] = low_bf16(raw.word[1]);
  x[3] = high_bf16(raw.word[1]);
}
/// p[0 .. n) for n < 4 or where p is not aligned, the rest 0; n <= 0 reads nothing.
template <Access kAccess = Access::kPlain, class Context, class T>
QAT_HOST_DEVICE void load4(const Context& c, const T* p, index_t n, bool aligned, float (&x)[4]) {
  if (aligned && n >= 4) return load4<kAccess>(c, p, x);
  for (int i = 0; i < 4; ++i) x[i] = i < n ? to_float(load_as<kAccess>(c, p + i)) : 0.0f;
}

/// x rounded to the elements of p, in one access.
template <bool kStream = false, class Context>
QAT_HOST_DEVICE void store4(const Context& c, float* p, const float (&x)[4]) {
  Bytes16 raw;
  for (int i = 0; i < 4; ++i) raw.word[i] = bit_cast<std::uint32_t>(x[i]);
  kStream ? c.store_stream(reinterpret_cast<Bytes16*>(p), raw) : c.store(reinterpret_cast<Bytes16*>(p), raw);
}
template <bool kStream = false, class Context>
QAT_HOST_DEVICE void store4(const Context& c, bfloat16* p, const float (&x)[4]) {
  const Bytes8 raw = {{c.bf16_pair(x[0], x[1]), c.bf16_pair(x[2], x[3])}};
  kStream ? c.store_stream(reinterpret_cast<Bytes8*>(p), raw) : c.store(reinterpret_cast<Bytes8*>(p), raw);
}
template <bool kStream = false, class Context, class T>
QAT_HOST_DEVICE void store4(const Context& c, T* p, index_t n, bool aligned, const float (&x)[4]) {
  if (aligned && n >= 4) return store4<kStream>(c, p, x);
  for (int i = 0; i < 4; ++i)
    if (i < n) c.store(p + i, to_element<T>(c, x[i]));
}

/// E elements, 4 in one access or 1, as memory has them: so that several arrays are asked for before the first of them
/// is waited for. Zeros unless valid.
template <class T, int E>
using RawElements = std::conditional_t<E == 1, T, std::conditional_t<sizeof(T) == 2, Bytes8, Bytes16>>;
template <class T, int E, Access kAccess = Access::kPlain, class Context>
QAT_HOST_DEVICE RawElements<T, E> load_raw(const Context& c, const T* p, bool valid) {
  static_assert(E == 1 || E == 4);
  using Raw = RawElements<T, E>;
  return valid ? load_as<kAccess>(c, reinterpret_cast<const Raw*>(p)) : Raw{};
}
QAT_HOST_DEVICE inline void elements_of(const Bytes16& raw, float (&x)[4]) {
  for (int i = 0; i < 4; ++i) x[i] = bit_cast<float>(raw.word[i]);
}
QAT_HOST_DEVICE inline void elements_of(const Bytes8& raw, float (&x)[4]) {
  for (int i = 0; i < 4; ++i) x[i] = i % 2 == 0 ? low_bf16(raw.word[i / 2]) : high_bf16(raw.word[i / 2]);
}
template <class T>
QAT_HOST_DEVICE void elements_of(const T& raw, float (&x)[1]) {
  x[0] = to_float(raw);
}
template <class T, class Context>
QAT_HOST_DEVICE void store_elements(const Context& c, T* p, const float (&x)[4]) {
  store4(c, p, x);
}
template <class T, class Context>
QAT_HOST_DEVICE void store_elements(const Context& c, T* p, const float (&x)[1]) {
  c.store(p, to_element<T>(c, x[0]));
}

/// True where load4 and store4 may take their one access at p + 4 i.
template <class T>
bool is_aligned4(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % (4 * sizeof(T)) == 0;
}

}  // namespace qat::inline v0::cuda
