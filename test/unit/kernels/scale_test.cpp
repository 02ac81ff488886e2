// scale: the example kernel does what it says, on every target and for any number of threads.
#include "qat/kernels/cpu/scale.hpp"

#include <vector>

#include <doctest/doctest.h>

#include "support/compare.hpp"

TEST_CASE("scale multiplies each element, in place too, at every size around a vector and a chunk") {
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    for (const int threads : {1, 3}) {
      const qat::CpuBackend backend(threads);
      for (const qat::index_t size : {1, 3, 4, 15, 16, 17, 33, 32767, 32768, 32769, 100001}) {
        std::vector<float> x(static_cast<std::size_t>(size)), expected(x.size()), out(x.size() + 1, 7.0f);
        for (std::size_t i = 0; i < x.size(); ++i) {
          x[i] = static_cast<float>(i) * 0.37f - 5.0f;
          expected[i] = x[i] * 1.7f;
        }
        qat::kernels::scale(backend, x.data(), 1.7f, out.data(), size);
        CHECK(out.back() == 7.0f);
        out.pop_back();
        CHECK(qat::test::compare_bits(expected, out));
        qat::kernels::scale(backend, x.data(), 1.7f, x.data(), size);
        CHECK(qat::test::compare_bits(expected, x));
      }
    }
  }
}
