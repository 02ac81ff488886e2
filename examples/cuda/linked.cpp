// A program of any C++ compiler that links the instances of qat's kernels: the headers that declare launchers need
// neither nvcc nor the toolkit.
//
//   nvcc -std=c++20 -O2 -I include -arch=native -c kernels/cuda/device.cu kernels/cuda/fake_quantize.cu
//   g++ -std=c++20 -I include examples/cuda/linked.cpp device.o fake_quantize.o
//       -L/usr/local/cuda/lib64 -lcudart_static -lpthread -ldl -lrt -o linked
#include <cstdio>
#include <cstring>
#include <vector>

#include "qat/base/random.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/fake_quantize.hpp"
#include "qat/kernels/reference/quantize.hpp"

namespace {

int run() {
  std::printf("%s\n", qat::cuda::device_info().name);
  const qat::QuantSpec spec = qat::parse_spec("int4:group32:symmetric");
  const qat::index_t rows = 64, columns = 256, n = rows * columns, groups = n / 32;
  std::vector<float> w(static_cast<std::size_t>(n)), w_fq(w), expected(w), scale(static_cast<std::size_t>(groups));
  std::vector<float> zero_point(scale);
  qat::CounterRandom random(1);
  for (float& e : w) e = random.next_float() - 0.5f;

  const qat::CudaBackend gpu;
  const qat::cuda::DeviceBuffer<float> device_w(gpu, w.data(), n), device_w_fq(n), device_scale(groups);
  qat::cuda::fake_quantize_dynamic(gpu, spec, device_w.data(), rows, columns, device_w_fq.data(), device_scale.data());
  device_w_fq.read(gpu, w_fq.data());
  device_scale.read(gpu, scale.data());

  qat::kernels::reference::choose_qparams(spec, w.data(), rows, columns, scale.data(), zero_point.data());
  qat::kernels::reference::fake_quantize(spec, w.data(), rows, columns, scale.data(), zero_point.data(),
                                         expected.data());
  const bool same = std::memcmp(w_fq.data(), expected.data(), w_fq.size() * sizeof(float)) == 0;
  std::printf("fake_quantize: %s\n", same ? "the processor's bits" : "different");
  return same ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const qat::Error& error) {  // no GPU, a driver that is too old, too little memory
    std::fprintf(stderr, "linked: %s\n", error.what());
    return 2;
  }
}
