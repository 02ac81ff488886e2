// The same arithmetic compiled under other flags each time (test/meson.build): its results must not differ by a bit.
#include <cstdint>
#include <cstring>
#include <vector>

#include "qat/backend/float_mode.hpp"
#include "qat/base/random.hpp"
#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/cpu/scale.hpp"
#include "qat/quant/affine.hpp"
#include "qat/quant/visit.hpp"

namespace {

/// Ordinary values, ties, subnormals, signed zeros, the largest numbers.
std::vector<float> inputs() {
  const qat::ScopedFloatMode mode;
  std::vector<float> x = {0.0f, -0.0f, 0.5f, -0.5f, 1.5f, -2.5f, 1e-42f, -1e-42f, 0x1p-126f, 1e30f, -1e30f, 3.4e38f};
  qat::CounterRandom random(11);
  while (x.size() < 1056) x.push_back((random.next_float() - 0.5f) * (x.size() % 64 < 32 ? 3.0f : 1e-39f));
  return x;
}

}  // namespace

/// Appends the bits of everything computed.
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
void QAT_ODR_NAME(std::vector<std::uint32_t>& bits) {
  const std::vector<float> x = inputs();
  std::vector<float> out;
  for (const qat::QuantSpec& spec : qat::kMenu) {
    const qat::ScopedFloatMode mode;
    const qat::AffineScheme scheme(spec, qat::FloatType::kFloat32);
    for (std::size_t begin = 0; begin < x.size(); begin += 32) {
      qat::GroupRange range;
      for (std::size_t i = begin; i < begin + 32; ++i) range.observe(x[i]);
      const qat::QParams p = qat::choose_qparams(range, scheme);
      out.push_back(p.scale);
      out.push_back(p.zero_point);
      for (std::size_t i = begin; i < begin + 32; ++i) {
        out.push_back(qat::fake_quantize(x[i], p, scheme));
        out.push_back(qat::fake_quantize_backward(0.3f, x[i], p, scheme));
      }
    }
  }
  const qat::CpuBackend backend(2);
  std::vector<float> scaled(x.size()), product(16 * 16);
  qat::kernels::scale(backend, x.data(), 0.3f, scaled.data(), static_cast<qat::index_t>(x.size()));
  out.insert(out.end(), scaled.begin(), scaled.end());
  // Rows of 64, without the huge values of the first row.
  qat::kernels::gemm(backend, 15, 15, 64, qat::kernels::MatrixOperand{x.data() + 64, 64, 1},
                     qat::kernels::MatrixOperand{x.data() + 64, 64, 1}, product.data(), 16);
  out.insert(out.end(), product.begin(), product.end());

  const std::size_t before = bits.size();
  bits.resize(before + out.size());
  std::memcpy(bits.data() + before, out.data(), out.size() * sizeof(float));
}
