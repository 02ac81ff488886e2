// How a thread of a GPU evaluates the nodes of an expression and writes the result: in runs of W consecutive elements
// of a row. Loads come first and arithmetic after them, so that a thread that evaluates several runs has the loads of
// all of them in flight. The processor's form of the same nodes is their bind() and load().
#pragma once

#include "qat/expr/assignment.hpp"
#include "qat/kernels/cuda/context.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::expr {

/// W consecutive elements in registers.
template <class T, int W>
struct Elements {
  T at[W];
};

/// Size of one access to n bytes, and the alignment it needs.
constexpr int access_bytes(int n) { return n % 16 == 0 ? 16 : n; }

namespace detail {
template <class Part, int N>
struct Parts {
  Part part[N];
};

template <class Part, class T, int W, class Context>
QAT_HOST_DEVICE QAT_INLINE Elements<T, W> load_parts(const Context& c, const T* p) {
  constexpr int n = static_cast<int>(W * sizeof(T) / sizeof(Part));
  Parts<Part, n> parts;
  QAT_CUDA_UNROLL
  for (int i = 0; i < n; ++i) parts.part[i] = c.load(reinterpret_cast<const Part*>(p) + i);
  return bit_cast<Elements<T, W>>(parts);
}
template <class Part, class T, int W, class Context>
QAT_HOST_DEVICE QAT_INLINE void store_parts(const Context& c, T* p, const Elements<T, W>& x) {
  constexpr int n = static_cast<int>(W * sizeof(T) / sizeof(Part));
  const auto parts = bit_cast<Parts<Part, n>>(x);
  QAT_CUDA_UNROLL
  for (int i = 0; i < n; ++i) c.store(reinterpret_cast<Part*>(p) + i, parts.part[i]);
}

/// The widest type that W elements of T are read and written as.
template <int kBytes>
constexpr auto access_type() {
  static_assert(kBytes % 16 == 0 || kBytes == 8 || kBytes == 4 || kBytes == 2 || kBytes == 1);
  if constexpr (kBytes % 16 == 0)
    return cuda::Bytes16{};
  else if constexpr (kBytes == 8)
    return cuda::Bytes8{};
  else if constexpr (kBytes == 4)
    return std::uint32_t{};
  else if constexpr (kBytes == 2)
    return std::uint16_t{};
  else
    return std::uint8_t{};
}
template <int kBytes>
using Access = decltype(access_type<kBytes>());
}  // namespace detail

/// p[0 .. W) in the widest accesses; p aligned to access_bytes(W * sizeof(T)).
template <int W, class T, class Context>
QAT_HOST_DEVICE QAT_INLINE Elements<T, W> load_elements(const Context& c, const T* p) {
  return detail::load_parts<detail::Access<static_cast<int>(W * sizeof(T))>, T, W>(c, p);
}
template <int W, class T, class Context>
QAT_HOST_DEVICE QAT_INLINE void store_elements(const Context& c, T* p, const Elements<T, W>& x) {
  detail::store_parts<detail::Access<static_cast<int>(W * sizeof(T))>, T, W>(c, p, x);
}

/// a / b, neither negative: a 64-bit division takes a GPU four times as long.
QAT_HOST_DEVICE QAT_INLINE index_t quotient(index_t a, index_t b) {
  const auto x = static_cast<std::uint64_t>(a), y = static_cast<std::uint64_t>(b);
  if (((x | y) >> 32) == 0) return static_cast<index_t>(static_cast<std::uint32_t>(x) / static_cast<std::uint32_t>(y));
  return a / b;
}

/// Elements between the first one of a strided view and the one at `at`.
template <int Rank>
QAT_HOST_DEVICE QAT_INLINE index_t offset_of(const index_t (&stride)[Rank], const Position& at) {
  index_t offset = at.column * stride[Rank - 1];
  QAT_CUDA_UNROLL
  for (int d = 0; d + 1 < Rank; ++d) offset += at.row[d] * stride[d];
  return offset;
}

/// Elements of a row that a group of lanes takes together: as many runs of W as there are lanes, of which those beyond
/// the group are empty. Without nodes that choose parameters from groups, one lane and W elements.
struct GroupedLanes {
  index_t group = 0;
  int lanes = 1;
};

/// The power of two of lanes that cover a group in runs of W; 64 for more than a warp has.
template <int W>
QAT_HOST_DEVICE QAT_INLINE constexpr int lanes_of(index_t group) {
  int lanes = 1;
  while (lanes < 64 && lanes * W < group) lanes *= 2;
  return lanes;
}

/// What a node is to a GPU. Static members of a specialization:
///   kBytes, kPacked                size of the largest element that is read; packed codes are read
///   kQuantizes, kGroups            quantizes; chooses parameters from groups
///   is_wide<W>(node)               runs of W at multiples of W may be read in the widest accesses, and share
///   parameters is_plain(node)                 quantization is that of expr::is_plain schemes group<W>(node,
///   GroupedLanes&)  enlarges it by the groups that parameters are chosen from Fetched<W>                     a run as
///   loaded fetch<W, Wide>(c, node, at, n) loads the first n of W elements from `at` on; none for n <= 0 compute<W,
///   Plain>(c, node, fetched, n)   -> Elements<value_type, W>, of which n are meant. Called by whole warps
template <class Node>
struct DeviceForm {
  static_assert(sizeof(Node) == 0,
                "qat: this node or destination has no form for GPUs: specialize qat::expr::DeviceForm for it");
};

template <class T, int Rank>
struct DeviceForm<ViewNode<T, Rank>> {
  using Node = ViewNode<T, Rank>;
  static constexpr int kBytes = static_cast<int>(sizeof(T));
  static constexpr bool kPacked = false, kQuantizes = false, kGroups = false;

  template <int W>
  static bool is_wide(const Node& node) {
    constexpr index_t size = access_bytes(static_cast<int>(W * sizeof(T)));
    const View<const T, Rank>& v = node.view;
    if (v.stride[Rank - 1] == 0) return true;  // one element, repeated
    bool wide = v.stride[Rank - 1] == 1 && reinterpret_cast<std::uintptr_t>(v.data) % size == 0;
    for (int d = 0; d + 1 < Rank; ++d) wide = wide && v.stride[d] * kBytes % size == 0;
    return wide;
  }
  static bool is_plain(const Node&) { return true; }
  template <class F>
  static void each_pointer(const Node& node, F&& f) {
    f("operand", node.view.data, alignof(T));
  }
  template <int W>
  static void group(const Node&, GroupedLanes&) {}

  template <int W>
  using Fetched = Elements<T, W>;
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<T, W> fetch(const Context& c, const Node& node, const Position& at,
                                                         index_t n) {
    Elements<T, W> x{};
    if (n <= 0) return x;
    const T* p = node.view.data + offset_of(node.view.stride, at);
    const index_t step = node.view.stride[Rank - 1];
    if (Wide && step == 0) {
      const T value = c.load(p);
      QAT_CUDA_UNROLL
      for (int i = 0; i < W; ++i) x.at[i] = value;
      return x;
    }
    if (Wide && n >= W) return load_elements<W>(c, p);
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i)
      if (i < n) x.at[i] = c.load(p + i * step);
    return x;
  }
  template <int W, bool, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<T, W> compute(const Context&, const Node&, const Elements<T, W>& fetched,
                                                           index_t) {
    return fetched;
  }
};

/// Packed element i of `width` bits, as detail::load_packed.
template <class Context>
QAT_HOST_DEVICE QAT_INLINE std::uint32_t load_code(const Context& c, const std::uint8_t* bytes, index_t i, int width) {
  const index_t bit = i * width;
  const int shift = static_cast<int>(bit & 7);
  std::uint32_t word = c.load(bytes + (bit >> 3));
  if (8 % width != 0 && shift + width > 8) word |= static_cast<std::uint32_t>(c.load(bytes + (bit >> 3) + 1)) << 8;
  return (word >> shift) & ((1u << width) - 1);
}

template <class T, int Rank>
struct DeviceForm<PackedNode<T, Rank>> {
  using Node = PackedNode<T, Rank>;
  static constexpr int kBytes = 1;
  static constexpr bool kPacked = true, kQuantizes = false, kGroups = false;
  static constexpr int kBits = T::kBits;  ///< and the bytes of eight elements
  static constexpr bool kOneAccess = (kBits & (kBits - 1)) == 0;

  template <int W>
  static bool is_wide(const Node& node) {
    static_assert(W == 8);
    const PackedView<const T, Rank>& v = node.view;
    if (v.stride[Rank - 1] == 0) return true;
    const auto aligned = [](index_t elements) { return elements % 8 == 0; };
    const index_t size = kOneAccess ? kBits : 1;
    bool wide = v.stride[Rank - 1] == 1 && aligned(v.offset) &&
                (reinterpret_cast<std::uintptr_t>(v.bytes) + static_cast<std::uintptr_t>(v.offset / 8 * kBits)) %
                        static_cast<std::uintptr_t>(size) ==
                    0;
    for (int d = 0; d + 1 < Rank; ++d) wide = wide && aligned(v.stride[d]);
    return wide;
  }
  static bool is_plain(const Node&) { return true; }
  template <class F>
  static void each_pointer(const Node& node, F&& f) {
    f("operand", node.view.bytes, std::size_t{1});
  }
  template <int W>
  static void group(const Node&, GroupedLanes&) {}

  template <int W>
  using Fetched = std::uint64_t;  ///< element i in bits [i * kBits, (i + 1) * kBits)
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static std::uint64_t fetch(const Context& c, const Node& node, const Position& at,
                                                        index_t n) {
    static_assert(W == 1 || W == 8);
    std::uint64_t word = 0;
    if (n <= 0) return word;
    const index_t first = node.view.offset + offset_of(node.view.stride, at), step = node.view.stride[Rank - 1];
    if (Wide && step == 0) {
      const std::uint64_t code = load_code(c, node.view.bytes, first, kBits);
      QAT_CUDA_UNROLL
      for (int i = 0; i < W; ++i) word |= code << i * kBits;
      return word;
    }
    if constexpr (Wide) {
      const std::uint8_t* p = node.view.bytes + first / 8 * kBits;
      if constexpr (kOneAccess) {
        if (n >= W) {
          if constexpr (kBits == 8) {
            const cuda::Bytes8 raw = c.load(reinterpret_cast<const cuda::Bytes8*>(p));
            return raw.word[0] | static_cast<std::uint64_t>(raw.word[1]) << 32;
          } else {
            return c.load(reinterpret_cast<const detail::Access<kBits>*>(p));
          }
        }
      }
      const int bytes = static_cast<int>(n >= W ? kBits : (n * kBits + 7) / 8);
      QAT_CUDA_UNROLL
      for (int i = 0; i < kBits; ++i)
        if (i < bytes) word |= static_cast<std::uint64_t>(c.load(p + i)) << 8 * i;
      return word;
    } else {
      QAT_CUDA_UNROLL
      for (int i = 0; i < W; ++i)
        if (i < n)
          word |= static_cast<std::uint64_t>(load_code(c, node.view.bytes, first + i * step, kBits)) << i * kBits;
      return word;
    }
  }
  template <int W, bool, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<T, W> compute(const Context&, const Node&, std::uint64_t word, index_t) {
    Elements<T, W> x;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) x.at[i] = T::from_bits(static_cast<std::uint32_t>(word >> i * kBits));
    return x;
  }
};

template <class T>
struct DeviceForm<ScalarNode<T>> {
  using Node = ScalarNode<T>;
  static constexpr int kBytes = 0;
  static constexpr bool kPacked = false, kQuantizes = false, kGroups = false;

  template <int W>
  static bool is_wide(const Node&) {
    return true;
  }
  static bool is_plain(const Node&) { return true; }
  template <class Visit>
  static void each_pointer(const Node&, Visit&&) {}
  template <int W>
  static void group(const Node&, GroupedLanes&) {}

  struct Nothing {};
  template <int W>
  using Fetched = Nothing;
  template <int W, bool, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Nothing fetch(const Context&, const Node&, const Position&, index_t) {
    return {};
  }
  template <int W, bool, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<T, W> compute(const Context&, const Node& node, Nothing, index_t) {
    Elements<T, W> x;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) x.at[i] = node.value;
    return x;
  }
};

template <class F, int Rank>
struct DeviceForm<IndexNode<F, Rank>> {
  using Node = IndexNode<F, Rank>;
  static constexpr int kBytes = 0;
  static constexpr bool kPacked = false, kQuantizes = false, kGroups = false;

  template <int W>
  static bool is_wide(const Node&) {
    return true;
  }
  static bool is_plain(const Node&) { return true; }
  template <class Visit>
  static void each_pointer(const Node&, Visit&&) {}
  template <int W>
  static void group(const Node&, GroupedLanes&) {}

  template <int W>
  using Fetched = Position;
  template <int W, bool, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Position fetch(const Context&, const Node&, const Position& at, index_t) {
    return at;
  }
  template <int W, bool, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<typename Node::value_type, W> compute(const Context&, const Node& node,
                                                                                   const Position& at, index_t n) {
    Elements<typename Node::value_type, W> x{};
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i)
      if (i < n) x.at[i] = Node::call(node.f, at, i);  // f need not be defined elsewhere
    return x;
  }
};

template <class F, class A>
struct DeviceForm<UnaryNode<F, A>> {
  using Node = UnaryNode<F, A>;
  using FormA = DeviceForm<A>;
  static constexpr int kBytes = FormA::kBytes;
  static constexpr bool kPacked = FormA::kPacked, kQuantizes = FormA::kQuantizes, kGroups = FormA::kGroups;

  template <int W>
  static bool is_wide(const Node& node) {
    return FormA::template is_wide<W>(node.a);
  }
  static bool is_plain(const Node& node) { return FormA::is_plain(node.a); }
  template <class Visit>
  static void each_pointer(const Node& node, Visit&& f) {
    FormA::each_pointer(node.a, f);
  }
  template <int W>
  static void group(const Node& node, GroupedLanes& lanes) {
    FormA::template group<W>(node.a, lanes);
  }

  template <int W>
  using Fetched = typename FormA::template Fetched<W>;
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Fetched<W> fetch(const Context& c, const Node& node, const Position& at,
                                                     index_t n) {
    return FormA::template fetch<W, Wide>(c, node.a, at, n);
  }
  template <int W, bool Plain, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<typename Node::value_type, W> compute(const Context& c, const Node& node,
                                                                                   const Fetched<W>& fetched,
                                                                                   index_t n) {
    const auto a = FormA::template compute<W, Plain>(c, node.a, fetched, n);
    Elements<typename Node::value_type, W> x;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) x.at[i] = node.f(a.at[i]);
    return x;
  }
};

template <class F, class A, class B>
struct DeviceForm<BinaryNode<F, A, B>> {
  using Node = BinaryNode<F, A, B>;
  using FormA = DeviceForm<A>;
  using FormB = DeviceForm<B>;
  static constexpr int kBytes = FormA::kBytes > FormB::kBytes ? FormA::kBytes : FormB::kBytes;
  static constexpr bool kPacked = FormA::kPacked || FormB::kPacked;
  static constexpr bool kQuantizes = FormA::kQuantizes || FormB::kQuantizes;
  static constexpr bool kGroups = FormA::kGroups || FormB::kGroups;

  template <int W>
  static bool is_wide(const Node& node) {
    return FormA::template is_wide<W>(node.a) && FormB::template is_wide<W>(node.b);
  }
  static bool is_plain(const Node& node) { return FormA::is_plain(node.a) && FormB::is_plain(node.b); }
  template <class Visit>
  static void each_pointer(const Node& node, Visit&& f) {
    FormA::each_pointer(node.a, f);
    FormB::each_pointer(node.b, f);
  }
  template <int W>
  static void group(const Node& node, GroupedLanes& lanes) {
    FormA::template group<W>(node.a, lanes);
    FormB::template group<W>(node.b, lanes);
  }

  template <int W>
  struct Fetched {
    typename FormA::template Fetched<W> a;
    typename FormB::template Fetched<W> b;
  };
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Fetched<W> fetch(const Context& c, const Node& node, const Position& at,
                                                     index_t n) {
    return {FormA::template fetch<W, Wide>(c, node.a, at, n), FormB::template fetch<W, Wide>(c, node.b, at, n)};
  }
  template <int W, bool Plain, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<typename Node::value_type, W> compute(const Context& c, const Node& node,
                                                                                   const Fetched<W>& fetched,
                                                                                   index_t n) {
    const auto a = FormA::template compute<W, Plain>(c, node.a, fetched.a, n);
    const auto b = FormB::template compute<W, Plain>(c, node.b, fetched.b, n);
    Elements<typename Node::value_type, W> x;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) x.at[i] = node.f(a.at[i], b.at[i]);
    return x;
  }
};

template <class F, class A, class B, class C>
struct DeviceForm<TernaryNode<F, A, B, C>> {
  using Node = TernaryNode<F, A, B, C>;
  using FormA = DeviceForm<A>;
  using FormB = DeviceForm<B>;
  using FormC = DeviceForm<C>;
  static constexpr int kBytesAB = FormA::kBytes > FormB::kBytes ? FormA::kBytes : FormB::kBytes;
  static constexpr int kBytes = kBytesAB > FormC::kBytes ? kBytesAB : FormC::kBytes;
  static constexpr bool kPacked = FormA::kPacked || FormB::kPacked || FormC::kPacked;
  static constexpr bool kQuantizes = FormA::kQuantizes || FormB::kQuantizes || FormC::kQuantizes;
  static constexpr bool kGroups = FormA::kGroups || FormB::kGroups || FormC::kGroups;

  template <int W>
  static bool is_wide(const Node& node) {
    return FormA::template is_wide<W>(node.a) && FormB::template is_wide<W>(node.b) &&
           FormC::template is_wide<W>(node.c);
  }
  static bool is_plain(const Node& node) {
    return FormA::is_plain(node.a) && FormB::is_plain(node.b) && FormC::is_plain(node.c);
  }
  template <class Visit>
  static void each_pointer(const Node& node, Visit&& f) {
    FormA::each_pointer(node.a, f);
    FormB::each_pointer(node.b, f);
    FormC::each_pointer(node.c, f);
  }
  template <int W>
  static void group(const Node& node, GroupedLanes& lanes) {
    FormA::template group<W>(node.a, lanes);
    FormB::template group<W>(node.b, lanes);
    FormC::template group<W>(node.c, lanes);
  }

  template <int W>
  struct Fetched {
    typename FormA::template Fetched<W> a;
    typename FormB::template Fetched<W> b;
    typename FormC::template Fetched<W> c;
  };
  template <int W, bool Wide, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Fetched<W> fetch(const Context& c, const Node& node, const Position& at,
                                                     index_t n) {
    return {FormA::template fetch<W, Wide>(c, node.a, at, n), FormB::template fetch<W, Wide>(c, node.b, at, n),
            FormC::template fetch<W, Wide>(c, node.c, at, n)};
  }
  template <int W, bool Plain, class Context>
  QAT_HOST_DEVICE QAT_INLINE static Elements<typename Node::value_type, W> compute(const Context& ctx, const Node& node,
                                                                                   const Fetched<W>& fetched,
                                                                                   index_t n) {
    const auto a = FormA::template compute<W, Plain>(ctx, node.a, fetched.a, n);
    const auto b = FormB::template compute<W, Plain>(ctx, node.b, fetched.b, n);
    const auto c = FormC::template compute<W, Plain>(ctx, node.c, fetched.c, n);
    Elements<typename Node::value_type, W> x;
    QAT_CUDA_UNROLL
    for (int i = 0; i < W; ++i) x.at[i] = node.f(a.at[i], b.at[i], c.at[i]);
    return x;
  }
};

}  // namespace qat::inline v0::expr

QAT_EXACT_END
