// Products with packed weights: int8 activations (quantized inside the measured call) and fp32 activations.
#pragma once

#include "gemm_works.hpp"
#include "qat/kernels/cpu/bf16_gemm.hpp"
#include "qat/kernels/cpu/packed_gemm.hpp"
#include "qat/kernels/cpu/qgemm.hpp"
#include "qat/kernels/cpu/quantize.hpp"

namespace qat::bench {

/// Packed weights by their definition, as an operand of the reference product.
struct DequantizedRows {
  const PackedWeight& weight;
  void load(index_t row, index_t k0, index_t count, float* out) const {
    for (index_t i = 0; i < count; ++i) out[i] = weight.dequantized(row, k0 + i);
  }
};

/// Copies of one packed weight (n, k) of random codes.
struct PackedProblem {
  index_t M, N, K;
  CpuBackend backend;
  AlignedBuffer<float> x, c;
  std::vector<PackedWeight> weights;

  explicit PackedProblem(const Request& request)
      : M(request.number("m")),
        N(request.number("n")),
        K(request.number("k")),
        backend(static_cast<int>(request.number("threads", 1))),
        x(random_values(M * K, 1)),
        c(M * N) {
    const QuantSpec spec = parse_spec(request.text("spec", "int4:group32:symmetric:bf16safe").c_str());
    const index_t groups = group_layout(spec.granularity, N, K).count();
    AlignedBuffer<std::int8_t> codes(N * K);
    CounterRandom random(2);
    for (std::int8_t& q : codes)
      q = static_cast<std::int8_t>(spec.qmin() + static_cast<int>(random.next_below(1u << spec.bits)));
    AlignedBuffer<float> scales(groups), zeros(groups);
    for (float& s : scales) s = 0.0078125f * static_cast<float>(1 + random.next_below(4));
    for (float& z : zeros) z = 1.0f;
    const PackedWeight first = PackedWeight::pack(spec, N, K, codes.data(), scales.data(), zeros.data());
    const index_t copies = copies_of(request, first.resident_bytes());
    while (static_cast<index_t>(weights.size()) < copies)
      weights.push_back(PackedWeight::pack(spec, N, K, codes.data(), scales.data(), zeros.data()));
  }
  const PackedWeight& weight(long call) const { return weights[static_cast<std::size_t>(call) % weights.size()]; }
  Work measured() const {
    Work work;
    work.ops = 2.0 * static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K);
    work.bytes = static_cast<double>(weights.front().resident_bytes());
    return work;
  }
};

/// spec, activation, m, n, k, threads, rotate (bytes of weights).
inline Work integer_work(const Request& request) {
  struct State : PackedProblem {
    QuantSpec activation;
    AlignedBuffer<std::int8_t> codes;
    AlignedBuffer<float> scales, zeros;
    AlignedBuffer<std::int32_t> zero_points;
    bool symmetric;
    explicit State(const Request& r)
        : PackedProblem(r),
          activation(parse_spec(r.text("activation", "int8:token:symmetric").c_str())),
          codes(M * K),
          scales(M),
          zeros(M),
          zero_points(M),
          symmetric(activation.mapping != MappingKind::kAsymmetric) {}
    kernels::QuantizedActivations quantized() {
      kernels::quantize_dynamic(backend, activation, x.data(), M, K, codes.data(), scales.data(), zeros.data());
      for (index_t i = 0; i < M; ++i) zero_points[i] = static_cast<std::int32_t>(zeros[i]);
      return {codes.data(), K, scales.data(), symmetric ? nullptr : zero_points.data()};
    }
    void run(long i) { kernels::qgemm(backend, M, quantized(), weight(i), c.data(), N); }
  };
  auto s = std::make_shared<State>(request);
  Work work = s->measured();
  work.call = [s](long i) { s->run(i); };
  work.check = [s]() -> std::string {
    s->run(0);
    AlignedBuffer<std::int8_t> codes(s->M * s->K);
    AlignedBuffer<float> scales(s->M), zeros(s->M), expected(s->N);
    kernels::reference::choose_qparams(s->activation, s->x.data(), s->M, s->K, scales.data(), zeros.data());
    kernels::reference::quantize(s->activation, s->x.data(), s->M, s->K, scales.data(), zeros.data(), codes.data());
    for (const index_t row : checked_rows(s->M)) {
      const std::int32_t zero = static_cast<std::int32_t>(zeros[row]);
      const kernels::QuantizedActivations one{codes.data() + row * s->K, s->K, scales.data() + row, &zero};
      kernels::reference::qgemm(1, one, s->weight(0), expected.data(), s->N);
      const std::string wrong = difference(s->c.data() + row * s->N, expected.data(), s->N);
      if (!wrong.empty()) return "row " + std::to_string(row) + ": " + wrong;
    }
    return {};
  };
  return work;
}

/// Floating-point activations: run(problem, call) multiplies; the reference multiplies the activations as `read` gives
/// them. tolerance: of the largest element of a row, 0 for equal bits.
template <class Run, class Read>
Work activation_work(const Request& request, Run run, Read read, float tolerance) {
  auto s = std::make_shared<PackedProblem>(request);
  Work work = s->measured();
  work.call = [s, run](long i) { run(*s, i); };
  work.check = [s, run, read, tolerance]() -> std::string {
    run(*s, 0);
    AlignedBuffer<float> x(s->K), expected(s->N);
    for (const index_t row : checked_rows(s->M)) {
      for (index_t k = 0; k < s->K; ++k) x[k] = read(s->x[row * s->K + k]);
      kernels::reference::gemm(1, s->N, s->K, kernels::MatrixOperand{x.data(), s->K, 1}, DequantizedRows{s->weight(0)},
                               expected.data(), s->N);
      const std::string wrong = difference(s->c.data() + row * s->N, expected.data(), s->N, tolerance);
      if (!wrong.empty()) return "row " + std::to_string(row) + ": " + wrong;
    }
    return {};
  };
  return work;
}

/// spec, m, n, k, threads, rotate.
inline Work float_activation_work(const Request& request) {
  return activation_work(
      request,
      [](PackedProblem& p, long i) {
        kernels::packed_gemm(p.backend, p.M, {p.x.data(), p.K, 1}, p.weight(i), p.c.data(), p.N);
      },
      [](float x) { return x; }, has_fused_multiply_add(active_target()) ? 0.0f : 1e-5f);
}

/// The same, rounded to bf16 inside the measured call.
inline Work bf16_activation_work(const Request& request) {
  return activation_work(
      request,
      [](PackedProblem& p, long i) {
        kernels::bf16_gemm(p.backend, p.M, {p.x.data(), p.K, 1}, p.weight(i), p.c.data(), p.N);
      },
      [](float x) { return static_cast<float>(bfloat16(x)); }, 1e-4f);
}

}  // namespace qat::bench
