// launch(): the one place that starts kernels. nvcc starts them on the GPU; a C++ compiler with QAT_CUDA_EMULATION, the
// name of an emulator's header (test/emulation/cuda.hpp), runs them on the processor, as the tests do.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/base/check.hpp"
#include "qat/kernels/cuda/context.cuh"

#if defined(__CUDACC__)
#include <cuda_runtime_api.h>
#elif defined(QAT_CUDA_EMULATION)
#include QAT_CUDA_EMULATION
#else
#error \
    "qat's .cuh headers are compiled by nvcc; other compilers include the .hpp of the same name and link its instances"
#endif

namespace qat::inline v0::cuda {

#if defined(__CUDACC__)

namespace detail {
/// What to do about an error of the runtime; empty where its name says all that is known.
inline const char* advice(cudaError_t status) {
  switch (status) {
    case cudaErrorNoDevice:
      return "; use the CPU (--device cpu)";
    case cudaErrorInsufficientDriver:
      return "; install a newer driver or build with an older toolkit, or use the CPU (--device cpu)";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
      return "; the kernels were built for other GPUs: build them for this one (nvcc -arch=native, meson "
             "-Dgpu_architectures=...)";
    case cudaErrorMemoryAllocation:
      return "; take a smaller batch, shorter sequences or a GPU with more memory";
    case cudaErrorIllegalAddress:
      return "; a kernel reached memory that is not the GPU's, such as an array of the host or beyond an array's end; "
             "this process cannot use the GPU any more (compute-sanitizer finds the kernel)";
    case cudaErrorMisalignedAddress:
      return "; an array does not begin at a multiple of its elements' size; this process cannot use the GPU any more";
    default:
      return "";
  }
}
}  // namespace detail

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, min_blocks<Kernel>())
    run_kernel(const __grid_constant__ Kernel kernel) {
  kernel(DeviceContext{});
}

/// Queues kernel on the backend's stream. where: the operation with shapes and scheme, for the error.
/// @throws qat::Error if the device refuses
template <class Kernel, class... Where>
void launch(const CudaBackend& backend, const Grid& grid, const Kernel& kernel, const Where&... where) {
  if (grid.x == 0 || grid.y == 0) return;
  const auto check = [&](cudaError_t status) {
    if (status == cudaSuccess) return;
    (void)cudaGetLastError();  // so that the next call does not report it again
    raise(ErrorCode::kDevice, where..., ": the device refused the launch (", grid.x, " x ", grid.y, " blocks of ",
          Kernel::kThreads, " threads, ", grid.shared_bytes, " bytes of shared memory): ", cudaGetErrorString(status),
          detail::advice(status));
  };
  if (grid.shared_bytes > 48 * 1024)
    check(cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(grid.shared_bytes)));
  run_kernel<Kernel><<<dim3(grid.x, grid.y), Kernel::kThreads, grid.shared_bytes, backend.stream>>>(kernel);
  check(cudaGetLastError());
}
/// Blocks of a kernel that walks its work in a loop: `per_processor` on each multiprocessor.
inline unsigned resident_blocks(unsigned per_processor) {
  static const int processors = [] {
    int device = 0, count = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
      return 1;
    return count;
  }();
  return static_cast<unsigned>(processors) * per_processor;
}

#else

template <class Kernel, class... Where>
void launch(const CudaBackend&, const Grid& grid, const Kernel& kernel, const Where&...) {
  if (grid.x != 0 && grid.y != 0) emulation::run(grid, Kernel::kThreads, kernel);
}
inline unsigned resident_blocks(unsigned per_processor) { return 3 * per_processor; }

#endif

}  // namespace qat::inline v0::cuda
