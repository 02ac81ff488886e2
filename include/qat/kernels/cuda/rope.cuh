// Kernel of kernels/cuda/rope.hpp: a thread turns as many pairs as two vectors hold, or one.
#pragma once

#include "qat/kernels/cuda/elements.hpp"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/rope.hpp"

namespace qat::inline v0::cuda {

namespace detail {

/// kVectors: both elements of N neighbouring pairs are two vectors; else one pair a thread.
template <class T, bool kVectors>
struct RopePairs {
  static constexpr int kThreads = 256, kMinBlocks = 5;
  static constexpr int N = kVectors ? Vector<T>::kSize : 1;
  RopeArgs<T> args;
  index_t threads;  // that have pairs

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = index_t{c.block()} * kThreads + c.thread();
    if (i >= threads) return;
    const index_t half = args.head_dim / 2, of_head = half / N, of_token = of_head * args.heads;
    const index_t token = i / of_token, rest = i % of_token;
    const index_t head = rest / of_head, pair = rest % of_head * N;
    const index_t position = args.sequence == 0 ? token : token % args.sequence;
    const index_t base = token * args.token_stride + head * args.head_dim;
    const index_t first = args.interleaved ? base + 2 * pair : base + pair;
    const index_t second = args.interleaved ? first + N : first + half;
    float p[N], q[N], cosine[N], sine[N];
    get(c, args.x + first, p);
    get(c, args.x + second, q);
    angles(c, args.cosine + position * half + pair, cosine);
    angles(c, args.sine + position * half + pair, sine);
    if (args.interleaved) split(p, q);
    QAT_CUDA_UNROLL
    for (int k = 0; k < N; ++k) {
      const float a = p[k], b = q[k], s = args.backward ? -sine[k] : sine[k];
      p[k] = c.sub(c.mul(a, cosine[k]), c.mul(b, s));
      q[k] = c.add(c.mul(b, cosine[k]), c.mul(a, s));
    }
    if (args.interleaved) join(p, q);
    put(c, args.y + first, p);
    put(c, args.y + second, q);
  }

 private:
  template <class Context>
  QAT_HOST_DEVICE static void get(const Context& c, const T* from, float (&x)[N]) {
    if constexpr (kVectors) {
      unpack<T>(c.load(reinterpret_cast<const Bytes16*>(from)), x);
    } else {
      x[0] = to_float(c.load(from));
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static void put(const Context& c, T* to, const float (&x)[N]) {
    if constexpr (kVectors) {
      c.store(reinterpret_cast<Bytes16*>(to), Vector<T>::pack(c, x));
    } else {
      c.store(to, to_element<T>(c, x[0]));
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static void angles(const Context& c, const float* from, float (&x)[N]) {
    if constexpr (kVectors) {
      QAT_CUDA_UNROLL
      for (int k = 0; k < N; k += 4) {
        const Bytes16 four = c.load_cached(reinterpret_cast<const Bytes16*>(from + k));
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) x[k + j] = bit_cast<float>(four.word[j]);
      }
    } else {
      x[0] = c.load_cached(from);
    }
  }
  /// p0 p1 .. | q0 q1 .. as memory has them to the pairs' first elements in p, second in q; and back.
  QAT_HOST_DEVICE static void split(float (&p)[N], float (&q)[N]) {
    float all[2 * N];
    QAT_CUDA_UNROLL
    for (int k = 0; k < N; ++k) all[k] = p[k], all[N + k] = q[k];
    QAT_CUDA_UNROLL
    for (int k = 0; k < N; ++k) p[k] = all[2 * k], q[k] = all[2 * k + 1];
  }
  QAT_HOST_DEVICE static void join(float (&p)[N], float (&q)[N]) {
    float all[2 * N];
    QAT_CUDA_UNROLL
    for (int k = 0; k < N; ++k) all[2 * k] = p[k], all[2 * k + 1] = q[k];
    QAT_CUDA_UNROLL
    for (int k = 0; k < N; ++k) p[k] = all[k], q[k] = all[N + k];
  }
};

}  // namespace detail

template <class T>
void rope(const CudaBackend& backend, const RopeArgs<T>& given) {
  RopeArgs<T> args = given;
  if (args.token_stride == 0) args.token_stride = args.heads * args.head_dim;
  QAT_CHECK(args.head_dim > 0 && args.head_dim % 2 == 0, kInvalidArgument, "rope: head_dim is ", args.head_dim,
            ", must be even and positive");
  QAT_CHECK(args.token_stride >= args.heads * args.head_dim, kShapeMismatch, "rope: tokens are ", args.token_stride,
            " elements apart, ", args.heads, " heads of ", args.head_dim, " need more");
  constexpr index_t N = Vector<T>::kSize;
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  const bool vectors = args.head_dim % (2 * N) == 0 && args.token_stride % N == 0 && aligned(args.x) &&
                       aligned(args.y) && aligned(args.cosine) && aligned(args.sine);
  const index_t threads = args.tokens * args.heads * (args.head_dim / 2) / (vectors ? N : 1);
  const index_t blocks = (threads + 255) / 256;
  QAT_CHECK(blocks <= 0x7FFFFFFF, kUnsupported, "rope: ", args.tokens, " tokens of ", args.heads, " x ", args.head_dim,
            " elements are too many");
  const auto run = [&](const auto& kernel) {
    launch(backend, Grid{static_cast<unsigned>(blocks)}, kernel, "rope (", args.tokens, ", ", args.heads, ", ",
           args.head_dim, ")");
  };
  if (vectors) return run(detail::RopePairs<T, true>{args, threads});
  run(detail::RopePairs<T, false>{args, threads});
}

}  // namespace qat::inline v0::cuda
