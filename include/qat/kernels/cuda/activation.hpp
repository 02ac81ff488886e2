// Activation functions of feed-forward blocks on the GPU, with the fake quantization of their output folded in.
#pragma once

#include "qat/kernels/cuda/quantized_output.hpp"

namespace qat::inline v0::cuda {

enum class Activation {
  kSwiglu,    ///< y = silu(gate) * up, silu(g) = g sigmoid(g).   Source: Shazeer 2020
  kGeluTanh,  ///< y = g sigmoid(2 t), t = sqrt(2 / pi) (g + 0.044715 g^3): GPT-2's gelu, without up.   Hendrycks,
              ///< Gimpel
};

template <class T>
struct ActivationArgs {
  Activation kind = Activation::kSwiglu;
  const T* gate = nullptr;  ///< (rows, columns), rows gate_stride elements apart
  const T* up = nullptr;    ///< (rows, columns), rows up_stride apart; null for kGeluTanh
  index_t rows = 0, columns = 0;
  index_t gate_stride = 0, up_stride = 0;  ///< 0: columns. Halves of one product (rows, 2 columns): 2 columns
  QuantizedOutput<T> output{};             ///< contiguous; output.y may be gate or up where that is contiguous
};

/// The activation, rounded to T; then, under output.spec, fake-quantized as a tensor of T.
///
/// T: float or bfloat16; arithmetic in fp32, in the order of kernels::swiglu. Exact: the quantization, on the y that
/// the same call gives without a spec. e^x is the device's: expf for float (2 ulp), one instruction for bfloat16 (2 ulp
/// and the rounding of x log2(e), of magnitude up to 2^-24 |x|).
/// @throws qat::Error for a spec, if rows are not whole aligned vectors of 16 bytes, at most 4096, or the spec is one
///         that job_of_rows refuses; without a spec any shape runs
template <class T>
void activation(const CudaBackend& backend, const ActivationArgs<T>& args);

template <class T>
struct ActivationBackwardArgs {
  Activation kind = Activation::kSwiglu;
  const T* gate = nullptr;  ///< as in the forward pass
  const T* up = nullptr;
  const T* dy = nullptr;  ///< (rows, columns), contiguous: gradient of the output, fake-quantized under `quantized`
  index_t rows = 0, columns = 0;
  index_t gate_stride = 0, up_stride = 0;  ///< of gate and dgate, up and dup
  T* dgate = nullptr;                      ///< may be gate, which is then lost
  T* dup = nullptr;                        ///< likewise up
  QuantizedInput quantized{};
};

/// dup = dy silu(gate),  dgate = dy up (s + silu(gate) (1 - s)),  s = sigmoid(gate); for kGeluTanh dgate = dy
/// gelu'(gate). dy first through the straight-through estimator of the forward pass, whose y is computed again.
template <class T>
void activation_backward(const CudaBackend& backend, const ActivationBackwardArgs<T>& args);

}  // namespace qat::inline v0::cuda
