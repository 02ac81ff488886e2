// Instances of kernels/cuda/prepack_int4.hpp.
#include "qat/kernels/cuda/prepack_int4.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(S)                                                                                         \
  template void prepack_int4<S>(const CudaBackend&, const Int4Tiles&,                                                 \
                                const RowMajorInt4<const std::uint8_t, const S>&, const TiledInt4<std::uint8_t, S>&); \
  template void unpack_int4<S>(const CudaBackend&, const Int4Tiles&, const TiledInt4<const std::uint8_t, const S>&,   \
                               const RowMajorInt4<std::uint8_t, S>&);                                                 \
  template void dequantize_int4<S>(const CudaBackend&, const Int4Tiles&,                                              \
                                   const RowMajorInt4<const std::uint8_t, const S>&, bfloat16*, index_t);             \
  template void dequantize_int4<S>(const CudaBackend&, const Int4Tiles&,                                              \
                                   const TiledInt4<const std::uint8_t, const S>&, bfloat16*, index_t);
QAT_CUDA_INSTANCES(float)
QAT_CUDA_INSTANCES(bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
