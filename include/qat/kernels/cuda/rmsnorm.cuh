// Kernels of kernels/cuda/rmsnorm.hpp. A team holds a row in registers and takes rows in turn; the weight, which all
// rows read, lies in shared memory. The next row is asked for before a row is worked on.
#pragma once

#include "qat/kernels/cuda/column_sums.hpp"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/rmsnorm.hpp"
#include "qat/kernels/cuda/row.cuh"

namespace qat::inline v0::cuda {

namespace detail {

/// fp32 values of a row's columns in shared memory, in the order of a team's vectors: piece h of 4 columns of vector
/// rank + kTeam u is at ((u N/4) + h) kTeam + rank, so that neighbouring threads read neighbouring 16 bytes.
template <class Team>
struct SharedColumns {
  static constexpr int kPieces = Team::N / 4;
  QAT_HOST_DEVICE static constexpr std::size_t bytes() { return static_cast<std::size_t>(Team::kCapacity) * Team::N * 4; }

  template <class Context>
  QAT_HOST_DEVICE static void fill(const Context& c, const float* values, unsigned vectors) {
    const auto shared = c.template shared<Bytes16>(Team::kReduceBytes);
    for (unsigned s = c.thread(); s < Team::kCapacity * kPieces; s += Team::kThreads) {
      const unsigned vector = s / kPieces, piece = s % kPieces;
      const unsigned u = vector / Team::kTeam, rank = vector % Team::kTeam;
      const Bytes16 value = vector < vectors ? c.load(reinterpret_cast<const Bytes16*>(values) + s) : Bytes16{};
      shared.store((u * kPieces + piece) * Team::kTeam + rank, value);
    }
    c.sync();
  }
  template <class Context>
  QAT_HOST_DEVICE static void get(const Context& c, int u, float (&x)[Team::N]) {
    get_at(c, Team::kReduceBytes, u, x);
  }

  // Sums of a team's own columns: behind the values, each thread its own, so that no barrier is needed.
  static constexpr std::size_t sum_bytes() { return bytes() * Team::kTeams; }
  template <class Context>
  QAT_HOST_DEVICE static std::size_t sums(const Context& c) {
    return Team::kReduceBytes + bytes() * (1 + c.thread() / Team::kTeam);
  }
  template <class Context>
  QAT_HOST_DEVICE static void get_at(const Context& c, std::size_t offset, int u, float (&x)[Team::N]) {
    const auto shared = c.template shared<Bytes16>(offset);
    QAT_CUDA_UNROLL
    for (int h = 0; h < kPieces; ++h) {
      const Bytes16 piece = shared.load(static_cast<unsigned>(u * kPieces + h) * Team::kTeam + Team::rank(c));
      QAT_CUDA_UNROLL
      for (int i = 0; i < 4; ++i) x[4 * h + i] = bit_cast<float>(piece.word[i]);
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static void put_at(const Context& c, std::size_t offset, int u, const float (&x)[Team::N]) {
    const auto shared = c.template shared<Bytes16>(offset);
    QAT_CUDA_UNROLL
    for (int h = 0; h < kPieces; ++h) {
      Bytes16 piece;
      QAT_CUDA_UNROLL
      for (int i = 0; i < 4; ++i) piece.word[i] = bit_cast<std::uint32_t>(x[4 * h + i]);
      shared.store(static_cast<unsigned>(u * kPieces + h) * Team::kTeam + Team::rank(c), piece);
    }
  }
};

template <class T, class Team, bool kResidual>
struct RmsNormForward {
  static constexpr int kThreads = Team::kThreads;
  static constexpr int kMinBlocks = (kResidual ? 512 : Team::kTeam == 32 && Team::V == 4 ? 640 : 768) / kThreads;
  static constexpr int V = Team::V, N = Team::N;
  RmsNormArgs<T> args;
  QuantizeJob<T> job;
  unsigned vectors;  // of a row
  bool quantized;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    SharedColumns<Team>::fill(c, args.weight, vectors);
    Bytes16 next[V], more[V];
    index_t row = Team::first_row(c);
    const bool in_place = args.sum != nullptr;
    const auto ask = [&](index_t r) QAT_INLINE_LAMBDA {
      const unsigned n = r < args.rows ? vectors : 0;
      Team::load(c, args.x, r, args.columns, n, in_place, next);
      if constexpr (kResidual) Team::load(c, args.residual, r, args.columns, n, in_place, more);
    };
    ask(row);
    // Blocks whose team is the block take every step together; warps go their own way.
    for (unsigned step = 0; row < args.rows; ++step, row += Team::row_stride(c)) {
      Bytes16 v[V];
      QAT_CUDA_UNROLL
      for (int u = 0; u < V; ++u) {
        v[u] = next[u];
        if constexpr (kResidual) {
          float a[N], b[N];
          unpack<T>(next[u], a);
          unpack<T>(more[u], b);
          QAT_CUDA_UNROLL
          for (int i = 0; i < N; ++i) a[i] = c.add(a[i], b[i]);
          v[u] = Vector<T>::pack(c, a);
        }
      }
      ask(row + Team::row_stride(c));
      if constexpr (kResidual)
        if (args.sum != nullptr) Team::store(c, args.sum, row, args.columns, vectors, v);
      float squares = 0.0f;
      QAT_CUDA_UNROLL
      for (int u = 0; u < V; ++u) {
        float x[N];
        unpack<T>(v[u], x);
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) squares = c.fma(x[i], x[i], squares);
      }
      squares = Team::sum(c, squares, step % 2);
      const float mean = c.div(squares, static_cast<float>(args.columns));
      const float inv = c.div(1.0f, c.sqrt(c.add(mean, args.eps)));
      if (args.inv_rms != nullptr && Team::rank(c) == 0) c.store(args.inv_rms + row, inv);
      QAT_CUDA_UNROLL
      for (int u = 0; u < V; ++u) {
        float x[N], w[N];
        unpack<T>(v[u], x);
        SharedColumns<Team>::get(c, u, w);
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) x[i] = c.mul(c.mul(x[i], inv), w[i]);
        v[u] = Vector<T>::pack(c, x);
      }
      if (quantized) {
        Team::quantize(c, job, row, vectors, true, step % 2, v);
      } else {
        Team::store(c, args.output.y, row, args.columns, vectors, v);
      }
    }
  }
};

/// Rows of any length and alignment, a block each.
template <class T>
struct RmsNormForwardAny {
  static constexpr int kThreads = 256;
  RmsNormArgs<T> args;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t row = c.block(), base = row * args.columns;
    const auto input = [&](index_t i) QAT_INLINE_LAMBDA {
      const float x = to_float(c.load(args.x + base + i));
      return args.residual == nullptr ? x
                                      : round_to_element<T>(c, c.add(x, to_float(c.load(args.residual + base + i))));
    };
    float squares = 0.0f;
    for (index_t i = c.thread(); i < args.columns; i += kThreads) {
      const float x = input(i);
      squares = c.fma(x, x, squares);
    }
    squares = sum_of_block<kThreads>(c, squares, 0);
    const float inv = c.div(1.0f, c.sqrt(c.add(c.div(squares, static_cast<float>(args.columns)), args.eps)));
    if (args.inv_rms != nullptr && c.thread() == 0) c.store(args.inv_rms + row, inv);
    for (index_t i = c.thread(); i < args.columns; i += kThreads) {
      const float x = input(i);
      if (args.residual != nullptr && args.sum != nullptr) c.store(args.sum + base + i, to_element<T>(c, x));
      c.store(args.output.y + base + i, to_element<T>(c, c.mul(c.mul(x, inv), c.load(args.weight + i))));
    }
  }
};

template <class T, class Team>
struct RmsNormBackward {
  static constexpr int kThreads = Team::kThreads, kMinBlocks = (sizeof(T) == 2 && Team::V == 4 ? 512 : 640) / kThreads;
  static constexpr int V = Team::V, N = Team::N;
  RmsNormBackwardArgs<T> args;
  QuantizeJob<T> job;
  unsigned vectors;
  bool quantized;
  float* partial;  // (blocks x teams, columns) of dweight, or null

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    using Columns = SharedColumns<Team>;
    Columns::fill(c, args.weight, vectors);
    const std::size_t sums = Columns::sums(c);
    if (partial != nullptr) {
      const float zeros[N] = {};
      QAT_CUDA_UNROLL
      for (int u = 0; u < V; ++u) Columns::put_at(c, sums, u, zeros);
    }
    const bool in_place = args.dx == args.dy, by_row = job.group_vectors == static_cast<index_t>(vectors);
    index_t row = Team::first_row(c);
    for (unsigned step = 0; row < args.rows; ++step, row += Team::row_stride(c)) {
      Bytes16 v[V], d[V];
      Team::load(c, args.x, row, args.columns, vectors, false, v);
      Team::load(c, args.dy, row, args.columns, vectors, in_place, d);
      const float inv = c.load(args.inv_rms + row);
      StoredParameters parameters[V];
      if (quantized) {  // asked for beside the row
        QAT_CUDA_UNROLL
        for (int u = 0; u < V; ++u) {
          const unsigned at = Team::rank(c) + Team::kTeam * static_cast<unsigned>(u);
          if (u > 0 && by_row) {
            parameters[u] = parameters[0];
          } else if (at < vectors || by_row) {
            parameters[u] = stored_parameters(c, job, by_row ? row : job.group_of(row * vectors + at));
          }
        }
      }
      VectorGroup group{};
      if (quantized && by_row) group = group_of(job, parameters[0]);
      float sum = 0.0f;
      QAT_CUDA_UNROLL
      for (int u = 0; u < V; ++u) {
        float x[N], g[N], w[N];
        unpack<T>(v[u], x);
        unpack<T>(d[u], g);
        Columns::get(c, u, w);
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) x[i] = c.mul(x[i], inv);
        if (quantized) {
          float y[N];
          QAT_CUDA_UNROLL
          for (int i = 0; i < N; ++i) y[i] = c.mul(x[i], w[i]);
          if constexpr (sizeof(T) == 2) round_to_bf16(c, y);
          if (!by_row) group = group_of(job, parameters[u]);
          through_estimator<T>(c, job.scheme, group, job.mask_inset, y, g);
          d[u] = Vector<T>::pack(c, g);
        }
        if (partial != nullptr) {
          float total[N];
          Columns::get_at(c, sums, u, total);
          QAT_CUDA_UNROLL
          for (int i = 0; i < N; ++i) total[i] = c.add(total[i], c.mul(g[i], x[i]));
          Columns::put_at(c, sums, u, total);
        }
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) sum = c.fma(c.mul(g[i], w[i]), x[i], sum);
      }
      const float mean = c.div(Team::sum(c, sum, step % 2), static_cast<float>(args.columns));
      QAT_CUDA_UNROLL
      for (int u = 0; u < V; ++u) {
        const unsigned at = Team::rank(c) + Team::kTeam * static_cast<unsigned>(u);
        if (at >= vectors) continue;
        float x[N], g[N], w[N];
        unpack<T>(v[u], x);
        unpack<T>(d[u], g);
        Columns::get(c, u, w);
        Bytes16* const to = reinterpret_cast<Bytes16*>(args.dx + row * args.columns) + at;
        float old[N] = {};
        if (args.accumulate_dx) unpack<T>(c.load(to), old);
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) {
          const float normalized = c.mul(x[i], inv);
          const float value = c.mul(c.sub(c.mul(g[i], w[i]), c.mul(normalized, mean)), inv);
          x[i] = args.accumulate_dx ? c.add(old[i], value) : value;
        }
        c.store(to, Vector<T>::pack(c, x));
      }
    }
    if (partial == nullptr) return;
    float* const out = partial + Team::first_row(c) * args.columns;
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) {
      const unsigned at = Team::rank(c) + Team::kTeam * static_cast<unsigned>(u);
      if (at >= vectors) continue;
      float total[N];
      Columns::get_at(c, sums, u, total);
      QAT_CUDA_UNROLL
      for (int i = 0; i < N; i += 4) {
        const float four[4] = {total[i], total[i + 1], total[i + 2], total[i + 3]};
        store4(c, out + index_t{at} * N + i, four);
      }
    }
  }
};

/// Rows of any length and alignment, a block each; no dweight.
template <class T>
struct RmsNormBackwardAny {
  static constexpr int kThreads = 256;
  RmsNormBackwardArgs<T> args;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t base = index_t{c.block()} * args.columns;
    const float inv = c.load(args.inv_rms + c.block());
    float sum = 0.0f;
    for (index_t i = c.thread(); i < args.columns; i += kThreads)
      sum = c.fma(c.mul(to_float(c.load(args.dy + base + i)), c.load(args.weight + i)),
                  c.mul(to_float(c.load(args.x + base + i)), inv), sum);
    const float mean = c.div(sum_of_block<kThreads>(c, sum, 0), static_cast<float>(args.columns));
    for (index_t i = c.thread(); i < args.columns; i += kThreads) {
      const float g = c.mul(to_float(c.load(args.dy + base + i)), c.load(args.weight + i));
      const float normalized = c.mul(to_float(c.load(args.x + base + i)), inv);
      float value = c.mul(c.sub(g, c.mul(normalized, mean)), inv);
      if (args.accumulate_dx) value = c.add(to_float(c.load(args.dx + base + i)), value);
      c.store(args.dx + base + i, to_element<T>(c, value));
    }
  }
};
/// Its dweight, parts of consecutive rows.
template <class T>
struct RmsNormWeightAny {
  static constexpr int kThreads = 128;
  RmsNormBackwardArgs<T> args;
  index_t rows_of_part;
  float* partial;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t column = index_t{c.block()} * kThreads + c.thread(), part = c.block_y();
    if (column >= args.columns) return;
    float sum = 0.0f;
    const index_t begin = part * rows_of_part;
    const index_t end = begin + rows_of_part < args.rows ? begin + rows_of_part : args.rows;
    for (index_t r = begin; r < end; ++r) {
      const index_t at = r * args.columns + column;
      sum = c.add(
          sum, c.mul(to_float(c.load(args.dy + at)), c.mul(to_float(c.load(args.x + at)), c.load(args.inv_rms + r))));
    }
    c.store(partial + part * args.columns + column, sum);
  }
};

inline constexpr index_t kNormProcessors = 132;  // parts are those of an H200, so that every GPU adds the same way
inline constexpr index_t kAnyParts = 64;

template <class Team>
index_t backward_blocks(index_t rows) {
  const index_t wanted = (rows + Team::kTeams - 1) / Team::kTeams;
  const index_t most = kNormProcessors * (512 / Team::kThreads);
  return wanted < most ? wanted : most;
}
template <class T>
bool has_row_team(index_t columns) {
  return columns > 0 && columns % Vector<T>::kSize == 0 && columns / Vector<T>::kSize <= kRowVectors;
}

}  // namespace detail

template <class T>
void rmsnorm(const CudaBackend& backend, const RmsNormArgs<T>& args) {
  const QuantizedOutput<T>& out = args.output;
  QAT_CHECK(args.residual != nullptr || args.sum == nullptr, kInvalidArgument, "rmsnorm: sum without residual");
  if (args.rows == 0 || args.columns == 0) return;
  const bool vectors = detail::has_row_team<T>(args.columns) && is_vector_pointer(args.x) &&
                       is_vector_pointer(args.residual) && is_vector_pointer(args.sum) &&
                       is_vector_pointer(args.weight) && is_vector_pointer(out.y);
  if (!vectors) {
    QAT_CHECK(out.spec == nullptr, kUnsupported, "rmsnorm: ", to_string(*out.spec), " for rows of ", args.columns,
              ": accepted are rows of whole vectors of 16 bytes, at most 2048, with every pointer aligned to 16");
    QAT_CHECK(args.rows <= 0x7FFFFFFF, kUnsupported, "rmsnorm: ", args.rows, " rows, accepted are at most 2^31 - 1");
    return launch(backend, Grid{static_cast<unsigned>(args.rows), 1, 256}, detail::RmsNormForwardAny<T>{args},
                  "rmsnorm (", args.rows, ", ", args.columns, ")");
  }
  const auto n = static_cast<unsigned>(args.columns / Vector<T>::kSize);
  QuantizeJob<T> job;
  if (out.spec != nullptr) job = job_of_rows("rmsnorm", out, args.rows, args.columns);
  visit_row_team<T>(n, [&](auto team) {
    using Team = decltype(team);
    const auto run = [&](const auto& kernel) {
      const index_t wanted = (args.rows + Team::kTeams - 1) / Team::kTeams;
      const index_t resident = resident_blocks(kernel.kMinBlocks);
      launch(backend,
             Grid{static_cast<unsigned>(wanted < resident ? wanted : resident), 1,
                  Team::kReduceBytes + detail::SharedColumns<Team>::bytes()},
             kernel, "rmsnorm (", args.rows, ", ", args.columns, ")");
    };
    const bool quantized = out.spec != nullptr;
    if (args.residual != nullptr) return run(detail::RmsNormForward<T, Team, true>{args, job, n, quantized});
    run(detail::RmsNormForward<T, Team, false>{args, job, n, quantized});
  });
}

template <class T>
std::size_t rmsnorm_backward_bytes(index_t rows, index_t columns) {
  index_t parts = detail::kAnyParts;
  if (detail::has_row_team<T>(columns))
    visit_row_team<T>(columns / Vector<T>::kSize, [&](auto team) {
      const index_t teams = detail::backward_blocks<decltype(team)>(rows) * decltype(team)::kTeams;
      if (teams > parts) parts = teams;
    });
  return static_cast<std::size_t>(parts * columns) * sizeof(float);
}

template <class T>
void rmsnorm_backward(const CudaBackend& backend, const RmsNormBackwardArgs<T>& args) {
  const auto where = [&](auto&&... more) {
    return concat("rmsnorm_backward (", args.rows, ", ", args.columns, ")", more...);
  };
  const QuantizedInput& q = args.quantized;
  if (args.columns == 0) return;
  const std::size_t bytes = args.dweight == nullptr ? 0 : rmsnorm_backward_bytes<T>(args.rows, args.columns);
  QAT_CHECK(backend.workspace_bytes >= bytes, kInvalidArgument, where(": the workspace has "), backend.workspace_bytes,
            " bytes, needs ", bytes);
  float* const partial = args.dweight == nullptr ? nullptr : static_cast<float*>(backend.workspace);
  index_t parts = 0;
  const bool vectors = detail::has_row_team<T>(args.columns) && is_vector_pointer(args.x) &&
                       is_vector_pointer(args.weight) && is_vector_pointer(args.dy) && is_vector_pointer(args.dx);
  if (args.rows == 0) {
    // nothing but dweight, below
  } else if (!vectors) {
    QAT_CHECK(q.spec == nullptr, kUnsupported, where(": "), to_string(*q.spec),
              ": accepted are rows of whole vectors of 16 bytes, at most 2048, with every pointer aligned to 16");
    QAT_CHECK(args.rows <= 0x7FFFFFFF, kUnsupported, where(), ": accepted are at most 2^31 - 1 rows");
    if (partial != nullptr) {
      const index_t rows_of_part = (args.rows + detail::kAnyParts - 1) / detail::kAnyParts;
      parts = (args.rows + rows_of_part - 1) / rows_of_part;
      launch(backend, Grid{static_cast<unsigned>((args.columns + 127) / 128), static_cast<unsigned>(parts)},
             detail::RmsNormWeightAny<T>{args, rows_of_part, partial}, where());
    }
    launch(backend, Grid{static_cast<unsigned>(args.rows), 1, 256}, detail::RmsNormBackwardAny<T>{args}, where());
  } else {
    const auto n = static_cast<unsigned>(args.columns / Vector<T>::kSize);
    QuantizeJob<T> job;
    if (q.spec != nullptr) job = job_of_rows<T>("rmsnorm_backward", q, args.rows, args.columns);
    visit_row_team<T>(n, [&](auto team) {
      using Team = decltype(team);
      const index_t blocks = detail::backward_blocks<Team>(args.rows);
      parts = blocks * Team::kTeams;
      const Grid grid{static_cast<unsigned>(blocks), 1,
                      Team::kReduceBytes + detail::SharedColumns<Team>::bytes() +
                          (partial == nullptr ? 0 : detail::SharedColumns<Team>::sum_bytes())};
      const bool quantized = q.spec != nullptr && q.mask != SteMask::kPassThrough;
      launch(backend, grid, detail::RmsNormBackward<T, Team>{args, job, n, quantized, partial}, where());
    });
  }
  if (partial == nullptr) return;
  launch(backend, Grid{static_cast<unsigned>((args.columns + 31) / 32), 1, ColumnSums::kSharedBytes},
         ColumnSums{partial, parts, args.columns, args.dweight, args.accumulate_dweight}, where(": dweight"));
}

}  // namespace qat::inline v0::cuda
