// What qat says when the CUDA runtime says no. The runtime here is a stand-in that links in place of libcudart and
// answers as it is told: no driver, an old one, no GPU, no machine code for it, too little memory, a kernel that fails.
// test/checks/cuda_examples.py links it with instances that nvcc compiled.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/fake_quantize.hpp"
#include "qat/kernels/reference/quantize.hpp"

namespace {

/// The answers, and what programs have of the device.
struct Runtime {
  int driver = 13000, runtime = 13000, devices = 1, major = 9, minor = 0;
  cudaError_t count = cudaSuccess, image = cudaSuccess, launched = cudaSuccess, waited = cudaSuccess,
              filled = cudaSuccess, captured = cudaSuccess;
  int allocations_left = 1000;
  cudaError_t last = cudaSuccess;  ///< what cudaGetLastError() has to say
  int launches = 0, graphs = 0;
  std::map<char*, std::size_t> memory = {};

  cudaError_t answer(cudaError_t status) {
    if (status != cudaSuccess) last = status;
    return status;
  }
} runtime;

}  // namespace

extern "C" {
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = runtime.runtime, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = runtime.driver, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = runtime.devices, runtime.answer(runtime.count); }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {};
  std::strcpy(p->name, "stand-in GPU");
  p->major = runtime.major, p->minor = runtime.minor, p->multiProcessorCount = 2;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { return *value = 2, cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) { return runtime.answer(runtime.image); }
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total) {
  return *available = 100, *total = 1000, cudaSuccess;
}
cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  if (runtime.allocations_left-- <= 0) return runtime.answer(cudaErrorMemoryAllocation);
  char* const made = static_cast<char*>(std::malloc(bytes));
  runtime.memory[made] = bytes;
  return *p = made, cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  if (runtime.memory.erase(static_cast<char*>(p)) == 0) return runtime.answer(cudaErrorInvalidValue);
  return std::free(p), cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  return std::memset(p, value, bytes), runtime.answer(runtime.filled);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return std::memcpy(to, from, bytes), cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return runtime.answer(runtime.waited); }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t*) { return cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) { return cudaSuccess; }
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) { return runtime.answer(runtime.captured); }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long) {
  ++runtime.graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return --runtime.graphs, cudaSuccess; }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  *attributes = {};
  const char* const at = static_cast<const char*>(p);
  const auto after = runtime.memory.upper_bound(const_cast<char*>(at));
  if (after != runtime.memory.begin() && at < std::prev(after)->first + std::prev(after)->second)
    attributes->type = cudaMemoryTypeDevice;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return std::exchange(runtime.last, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return runtime.last; }
const char* cudaGetErrorString(cudaError_t status) {
  static std::string text;
  return (text = "error " + std::to_string(status)).c_str();
}

// What nvcc's code calls to register itself and to launch.
void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, uint3*, uint3*, dim3*, dim3*, int*) {}
unsigned __cudaPushCallConfiguration(dim3, dim3, std::size_t, cudaStream_t) { return 0; }
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, std::size_t*, void*) { return cudaSuccess; }
char __cudaInitModule(void**) { return 0; }
cudaError_t __cudaGetKernel(cudaKernel_t*, const void*) { return cudaSuccess; }
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, std::size_t, cudaStream_t) {
  ++runtime.launches;
  return runtime.answer(runtime.launched);
}
}

namespace qat::cuda_runtime_test {
namespace {

/// What the error says that f ends with, with the last error cleared and no memory of the device left.
template <class F>
std::string said(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::kDevice);
    CHECK(runtime.last == cudaSuccess);
    CHECK(runtime.memory.empty());
    return e.what();
  }
  return "nothing";
}
/// The error of device_info() where the runtime answers like this.
std::string refusal(const Runtime& answers) {
  runtime = answers;
  const std::string found = said([] { cuda::device_info(); });
  runtime = {};
  return found;
}
void has(const std::string& text, const char* part) {
  CAPTURE(text);
  CAPTURE(part);
  CHECK(text.find(part) != std::string::npos);
}
/// A small fake-quantization on the device, from allocation to result.
void use_device() {
  const std::vector<float> x(64, 1.0f);
  const CudaBackend gpu;
  const cuda::DeviceBuffer<float> device_x(gpu, x.data(), 64), y(64);
  cuda::fake_quantize_dynamic(gpu, parse_spec("int4:group32:symmetric"), device_x.data(), 2, 32, y.data());
  std::vector<float> found(64);
  y.read(gpu, found.data());
}

TEST_CASE("device_info: a GPU that does not serve is an error that says why and what to do") {
  CHECK(refusal({}) == "nothing");
  has(refusal({.driver = 0}), "no CUDA driver on this machine; install one, or use the CPU (--device cpu)");
  has(refusal({.driver = 12040}),
      "the CUDA driver supports 12.4, this program needs 13.0; install a newer driver or build");
  const std::string insufficient = refusal({.count = cudaErrorInsufficientDriver});
  has(insufficient,
      "looking for a GPU: error 35; install a newer driver or build with an older toolkit, or use the CPU");
  has(refusal({.devices = 0, .count = cudaErrorNoDevice}), "no GPU on this machine; use the CPU (--device cpu)");
  has(refusal({.devices = 0}), "no GPU on this machine");
  has(refusal({.major = 7, .minor = 5}), "stand-in GPU has compute capability 7.5; accepted: 8.0 (Ampere) and newer");
  const std::string no_image = refusal({.major = 12, .image = cudaErrorNoKernelImageForDevice});
  has(no_image, "stand-in GPU, compute capability 12.0: error 209; the kernels were built for other GPUs: build them");
}

TEST_CASE(
    "device_allocate: too little memory is an error with the sizes, whichever allocation meets it, without a leak") {
  for (int most = 0; most < 2; ++most) {
    CAPTURE(most);
    runtime = {.allocations_left = most};
    has(said(use_device), "out of device memory: 256 bytes asked for, 100 of 1000 free; take a smaller batch");
  }
  runtime = {.filled = cudaErrorUnknown};
  has(said(use_device), "filling 256 bytes on the GPU: error 999");
  runtime = {};
  CHECK(said(use_device) == "nothing");
  CHECK(runtime.memory.empty());
}

TEST_CASE("launch: what the device refuses names operation, shape and scheme, and the next launch is none the worse") {
  runtime = {.launched = cudaErrorNoKernelImageForDevice};
  const std::string found = said(use_device);
  has(found, "fake_quantize");
  has(found, "(2, 32)");
  has(found, "int4:group32:symmetric");
  has(found, "error 209; the kernels were built for other GPUs");
  runtime.launched = cudaSuccess;
  CHECK(said(use_device) == "nothing");
  CHECK(runtime.launches == 2);
}

TEST_CASE("device_wait: a kernel that failed is an error that says what may have happened") {
  runtime = {.waited = cudaErrorIllegalAddress};
  has(said(use_device), "work on the GPU failed: error 700; a kernel reached memory that is not the GPU's");
  runtime = {.waited = cudaErrorMisalignedAddress};
  has(said(use_device), "error 716; an array does not begin at a multiple of its elements' size");
}

TEST_CASE(
    "check_device_pointer: null, memory of the host and a misaligned pointer are named, those of the device pass") {
  runtime = {};
  const auto refused = [](const void* p, std::size_t alignment) -> std::string {
    try {
      cuda::check_device_pointer("fake_quantize", "x", p, alignment);
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::kInvalidArgument);
      return e.what();
    }
    return "nothing";
  };
  const cuda::DeviceBuffer<float> buffer(16);
  float host = 0.0f;
  has(refused(nullptr, 1), "fake_quantize: x is null");
  has(refused(&host, 4), "fake_quantize: x points to memory of the host; accepted: memory of the GPU");
  has(refused(reinterpret_cast<const char*>(buffer.data()) + 2, 4), "fake_quantize: x is not aligned to 4 bytes");
  CHECK(refused(buffer.data() + 3, 4) == "nothing");
}

TEST_CASE("DeviceGraph: a capture that the runtime gives up is an error, one that it makes is destroyed once") {
  const auto capture = [] { cuda::DeviceGraph(CudaBackend{}, use_device); };
  runtime = {};
  capture();
  CHECK(runtime.graphs == 0);
  CHECK(runtime.launches == 1);
  runtime = {.captured = cudaErrorStreamCaptureInvalidated};
  has(said(capture), "capturing a graph: error 901");
  CHECK_THROWS_WITH_AS(cuda::DeviceGraph(CudaBackend{}, [] { raise(ErrorCode::kShapeMismatch, "rows"); }), "rows",
                       Error);
  CHECK(runtime.graphs == 0);
  runtime = {};
}

TEST_CASE("the processor computes after a GPU was refused what it computed before") {
  const std::vector<float> x = {0.3f, -1.0f, 7.0f, 0.6f};
  const auto on_cpu = [&x] {
    std::vector<float> y(4);
    kernels::reference::fake_quantize_dynamic(parse_spec("int4:axis0:symmetric"), x.data(), 1, 4, y.data());
    return y;
  };
  const std::vector<float> before = on_cpu();
  has(refusal({.devices = 0, .count = cudaErrorNoDevice}), "no GPU");
  runtime = {.allocations_left = 1};
  has(said(use_device), "out of device memory");
  CHECK(on_cpu() == before);
}

}  // namespace
}  // namespace qat::cuda_runtime_test
