// CUDA kernels on the processor, for tests: one fibre per thread, and every rule of kernels/cuda/context.hpp checked.
// kernels/cuda/launch.cuh includes this where QAT_CUDA_EMULATION names it; launches then run here, and pointers are
// host memory: of emulation::Buffer, or allowed with emulation::allow. A broken rule throws emulation::Fault.
//
// The same seed (settings().seed) repeats a run. Another one runs blocks, warps and lanes in another order and fills
// shared memory with other bits: results that depend on it are wrong. Not emulated: time, and what compilers do.
#pragma once

#include <type_traits>

#include "cuda/allocator.hpp"
#include "cuda/capture.hpp"
#include "cuda/context.hpp"

namespace qat::emulation {

/// Runs kernel(context) for each thread of grid.x * grid.y blocks of `threads`, as one launch; keeps it where a graph
/// is captured.
template <class Kernel>
void run(const cuda::Grid& grid, unsigned threads, const Kernel& kernel) {
  static_assert(std::is_trivially_copyable_v<Kernel> && sizeof(Kernel) <= 32764,
                "a kernel is passed to the device as bytes, at most 32764");
  const auto body = [](const void* k, Block& block, unsigned thread) {
    (*static_cast<const Kernel*>(k))(Context(block, thread));
  };
  queue([grid, threads, kernel, body] { Block(grid, threads, &kernel, body, type_name(typeid(Kernel))).run(); });
}

}  // namespace qat::emulation
