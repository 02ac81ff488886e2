// The trainer's small kernels on the device: cross-entropy against the formulas in double, rotary positions and
// embeddings with the bits of the processor.
#include <cmath>

#include "gpu/check.hpp"
#include "qat/kernels/cpu/rope.hpp"
#include "qat/kernels/cuda/cross_entropy.hpp"
#include "qat/kernels/cuda/embedding.hpp"
#include "qat/kernels/cuda/rope.hpp"
#include "support/random_values.hpp"

namespace qat::test::gpu {
namespace {

template <class T>
std::vector<T> elements(index_t n, std::uint64_t seed, float scale = 1.0f) {
  std::vector<T> x;
  for (const float v : normal_values(n, seed)) x.push_back(static_cast<T>(v * scale));
  return x;
}
std::vector<std::int32_t> tokens_of(index_t rows, index_t vocabulary) {
  std::vector<std::int32_t> tokens;
  CounterRandom random(5);
  for (index_t i = 0; i < rows; ++i) {  // small tokens are frequent
    const auto below = random.next_below(static_cast<std::uint32_t>(vocabulary)) + 1;
    tokens.push_back(static_cast<std::int32_t>(random.next_below(below)));
  }
  return tokens;
}

template <class T>
void compare_cross_entropy(const Device& device, Report& report, index_t rows, index_t columns, index_t stride) {
  const std::string what = std::string("cross_entropy ") + (sizeof(T) == 2 ? "bfloat16 " : "float32 ") +
                           std::to_string(rows) + "x" + std::to_string(columns);
  const std::vector<T> logits = elements<T>(rows * stride, 1, 4.0f);
  const std::vector<std::int32_t> targets = tokens_of(rows, columns);
  const auto device_logits = to_device(device, logits);
  const auto device_targets = to_device(device, targets);
  const cuda::DeviceBuffer<float> device_losses(rows), device_total(1);
  cuda::CrossEntropyArgs<T> args;
  args.logits = device_logits.data(), args.dlogits = device_logits.data(), args.targets = device_targets.data();
  args.rows = rows, args.columns = columns, args.stride = stride, args.factor = 0.5f;
  args.losses = device_losses.data(), args.total = device_total.data();
  cuda::cross_entropy(device.backend, args);
  const std::vector<T> found = to_host(device, device_logits);
  const std::vector<float> losses = to_host(device, device_losses);
  std::size_t off = 0;
  double total = 0;
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const auto at = [&](std::size_t i) { return r * static_cast<std::size_t>(stride) + i; };
    double sum = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(columns); ++i)
      sum += std::exp(double{static_cast<float>(logits[at(i)])});
    const double loss = std::log(sum) - double{static_cast<float>(logits[at(static_cast<std::size_t>(targets[r]))])};
    off += !(std::fabs(double{losses[r]} - loss) <= 0x1p-20 * (8 + std::fabs(loss)));
    total += loss;
    for (std::size_t i = 0; i < static_cast<std::size_t>(stride); ++i) {
      const bool padding = i >= static_cast<std::size_t>(columns);
      const double softmax = std::exp(double{static_cast<float>(logits[at(i)])}) / sum;
      const double wanted = padding ? 0 : 0.5 * (softmax - (static_cast<std::int32_t>(i) == targets[r]));
      const double relative = sizeof(T) == 2 ? 0x1p-8 : 0x1p-17;
      off += !(std::fabs(double{static_cast<float>(found[at(i)])} - wanted) <= relative * std::fabs(wanted) + 1e-7);
    }
  }
  report.expect(what, off == 0, std::to_string(off) + " losses and gradients are off");
  const double found_total = double{to_host(device, device_total)[0]};
  report.expect(what + " total", std::fabs(found_total - total) <= 0x1p-20 * (8 + total) * 2,
                std::to_string(found_total) + " instead of " + std::to_string(total));
}

template <class T>
void compare_rope(const Device& device, Report& report, index_t tokens, index_t heads, index_t head_dim) {
  const std::string what =
      std::string("rope ") + (sizeof(T) == 2 ? "bfloat16 " : "float32 ") + std::to_string(head_dim);
  const index_t half = head_dim / 2, sequence = (tokens + 1) / 2, width = heads * head_dim;
  const std::vector<T> x = elements<T>(tokens * width, 2);
  const std::vector<float> cosine = uniform_values(sequence * half, 3), sine = uniform_values(sequence * half, 4);
  const auto device_cosine = to_device(device, cosine), device_sine = to_device(device, sine);
  for (const bool interleaved : {false, true}) {
    std::vector<T> wanted;
    for (index_t t = 0; t < tokens; ++t) {
      std::vector<float> token;
      for (index_t i = 0; i < width; ++i)
        token.push_back(static_cast<float>(x[static_cast<std::size_t>(t * width + i)]));
      const index_t at = t % sequence * half;
      kernels::rope_token({cosine.data() + at, sine.data() + at, half, 1.0f, interleaved}, token.data(), head_dim,
                          heads, token.data(), head_dim);
      for (const float v : token) wanted.push_back(static_cast<T>(v));
    }
    const auto device_x = to_device(device, x);
    cuda::RopeArgs<T> args;
    args.x = device_x.data(), args.y = device_x.data(), args.cosine = device_cosine.data();
    args.sine = device_sine.data(), args.tokens = tokens, args.heads = heads, args.head_dim = head_dim;
    args.sequence = sequence, args.interleaved = interleaved;
    cuda::rope(device.backend, args);
    report.expect(what + (interleaved ? " interleaved" : " halves"),
                  compare_bits<T>(wanted, to_host(device, device_x)));
  }
}

template <class T>
void compare_embedding(const Device& device, Report& report, index_t rows, index_t vocabulary, index_t columns) {
  const std::string what = std::string("embedding ") + (sizeof(T) == 2 ? "bfloat16 " : "float32 ") +
                           std::to_string(rows) + " of " + std::to_string(vocabulary) + "x" + std::to_string(columns);
  const std::vector<std::int32_t> tokens = tokens_of(rows, vocabulary);
  const std::vector<T> table = elements<T>(vocabulary * columns, 6), dy = elements<T>(rows * columns, 7);
  const auto device_tokens = to_device(device, tokens);
  const auto device_table = to_device(device, table), device_dy = to_device(device, dy);
  const cuda::DeviceBuffer<T> device_y(rows * columns);
  const cuda::DeviceBuffer<float> device_gradient(vocabulary * columns);
  cuda::embedding(device.backend, device_table.data(), vocabulary, columns, device_tokens.data(), rows,
                  device_y.data());
  std::vector<T> y;
  std::vector<float> gradient(static_cast<std::size_t>(vocabulary * columns));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const index_t from = tokens[i] * columns;
    y.insert(y.end(), table.begin() + from, table.begin() + from + columns);
    for (index_t k = 0; k < columns; ++k)
      gradient[static_cast<std::size_t>(from + k)] +=
          static_cast<float>(dy[i * static_cast<std::size_t>(columns) + static_cast<std::size_t>(k)]);
  }
  report.expect(what, compare_bits<T>(y, to_host(device, device_y)));
  cuda::embedding_backward(device.backend, device_tokens.data(), rows, device_dy.data(), vocabulary, columns,
                           device_gradient.data(), false);
  report.expect(what + " gradient", compare_bits<float>(gradient, to_host(device, device_gradient)));
}

void cross_entropy(const Device& device, Report& report) {
  compare_cross_entropy<bfloat16>(device, report, 3, 1000, 1000);
  compare_cross_entropy<float>(device, report, 2, 37, 40);
  if (!device.large) return;
  compare_cross_entropy<bfloat16>(device, report, 100, 50257, 50304);
  compare_cross_entropy<float>(device, report, 50, 32000, 32000);
}
void rope(const Device& device, Report& report) {
  compare_rope<bfloat16>(device, report, 6, 3, 64);
  compare_rope<float>(device, report, 5, 2, 10);
  if (!device.large) return;
  compare_rope<bfloat16>(device, report, 1000, 24, 128);
  compare_rope<float>(device, report, 300, 12, 64);
}
void embedding(const Device& device, Report& report) {
  compare_embedding<bfloat16>(device, report, 50, 20, 24);
  if (!device.large) return;
  compare_embedding<bfloat16>(device, report, 4096, 50304, 768);
  compare_embedding<float>(device, report, 1000, 260, 288);
}

const Registration cross_entropy_check("cross_entropy: losses and gradients of the formulas", cross_entropy);
const Registration rope_check("rope: the bits of the processor", rope);
const Registration embedding_check("embedding: rows, and the gradient with the bits of the processor", embedding);

}  // namespace
}  // namespace qat::test::gpu
