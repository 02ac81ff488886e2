// The current GPU, its memory, and what must hold before a kernel may run. Plain C++; device.cuh defines it.
#pragma once

#include <utility>

#include "qat/backend/cuda.hpp"
#include "qat/base/check.hpp"

namespace qat::inline v0::cuda {

struct DeviceInfo {
  char name[256] = {};
  int compute_capability = 0;  ///< 10 * major + minor: 90 on a Hopper
  int processors = 0;          ///< streaming multiprocessors
  std::size_t memory_bytes = 0, free_bytes = 0, l2_bytes = 0;
  int driver_version = 0, runtime_version = 0;  ///< 13000: CUDA 13.0
};

// Function templates, so that they can be defined in a .cuh and instantiated for programs of other compilers.

/// @throws qat::Error (kDevice) saying what is missing: a GPU, a driver as new as the toolkit, compute capability
/// >= 8.0
template <class = void>
DeviceInfo device_info();

/// Checks that p is memory of the current device, aligned to `alignment` bytes.
/// @throws qat::Error naming operation and argument, e.g. for memory of the host
template <class = void>
void check_device_pointer(const char* operation, const char* argument, const void* p, std::size_t alignment = 1);

/// Checks that the backend has at least `bytes` of workspace.
inline void check_workspace(const CudaBackend& backend, const char* operation, std::size_t bytes) {
  QAT_CHECK(backend.workspace_bytes >= bytes && (bytes == 0 || backend.workspace != nullptr), kInvalidArgument,
            operation, ": needs ", bytes, " bytes of workspace, the backend has ", backend.workspace_bytes);
}

/// Memory of the current device; every byte is 0xCD at first. @throws qat::Error naming the size when there is too
/// little
template <class = void>
void* device_allocate(std::size_t bytes);
template <class = void>
void device_free(void* p) noexcept;
/// Copies between host and device (either way) after the work queued on the stream, and waits for it.
template <class = void>
void device_copy(const CudaBackend& backend, void* to, const void* from, std::size_t bytes);
/// Waits for the work queued on the stream. @throws qat::Error when a kernel has failed
template <class = void>
void device_wait(const CudaBackend& backend);

/// Whether work queued on the stream goes into a graph that is being captured.
template <class = void>
bool is_capturing(const CudaBackend& backend);

/// A stream of the current device, other than the default one: only such a stream can be captured.
template <class = void>
CUstream_st* stream_create();
template <class = void>
void stream_destroy(CUstream_st* stream) noexcept;

struct GraphState;
template <class = void>
void graph_begin(const CudaBackend& backend);
/// Ends the capture also where it fails. @throws qat::Error if work was queued that no graph can hold
template <class = void>
GraphState* graph_end(const CudaBackend& backend);
template <class = void>
void graph_launch(const CudaBackend& backend, GraphState* graph);
template <class = void>
void graph_destroy(GraphState* graph) noexcept;

/// A stream that is destroyed with this.
class DeviceStream {
 public:
  DeviceStream() : stream_(stream_create()) {}
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;
  ~DeviceStream() { stream_destroy(stream_); }
  CUstream_st* get() const { return stream_; }

 private:
  CUstream_st* stream_;
};

/// Work that was queued once, to be queued again as one launch: the same kernels with the same arguments on what memory
/// holds then.
class DeviceGraph {
 public:
  DeviceGraph() = default;
  /// Captures what queue() queues on the backend's stream, which is not the default one; nothing of it runs.
  /// @throws qat::Error if some of it allocates or waits; what queue() throws
  template <class F>
  DeviceGraph(const CudaBackend& backend, const F& queue) {
    graph_begin(backend);
    try {
      queue();
    } catch (...) {
      try {
        graph_destroy(graph_end(backend));
      } catch (const Error&) {  // the first error says more
      }
      throw;
    }
    graph_ = graph_end(backend);
  }
  DeviceGraph(DeviceGraph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  DeviceGraph& operator=(DeviceGraph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  ~DeviceGraph() { graph_destroy(graph_); }
  explicit operator bool() const { return graph_ != nullptr; }
  void launch(const CudaBackend& backend) const { graph_launch(backend, graph_); }

 private:
  GraphState* graph_ = nullptr;
};

/// n values in device memory.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(index_t n)
      : data_(static_cast<T*>(device_allocate(static_cast<std::size_t>(n) * sizeof(T)))), size_(n) {}
  DeviceBuffer(const CudaBackend& backend, const T* host, index_t n) : DeviceBuffer(n) {
    device_copy(backend, data_, host, static_cast<std::size_t>(n) * sizeof(T));
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceBuffer() { device_free(data_); }
  T* data() const { return data_; }
  index_t size() const { return size_; }
  void read(const CudaBackend& backend, T* host) const {
    device_copy(backend, host, data_, static_cast<std::size_t>(size_) * sizeof(T));
  }

 private:
  T* data_ = nullptr;
  index_t size_ = 0;
};

}  // namespace qat::inline v0::cuda
