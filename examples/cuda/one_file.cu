// One .cu file: nothing is linked, no flag but -I. An expression over views of device memory, fake-quantized on the
// GPU and compared with the processor, bit for bit. The kernels of kernels/cuda/ are called likewise:
// qat::cuda::fake_quantize_dynamic(gpu, spec, x, rows, columns, y).
//
//   nvcc -std=c++20 -I include -arch=native examples/cuda/one_file.cu -o one_file
#include <cstdio>
#include <cstring>
#include <qat/base/random.hpp>
#include <qat/cuda.cuh>
#include <qat/kernels/reference/quantize.hpp>
#include <vector>

namespace {

using qat::index_t;

int run() {
  std::printf("%s\n", qat::cuda::device_info().name);
  const qat::QuantSpec spec = qat::parse_spec("int4:group32:symmetric");
  const index_t rows = 64, columns = 256, n = rows * columns;
  std::vector<float> x(static_cast<std::size_t>(n)), y(x), sum(x), out(x), expected(x), scale(x), zero_point(x);
  qat::CounterRandom random(1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = random.next_float() - 0.5f;
    y[i] = random.next_float() - 0.5f;
    sum[i] = x[i] + 0.5f * y[i];  // half of a number is exact
  }

  // The sum and its quantization, with parameters chosen from each group: one launch, one pass over memory.
  const qat::CudaBackend gpu;  // the default stream; an operation that needs a workspace says how much
  const qat::cuda::DeviceBuffer<float> device_x(gpu, x.data(), n), device_y(gpu, y.data(), n), device_out(n);
  const auto X = qat::view(device_x.data(), rows, columns), Y = qat::view(device_y.data(), rows, columns);
  assign(gpu, qat::view(device_out.data(), rows, columns), fake_quantize(X + Y * 0.5f, spec));
  device_out.read(gpu, out.data());

  namespace reference = qat::kernels::reference;
  reference::choose_qparams(spec, sum.data(), rows, columns, scale.data(), zero_point.data());
  reference::fake_quantize(spec, sum.data(), rows, columns, scale.data(), zero_point.data(), expected.data());
  const bool same = std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0;
  std::printf("fake_quantize(x + y / 2): %s\n", same ? "the processor's bits" : "different");
  return same ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const qat::Error& error) {  // no GPU, a driver that is too old, too little memory
    std::fprintf(stderr, "one_file: %s\n", error.what());
    return 2;
  }
}
