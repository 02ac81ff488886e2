// Kernels of kernels/cuda/cross_entropy.hpp: a block for a row, twice over it; the second time it comes from the L2
// cache, which holds the rows that are being worked on.
#pragma once

#include "qat/kernels/cuda/cross_entropy.hpp"
#include "qat/kernels/cuda/elements.hpp"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/reduce.hpp"

namespace qat::inline v0::cuda {

namespace detail {

/// e^x for x <= 0.
template <class T, class Context>
QAT_HOST_DEVICE float exponential(const Context& c, float x) {
  return sizeof(T) == 2 ? c.exp2(c.mul(x, 1.44269504f)) : c.exp(x);
}

/// The largest of some numbers, and the sum of e^(x - largest).
struct SoftmaxSum {
  float largest = -kInfinity, sum = 0.0f;

  template <class T, class Context>
  QAT_HOST_DEVICE void merge(const Context& c, const SoftmaxSum& other) {
    const float high = larger(largest, other.largest);
    if (high == -kInfinity) return;  // both empty: infinity less infinity
    sum = c.add(c.mul(sum, exponential<T>(c, c.sub(largest, high))),
                c.mul(other.sum, exponential<T>(c, c.sub(other.largest, high))));
    largest = high;
  }
};

/// kVectors: rows are whole aligned vectors; else element by element.
template <class T, bool kVectors>
struct CrossEntropyRow {
  static constexpr int kThreads = 512, kMinBlocks = 3;
  static constexpr int N = kVectors ? Vector<T>::kSize : 1;
  static constexpr int kAhead = kVectors ? 2 : 4;  // vectors asked for at a time
  CrossEntropyArgs<T> args;

  using Raw = std::conditional_t<kVectors, Bytes16, T>;
  /// Elements [at, at + N) of a row as memory has them, nothing beyond the row.
  template <class Context>
  QAT_HOST_DEVICE Raw ask(const Context& c, const T* row, index_t at) const {
    return at < args.stride ? c.load(reinterpret_cast<const Raw*>(row + at)) : Raw{};
  }
  /// In fp32, -infinity where they are padding.
  QAT_HOST_DEVICE void get(const Raw& raw, index_t at, float (&x)[N]) const {
    if constexpr (kVectors) {
      unpack<T>(raw, x);
    } else {
      x[0] = to_float(raw);
    }
    if (at + N <= args.columns) return;
    QAT_CUDA_UNROLL
    for (int i = 0; i < N; ++i)
      if (at + i >= args.columns) x[i] = -kInfinity;
  }
  template <class Context>
  QAT_HOST_DEVICE static void put(const Context& c, T* row, index_t at, const float (&x)[N]) {
    if constexpr (kVectors) {
      c.store(reinterpret_cast<Bytes16*>(row + at), Vector<T>::pack(c, x));
    } else {
      c.store(row + at, to_element<T>(c, x[0]));
    }
  }

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t row = c.block();
    const T* const logits = args.logits + row * args.stride;
    const std::int32_t target = c.load(args.targets + row);
    const bool valid = target >= 0 && target < args.columns;
    if (target == args.ignore_index || !valid) {
      if (args.losses != nullptr && c.thread() == 0)
        c.store(args.losses + row, target == args.ignore_index ? 0.0f : bit_cast<float>(0x7FC00000u));
      if (args.dlogits != nullptr) {
        const float zeros[N] = {};
        for (index_t at = index_t{c.thread()} * N; at < args.stride; at += kThreads * N)
          put(c, args.dlogits + row * args.stride, at, zeros);
      }
      return;
    }
    const float chosen = c.thread() == 0 ? to_float(c.load(logits + target)) : 0.0f;
    SoftmaxSum own;
    for (index_t first = index_t{c.thread()} * N; first < args.stride; first += kAhead * kThreads * N) {
      Raw raw[kAhead];
      QAT_CUDA_UNROLL
      for (int u = 0; u < kAhead; ++u) raw[u] = ask(c, logits, first + u * kThreads * N);
      float x[kAhead][N];
      QAT_CUDA_UNROLL
      for (int u = 0; u < kAhead; ++u) get(raw[u], first + u * kThreads * N, x[u]);
      float high = own.largest;
      QAT_CUDA_UNROLL
      for (int u = 0; u < kAhead; ++u) QAT_CUDA_UNROLL
      for (int i = 0; i < N; ++i) high = larger(high, x[u][i]);
      if (high == -kInfinity) continue;
      own.sum = c.mul(own.sum, exponential<T>(c, c.sub(own.largest, high)));
      own.largest = high;
      QAT_CUDA_UNROLL
      for (int u = 0; u < kAhead; ++u) QAT_CUDA_UNROLL
      for (int i = 0; i < N; ++i) own.sum = c.add(own.sum, exponential<T>(c, c.sub(x[u][i], high)));
    }
    for (unsigned mask = 16; mask > 0; mask /= 2) {
      const SoftmaxSum other{c.shuffle_xor(own.largest, mask), c.shuffle_xor(own.sum, mask)};
      own.merge<T>(c, other);
    }
    const auto parts = c.template shared<SoftmaxSum>(0);
    if (c.lane() == 0) parts.store(c.warp(), own);
    c.sync();
    SoftmaxSum all = parts.load(0);
    for (unsigned w = 1; w < kThreads / 32; ++w) all.merge<T>(c, parts.load(w));

    if (args.losses != nullptr && c.thread() == 0)
      c.store(args.losses + row, c.add(c.log(all.sum), c.sub(all.largest, chosen)));
    if (args.dlogits == nullptr) return;
    T* const dlogits = args.dlogits + row * args.stride;
    const float multiplier = c.div(args.factor, all.sum);
    for (index_t first = index_t{c.thread()} * N; first < args.stride; first += kAhead * kThreads * N) {
      Raw raw[kAhead];
      QAT_CUDA_UNROLL
      for (int u = 0; u < kAhead; ++u) raw[u] = ask(c, logits, first + u * kThreads * N);
      QAT_CUDA_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        const index_t at = first + u * kThreads * N;
        if (at >= args.stride) break;
        float x[N];
        get(raw[u], at, x);
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) {
          x[i] = c.mul(exponential<T>(c, c.sub(x[i], all.largest)), multiplier);
          if (at + i == target) x[i] = c.sub(x[i], args.factor);
        }
        put(c, dlogits, at, x);
      }
    }
  }
};

/// out = sum of x, in double.
struct SumOfFloats {
  static constexpr int kThreads = 1024;
  const float* x;
  index_t count;
  float* out;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    double total = 0.0;
    for (index_t i = c.thread(); i < count; i += kThreads) total += static_cast<double>(c.load(x + i));
    total = sum_of_block<kThreads>(c, total, 0);
    if (c.thread() == 0) c.store(out, static_cast<float>(total));
  }
};

}  // namespace detail

template <class T>
void cross_entropy(const CudaBackend& backend, const CrossEntropyArgs<T>& given) {
  CrossEntropyArgs<T> args = given;
  if (args.stride == 0) args.stride = args.columns;
  QAT_CHECK(args.stride >= args.columns && args.columns >= 0 && args.rows >= 0, kShapeMismatch,
            "cross_entropy: ", args.rows, " rows of ", args.columns, " logits, ", args.stride, " apart");
  QAT_CHECK(args.total == nullptr || args.losses != nullptr, kInvalidArgument, "cross_entropy: total without losses");
  QAT_CHECK(args.rows <= 0x7FFFFFFF, kUnsupported, "cross_entropy: ", args.rows,
            " rows, accepted are at most 2^31 - 1");
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  const Grid grid{static_cast<unsigned>(args.rows), 1, 16 * sizeof(detail::SoftmaxSum)};
  if (args.stride % Vector<T>::kSize == 0 && aligned(args.logits) && aligned(args.dlogits)) {
    launch(backend, grid, detail::CrossEntropyRow<T, true>{args}, "cross_entropy (", args.rows, ", ", args.columns,
           ")");
  } else {
    launch(backend, grid, detail::CrossEntropyRow<T, false>{args}, "cross_entropy (", args.rows, ", ", args.columns,
           ")");
  }
  if (args.total != nullptr)
    launch(backend, Grid{1, 1, 256}, detail::SumOfFloats{args.losses, args.rows, args.total}, "cross_entropy: total");
}

}  // namespace qat::inline v0::cuda
