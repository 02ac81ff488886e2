// Codes on a GPU, emulated: the bits of kernels/reference/quantize.hpp, as bytes and packed.
#include "qat/kernels/cuda/quantize.cuh"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "qat/kernels/reference/quantize.hpp"
#include "qat/tensor/packed_view.hpp"
#include "support/compare.hpp"
#include "support/quantize_cases.hpp"

using namespace qat;
using namespace qat::test;
namespace reference = qat::kernels::reference;

namespace {

constexpr MatrixShape kCodeShapes[] = {{1, 32}, {3, 1024}, {9, 768}, {2, 4096}, {1, 36864}};

std::vector<std::uint8_t> packed_by_definition(const std::vector<std::int8_t>& codes, int bits) {
  const index_t n = static_cast<index_t>(codes.size());
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(packed_bytes(n, bits)));
  for (index_t i = 0; i < n; ++i)
    qat::detail::store_packed(packed.data(), i, bits,
                              static_cast<std::uint8_t>(codes[static_cast<std::size_t>(i)]) & ((1u << bits) - 1u));
  return packed;
}

template <class T>
void check_codes(const QuantSpec& spec, MatrixShape shape, std::uint64_t seed, std::size_t offset, bool masked) {
  const index_t rows = shape.rows, columns = shape.columns;
  const std::size_t n = static_cast<std::size_t>(rows * columns);
  const std::size_t tiles = static_cast<std::size_t>(group_layout(spec.granularity, rows, columns).count());
  const std::vector<T> x = adversarial<T>(rows * columns, seed);
  std::vector<float> scale(tiles), zero(tiles);
  reference::choose_qparams(spec, x.data(), rows, columns, scale.data(), zero.data());
  std::vector<std::int8_t> codes(n);
  reference::quantize(spec, x.data(), rows, columns, scale.data(), zero.data(), codes.data(), 9);
  const std::vector<std::uint8_t> packed = packed_by_definition(codes, spec.bits);
  std::vector<T> y(n);
  reference::dequantize(spec, codes.data(), rows, columns, scale.data(), zero.data(), y.data());
  std::vector<std::uint8_t> bits((n + 7) / 8);
  reference::gradient_mask(spec, x.data(), rows, columns, scale.data(), zero.data(), SteMask::kInclusive, bits.data(),
                           9);

  const emulation::Buffer<std::uint64_t> memory(1 << 16);
  const CudaBackend backend{nullptr, memory.data(), memory.size() * 8};
  const emulation::Buffer<const T> x_in(x, offset);
  const auto bits_out = emulation::Buffer<std::uint8_t>::uninitialized((n + 7) / 8);
  const cuda::QuantizeExtras extras{masked ? bits_out.data() : nullptr, SteMask::kInclusive, nullptr, 9};
  const auto scale_out = emulation::Buffer<float>::uninitialized(tiles);
  const auto zero_out = emulation::Buffer<float>::uninitialized(tiles);
  const auto codes_out = emulation::Buffer<std::int8_t>::uninitialized(n, offset);
  const auto packed_out = emulation::Buffer<std::uint8_t>::uninitialized(packed.size(), offset);

  cuda::quantize_dynamic(backend, spec, x_in.data(), rows, columns, codes_out.data(), scale_out.data(), zero_out.data(),
                         extras);
  CHECK(compare_bits(scale, scale_out.to_vector()));
  CHECK(compare_bits(zero, zero_out.to_vector()));
  CHECK(compare_bits(codes, codes_out.to_vector()));
  if (masked) CHECK(compare_bits(bits, bits_out.to_vector()));
  cuda::quantize_packed_dynamic(backend, spec, x_in.data(), rows, columns, packed_out.data(), nullptr, nullptr, extras);
  CHECK(compare_bits(packed, packed_out.to_vector()));

  const emulation::Buffer<const float> scale_in(scale), zero_in(zero);
  const auto codes_given = emulation::Buffer<std::int8_t>::uninitialized(n, offset);
  const auto packed_given = emulation::Buffer<std::uint8_t>::uninitialized(packed.size(), offset);
  cuda::quantize(backend, spec, x_in.data(), rows, columns, scale_in.data(), zero_in.data(), codes_given.data(),
                 extras);
  CHECK(compare_bits(codes, codes_given.to_vector()));
  cuda::quantize_packed(backend, spec, x_in.data(), rows, columns, scale_in.data(), zero_in.data(), packed_given.data(),
                        extras);
  CHECK(compare_bits(packed, packed_given.to_vector()));

  const auto y_out = emulation::Buffer<T>::uninitialized(n, offset);
  cuda::dequantize(backend, spec, codes_given.data(), rows, columns, scale_in.data(), zero_in.data(), y_out.data());
  CHECK(compare_bits(y, y_out.to_vector()));
  const auto y_packed = emulation::Buffer<T>::uninitialized(n, offset);
  cuda::dequantize_packed(backend, spec, packed_given.data(), rows, columns, scale_in.data(), zero_in.data(),
                          y_packed.data());
  CHECK(compare_bits(y, y_packed.to_vector()));
}

template <class T>
void check_all_codes() {
  index_t cases = 0;
  std::vector<MatrixShape> shapes(std::begin(kCodeShapes), std::end(kCodeShapes));
  shapes.insert(shapes.end(), std::begin(kShapes), std::end(kShapes));
  for (const QuantSpec& spec : specs_under_test()) {
    CAPTURE(std::string(to_string(spec).c_str()));
    for (const MatrixShape shape : shapes) {
      if (!accepts(spec, shape)) continue;
      if (shape.columns > 10000 && cases % 3 != 0) continue;  // slow here
      CAPTURE(shape.rows);
      CAPTURE(shape.columns);
      check_codes<T>(spec, shape, static_cast<std::uint64_t>(cases), cases % 7 == 6 ? 1 : 0, cases % 2 == 1);
      ++cases;
    }
  }
  CHECK(cases > 350);
}

}  // namespace

TEST_CASE("cuda quantize and dequantize, fp32: codes, packed codes, parameters and values of the definition") {
  check_all_codes<float>();
}
TEST_CASE("cuda quantize and dequantize, bfloat16: codes, packed codes, parameters and values of the definition") {
  check_all_codes<bfloat16>();
}

TEST_CASE("cuda quantize_packed_dynamic to int4 reads x once and writes half a byte an element; dequantize back") {
  const QuantSpec spec = parse_spec("int4:group32:signed_extremum:bf16safe");
  const index_t rows = 8, columns = 1024, n = rows * columns;
  const emulation::Buffer<const bfloat16> x(adversarial<bfloat16>(n, 3));
  const emulation::Buffer<std::uint8_t> packed(static_cast<std::size_t>(n / 2));
  const emulation::Buffer<float> scale(static_cast<std::size_t>(n / 32));
  const emulation::Buffer<bfloat16> y(static_cast<std::size_t>(n));
  emulation::reset_counters();
  cuda::quantize_packed_dynamic({}, spec, x.data(), rows, columns, packed.data(), scale.data(), nullptr);
  CHECK(emulation::counters().launches == 1);
  CHECK(emulation::counters().loaded_bytes == static_cast<std::uint64_t>(2 * n));
  CHECK(emulation::counters().stored_bytes == static_cast<std::uint64_t>(n / 2 + 4 * n / 32));
  emulation::reset_counters();
  cuda::dequantize_packed({}, spec, packed.data(), rows, columns, scale.data(), nullptr, y.data());
  CHECK(emulation::counters().launches == 1);
  CHECK(packed.loaded_bytes() == static_cast<std::uint64_t>(n / 2));
  CHECK(emulation::counters().stored_bytes == static_cast<std::uint64_t>(2 * n));
}
