// What a CUDA kernel is written against. A kernel is a struct: its parameters are the members, its body is
//
//   template <class Context> QAT_HOST_DEVICE void operator()(const Context& c) const;
//
// and `static constexpr int kThreads` (a multiple of 32), optionally kMinBlocks, bound its launch. Context is
// cuda::DeviceContext on a GPU (context.cuh), where each member is an instruction or two, and the emulator's in tests:
// one fibre per thread, with every rule of the hardware checked. So bodies use no threadIdx, no __syncthreads and no
// inline PTX of their own; memory is read and written through the context, which is how the emulator sees races and
// accesses out of bounds. Barriers, shuffles and votes are reached by all threads of the block or warp, or by none.
//
// clang-format off
//   place          c.thread() c.threads() c.block() c.block_y() c.blocks() c.lane() c.warp()
//   global memory  c.load(p) c.load_stream(p) c.load_cached(p) c.store(p, v) c.store_stream(p, v)
//                  1 to 16 bytes, p aligned to them
//   shared memory  c.shared<T>(byte_offset): load(i), store(i, v), and at(i), an address for the copies below
//   copies         c.cp_async16(shared_address, global, valid) c.cp_commit() c.cp_wait<N>()
//                  16 bytes, zeros where !valid; after cp_wait<N> the last N groups may be pending
//   together       c.sync() c.sync_warp() c.shuffle(v, lane) c.shuffle_xor(v, mask) c.shuffle_down(v, n) c.ballot(bool)
//   tiles          c.ldmatrix_x4(r, shared_address) c.ldmatrix_x2(r, shared_address) c.ldmatrix_x4_trans(r, shared_address)
//                  8x8 tiles of 16-bit elements, transposed by the last
//   products       c.mma_bf16(d, a, b)  m16n8k16, fp32 sums      c.mma_s8(d, a, b)  m16n8k32, int32 sums
//   between blocks c.atomic_add(p, v) c.atomic_max(p, v)  unsigned, the old value      c.fence()
//   fp32           c.mul(a, b) c.add(a, b) c.sub(a, b) c.fma(a, b, c) c.div(a, b) c.sqrt(a) c.rint(a)
//                  each rounded once, never fused by a compiler
//                  c.exp(a) c.log(a)  expf, logf      c.exp2(a)  2^a within 2 ulp, one instruction, subnormal results are 0
//                  c.reciprocal(a)  1 / a within 1 ulp, one instruction, subnormal operands and results are 0
//                  the last bits of these four depend on the device
//   bfloat16       c.bf16_pair(low, high)  two fp32 to a word, half to even, NaN becomes 0x7FFF
//                  c.fma_bf16x2(a, b, c)  on words of two, each half rounded once
//   bits           c.and_or(a, b, c)  (a & b) | c
//                  c.permute_bytes(a, selector)  byte i becomes byte (selector >> 4 i & 3)
// clang-format on
#pragma once

#include "qat/base/bit_cast.hpp"

// Before a loop of a constant number of rounds over registers: nvcc leaves long bodies rolled up otherwise, and arrays
// in memory.
#if defined(__CUDACC__)
#define QAT_CUDA_UNROLL _Pragma("unroll")
#define QAT_CUDA_LOOP _Pragma("unroll 1")  // the opposite: one copy of the body
#else
#define QAT_CUDA_UNROLL
#define QAT_CUDA_LOOP
#endif

namespace qat::inline v0::cuda {

/// 8 and 16 bytes that move in one access.
struct alignas(8) Bytes8 {
  std::uint32_t word[2];
};
struct alignas(16) Bytes16 {
  std::uint32_t word[4];
};

/// Blocks of a launch, and its dynamic shared memory in bytes.
struct Grid {
  unsigned x = 1, y = 1;
  std::size_t shared_bytes = 0;
};

/// Two bfloat16 in a word, the first in the low half: to fp32 exactly.
QAT_HOST_DEVICE constexpr float low_bf16(std::uint32_t pair) { return bit_cast<float>(pair << 16); }
QAT_HOST_DEVICE constexpr float high_bf16(std::uint32_t pair) { return bit_cast<float>(pair & 0xFFFF0000u); }

template <class Kernel>
constexpr int min_blocks() {
  if constexpr (requires { Kernel::kMinBlocks; }) return Kernel::kMinBlocks;
  return 1;
}

}  // namespace qat::inline v0::cuda
