// A program that has threads of its own lends them to qat, which then starts none: here OpenMP's. With TBB the loop is
//   tbb::parallel_for(qat::index_t{0}, chunks, [=](qat::index_t chunk) { body(argument, chunk); });
#include <omp.h>

#include <cstdio>
#include <vector>

#include "qat/kernels/cpu/quantize.hpp"

namespace {
void openmp_loop(void*, qat::index_t chunks, void (*body)(void* argument, qat::index_t chunk), void* argument) {
#pragma omp parallel for schedule(dynamic)
  for (qat::index_t chunk = 0; chunk < chunks; ++chunk) body(argument, chunk);
}
}  // namespace

int main() {
  const qat::CpuBackend lent(qat::ParallelForHook{nullptr, omp_get_max_threads(), &openmp_loop});
  const qat::CpuBackend own(2);

  constexpr qat::index_t kRows = 512, kColumns = 1024;
  std::vector<float> w(kRows * kColumns), y(w), z(w), scale(w.size() / 32), zero_point(scale);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i * 2654435761u % 1000) * 0.001f - 0.5f;
  const qat::QuantSpec spec = qat::parse_spec("int4:group32:symmetric");
  qat::kernels::fake_quantize_dynamic(lent, spec, w.data(), kRows, kColumns, y.data(), scale.data(), zero_point.data());
  qat::kernels::fake_quantize_dynamic(own, spec, w.data(), kRows, kColumns, z.data(), scale.data(), zero_point.data());

  // Work is cut by sizes alone, so whose threads run it, and how many, changes no bit.
  std::printf("%d threads of OpenMP, 2 of qat: %s\n", lent.threads(), y == z ? "the same bits" : "different");
  return y == z ? 0 : 1;
}
