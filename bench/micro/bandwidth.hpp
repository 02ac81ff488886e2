// What memory gives one thread: the fastest read, the fastest copy and the fastest move of other mixes of bytes read
// and written, of several ways each.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>

#include "qat/base/aligned.hpp"
#include "qat/simd/target.hpp"

namespace qat::bench {

#if QAT_HAVE_X86_TARGETS
/// Reads n floats (a multiple of 1024) as `streams` runs side by side, fetching `ahead` floats in advance unless 0.
template <int streams, int ahead>
__attribute__((target("avx2"))) inline void read_floats(const float* x, index_t n) {
  const index_t part = n / streams;
  __m256i seen[8] = {};
  for (index_t i = 0; i < part; i += 64 / streams * 2) QAT_UNROLL(4)
  for (index_t s = 0; s < streams; ++s) QAT_UNROLL(16)
  for (index_t k = 0; k < 16 / streams; ++k) {
    const float* p = x + s * part + i + 8 * k;
    if (ahead != 0 && k % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(p + ahead), _MM_HINT_T0);
    seen[(s * 16 / streams + k) % 8] =
        _mm256_xor_si256(seen[(s * 16 / streams + k) % 8], _mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  }
  for (__m256i& v : seen) asm volatile("" ::"x"(v));
}
__attribute__((target("avx2"))) inline void copy_plain(const float* x, float* y, index_t n) {
  for (index_t i = 0; i < n; i += 8) _mm256_store_ps(y + i, _mm256_load_ps(x + i));
}
__attribute__((target("avx2"))) inline void copy_stream(const float* x, float* y, index_t n) {
  for (index_t i = 0; i < n; i += 8) _mm256_stream_ps(y + i, _mm256_load_ps(x + i));
  _mm_sfence();
}
/// Loads a block of at most 1024 floats, then streams it out.
template <int block>
__attribute__((target("avx2"))) inline void copy_blocked(const float* x, float* y, index_t n) {
  for (index_t i = 0; i < n; i += block) {
    if constexpr (block <= 128) {
      __m256 v[block / 8];
      QAT_UNROLL(16)
      for (int k = 0; k < block / 8; ++k) v[k] = _mm256_load_ps(x + i + 8 * k);
      QAT_UNROLL(16)
      for (int k = 0; k < block / 8; ++k) asm volatile("" : "+x"(v[k]));
      QAT_UNROLL(16)
      for (int k = 0; k < block / 8; ++k) _mm256_stream_ps(y + i + 8 * k, v[k]);
    } else {
      for (int k = 0; k < block; k += 16) _mm_prefetch(reinterpret_cast<const char*>(x + i + k + block), _MM_HINT_T0);
      for (int k = 0; k < block; k += 8) _mm256_stream_ps(y + i + k, _mm256_load_ps(x + i + k));
    }
  }
  _mm_sfence();
}
/// 512 bytes through the wide registers, as element-wise kernels do it.
__attribute__((target("avx512f"))) inline void copy_blocked_zmm(const float* x, float* y, index_t n) {
  for (index_t i = 0; i < n; i += 128) {
    __m512 v[8];
    QAT_UNROLL(8)
    for (int k = 0; k < 8; ++k) v[k] = _mm512_load_ps(x + i + 16 * k);
    QAT_UNROLL(8)
    for (int k = 0; k < 8; ++k) asm volatile("" : "+v"(v[k]));
    QAT_UNROLL(8)
    for (int k = 0; k < 8; ++k) _mm512_stream_ps(y + i + 16 * k, v[k]);
  }
  _mm_sfence();
}
/// Reads `reads` lines of each source and writes `writes` lines, `steps` times.
template <int reads, int sources, int writes, bool streams>
__attribute__((target("avx512f"))) inline void move_mix(const float* x, const float* z, float* y, index_t steps) {
  for (index_t i = 0; i < steps; ++i, x += 16 * reads, z += 16 * reads, y += 16 * writes) {
    __m512i v[reads];
    for (int k = 0; k < reads; ++k) {
      v[k] = _mm512_load_si512(x + 16 * k);
      if (sources == 2) v[k] = _mm512_xor_si512(v[k], _mm512_load_si512(z + 16 * k));
    }
    for (int k = writes; k < reads; ++k) v[0] = _mm512_xor_si512(v[0], v[k]);
    for (int k = 0; k < writes; ++k)
      streams ? _mm512_stream_si512(reinterpret_cast<__m512i*>(y + 16 * k), v[k % reads])
              : _mm512_store_si512(y + 16 * k, v[k % reads]);
  }
  _mm_sfence();
}
#endif

namespace detail {
template <class F>
double fastest(int repeats, F&& run) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}
}  // namespace detail

/// Seconds of the fastest way to read n floats (a multiple of 1024, 64-byte aligned).
inline double fastest_read(const float* x, index_t n, int repeats = 2) {
#if QAT_HAVE_X86_TARGETS
  if (is_supported(Target::kAvx2)) {
    double best = detail::fastest(repeats, [&] { read_floats<1, 0>(x, n); });
    best = std::min(best, detail::fastest(repeats, [&] { read_floats<4, 0>(x, n); }));
    best = std::min(best, detail::fastest(repeats, [&] { read_floats<1, 512>(x, n); }));
    return std::min(best, detail::fastest(repeats, [&] { read_floats<4, 512>(x, n); }));
  }
#endif
  return detail::fastest(repeats, [&] {
    float seen[16] = {};
    for (index_t i = 0; i < n; i += 16)
      for (int k = 0; k < 16; ++k) seen[k] += x[i + k];
    for (float v : seen) asm volatile("" ::"m"(v));
  });
}

/// Seconds of the fastest copy of n floats (a multiple of 4096): memcpy, plain stores, non-temporal stores, and blocks
/// that are loaded and then streamed.
inline double fastest_copy(const float* x, float* y, index_t n, int repeats = 2) {
  double best = detail::fastest(repeats, [&] { std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(float)); });
#if QAT_HAVE_X86_TARGETS
  if (is_supported(Target::kAvx2)) {
    best = std::min(best, detail::fastest(repeats, [&] { copy_plain(x, y, n); }));
    best = std::min(best, detail::fastest(repeats, [&] { copy_stream(x, y, n); }));
    best = std::min(best, detail::fastest(repeats, [&] { copy_blocked<128>(x, y, n); }));
    best = std::min(best, detail::fastest(repeats, [&] { copy_blocked<1024>(x, y, n); }));
    best = std::min(best, detail::fastest(repeats, [&] { copy_blocked<4096>(x, y, n); }));
  }
  if (is_supported(Target::kAvx512))
    best = std::min(best, detail::fastest(repeats, [&] { copy_blocked_zmm(x, y, n); }));
#endif
  return best;
}

/// Seconds of the fastest way to read `reads` lines of 64 bytes of each source for every `writes` written, n floats
/// written in all (a multiple of 1024): the mix of a pass that does no arithmetic.
template <int reads, int sources, int writes>
double fastest_mix(const float* x, const float* z, float* y, index_t n, int repeats = 2) {
  const index_t steps = n / (16 * writes);
#if QAT_HAVE_X86_TARGETS
  if (is_supported(Target::kAvx512))
    return std::min(detail::fastest(repeats, [&] { move_mix<reads, sources, writes, true>(x, z, y, steps); }),
                    detail::fastest(repeats, [&] { move_mix<reads, sources, writes, false>(x, z, y, steps); }));
#endif
  return detail::fastest(repeats, [&] {
    const float *p = x, *q = z;
    float* to = y;
    for (index_t i = 0; i < steps; ++i, p += 16 * reads, q += 16 * reads, to += 16 * writes) {
      float v[16] = {};
      for (int k = 0; k < 16 * reads; ++k) v[k % 16] += sources == 2 ? p[k] + q[k] : p[k];
      for (int k = 0; k < 16 * writes; ++k) to[k] = v[k % 16];
    }
  });
}

}  // namespace qat::bench
