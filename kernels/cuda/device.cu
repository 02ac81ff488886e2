// Instances of kernels/cuda/device.hpp.
#include "qat/kernels/cuda/device.cuh"

namespace qat::inline v0::cuda {

template DeviceInfo device_info<void>();
template void check_device_pointer<void>(const char*, const char*, const void*, std::size_t);
template void* device_allocate<void>(std::size_t);
template void device_free<void>(void*) noexcept;
template void device_copy<void>(const CudaBackend&, void*, const void*, std::size_t);
template void device_wait<void>(const CudaBackend&);
template bool is_capturing<void>(const CudaBackend&);
template CUstream_st* stream_create<void>();
template void stream_destroy<void>(CUstream_st*) noexcept;
template void graph_begin<void>(const CudaBackend&);
template GraphState* graph_end<void>(const CudaBackend&);
template void graph_launch<void>(const CudaBackend&, GraphState*);
template void graph_destroy<void>(GraphState*) noexcept;

}  // namespace qat::inline v0::cuda
