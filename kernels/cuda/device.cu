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

}  // namespace qat::inline v0::cuda
