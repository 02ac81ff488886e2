// Where CUDA kernels run. Plain C++: needs no toolkit header, so that programs built by any compiler can pass one.
#pragma once

#include "qat/base/config.hpp"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace qat::inline v0 {

/// A stream of the current device, and memory that operations may use as they like until the work queued on the stream
/// is done. Operations allocate nothing and wait for nothing, so they can be captured in CUDA graphs. Every result is
/// the same from run to run: no sum depends on the order in which blocks finish.
struct CudaBackend {
  CUstream_st* stream = nullptr;    ///< null: the default stream
  void* workspace = nullptr;        ///< device memory, aligned to 256 bytes
  std::size_t workspace_bytes = 0;  ///< an operation that needs more says how much
};

}  // namespace qat::inline v0
