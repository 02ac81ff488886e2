// How a thread of a GPU writes runs of elements: to strided and to packed views.
#pragma once

#include "qat/ops/device_form.hpp"

namespace qat::inline v0::expr {

/// Destinations. is_wide and each_pointer as for nodes; store writes the first n of W elements, none for n <= 0.
template <class T, int Rank>
struct DeviceForm<ViewDestination<T, Rank>> {
  using Out = ViewDestination<T, Rank>;
  static constexpr int kBytes = static_cast<int>(sizeof(T));
  static constexpr bool kPacked = false;

  template <class F>
  static void each_pointer(const Out& out, F&& f) {
    f("destination", out.view.data, alignof(T));
  }
  template <int W>
  static bool is_wide(const Out& out) {
    constexpr index_t size = access_bytes(static_cast<int>(W * sizeof(T)));
    bool wide = out.view.stride[Rank - 1] == 1 && reinterpret_cast<std::uintptr_t>(out.view.data) % size == 0;
    for (int d = 0; d + 1 < Rank; ++d)
      wide = wide && (out.view.shape[d] == 1 || out.view.stride[d] * kBytes % size == 0);
    return wide;
  }
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static void store(const Context& c, const Out& out, const Position& at, index_t n,
                                               const Elements<T, W>& x) {
    if (n <= 0) return;
    T* p = out.view.data + offset_of(out.view.stride, at);
    if (Wide && n >= W) return store_elements<W>(c, p, x);
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i)
      if (i < n) c.store(p + i * out.view.stride[Rank - 1], x.at[i]);
  }
};

template <class T, int Rank>
struct DeviceForm<PackedDestination<T, Rank>> {
  using Out = PackedDestination<T, Rank>;
  static constexpr int kBytes = 1;
  static constexpr bool kPacked = true;
  static constexpr int kBits = T::kBits;
  static constexpr bool kOneAccess = (kBits & (kBits - 1)) == 0;

  /// Every run of eight elements from a multiple of eight on fills whole bytes: no two of them share one.
  static bool has_whole_bytes(const Out& out) {
    bool whole = out.view.stride[Rank - 1] == 1 && out.view.offset % 8 == 0;
    for (int d = 0; d + 1 < Rank; ++d) whole = whole && (out.view.shape[d] == 1 || out.view.stride[d] % 8 == 0);
    return whole;
  }
  template <class F>
  static void each_pointer(const Out& out, F&& f) {
    f("destination", out.view.bytes, std::size_t{1});
  }
  template <int W>
  static bool is_wide(const Out& out) {
    static_assert(W == 8);
    const auto bytes = reinterpret_cast<std::uintptr_t>(out.view.bytes);
    return has_whole_bytes(out) &&
           (!kOneAccess || (bytes + static_cast<std::uintptr_t>(out.view.offset / 8 * kBits)) % kBits == 0);
  }
  /// For destinations that has_whole_bytes. Bits of the last byte behind the row stay as they are.
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static void store(const Context& c, const Out& out, const Position& at, index_t n,
                                               const Elements<T, W>& x) {
    static_assert(W == 8);
    if (n <= 0) return;
    std::uint64_t word = 0;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i)
      if (i < n) word |= static_cast<std::uint64_t>(x.at[i].bits()) << i * kBits;
    std::uint8_t* p = out.view.bytes + (out.view.offset + offset_of(out.view.stride, at)) / 8 * kBits;
    if constexpr (Wide && kOneAccess) {
      if (n >= W) {
        if constexpr (kBits == 8) {
          const cuda::Bytes8 raw = {{static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)}};
          return c.store(reinterpret_cast<cuda::Bytes8*>(p), raw);
        } else {
          using Access = detail::Access<kBits>;
          return c.store(reinterpret_cast<Access*>(p), static_cast<Access>(word));
        }
      }
    }
    const int bits = static_cast<int>(n >= W ? W : n) * kBits;
    QAT_CUDA_UNROLL
    for (int i = 0; i < kBits; ++i) {
      std::uint32_t byte = static_cast<std::uint32_t>(word >> 8 * i) & 0xFFu;
      if (8 * i >= bits) break;
      if (bits - 8 * i < 8) byte |= c.load(p + i) & (0xFFu << (bits - 8 * i)) & 0xFFu;
      c.store(p + i, static_cast<std::uint8_t>(byte));
    }
  }
};

/// Writes consecutive packed elements, each byte once.
template <class Context>
struct CodeWriter {
  const Context& c;
  std::uint8_t* bytes;
  index_t byte = -1;
  std::uint32_t value = 0, mask = 0;

  QAT_HOST_DEVICE QAT_INLINE void put(index_t i, int width, std::uint32_t bits) {
    for (index_t bit = i * width, end = bit + width; bit < end;) {
      if (bit >> 3 != byte) flush();
      byte = bit >> 3;
      const int shift = static_cast<int>(bit & 7);
      const int n = static_cast<int>(end - bit < 8 - shift ? end - bit : 8 - shift);
      value |= (bits & ((1u << n) - 1u)) << shift;
      mask |= ((1u << n) - 1u) << shift;
      bits >>= n;
      bit += n;
    }
  }
  QAT_HOST_DEVICE QAT_INLINE void flush() {
    if (mask != 0) {
      if (mask != 0xFFu) value |= c.load(bytes + byte) & ~mask;
      c.store(bytes + byte, static_cast<std::uint8_t>(value));
    }
    value = mask = 0;
  }
};

}  // namespace qat::inline v0::expr
