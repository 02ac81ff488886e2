// Definitions of kernels/cuda/device.hpp, for the CUDA runtime and for the emulator.
#pragma once

#include <cstdint>
#include <cstring>

#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/launch.cuh"

namespace qat::inline v0::cuda {

#if defined(__CUDACC__)

namespace detail {
/// Throws what a call of the runtime reports; where: who called.
template <class... Where>
void check_runtime(cudaError_t status, const Where&... where) {
  if (status != cudaSuccess) {
    (void)cudaGetLastError();  // so that the next call does not report it again
    raise(ErrorCode::kDevice, where..., ": ", cudaGetErrorString(status));
  }
}
}  // namespace detail

template <class>
DeviceInfo device_info() {
  DeviceInfo info;
  detail::check_runtime(cudaRuntimeGetVersion(&info.runtime_version), "CUDA runtime");
  detail::check_runtime(cudaDriverGetVersion(&info.driver_version), "CUDA driver");
  QAT_CHECK(info.driver_version != 0, kDevice,
            "no CUDA driver on this machine; install one, or use the CPU (--device cpu)");
  QAT_CHECK(info.driver_version / 1000 >= info.runtime_version / 1000, kDevice, "the CUDA driver supports ",
            info.driver_version / 1000, ".", info.driver_version % 1000 / 10, ", this program needs ",
            info.runtime_version / 1000, ".0; install a newer driver or build with an older toolkit");
  int count = 0, device = 0;
  detail::check_runtime(cudaGetDeviceCount(&count), "looking for a GPU");
  QAT_CHECK(count > 0, kDevice, "no GPU on this machine; use the CPU (--device cpu)");
  detail::check_runtime(cudaGetDevice(&device), "looking for a GPU");
  cudaDeviceProp properties;
  detail::check_runtime(cudaGetDeviceProperties(&properties, device), "reading the properties of GPU ", device);
  std::strncpy(info.name, properties.name, sizeof info.name - 1);
  info.compute_capability = 10 * properties.major + properties.minor;
  QAT_CHECK(info.compute_capability >= 80, kDevice, info.name, " has compute capability ", properties.major, ".",
            properties.minor, "; accepted: 8.0 (Ampere) and newer");
  info.processors = properties.multiProcessorCount;
  info.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
  detail::check_runtime(cudaMemGetInfo(&info.free_bytes, &info.memory_bytes), "reading the memory of ", info.name);
  return info;
}

namespace detail {
inline bool is_device_memory(const char* operation, const char* argument, const void* p) {
  cudaPointerAttributes attributes;
  check_runtime(cudaPointerGetAttributes(&attributes, p), operation, ": ", argument);
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
}
}  // namespace detail

template <class>
void* device_allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    std::size_t available = 0, total = 0;
    (void)cudaMemGetInfo(&available, &total);
    raise(ErrorCode::kDevice, "out of device memory: ", bytes, " bytes asked for, ", available, " of ", total, " free");
  }
  detail::check_runtime(status, "allocating ", bytes, " bytes on the GPU");
  detail::check_runtime(cudaMemset(p, 0xCD, bytes), "filling ", bytes, " bytes on the GPU");
  return p;
}
template <class>
void device_free(void* p) noexcept {
  (void)cudaFree(p);
}
template <class>
void device_copy(const CudaBackend& backend, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  detail::check_runtime(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, backend.stream), "copying ", bytes,
                        " bytes");
  device_wait(backend);
}
template <class>
void device_wait(const CudaBackend& backend) {
  detail::check_runtime(cudaStreamSynchronize(backend.stream), "work on the GPU failed");
}
template <class>
bool is_capturing(const CudaBackend& backend) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(backend.stream, &status) == cudaSuccess) return status != cudaStreamCaptureStatusNone;
  (void)cudaGetLastError();  // the default stream while another one is captured
  return true;
}

#else

template <class>
DeviceInfo device_info() {
  DeviceInfo info;
  std::strncpy(info.name, "emulated GPU", sizeof info.name - 1);
  info.compute_capability = 90;
  info.processors = static_cast<int>(resident_blocks(1));
  return info;
}
namespace detail {
inline bool is_device_memory(const char*, const char*, const void* p) { return emulation::is_device_memory(p); }
}  // namespace detail
template <class>
void* device_allocate(std::size_t bytes) {
  QAT_CHECK(bytes < std::size_t{1} << 36, kDevice, "out of device memory: ", bytes, " bytes asked for");
  return bytes == 0 ? nullptr : emulation::allocate(bytes, 0xCD);
}
template <class>
void device_free(void* p) noexcept {
  emulation::release(p);
}
template <class>
void device_copy(const CudaBackend&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}
template <class>
void device_wait(const CudaBackend&) {}
template <class>
bool is_capturing(const CudaBackend&) {
  return false;
}

#endif

template <class>
void check_device_pointer(const char* operation, const char* argument, const void* p, std::size_t alignment) {
  QAT_CHECK(p != nullptr, kInvalidArgument, operation, ": ", argument, " is null");
  QAT_CHECK(reinterpret_cast<std::uintptr_t>(p) % alignment == 0, kInvalidArgument, operation, ": ", argument,
            " is not aligned to ", alignment, " bytes");
  QAT_CHECK(detail::is_device_memory(operation, argument, p), kInvalidArgument, operation, ": ", argument,
            " points to memory of the host; accepted: memory of the GPU (cudaMalloc, a CUDA tensor)");
}

}  // namespace qat::inline v0::cuda
