// Kernels of kernels/cuda/activation.hpp: a row to a team, because its quantization may need all of it; the backward
// pass element by element.
#pragma once

#include "qat/kernels/cuda/activation.hpp"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/row.cuh"

namespace qat::inline v0::cuda {

namespace detail {

/// 1 / (1 + e^-x).
template <class T, class Context>
QAT_HOST_DEVICE float sigmoid(const Context& c, float x) {
  if constexpr (sizeof(T) == 2) return c.reciprocal(c.add(1.0f, c.exp2(c.mul(x, -1.44269504f))));
  return c.div(1.0f, c.add(1.0f, c.exp(c.sub(0.0f, x))));
}

/// Values and derivatives of an activation of T.
template <class T, Activation kKind>
struct ActivationFunction;

template <class T>
struct ActivationFunction<T, Activation::kSwiglu> {
  template <class Context>
  QAT_HOST_DEVICE static float value(const Context& c, float gate, float up) {
    return c.mul(c.mul(gate, sigmoid<T>(c, gate)), up);
  }
  /// dy: the gradient of y, by a function of y, because that may be quantized.
  template <class Context>
  struct Parts {
    float s, silu;
    QAT_HOST_DEVICE Parts(const Context& c, float gate) : s(sigmoid<T>(c, gate)), silu(c.mul(gate, s)) {}
    QAT_HOST_DEVICE float value(const Context& c, float, float up) const { return c.mul(silu, up); }
    QAT_HOST_DEVICE float dgate(const Context& c, float, float up, float dy) const {
      return c.mul(c.mul(dy, up), c.add(s, c.mul(silu, c.sub(1.0f, s))));
    }
    QAT_HOST_DEVICE float dup(const Context& c, float dy) const { return c.mul(dy, silu); }
  };
};

template <class T>
struct ActivationFunction<T, Activation::kGeluTanh> {
  static constexpr float kTwoSlope = 1.5957691216f, kCubic = 0.044715f;  // 2 sqrt(2 / pi)
  template <class Context>
  QAT_HOST_DEVICE static float value(const Context& c, float x, float) {
    return Parts<Context>(c, x).value(c, x, 0.0f);
  }
  template <class Context>
  struct Parts {
    float s;
    QAT_HOST_DEVICE Parts(const Context& c, float x)
        : s(sigmoid<T>(c, c.mul(kTwoSlope, c.mul(x, c.fma(c.mul(kCubic, x), x, 1.0f))))) {}
    QAT_HOST_DEVICE float value(const Context& c, float x, float) const { return c.mul(x, s); }
    QAT_HOST_DEVICE float dgate(const Context& c, float x, float, float dy) const {
      const float slope = c.mul(kTwoSlope, c.fma(c.mul(3.0f * kCubic, x), x, 1.0f));
      return c.mul(dy, c.fma(c.mul(c.mul(x, s), c.sub(1.0f, s)), slope, s));
    }
    QAT_HOST_DEVICE float dup(const Context&, float) const { return 0.0f; }
  };
};

template <class T, class Team, Activation kKind>
struct ActivationForward {
  static constexpr int kThreads = Team::kThreads, kMinBlocks = kThreads == 1024 ? 1 : 768 / kThreads;
  static constexpr int V = Team::V, N = Team::N;
  ActivationArgs<T> args;
  QuantizeJob<T> job;
  unsigned vectors;
  bool quantized, in_place;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t row = Team::first_row(c);
    const bool exists = row < args.rows;
    Bytes16 v[V], up[V];
    Team::load(c, args.gate, row, args.gate_stride, exists ? vectors : 0, in_place, v);
    if constexpr (kKind == Activation::kSwiglu)
      Team::load(c, args.up, row, args.up_stride, exists ? vectors : 0, in_place, up);
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) {
      float x[N], w[N] = {};
      unpack<T>(v[u], x);
      if constexpr (kKind == Activation::kSwiglu) unpack<T>(up[u], w);
      QAT_CUDA_UNROLL
      for (int i = 0; i < N; ++i) x[i] = ActivationFunction<T, kKind>::value(c, x[i], w[i]);
      v[u] = Vector<T>::pack(c, x);
    }
    if (quantized) {
      Team::quantize(c, job, row, vectors, exists, 0, v);
    } else if (exists) {
      Team::store(c, args.output.y, row, args.columns, vectors, v);
    }
  }
};

/// Rows of any length and alignment, element by element.
template <class T, Activation kKind>
struct ActivationForwardAny {
  static constexpr int kThreads = 256;
  ActivationArgs<T> args;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = index_t{c.block()} * kThreads + c.thread();
    if (i >= args.rows * args.columns) return;
    const index_t row = i / args.columns, column = i % args.columns;
    const float gate = to_float(c.load(args.gate + row * args.gate_stride + column));
    const float up = kKind == Activation::kSwiglu ? to_float(c.load(args.up + row * args.up_stride + column)) : 0.0f;
    c.store(args.output.y + i, to_element<T>(c, ActivationFunction<T, kKind>::value(c, gate, up)));
  }
};

template <class T, Activation kKind>
struct ActivationBackward {
  static constexpr int kThreads = 128, kMinBlocks = 8, V = 2, N = Vector<T>::kSize;
  static constexpr unsigned kVectors = kThreads * V;  // of a block, all of one row
  ActivationBackwardArgs<T> args;
  QuantizeJob<T> job;
  unsigned vectors, blocks_of_row;
  bool quantized, in_place;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t row = c.block() / blocks_of_row;
    const bool by_row = job.group_vectors == static_cast<index_t>(vectors);
    const unsigned first = c.block() % blocks_of_row * kVectors + c.thread();
    Bytes16 gate[V], up[V], dy[V];
    const auto get = [&](const T* p, unsigned at) QAT_INLINE_LAMBDA {
      const Bytes16* const from = reinterpret_cast<const Bytes16*>(p) + at;
      return at >= vectors ? Bytes16{} : in_place ? c.load(from) : c.load_stream(from);
    };
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) {
      const unsigned at = first + static_cast<unsigned>(u * kThreads);
      gate[u] = get(args.gate + row * args.gate_stride, at);
      if constexpr (kKind == Activation::kSwiglu) up[u] = get(args.up + row * args.up_stride, at);
      dy[u] = get(args.dy + row * args.columns, at);
    }
    StoredParameters parameters[V];
    if (quantized) {
      QAT_CUDA_UNROLL
      for (int u = 0; u < V; ++u) {
        const unsigned at = first + static_cast<unsigned>(u * kThreads);
        if (at < vectors) parameters[u] = stored_parameters(c, job, by_row ? row : job.group_of(row * vectors + at));
      }
    }
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) {
      const unsigned at = first + static_cast<unsigned>(u * kThreads);
      if (at >= vectors) continue;
      using Parts = typename ActivationFunction<T, kKind>::template Parts<Context>;
      float x[N], w[N] = {}, d[N];
      unpack<T>(gate[u], x);
      if constexpr (kKind == Activation::kSwiglu) unpack<T>(up[u], w);
      unpack<T>(dy[u], d);
      if (quantized) {
        float y[N];
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) y[i] = Parts(c, x[i]).value(c, x[i], w[i]);
        if constexpr (sizeof(T) == 2) round_to_bf16(c, y);
        through_estimator<T>(c, job.scheme, group_of(job, parameters[u]), job.mask_inset, y, d);
      }
      QAT_CUDA_UNROLL
      for (int i = 0; i < N; ++i) {
        const Parts parts(c, x[i]);
        x[i] = parts.dgate(c, x[i], w[i], d[i]);
        w[i] = parts.dup(c, d[i]);
      }
      c.store(reinterpret_cast<Bytes16*>(args.dgate + row * args.gate_stride) + at, Vector<T>::pack(c, x));
      if constexpr (kKind == Activation::kSwiglu)
        c.store(reinterpret_cast<Bytes16*>(args.dup + row * args.up_stride) + at, Vector<T>::pack(c, w));
    }
  }
};

template <class T, Activation kKind>
struct ActivationBackwardAny {
  static constexpr int kThreads = 256;
  ActivationBackwardArgs<T> args;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t i = index_t{c.block()} * kThreads + c.thread();
    if (i >= args.rows * args.columns) return;
    const index_t row = i / args.columns, column = i % args.columns;
    const index_t at = row * args.gate_stride + column, up_at = row * args.up_stride + column;
    const float gate = to_float(c.load(args.gate + at)), dy = to_float(c.load(args.dy + i));
    const float up = kKind == Activation::kSwiglu ? to_float(c.load(args.up + up_at)) : 0.0f;
    const typename ActivationFunction<T, kKind>::template Parts<Context> parts(c, gate);
    c.store(args.dgate + at, to_element<T>(c, parts.dgate(c, gate, up, dy)));
    if constexpr (kKind == Activation::kSwiglu) c.store(args.dup + up_at, to_element<T>(c, parts.dup(c, dy)));
  }
};

inline constexpr index_t kActivationVectors = 4096;

/// Checks what both passes share, and fills in strides. True where every row is whole aligned vectors.
template <class T, class Args>
bool prepare_activation(const char* operation, Args& args) {
  const bool gated = args.kind == Activation::kSwiglu;
  if (args.gate_stride == 0) args.gate_stride = args.columns;
  if (args.up_stride == 0) args.up_stride = args.columns;
  QAT_CHECK(args.gate_stride >= args.columns && args.up_stride >= args.columns, kShapeMismatch, operation, ": rows of ",
            args.columns, " are ", args.gate_stride, " and ", args.up_stride, " elements apart");
  QAT_CHECK(args.rows == 0 || args.columns == 0 || !gated || args.up != nullptr, kInvalidArgument, operation,
            ": up is null");
  constexpr index_t N = Vector<T>::kSize;
  return args.columns % N == 0 && args.gate_stride % N == 0 && args.up_stride % N == 0 &&
         is_vector_pointer(args.gate) && is_vector_pointer(args.up);
}
inline unsigned activation_blocks(const char* operation, index_t blocks) {
  QAT_CHECK(blocks <= 0x7FFFFFFF, kUnsupported, operation, ": ", blocks, " blocks, accepted are at most 2^31 - 1");
  return static_cast<unsigned>(blocks);
}

template <class T, Activation kKind>
void run_activation(const CudaBackend& backend, ActivationArgs<T> args) {
  const QuantizedOutput<T>& out = args.output;
  const bool vectors = prepare_activation<T>("activation", args) && is_vector_pointer(out.y) &&
                       args.columns / Vector<T>::kSize <= kActivationVectors;
  if (args.rows == 0 || args.columns == 0) return;
  if (!vectors) {
    QAT_CHECK(out.spec == nullptr, kUnsupported, "activation: ", to_string(*out.spec), " for rows of ", args.columns,
              ": accepted are rows of whole vectors of 16 bytes, at most 4096, with every pointer aligned to 16");
    return launch(backend, Grid{activation_blocks("activation", (args.rows * args.columns + 255) / 256)},
                  ActivationForwardAny<T, kKind>{args}, "activation (", args.rows, ", ", args.columns, ")");
  }
  const auto n = static_cast<unsigned>(args.columns / Vector<T>::kSize);
  QuantizeJob<T> job;
  if (out.spec != nullptr) job = job_of_rows("activation", out, args.rows, args.columns);
  const bool in_place = out.y == args.gate || out.y == args.up;
  const auto run = [&](auto team) {
    using Team = decltype(team);
    launch(backend,
           Grid{activation_blocks("activation", (args.rows + Team::kTeams - 1) / Team::kTeams), 1, Team::kReduceBytes},
           ActivationForward<T, Team, kKind>{args, job, n, out.spec != nullptr, in_place}, "activation (", args.rows,
           ", ", args.columns, ")");
  };
  if (n > kRowVectors) return run(RowTeam<T, 1024, 4>{});
  visit_row_team<T>(n, run);
}

template <class T, Activation kKind>
void run_activation_backward(const CudaBackend& backend, ActivationBackwardArgs<T> args) {
  const QuantizedInput& q = args.quantized;
  const bool vectors = prepare_activation<T>("activation_backward", args) && is_vector_pointer(args.dy) &&
                       is_vector_pointer(args.dgate) && is_vector_pointer(args.dup);
  if (args.rows == 0 || args.columns == 0) return;
  if (!vectors) {
    QAT_CHECK(q.spec == nullptr, kUnsupported, "activation_backward: ", to_string(*q.spec), " for rows of ",
              args.columns, ": accepted are rows of whole vectors of 16 bytes with every pointer aligned to 16");
    return launch(backend, Grid{activation_blocks("activation_backward", (args.rows * args.columns + 255) / 256)},
                  ActivationBackwardAny<T, kKind>{args}, "activation_backward (", args.rows, ", ", args.columns, ")");
  }
  const auto n = static_cast<unsigned>(args.columns / Vector<T>::kSize);
  QuantizeJob<T> job;
  if (q.spec != nullptr) job = job_of_rows<T>("activation_backward", q, args.rows, args.columns);
  using Kernel = ActivationBackward<T, kKind>;
  const unsigned blocks_of_row = (n + Kernel::kVectors - 1) / Kernel::kVectors;
  const bool in_place = args.dgate == args.gate || args.dup == args.up || args.dgate == args.dy || args.dup == args.dy;
  launch(backend, Grid{activation_blocks("activation_backward", args.rows * blocks_of_row)},
         Kernel{args, job, n, blocks_of_row, q.spec != nullptr && q.mask != SteMask::kPassThrough, in_place},
         "activation_backward (", args.rows, ", ", args.columns, ")");
}

}  // namespace detail

template <class T>
void activation(const CudaBackend& backend, const ActivationArgs<T>& args) {
  if (args.kind == Activation::kSwiglu) return detail::run_activation<T, Activation::kSwiglu>(backend, args);
  detail::run_activation<T, Activation::kGeluTanh>(backend, args);
}
template <class T>
void activation_backward(const CudaBackend& backend, const ActivationBackwardArgs<T>& args) {
  if (args.kind == Activation::kSwiglu) return detail::run_activation_backward<T, Activation::kSwiglu>(backend, args);
  detail::run_activation_backward<T, Activation::kGeluTanh>(backend, args);
}

}  // namespace qat::inline v0::cuda
