// Kernel users: quantization-aware training inside a loop of one's own, on memory of one's own. Two layers learn y =
// |x|.
#include <cmath>
#include <cstdio>

#include "hand_written_layer.hpp"
#include "qat/base/random.hpp"

int main() {
  constexpr qat::index_t N = 64, C = 32, H = 64;
  const qat::CpuBackend cpu;
  qat::CounterRandom random(1);
  const auto uniform = [&](std::size_t n, float range) {
    std::vector<float> v(n);
    for (float& e : v) e = (2.0f * random.next_float() - 1.0f) * range;
    return v;
  };
  std::vector<float> W1 = uniform(H * C, 0.3f), W2 = uniform(C * H, 0.3f), dW1(W1.size()), dW2(W2.size());
  std::vector<float> h(N * H), a(N * H), y(N * C), dy(N * C), da(N * H);
  HandWrittenLayer first(N, C, H), second(N, H, C);
  double start = 0.0, loss = 0.0;
  for (int step = 0; step < 300; ++step) {
    const std::vector<float> x = uniform(N * C, 1.0f);
    first.forward(cpu, x.data(), W1.data(), h.data());
    for (std::size_t i = 0; i < h.size(); ++i) a[i] = h[i] > 0.0f ? h[i] : 0.0f;
    second.forward(cpu, a.data(), W2.data(), y.data());
    loss = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const float error = y[i] - std::fabs(x[i]);
      loss += error * error / static_cast<double>(y.size());
      dy[i] = 2.0f * error / N;
    }
    if (step == 0) start = loss;
    dW1.assign(dW1.size(), 0.0f);
    dW2.assign(dW2.size(), 0.0f);
    second.backward(cpu, W2.data(), dy.data(), dW2.data(), da.data());
    for (std::size_t i = 0; i < h.size(); ++i) da[i] = h[i] > 0.0f ? da[i] : 0.0f;
    first.backward(cpu, W1.data(), da.data(), dW1.data(), nullptr);
    for (std::size_t i = 0; i < W1.size(); ++i) W1[i] -= 0.1f * dW1[i];
    for (std::size_t i = 0; i < W2.size(); ++i) W2[i] -= 0.1f * dW2[i];
  }
  std::printf("mean squared error with int4 weights and int8 activations: %.4f, then %.4f\n", start, loss);
  return loss < 0.3 * start ? 0 : 1;
}
