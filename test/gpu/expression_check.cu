// Expressions on the device against the same expressions on the processor, bit for bit.
#include "gpu/check.hpp"
#include "qat/base/random.hpp"
#include "qat/expr/assign.hpp"
#include "qat/numeric/bfloat16.hpp"
#include "qat/ops/assign.cuh"
#include "support/random_values.hpp"

namespace qat::test::gpu {
namespace {

/// Normal numbers with those that break kernels among them.
std::vector<float> hard_values(index_t n, std::uint64_t seed) {
  std::vector<float> x = normal_values(n, seed);
  const std::uint32_t special[] = {0u,          0x80000000u, 0x7FC00000u, 0x7F800000u, 0xFF800000u, 1u,
                                   0x807FFFFFu, 0x7F7FFFFFu, 0x3F000000u, 0xBFC00000u, 0x40200000u, 0x4B000000u};
  CounterRandom random(seed + 1);
  for (float& v : x)
    if (const std::uint32_t r = random.next_u32(); r % 16 == 0) v = bit_cast<float>(special[r / 16 % 12]);
  return x;
}

/// The processor, its plainest form alone: a check program need not compile an expression once per instruction set.
struct Baseline {};
template <class D, class E>
void assign(Baseline, const D& destination, const E& expression) {
  const auto a = expr::checked_assignment(destination, expression);
  expr::baseline::evaluate_rows<false>(a.e, a.destination, a.shape, 0, a.rows, 0, a.columns);
}

/// A vector in both memories.
template <class T>
struct Both {
  std::vector<T> host;
  cuda::DeviceBuffer<T> device;
  Both(const Device& d, std::vector<T> values) : host(std::move(values)), device(to_device(d, host)) {}
};

/// write(backend, pointers...) with host and with device memory; the first one is compared.
template <class T, class Write, class... Operand>
void same_bits(const Device& device, Report& report, const std::string& what, const Both<T>& y, Write write,
               const Both<Operand>&... operand) {
  std::vector<T> expected = y.host;
  write(Baseline{}, expected.data(), operand.host.data()...);
  const auto actual = to_device(device, y.host);
  write(device.backend, actual.data(), static_cast<const Operand*>(operand.device.data())...);
  report.expect(what, compare_bits<T>(expected, to_host(device, actual)));
}

void elements(const Device& device, Report& report, index_t R, index_t C) {
  const std::string size = " " + std::to_string(R) + "x" + std::to_string(C);
  const index_t n = R * C;
  const Both<float> y(device, std::vector<float>(static_cast<std::size_t>(n), 7.0f)), a(device, hard_values(n, 1)),
      b(device, hard_values(n, 2)), c(device, hard_values(n, 3));
  const auto compare = [&](const char* what, auto expression) {
    same_bits(
        device, report, what + size, y,
        [&](const auto& backend, float* to, const float* pa, const float* pb, const float* pc) {
          assign(backend, view(to, R, C), expression(view(pa, R, C), view(pb, R, C), view(pc, R, C)));
        },
        a, b, c);
  };
  using V = View<const float, 2>;
  compare("a / b + c * 3", [](V p, V q, V r) { return p / q + r * 3.0f; });
  compare("where, clamp, min, round, rows repeated", [](V p, V q, V r) {
    return where(p < q, clamp(r, -2.0f, 2.0f),
                 (min)(p, round(abs(q) * 4.0f) + as_row(View<const float, 1>{r.data, {r.shape[1]}, {1}})));
  });
  for (const char* text : {"int4:group32:symmetric", "uint4:group32:asymmetric", "int8:group24:asymmetric",
                           "uint4:group32:float_zero_point", "int4:group16:signed_extremum:bf16safe"}) {
    const QuantSpec spec = parse_spec(text);
    if (spec.granularity.group_size > C) continue;
    compare(text, [&](V p, V q, V r) { return fake_quantize(p * 0.5f + q, spec) - r; });
  }
}

void quantized(const Device& device, Report& report, index_t R, index_t C) {
  const std::string size = " " + std::to_string(R) + "x" + std::to_string(C);
  const index_t n = R * C;
  for (const char* text : {"int4:group32:symmetric", "int4:group5:asymmetric", "int4:axis0:asymmetric"}) {
    const QuantSpec spec = parse_spec(text);
    if (spec.granularity.group_size > C) continue;
    const GroupLayout layout = group_layout(spec.granularity, R, C);
    std::vector<float> scales = uniform_values(layout.count(), 5), zeros = scales;
    for (float& s : scales) s = s < 0.0f ? 0.01f - s : 0.01f + s;
    for (float& z : zeros) z = static_cast<float>(static_cast<int>(z * 6.0f));
    const Both<float> x(device, hard_values(n, 4)), y(device, std::vector<float>(static_cast<std::size_t>(n), 7.0f)),
        scale(device, scales), zero(device, zeros);
    const auto parameters = [&](const float* s, const float* z) {
      return GroupQParams{view(s, layout.tile_row_count, layout.tiles_per_row),
                          view(z, layout.tile_row_count, layout.tiles_per_row)};
    };
    same_bits(
        device, report, std::string("fake_quantize ") + text + size, y,
        [&](const auto& backend, float* to, const float* from, const float* s, const float* z) {
          assign(backend, view(to, R, C), fake_quantize(view(from, R, C), parameters(s, z), spec));
        },
        x, scale, zero);
    const Both<std::uint8_t> codes(device,
                                   std::vector<std::uint8_t>(static_cast<std::size_t>(packed_bytes(n, 4)), 0x5A));
    same_bits(
        device, report, std::string("quantize to packed ") + text + size, codes,
        [&](const auto& backend, std::uint8_t* to, const float* from, const float* s, const float* z) {
          assign(backend, packed_view<Int4>(to, R, C), quantize<Int4>(view(from, R, C), parameters(s, z), spec));
        },
        x, scale, zero);
    same_bits(
        device, report, std::string("dequantize packed ") + text + size, y,
        [&](const auto& backend, float* to, const std::uint8_t* from, const float* s, const float* z) {
          assign(backend, view(to, R, C), dequantize(packed_view<Int4>(from, R, C), parameters(s, z), spec));
        },
        codes, scale, zero);
  }
}

void check(const Device& device, Report& report) {
  for (const index_t columns : {index_t{33}, index_t{256}}) {
    elements(device, report, 37, columns);
    quantized(device, report, 37, columns);
  }
  if (!device.large) return;
  elements(device, report, 1031, 4096);
  quantized(device, report, 1031, 4096);
}

const Registration registered("expressions: the bits of the processor", check);

}  // namespace
}  // namespace qat::test::gpu
