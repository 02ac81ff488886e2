// Real quantization on a GPU: values to codes and back. Tensors, parameters, scope and bits as in fake_quantize.hpp.
//
// codes    one byte each, an unsigned code above 127 as the byte of the same low 8 bits (kernels/cpu/quantize.hpp)
// packed   codes of spec.bits bits without gaps, row-major, least significant bit first (tensor/packed_view.hpp): int4
//          is two codes a byte, the even column low; packed_bytes(rows * columns, bits) bytes, the last one's rest zero
#pragma once

#include "qat/kernels/cuda/fake_quantize.hpp"

namespace qat::inline v0::cuda {

/// codes = quantize(x) with parameters chosen from x in the same pass; scale and zero_point receive them, either may be
/// null. Workspace: as fake_quantize_dynamic.
template <class T>
void quantize_dynamic(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                      std::int8_t* codes, float* scale, float* zero_point, const QuantizeExtras& extras = {});
template <class T>
void quantize_packed_dynamic(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows,
                             index_t columns, std::uint8_t* packed, float* scale, float* zero_point,
                             const QuantizeExtras& extras = {});

/// codes = quantize(x) with given parameters.
template <class T>
void quantize(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
              const float* scale, const float* zero_point, std::int8_t* codes, const QuantizeExtras& extras = {});
template <class T>
void quantize_packed(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                     const float* scale, const float* zero_point, std::uint8_t* packed,
                     const QuantizeExtras& extras = {});

/// y = dequantize(codes) in the dtype T that the codes were quantized from. In one pass of 16-byte stores where rows
/// are whole vectors and codes are bytes or packed 4-bit codes, aligned to 8 bytes.
template <class T>
void dequantize(const CudaBackend& backend, const QuantSpec& spec, const std::int8_t* codes, index_t rows,
                index_t columns, const float* scale, const float* zero_point, T* y);
template <class T>
void dequantize_packed(const CudaBackend& backend, const QuantSpec& spec, const std::uint8_t* packed, index_t rows,
                       index_t columns, const float* scale, const float* zero_point, T* y);

}  // namespace qat::inline v0::cuda
