// A row of a matrix held in the registers of a team (a warp, or a block of up to 1024 threads): how passes that compute
// a row fake-quantize it before it reaches memory.
#pragma once

#include "qat/kernels/cuda/group_quantize.hpp"
#include "qat/kernels/cuda/quantize_vectors.cuh"
#include "qat/kernels/cuda/quantized_output.hpp"
#include "qat/kernels/cuda/reduce.hpp"

namespace qat::inline v0::cuda {

/// A team's part of a row: vector rank + kTeam u of the row is v[u]; vectors beyond the row are zeros.
template <class T, unsigned kTeamSize, int kVectorsOfThread>
struct RowTeam {
  static constexpr unsigned kTeam = kTeamSize;
  static constexpr int V = kVectorsOfThread, N = Vector<T>::kSize;
  static constexpr unsigned kThreads = kTeam < 128 ? 128 : kTeam;
  static constexpr unsigned kTeams = kThreads / kTeam;                ///< of a block
  static constexpr index_t kCapacity = index_t{kTeam} * V;            ///< vectors
  static constexpr std::size_t kReduceBytes = kTeam > 32 ? 1024 : 0;  ///< of shared memory, from byte 0

  template <class Context>
  QAT_HOST_DEVICE static unsigned rank(const Context& c) {
    return c.thread() % kTeam;
  }
  /// Rows are shared out among the teams of all blocks in turn.
  template <class Context>
  QAT_HOST_DEVICE static index_t first_row(const Context& c) {
    return index_t{c.block()} * kTeams + c.thread() / kTeam;
  }
  template <class Context>
  QAT_HOST_DEVICE static index_t row_stride(const Context& c) {
    return index_t{c.blocks()} * kTeams;
  }

  /// overwritten: another pointer of this kernel writes what p reads.
  template <class Context>
  QAT_HOST_DEVICE static void load(const Context& c, const T* p, index_t row, index_t row_elements, unsigned vectors,
                                   bool overwritten, Bytes16 (&v)[V]) {
    const Bytes16* const from = reinterpret_cast<const Bytes16*>(p + row * row_elements);
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) {
      const unsigned at = rank(c) + kTeam * u;
      v[u] = at < vectors ? (overwritten ? c.load(from + at) : c.load_stream(from + at)) : Bytes16{};
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static void store(const Context& c, T* p, index_t row, index_t row_elements, unsigned vectors,
                                    const Bytes16 (&v)[V]) {
    Bytes16* const to = reinterpret_cast<Bytes16*>(p + row * row_elements);
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u)
      if (rank(c) + kTeam * u < vectors) c.store(to + rank(c) + kTeam * u, v[u]);
  }

  /// Sum over the team: the tree of each warp, then warps in ascending order. parity: that of the number of sums before
  /// in this block, so that no thread still reads what is written.
  template <class Context>
  QAT_HOST_DEVICE static float sum(const Context& c, float x, unsigned parity) {
    x = sum_of_warp(c, x);
    if constexpr (kTeam > 32) {
      const auto sums = c.template shared<float>(parity * 128);
      if (c.lane() == 0) sums.store(c.warp(), x);
      c.sync();
      const auto fours = c.template shared<Bytes16>(parity * 128);
      QAT_CUDA_UNROLL
      for (unsigned w = 0; w < kTeam / 32; w += 4) {
        const Bytes16 four = fours.load(w / 4);
        QAT_CUDA_UNROLL
        for (unsigned k = 0; k < 4; ++k) {
          const float part = bit_cast<float>(four.word[k]);
          x = w + k == 0 ? part : c.add(x, part);
        }
      }
    }
    return x;
  }
  /// The parameters for the range of the team's parts. Of a block the first warp computes them, for all.
  template <class Context>
  QAT_HOST_DEVICE static VectorGroup choose(const Context& c, const QuantizeJob<T>& job, Range<RangeKind::kMinMax> r,
                                            index_t row, bool exists, unsigned parity) {
    QAT_CUDA_UNROLL
    for (unsigned mask = 1; mask < 32; mask *= 2) r.merge_lane(c, mask);
    const auto whole = c.template shared<Bytes16>(768 + parity * 16);
    if constexpr (kTeam > 32) {
      const auto parts = c.template shared<Range<RangeKind::kMinMax>>(256 + parity * 256);
      if (c.lane() == 0) parts.store(c.warp(), r);
      c.sync();
      if (c.warp() == 0) {
        r = parts.load(c.lane() % (kTeam / 32));
        QAT_CUDA_UNROLL
        for (unsigned mask = 1; mask < kTeam / 32; mask *= 2) r.merge_lane(c, mask);
      }
    }
    VectorGroup g{};
    if (kTeam == 32 || c.warp() == 0) {
      const QParams p = choose_in_lane<T>(r.group(), job.scheme);
      g = AffineVector<T, false>{job.scheme}.group(p);
      if (c.lane() == 0) {
        if (exists && job.scale_out != nullptr) c.store(job.scale_out + row, p.scale);
        if (exists && job.zero_point_out != nullptr) c.store(job.zero_point_out + row, p.zero_point);
        if constexpr (kTeam > 32)
          whole.store(0, {{bit_cast<std::uint32_t>(g.scale), bit_cast<std::uint32_t>(g.inverse),
                           bit_cast<std::uint32_t>(g.low), bit_cast<std::uint32_t>(g.high)}});
      }
    }
    if constexpr (kTeam > 32) {
      c.sync();
      const Bytes16 w = whole.load(0);
      g = {bit_cast<float>(w.word[0]), bit_cast<float>(w.word[1]), bit_cast<float>(w.word[2]),
           bit_cast<float>(w.word[3])};
    }
    return g;
  }

  /// Chooses the parameters of a row, or of its groups of 4 to 32 vectors (a power of two), quantizes and stores it.
  /// All threads of the team call, block teams in step.
  /// @param parity  as in sum
  template <class Context>
  QAT_HOST_DEVICE static void quantize(const Context& c, const QuantizeJob<T>& job, index_t row, unsigned vectors,
                                       bool exists, unsigned parity, Bytes16 (&v)[V]) {
    using R = Range<RangeKind::kMinMax>;
    R r[V];
    unsigned nan[V], nonfinite = 0;
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) {
      nan[u] = 0;
      if (rank(c) + kTeam * static_cast<unsigned>(u) >= vectors) continue;
      r[u] = R::template of<T>(v[u]);
      if (!r[u].finite()) nan[u] = observe_finite<T>(v[u], false, r[u], nonfinite);
    }
    if (exists && nonfinite != 0 && job.nonfinite != nullptr) c.atomic_add(job.nonfinite, nonfinite);
    const index_t base = row * vectors;
    if (job.group_vectors == static_cast<index_t>(vectors)) {
      QAT_CUDA_UNROLL
      for (int u = 1; u < V; ++u) r[0].merge(r[u]);
      const VectorGroup g = choose(c, job, r[0], row, exists, parity);
      if (job.y != nullptr && job.codes == nullptr && job.pass_mask == nullptr) {  // what training does
        QAT_CUDA_UNROLL
        for (int u = 0; u < V; ++u) put_values(c, job, base, vectors, exists, u, v[u], nan[u], g);
      } else {
        QAT_CUDA_UNROLL
        for (int u = 0; u < V; ++u) put(c, job, base, vectors, exists, u, v[u], nan[u], g);
      }
      return;
    }
    const unsigned lanes = static_cast<unsigned>(job.group_vectors);
    for (unsigned mask = 1; mask < lanes; mask *= 2) QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) r[u].merge_lane(c, mask);
    // Each lane computes the parameters of one of the V groups it has a vector of.
    static_assert(V <= 4, "RowTeam: groups have at least four lanes");
    const unsigned mine = c.lane() % 4;
    R own = r[0];
    QAT_CUDA_UNROLL
    for (int u = 1; u < V; ++u)
      if (mine == static_cast<unsigned>(u)) own = r[u];
    const QParams p = choose_in_lane<T>(own.group(), job.scheme);
    const unsigned own_vector = rank(c) + kTeam * mine;
    if (exists && c.lane() % lanes < V && c.lane() % lanes < 4 && own_vector < vectors) {
      const index_t group = job.group_of(base + own_vector);
      if (job.scale_out != nullptr) c.store(job.scale_out + group, p.scale);
      if (job.zero_point_out != nullptr) c.store(job.zero_point_out + group, p.zero_point);
    }
    const VectorGroup own_group = AffineVector<T, false>{job.scheme}.group(p);
    const bool values_only = job.y != nullptr && job.codes == nullptr && job.pass_mask == nullptr;
    QAT_CUDA_UNROLL
    for (int u = 0; u < V; ++u) {
      const unsigned source = (c.lane() & ~3u) + static_cast<unsigned>(u);
      const VectorGroup g = {c.shuffle(own_group.scale, source), c.shuffle(own_group.inverse, source),
                             c.shuffle(own_group.low, source), c.shuffle(own_group.high, source)};
      if (values_only) {
        put_values(c, job, base, vectors, exists, u, v[u], nan[u], g);
      } else {
        put(c, job, base, vectors, exists, u, v[u], nan[u], g);
      }
    }
  }

 private:
  template <class Context>
  QAT_HOST_DEVICE static void put_values(const Context& c, const QuantizeJob<T>& job, index_t base, unsigned vectors,
                                         bool exists, int u, const Bytes16& v, unsigned nan, const VectorGroup& g) {
    const unsigned at = rank(c) + kTeam * static_cast<unsigned>(u);
    put_vector<false>(c, job, Output::kValues, false, base + at, v, nan, g, exists && at < vectors);
  }
  template <class Context>
  QAT_HOST_DEVICE static void put(const Context& c, const QuantizeJob<T>& job, index_t base, unsigned vectors,
                                  bool exists, int u, const Bytes16& v, unsigned nan, const VectorGroup& g) {
    const unsigned at = rank(c) + kTeam * static_cast<unsigned>(u);
    const bool valid = exists && at < vectors;
    if (job.y != nullptr) {
      put_vector<false>(c, job, Output::kValues, job.pass_mask != nullptr, base + at, v, nan, g, valid);
      if (job.codes != nullptr) put_vector<false>(c, job, Output::kCodes8, false, base + at, v, nan, g, valid);
    } else {
      put_vector<false>(c, job, Output::kCodes8, job.pass_mask != nullptr, base + at, v, nan, g, valid);
    }
  }
};

/// The straight-through gradient of the elements of a vector: dy of the fake-quantized values, x before.
template <class T, class Context>
QAT_HOST_DEVICE void through_estimator(const Context& c, const AffineScheme& scheme, const VectorGroup& g, float inset,
                                       const float (&x)[Vector<T>::kSize], float (&dy)[Vector<T>::kSize]) {
  constexpr int N = Vector<T>::kSize;
  const AffineVector<T, false> a{scheme};
  float q[N];
  QAT_CUDA_UNROLL
  for (int i = 0; i < N; ++i) q[i] = x[i];
  a.steps(c, q, g);
  a.gradient(c, dy, g);
  if constexpr (sizeof(T) == 2) round_to_bf16(c, dy);
  const float low = a.low(g) + inset, high = a.high(g) - inset;
  QAT_CUDA_UNROLL
  for (int i = 0; i < N; ++i) {
    const float rounded = a.round(c, q[i]);
    dy[i] = x[i] == x[i] && rounded >= low && rounded <= high ? dy[i] : 0.0f;
  }
}

/// The job of a spec for rows of whole vectors.
/// @throws qat::Error (kUnsupported) where the pass cannot fold it in
template <class T>
QuantizeJob<T> job_of_rows(const char* operation, const QuantizedOutput<T>& out, index_t rows, index_t columns) {
  const QuantSpec& spec = *out.spec;
  validate_on_device(spec);
  constexpr index_t N = Vector<T>::kSize;
  const Granularity& g = spec.granularity;
  const bool by_group = g.kind == GranularityKind::kPerGroup;
  const bool by_row = g.kind == GranularityKind::kPerToken || (g.kind == GranularityKind::kPerAxis && g.axis == 0);
  const index_t length = by_group ? g.group_size : columns, vectors = length / N;
  const bool lanes = vectors >= 4 && vectors <= 32 && (vectors & (vectors - 1)) == 0 && columns % length == 0;
  QAT_CHECK(quantizes_in_lanes(spec) && spec.mapping != MappingKind::kSignedExtremum &&
                (by_row || (by_group && length % N == 0 && (lanes || length == columns))),
            kUnsupported, operation, ": ", to_string(spec), " for rows of ", columns,
            " is not folded in; accepted are token and group granularity with 4 to 32 vectors of 16 bytes a group, "
            "symmetric, symmetric_no_clip, asymmetric and asymmetric_raw mappings and half_to_even rounding");
  QAT_CHECK(out.y != nullptr || out.codes != nullptr, kInvalidArgument, operation, ": y and codes are both null");
  QAT_CHECK(reinterpret_cast<std::uintptr_t>(out.codes) % 8 == 0, kInvalidArgument, operation,
            ": codes must be aligned to 8 bytes");
  QAT_CHECK(out.pass_mask == nullptr || columns % 8 == 0, kUnsupported, operation, ": rows of ", columns,
            " have no pass_mask; accepted are multiples of 8");
  QuantizeJob<T> job;
  job.scheme = AffineScheme(spec, kFloatTypeOf<T>);
  job.y = out.y;
  job.codes = reinterpret_cast<std::uint8_t*>(out.codes);
  job.scale_out = out.scale;
  job.zero_point_out = out.zero_point;
  job.set_mask(out.pass_mask, out.mask);
  job.nonfinite = out.nonfinite;
  job.vectors = rows * (columns / N);
  job.group_vectors = vectors;
  for (int shift = 0; shift < 6; ++shift)
    if (vectors == index_t{1} << shift) job.group_shift = shift;
  return job;
}

/// The same for a backward pass.
template <class T>
QuantizeJob<T> job_of_rows(const char* operation, const QuantizedInput& in, index_t rows, index_t columns) {
  QuantizedOutput<T> as_output;
  as_output.spec = in.spec;
  as_output.codes = reinterpret_cast<std::int8_t*>(std::uintptr_t{8});  // neither written nor kept
  QuantizeJob<T> job = job_of_rows(operation, as_output, rows, columns);
  QAT_CHECK(in.mask == SteMask::kPassThrough || in.scale != nullptr, kInvalidArgument, operation, ": scale is null");
  QAT_CHECK(in.mask == SteMask::kPassThrough || in.zero_point != nullptr || has_constant_zero_point(in.spec->mapping),
            kInvalidArgument, operation, ": zero_point is null, which ", to_string(*in.spec), " needs");
  job.codes = nullptr;
  job.scale = in.scale;
  job.zero_point = in.zero_point;
  job.set_mask(nullptr, in.mask);
  return job;
}

/// The stored parameters of a group, as loaded, and as elements need them: for backward passes.
struct StoredParameters {
  float scale = 1.0f, zero_point = 0.0f;
};
template <class T, class Context>
QAT_HOST_DEVICE StoredParameters stored_parameters(const Context& c, const QuantizeJob<T>& job, index_t group) {
  return {c.load_cached(job.scale + group),
          job.zero_point != nullptr ? c.load_cached(job.zero_point + group) : job.constant_zero_point()};
}
template <class T>
QAT_HOST_DEVICE VectorGroup group_of(const QuantizeJob<T>& job, const StoredParameters& p) {
  return AffineVector<T, false>{job.scheme}.group(make_in_lane(p.scale, p.zero_point, job.scheme));
}

inline bool is_vector_pointer(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

inline constexpr index_t kRowVectors = 2048;  ///< the longest row of visit_row_team

/// Calls f(RowTeam) with the smallest team that holds a row of `vectors`, at most kRowVectors.
template <class T, class F>
void visit_row_team(index_t vectors, const F& f) {
  if (vectors <= 32) return f(RowTeam<T, 32, 1>{});
  if (vectors <= 64) return f(RowTeam<T, 32, 2>{});
  if (vectors <= 128) return f(RowTeam<T, 32, 4>{});
  if (vectors <= 256) return f(RowTeam<T, 128, 2>{});
  if (vectors <= 512) return f(RowTeam<T, 128, 4>{});
  if (vectors <= 1024) return f(RowTeam<T, 256, 4>{});
  f(RowTeam<T, 512, 4>{});
}

}  // namespace qat::inline v0::cuda
