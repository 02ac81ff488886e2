// Kernels of quantization pass over memory once: each page of an operand comes into use one time.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "qat/kernels/cpu/pack_weight.hpp"
#include "support/counted_pages.hpp"
#include "support/random_values.hpp"
#include "support/tuning_scope.hpp"

namespace {

using qat::index_t;

constexpr index_t kRows = 512, kColumns = 1024, kSize = kRows * kColumns;  // 2 MiB of fp32

/// The largest count of a page of an operand of `bytes` bytes that `run` uses, of which `window` stay in use.
int passes(std::size_t bytes, std::size_t window, const void* contents,
           const std::function<void(qat::test::CountedPages&)>& run) {
  qat::test::CountedPages pages(bytes, window);
  if (contents != nullptr) std::memcpy(pages.data<void>(), contents, bytes);
  pages.count([&] { run(pages); });
  CHECK(*std::min_element(pages.counts().begin(), pages.counts().end()) >= 1);
  return *std::max_element(pages.counts().begin(), pages.counts().end());
}

}  // namespace

TEST_CASE("a counted page that leaves the window and is touched again counts twice") {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  qat::test::CountedPages pages(16 * page, 4);
  volatile std::uint8_t* const p = pages.data<std::uint8_t>();
  pages.count([&] {
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t i = 0; i < 16; ++i) p[i * page] = 1;
  });
  CHECK(pages.counts() == std::vector<int>(16, 2));
  qat::test::CountedPages once(4 * page, 4);
  volatile std::uint8_t* const q = once.data<std::uint8_t>();
  once.count([&] {
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t i = 0; i < 4; ++i) q[i * page] = 1;
  });
  CHECK(once.counts() == std::vector<int>(4, 1));
}

TEST_CASE("choosing, fake quantization, its gradient, quantization, dequantization and packing pass over memory once") {
  namespace kernels = qat::kernels;
  const qat::test::TuningScope restored;
  const qat::CpuBackend backend(1);
  const std::vector<float> x = qat::test::uniform_values(kSize, 5);
  const std::size_t floats = sizeof(float) * static_cast<std::size_t>(kSize), bytes = static_cast<std::size_t>(kSize);
  constexpr std::size_t kWindow = 32;  // pages, 128 KiB: sixteen rows and what lies beside them
  for (const char* text : {"int4:group32:symmetric", "int8:token:asymmetric", "uint4:group64:asymmetric:bfloat16",
                           "int4:axis0:symmetric", "int4:group48:signed_extremum:bf16safe"}) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    CAPTURE(text);
    const auto tiles = static_cast<std::size_t>(qat::group_layout(spec.granularity, kRows, kColumns).count());
    std::vector<float> scale(tiles), zero(tiles), y(x.size());
    std::vector<std::int8_t> codes(x.size());
    kernels::quantize_dynamic(backend, spec, x.data(), kRows, kColumns, codes.data(), scale.data(), zero.data());
    for (const qat::Target target : qat::supported_targets())
      for (const index_t stream : {index_t{0}, index_t{1} << 40}) {
        const qat::ScopedTarget scope(target);
        CAPTURE(qat::name(target));
        kernels::cpu_tuning().stream_bytes = stream;
        const auto reads = [&](const auto& run) {
          return passes(floats, kWindow, x.data(), [&](qat::test::CountedPages& pages) { run(pages.data<float>()); });
        };
        const auto writes = [&](const auto& run) {
          return passes(floats, kWindow, nullptr, [&](qat::test::CountedPages& pages) { run(pages.data<float>()); });
        };
        CHECK(reads([&](const float* p) {
                kernels::choose_qparams(backend, spec, p, kRows, kColumns, scale.data(), zero.data());
              }) == 1);
        CHECK(reads([&](const float* p) {
                kernels::fake_quantize_dynamic(backend, spec, p, kRows, kColumns, y.data());
              }) == 1);
        CHECK(reads([&](const float* p) {
                kernels::quantize_dynamic(backend, spec, p, kRows, kColumns, codes.data(), scale.data(), zero.data());
              }) == 1);
        CHECK(reads([&](const float* p) {
                qat::PackedWeight packed;
                kernels::quantize_and_pack(backend, spec, p, kRows, kColumns, packed);
              }) == 1);
        for (const bool of_x : {false, true})
          CHECK(reads([&](const float* p) {
                  kernels::fake_quantize_backward(backend, spec, of_x ? y.data() : p, of_x ? p : x.data(), kRows,
                                                  kColumns, scale.data(), zero.data(), qat::SteMask::kInclusive,
                                                  y.data());
                }) == 1);
        CHECK(writes([&](float* p) { kernels::fake_quantize_dynamic(backend, spec, x.data(), kRows, kColumns, p); }) ==
              1);
        CHECK(writes([&](float* p) {
                kernels::dequantize(backend, spec, codes.data(), kRows, kColumns, scale.data(), zero.data(), p);
              }) == 1);
        CHECK(passes(bytes, kWindow, codes.data(), [&](qat::test::CountedPages& pages) {
                kernels::dequantize(backend, spec, pages.data<std::int8_t>(), kRows, kColumns, scale.data(),
                                    zero.data(), y.data());
              }) == 1);
        CHECK(passes(bytes, kWindow, nullptr, [&](qat::test::CountedPages& pages) {
                kernels::quantize(backend, spec, x.data(), kRows, kColumns, scale.data(), zero.data(),
                                  pages.data<std::int8_t>());
              }) == 1);
      }
  }
}
