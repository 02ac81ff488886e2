// Kernels of kernels/cuda/embedding.hpp. The gradient sorts positions by token as the processor does, by counting: how
// often each token occurs, where its positions begin, and then each position's place among those of its token, which
// is how many of them are smaller. Only whole numbers are added atomically.
#pragma once

#include "qat/kernels/cuda/embedding.hpp"
#include "qat/kernels/cuda/lanes.hpp"
#include "qat/kernels/cuda/launch.cuh"

namespace qat::inline v0::cuda {

namespace detail {

template <class T>
struct EmbeddingRows {
  static constexpr int kThreads = 128;
  const T* weight;
  index_t vocabulary, columns;
  const std::int32_t* tokens;
  T* y;
  bool vectors;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t row = c.block(), token = c.load(tokens + row);
    const bool known = token >= 0 && token < vocabulary;
    const T* const from = weight + (known ? token : 0) * columns;
    T* const to = y + row * columns;
    if (vectors && known) {
      constexpr index_t N = 16 / sizeof(T);
      for (index_t i = c.thread(); i < columns / N; i += kThreads)
        c.store(reinterpret_cast<Bytes16*>(to) + i, c.load_cached(reinterpret_cast<const Bytes16*>(from) + i));
      return;
    }
    for (index_t i = c.thread(); i < columns; i += kThreads)
      c.store(to + i, known ? c.load_cached(from + i) : to_element<T>(c, bit_cast<float>(0x7FC00000u)));
  }
};

struct ClearWords {
  static constexpr int kThreads = 256;
  unsigned* words;
  index_t count;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = index_t{c.block()} * kThreads + c.thread();
    if (i < count) c.store(words + i, 0u);
  }
};

/// counts[v] = how many tokens are v.
struct CountTokens {
  static constexpr int kThreads = 256;
  const std::int32_t* tokens;
  index_t rows, vocabulary;
  unsigned* counts;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = index_t{c.block()} * kThreads + c.thread();
    if (i >= rows) return;
    const std::int32_t token = c.load(tokens + i);
    if (token >= 0 && token < vocabulary) c.atomic_add(counts + token, 1u);
  }
};

/// starts[v] = sum of counts before v, v in [0, n], by one block; next = starts.
struct StartsOfCounts {
  static constexpr int kThreads = 1024;
  static constexpr std::size_t kSharedBytes = 32 * sizeof(unsigned);
  const unsigned* counts;
  index_t n;
  unsigned *starts, *next;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const auto sums = c.template shared<unsigned>(0);
    unsigned before = 0;  // counts of all rounds until now
    for (index_t first = 0; first <= n; first += kThreads) {
      const index_t v = first + c.thread();
      const unsigned own = v < n ? c.load(counts + v) : 0u;
      unsigned inclusive = own;
      for (unsigned step = 1; step < 32; step *= 2) {
        const unsigned lower = c.shuffle(inclusive, c.lane() >= step ? c.lane() - step : 0u);
        if (c.lane() >= step) inclusive += lower;
      }
      if (c.lane() == 31) sums.store(c.warp(), inclusive);
      c.sync();
      unsigned lower_warps = 0, all = 0;
      for (unsigned w = 0; w < kThreads / 32; ++w) {
        const unsigned sum = sums.load(w);
        if (w < c.warp()) lower_warps += sum;
        all += sum;
      }
      const unsigned start = before + lower_warps + inclusive - own;
      if (v <= n) c.store(starts + v, start);
      if (v < n) c.store(next + v, start);
      before += all;
      c.sync();
    }
  }
};

/// Positions of each token, in any order.
struct PlacePositions {
  static constexpr int kThreads = 256;
  const std::int32_t* tokens;
  index_t rows, vocabulary;
  unsigned *next, *positions;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = index_t{c.block()} * kThreads + c.thread();
    if (i >= rows) return;
    const std::int32_t token = c.load(tokens + i);
    if (token >= 0 && token < vocabulary) c.store(positions + c.atomic_add(next + token, 1u), static_cast<unsigned>(i));
  }
};

/// And in ascending order: a position's place is the number of smaller ones.
struct OrderPositions {
  static constexpr int kThreads = 256;
  const std::int32_t* tokens;
  index_t rows, vocabulary;
  const unsigned *starts, *positions;
  unsigned* ordered;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = index_t{c.block()} * kThreads + c.thread();
    if (i >= rows) return;
    const std::int32_t token = c.load(tokens + i);
    if (token < 0 || token >= vocabulary) return;
    const unsigned begin = c.load(starts + token), end = c.load(starts + token + 1);
    unsigned place = begin;
    for (unsigned k = begin; k < end; ++k) place += c.load(positions + k) < static_cast<unsigned>(i) ? 1u : 0u;
    c.store(ordered + place, static_cast<unsigned>(i));
  }
};

/// A row of the gradient, E columns a thread: 4 of aligned rows, else 1.
template <class T, int E>
struct EmbeddingGradient {
  static constexpr int kThreads = 128;
  static constexpr int kAhead = 8;  // rows asked for at a time
  const T* dy;
  index_t columns;
  const unsigned *starts, *ordered;
  float* dweight;
  bool accumulate;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t token = c.block(), column = (index_t{c.block_y()} * kThreads + c.thread()) * E;
    if (column >= columns) return;
    const unsigned begin = c.load(starts + token), end = c.load(starts + token + 1);
    if (begin == end && accumulate) return;
    float* const out = dweight + token * columns + column;
    float sum[E] = {};
    if (accumulate) elements_of(load_raw<float, E>(c, out, true), sum);
    for (unsigned k = begin; k < end; k += kAhead) {
      unsigned row[kAhead];
      QAT_CUDA_UNROLL
      for (unsigned u = 0; u < kAhead; ++u) row[u] = k + u < end ? c.load(ordered + k + u) : 0u;
      RawElements<T, E> raw[kAhead];
      QAT_CUDA_UNROLL
      for (unsigned u = 0; u < kAhead; ++u)
        raw[u] = load_raw<T, E>(c, dy + index_t{row[u]} * columns + column, k + u < end);
      QAT_CUDA_UNROLL
      for (unsigned u = 0; u < kAhead; ++u) {
        if (k + u >= end) break;
        float x[E];
        elements_of(raw[u], x);
        QAT_CUDA_UNROLL
        for (int i = 0; i < E; ++i) sum[i] = c.add(sum[i], x[i]);
      }
    }
    store_elements(c, out, sum);
  }
};

}  // namespace detail

template <class T>
void embedding(const CudaBackend& backend, const T* weight, index_t vocabulary, index_t columns,
               const std::int32_t* tokens, index_t rows, T* y) {
  QAT_CHECK(rows <= 0x7FFFFFFF, kUnsupported, "embedding: ", rows, " tokens, accepted are at most 2^31 - 1");
  QAT_CHECK(vocabulary > 0 || rows == 0, kInvalidArgument, "embedding: the vocabulary is empty");
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  const bool vectors = columns % static_cast<index_t>(16 / sizeof(T)) == 0 && aligned(weight) && aligned(y);
  launch(backend, Grid{static_cast<unsigned>(rows)},
         detail::EmbeddingRows<T>{weight, vocabulary, columns, tokens, y, vectors}, "embedding (", rows, ", ", columns,
         ")");
}

template <class T>
void embedding_backward(const CudaBackend& backend, const std::int32_t* tokens, index_t rows, const T* dy,
                        index_t vocabulary, index_t columns, float* dweight, bool accumulate) {
  const std::size_t bytes = embedding_backward_bytes(vocabulary, rows);
  QAT_CHECK(backend.workspace_bytes >= bytes, kInvalidArgument, "embedding_backward: the workspace has ",
            backend.workspace_bytes, " bytes, needs ", bytes);
  QAT_CHECK(rows <= 0x7FFFFFFF && vocabulary <= 0x7FFFFFFF && columns <= 65535 * 128, kUnsupported,
            "embedding_backward: ", rows, " tokens of ", vocabulary, " x ", columns,
            ", accepted are 2^31 - 1 tokens, 2^31 - 1 rows and 8388480 columns at most");
  if (vocabulary == 0 || columns == 0) return;
  unsigned* const starts = static_cast<unsigned*>(backend.workspace);
  unsigned* const next = starts + vocabulary + 1;
  unsigned* const positions = next + vocabulary + 1;
  unsigned* const ordered = positions + rows;
  const auto blocks = [](index_t n) { return Grid{static_cast<unsigned>((n + 255) / 256)}; };
  launch(backend, blocks(vocabulary), detail::ClearWords{next, vocabulary}, "embedding_backward");
  launch(backend, blocks(rows), detail::CountTokens{tokens, rows, vocabulary, next}, "embedding_backward");
  launch(backend, Grid{1, 1, detail::StartsOfCounts::kSharedBytes},
         detail::StartsOfCounts{next, vocabulary, starts, next}, "embedding_backward");
  launch(backend, blocks(rows), detail::PlacePositions{tokens, rows, vocabulary, next, positions},
         "embedding_backward");
  launch(backend, blocks(rows), detail::OrderPositions{tokens, rows, vocabulary, starts, positions, ordered},
         "embedding_backward");
  const auto sum = [&](const auto& kernel, index_t columns_of_block) {
    launch(backend,
           Grid{static_cast<unsigned>(vocabulary),
                static_cast<unsigned>((columns + columns_of_block - 1) / columns_of_block)},
           kernel, "embedding_backward (", rows, ", ", columns, ")");
  };
  if (columns % 4 == 0 && is_aligned4(dy) && is_aligned4(dweight))
    return sum(detail::EmbeddingGradient<T, 4>{dy, columns, starts, ordered, dweight, accumulate}, 512);
  sum(detail::EmbeddingGradient<T, 1>{dy, columns, starts, ordered, dweight, accumulate}, 128);
}

}  // namespace qat::inline v0::cuda
