// Every entry of kernels/cpu as a function of a place for its operands and a size, for laws that hold for all of them.
// A new entry gets a row in kernel_entries().
#pragma once

#include <bit>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "qat/kernels/cpu/attention.hpp"
#include "qat/kernels/cpu/backward_operands.hpp"
#include "qat/kernels/cpu/bf16_gemm.hpp"
#include "qat/kernels/cpu/elementwise.hpp"
#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/cpu/layernorm.hpp"
#include "qat/kernels/cpu/lsq.hpp"
#include "qat/kernels/cpu/optimizer.hpp"
#include "qat/kernels/cpu/pack_weight.hpp"
#include "qat/kernels/cpu/packed_gemm.hpp"
#include "qat/kernels/cpu/qgemm.hpp"
#include "qat/kernels/cpu/quantize.hpp"
#include "qat/kernels/cpu/rmsnorm.hpp"
#include "qat/kernels/cpu/rope.hpp"
#include "qat/kernels/cpu/scale.hpp"
#include "qat/kernels/cpu/softmax_cross_entropy.hpp"
#include "support/guarded_buffer.hpp"
#include "support/packed_weights.hpp"

namespace qat::test {

/// Makes the operands of one call in guarded memory, inputs read-only, and hashes what the call wrote.
class KernelOperands {
 public:
  explicit KernelOperands(GuardedEnd end) : end_(end) {}

  /// In [-range, range) with zeros and subnormals among them, made of exact operations: the same in any mode.
  template <class D = float>
  const D* input(index_t n, float range = 1.0f) {
    return keep<D>(n, range, true);
  }
  /// Values as input(), but writable and hashed.
  template <class D = float>
  D* in_out(index_t n, float range = 1.0f) {
    return keep<D>(n, range, false);
  }
  /// Bytes that repeat, hashed.
  template <class T = float>
  T* output(index_t n) {
    T* data = make<T>(n, false);
    if (n > 0) std::memset(static_cast<void*>(data), 0x3B, static_cast<std::size_t>(n) * sizeof(T));
    return data;
  }
  /// Integers in [low, high], read-only.
  template <class T>
  const T* integers(index_t n, int low, int high) {
    T* data = make<T>(n, true);
    for (index_t i = 0; i < n; ++i)
      data[i] = static_cast<T>(low + static_cast<int>(random_.next_below(static_cast<std::uint32_t>(high - low + 1))));
    seal();
    return data;
  }
  /// Positive, not small, read-only.
  const float* positive(index_t n) {
    float* data = make<float>(n, true);
    for (index_t i = 0; i < n; ++i)
      data[i] = std::bit_cast<float>(0x3F000000u | (random_.next_below(1u << 24)));  // [0.5, 2)
    seal();
    return data;
  }
  /// `gap` elements behind each row but the last of an output with row stride ldc must be as output() left them.
  void expect_gaps(const float* c, index_t rows, index_t columns, index_t ldc) {
    for (index_t r = 0; r + 1 < rows; ++r)
      for (index_t i = columns; i < ldc; ++i)
        if (std::bit_cast<std::uint32_t>(c[r * ldc + i]) != 0x3B3B3B3Bu) gaps_untouched_ = false;
  }

  bool intact() const {
    for (const auto& block : blocks_)
      if (!block.memory->intact()) return false;
    return gaps_untouched_;
  }
  std::uint64_t hash() const {  // FNV-1a
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (const auto& block : blocks_) {
      if (block.is_input) continue;
      for (index_t i = 0; i < block.memory->size(); ++i) hash = (hash ^ block.memory->data()[i]) * 0x100000001B3u;
    }
    return hash;
  }

 private:
  struct Block {
    std::unique_ptr<GuardedBuffer<std::uint8_t>> memory;
    bool is_input;
  };
  template <class T>
  T* make(index_t n, bool is_input) {
    blocks_.push_back(
        {std::make_unique<GuardedBuffer<std::uint8_t>>(n * static_cast<index_t>(sizeof(T)), end_), is_input});
    return reinterpret_cast<T*>(blocks_.back().memory->data());
  }
  void seal() { blocks_.back().memory->make_read_only(); }
  template <class D>
  D* keep(index_t n, float range, bool is_input) {
    D* data = make<D>(n, is_input);
    for (index_t i = 0; i < n; ++i) {
      const std::uint32_t word = random_.next_u32();
      float value = (2.0f * random_.next_float() - 1.0f) * range;
      if (word % 29 == 3) value = std::bit_cast<float>(word & 0x807FFFFFu);  // subnormal
      if (word % 31 == 5) value = std::bit_cast<float>(word & 0x80000000u);  // zero of either sign
      data[i] = static_cast<D>(value);
    }
    if (is_input) seal();
    return data;
  }

  GuardedEnd end_;
  CounterRandom random_{17};
  std::vector<Block> blocks_;
  bool gaps_untouched_ = true;
};

struct KernelEntry {
  std::string name;
  /// Makes the operands for a size; the function it returns runs the kernel. Empty: the entry has no such size.
  std::function<std::function<void()>(const CpuBackend&, KernelOperands&, index_t size)> prepare;
};

namespace detail {

inline void add_float_entries(std::vector<KernelEntry>& list) {
  using Operands = KernelOperands;
  list.push_back({"scale", [](const CpuBackend& b, Operands& o, index_t n) {
                    return [&b, n, x = o.input(n), y = o.output(n)] { kernels::scale(b, x, 0.3f, y, n); };
                  }});
  for (const Activation kind : {Activation::kSilu, Activation::kGeluTanh})
    for (const bool gated : {false, true}) {
      list.push_back({"activation", [=](const CpuBackend& b, Operands& o, index_t n) {
                        return [=, &b, gate = o.input(n), up = gated ? o.input(n) : nullptr, y = o.output(n)] {
                          kernels::activation(b, kind, gate, up, n, y);
                        };
                      }});
      for (const bool accumulate : {false, true})
        list.push_back({"activation_backward", [=](const CpuBackend& b, Operands& o, index_t n) {
                          return [=, &b, gate = o.input(n), up = gated ? o.input(n) : nullptr, dy = o.input(n),
                                  dgate = o.in_out(n), dup = gated ? o.in_out(n) : nullptr] {
                            kernels::activation_backward(b, kind, gate, up, dy, n, dgate, accumulate, dup, accumulate);
                          };
                        }});
    }
  list.push_back({"add", [](const CpuBackend& b, Operands& o, index_t n) {
                    return
                        [&b, n, x = o.input(n), y = o.input(n), out = o.output(n)] { kernels::add(b, x, y, n, out); };
                  }});
  for (const index_t times : {1, 900})  // several chunks
    list.push_back({"sum_of_squares", [=](const CpuBackend& b, Operands& o, index_t n) {
                      return [&b, n, times, x = o.input(n * times), sum = o.output<double>(1)] {
                        *sum = kernels::sum_of_squares(b, x, n * times);
                      };
                    }});
  list.push_back({"adamw", [](const CpuBackend& b, Operands& o, index_t n) {
                    return [&b, n, p = o.in_out(n), g = o.input(n), m = o.in_out(n), v = o.in_out(n)] {
                      kernels::adamw(b, p, g, m, v, n, {0.999f, 0.1f, 0.999f, 0.001f, 0.01f, 0.05f, 1e-8f});
                    };
                  }});
  list.push_back({"sgd", [](const CpuBackend& b, Operands& o, index_t n) {
                    return [&b, n, p = o.in_out(n), g = o.input(n), buffer = o.in_out(n)] {
                      kernels::sgd(b, p, g, buffer, n, 0.1f, 0.9f, 0.7f, 0.01f, true, false);
                    };
                  }});
  for (const float weight : {0.01f, 1.0f})
    list.push_back({"update_average", [weight](const CpuBackend& b, Operands& o, index_t n) {
                      return [&b, n, weight, x = o.input(n), average = o.in_out(n)] {
                        kernels::update_average(b, x, average, n, weight);
                      };
                    }});
  list.push_back({"rmsnorm", [](const CpuBackend& b, Operands& o, index_t n) {
                    return [&b, n, x = o.input(3 * n), w = o.input(n), y = o.output(3 * n), inverse = o.output(3)] {
                      kernels::rmsnorm(b, x, w, 1e-5f, 3, n, y, inverse);
                    };
                  }});
  for (const bool accumulate : {false, true})
    list.push_back({"rmsnorm_backward", [=](const CpuBackend& b, Operands& o, index_t n) {
                      constexpr index_t kRows = 131;  // several chunks
                      return [&b, n, accumulate, x = o.input(kRows * n), w = o.input(n), inverse = o.positive(kRows),
                              dy = o.input(kRows * n), dx = o.in_out(kRows * n), dw = o.in_out(n)] {
                        kernels::rmsnorm_backward(b, x, w, inverse, dy, kRows, n, dx, accumulate, dw, accumulate);
                      };
                    }});
  list.push_back({"layernorm", [](const CpuBackend& b, Operands& o, index_t n) {
                    return [&b, n, x = o.input(3 * n), w = o.input(n), bias = o.input(n), y = o.output(3 * n),
                            mean = o.output(3), inverse = o.output(3)] {
                      kernels::layernorm(b, x, w, bias, 1e-5f, 3, n, y, mean, inverse);
                    };
                  }});
  for (const bool accumulate : {false, true})
    list.push_back({"layernorm_backward", [=](const CpuBackend& b, Operands& o, index_t n) {
                      constexpr index_t kRows = 131;  // several chunks
                      return [&b, n, accumulate, x = o.input(kRows * n), w = o.input(n), mean = o.input(kRows),
                              inverse = o.positive(kRows), dy = o.input(kRows * n), dx = o.in_out(kRows * n),
                              dw = o.in_out(2 * n)] {
                        kernels::layernorm_backward(b, x, w, mean, inverse, dy, kRows, n, dx, accumulate, dw,
                                                    accumulate);
                      };
                    }});
  list.push_back({"softmax_cross_entropy", [](const CpuBackend& b, Operands& o, index_t n) -> std::function<void()> {
                    if (n == 0) return {};
                    return [&b, n, x = o.input(5 * n, 8.0f),
                            targets = o.integers<std::int32_t>(5, -1, static_cast<int>(n) - 1), losses = o.output(5),
                            dx = o.output(5 * n)] {
                      kernels::softmax_cross_entropy(b, x, targets, 5, n, -1, 0.2f, losses, dx);
                    };
                  }});
}

inline void add_rope_entries(std::vector<KernelEntry>& list) {
  for (const bool interleaved : {false, true})
    list.push_back({"rope_token", [=](const CpuBackend& b, KernelOperands& o, index_t n) -> std::function<void()> {
                      const index_t stride = 2 * n + 3, size = 2 * stride + 2 * n;  // three heads
                      return
                          [=, &b, &o, x = o.input(size), cosine = o.input(n), sine = o.input(n), y = o.output(size)] {
                            b.parallel_for(1, [&](index_t) {
                              kernels::rope_token({cosine, sine, n, -1.0f, interleaved}, x, stride, 3, y, stride);
                            });
                            o.expect_gaps(y, 3, 2 * n, stride);
                          };
                    }});
}

/// Extents with n as tokens and as head dimension; strides larger than a token.
inline kernels::AttentionExtents attention_extents(index_t n, bool decoding, index_t window) {
  kernels::AttentionExtents e{};
  e.batch = 2, e.heads = 4, e.kv_heads = 2;
  e.head_dim = n % 9 + 1;
  e.key_tokens = n, e.query_tokens = decoding ? 1 : n;
  e.q_stride = e.heads * e.head_dim + 3, e.kv_stride = e.kv_heads * e.head_dim + 1;
  e.q_batch_stride = e.query_tokens * e.q_stride, e.kv_batch_stride = e.key_tokens * e.kv_stride;
  e.scale = 0.4f;
  e.window = window;
  return e;
}

inline void add_attention_entries(std::vector<KernelEntry>& list) {
  using Operands = KernelOperands;
  for (const index_t window : {index_t{0}, index_t{11}})
    for (const bool decoding : {false, true}) {
      list.push_back({decoding ? "attention, one query" : "attention",
                      [=](const CpuBackend& b, Operands& o, index_t n) -> std::function<void()> {
                        if (n == 0) return {};
                        const kernels::AttentionExtents e = attention_extents(n, decoding, window);
                        // The last token of the last sequence has no gap behind it.
                        const index_t q_size = e.batch * e.q_batch_stride - 3,
                                      kv_size = e.batch * e.kv_batch_stride - 1;
                        const index_t rows = e.batch * e.heads * e.query_tokens;
                        return [&b, &o, e, q = o.input(q_size), k = o.input(kv_size), v = o.input(kv_size),
                                out = o.output(q_size), high = o.output(rows), inverse = o.output(rows)] {
                          kernels::attention(b, e, q, k, v, out, high, inverse);
                          o.expect_gaps(out, e.batch * e.query_tokens, e.q_stride - 3, e.q_stride);
                        };
                      }});
      list.push_back(
          {decoding ? "attention_backward, one query" : "attention_backward",
           [=](const CpuBackend& b, Operands& o, index_t n) -> std::function<void()> {
             if (n == 0) return {};
             const kernels::AttentionExtents e = attention_extents(n, decoding, window);
             const index_t q_size = e.batch * e.q_batch_stride - 3, kv_size = e.batch * e.kv_batch_stride - 1;
             const index_t rows = e.batch * e.heads * e.query_tokens;
             return [&b, &o, e, q = o.input(q_size), k = o.input(kv_size), v = o.input(kv_size), out = o.input(q_size),
                     high = o.positive(rows), inverse = o.positive(rows), dout = o.input(q_size), dq = o.output(q_size),
                     dk = o.output(kv_size), dv = o.output(kv_size)] {
               kernels::attention_backward(b, e, q, k, v, out, high, inverse, dout, dq, dk, dv);
               o.expect_gaps(dq, e.batch * e.query_tokens, e.q_stride - 3, e.q_stride);
               o.expect_gaps(dk, e.batch * e.key_tokens, e.kv_stride - 1, e.kv_stride);
               o.expect_gaps(dv, e.batch * e.key_tokens, e.kv_stride - 1, e.kv_stride);
             };
           }});
    }
}

/// M, N and K from one number, so that a list of sizes gives every mix of whole and ragged tiles.
struct Extents {
  index_t m, n, k;
  explicit Extents(index_t size) : m(size % 41), n(size), k((size * 7 + 3) % 150) {}
};

inline void add_matrix_entries(std::vector<KernelEntry>& list) {
  using Operands = KernelOperands;
  using kernels::MatrixOperand;
  const auto add_gemm = [&list](const char* what, bool a_by_rows, bool b_by_rows, bool accumulate, index_t more_m,
                                index_t more_k) {
    list.push_back({std::string("gemm") + (a_by_rows ? ", A by rows" : ", A by k") +
                        (b_by_rows ? ", B by rows" : ", B by k") + what,
                    [=](const CpuBackend& backend, Operands& o, index_t size) -> std::function<void()> {
                      const Extents e(size);
                      const index_t m = e.m + more_m, k = e.k + more_k, ldc = e.n + 2, c_size = m > 0 ? m * ldc - 2 : 0;
                      const float *a = o.input(m * k), *b = o.input(e.n * k), *bias = o.input(e.n);
                      const MatrixOperand ma = a_by_rows ? MatrixOperand{a, k, 1} : MatrixOperand{a, 1, m};
                      const MatrixOperand mb = b_by_rows ? MatrixOperand{b, k, 1} : MatrixOperand{b, 1, e.n};
                      float* c = o.output(c_size < 0 ? 0 : c_size);
                      if (e.n == 0) return {};
                      return [=, &backend, &o] {
                        kernels::gemm(backend, m, e.n, k, ma, mb, c, ldc, accumulate, accumulate ? nullptr : bias);
                        o.expect_gaps(c, m, e.n, ldc);
                      };
                    }});
  };
  for (const bool accumulate : {false, true}) {
    for (const bool a_by_rows : {true, false})
      for (const bool b_by_rows : {true, false}) add_gemm("", a_by_rows, b_by_rows, accumulate, 0, 0);
    add_gemm(", B read in place", true, true, accumulate, 0, 256);
    add_gemm(", A read in place", true, true, accumulate, 128, 0);
    add_gemm(", A turned", false, false, accumulate, 128, 0);
  }
  for (const char* scheme : packed_schemes()) {
    const QuantSpec spec = parse_spec(scheme);
    const auto weights = [spec](const Extents& e) -> std::shared_ptr<RandomWeights> {
      const bool fits = e.n > 0 && e.k > 0 &&
                        (spec.granularity.kind != GranularityKind::kPerGroup || spec.granularity.group_size <= e.k);
      return fits ? std::make_shared<RandomWeights>(spec, e.n, e.k) : nullptr;
    };
    list.push_back(
        {std::string("gemm, packed ") + scheme,
         [=](const CpuBackend& backend, Operands& o, index_t size) -> std::function<void()> {
           const Extents e(size);
           const auto w = weights(e);
           if (w == nullptr) return {};
           return [=, &backend, x = o.input(e.m * e.k), c = o.output(e.m * e.n)] {
             kernels::gemm(backend, e.m, e.n, e.k, MatrixOperand{x, e.k, 1}, kernels::PackedOperand(w->packed), c, e.n);
           };
         }});
    list.push_back({std::string("gemm, columns of packed ") + scheme,
                    [=](const CpuBackend& backend, Operands& o, index_t size) -> std::function<void()> {
                      const Extents e(size);
                      const auto w = weights(e);
                      if (w == nullptr) return {};
                      return [=, &backend, dy = o.input(e.m * e.n), dx = o.output(e.m * e.k)] {
                        kernels::gemm(backend, e.m, e.k, e.n, MatrixOperand{dy, e.n, 1},
                                      kernels::PackedColumns(w->packed), dx, e.k);
                      };
                    }});
    for (const bool bf16 : {false, true})
      list.push_back({std::string(bf16 ? "bf16_gemm, " : "packed_gemm, ") + scheme,
                      [=](const CpuBackend& backend, Operands& o, index_t size) -> std::function<void()> {
                        const Extents e(size);
                        const auto w = weights(e);
                        if (w == nullptr || e.m == 0) return {};
                        const index_t ldx = e.k + 5, ldc = e.n + 2;
                        return [=, &backend, &o, x = o.input(e.m * ldx - 5), bias = o.input(e.n),
                                c = o.output(e.m * ldc - 2)] {
                          if (bf16) {
                            kernels::bf16_gemm(backend, e.m, {x, ldx, 1}, w->packed, c, ldc, bias);
                          } else {
                            kernels::packed_gemm(backend, e.m, {x, ldx, 1}, w->packed, c, ldc, bias);
                          }
                          o.expect_gaps(c, e.m, e.n, ldc);
                        };
                      }});
    if (has_float_zero_point(spec.mapping)) continue;
    enum class Parameters { kScales, kZeroPoints, kGroups };
    for (const auto parameters : {Parameters::kScales, Parameters::kZeroPoints, Parameters::kGroups})
      list.push_back(
          {std::string(parameters == Parameters::kGroups ? "qgemm, groups of activations, " : "qgemm, ") + scheme,
           [=](const CpuBackend& backend, Operands& o, index_t size) -> std::function<void()> {
             const Extents e(size);
             const auto w = weights(e);
             if (w == nullptr || e.m == 0) return {};
             const index_t stride = e.k + 5, ldc = e.n + 2;
             kernels::QuantizedActivations x;
             x.codes = o.integers<std::int8_t>(e.m * stride - 5, -128, 127);
             x.stride = stride;
             x.scale_columns = parameters == Parameters::kGroups ? 32 : 0;
             x.scales = o.positive(e.m * x.groups(e.k));
             if (parameters == Parameters::kZeroPoints) x.zero_points = o.integers<std::int32_t>(e.m, -128, 127);
             return [=, &backend, &o, bias = o.input(e.n), c = o.output(e.m * ldc - 2)] {
               kernels::qgemm(backend, e.m, x, w->packed, c, ldc, bias);
               o.expect_gaps(c, e.m, e.n, ldc);
             };
           }});
  }
}

inline void add_training_entries(std::vector<KernelEntry>& list) {
  using Operands = KernelOperands;
  list.push_back(
      {"gemm, columns of activations", [](const CpuBackend& b, Operands& o, index_t size) -> std::function<void()> {
         const Extents e(size);
         if (e.m == 0 || e.n == 0) return {};
         return [=, &b, dy = o.input(e.k * e.m), codes = o.integers<std::int8_t>(e.k * e.n, -128, 127),
                 scale = o.positive(e.k), zero = o.integers<float>(e.k, -128, 127), dw = o.in_out(e.m * e.n)] {
           kernels::gemm(b, e.m, e.n, e.k, kernels::MatrixOperand{dy, 1, e.m},
                         kernels::ActivationColumns{codes, e.n, scale, zero}, dw, e.n, true);
         };
       }});
  for (const char* scheme : {"int4:group32:symmetric:bf16safe", "uint4:group7:asymmetric", "int8:axis0:symmetric",
                             "int4:block3x6:asymmetric", "uint3:group8:float_zero_point:float16"}) {
    const QuantSpec spec = parse_spec(scheme);
    list.push_back({std::string("quantize_and_pack, ") + scheme,
                    [spec](const CpuBackend& b, Operands& o, index_t size) -> std::function<void()> {
                      const Extents e(size);
                      const index_t rows = e.m + 1, group = spec.granularity.group_size;
                      if (size == 0 || (spec.granularity.kind == GranularityKind::kPerGroup && group > size)) return {};
                      const index_t tiles = group_layout(spec.granularity, rows, size).count();
                      const index_t bytes = PanelLayout{spec.bits, rows, size}.bytes();
                      return [=, &b, w = o.input(rows * size), scale = o.output(tiles), zero = o.output(tiles),
                              codes = o.output<std::uint8_t>(bytes)] {
                        PackedWeight packed;
                        kernels::quantize_and_pack(b, spec, w, rows, size, packed, scale, zero);
                        std::memcpy(codes, packed.data(), static_cast<std::size_t>(bytes));
                      };
                    }});
    list.push_back({std::string("quantize_and_pack_static, ") + scheme,
                    [spec](const CpuBackend& b, Operands& o, index_t size) -> std::function<void()> {
                      const Extents e(size);
                      const index_t rows = e.m + 1, group = spec.granularity.group_size;
                      if (size == 0 || (spec.granularity.kind == GranularityKind::kPerGroup && group > size)) return {};
                      const index_t tiles = group_layout(spec.granularity, rows, size).count();
                      const index_t bytes = PanelLayout{spec.bits, rows, size}.bytes();
                      const float* zero = has_constant_zero_point(spec.mapping)
                                              ? nullptr
                                              : o.integers<float>(tiles, spec.qmin(), spec.qmax());
                      return [=, &b, w = o.input(rows * size), scale = o.integers<float>(tiles, 1, 5),
                              codes = o.output<std::uint8_t>(bytes)] {
                        PackedWeight packed;
                        kernels::quantize_and_pack_static(b, spec, w, rows, size, packed, scale, zero);
                        std::memcpy(codes, packed.data(), static_cast<std::size_t>(bytes));
                      };
                    }});
  }
}

/// f(backend, operands, spec, rows, columns, tiles) -> call, for sizes the scheme takes.
template <class F>
void add_quantize_entry(std::vector<KernelEntry>& list, const char* what, const char* type, const QuantSpec& spec,
                        F f) {
  list.push_back({std::string(what) + ", " + type + ", " + std::string(to_string(spec).c_str()),
                  [=](const CpuBackend& b, KernelOperands& o, index_t n) -> std::function<void()> {
                    if (n == 0) return {};
                    if (spec.granularity.kind == GranularityKind::kPerGroup && spec.granularity.group_size > n)
                      return {};
                    return f(b, o, spec, index_t{3}, n, group_layout(spec.granularity, 3, n).count());
                  }});
}

template <class D>
void add_quantize_entries(std::vector<KernelEntry>& list, const char* type, const QuantSpec& spec) {
  using Operands = KernelOperands;
  using Call = std::function<void()>;
  const int low = spec.qmin(), high = spec.qmax();
  add_quantize_entry(list, "choose_qparams", type, spec,
                     [](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
                       return [=, &b, x = o.input<D>(r * c), scale = o.output(t), zero = o.output(t)] {
                         kernels::choose_qparams(b, s, x, r, c, scale, zero);
                       };
                     });
  add_quantize_entry(list, "fake_quantize_dynamic", type, spec,
                     [](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
                       return
                           [=, &b, x = o.input<D>(r * c), y = o.output<D>(r * c), scale = o.output(t),
                            zero = o.output(t)] { kernels::fake_quantize_dynamic(b, s, x, r, c, y, scale, zero, 3); };
                     });
  add_quantize_entry(
      list, "fake_quantize", type, spec,
      [=](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
        return [=, &b, x = o.input<D>(r * c), scale = o.positive(t), zero = o.integers<float>(t, low, high),
                y = o.output<D>(r * c)] { kernels::fake_quantize(b, s, x, r, c, scale, zero, y, 3); };
      });
  add_quantize_entry(list, "fake_quantize_dynamic_masked", type, spec,
                     [](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
                       return [=, &b, x = o.input<D>(r * c), y = o.output<D>(r * c), scale = o.output(t),
                               zero = o.output(t), mask = o.output<std::uint8_t>((r * c + 7) / 8)] {
                         kernels::fake_quantize_dynamic_masked(b, s, x, r, c, y, scale, zero, SteMask::kInclusive, mask,
                                                               3);
                       };
                     });
  add_quantize_entry(
      list, "quantize", type, spec,
      [=](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
        return [=, &b, x = o.input<D>(r * c), scale = o.positive(t), zero = o.integers<float>(t, low, high),
                q = o.output<std::int8_t>(r * c)] { kernels::quantize(b, s, x, r, c, scale, zero, q, 3); };
      });
  add_quantize_entry(list, "quantize_dynamic", type, spec,
                     [](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
                       return [=, &b, x = o.input<D>(r * c), q = o.output<std::int8_t>(r * c), scale = o.output(t),
                               zero = o.output(t)] { kernels::quantize_dynamic(b, s, x, r, c, q, scale, zero, 3); };
                     });
  add_quantize_entry(list, "quantize_dynamic_masked", type, spec,
                     [](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
                       return [=, &b, x = o.input<D>(r * c), q = o.output<std::int8_t>(r * c), scale = o.output(t),
                               zero = o.output(t), mask = o.output<std::uint8_t>((r * c + 7) / 8)] {
                         kernels::quantize_dynamic_masked(b, s, x, r, c, q, scale, zero, SteMask::kStrict, mask, 3);
                       };
                     });
  add_quantize_entry(
      list, "dequantize", type, spec,
      [=](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
        return [=, &b, q = o.integers<std::int8_t>(r * c, low, high), scale = o.positive(t),
                zero = o.integers<float>(t, low, high),
                y = o.output<D>(r * c)] { kernels::dequantize(b, s, q, r, c, scale, zero, y); };
      });
  for (const bool accumulate : {false, true}) {
    add_quantize_entry(
        list, "fake_quantize_backward", type, spec,
        [=](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
          return [=, &b, dy = o.input<D>(r * c), x = o.input<D>(r * c), scale = o.positive(t),
                  zero = o.integers<float>(t, low, high), dx = o.in_out<D>(r * c)] {
            kernels::fake_quantize_backward(b, s, dy, x, r, c, scale, zero, SteMask::kInclusive, dx, accumulate, 3);
          };
        });
    add_quantize_entry(
        list, "fake_quantize_backward_masked", type, spec,
        [=](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t t) -> Call {
          return [=, &b, dy = o.input<D>(r * c), mask = o.integers<std::uint8_t>((r * c + 7) / 8, 0, 255),
                  scale = o.positive(t), zero = o.integers<float>(t, low, high), dx = o.in_out<D>(r * c)] {
            kernels::fake_quantize_backward_masked(b, s, dy, mask, r, c, scale, zero, dx, accumulate);
          };
        });
  }
  add_quantize_entry(list, "fake_quantize_backward, pass-through", type, spec,
                     [](const CpuBackend& b, Operands& o, const QuantSpec& s, index_t r, index_t c, index_t) -> Call {
                       return [=, &b, dy = o.input<D>(r * c), dx = o.in_out<D>(r * c)] {
                         kernels::fake_quantize_backward(b, s, dy, static_cast<const D*>(nullptr), r, c, nullptr,
                                                         nullptr, SteMask::kPassThrough, dx, true);
                       };
                     });
}

inline void add_lsq_entries(std::vector<KernelEntry>& list, const QuantSpec& spec) {
  for (const bool accumulate : {false, true})
    add_quantize_entry(list, "lsq_backward", "float", spec,
                       [=](const CpuBackend& b, KernelOperands& o, const QuantSpec& s, index_t r, index_t c,
                           index_t t) -> std::function<void()> {
                         return [=, &b, dy = o.input(r * c), x = o.input(r * c, 5.0f), scale = o.positive(t),
                                 zero = o.integers<float>(t, s.qmin(), s.qmax()), dx = o.in_out(r * c),
                                 dscale = o.in_out(t)] {
                           kernels::lsq_backward(b, s, dy, x, r, c, scale, zero, SteMask::kInclusive, 0.3f, dx,
                                                 accumulate, dscale, accumulate, 3);
                         };
                       });
}

}  // namespace detail

inline std::vector<KernelEntry> kernel_entries() {
  std::vector<KernelEntry> list;
  detail::add_float_entries(list);
  detail::add_attention_entries(list);
  detail::add_rope_entries(list);
  detail::add_matrix_entries(list);
  detail::add_training_entries(list);
  for (const char* scheme : {"int4:group32:symmetric", "uint4:group7:asymmetric", "int8:token:asymmetric",
                             "int4:group32:signed_extremum:bf16safe", "uint4:group16:float_zero_point",
                             "int8:axis0:symmetric_no_clip", "int8:tensor:asymmetric", "int4:axis1:symmetric"})
    detail::add_quantize_entries<float>(list, "float", parse_spec(scheme));
  for (const char* scheme : {"int4:group32:symmetric", "uint4:group7:asymmetric", "int8:axis0:symmetric_no_clip",
                             "int8:tensor:asymmetric", "int4:axis1:symmetric"})
    detail::add_lsq_entries(list, parse_spec(scheme));
  for (const char* scheme :
       {"int4:group32:symmetric:float16", "int8:token:asymmetric", "uint3:group7:float_zero_point"}) {
    detail::add_quantize_entries<half>(list, "half", parse_spec(scheme));
    detail::add_quantize_entries<bfloat16>(list, "bfloat16", parse_spec(scheme));
  }
  return list;
}

}  // namespace qat::test
