// What a thread of kernels/cuda/adamw.cuh holds: a tensor's fields, four of its elements, and the step of one element.
#pragma once

#include "qat/kernels/cuda/adamw.hpp"
#include "qat/kernels/cuda/group_quantize.hpp"

namespace qat::inline v0::cuda::detail {

/// One AdamW step of an element, in the order of kernels/cpu/optimizer-inl.hpp.
template <class Context>
QAT_HOST_DEVICE void adamw_element(const Context& c, const kernels::AdamWFactors& f, float gradient, float& value,
                                   float& mean, float& square) {
  mean = c.add(mean, c.mul(c.sub(gradient, mean), f.one_minus_beta1));
  square = c.add(c.mul(square, f.beta2), c.mul(c.mul(f.one_minus_beta2, gradient), gradient));
  const float denominator = c.add(c.div(c.sqrt(square), f.sqrt_correction), f.eps);
  value = c.sub(c.mul(value, f.decay), c.div(c.mul(f.step_size, mean), denominator));
}

struct StoredScale {
  float scale = 1.0f, zero_point = 0.0f;
};

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

  template <class Context>
  QAT_HOST_DEVICE AdamWView(const Context& c, const AdamWTensor<G, W>* t)
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
        scheme(spec_of_tensor(c, t), FloatType::kFloat32) {}

  /// With element and tile numbers that count from these.
  QAT_HOST_DEVICE AdamWView from(index_t element, index_t tile) const {
    AdamWView v = *this;
    v.value += element, v.mean += element, v.square += element, v.gradient += element;
    if (copy != nullptr) v.copy += element;
    if (scale != nullptr) v.scale += tile;
    if (zero_point != nullptr) v.zero_point += tile;
    if (learned != nullptr) v.learned += tile, v.learned_mean += tile, v.learned_square += tile;
    return v;
  }
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
  /// Those of the last forward pass, as stored.
  template <class Context>
  QAT_HOST_DEVICE StoredScale old_scale(const Context& c, index_t tile) const {
    return {c.load(scale + tile), zero_point != nullptr ? c.load(zero_point + tile) : constant_zero_point()};
  }
  /// The parameters of the last forward pass.
  template <class Context>
  QAT_HOST_DEVICE QParams old_parameters(const Context& c, index_t tile) const {
    const StoredScale s = old_scale(c, tile);
    return make_in_lane(s.scale, s.zero_point, scheme);
  }
};

/// Consecutive elements of a thread, as loaded.
template <class G, int E, bool kNorm>
struct AdamWRaw {
  RawElements<G, E> gradient;
  RawElements<float, E> value, mean, square;

  template <class View, class Context>
  QAT_HOST_DEVICE void load(const Context& c, const View& t, int i, bool valid, bool with_value) {
    gradient = load_raw<G, E, Access::kStream>(c, t.gradient + i, valid);
    value = load_raw<float, E>(c, t.value + i, valid && (!kNorm || with_value));
    if constexpr (!kNorm) {
      mean = load_raw<float, E>(c, t.mean + i, valid);
      square = load_raw<float, E>(c, t.square + i, valid);
    }
  }
};
/// And in fp32.
template <int E>
struct AdamWLane {
  float value[E], gradient[E], mean[E], square[E], term[E];

  template <class G, bool kNorm>
  QAT_HOST_DEVICE void set(const AdamWRaw<G, E, kNorm>& raw) {
    elements_of(raw.gradient, gradient);
    elements_of(raw.value, value);
    if constexpr (!kNorm) {
      elements_of(raw.mean, mean);
      elements_of(raw.square, square);
    }
  }
  template <class View, class Context>
  QAT_HOST_DEVICE void store(const Context& c, const View& t, int i) const {
    store_elements(c, t.mean + i, mean);
    store_elements(c, t.square + i, square);
    store_elements(c, t.value + i, value);
  }
};

}  // namespace qat::inline v0::cuda::detail
