// Weights on the (emulated) GPU: named parts, copies, clipping.
#include "qat/nn/cuda_weights.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "qat/kernels/cuda/adamw.cuh"
#include "qat/kernels/cuda/average.cuh"
#include "qat/kernels/cuda/device.cuh"
#include "qat/kernels/reference/quantize.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::cuda_weights_test {
namespace {

using namespace qat::test;

/// Two parts of one quantized matrix, and a norm.
struct Fixture {
  explicit Fixture(double clip_norm) : weights(options(clip_norm)), workspace(1 << 16) {
    backend.workspace = workspace.data();
    backend.workspace_bytes = 1 << 16;
    matrix = weights.add({"q", "k"}, {3, 2}, 64, parse_spec("int4:group32:symmetric"));
    norm = weights.add({"norm"}, {1}, 64);
    weights.finish(backend);
    weights.set(backend, "q", q.data(), 3 * 64);
    weights.set(backend, "k", k.data(), 2 * 64);
    weights.set(backend, "norm", ones.data(), 64);
    weights.refresh(backend);
  }
  static nn::CudaOptimizerOptions options(double clip_norm) {
    nn::CudaOptimizerOptions o;
    o.clip_norm = clip_norm;
    return o;
  }
  std::vector<float> q = normal_values(3 * 64, 1), k = normal_values(2 * 64, 2), ones = std::vector<float>(64, 1.0f);
  nn::CudaWeights weights;
  cuda::DeviceBuffer<char> workspace;
  CudaBackend backend;
  std::size_t matrix = 0, norm = 0;
};

TEST_CASE("CudaWeights: parts of one matrix come back as they were set, and their copies are fake-quantized") {
  Fixture f(0.0);
  CHECK(compare_bits<float>(f.q, f.weights.get(f.backend, "q")));
  CHECK(compare_bits<float>(f.k, f.weights.get(f.backend, "k")));
  CHECK(compare_bits<float>(f.ones, f.weights.get(f.backend, "norm")));
  std::vector<float> y(f.k.size());
  kernels::reference::fake_quantize_dynamic(parse_spec("int4:group32:symmetric"), f.k.data(), 2, 64, y.data());
  CHECK(compare_bits<bfloat16>(std::vector<bfloat16>(y.begin(), y.end()), f.weights.get_copy(f.backend, "k")));
}

TEST_CASE("CudaWeights: the norm of the gradients is theirs, and a norm beyond clip_norm scales them down to it") {
  for (const double clip : {0.5, 1e6}) {
    CAPTURE(clip);
    Fixture f(clip);
    const auto step = [](Fixture& fixture, float scale) {
      std::vector<float> gradient(64, 0.25f * scale);
      cuda::device_copy(fixture.backend, fixture.weights[fixture.norm].gradient.data(), gradient.data(),
                        64 * sizeof(float));
      fixture.weights.set_learning_rate(fixture.backend, 0.1, 1);
      fixture.weights.update(fixture.backend);
    };
    step(f, 1.0f);  // the norm of 64 quarters is 2
    CHECK(f.weights.gradient_norm(f.backend) == doctest::Approx(2.0));
    std::vector<float> mean(64);
    f.weights[f.norm].mean.read(f.backend, mean.data());
    CHECK(mean[5] == doctest::Approx(0.1 * 0.25 * (clip < 2.0 ? clip / 2.0 : 1.0)));
  }
}

TEST_CASE("CudaWeights: refresh() forgets moments and leaves values alone") {
  Fixture f(0.0);
  std::vector<float> gradient(64, 1.0f);
  cuda::device_copy(f.backend, f.weights[f.norm].gradient.data(), gradient.data(), 64 * sizeof(float));
  f.weights.set_learning_rate(f.backend, 0.1, 1);
  f.weights.update(f.backend);
  const std::vector<float> moved = f.weights.get(f.backend, "norm");
  CHECK(moved[0] < 0.95f);
  f.weights.refresh(f.backend);
  CHECK(compare_bits<float>(moved, f.weights.get(f.backend, "norm")));
  std::vector<float> mean(64);
  f.weights[f.norm].mean.read(f.backend, mean.data());
  CHECK(mean == std::vector<float>(64, 0.0f));
}

}  // namespace
}  // namespace qat::cuda_weights_test
