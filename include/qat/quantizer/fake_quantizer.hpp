// FakeQuantizer: a scheme with its state (ranges, on/off), forward and backward. Needs no tape, no nn and no files:
// another framework calls forward() and backward() on its own memory.
#pragma once

#include "qat/kernels/cpu/lsq.hpp"
#include "qat/quant/visit.hpp"
#include "qat/quantizer/observer.hpp"
#include "qat/quantizer/ste.hpp"

namespace qat::inline v0 {

/// Where scale and zero point come from.
enum class RangeMode : std::uint8_t {
  kDynamic,  ///< from the tensor itself, anew in each forward
  kStatic,   ///< fixed by set_qparams() or calibrate()
};

/// Policy: a QuantPolicy (scheme fixed at compile time) or RuntimePolicy (scheme read from a file).
template <class Policy, BackwardPolicy Backward = STEBackward>
class BasicFakeQuantizer {
 public:
  /// The scheme of the type. A dynamic group size needs the other constructor.
  BasicFakeQuantizer() : BasicFakeQuantizer(Policy{}.spec) {}
  /// @throws qat::Error if the spec is invalid, or differs from the type's scheme in more than a kDynamicGroupSize
  explicit BasicFakeQuantizer(const QuantSpec& spec) : spec_(spec) {
    validate(spec);
    if constexpr (!std::is_same_v<Policy, RuntimePolicy>) {
      QuantSpec fixed = Policy::spec;
      if (fixed.granularity.group_size == kDynamicGroupSize) fixed.granularity.group_size = spec.granularity.group_size;
      fixed.eps = spec.eps;
      QAT_CHECK(fixed == spec, kInvalidArgument, "FakeQuantizer: the type is ", to_string(fixed),
                ", the spec given is ", to_string(spec));
    }
  }

  const QuantSpec& spec() const { return spec_; }
  RangeMode range_mode() const { return mode_; }
  bool enabled() const { return enabled_; }
  /// Off: forward copies and backward passes gradients unchanged (delayed fake-quantization).
  void set_enabled(bool enabled) { enabled_ = enabled; }

  /// y = fake_quantize(x). Keeps the scales and zero points it used for backward().
  /// @param x, y  (rows, columns), row-major; may be the same memory
  /// @returns how many elements of x are NaN or infinite (they become 0 or the end of the range: quant/affine.hpp)
  template <class D>
  index_t forward(const CpuBackend& backend, const D* x, index_t rows, index_t columns, D* y) {
    if (!enabled_) {
      if (y != x && rows * columns > 0) std::memcpy(y, x, static_cast<std::size_t>(rows * columns) * sizeof(D));
      return 0;
    }
    prepare_state(rows, columns);
    if (mode_ == RangeMode::kStatic) {
      kernels::fake_quantize(backend, spec_, x, rows, columns, scale_.data(), zero_point_.data(), y);
      return 0;
    }
    return kernels::fake_quantize_dynamic(backend, spec_, x, rows, columns, y, scale_.data(), zero_point_.data());
  }

  /// dx (+)= dy through the straight-through estimator, for the x of the last forward().
  template <class D>
  void backward(const CpuBackend& backend, const D* dy, const D* x, index_t rows, index_t columns, D* dx,
                bool accumulate = false) const {
    if (!enabled_) {
      kernels::fake_quantize_backward(backend, spec_, dy, x, rows, columns, scale_.data(), zero_point_.data(),
                                      SteMask::kPassThrough, dx, accumulate);
      return;
    }
    check_state(rows, columns);
    kernels::fake_quantize_backward(backend, spec_, dy, x, rows, columns, scale_.data(), zero_point_.data(),
                                    Backward::mask, dx, accumulate);
  }

  /// The same, and dscale (+)= the gradient of the scales, to train them (LSQ): one per tile, times gradient_scale
  /// (kernels::lsq_gradient_scale). The trained ones come back by set_qparams(), as stored_scale() rounds them.
  void backward(const CpuBackend& backend, const float* dy, const float* x, index_t rows, index_t columns, float* dx,
                float* dscale, float gradient_scale, bool accumulate = false) const {
    QAT_CHECK(enabled_, kInvalidArgument, "FakeQuantizer: switched off, it has no gradient of scales");
    check_state(rows, columns);
    kernels::lsq_backward(backend, spec_, dy, x, rows, columns, scale_.data(), zero_point_.data(), Backward::mask,
                          gradient_scale, dx, accumulate, dscale, accumulate);
  }

  /// Real quantization with the same ranges rule: codes of x; afterwards scale() and zero_point() hold their
  /// parameters. dequantize(codes) equals what forward() writes, bit for bit.
  template <class D>
  index_t quantize(const CpuBackend& backend, const D* x, index_t rows, index_t columns, std::int8_t* codes) {
    prepare_state(rows, columns);
    if (mode_ == RangeMode::kStatic) {
      kernels::quantize(backend, spec_, x, rows, columns, scale_.data(), zero_point_.data(), codes);
      return 0;
    }
    return kernels::quantize_dynamic(backend, spec_, x, rows, columns, codes, scale_.data(), zero_point_.data());
  }

  /// Fixes the parameters: one scale and zero point per tile, in the order of group_layout().
  void set_qparams(const float* scale, const float* zero_point, index_t count) {
    scale_ = Tensor<float>::uninitialized({count});
    zero_point_ = Tensor<float>({count});
    for (index_t i = 0; i < count; ++i) {
      QAT_CHECK(!is_nonfinite(scale[i]) && scale[i] != 0.0f, kInvalidArgument, "FakeQuantizer: scale ", i, " is ",
                scale[i], ", must be finite and not 0");
      scale_[i] = scale[i];
      if (zero_point != nullptr) zero_point_[i] = zero_point[i];
    }
    mode_ = RangeMode::kStatic;
  }
  /// Fixes the parameters from what an observer has seen. D: the dtype of the tensors to come.
  template <class D = float, Observer O>
  void calibrate(const O& observer) {
    QAT_CHECK(observer.tile_count() > 0, kInvalidArgument, "FakeQuantizer::calibrate: the observer has seen no data");
    const AffineScheme scheme(spec_, kFloatTypeOf<D>);
    Tensor<float> scale({observer.tile_count()}), zero_point({observer.tile_count()});  // (tiles)
    for (index_t i = 0; i < observer.tile_count(); ++i) {
      const QParams p = choose_qparams(observer.range(i), scheme);
      scale[i] = p.scale;
      zero_point[i] = p.zero_point;
    }
    set_qparams(scale.data(), zero_point.data(), observer.tile_count());
  }
  /// Back to ranges taken from each tensor.
  void set_dynamic() { mode_ = RangeMode::kDynamic; }

  const Tensor<float>& scale() const { return scale_; }            // (tiles)
  const Tensor<float>& zero_point() const { return zero_point_; }  // (tiles)

 private:
  void prepare_state(index_t rows, index_t columns) {
    const index_t count = group_layout(spec_.granularity, rows, columns).count();
    if (mode_ == RangeMode::kStatic) return check_state(rows, columns);
    if (scale_.size() == count) return;
    scale_ = Tensor<float>::uninitialized({count});
    zero_point_ = Tensor<float>::uninitialized({count});
  }
  void check_state(index_t rows, index_t columns) const {
    const index_t count = group_layout(spec_.granularity, rows, columns).count();
    QAT_CHECK(scale_.size() == count, kShapeMismatch, "FakeQuantizer: ", scale_.size(), " scales are held, a (", rows,
              ", ", columns, ") tensor under ", to_string(spec_), " needs ", count);
  }

  QuantSpec spec_;
  RangeMode mode_ = RangeMode::kDynamic;
  bool enabled_ = true;
  Tensor<float> scale_;       // (tiles)
  Tensor<float> zero_point_;  // (tiles)
};

/// FakeQuantizer<Int4, PerGroup<32>, Symmetric>: everything about the scheme is in the type.
template <QuantizedType Element, GranularityPolicy G, MappingPolicy M, class Scale = float, class Rounding = HalfToEven,
          BackwardPolicy Backward = STEBackward>
using FakeQuantizer = BasicFakeQuantizer<QuantPolicy<Element, G, M, Scale, Rounding>, Backward>;

/// The run-time twin: RuntimeFakeQuantizer(parse_spec("int4:group32:symmetric")) gives the same bits.
template <BackwardPolicy Backward = STEBackward>
using RuntimeFakeQuantizer = BasicFakeQuantizer<RuntimePolicy, Backward>;

}  // namespace qat::inline v0
