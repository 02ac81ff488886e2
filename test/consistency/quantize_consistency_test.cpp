// E1 on every target: the vector kernels give the bits of the reference kernels, and dequantize(quantize(x)) is
// fake_quantize(x), for every scheme of the menu and a sweep outside it, on adversarial input, in every element type.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "consistency/quantize_bits.hpp"
#include "support/compare.hpp"
#include "support/targets.hpp"
#include "support/tuning_scope.hpp"

using namespace qat;
using namespace qat::test;

namespace {

/// Guard zones around an output: a kernel that writes outside its size fails.
template <class T>
struct Guarded {
  static constexpr index_t kGuard = 64;
  std::vector<T> storage;
  index_t size, offset;
  explicit Guarded(index_t n, index_t misalignment = 0)
      : storage(static_cast<std::size_t>(n + 2 * kGuard + misalignment), poison()),
        size(n),
        offset(kGuard + misalignment) {}
  static T poison() { return std::bit_cast<T>(static_cast<test::detail::BitsOf<T>>(0x5A5A5A5A)); }
  T* data() { return storage.data() + offset; }
  std::vector<T> values() { return std::vector<T>(data(), data() + size); }
  bool intact() const {
    const T expected = poison();
    for (index_t i = 0; i < static_cast<index_t>(storage.size()); ++i)
      if ((i < offset || i >= offset + size) &&
          std::memcmp(&storage[static_cast<std::size_t>(i)], &expected, sizeof(T)) != 0)
        return false;
    return true;
  }
};

struct Found {  // over the whole sweep, so that it cannot pass by comparing nothing
  index_t cases = 0, outputs = 0, finite_nonzero = 0;
};

template <class D>
void check_case(const CpuBackend& backend, const QuantSpec& spec, MatrixShape shape, index_t misalignment,
                Found& found) {
  const index_t rows = shape.rows, columns = shape.columns, size = rows * columns;
  const index_t tiles = group_layout(spec.granularity, rows, columns).count();
  const std::size_t n = static_cast<std::size_t>(size), t = static_cast<std::size_t>(tiles);
  const std::vector<D> source = adversarial<D>(size, static_cast<std::uint64_t>(columns));
  const std::vector<D> dy = adversarial<D>(size, 77, true), dx0 = adversarial<D>(size, 78, true);
  Guarded<D> input(size, misalignment);
  for (std::size_t i = 0; i < n; ++i) input.data()[i] = source[i];
  const D* x = input.data();

  std::vector<D> y(n), dx(n);
  std::vector<float> scale(t), zero(t);
  std::vector<std::int8_t> codes(n);
  std::vector<std::uint8_t> mask((n + 7) / 8);
  const index_t nonfinite =
      kernels::reference::fake_quantize_dynamic(spec, x, rows, columns, y.data(), scale.data(), zero.data(), 9);
  kernels::reference::quantize(spec, x, rows, columns, scale.data(), zero.data(), codes.data(), 9);

  Guarded<D> out(size, misalignment);
  Guarded<float> s(tiles), z(tiles);
  Guarded<std::int8_t> c(size, misalignment);
  Guarded<std::uint8_t> m((size + 7) / 8);
  CHECK(kernels::fake_quantize_dynamic(backend, spec, x, rows, columns, out.data(), s.data(), z.data(), 9) ==
        nonfinite);
  CHECK(compare_bits(y, out.values()));
  CHECK(compare_bits(scale, s.values()));
  CHECK(compare_bits(zero, z.values()));

  Guarded<float> s2(tiles), z2(tiles);
  CHECK(kernels::choose_qparams(backend, spec, x, rows, columns, s2.data(), z2.data()) == nonfinite);
  CHECK(compare_bits(scale, s2.values()));
  CHECK(compare_bits(zero, z2.values()));

  CHECK(kernels::quantize_dynamic(backend, spec, x, rows, columns, c.data(), s.data(), z.data(), 9) == nonfinite);
  CHECK(compare_bits(codes, c.values()));
  Guarded<D> decoded(size, misalignment);  // E1
  kernels::dequantize(backend, spec, c.data(), rows, columns, s.data(), z.data(), decoded.data());
  CHECK(compare_bits(y, decoded.values()));
  Guarded<D> given(size, misalignment);
  kernels::fake_quantize(backend, spec, x, rows, columns, scale.data(), zero.data(), given.data(), 9);
  CHECK(compare_bits(y, given.values()));
  kernels::quantize(backend, spec, x, rows, columns, scale.data(), zero.data(), c.data(), 9);
  CHECK(compare_bits(codes, c.values()));

  for (const SteMask ste : {SteMask::kInclusive, SteMask::kStrict, SteMask::kPassThrough}) {
    for (const bool accumulate : {false, true}) {
      dx = dx0;
      kernels::reference::fake_quantize_backward(spec, dy.data(), x, rows, columns, scale.data(), zero.data(), ste,
                                                 dx.data(), accumulate, 9);
      Guarded<D> g(size, misalignment);
      for (std::size_t i = 0; i < n; ++i) g.data()[i] = dx0[i];
      kernels::fake_quantize_backward(backend, spec, dy.data(), x, rows, columns, scale.data(), zero.data(), ste,
                                      g.data(), accumulate, 9);
      CHECK(compare_bits(dx, g.values()));
      CHECK(g.intact());
      if (ste == SteMask::kPassThrough) continue;
      kernels::reference::gradient_mask(spec, x, rows, columns, scale.data(), zero.data(), ste, mask.data(), 9);
      kernels::fake_quantize_dynamic_masked(backend, spec, x, rows, columns, out.data(), s.data(), z.data(), ste,
                                            m.data(), 9);
      CHECK(compare_bits(mask, m.values()));
      CHECK(compare_bits(y, out.values()));
      kernels::quantize_dynamic_masked(backend, spec, x, rows, columns, c.data(), s.data(), z.data(), ste, m.data(), 9);
      CHECK(compare_bits(mask, m.values()));
      CHECK(compare_bits(codes, c.values()));
      for (std::size_t i = 0; i < n; ++i) g.data()[i] = dx0[i];
      kernels::fake_quantize_backward_masked(backend, spec, dy.data(), m.data(), rows, columns, s.data(), z.data(),
                                             g.data(), accumulate);
      CHECK(compare_bits(dx, g.values()));
    }
  }
  CHECK((out.intact() && s.intact() && z.intact() && c.intact() && m.intact() && decoded.intact() && given.intact()));
  ++found.cases;
  found.outputs += size;
  for (const D value : y)
    if (!is_nonfinite(static_cast<float>(value)) && static_cast<float>(value) != 0.0f) ++found.finite_nonzero;
}

template <class D>
void check_type() {
  const CpuBackend backend(2);
  for (const Target target : plain_targets()) {
    const ScopedTarget forced(target);
    Found found;
    for (const QuantSpec& spec : specs_under_test()) {
      CAPTURE(std::string(to_string(spec).c_str()));
      CAPTURE(std::string(name(target)));
      index_t misalignment = 0;
      for (const MatrixShape shape : kShapes) {
        if (!accepts(spec, shape)) continue;
        CAPTURE(shape.rows);
        CAPTURE(shape.columns);
        check_case<D>(backend, spec, shape, misalignment, found);
        misalignment = (misalignment + 1) % 5;
      }
    }
    CHECK(found.cases > 200);
    CHECK(2 * found.finite_nonzero > found.outputs);
  }
}

}  // namespace

TEST_CASE("quantization has the reference's bits on every target: float") { check_type<float>(); }
TEST_CASE("quantization has the reference's bits on every target: half") { check_type<half>(); }
TEST_CASE("quantization has the reference's bits on every target: bfloat16") { check_type<bfloat16>(); }

TEST_CASE("codes of finite tensors, which have a form of their own, are the reference's on every target") {
  std::vector<QuantSpec> specs = specs_under_test();
  // Scales that are clamped far below what the range asks for: codes before clamping leave int16 and int32.
  for (const char* text :
       {"int4:group32:symmetric:e4m3", "uint8:group64:asymmetric:float16", "int8:token:symmetric:e4m3",
        "int8:token:asymmetric:float16", "int4:group32:signed_extremum:bf16safe"})
    specs.push_back(parse_spec(text));
  const CpuBackend backend(2);
  for (const Target target : plain_targets()) {
    const ScopedTarget forced(target);
    CAPTURE(std::string(name(target)));
    index_t extreme = 0, inside = 0;
    for (const QuantSpec& spec : specs)
      for (const MatrixShape shape : {MatrixShape{5, 32}, MatrixShape{3, 96}, MatrixShape{2, 1000}, MatrixShape{7, 256},
                                      MatrixShape{33, 64}, MatrixShape{2, 4099}}) {
        if (!accepts(spec, shape)) continue;
        CAPTURE(std::string(to_string(spec).c_str()));
        CAPTURE(shape.columns);
        const index_t size = shape.rows * shape.columns,
                      tiles = group_layout(spec.granularity, shape.rows, shape.columns).count();
        const std::vector<float> x = adversarial<float>(size, static_cast<std::uint64_t>(shape.columns), true);
        std::vector<float> scale(static_cast<std::size_t>(tiles)), zero(scale.size());
        std::vector<std::int8_t> codes(x.size());
        kernels::reference::choose_qparams(spec, x.data(), shape.rows, shape.columns, scale.data(), zero.data());
        kernels::reference::quantize(spec, x.data(), shape.rows, shape.columns, scale.data(), zero.data(), codes.data(),
                                     9);
        Guarded<std::int8_t> c(size, 3);
        Guarded<float> s(tiles), z(tiles);
        CHECK(kernels::quantize_dynamic(backend, spec, x.data(), shape.rows, shape.columns, c.data(), s.data(),
                                        z.data(), 9) == 0);
        CHECK(compare_bits(codes, c.values()));
        CHECK(compare_bits(scale, s.values()));
        CHECK(compare_bits(zero, z.values()));
        CHECK((c.intact() && s.intact() && z.intact()));
        for (const std::int8_t code : codes) {
          const int q = spec.is_signed ? int{code} : int{static_cast<std::uint8_t>(code)};
          ++(q == spec.qmin() || q == spec.qmax() ? extreme : inside);
        }
      }
    CHECK(extreme > 10000);
    CHECK(inside > 10000);
  }
}

TEST_CASE("large tensors, long tiles and streaming stores give the same bytes with 1, 2, 3 and 7 threads") {
  const TuningScope restored;
  const index_t usual = kernels::cpu_tuning().stream_bytes;
  for (const char* text : {"int4:group32:signed_extremum:bf16safe", "int8:token:asymmetric",
                           "int8:tensor:signed_extremum", "int4:axis0:symmetric", "int4:group48:symmetric",
                           "int4:group32:symmetric", "uint4:group64:symmetric", "int8:group128:asymmetric:float16"}) {
    const QuantSpec spec = parse_spec(text);
    for (const MatrixShape shape :
         {MatrixShape{3, 70001}, MatrixShape{2, 1 << 17}, MatrixShape{129, 1024}, MatrixShape{1000, 100}}) {
      if (!accepts(spec, shape)) continue;
      CAPTURE(text);
      CAPTURE(shape.columns);
      const index_t size = shape.rows * shape.columns,
                    tiles = group_layout(spec.granularity, shape.rows, shape.columns).count();
      std::vector<float> x = adversarial<float>(size, 3, true);
      const std::vector<float> any = adversarial<float>(size, 3), dy = adversarial<float>(size, 4, true);
      for (index_t i = 0; i < size; ++i)  // in some rows only: finite ones have forms of their own
        if (i / shape.columns % 3 == 1) x[static_cast<std::size_t>(i)] = any[static_cast<std::size_t>(i)];
      std::vector<float> y(x.size()), scale(static_cast<std::size_t>(tiles)), zero(scale.size()), dx(x.size());
      std::vector<std::uint8_t> mask((x.size() + 7) / 8);
      kernels::reference::fake_quantize_dynamic(spec, x.data(), shape.rows, shape.columns, y.data(), scale.data(),
                                                zero.data());
      kernels::reference::gradient_mask(spec, x.data(), shape.rows, shape.columns, scale.data(), zero.data(),
                                        SteMask::kInclusive, mask.data());
      kernels::reference::fake_quantize_backward(spec, dy.data(), x.data(), shape.rows, shape.columns, scale.data(),
                                                 zero.data(), SteMask::kInclusive, dx.data());
      for (const int threads : {1, 2, 3, 7}) {
        const CpuBackend backend(threads);
        for (const index_t stream_bytes : {index_t{0}, usual}) {
          kernels::cpu_tuning().stream_bytes = stream_bytes;
          AlignedBuffer<float> out(size);
          std::vector<float> s(scale.size()), z(scale.size()), values(x.size());
          std::vector<std::uint8_t> m(mask.size());
          kernels::fake_quantize_dynamic(backend, spec, x.data(), shape.rows, shape.columns, out.data(), s.data(),
                                         z.data());
          values.assign(out.begin(), out.end());
          CHECK(compare_bits(y, values));
          CHECK(compare_bits(scale, s));
          CHECK(compare_bits(zero, z));
          kernels::fake_quantize_dynamic_masked(backend, spec, x.data(), shape.rows, shape.columns, out.data(),
                                                s.data(), z.data(), SteMask::kInclusive, m.data());
          CHECK(compare_bits(mask, m));
          kernels::fake_quantize_backward(backend, spec, dy.data(), x.data(), shape.rows, shape.columns, s.data(),
                                          z.data(), SteMask::kInclusive, out.data());
          values.assign(out.begin(), out.end());
          CHECK(compare_bits(dx, values));
        }
      }
    }
  }
}
