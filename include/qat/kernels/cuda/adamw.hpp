// AdamW on the GPU with quantization-aware training folded in: what a step does to a quantized weight besides updating
// it costs no pass over memory of its own. One launch updates all tensors of a model.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/kernels/adamw_factors.hpp"
#include "qat/quant/affine.hpp"

namespace qat::inline v0::cuda {

/// A parameter as the table of a step lists it; all pointers but the name are device memory. G: the gradient's element,
/// float or bfloat16; W: that of the copy which products read.
///
/// A tensor with a spec is fake-quantized: `gradient` is that of the fake-quantized weight, and the step
///   1. sends it through the straight-through estimator, under the scales that the forward pass used,
///   2. updates value, mean and square,
///   3. chooses new scales: from the range of the new values, or, where they are learned (LSQ), by a step of AdamW,
///   4. writes copy = W(fake_quantize(value)) for the next forward pass.
/// A tensor without one (scale null) is updated, and copied rounded to W where copy is not null.
template <class G, class W>
struct AdamWTensor {
  const char* name = "?";           ///< for errors of plan_adamw
  index_t rows = 0, columns = 0;    ///< row-major, contiguous
  float* value = nullptr;           ///< fp32 master
  const G* gradient = nullptr;      ///< as accumulated
  float* mean = nullptr;            ///< AdamW's first moment
  float* square = nullptr;          ///< and second
  W* copy = nullptr;                ///< may be null only without scale
  float* scale = nullptr;           ///< (tiles): those of the last forward pass in, those of the next one out
  float* zero_point = nullptr;      ///< (tiles), likewise; null where the mapping has a constant one
  float* learned = nullptr;         ///< (tiles) trained scales, of which `scale` holds stored_scale(); null: chosen
  float* learned_mean = nullptr;    ///< (tiles)
  float* learned_square = nullptr;  ///< (tiles)
  float lsq_factor = 1.0f;          ///< times the gradient of a learned scale: kernels::lsq_gradient_scale
  std::uint32_t group = 0;          ///< which AdamWStep::factors
  std::uint32_t learned_group = 0;  ///< and which for the learned scales
  SteMask mask = SteMask::kInclusive;
  QuantSpec spec{};  ///< axis0, token or group granularity, half-to-even rounding, integer zero points
};

/// A block's part of the work: elements or tiles [begin, begin + count) of a tensor.
struct AdamWWork {
  std::uint32_t tensor;
  std::uint32_t kind;
  index_t begin;
  index_t count;
};

/// What plan_adamw found.
struct AdamWPlan {
  index_t works = 0;
  bool has_learned = false;
};

/// Cuts a table, as it lies in host memory, into works; writes them where `works` is not null. The plan holds as long
/// as sizes, specs, alignments and the set of learned scales do; table and works are then copied to the device once.
/// @throws qat::Error naming the tensor and the field: a null pointer, a scheme outside what is accepted above
template <class G, class W>
AdamWPlan plan_adamw(const AdamWTensor<G, W>* tensors, index_t count, AdamWWork* works);

/// Numbers of a step.
struct AdamWStep {
  static constexpr int kGroups = 4;
  kernels::AdamWFactors factors[kGroups] = {};            ///< of the parameter groups, as torch.optim calls them
  const kernels::AdamWFactors* device_factors = nullptr;  ///< instead of them: device memory, for CUDA graphs
  const float* gradient_factor = nullptr;  ///< device memory: every gradient is multiplied by it (gradient_norm)
};

/// One step of every tensor of the table, in one launch.
///
/// Exact: with G = float the bits of kernels::fake_quantize_backward or lsq_backward (factor lsq_factor), scale,
/// kernels::adamw and the definition's choose_qparams and fake_quantize, one after the other; with G = bfloat16 the
/// same on its gradients as fp32.
/// @param tensors  device memory: the table of plan_adamw
/// @param works    device memory: what plan_adamw wrote
template <class G, class W>
void adamw(const CudaBackend& backend, const AdamWTensor<G, W>* tensors, const AdamWWork* works, const AdamWPlan& plan,
           const AdamWStep& step);

/// The norm of all gradients as the step uses them (after the straight-through estimator, learned scales included), and
/// the factor that clips it: result[0] = norm, result[1] = max_norm / (norm + 1e-6) if that is below 1 and the norm is
/// finite, else 1: AdamWStep::gradient_factor. Source: torch.nn.utils.clip_grad_norm_.
///
/// Sums in double, in an order that depends on the plan alone.
/// @param result  device memory, 2 floats
/// Workspace: gradient_norm_bytes(plan)
template <class G, class W>
void gradient_norm(const CudaBackend& backend, const AdamWTensor<G, W>* tensors, const AdamWWork* works,
                   const AdamWPlan& plan, double max_norm, float* result);

inline std::size_t gradient_norm_bytes(const AdamWPlan& plan) {
  return static_cast<std::size_t>(plan.works) * sizeof(double);
}

}  // namespace qat::inline v0::cuda
