// Passes over a tensor: fake quantization, its gradient, real quantization, packing, dequantization.
#pragma once

#include "gemm_works.hpp"
#include "qat/kernels/cpu/pack_weight.hpp"
#include "qat/kernels/cpu/quantize.hpp"

namespace qat::bench {

/// spec, rows, columns, threads.
struct TensorProblem {
  QuantSpec spec;
  index_t rows, columns, n;
  CpuBackend backend;
  AlignedBuffer<float> x, y, scale, zero;

  explicit TensorProblem(const Request& request)
      : spec(parse_spec(request.text("spec", "int4:group32:symmetric").c_str())),
        rows(request.number("rows")),
        columns(request.number("columns")),
        n(rows * columns),
        backend(static_cast<int>(request.number("threads", 1))),
        x(n),
        y(n) {
    const AlignedBuffer<float> some = random_values(index_t{1} << 16, 1);
    for (index_t i = 0; i < n; ++i) x[i] = some[i & 0xFFFF], y[i] = 0.0f;
    const index_t tiles = group_layout(spec.granularity, rows, columns).count();
    scale = AlignedBuffer<float>(tiles);
    zero = AlignedBuffer<float>(tiles);
    kernels::choose_qparams(backend, spec, x.data(), rows, columns, scale.data(), zero.data());
  }
  /// A check looks at the first rows only: the reference takes its time.
  index_t some_rows() const { return std::min<index_t>(rows, 1 + (index_t{1} << 20) / columns); }
  Work measured(double bytes_per_element) const {
    Work work;
    work.ops = static_cast<double>(n);
    work.bytes = static_cast<double>(n) * bytes_per_element;
    return work;
  }
};

/// 8 bytes an element: read and written once.
inline Work fake_quantize_work(const Request& request) {
  auto s = std::make_shared<TensorProblem>(request);
  Work work = s->measured(8);
  work.call = [s](long) {
    kernels::fake_quantize_dynamic(s->backend, s->spec, s->x.data(), s->rows, s->columns, s->y.data());
  };
  work.check = [s]() -> std::string {
    kernels::fake_quantize_dynamic(s->backend, s->spec, s->x.data(), s->rows, s->columns, s->y.data());
    const index_t some = s->some_rows();
    AlignedBuffer<float> expected(some * s->columns);
    kernels::reference::fake_quantize_dynamic(s->spec, s->x.data(), some, s->columns, expected.data());
    return difference(s->y.data(), expected.data(), some * s->columns);
  };
  return work;
}

/// 12 bytes an element: x and dy read, dx written.
inline Work ste_backward_work(const Request& request) {
  struct State : TensorProblem {
    AlignedBuffer<float> dy;
    explicit State(const Request& r) : TensorProblem(r), dy(n) {
      for (index_t i = 0; i < n; ++i) dy[i] = x[i];
    }
  };
  auto s = std::make_shared<State>(request);
  Work work = s->measured(12);
  const auto run = [s] {
    kernels::fake_quantize_backward(s->backend, s->spec, s->dy.data(), s->x.data(), s->rows, s->columns,
                                    s->scale.data(), s->zero.data(), SteMask::kInclusive, s->y.data());
  };
  work.call = [run](long) { run(); };
  work.check = [s, run]() -> std::string {
    run();
    const index_t some = s->some_rows();
    AlignedBuffer<float> expected(some * s->columns);
    kernels::reference::fake_quantize_backward(s->spec, s->dy.data(), s->x.data(), some, s->columns, s->scale.data(),
                                               s->zero.data(), SteMask::kInclusive, expected.data());
    return difference(s->y.data(), expected.data(), some * s->columns);
  };
  return work;
}

/// fp32 weights to packed integers: 4 bytes an element read (what is written is not counted).
inline Work pack_work(const Request& request) {
  struct State : TensorProblem {
    PackedWeight packed;
    explicit State(const Request& r) : TensorProblem(r) {}
    void run() {
      kernels::quantize_and_pack(backend, spec, x.data(), rows, columns, packed, scale.data(), zero.data());
    }
  };
  auto s = std::make_shared<State>(request);
  Work work = s->measured(4);
  work.call = [s](long) { s->run(); };
  work.check = [s]() -> std::string {
    s->run();
    const index_t some = s->some_rows();
    AlignedBuffer<float> expected(some * s->columns), found(some * s->columns);
    kernels::reference::fake_quantize_dynamic(s->spec, s->x.data(), some, s->columns, expected.data());
    for (index_t i = 0; i < some * s->columns; ++i) found[i] = s->packed.dequantized(i / s->columns, i % s->columns);
    return difference(found.data(), expected.data(), some * s->columns);
  };
  return work;
}

/// int8 codes to fp32: 1 byte an element read, 4 written.
inline Work dequantize_work(const Request& request) {
  struct State : TensorProblem {
    AlignedBuffer<std::int8_t> codes;
    explicit State(const Request& r) : TensorProblem(r), codes(n) {
      kernels::quantize(backend, spec, x.data(), rows, columns, scale.data(), zero.data(), codes.data());
    }
    void run() { kernels::dequantize(backend, spec, codes.data(), rows, columns, scale.data(), zero.data(), y.data()); }
  };
  auto s = std::make_shared<State>(request);
  Work work = s->measured(5);
  work.call = [s](long) { s->run(); };
  work.check = [s]() -> std::string {
    s->run();
    const index_t some = s->some_rows();
    AlignedBuffer<float> expected(some * s->columns);
    kernels::reference::fake_quantize_dynamic(s->spec, s->x.data(), some, s->columns, expected.data());
    return difference(s->y.data(), expected.data(), some * s->columns);
  };
  return work;
}

}  // namespace qat::bench
