// Library users: a scheme as a type, on views of one's own memory, inside expressions.
#include <cstdio>
#include <vector>

#include "qat/qat.hpp"

int main() {
  const qat::CpuBackend& cpu = qat::CpuBackend::shared();
  const qat::index_t rows = 8, columns = 96;
  std::vector<float> a(static_cast<std::size_t>(rows * columns)), b(a), c(a), y(a), dx(a), dy(a);
  qat::CounterRandom random(7);
  for (std::vector<float>* v : {&a, &b, &c, &dy})
    for (float& e : *v) e = random.next_float() - 0.5f;

  // The scheme is a type; its run-time twin, read from text, gives the same bits.
  qat::FakeQuantizer<qat::Int4, qat::PerGroup<32>, qat::Symmetric> quantizer;
  qat::RuntimeFakeQuantizer<> twin(qat::parse_spec("int4:group32:symmetric"));
  std::vector<float> z(a.size());
  quantizer.forward(cpu, a.data(), rows, columns, y.data());
  twin.forward(cpu, a.data(), rows, columns, z.data());
  quantizer.backward(cpu, dy.data(), a.data(), rows, columns, dx.data());  // straight-through estimator
  if (y != z) return 1;

  // Really quantize: dequantized codes are the fake-quantized values, bit for bit.
  std::vector<std::int8_t> codes(a.size());
  quantizer.quantize(cpu, a.data(), rows, columns, codes.data());
  qat::kernels::dequantize(cpu, quantizer.spec(), codes.data(), rows, columns, quantizer.scale().data(),
                           quantizer.zero_point().data(), z.data());
  if (y != z) return 1;

  // An expression is evaluated, quantized and written in one pass over memory, without a temporary.
  const auto A = qat::view(a.data(), rows, columns), B = qat::view(b.data(), rows, columns),
             C = qat::view(c.data(), rows, columns);
  qat::assign(cpu, qat::view(y.data(), rows, columns), qat::fake_quantize(A + B * C, quantizer.spec()));
  std::vector<float> sum(a.size());
  qat::assign(cpu, qat::view(sum.data(), rows, columns), A + B * C);
  quantizer.forward(cpu, sum.data(), rows, columns, z.data());
  std::printf("fake_quantize(a + b * c): %s\n", y == z ? "the same bits in one pass" : "different");
  if (y != z) return 1;

  // So are an operand of a product and what follows the product: here P = A fake_quantize(B)^T / 2 + residual.
  std::vector<float> p(static_cast<std::size_t>(rows * rows)), residual(p.size(), 1.0f);
  const auto P = qat::view(p.data(), rows, rows);
  qat::ops::gemm(cpu, A, qat::fake_quantize(B, quantizer.spec()), P, P * 0.5f + qat::view(residual.data(), rows, rows));
  std::printf("first element of the product: %g\n", static_cast<double>(P(0, 0)));

  // The same with the integers that ship in place of B: the same bits, and no float weights at all.
  qat::PackedWeight packed;
  qat::kernels::quantize_and_pack(cpu, quantizer.spec(), b.data(), rows, columns, packed);
  std::vector<float> q(p.size());
  const auto Q = qat::view(q.data(), rows, rows);
  qat::ops::gemm(cpu, A, packed, Q, Q * 0.5f + qat::view(residual.data(), rows, rows));
  return p == q ? 0 : 1;
}
