// Prepared layers against the same layers written by hand on raw kernels: same outputs, same gradients, bit for bit.
#include "qat/nn/prepared_linear.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "../examples/hand_written_layer.hpp"

#include "support/random_values.hpp"

using namespace qat;

namespace {

using test::uniform_values;
Tensor<float> tensor(const std::vector<float>& v, index_t rows, index_t columns) {
  Tensor<float> t = Tensor<float>::uninitialized({rows, columns});
  std::memcpy(t.data(), v.data(), v.size() * sizeof(float));
  return t;
}
bool same_bits(const Tensor<float>& a, const std::vector<float>& b) {
  return !b.empty() && a.size() == static_cast<index_t>(b.size()) &&
         std::memcmp(a.data(), b.data(), b.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("the tape and a loop written by hand on raw kernels give the same gradients of two quantized layers") {
  constexpr index_t N = 19, C = 70, H = 45, O = 33;  // ragged groups, odd tails
  const CpuBackend cpu(2);
  const std::vector<float> x = uniform_values(N * C, 1), w1 = uniform_values(H * C, 2), w2 = uniform_values(O * H, 3),
                           dy = uniform_values(N * O, 4);

  HandWrittenLayer first(N, C, H), second(N, H, O);
  std::vector<float> h(N * H), a(N * H), y(N * O), da(N * H), dh(N * H), dx(N * C), dw1(H * C), dw2(O * H);
  first.forward(cpu, x.data(), w1.data(), h.data());
  ops::silu(cpu, view(static_cast<const float*>(h.data()), N * H), view(a.data(), N * H));
  second.forward(cpu, a.data(), w2.data(), y.data());
  second.backward(cpu, w2.data(), dy.data(), dw2.data(), da.data());
  ops::silu_backward(cpu, view(static_cast<const float*>(h.data()), N * H),
                     view(static_cast<const float*>(da.data()), N * H), view(dh.data(), N * H), GradMode::kOverwrite);
  first.backward(cpu, w1.data(), dh.data(), dw1.data(), dx.data());

  nn::Linear one("one", C, H), two("two", H, O);
  one.weight().value = tensor(w1, H, C);
  two.weight().value = tensor(w2, O, H);
  const LayerScheme scheme{first.weight, first.activation};
  one.set_quantization(std::make_unique<nn::PreparedLinear>(scheme, nn::Product::kFloat));
  two.set_quantization(std::make_unique<nn::PreparedLinear>(scheme, nn::Product::kFloat));
  Tape tape(cpu);
  const Variable input = tape.leaf(tensor(x, N, C));
  const Variable output = two.forward(tape, autodiff::silu(tape, one.forward(tape, input)));
  CHECK(same_bits(tape.value(output), y));
  tape.backward(output, tensor(dy, N, O));
  CHECK(same_bits(one.weight().grad, dw1));
  CHECK(same_bits(two.weight().grad, dw2));
  CHECK(same_bits(tape.gradient(input), dx));
}

TEST_CASE("layers that read one variable share its codes, and gradients of all of them reach it") {
  constexpr index_t N = 8, C = 64;
  const CpuBackend cpu(1);
  const LayerScheme scheme{parse_spec("int4:group32:symmetric"), parse_spec("int8:token:asymmetric")};
  nn::Linear q("q", C, C), k("k", C, C);
  q.weight().value = tensor(uniform_values(C * C, 5), C, C);
  k.weight().value = tensor(uniform_values(C * C, 6), C, C);
  for (nn::Linear* l : {&q, &k})
    l->set_quantization(std::make_unique<nn::PreparedLinear>(scheme, nn::Product::kInteger));
  const std::vector<float> x = uniform_values(N * C, 7);
  const auto gradient = [&](bool through_q, bool through_k) {
    Tape tape(cpu);
    const Variable input = tape.leaf(tensor(x, N, C));
    Variable output;
    if (through_q) output = q.forward(tape, input);
    const auto codes = tape.derived<nn::SharedCodes>(input);
    if (through_k) {
      const Variable second = k.forward(tape, input);
      CHECK((codes == nullptr || tape.derived<nn::SharedCodes>(input) == codes));
      output = through_q ? autodiff::add(tape, output, second) : second;
    }
    tape.backward(output, tensor(std::vector<float>(static_cast<std::size_t>(N * C), 1.0f), N, C));
    return tape.gradient(input).clone();
  };
  const Tensor<float> both = gradient(true, true), only_q = gradient(true, false), only_k = gradient(false, true);
  for (index_t i = 0; i < both.size(); ++i) CHECK(both[i] == doctest::Approx(only_q[i] + only_k[i]).epsilon(1e-5));
}

TEST_CASE("a bias is added and trained, and a layer whose input is quantized alone keeps its float weight") {
  constexpr index_t N = 5, C = 32, O = 7;
  const CpuBackend cpu(1);
  for (const char* weight : {"int4:group32:symmetric", ""}) {
    CAPTURE(weight);
    nn::Linear layer("layer", C, O, true);
    layer.weight().value = tensor(uniform_values(O * C, 8), O, C);
    for (index_t o = 0; o < O; ++o) layer.bias()->value[o] = static_cast<float>(o);
    LayerScheme scheme{{}, parse_spec("int8:token:asymmetric")};
    if (*weight != '\0') scheme.weight = parse_spec(weight);
    layer.set_quantization(std::make_unique<nn::PreparedLinear>(scheme, nn::Product::kInteger));
    Tape tape(cpu);
    const Variable y = layer.forward(tape, tape.leaf(tensor(uniform_values(N * C, 9), N, C)));
    Tensor<float> plain = Tensor<float>::uninitialized({N, O});
    const Tensor<float> x = tensor(uniform_values(N * C, 9), N, C);
    ops::linear(cpu, x.view<2>(), std::as_const(layer.weight().value).view<2>(), layer.bias()->value.data(),
                plain.view<2>());
    for (index_t i = 0; i < plain.size(); ++i) CHECK(std::abs(tape.value(y)[i] - plain[i]) < 1.2f);
    tape.backward(y, tensor(std::vector<float>(static_cast<std::size_t>(N * O), 1.0f), N, O));
    for (index_t o = 0; o < O; ++o) CHECK(layer.bias()->grad[o] == static_cast<float>(N));
  }
}
