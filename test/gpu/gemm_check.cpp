// Plain products on the device: integers, whose sums are exact in fp32, so that there is one right result.
#include "gpu/check.hpp"
#include "qat/base/random.hpp"
#include "qat/kernels/cuda/gemm.hpp"

namespace qat::test::gpu {
namespace {

/// rows x columns with `stride` elements from row to row; what lies between the rows is NaN.
std::vector<bfloat16> integers(index_t rows, index_t columns, index_t stride, std::uint64_t seed) {
  CounterRandom random(seed);
  std::vector<bfloat16> x(static_cast<std::size_t>(rows * stride), bfloat16::from_bits(0x7FC0));
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j)
      x[static_cast<std::size_t>(i * stride + j)] = bfloat16(static_cast<float>(random.next_below(7)) - 3.0f);
  return x;
}

template <class T>
void product(const Device& device, Report& report, const cuda::Blas& blas, index_t m, index_t n, index_t k, bool ta,
             bool tb, index_t padding, float alpha, float beta, bool biased = false) {
  const std::string what = std::string("gemm ") + (sizeof(T) == 2 ? "bfloat16 " : "float32 ") + std::to_string(m) +
                           "x" + std::to_string(n) + "x" + std::to_string(k) + (ta ? " aT" : " a") +
                           (tb ? " bT" : " b") + " padding " + std::to_string(padding) + " beta " +
                           std::to_string(beta) + (biased ? " bias" : "");
  cuda::GemmArgs<T> g;
  g.m = m, g.n = n, g.k = k;
  g.transpose_a = ta, g.transpose_b = tb;
  g.alpha = alpha, g.beta = beta;
  g.a_stride = (ta ? m : k) + padding;
  g.b_stride = (tb ? k : n) + padding;
  g.y_stride = n + padding;
  const std::vector<bfloat16> a = integers(ta ? k : m, ta ? m : k, g.a_stride, 1);
  const std::vector<bfloat16> b = integers(tb ? n : k, tb ? k : n, g.b_stride, 2);
  const std::vector<bfloat16> before = integers(m, n, g.y_stride, 3), bias = integers(1, n, n, 4);
  std::vector<T> expected(before.begin(), before.end());
  const auto value = [](const std::vector<bfloat16>& x, index_t i) {
    return static_cast<double>(static_cast<float>(x[static_cast<std::size_t>(i)]));
  };
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (index_t l = 0; l < k; ++l)
        sum += value(a, ta ? l * g.a_stride + i : i * g.a_stride + l) *
               value(b, tb ? j * g.b_stride + l : l * g.b_stride + j);
      const index_t at = i * g.y_stride + j;
      const double y = static_cast<double>(alpha) * sum + static_cast<double>(beta) * value(before, at) +
                       (biased ? value(bias, j) : 0.0);
      expected[static_cast<std::size_t>(at)] = static_cast<T>(static_cast<float>(y));
    }

  const auto device_a = to_device(device, a), device_b = to_device(device, b);
  const auto y = to_device(device, std::vector<T>(before.begin(), before.end()));
  g.a = device_a.data(), g.b = device_b.data(), g.y = y.data();
  const auto device_bias = to_device(device, bias);
  if (biased) g.bias = device_bias.data();
  cuda::gemm(device.backend, blas, g);
  report.expect(what, compare_bits<T>(expected, to_host(device, y)));
}

void products(const Device& device, Report& report) {
  const cuda::Blas blas;
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      for (const index_t padding : {0, 8}) {
        product<float>(device, report, blas, 24, 40, 64, ta, tb, padding, 1.0f, 0.0f);
        product<bfloat16>(device, report, blas, 24, 40, 64, ta, tb, padding, 1.0f, 0.0f);
        product<bfloat16>(device, report, blas, 24, 40, 64, ta, tb, padding, 1.0f, 0.0f, true);
        product<float>(device, report, blas, 16, 8, 32, ta, tb, padding, 0.5f, 1.0f);
      }
      if (!device.large) continue;
      product<bfloat16>(device, report, blas, 300, 768, 200, ta, tb, 0, 1.0f, 0.0f);
      product<float>(device, report, blas, 768, 304, 520, ta, tb, 0, 1.0f, 1.0f);
    }
}

void bad_shapes(const Device& device, Report& report) {
  const cuda::Blas blas;
  cuda::GemmArgs<float> g;
  g.m = 4, g.n = 8, g.k = -1;
  report.expect_error("negative extent", "k -1", [&] { cuda::gemm(device.backend, blas, g); });
  g.k = 16;
  g.b_stride = 7;
  report.expect_error("stride below the columns", "b_stride is 7, less than 8 columns",
                      [&] { cuda::gemm(device.backend, blas, g); });
  g.b_stride = 0;
  g.m = 0;
  cuda::gemm(device.backend, blas, g);  // nothing to do, and no pointer is read
}

const Registration products_check("gemm: exact sums give the one right result in every form", products);
const Registration shapes_check("gemm: what does not fit is an error that says what", bad_shapes);

}  // namespace
}  // namespace qat::test::gpu
