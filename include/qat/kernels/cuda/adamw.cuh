// Kernels of kernels/cuda/adamw.hpp. A block takes one work of the plan:
//   kFlat   elements of a tensor that is not quantized
//   kLanes  elements whose groups of 16 to 256 lie in neighbouring lanes: ranges and sums by shuffles
//   kWarps  tiles of any other shape up to kWarpTile elements, a warp each
//   kBlocks longer tiles, the block each: twice over the tile, the second time from the cache
// The gradient's norm walks the same works and stops where the update would begin.
#pragma once

#include "qat/kernels/cuda/adamw_plan.hpp"
#include "qat/kernels/cuda/group_quantize.hpp"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/reduce.hpp"

namespace qat::inline v0::cuda {

namespace detail {

/// One AdamW step of an element, in the order of kernels/cpu/optimizer-inl.hpp.
template <class Context>
QAT_HOST_DEVICE void adamw_element(const Context& c, const kernels::AdamWFactors& f, float gradient, float& value,
                                   float& mean, float& square) {
  mean = c.add(mean, c.mul(c.sub(gradient, mean), f.one_minus_beta1));
  square = c.add(c.mul(square, f.beta2), c.mul(c.mul(f.one_minus_beta2, gradient), gradient));
  const float denominator = c.add(c.div(c.sqrt(square), f.sqrt_correction), f.eps);
  value = c.sub(c.mul(value, f.decay), c.div(c.mul(f.step_size, mean), denominator));
}

/// A tensor of the table in registers.
template <class G, class W, bool kLearned>
struct AdamWView {
  float *value, *mean, *square;
  const G* gradient;
  W* copy;
  float *scale, *zero_point;
  float *learned, *learned_mean, *learned_square;
  float lsq_factor;
  std::uint32_t group, learned_group;
  SteMask mask;
  AffineScheme scheme;
  bool aligned;

  template <class Context>
  QAT_HOST_DEVICE AdamWView(const Context& c, const AdamWTensor<G, W>* t, bool is_aligned)
      : value(c.load(&t->value)),
        mean(c.load(&t->mean)),
        square(c.load(&t->square)),
        gradient(c.load(&t->gradient)),
        copy(c.load(&t->copy)),
        scale(c.load(&t->scale)),
        zero_point(c.load(&t->zero_point)),
        learned(kLearned ? c.load(&t->learned) : nullptr),
        learned_mean(kLearned ? c.load(&t->learned_mean) : nullptr),
        learned_square(kLearned ? c.load(&t->learned_square) : nullptr),
        lsq_factor(c.load(&t->lsq_factor)),
        group(c.load(&t->group)),
        learned_group(c.load(&t->learned_group)),
        mask(c.load(&t->mask)),
        scheme(spec_of_tensor(c, t), FloatType::kFloat32),
        aligned(is_aligned) {}

  template <class Context>
  QAT_HOST_DEVICE static QuantSpec spec_of_tensor(const Context& c, const AdamWTensor<G, W>* t) {
    QuantSpec spec;
    spec.bits = c.load(&t->spec.bits);
    spec.is_signed = c.load(&t->spec.is_signed);
    spec.mapping = c.load(&t->spec.mapping);
    spec.scale_type = c.load(&t->spec.scale_type);
    spec.eps = c.load(&t->spec.eps);
    return spec;
  }
  QAT_HOST_DEVICE float constant_zero_point() const { return scheme.spec.is_signed ? 0.0f : scheme.middle(); }
  /// The parameters of the last forward pass.
  template <class Context>
  QAT_HOST_DEVICE QParams old_parameters(const Context& c, index_t tile) const {
    return make_qparams(c.load(scale + tile), zero_point != nullptr ? c.load(zero_point + tile) : constant_zero_point(),
                        scheme);
  }
};

/// Four consecutive elements of a thread.
struct AdamWLane {
  float value[4], gradient[4], mean[4], square[4], term[4];
};

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
    const View t(c, tensors + c.load(&work->tensor), (kind & kAligned) != 0);
    const index_t begin = c.load(&work->begin), count = c.load(&work->count);
    const index_t columns = c.load(&tensors[c.load(&work->tensor)].columns);
    const Granularity* const g = &tensors[c.load(&work->tensor)].spec.granularity;
    const index_t group_size = c.load(&g->kind) == GranularityKind::kPerGroup ? c.load(&g->group_size) : 0;
    double squares = 0.0;
    switch (kind & ~std::uint32_t{kAligned}) {
      case kFlat:
        flat(c, t, begin, begin + count, squares);
        break;
      case kLanes:
        lanes(c, t, begin, begin + count, static_cast<unsigned>(group_size), squares);
        break;
      case kWarps:
        for (index_t i = c.warp(); i < count; i += kWarpCount) tile<32>(c, t, begin + i, columns, group_size, squares);
        break;
      default:
        for (index_t i = 0; i < count; ++i) {
          if (i > 0) c.sync();  // the last tile's sums have been read
          tile<kThreads>(c, t, begin + i, columns, group_size, squares);
        }
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

  /// left: elements from i to the end of the work or tile.
  template <class Context>
  QAT_HOST_DEVICE static void load_lane(const Context& c, const View& t, index_t i, index_t left, bool with_value,
                                        AdamWLane& x) {
    load4<Access::kStream>(c, t.gradient + i, left, t.aligned, x.gradient);
    if (!kNorm || with_value) load4(c, t.value + i, left, t.aligned, x.value);
    if constexpr (!kNorm) {
      load4(c, t.mean + i, left, t.aligned, x.mean);
      load4(c, t.square + i, left, t.aligned, x.square);
    }
  }
  /// The gradient of the fake-quantized weight becomes that of the master; `term` what its scale's gradient sums.
  template <class Context>
  QAT_HOST_DEVICE static void through_estimator(const Context& c, const View& t, const QParams& p, AdamWLane& x) {
    const LaneQuantizer<float> old(p, t.scheme);
    QAT_CUDA_UNROLL
    for (int k = 0; k < 4; ++k) {
      if constexpr (kLearned) {
        x.gradient[k] = old.lsq_backward(c, x.gradient[k], x.value[k], t.mask, x.term[k]);
      } else {
        x.gradient[k] = old.backward(c, x.gradient[k], x.value[k], t.mask);
      }
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static void update_lane(const Context& c, const kernels::AdamWFactors& f, float factor, AdamWLane& x,
                                          double& squares) {
    QAT_CUDA_UNROLL
    for (int k = 0; k < 4; ++k) {
      if constexpr (kNorm) {
        squares += static_cast<double>(x.gradient[k]) * static_cast<double>(x.gradient[k]);
      } else {
        adamw_element(c, f, c.mul(x.gradient[k], factor), x.value[k], x.mean[k], x.square[k]);
      }
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static void store_lane(const Context& c, const View& t, index_t i, index_t left, const AdamWLane& x) {
    store4<true>(c, t.mean + i, left, t.aligned, x.mean);
    store4<true>(c, t.square + i, left, t.aligned, x.square);
    store4<true>(c, t.value + i, left, t.aligned, x.value);
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

  template <class Context>
  QAT_HOST_DEVICE void flat(const Context& c, const View& t, index_t begin, index_t end, double& squares) const {
    const kernels::AdamWFactors f = factors_of(c, t.group);
    const float factor = gradient_factor(c);
    for (index_t at = begin + c.thread() * 4; at < end; at += 2 * kThreads * 4) {
      AdamWLane x[2];
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) load_lane(c, t, at + h * kThreads * 4, end - at - h * kThreads * 4, false, x[h]);
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) {
        const index_t i = at + h * kThreads * 4, left = end - i;
        update_lane(c, f, factor, x[h], squares);
        if constexpr (!kNorm) {
          store_lane(c, t, i, left, x[h]);
          if (t.copy != nullptr) store4(c, t.copy + i, left, t.aligned, x[h].value);
        }
      }
    }
  }

  /// group: 16 to 256, a power of two that divides the rows. A warp takes 256 elements at a time, in two halves.
  template <class Context>
  QAT_HOST_DEVICE void lanes(const Context& c, const View& t, index_t begin, index_t end, unsigned group,
                             double& squares) const {
    const unsigned width = group < 128 ? group / 4 : 32;  // lanes of a group in one half
    const bool joint = group == 256, leads = (c.lane() & (width - 1)) == 0;
    const kernels::AdamWFactors f = factors_of(c, t.group);
    const float factor = gradient_factor(c);
    const MappingKind mapping = t.scheme.spec.mapping;
    const bool reads_old = t.mask != SteMask::kPassThrough || (kLearned && t.learned != nullptr);
    for (index_t at = begin + c.warp() * 256; at < end; at += kWarpCount * 256) {
      AdamWLane x[2];
      LaneRange range[2];
      float learned[2] = {};
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) {
        const index_t i = at + h * 128 + c.lane() * 4;
        load_lane(c, t, i, end - i, reads_old, x[h]);
      }
      QAT_CUDA_UNROLL
      for (int h = 0; h < 2; ++h) {
        const index_t i = at + h * 128 + c.lane() * 4, tile = i / group;
        if (reads_old) through_estimator(c, t, i < end ? t.old_parameters(c, tile) : QParams{}, x[h]);
        update_lane(c, f, factor, x[h], squares);
        if constexpr (!kNorm) {
          store_lane(c, t, i, end - i, x[h]);
          QAT_CUDA_UNROLL
          for (int k = 0; k < 4; ++k) range[h].observe(x[h].value[k], mapping);
        }
      }
      if (kLearned && t.learned != nullptr) {
        QAT_CUDA_UNROLL
        for (int h = 0; h < 2; ++h) {
          const index_t i = at + h * 128 + c.lane() * 4, tile = i / group;
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
          if (leads && i < end) learned[h] = update_learned(c, t, tile, c.mul(sum, t.lsq_factor), factor, squares);
          learned[h] = c.shuffle(learned[h], c.lane() & ~(width - 1));
        }
      }
      if constexpr (!kNorm) {
        c.sync_warp();  // every lane has read the scales of the last pass
        const bool chooses = !(kLearned && t.learned != nullptr);
        if (chooses) {
          QAT_CUDA_UNROLL
          for (int h = 0; h < 2; ++h) range[h] = merge_lanes(c, range[h], width, mapping);
          if (joint) {
            range[0].merge(range[1]);
            range[1] = range[0];
          }
        }
        QAT_CUDA_UNROLL
        for (int h = 0; h < 2; ++h) {
          const index_t i = at + h * 128 + c.lane() * 4, tile = i / group;
          if (i >= end) continue;
          const QParams p = new_parameters(c, t, tile, chooses, range[h].range(), learned[h]);
          if (leads && !(joint && h == 1)) store_parameters(c, t, tile, chooses, p);
          const LaneQuantizer<float> q(p, t.scheme);
          QAT_CUDA_UNROLL
          for (int k = 0; k < 4; ++k) x[h].value[k] = q.fake_quantize(c, x[h].value[k]);
          store4(c, t.copy + i, end - i, t.aligned, x[h].value);
        }
      }
    }
  }
  template <class Context>
  QAT_HOST_DEVICE static QParams new_parameters(const Context& c, const View& t, index_t tile, bool chooses,
                                                const GroupRange& range, float learned) {
    if (chooses) return choose_qparams(range, t.scheme);
    return make_qparams(learned, t.zero_point != nullptr ? c.load(t.zero_point + tile) : t.constant_zero_point(),
                        t.scheme);
  }
  template <class Context>
  QAT_HOST_DEVICE static void store_parameters(const Context& c, const View& t, index_t tile, bool chooses,
                                               const QParams& p) {
    c.store(t.scale + tile, p.scale);
    if (chooses && t.zero_point != nullptr) c.store(t.zero_point + tile, p.zero_point);
  }

  /// A tile of any length by a warp or the block. Tiles are `length` elements of a row, the last of a row may be
  /// shorter; length 0: the row.
  template <unsigned kTeam, class Context>
  QAT_HOST_DEVICE void tile(const Context& c, const View& t, index_t tile, index_t columns, index_t length,
                            double& squares) const {
    if (length <= 0) length = columns;
    const index_t per_row = (columns + length - 1) / length, column = tile % per_row * length;
    const index_t first = tile / per_row * columns + column;
    const index_t n = columns - column < length ? columns - column : length;
    const unsigned rank = kTeam == 32 ? c.lane() : c.thread();
    const bool learns = kLearned && t.learned != nullptr;
    const bool reads_old = t.mask != SteMask::kPassThrough || learns;
    const kernels::AdamWFactors f = factors_of(c, t.group);
    const float factor = gradient_factor(c);
    const MappingKind mapping = t.scheme.spec.mapping;
    const QParams old = reads_old ? t.old_parameters(c, tile) : QParams{};

    constexpr index_t kStage = kPiece * kTeam / kThreads;  // elements whose terms are in shared memory at a time
    const auto stage = c.template shared<float>(kStageOffset + (kTeam == 32 ? c.warp() * kStage * sizeof(float) : 0));
    PositionedRange range;
    float sum = 0.0f;
    double total = 0.0;
    for (index_t from = 0; from < n; from += kStage) {
      for (index_t j = rank * 4; j < kStage; j += kTeam * 4) {
        const index_t i = from + j, left = n - i;
        AdamWLane x;
        if (left > 0) {
          load_lane(c, t, first + i, left, reads_old, x);
          if (reads_old) through_estimator(c, t, old, x);
          update_lane(c, f, factor, x, squares);
          if constexpr (!kNorm) {
            store_lane(c, t, first + i, left, x);
            QAT_CUDA_UNROLL
            for (int k = 0; k < 4; ++k)
              if (k < left) range.observe(x.value[k], i + k, mapping);
          }
        }
        if (learns) QAT_CUDA_UNROLL
        for (int k = 0; k < 4; ++k) stage.store(static_cast<unsigned>(j + k), left > k ? x.term[k] : 0.0f);
      }
      if (learns) {  // the order of kernels::reference::lsq_scale_gradient
        sync_team<kTeam>(c);
        const index_t end = n - from < kStage ? n - from : kStage;
        if (rank < 16)
          for (index_t j = rank; j < end; j += 16) sum = c.add(sum, stage.load(static_cast<unsigned>(j)));
        if (rank < 32 && (from + kStage >= n || (from + kStage) % kPiece == 0)) {
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
            update_learned(c, t, tile, static_cast<float>(total * static_cast<double>(t.lsq_factor)), factor, squares);
      learned = broadcast_team<kTeam>(c, learned);
    }
    if constexpr (!kNorm) {
      if (!learns) range = range.template merge_team<kTeam>(c, mapping);
      const QParams p = new_parameters(c, t, tile, !learns, range.range(), learned);
      if constexpr (kTeam == 32) c.sync_warp();  // every lane has read the scale of the last pass
      if (rank == 0) store_parameters(c, t, tile, !learns, p);
      const LaneQuantizer<float> q(p, t.scheme);
      for (index_t i = rank * 4; i < n; i += kTeam * 4) {
        float x[4];
        load4(c, t.value + first + i, n - i, t.aligned, x);
        QAT_CUDA_UNROLL
        for (int k = 0; k < 4; ++k) x[k] = q.fake_quantize(c, x[k]);
        store4(c, t.copy + first + i, n - i, t.aligned, x);
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
