// Times attention's kernels at candidate tile shapes, to choose those of kernels/cuda/attention.cuh on a new GPU:
//
//   nvcc -std=c++20 -O2 -gencode arch=compute_90a,code=sm_90a -I include bench/gpu/attention_sweep.cu -o sweep &&
//   ./sweep
//
// Medians of launches between events. TFLOP/s count 4 (forward), 6 (dq) and 8 (dk and dv) operations for each query,
// visible key and element of head_dim: what the kernel multiplies, so the last two add up to 1.4 times what a backward
// pass is counted with.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "qat/kernels/cuda/attention.cuh"

namespace {

using namespace qat;
using namespace qat::cuda;

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "attention_sweep: %s\n", cudaGetErrorString(status));
  std::exit(1);
}

/// Close to normal, as bfloat16.
__global__ void fill(bfloat16* p, std::size_t n, unsigned seed) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < n;
       i += std::size_t{gridDim.x} * blockDim.x) {
    unsigned x = static_cast<unsigned>(i) * 2654435761u + seed;
    float sum = -2.0f;
    for (int k = 0; k < 4; ++k) {
      x = (x ^ x >> 16) * 2246822519u + 374761393u;
      sum += static_cast<float>(x >> 8) * 0x1p-24f;
    }
    p[i] = bfloat16(sum * 1.7320508f);
  }
}

bfloat16* array(index_t n, unsigned seed) {
  bfloat16* p = nullptr;
  check(cudaMalloc(&p, static_cast<std::size_t>(n) * 2));
  fill<<<512, 256>>>(p, static_cast<std::size_t>(n), seed);
  return p;
}

/// Seconds of one call: the median of 7.
template <class F>
double seconds(const F& call) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 9; ++i) {
    check(cudaEventRecord(begin));
    call();
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end));
    if (i > 1) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2] * 1e-3;
}

struct Tensors {
  AttentionExtents e;
  AttentionArgs<bfloat16> forward;
  AttentionBackwardArgs<bfloat16> backward;
  CudaBackend backend;

  explicit Tensors(const AttentionExtents& extents) : e(extents) {
    const index_t q = e.batch * e.q_batch_stride, k = e.batch * e.kv_batch_stride;
    float* sums = nullptr;
    check(cudaMalloc(&sums, static_cast<std::size_t>(e.batch * e.heads * e.query_tokens) * 4));
    forward = {e, array(q, 1), array(k, 2), array(k, 3), array(q, 4), sums};
    backward = {e,    forward.q,   forward.k,   forward.v,   forward.out,
                sums, array(q, 5), array(q, 6), array(k, 7), array(k, 8)};
    backend.workspace_bytes = attention_backward_workspace(e);
    check(cudaMalloc(&backend.workspace, backend.workspace_bytes));
  }
  ~Tensors() {
    for (const void* p : {static_cast<const void*>(forward.q), static_cast<const void*>(forward.k),
                          static_cast<const void*>(forward.v), static_cast<const void*>(forward.out),
                          static_cast<const void*>(forward.log_sum_exp), static_cast<const void*>(backward.dout),
                          static_cast<const void*>(backward.dq), static_cast<const void*>(backward.dk),
                          static_cast<const void*>(backward.dv), static_cast<const void*>(backend.workspace)})
      check(cudaFree(const_cast<void*>(p)));
  }
};

void report(const char* pass, const Tensors& t, const std::string& shape, std::size_t shared_bytes, double operations,
            double time) {
  const double pairs = static_cast<double>(t.e.batch * t.e.heads) * static_cast<double>(t.e.query_tokens) *
                       static_cast<double>(t.e.key_tokens) / 2;
  std::printf("  %-8s %-22s %6zu B shared %9.1f us %7.1f TFLOP/s\n", pass, shape.c_str(), shared_bytes, time * 1e6,
              pairs * operations * static_cast<double>(t.e.head_dim) / time * 1e-12);
}

template <int kDim, int kTiles, int kWarps, int kKeys, int kBlocks, bool kAhead>
void forward(const Tensors& t) {
  using Kernel = AttentionForward<kDim, kTiles, kWarps, kKeys, kBlocks, kAhead>;
  const double time = seconds([&] { attention_detail::launch_forward<Kernel>(t.backend, t.forward); });
  report("forward", t, concat(kTiles, ", ", kWarps, ", ", kKeys, ", ", kBlocks, kAhead ? ", ahead" : "").c_str(),
         Kernel::kSharedBytes, 4, time);
}
template <int kDim, int kTiles, int kWarps, int kKeys, int kSlice, int kBlocks>
void queries(const Tensors& t) {
  using Kernel = AttentionBackwardQueries<kDim, kTiles, kWarps, kKeys, kSlice, kBlocks>;
  const double time = seconds([&] { attention_detail::launch_backward_queries<Kernel>(t.backend, t.backward); });
  report("dq", t, concat(kTiles, ", ", kWarps, ", ", kKeys, ", ", kSlice, ", ", kBlocks).c_str(), Kernel::kSharedBytes,
         6, time);
}
template <int kDim, int kTiles, int kWarps, int kQueries, int kSlice, int kBlocks>
void keys(const Tensors& t) {
  using Kernel = AttentionBackwardKeys<kDim, kTiles, kWarps, kQueries, kSlice, kBlocks>;
  const double time = seconds([&] { attention_detail::launch_backward_keys<Kernel>(t.backend, t.backward); });
  report("dk, dv", t, concat(kTiles, ", ", kWarps, ", ", kQueries, ", ", kSlice, ", ", kBlocks).c_str(),
         Kernel::kSharedBytes, 8, time);
}

}  // namespace

int main() {
  for (const index_t tokens : {1024, 4096}) {
    const Tensors t(attention_extents(16384 / tokens, tokens, tokens, 16, 16, 64));
    std::printf("head_dim 64, %td sequences of %td tokens, 16 heads\n", t.e.batch, tokens);
    forward<64, 2, 4, 64, 3, false>(t);
    forward<64, 2, 4, 64, 2, false>(t);
    forward<64, 2, 4, 32, 3, false>(t);
    forward<64, 2, 4, 128, 2, false>(t);
    forward<64, 1, 8, 64, 2, false>(t);
    forward<64, 1, 4, 64, 4, false>(t);
    forward<64, 2, 8, 64, 1, false>(t);
    forward<64, 2, 4, 32, 2, true>(t);
    forward<64, 2, 4, 32, 3, true>(t);
    forward<64, 2, 4, 64, 2, true>(t);
    forward<64, 1, 8, 64, 2, true>(t);
    queries<64, 2, 4, 32, 32, 2>(t);
    queries<64, 2, 4, 64, 32, 2>(t);
    queries<64, 1, 4, 64, 32, 3>(t);
    queries<64, 1, 4, 64, 32, 2>(t);
    queries<64, 1, 8, 64, 16, 2>(t);
    keys<64, 2, 4, 64, 16, 2>(t);
    keys<64, 2, 4, 32, 16, 2>(t);
    keys<64, 1, 4, 64, 32, 3>(t);
    keys<64, 1, 4, 64, 16, 3>(t);
    keys<64, 1, 4, 64, 64, 2>(t);
    keys<64, 1, 8, 64, 16, 2>(t);
  }
  for (const index_t tokens : {1024, 4096}) {
    const Tensors t(attention_extents(16384 / tokens, tokens, tokens, 16, 16, 128));
    std::printf("head_dim 128, %td sequences of %td tokens, 16 heads\n", t.e.batch, tokens);
    forward<128, 2, 4, 32, 2, false>(t);
    forward<128, 2, 4, 64, 2, false>(t);
    forward<128, 1, 8, 64, 2, false>(t);
    forward<128, 1, 8, 128, 1, false>(t);
    forward<128, 2, 8, 32, 1, false>(t);
    forward<128, 2, 8, 64, 1, false>(t);
    forward<128, 2, 4, 32, 2, true>(t);
    forward<128, 1, 8, 64, 1, true>(t);
    forward<128, 1, 8, 32, 1, true>(t);
    queries<128, 1, 8, 64, 32, 1>(t);
    queries<128, 1, 8, 32, 16, 1>(t);
    queries<128, 1, 4, 64, 32, 2>(t);
    keys<128, 1, 8, 64, 16, 1>(t);
    keys<128, 1, 8, 64, 32, 1>(t);
    keys<128, 1, 8, 32, 16, 1>(t);
    keys<128, 1, 4, 64, 16, 2>(t);
  }
}
