// The context of kernels/cuda/context.hpp on a GPU.
#pragma once

#include "qat/kernels/cuda/context.hpp"

#if defined(__CUDACC__)

namespace qat::inline v0::cuda {

extern __shared__ uint4 qat_dynamic_shared[];

/// Part of a block's shared memory.
template <class T>
struct Shared {
  T* data;
  __device__ T load(unsigned i) const { return data[i]; }
  __device__ void store(unsigned i, const T& v) const { data[i] = v; }
  __device__ unsigned at(unsigned i) const { return static_cast<unsigned>(__cvta_generic_to_shared(data + i)); }
};

template <class T, int N>
__device__ T from_words(const std::uint32_t (&w)[N]) {
  T v;
  __builtin_memcpy(&v, w, sizeof v);
  return v;
}

struct DeviceContext {
  __device__ unsigned thread() const { return threadIdx.x; }
  __device__ unsigned threads() const { return blockDim.x; }
  /// Read anew each time, so that what follows from it need not stay in registers.
  __device__ unsigned block() const {
    unsigned x;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(x));
    return x;
  }
  __device__ unsigned block_y() const { return blockIdx.y; }
  __device__ unsigned blocks() const { return gridDim.x; }
  __device__ unsigned lane() const { return threadIdx.x & 31u; }
  __device__ unsigned warp() const { return threadIdx.x >> 5; }

  // PTX accesses: a struct copied by value may be split into narrower ones.
  template <class T>
  __device__ T load(const T* p) const {
    if constexpr (sizeof(T) == 16) {
      std::uint32_t w[4];
      asm volatile("ld.global.v4.b32 {%0,%1,%2,%3}, [%4];"
                   : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
                   : "l"(p)
                   : "memory");
      return from_words<T>(w);
    } else if constexpr (sizeof(T) == 8) {
      std::uint32_t w[2];
      asm volatile("ld.global.v2.b32 {%0,%1}, [%2];" : "=r"(w[0]), "=r"(w[1]) : "l"(p) : "memory");
      return from_words<T>(w);
    } else {
      return *p;
    }
  }
  /// Read once by this kernel, never written by it: bypasses the first-level cache.
  template <class T>
  __device__ T load_stream(const T* p) const {
    if constexpr (sizeof(T) == 16) {
      std::uint32_t w[4];
      asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%0,%1,%2,%3}, [%4];"
                   : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
                   : "l"(p));
      return from_words<T>(w);
    } else if constexpr (sizeof(T) == 8) {
      std::uint32_t w[2];
      asm volatile("ld.global.nc.L1::no_allocate.v2.b32 {%0,%1}, [%2];" : "=r"(w[0]), "=r"(w[1]) : "l"(p));
      return from_words<T>(w);
    } else {
      return *p;
    }
  }
  /// Read again by this kernel, never written by it.
  template <class T>
  __device__ T load_cached(const T* p) const {
    if constexpr (sizeof(T) == 16) {
      std::uint32_t w[4];
      asm volatile("ld.global.nc.v4.b32 {%0,%1,%2,%3}, [%4];"
                   : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
                   : "l"(p));
      return from_words<T>(w);
    } else if constexpr (sizeof(T) == 8) {
      std::uint32_t w[2];
      asm volatile("ld.global.nc.v2.b32 {%0,%1}, [%2];" : "=r"(w[0]), "=r"(w[1]) : "l"(p));
      return from_words<T>(w);
    } else {
      return *p;
    }
  }
  template <class T>
  __device__ void store(T* p, const T& v) const {
    if constexpr (sizeof(T) == 16) {
      std::uint32_t w[4];
      __builtin_memcpy(w, &v, 16);
      asm volatile("st.global.v4.b32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3])
                   : "memory");
    } else if constexpr (sizeof(T) == 8) {
      std::uint32_t w[2];
      __builtin_memcpy(w, &v, 8);
      asm volatile("st.global.v2.b32 [%0], {%1,%2};" ::"l"(p), "r"(w[0]), "r"(w[1]) : "memory");
    } else {
      *p = v;
    }
  }
  /// Not read again soon.
  template <class T>
  __device__ void store_stream(T* p, const T& v) const {
    if constexpr (sizeof(T) == 16) {
      std::uint32_t w[4];
      __builtin_memcpy(w, &v, 16);
      asm volatile("st.global.cs.v4.b32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3])
                   : "memory");
    } else if constexpr (sizeof(T) == 8) {
      std::uint32_t w[2];
      __builtin_memcpy(w, &v, 8);
      asm volatile("st.global.cs.v2.b32 [%0], {%1,%2};" ::"l"(p), "r"(w[0]), "r"(w[1]) : "memory");
    } else {
      *p = v;
    }
  }

  template <class T>
  __device__ Shared<T> shared(std::size_t byte_offset) const {
    return {reinterpret_cast<T*>(reinterpret_cast<char*>(qat_dynamic_shared) + byte_offset)};
  }
  __device__ void cp_async16(unsigned shared_address, const void* global, bool valid = true) const {
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address), "l"(global), "r"(bytes)
                 : "memory");
  }
  __device__ void cp_commit() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int N>
  __device__ void cp_wait() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
  }

  __device__ void sync() const { __syncthreads(); }
  __device__ void sync_warp() const { __syncwarp(); }
  template <class T>
  __device__ T shuffle(T v, unsigned lane) const {
    return __shfl_sync(0xFFFFFFFFu, v, static_cast<int>(lane));
  }
  template <class T>
  __device__ T shuffle_xor(T v, unsigned mask) const {
    return __shfl_xor_sync(0xFFFFFFFFu, v, static_cast<int>(mask));
  }
  template <class T>
  __device__ T shuffle_down(T v, unsigned n) const {
    return __shfl_down_sync(0xFFFFFFFFu, v, n);
  }
  __device__ unsigned ballot(bool predicate) const { return __ballot_sync(0xFFFFFFFFu, predicate); }

  __device__ void ldmatrix_x4(std::uint32_t (&r)[4], unsigned shared_address) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address)
                 : "memory");
  }
  __device__ void ldmatrix_x2(std::uint32_t (&r)[2], unsigned shared_address) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address)
                 : "memory");
  }
  /// Each tile transposed: what mma takes as B from a row-major (k, n) matrix.
  __device__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], unsigned shared_address) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address)
                 : "memory");
  }
  __device__ void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) const {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  __device__ void mma_s8(std::int32_t (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) const {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }

  /// Two fp32 to bfloat16 in a word, half to even: one instruction. The bits of bfloat16(float) but for NaN, which
  /// becomes 0x7FFF.
  __device__ std::uint32_t bf16_pair(float low, float high) const {
    std::uint32_t d;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
    return d;
  }
  /// (a & b) | c in one instruction, also where b and c are constants (the compiler would take two).
  __device__ std::uint32_t and_or(std::uint32_t a, std::uint32_t b, std::uint32_t c) const {
    std::uint32_t d;
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
  }
  /// The bytes of a in another order: byte i of the result is byte (selector >> 4 i & 3) of a.
  __device__ std::uint32_t permute_bytes(std::uint32_t a, std::uint32_t selector) const {
    return __byte_perm(a, 0, selector);
  }
  /// a * b + c on pairs of bfloat16, rounded once.
  __device__ std::uint32_t fma_bf16x2(std::uint32_t a, std::uint32_t b, std::uint32_t c) const {
    std::uint32_t d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
  }

  __device__ unsigned atomic_add(unsigned* p, unsigned v) const { return atomicAdd(p, v); }
  __device__ unsigned atomic_max(unsigned* p, unsigned v) const { return atomicMax(p, v); }
  __device__ void fence() const { __threadfence(); }

  __device__ float mul(float a, float b) const { return __fmul_rn(a, b); }
  __device__ float add(float a, float b) const { return __fadd_rn(a, b); }
  __device__ float sub(float a, float b) const { return __fsub_rn(a, b); }
  __device__ float fma(float a, float b, float c) const { return __fmaf_rn(a, b, c); }
  __device__ float div(float a, float b) const { return __fdiv_rn(a, b); }
  __device__ float sqrt(float a) const { return __fsqrt_rn(a); }
  __device__ float rint(float a) const { return rintf(a); }
  __device__ float exp(float a) const { return expf(a); }
  __device__ float log(float a) const { return logf(a); }
  __device__ float reciprocal(float a) const {
    float d;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(d) : "f"(a));
    return d;
  }
  __device__ float exp2(float a) const {
    float d;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(d) : "f"(a));
    return d;
  }
};

}  // namespace qat::inline v0::cuda

#endif
