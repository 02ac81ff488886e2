// A hash of everything the quantization kernels make of the cases that sweeps run over.
#pragma once

#include "qat/kernels/cpu/quantize.hpp"
#include "support/quantize_cases.hpp"

namespace qat::test {

/// FNV-1a of bytes.
inline void add_hash(std::uint64_t& hash, const void* data, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const std::uint8_t*>(data)[i]) * 0x100000001B3u;
}

/// Hash of scales, zero points, codes, fake-quantized values, masks and gradients of every spec and shape.
template <class D>
std::uint64_t hash_of_everything(const CpuBackend& backend) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  std::vector<QuantSpec> specs = specs_under_test();
  for (const QuantSpec& spec : specs_of_processor()) specs.push_back(spec);
  for (const QuantSpec& spec : specs) {
    for (const MatrixShape shape : kShapes) {
      if (!accepts(spec, shape)) continue;
      const index_t size = shape.rows * shape.columns,
                    tiles = group_layout(spec.granularity, shape.rows, shape.columns).count();
      const std::size_t n = static_cast<std::size_t>(size), t = static_cast<std::size_t>(tiles);
      const std::vector<D> x = adversarial<D>(size, 5), dy = adversarial<D>(size, 6, true);
      std::vector<D> y(n), dx(n);
      std::vector<float> scale(t), zero(t);
      std::vector<std::int8_t> codes(n);
      std::vector<std::uint8_t> mask((n + 7) / 8);
      kernels::fake_quantize_dynamic_masked(backend, spec, x.data(), shape.rows, shape.columns, y.data(), scale.data(),
                                            zero.data(), SteMask::kInclusive, mask.data());
      kernels::quantize(backend, spec, x.data(), shape.rows, shape.columns, scale.data(), zero.data(), codes.data());
      kernels::fake_quantize_backward(backend, spec, dy.data(), x.data(), shape.rows, shape.columns, scale.data(),
                                      zero.data(), SteMask::kInclusive, dx.data());
      add_hash(hash, scale.data(), t * sizeof(float));
      add_hash(hash, zero.data(), t * sizeof(float));
      add_hash(hash, y.data(), n * sizeof(D));
      add_hash(hash, codes.data(), n);
      add_hash(hash, mask.data(), mask.size());
      add_hash(hash, dx.data(), n * sizeof(D));
    }
  }
  return hash;
}

}  // namespace qat::test
