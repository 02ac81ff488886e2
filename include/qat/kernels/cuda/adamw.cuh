// Kernels of kernels/cuda/adamw.hpp. A block takes one work of the plan:
//   kFlat   elements of a tensor that is not quantized
//   kLanes  elements whose groups of 16 to 256 lie in neighbouring lanes: ranges and sums by shuffles
//   kWarps  tiles of any other shape up to kWarpTile elements, a warp each
//   kBlocks longer tiles, the block each: twice over the tile, the second time from the cache
// The gradient's norm walks the same works and stops where the update would begin.
#pragma once

#include "qat/kernels/cuda/adamw_plan.hpp"
#include "qat/kernels/cuda/adamw_view.hpp"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/reduce.hpp"

namespace qat::inline v0::cuda {

namespace detail {

template <class G, class W, bool kLearned, bool kNorm>
struct AdamWPass {
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks =
      kLearned || sizeof(G) + sizeof(W) == 8 ? 4 : 5;  // 112 bytes of loads a thread: 57 and 71 KB in flight
  static constexpr int kWarpCount = kThreads / 32;
  static constexpr index_t kPiece = 4096;  // of the ordered sum: reference::kLsqPiece
  static constexpr std::size_t kStageOffset = 256, kStageBytes = kPiece * sizeof(float);
  using View = AdamWView<G, W, kLearned>;

  const AdamWTensor<G, W>* tensors;
  const AdamWWork* works;
  AdamWStep step;
  double* partial;  // kNorm: one a block

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const AdamWWork* const work = works + c.block();
    const std::uint32_t kind = c.load(&work->kind);
    const View t(c, tensors + c.load(&work->tensor));
    const index_t begin = c.load(&work->begin), count = c.load(&work->count);
    const index_t columns = c.load(&tensors[c.load(&work->tensor)].columns);
    const Granularity* const g = &tensors[c.load(&work->tensor)].spec.granularity;
    const index_t group_size = c.load(&g->kind) == GranularityKind::kPerGroup ? c.load(&g->group_size) : 0;
    double squares = 0.0;
    const int elements = static_cast<int>(count);
    switch (kind) {
      case kFlat | kAligned:
        flat<4>(c, t.from(begin, 0), elements, squares);
        break;
      case kFlat:
        flat<1>(c, t.from(begin, 0), elements, squares);
        break;
      case kLanes | kAligned:
        lanes(c, t.from(begin, begin / group_size), elements, static_cast<unsigned>(group_size), squares);
        break;
      case kWarps | kAligned:
        warps<4>(c, t, begin, count, columns, group_size, squares);
        break;
      case kWarps:
        warps<1>(c, t, begin, count, columns, group_size, squares);
        break;
      case kBlocks | kAligned:
        blocks<4>(c, t, begin, count, columns, group_size, squares);
        break;
      default:
        blocks<1>(c, t, begin, count, columns, group_size, squares);
        break;
    }
    if constexpr (kNorm) {
      c.sync();
      squares = sum_of_block<kThreads>(c, squares, 0);
      if (c.thread() == 0) c.store(partial + c.block(), squares);
    }
  }

  template <class Context>
  QAT_HOST_DEVICE kernels::AdamWFactors factors_of(const Context& c, std::uint32_t group) const {
    if (step.device_factors == nullptr) return step.factors[group];
    const kernels::AdamWFactors* const f = step.device_factors + group;
    return {c.load(&f->decay),     c.load(&f->one_minus_beta1), c.load(&f->beta2), c.load(&f->one_minus_beta2),
            c.load(&f->step_size), c.load(&f->sqrt_correction), c.load(&f->eps)};
  }
  template <class Context>
  QAT_HOST_DEVICE float gradient_factor(const Context& c) const {
    return step.gradient_factor != nullptr ? c.load(step.gradient_factor) : 1.0f;
  }

  /// The gradient of the fake-quantized weight becomes that of the master; `term` what its scale's gradient sums.
  template <int E, class Context>
  QAT_HOST_DEVICE static void through_estimator(const Context& c, const View& t, const QParams& p, AdamWLane<E>& x) {
    const LaneQuantizer<float> old(p, t.scheme);
    QAT_CUDA_UNROLL
    for (int k = 0; k < E; ++k) {
      if constexpr (kLearned) {
        x.gradient[k] = old.lsq_backward(c, x.gradient[k], x.value[k], t.mask, x.term[k]);
      } else {
        x.gradient[k] = old.backward(c, x.gradient[k], x.value[k], t.mask);
      }
    }
  }
  template <int E, class Context>
  QAT_HOST_DEVICE static void update_lane(const Context& c, const kernels::AdamWFactors& f, float factor,
                                          AdamWLane<E>& x, double& squares) {
    QAT_CUDA_UNROLL
    for (int k = 0; k < E; ++k) {
      if constexpr (kNorm) {
        squares += static_cast<double>(x.gradient[k]) * static_cast<double>(x.gradient[k]);
      } else {
        adamw_element(c, f, c.mul(x.gradient[k], factor), x.value[k], x.mean[k], x.square[k]);
      }
    }
  }
  /// A step of a learned scale with its gradient; returns the scale that stands for it.
  template <class Context>
  QAT_HOST_DEVICE float update_learned(const Context& c, const View& t, index_t tile, float gradient, float factor,
                                       double& squares) const {
    if constexpr (kNorm) {
      squares += static_cast<double>(gradient) * static_cast<double>(gradient);
      return 0.0f;
    } else {
      float value = c.load(t.learned + tile), mean = c.load(t.learned_mean + tile),
            square = c.load(t.learned_square + tile);
      adamw_element(c, factors_of(c, t.learned_group), c.mul(gradient, factor), value, mean, square);
      c.store(t.learned + tile, value);
      c.store(t.learned_mean + tile, mean);
      c.store(t.learned_square + tile, square);
      return stored_scale(value, t.scheme);
    }
  }

  template <int E, class Context>
  QAT_HOST_DEVICE void flat(const Context& c, const View& t, int end, double& squares) const {
    const kernels::AdamWFactors f = factors_of(c, t.group);
    const float factor = gradient_factor(c);
    constexpr int kStep = kThreads * E;
    for (int at = static_cast<int>(c.thread()) * E; at < end; at += 2 * kStep) {
      AdamWRaw<G, E, kNorm> raw[2];
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) raw[h].load(c, t, at + h * kStep, at + h * kStep < end, false);
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int i = at + h * kStep;
        AdamWLane<E> x;
        x.set(raw[h]);
        update_lane(c, f, factor, x, squares);
        if (kNorm || i >= end) continue;
        x.store(c, t, i);
        if (t.copy != nullptr) store_elements(c, t.copy + i, x.value);
      }
    }
  }

  /// group: 16 to 256, a power of two that divides the rows; all arrays aligned. A warp takes 256 elements at a time,
  /// in two halves. Of the two groups that a lane has elements of, lanes compute the parameters of one each, even lanes
  /// those of the first half, and tell each other.
  template <class Context>
  QAT_HOST_DEVICE void lanes(const Context& c, const View& t, int end, unsigned group, double& squares) const {
    const unsigned width = group < 128 ? group / 4 : 32;  // lanes of a group in one half
    const unsigned mine = c.lane() & 1u, place = c.lane() & (width - 1);
    const int lane4 = static_cast<int>(c.lane() * 4);
    int shift = 4;
    while ((1u << shift) < group) ++shift;
    const bool joint = group == 256, learns = kLearned && t.learned != nullptr;
    const kernels::AdamWFactors f = factors_of(c, t.group);
    const float factor = gradient_factor(c);
    const MappingKind mapping = t.scheme.spec.mapping;
    const bool reads_old = t.mask != SteMask::kPassThrough || learns;
    for (int at = static_cast<int>(c.warp() * 256); at < end; at += kWarpCount * 256) {
      AdamWRaw<G, 4, kNorm> raw[2];
      AdamWLane<4> x[2];
      LaneRange range[2];
      float learned[2] = {};
      const int own = at + static_cast<int>(mine * 128) + lane4, tile = own >> shift;
      StoredScale old;
      if (reads_old && own < end) old = t.old_scale(c, tile);
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int i = at + h * 128 + lane4;
        raw[h].load(c, t, i, i < end, reads_old);
      }
      const QParams own_old = make_in_lane(old.scale, old.zero_point, t.scheme);
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int i = at + h * 128 + lane4;
        x[h].set(raw[h]);
        if (reads_old) through_estimator(c, t, from_half(c, t, own_old, h), x[h]);
        update_lane(c, f, factor, x[h], squares);
        if constexpr (!kNorm) {
          if (i < end) x[h].store(c, t, i);
          QAT_CUDA_UNROLL
          for (int k = 0; k < 4; ++k) range[h].observe(x[h].value[k], mapping);
        }
      }
      if (learns) {
        QAT_CUDA_UNROLL
        for (int h = 0; h < 2; ++h) {
          const int i = at + h * 128 + lane4;
          if (joint && h == 1) {
            learned[1] = learned[0];
            break;
          }
          float sum = 0.0f;
          if (joint) {
            const float both[2][4] = {{x[0].term[0], x[0].term[1], x[0].term[2], x[0].term[3]},
                                      {x[1].term[0], x[1].term[1], x[1].term[2], x[1].term[3]}};
            sum = ordered_sum(c, both, 32);
          } else {
            const float one[1][4] = {{x[h].term[0], x[h].term[1], x[h].term[2], x[h].term[3]}};
            sum = ordered_sum(c, one, width);
          }
          if (place == 0 && i < end)
            learned[h] = update_learned(c, t, i >> shift, c.mul(sum, t.lsq_factor), factor, squares);
          learned[h] = c.shuffle(learned[h], c.lane() & ~(width - 1));
        }
      }
      if constexpr (!kNorm) {
        if (!learns) {
          QAT_CUDA_UNROLL
          for (int h = 0; h < 2; ++h) range[h] = merge_lanes(c, range[h], width, mapping);
          if (joint) {
            range[0].merge(range[1]);
            range[1] = range[0];
          }
        }
        c.sync_warp();  // every lane has read the scales of the last pass
        LaneRange own_range;
        own_range.low = mine == 0 ? range[0].low : range[1].low;
        own_range.high = mine == 0 ? range[0].high : range[1].high;
        own_range.extremum = mine == 0 ? range[0].extremum : range[1].extremum;
        QParams own_new{};
        if (own < end) {
          own_new = new_parameters(c, t, tile, !learns, own_range.range(), mine == 0 ? learned[0] : learned[1]);
          if (place == mine && !(joint && mine == 1)) store_parameters(c, t, tile, !learns, own_new);
        }
        QAT_CUDA_UNROLL
        for (int h = 0; h < 2; ++h) {
          const int i = at + h * 128 + lane4;
          const LaneQuantizer<float> q(from_half(c, t, own_new, h), t.scheme);
          if (i >= end) continue;
          QAT_CUDA_UNROLL
          for (int k = 0; k < 4; ++k) x[h].value[k] = q.fake_quantize(c, x[h].value[k]);
          store4(c, t.copy + i, x[h].value);
        }
      }
    }
  }
  /// What the lanes of half h have.
  template <class Context>
  QAT_HOST_DEVICE static QParams from_half(const Context& c, const View& t, const QParams& own, int h) {
    const unsigned source = (c.lane() & ~1u) + static_cast<unsigned>(h);
    return {c.shuffle(own.scale, source),
            t.zero_point != nullptr ? c.shuffle(own.zero_point, source) : t.constant_zero_point(),
            c.shuffle(own.inverse_scale, source)};
  }
  template <class Context>
  QAT_HOST_DEVICE static QParams new_parameters(const Context& c, const View& t, index_t tile, bool chooses,
                                                const GroupRange& range, float learned) {
    if (chooses) return choose_in_lane<float>(range, t.scheme);
    return make_in_lane(learned, t.zero_point != nullptr ? c.load(t.zero_point + tile) : t.constant_zero_point(),
                        t.scheme);
  }
  template <class Context>
  QAT_HOST_DEVICE static void store_parameters(const Context& c, const View& t, index_t tile, bool chooses,
                                               const QParams& p) {
    c.store(t.scale + tile, p.scale);
    if (chooses && t.zero_point != nullptr) c.store(t.zero_point + tile, p.zero_point);
  }

  template <int E, class Context>
  QAT_HOST_DEVICE void warps(const Context& c, const View& t, index_t begin, index_t count, index_t columns,
                             index_t length, double& squares) const {
    for (index_t i = c.warp(); i < count; i += kWarpCount) tile<32, E>(c, t, begin + i, columns, length, squares);
  }
  template <int E, class Context>
  QAT_HOST_DEVICE void blocks(const Context& c, const View& t, index_t begin, index_t count, index_t columns,
                              index_t length, double& squares) const {
    for (index_t i = 0; i < count; ++i) {
      if (i > 0) c.sync();  // the last tile's sums have been read
      tile<kThreads, E>(c, t, begin + i, columns, length, squares);
    }
  }
  /// A tile of any length by a warp or the block. Tiles are `length` elements of a row, the last of a row may be
  /// shorter; length 0: the row. E: 4 where every tile is whole aligned accesses, else 1.
  template <unsigned kTeam, int E, class Context>
  QAT_HOST_DEVICE void tile(const Context& c, const View& whole, index_t number, index_t columns, index_t length,
                            double& squares) const {
    if (length <= 0) length = columns;
    const index_t per_row = (columns + length - 1) / length, column = number % per_row * length;
    const View t = whole.from(number / per_row * columns + column, number);
    const int n = static_cast<int>(columns - column < length ? columns - column : length);
    const int rank = static_cast<int>(kTeam == 32 ? c.lane() : c.thread());
    const bool learns = kLearned && t.learned != nullptr;
    const bool reads_old = t.mask != SteMask::kPassThrough || learns;
    const kernels::AdamWFactors f = factors_of(c, t.group);
    const float factor = gradient_factor(c);
    const MappingKind mapping = t.scheme.spec.mapping;
    const QParams old = reads_old ? t.old_parameters(c, 0) : QParams{};

    constexpr int kStep = static_cast<int>(kTeam) * E;
    constexpr int kAhead = E == 4 && kTeam > 32 && !kLearned ? 2 : 1;  // vectors asked for at a time
    constexpr int kStage =
        static_cast<int>(kPiece * kTeam / kThreads);  // elements whose terms are in shared memory at a time
    const auto stage = c.template shared<float>(kStageOffset + (kTeam == 32 ? c.warp() * kStage * sizeof(float) : 0));
    PositionedRange range;
    float sum = 0.0f;
    double total = 0.0;
    for (int from = 0; from < n; from += kStage) {
      for (int first = rank * E; first < kStage && (kLearned || from + first < n); first += kAhead * kStep) {
        AdamWRaw<G, E, kNorm> raw[kAhead];
        QAT_CUDA_UNROLL
        for (int h = 0; h < kAhead; ++h)
          raw[h].load(c, t, from + first + h * kStep, from + first + h * kStep < n, reads_old);
        QAT_CUDA_UNROLL
        for (int h = 0; h < kAhead; ++h) {
          const int j = first + h * kStep, i = from + j;
          AdamWLane<E> x;
          x.set(raw[h]);
          if (i < n) {
            if (reads_old) through_estimator(c, t, old, x);
            update_lane(c, f, factor, x, squares);
            if constexpr (!kNorm) {
              x.store(c, t, i);
              QAT_CUDA_UNROLL
              for (int k = 0; k < E; ++k) range.observe(x.value[k], static_cast<unsigned>(i + k), mapping);
            }
          }
          if (learns) {
            QAT_CUDA_UNROLL
            for (int k = 0; k < E; ++k) stage.store(static_cast<unsigned>(j + k), i < n ? x.term[k] : 0.0f);
          }
        }
      }
      if (learns) {  // the order of kernels::reference::lsq_scale_gradient
        sync_team<kTeam>(c);
        const int end = n - from < kStage ? n - from : kStage;
        if (rank < 16)
          for (int j = rank; j < end; j += 16) sum = c.add(sum, stage.load(static_cast<unsigned>(j)));
        if (rank < 32 && (from + kStage >= n || (from + kStage) % static_cast<int>(kPiece) == 0)) {
          for (unsigned down = 8; down > 0; down /= 2) sum = c.add(sum, c.shuffle_down(sum, down));
          total += static_cast<double>(sum);
          sum = 0.0f;
        }
        sync_team<kTeam>(c);
      }
    }
    float learned = 0.0f;
    if (learns) {
      if (rank == 0)
        learned =
            update_learned(c, t, 0, static_cast<float>(total * static_cast<double>(t.lsq_factor)), factor, squares);
      learned = broadcast_team<kTeam>(c, learned);
    }
    if constexpr (!kNorm) {
      if (!learns) range = range.template merge_team<kTeam>(c, mapping);
      const QParams p = new_parameters(c, t, 0, !learns, range.range(), learned);
      if constexpr (kTeam == 32) c.sync_warp();  // every lane has read the scale of the last pass
      if (rank == 0) store_parameters(c, t, 0, !learns, p);
      const LaneQuantizer<float> q(p, t.scheme);
      for (int i = rank * E; i < n; i += kStep) {
        float x[E];
        elements_of(load_raw<float, E>(c, t.value + i, true), x);
        QAT_CUDA_UNROLL
        for (int k = 0; k < E; ++k) x[k] = q.fake_quantize(c, x[k]);
        store_elements(c, t.copy + i, x);
      }
    }
  }
};

/// Sums the parts of a norm, one block.
struct NormOfParts {
  static constexpr int kThreads = 1024;
  const double* partial;
  index_t count;
  double max_norm;
  float* result;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    double total = 0.0;
    for (index_t i = c.thread(); i < count; i += kThreads) total += c.load(partial + i);
    total = sum_of_block<kThreads>(c, total, 0);
    if (c.thread() != 0) return;
    const double norm = square_root(total);
    const float factor = static_cast<float>(max_norm / (norm + 1e-6));
    c.store(result, static_cast<float>(norm));
    c.store(result + 1, factor < 1.0f && norm <= 0x1.FFFFFFFFFFFFFp1023 ? factor : 1.0f);
  }
  QAT_HOST_DEVICE static double square_root(double x) {
#if defined(__CUDA_ARCH__)
    return ::sqrt(x);
#else
    return __builtin_sqrt(x);
#endif
  }
};

template <class G, class W, bool kNorm>
void launch_adamw(const CudaBackend& backend, const AdamWTensor<G, W>* tensors, const AdamWWork* works,
                  const AdamWPlan& plan, const AdamWStep& step, double* partial) {
  QAT_CHECK(plan.works <= 0x7FFFFFFF, kUnsupported, "adamw: ", plan.works, " works, accepted are at most 2^31 - 1");
  const auto run = [&](const auto& kernel, std::size_t bytes) {
    launch(backend, Grid{static_cast<unsigned>(plan.works), 1, bytes}, kernel, kNorm ? "gradient_norm" : "adamw", ": ",
           plan.works, " parts");
  };
  constexpr std::size_t kReduceBytes = 256;
  if (plan.has_learned) {
    using Pass = AdamWPass<G, W, true, kNorm>;
    run(Pass{tensors, works, step, partial}, Pass::kStageOffset + Pass::kStageBytes);
  } else {
    run(AdamWPass<G, W, false, kNorm>{tensors, works, step, partial}, kReduceBytes);
  }
}

}  // namespace detail

template <class G, class W>
void adamw(const CudaBackend& backend, const AdamWTensor<G, W>* tensors, const AdamWWork* works, const AdamWPlan& plan,
           const AdamWStep& step) {
  detail::launch_adamw<G, W, false>(backend, tensors, works, plan, step, nullptr);
}

template <class G, class W>
void gradient_norm(const CudaBackend& backend, const AdamWTensor<G, W>* tensors, const AdamWWork* works,
                   const AdamWPlan& plan, double max_norm, float* result) {
  QAT_CHECK(max_norm > 0, kInvalidArgument, "gradient_norm: max_norm is ", max_norm, ", must be positive");
  QAT_CHECK(backend.workspace_bytes >= gradient_norm_bytes(plan), kInvalidArgument, "gradient_norm: the workspace has ",
            backend.workspace_bytes, " bytes, needs ", gradient_norm_bytes(plan));
  double* const partial = static_cast<double*>(backend.workspace);
  detail::launch_adamw<G, W, true>(backend, tensors, works, plan, AdamWStep{}, partial);
  launch(backend, Grid{1, 1, 256}, detail::NormOfParts{partial, plan.works, max_norm, result}, "gradient_norm");
}

}  // namespace qat::inline v0::cuda
