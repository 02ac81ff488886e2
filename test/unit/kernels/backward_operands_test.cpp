// The operands of a quantized layer's backward products equal the products with dequantized matrices bit for bit.
#include "qat/kernels/cpu/backward_operands.hpp"

#include <vector>

#include <doctest/doctest.h>

#include "qat/kernels/cpu/quantize.hpp"
#include "support/compare.hpp"
#include "support/packed_weights.hpp"
#include "support/random_values.hpp"

namespace {

using qat::index_t;
using qat::Target;
using qat::kernels::MatrixOperand;

}  // namespace

TEST_CASE("dX = dY W from packed weights equals the product with the dequantized weights, on every target") {
  const qat::CpuBackend backend(2);
  for (const char* text : qat::test::packed_schemes()) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    CAPTURE(text);
    for (const index_t out : {1, 16, 33, 300})
      for (const index_t in : {1, 17, 32, 100}) {
        if (spec.granularity.group_size > in) continue;
        const qat::test::RandomWeights w(spec, out, in);
        std::vector<float> values;
        for (index_t o = 0; o < out; ++o)
          for (index_t i = 0; i < in; ++i) values.push_back(w.packed.dequantized(o, i));
        for (const index_t tokens : {3, 40}) {
          const std::vector<float> dy = qat::test::uniform_values(tokens * out, 4);
          const MatrixOperand upstream{dy.data(), out, 1};
          for (const Target target : qat::supported_targets()) {
            const qat::ScopedTarget scope(target);
            CAPTURE(qat::name(target));
            CAPTURE(out);
            CAPTURE(in);
            std::vector<float> expected(static_cast<std::size_t>(tokens * in)), actual = expected;
            qat::kernels::gemm(backend, tokens, in, out, upstream, MatrixOperand{values.data(), 1, in}, expected.data(),
                               in);
            qat::kernels::gemm(backend, tokens, in, out, upstream, qat::kernels::PackedColumns(w.packed), actual.data(),
                               in);
            CHECK(qat::test::compare_bits(expected, actual));
          }
        }
      }
  }
}

TEST_CASE("dW = dY^T X from int8 activations equals the product with the dequantized activations, on every target") {
  const qat::CpuBackend backend(2);
  const qat::QuantSpec spec = qat::parse_spec("int8:token:asymmetric");
  for (const index_t tokens : {1, 16, 37, 300})
    for (const index_t in : {1, 15, 32, 49, 100}) {
      const std::vector<float> x = qat::test::uniform_values(tokens * in, 5);
      std::vector<std::int8_t> codes(x.size());
      std::vector<float> scale(static_cast<std::size_t>(tokens)), zero = scale, values = x;
      qat::kernels::quantize_dynamic(backend, spec, x.data(), tokens, in, codes.data(), scale.data(), zero.data());
      qat::kernels::dequantize(backend, spec, codes.data(), tokens, in, scale.data(), zero.data(), values.data());
      for (const index_t out : {3, 40}) {
        const std::vector<float> dy = qat::test::uniform_values(tokens * out, 6);
        const MatrixOperand upstream{dy.data(), 1, out};
        const qat::kernels::ActivationColumns columns{codes.data(), in, scale.data(), zero.data()};
        for (const Target target : qat::supported_targets()) {
          const qat::ScopedTarget scope(target);
          CAPTURE(qat::name(target));
          CAPTURE(tokens);
          CAPTURE(in);
          std::vector<float> expected = qat::test::uniform_values(out * in, 7), actual = expected;
          qat::kernels::gemm(backend, out, in, tokens, upstream, MatrixOperand{values.data(), 1, in}, expected.data(),
                             in, true);
          qat::kernels::gemm(backend, out, in, tokens, upstream, columns, actual.data(), in, true);
          CHECK(qat::test::compare_bits(expected, actual));
        }
      }
    }
}

TEST_CASE("elements loaded one by one are those of the panels") {
  const qat::test::RandomWeights w(qat::parse_spec("int4:group32:symmetric"), 40, 70);
  const qat::kernels::PackedColumns columns(w.packed);
  std::vector<float> panel(40 * 32), row(40);
  columns.load_panel(32, 32, 0, 40, 32, panel.data());
  for (index_t c = 0; c < 32; ++c) {
    columns.load(32 + c, 0, 40, row.data());
    for (index_t k = 0; k < 40; ++k)
      CHECK(row[static_cast<std::size_t>(k)] == panel[static_cast<std::size_t>(k * 32 + c)]);
  }
}
