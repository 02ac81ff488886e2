// Learned step size quantization on a GPU, emulated: gradients of elements and scales with the definition's bits.
#include "qat/kernels/cuda/lsq.cuh"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "qat/kernels/reference/quantize.hpp"
#include "support/compare.hpp"
#include "support/quantize_cases.hpp"

using namespace qat;
using namespace qat::test;
namespace reference = qat::kernels::reference;

namespace {

constexpr MatrixShape kLsqShapes[] = {{3, 512}, {9, 768}, {2, 1000}, {2, 4096}, {3, 4100}, {1, 20480}, {2, 9000}};

void check_lsq(const QuantSpec& spec, MatrixShape shape, SteMask mask, std::size_t offset, bool accumulate,
               bool in_place, std::uint64_t seed) {
  const index_t rows = shape.rows, columns = shape.columns, n = rows * columns;
  const std::size_t tiles = static_cast<std::size_t>(group_layout(spec.granularity, rows, columns).count());
  const std::vector<float> x = adversarial<float>(n, seed), dy = adversarial<float>(n, seed + 1, true);
  std::vector<float> scale(tiles), zero(tiles);
  reference::choose_qparams(spec, x.data(), rows, columns, scale.data(), zero.data());
  for (std::size_t i = 0; i < tiles; i += 3) scale[i] *= 0.4f;  // most elements outside the range
  const std::vector<float> dx0 = in_place ? dy : adversarial<float>(n, seed + 2, true);
  const std::vector<float> dscale0 = adversarial<float>(static_cast<index_t>(tiles), seed + 3, true);
  std::vector<float> dx = dx0, dscale = dscale0;
  reference::fake_quantize_backward(spec, dy.data(), x.data(), rows, columns, scale.data(), zero.data(), mask,
                                    dx.data(), accumulate, 9);
  reference::lsq_scale_gradient(spec, dy.data(), x.data(), rows, columns, scale.data(), zero.data(), mask, 0.3f,
                                dscale.data(), accumulate, 9);

  const emulation::Buffer<std::uint64_t> memory(1 << 12);
  const CudaBackend backend{nullptr, memory.data(), memory.size() * 8};
  const emulation::Buffer<const float> x_in(x, offset), dy_in(dy, offset), scale_in(scale), zero_in(zero);
  const emulation::Buffer<float> dx_out(dx0, offset), dscale_out(dscale0);
  cuda::lsq_backward(backend, spec, in_place ? dx_out.data() : dy_in.data(), x_in.data(), rows, columns,
                     scale_in.data(), zero_in.data(), mask, 0.3f, dx_out.data(), accumulate, dscale_out.data(),
                     accumulate, 9);
  CHECK(compare_bits(dx, dx_out.to_vector()));
  CHECK(compare_bits(dscale, dscale_out.to_vector()));
  if (accumulate) return;
  const auto alone = emulation::Buffer<float>::uninitialized(tiles);
  cuda::lsq_backward(backend, spec, dy_in.data(), x_in.data(), rows, columns, scale_in.data(), zero_in.data(), mask,
                     0.3f, nullptr, false, alone.data(), false, 9);
  CHECK(compare_bits(dscale, alone.to_vector()));
}

}  // namespace

TEST_CASE("cuda lsq_backward: every scheme, mask and shape, adversarial input, has the bits of the definition") {
  index_t cases = 0;
  std::vector<MatrixShape> shapes(std::begin(kLsqShapes), std::end(kLsqShapes));
  shapes.insert(shapes.end(), std::begin(kShapes), std::end(kShapes));
  std::vector<QuantSpec> specs = specs_under_test();
  for (const char* text : {"int4:group16:symmetric", "int8:group512:asymmetric", "int4:group96:signed_extremum"})
    specs.push_back(parse_spec(text));
  for (const QuantSpec& spec : specs) {
    if (spec.mapping == MappingKind::kFloatZeroPoint) continue;
    CAPTURE(std::string(to_string(spec).c_str()));
    for (const MatrixShape shape : shapes) {
      if (!accepts(spec, shape)) continue;
      if (shape.columns > 10000 && cases % 3 != 0) continue;  // slow here
      CAPTURE(shape.rows);
      CAPTURE(shape.columns);
      const SteMask mask = cases % 5 == 0   ? SteMask::kPassThrough
                           : cases % 2 == 0 ? SteMask::kInclusive
                                            : SteMask::kStrict;
      const bool accumulate = cases % 4 == 1;
      check_lsq(spec, shape, mask, cases % 7 == 6 ? 1 : 0, accumulate, cases % 3 == 0 && !accumulate,
                static_cast<std::uint64_t>(cases));
      ++cases;
    }
  }
  CHECK(cases > 350);
}

TEST_CASE("cuda lsq_backward reads dy and x once and writes dx once, in one launch, without bank conflicts") {
  emulation::Settings settings;
  settings.requests = true;
  const emulation::With counted(settings);
  for (const char* text :
       {"int4:group32:symmetric", "int4:group128:signed_extremum:bf16safe", "int4:axis0:symmetric"}) {
    CAPTURE(text);
    const QuantSpec spec = parse_spec(text);
    const index_t rows = 3, columns = 4096, n = rows * columns;
    const std::size_t tiles = static_cast<std::size_t>(group_layout(spec.granularity, rows, columns).count());
    const emulation::Buffer<const float> x(adversarial<float>(n, 1, true)), dy(adversarial<float>(n, 2, true));
    const emulation::Buffer<const float> scale(tiles, 0.1f);
    const auto dx = emulation::Buffer<float>::uninitialized(static_cast<std::size_t>(n));
    const auto dscale = emulation::Buffer<float>::uninitialized(tiles);
    emulation::reset_counters();
    cuda::lsq_backward({}, spec, dy.data(), x.data(), rows, columns, scale.data(), nullptr, SteMask::kInclusive, 1.0f,
                       dx.data(), false, dscale.data(), false);
    CHECK(emulation::counters().launches == 1);
    CHECK(emulation::counters().stored_bytes == static_cast<std::uint64_t>(n) * 4 + tiles * 4);
    CHECK(x.loaded_bytes() == static_cast<std::uint64_t>(n) * 4);
    CHECK(dy.loaded_bytes() == static_cast<std::uint64_t>(n) * 4);
    CHECK(emulation::worst_bank_ways() == 1);
  }
}

TEST_CASE("cuda lsq_backward refuses a float zero point and a missing dscale") {
  const emulation::Buffer<float> x(64);
  const auto call = [&](const char* text, float* dscale) -> std::string {
    try {
      cuda::lsq_backward({}, parse_spec(text), x.data(), x.data(), 2, 32, x.data(), x.data(), SteMask::kInclusive, 1.0f,
                         nullptr, false, dscale, false);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(call("uint4:group32:float_zero_point", x.data()) ==
        "cuda lsq_backward: uint4:group32:float_zero_point has no learned scale; accepted are mappings with an integer "
        "zero point");
  CHECK(call("int4:group32:symmetric", nullptr) == "cuda lsq_backward: dscale is null, one value per tile is required");
}
