// Definitions of kernels/cuda/device.hpp, for the CUDA runtime and for the emulator.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

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
    raise(ErrorCode::kDevice, where..., ": ", cudaGetErrorString(status), advice(status));
  }
}
/// There is machine code of it exactly where there is of the other kernels.
template <class = void>
__global__ void empty_kernel() {}
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
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaErrorNoDevice) detail::check_runtime(found, "looking for a GPU");
  (void)cudaGetLastError();
  QAT_CHECK(count > 0, kDevice, "no GPU on this machine; use the CPU (--device cpu)");
  detail::check_runtime(cudaGetDevice(&device), "looking for a GPU");
  cudaDeviceProp properties;
  detail::check_runtime(cudaGetDeviceProperties(&properties, device), "reading the properties of GPU ", device);
  std::strncpy(info.name, properties.name, sizeof info.name - 1);
  info.compute_capability = 10 * properties.major + properties.minor;
  QAT_CHECK(info.compute_capability >= 80, kDevice, info.name, " has compute capability ", properties.major, ".",
            properties.minor, "; accepted: 8.0 (Ampere) and newer, or the CPU (--device cpu)");
  cudaFuncAttributes attributes;
  detail::check_runtime(cudaFuncGetAttributes(&attributes, detail::empty_kernel<>), info.name, ", compute capability ",
                        properties.major, ".", properties.minor);
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
    raise(ErrorCode::kDevice, "out of device memory: ", bytes, " bytes asked for, ", available, " of ", total, " free",
          detail::advice(status));
  }
  detail::check_runtime(status, "allocating ", bytes, " bytes on the GPU");
  if (const cudaError_t filled = cudaMemset(p, 0xCD, bytes); filled != cudaSuccess) {
    device_free(p);
    detail::check_runtime(filled, "filling ", bytes, " bytes on the GPU");
  }
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
template <class>
CUstream_st* stream_create() {
  cudaStream_t stream = nullptr;
  detail::check_runtime(cudaStreamCreate(&stream), "making a stream");  // one that waits for the default stream
  return stream;
}
template <class>
void stream_destroy(CUstream_st* stream) noexcept {
  if (stream != nullptr) (void)cudaStreamDestroy(stream);
}

struct GraphState {
  cudaGraphExec_t replay = nullptr;
};
template <class>
void graph_begin(const CudaBackend& backend) {
  detail::check_runtime(cudaStreamBeginCapture(backend.stream, cudaStreamCaptureModeThreadLocal), "capturing a graph");
}
template <class>
GraphState* graph_end(const CudaBackend& backend) {
  cudaGraph_t graph = nullptr;
  detail::check_runtime(cudaStreamEndCapture(backend.stream, &graph), "capturing a graph");
  auto state = std::make_unique<GraphState>();
  const cudaError_t status = cudaGraphInstantiate(&state->replay, graph, 0);
  (void)cudaGraphDestroy(graph);
  detail::check_runtime(status, "making a graph");
  return state.release();
}
template <class>
void graph_launch(const CudaBackend& backend, GraphState* graph) {
  detail::check_runtime(cudaGraphLaunch(graph->replay, backend.stream), "launching a graph");
}
template <class>
void graph_destroy(GraphState* graph) noexcept {
  if (graph != nullptr) (void)cudaGraphExecDestroy(graph->replay);
  delete graph;
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
  emulation::forbid_in_capture("an allocation");
  const std::size_t most = emulation::settings().memory_bytes, used = emulation::allocated_bytes();
  QAT_CHECK(bytes <= most - used, kDevice, "out of device memory: ", bytes, " bytes asked for, ", most - used, " of ",
            most, " free");
  return bytes == 0 ? nullptr : emulation::allocate(bytes, 0xCD);
}
template <class>
void device_free(void* p) noexcept {
  if (p != nullptr) emulation::forbid_in_capture("a free");
  emulation::release(p);
}
template <class>
void device_copy(const CudaBackend&, void* to, const void* from, std::size_t bytes) {
  emulation::forbid_in_capture("a copy that waits");
  if (bytes != 0) std::memcpy(to, from, bytes);
}
template <class>
void device_wait(const CudaBackend&) {
  emulation::forbid_in_capture("a wait");
}
template <class>
bool is_capturing(const CudaBackend&) {
  return emulation::is_capturing();
}
template <class>
CUstream_st* stream_create() {
  return nullptr;
}
template <class>
void stream_destroy(CUstream_st*) noexcept {}

struct GraphState : emulation::Graph {};
namespace detail {
/// The graph of the capture that goes on.
inline std::unique_ptr<GraphState>& captured_graph() {
  static std::unique_ptr<GraphState> graph;
  return graph;
}
}  // namespace detail
template <class>
void graph_begin(const CudaBackend&) {
  detail::captured_graph() = std::make_unique<GraphState>();
  emulation::begin_capture(*detail::captured_graph());
}
template <class>
GraphState* graph_end(const CudaBackend&) {
  const std::unique_ptr<GraphState> graph = std::move(detail::captured_graph());
  emulation::end_capture();
  return new GraphState(*graph);
}
template <class>
void graph_launch(const CudaBackend&, GraphState* graph) {
  emulation::replay(*graph);
}
template <class>
void graph_destroy(GraphState* graph) noexcept {
  delete graph;
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
