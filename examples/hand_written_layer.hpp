// A quantization-aware linear layer on raw pointers: int4 weights, int8 activations, no tape, no tensor class.
#pragma once

#include <vector>

#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/cpu/quantize.hpp"

/// y = fake_quantize(x) fake_quantize(W)^T.   x (N, C), W (O, C), y (N, O), row-major
struct HandWrittenLayer {
  qat::QuantSpec weight = qat::parse_spec("int4:group32:symmetric"),
                 activation = qat::parse_spec("int8:token:asymmetric");
  qat::index_t N, C, O;
  std::vector<float> xq, wq, sx, zx, sw, zw;  // fake-quantized x and W, their scales and zero points
  std::vector<std::uint8_t> pass;             // 1 bit for each element of x that passes its gradient

  HandWrittenLayer(qat::index_t n, qat::index_t c, qat::index_t o) : N(n), C(c), O(o) {
    const auto tiles = static_cast<std::size_t>(qat::group_layout(weight.granularity, o, c).count());
    xq.resize(static_cast<std::size_t>(n * c));
    wq.resize(static_cast<std::size_t>(o * c));
    sx.resize(static_cast<std::size_t>(n));
    zx = sx;
    sw.resize(tiles);
    zw = sw;
    pass.resize((xq.size() + 7) / 8);
  }
  void forward(const qat::CpuBackend& cpu, const float* x, const float* W, float* y) {
    namespace k = qat::kernels;
    k::fake_quantize_dynamic_masked(cpu, activation, x, N, C, xq.data(), sx.data(), zx.data(), qat::SteMask::kInclusive,
                                    pass.data());
    k::fake_quantize_dynamic(cpu, weight, W, O, C, wq.data(), sw.data(), zw.data());
    k::gemm(cpu, N, O, C, k::MatrixOperand{xq.data(), C, 1}, k::MatrixOperand{wq.data(), C, 1}, y, O);
  }
  /// dW (O, C) += and dx (N, C) = the gradients for dy (N, O); dx may be null.
  void backward(const qat::CpuBackend& cpu, const float* W, const float* dy, float* dW, float* dx) const {
    namespace k = qat::kernels;
    if (dx != nullptr) {
      k::gemm(cpu, N, C, O, k::MatrixOperand{dy, O, 1}, k::MatrixOperand{wq.data(), 1, C}, dx, C);
      k::fake_quantize_backward_masked(cpu, activation, dx, pass.data(), N, C, sx.data(), zx.data(), dx);
    }
    std::vector<float> dwq(wq.size());
    k::gemm(cpu, O, C, N, k::MatrixOperand{dy, 1, O}, k::MatrixOperand{xq.data(), 1, C}, dwq.data(), C);
    k::fake_quantize_backward(cpu, weight, dwq.data(), W, O, C, sw.data(), zw.data(), qat::SteMask::kInclusive, dW,
                              true);
  }
};
