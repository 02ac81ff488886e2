// Times every kernel of w4a16_gemm over shapes, to fill the table in kernels/cuda/w4a16_gemm.cuh on a new GPU:
//
//   nvcc -std=c++20 -O2 -gencode arch=compute_90a,code=sm_90a -I include bench/gpu/w4a16_sweep.cu -o sweep && ./sweep
//
// and the pipelined kernel with parts of its work left out. Medians of CUDA-graph replays; weights rotate through
// copies that exceed the cache. tiles*: with a look for new scales at every 64 columns. Arguments: pairs N K instead of
// the built-in ones. bytes: what a call must move, in parts of the bandwidth of a device copy of the same run.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "qat/kernels/cuda/w4a16_gemm.cuh"

namespace {

using namespace qat;
using namespace qat::cuda;
using Form = W4A16Config::Form;

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "w4a16_sweep: %s\n", cudaGetErrorString(status));
  std::exit(1);
}

struct Memory {
  char* data = nullptr;
  explicit Memory(std::size_t bytes) { check(cudaMalloc(&data, bytes)); }
  Memory(const Memory&) = delete;
  ~Memory() { cudaFree(data); }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

/// Random bits; as bfloat16 between 0.5 and 2 where they are masked.
__global__ void fill(unsigned* p, std::size_t words, unsigned mask, unsigned set) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < words;
       i += std::size_t{gridDim.x} * blockDim.x) {
    unsigned x = static_cast<unsigned>(i) * 2654435761u + 12345u;
    x = (x ^ x >> 16) * 2246822519u;
    p[i] = ((x ^ x >> 13) & mask) | set;
  }
}
/// Four times 16 bytes a thread.
__global__ void copy(const uint4* from, uint4* to) {
  const std::size_t first = blockIdx.x * std::size_t{1024} + threadIdx.x;
  uint4 v[4];
  for (int i = 0; i < 4; ++i) v[i] = __ldcs(from + first + i * 256);
  for (int i = 0; i < 4; ++i) __stcs(to + first + i * 256, v[i]);
}
void fill_bits(const Memory& m, std::size_t bytes) { fill<<<512, 256>>>(m.as<unsigned>(), bytes / 4, ~0u, 0); }
void fill_bf16(const Memory& m, std::size_t bytes) {
  fill<<<512, 256>>>(m.as<unsigned>(), bytes / 4, 0x80FF80FFu, 0x3F003F00u);
}

/// Seconds of one call: the median of `samples` replays of a graph of `calls` calls.
double seconds(cudaStream_t stream, int calls, const std::function<void(int)>& call) {
  for (int i = 0; i < 2; ++i) call(i);
  check(cudaStreamSynchronize(stream));
  cudaGraph_t graph;
  cudaGraphExec_t replay;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < calls; ++i) call(i);
  check(cudaStreamEndCapture(stream, &graph));
  check(cudaGraphInstantiate(&replay, graph, 0));
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 6; ++i) {
    check(cudaEventRecord(begin, stream));
    check(cudaGraphLaunch(replay, stream));
    check(cudaEventRecord(end, stream));
    check(cudaEventSynchronize(end));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end));
    if (i > 0) times.push_back(ms);  // the first one warms up
  }
  std::sort(times.begin(), times.end());
  check(cudaEventDestroy(begin));
  check(cudaEventDestroy(end));
  check(cudaGraphExecDestroy(replay));
  check(cudaGraphDestroy(graph));
  return times[times.size() / 2] * 1e-3 / calls;
}

/// The pipelined kernel with something left out, to see what a unit of work costs. Results are wrong.
template <int kRows, int kTokens>
struct NoScales : cuda::detail::W4A16Sums<kRows, kTokens> {
  template <class Context, class First>
  __device__ void enter(const Context&, const Int4Operands&, unsigned, std::size_t, std::size_t, const First&, unsigned,
                        int) {}
};
template <int kRows, int kTokens>
struct NoDequantize : cuda::detail::W4A16Sums<kRows, kTokens> {
  template <class Context>
  __device__ void multiply(const Context& c, const Int4Operands&, unsigned, int half, const Bytes16 (&a)[kRows],
                           const Bytes16 (&b)[kTokens]) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        QAT_CUDA_UNROLL
        for (int step = 0; step < 2; ++step) {
          const std::uint32_t tokens[2] = {b[t].word[2 * step], b[t].word[2 * step + 1]};
          c.mma_bf16(this->part[i][t], a[i].word, tokens);
        }
      }
    }
    (void)half;
  }
};
template <int kRows, int kTokens>
struct NoProducts : cuda::detail::W4A16Sums<kRows, kTokens> {
  template <class Context>
  __device__ void multiply(const Context&, const Int4Operands&, unsigned, int half, const Bytes16 (&a)[kRows],
                           const Bytes16 (&b)[kTokens]) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) this->part[i][t][j] += bit_cast<float>(a[i].word[2 * half + j % 2] ^ b[t].word[j]);
      }
    }
  }
};
template <template <int, int> class S>
struct With : W4A16Form {
  template <int kRows, int kTokens>
  using Sums = S<kRows, kTokens>;
};
/// Activations are not read from shared memory.
struct NoTokens : W4A16Form {
  template <class Context>
  __device__ static Operand load(const Context&, unsigned row, unsigned offset, unsigned first, unsigned i,
                                 unsigned half, unsigned g, unsigned q) {
    return {{row + offset, first + i, half + g, q}};
  }
};

struct Result {
  W4A16Config config;
  double time;
};

void sweep(cudaStream_t stream, double copy_rate, index_t rows, index_t columns, index_t group,
           const std::vector<int>& tokens) {
  const Int4Tiles tiles{rows, columns, group};
  const std::size_t code_bytes = static_cast<std::size_t>(tiles.code_bytes()),
                    scale_bytes = static_cast<std::size_t>(tiles.group_entries()) * 2;
  const int copies = static_cast<int>(std::max<std::size_t>(2, 200'000'000 / (code_bytes + scale_bytes) + 1));
  const std::size_t pitch = (code_bytes + scale_bytes + 255) / 256 * 256;
  const std::size_t workspace_bytes = 64 << 20, most = 256;
  const Memory weights(pitch * static_cast<std::size_t>(copies)), x(most * static_cast<std::size_t>(columns) * 2),
      y(most * static_cast<std::size_t>(rows) * 2), workspace(workspace_bytes), counters(1 << 20);
  fill_bits(weights, pitch * static_cast<std::size_t>(copies));
  for (int i = 0; i < copies; ++i)
    fill<<<64, 256>>>(reinterpret_cast<unsigned*>(weights.data + static_cast<std::size_t>(i) * pitch + code_bytes),
                      scale_bytes / 4, 0x007F007Fu, 0x3C003C00u);
  fill_bf16(x, most * static_cast<std::size_t>(columns) * 2);
  check(cudaMemset(counters.data, 0, 1 << 20));
  const CudaBackend backend{stream, workspace.data, workspace_bytes};

  std::vector<W4A16Config> configs = {{Form::kStream, 0, 16}, {Form::kStream, 0, 32}, {Form::kStream, 0, 64}};
  cuda::detail::for_w4a16_shapes([&](auto shape) {
    using Shape = decltype(shape);
    for (const bool every_tile : {false, true})
      for (int blocks : {0, 132 * (3 - Shape::kMinBlocks)})
        configs.push_back({Form::kTiles, Shape::kTileTokens, Shape::kTileRows, Shape::kThreads / 32, Shape::kStages,
                           blocks, 8 * Shape::kTokens, every_tile});
  });
  for (const int m : tokens) {
    std::vector<Result> results;
    for (const W4A16Config& config : configs) {
      if (config.form == Form::kStream ? m > 8 : config.tile_tokens > 2 * std::max(8, m) || config.tile_tokens * 4 < m)
        continue;
      W4A16Args<bfloat16, bfloat16> args;
      args.tokens = m;
      args.tiles = tiles;
      args.x = x.as<const bfloat16>();
      args.y = y.as<bfloat16>();
      args.counters = counters.as<unsigned>();
      const auto call = [&](int i) {
        const char* w = weights.data + static_cast<std::size_t>(i % copies) * pitch;
        args.weight = {reinterpret_cast<const std::uint8_t*>(w), reinterpret_cast<const bfloat16*>(w + code_bytes),
                       nullptr};
        w4a16_gemm(backend, args, config);
      };
      try {
        results.push_back({config, seconds(stream, std::max(copies, 24), call)});
      } catch (const Error&) {
        continue;  // this kernel cannot take the shape
      }
    }
    std::sort(results.begin(), results.end(), [](const Result& a, const Result& b) { return a.time < b.time; });
    const double bytes = static_cast<double>(code_bytes + scale_bytes) + 2.0 * m * static_cast<double>(rows + columns);
    const double flop = 2.0 * m * static_cast<double>(rows) * static_cast<double>(columns);
    for (const Result& r : results)
      std::printf(
          "M %3d N %5d K %5d g %4d  %-6s %3d x %3d  warps %2d of %2d stages %d blocks %3d  %7.2f us  "
          "bytes %.2f of copy  %5.0f TFLOP/s\n",
          m, static_cast<int>(rows), static_cast<int>(columns), static_cast<int>(group),
          r.config.form == Form::kStream ? "stream"
          : r.config.every_tile          ? "tiles*"
                                         : "tiles",
          r.config.tile_tokens, r.config.tile_rows, r.config.warps, r.config.warp_tokens, r.config.stages,
          r.config.blocks, r.time * 1e6, bytes / r.time / copy_rate, flop / r.time * 1e-12);
    std::fflush(stdout);
  }
}

template <class Shape, class Form>
double time_of(const CudaBackend& backend, const Int4Operands& w, unsigned* counters) {
  cuda::detail::Int4TilesLaunch<Shape, Form> found("w4a16_sweep", w, 0);
  found.kernel.partials = static_cast<float*>(backend.workspace);
  found.kernel.counters = counters;
  return seconds(backend.stream, 24, [&](int) {
    launch(backend, Grid{found.blocks, 1, found.kernel.shared_bytes()}, found.kernel, "w4a16_sweep");
  });
}
/// One weight, so that it comes from the cache: what is left is the work of the multiprocessors.
template <class Shape>
void parts(cudaStream_t stream, index_t tokens, index_t rows, index_t columns) {
  const Int4Tiles tiles{rows, columns, 128};
  const std::size_t code_bytes = static_cast<std::size_t>(tiles.code_bytes()), workspace_bytes = 64 << 20;
  const Memory codes(code_bytes), scales(static_cast<std::size_t>(tiles.group_entries()) * 2),
      x(static_cast<std::size_t>(tokens * columns) * 2), y(static_cast<std::size_t>(tokens * rows) * 2),
      workspace(workspace_bytes), counters(1 << 20);
  fill_bits(codes, code_bytes);
  fill_bf16(scales, static_cast<std::size_t>(tiles.group_entries()) * 2);
  fill_bf16(x, static_cast<std::size_t>(tokens * columns) * 2);
  check(cudaMemset(counters.data, 0, 1 << 20));
  W4A16Args<bfloat16, bfloat16> args;
  args.tokens = tokens;
  args.tiles = tiles;
  args.x = x.as<const bfloat16>();
  args.weight = {codes.as<const std::uint8_t>(), scales.as<const bfloat16>(), nullptr};
  args.y = y.as<bfloat16>();
  const Int4Operands w = cuda::detail::int4_operands(args);
  const CudaBackend backend{stream, workspace.data, workspace_bytes};
  unsigned* const c = counters.as<unsigned>();
  std::printf(
      "parts M %3d N %5d K %5d tile %3d x %3d warps %2d: all %.2f, no scales %.2f, no dequantization %.2f, no x from "
      "shared memory %.2f, no products %.2f us\n",
      static_cast<int>(tokens), static_cast<int>(rows), static_cast<int>(columns), Shape::kTileTokens, Shape::kTileRows,
      Shape::kThreads / 32, 1e6 * time_of<Shape, W4A16Form>(backend, w, c),
      1e6 * time_of<Shape, With<NoScales>>(backend, w, c), 1e6 * time_of<Shape, With<NoDequantize>>(backend, w, c),
      1e6 * time_of<Shape, NoTokens>(backend, w, c), 1e6 * time_of<Shape, With<NoProducts>>(backend, w, c));
}

}  // namespace

int main(int argc, char** argv) {
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  double copy_rate = 0;
  {
    const std::size_t bytes = 512 << 20;
    const Memory from(bytes), to(bytes);
    // A kernel: as a node of a graph, cudaMemcpyAsync may run on a copy engine at two thirds of the rate.
    const double time = seconds(stream, 4, [&](int) {
      copy<<<static_cast<unsigned>(bytes / 16 / 1024), 256, 0, stream>>>(from.as<const uint4>(), to.as<uint4>());
    });
    copy_rate = 2.0 * static_cast<double>(bytes) / time;
    std::printf("device copy %.0f GB/s\n", copy_rate * 1e-9);
  }
  const std::vector<int> tokens = {1, 4, 8, 16, 32, 64, 128, 256};
  if (argc > 2) {
    for (int i = 1; i + 1 < argc; i += 2)
      sweep(stream, copy_rate, std::atol(argv[i]), std::atol(argv[i + 1]), 128, tokens);
    return 0;
  }
  parts<Int4Shape<2, 8, 4, 1, 1, 2, 3, 2>>(stream, 128, 8192, 8192);
  parts<Int4Shape<2, 8, 4, 1, 2, 2, 7, 1>>(stream, 64, 8192, 8192);
  parts<Int4Shape<2, 2, 4, 1, 2, 4, 4, 2>>(stream, 16, 8192, 8192);
  parts<Int4Shape<2, 1, 4, 1, 2, 4, 5, 2>>(stream, 8, 8192, 8192);
  sweep(stream, copy_rate, 8192, 8192, 128, tokens);
  sweep(stream, copy_rate, 4096, 4096, 128, tokens);
  sweep(stream, copy_rate, 4096, 14336, 128, {1, 16, 64});
  sweep(stream, copy_rate, 14336, 4096, 128, {1, 16, 64});
  sweep(stream, copy_rate, 8192, 8192, 32, {1, 16, 64});
  return 0;
}
