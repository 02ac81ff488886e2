// Fused passes on the device: AdamW against the processor's passes, RMSNorm and activations against their own
// unquantized output quantized by the reference, and against the formulas in double.
#include <cmath>

#include "gpu/check.hpp"
#include "qat/kernels/cpu/optimizer.hpp"
#include "qat/kernels/cuda/activation.hpp"
#include "qat/kernels/cuda/adamw.hpp"
#include "qat/kernels/cuda/rmsnorm.hpp"
#include "qat/kernels/reference/quantize.hpp"
#include "support/random_values.hpp"

namespace qat::test::gpu {
namespace {

template <class T>
std::vector<T> rounded(const std::vector<float>& x) {
  std::vector<T> y;
  for (const float v : x) y.push_back(static_cast<T>(v));
  return y;
}
template <class T>
std::vector<float> widened(const std::vector<T>& x) {
  std::vector<float> y;
  for (const T v : x) y.push_back(static_cast<float>(v));
  return y;
}

/// Two steps of one tensor. spec null: plain.
template <class G>
void compare_adamw(const Device& device, Report& report, const char* text, index_t rows, index_t columns,
                   bool learned) {
  const CpuBackend cpu(1);
  const std::string what = std::string("adamw ") + (text == nullptr ? "plain" : text) + (learned ? " learned " : " ") +
                           std::to_string(rows) + "x" + std::to_string(columns);
  const index_t n = rows * columns;
  const QuantSpec spec = text == nullptr ? QuantSpec{} : parse_spec(text);
  const index_t tiles = text == nullptr ? 0 : group_layout(spec.granularity, rows, columns).count();
  std::vector<float> value = normal_values(n, 1), mean = normal_values(n, 2), square = uniform_values(n, 3);
  for (float& v : square) v = v * v;
  const auto tile_count = static_cast<std::size_t>(tiles);
  std::vector<float> scale(tile_count), zero(tile_count), trained_mean(tile_count), trained_square(tile_count);
  if (text != nullptr) kernels::reference::choose_qparams(spec, value.data(), rows, columns, scale.data(), zero.data());
  std::vector<float> trained = scale;
  const auto device_value = to_device(device, value), device_mean = to_device(device, mean);
  const auto device_square = to_device(device, square);
  const cuda::DeviceBuffer<bfloat16> device_copy(n);
  const cuda::DeviceBuffer<G> device_gradient(n);
  cuda::DeviceBuffer<float> device_scale, device_zero, device_trained, device_trained_mean, device_trained_square;
  cuda::AdamWTensor<G, bfloat16> t;
  t.name = what.c_str();
  t.rows = rows, t.columns = columns;
  t.value = device_value.data(), t.gradient = device_gradient.data(), t.mean = device_mean.data();
  t.square = device_square.data(), t.copy = device_copy.data();
  if (text != nullptr) {
    device_scale = to_device(device, scale), device_zero = to_device(device, zero);
    t.scale = device_scale.data(), t.zero_point = device_zero.data(), t.spec = spec;
  }
  if (learned) {
    device_trained = to_device(device, trained), device_trained_mean = to_device(device, trained_mean);
    device_trained_square = to_device(device, trained_square);
    t.learned = device_trained.data(), t.learned_mean = device_trained_mean.data();
    t.learned_square = device_trained_square.data();
    t.lsq_factor = 0.125f;
  }
  std::vector<cuda::AdamWWork> works(static_cast<std::size_t>(cuda::plan_adamw(&t, 1, nullptr).works));
  const cuda::AdamWPlan plan = cuda::plan_adamw(&t, 1, works.data());
  const auto device_table = to_device(device, std::vector<cuda::AdamWTensor<G, bfloat16>>{t});
  const auto device_works = to_device(device, works);
  const cuda::DeviceBuffer<float> norm(2);
  for (int step = 1; step <= 2; ++step) {
    const std::vector<G> gradient = rounded<G>(uniform_values(n, 10 + static_cast<std::uint64_t>(step), 0.01f));
    cuda::device_copy(device.backend, device_gradient.data(), gradient.data(), gradient.size() * sizeof(G));
    cuda::AdamWStep numbers;
    numbers.factors[0] = kernels::adamw_factors(1e-2, 0.9, 0.95, 1e-8, 0.1, step);
    cuda::gradient_norm(device.backend, device_table.data(), device_works.data(), plan, 1e9, norm.data());
    cuda::adamw(device.backend, device_table.data(), device_works.data(), plan, numbers);

    std::vector<float> g = widened(gradient), dscale(tile_count);
    if (learned)
      kernels::reference::lsq_scale_gradient(spec, g.data(), value.data(), rows, columns, scale.data(), zero.data(),
                                             SteMask::kInclusive, t.lsq_factor, dscale.data());
    if (text != nullptr)
      kernels::reference::fake_quantize_backward(spec, g.data(), value.data(), rows, columns, scale.data(), zero.data(),
                                                 SteMask::kInclusive, g.data());
    double squares = 0;
    for (const float v : g) squares += double{v} * double{v};
    for (const float v : dscale) squares += double{v} * double{v};
    kernels::adamw(cpu, value.data(), g.data(), mean.data(), square.data(), n, numbers.factors[0]);
    if (learned) {
      kernels::adamw(cpu, trained.data(), dscale.data(), trained_mean.data(), trained_square.data(), tiles,
                     numbers.factors[0]);
      for (std::size_t i = 0; i < tile_count; ++i)
        scale[i] = stored_scale(trained[i], AffineScheme(spec, FloatType::kFloat32));
      report.expect(what + " learned", compare_bits<float>(trained, to_host(device, device_trained)));
    } else if (text != nullptr) {
      kernels::reference::choose_qparams(spec, value.data(), rows, columns, scale.data(), zero.data());
    }
    std::vector<float> copy = value;
    if (text != nullptr) {
      kernels::reference::fake_quantize(spec, value.data(), rows, columns, scale.data(), zero.data(), copy.data());
      report.expect(what + " scale", compare_bits<float>(scale, to_host(device, device_scale)));
      report.expect(what + " zero point", compare_bits<float>(zero, to_host(device, device_zero)));
    }
    report.expect(what + " value", compare_bits<float>(value, to_host(device, device_value)));
    report.expect(what + " mean", compare_bits<float>(mean, to_host(device, device_mean)));
    report.expect(what + " square", compare_bits<float>(square, to_host(device, device_square)));
    report.expect(what + " copy", compare_bits<bfloat16>(rounded<bfloat16>(copy), to_host(device, device_copy)));
    report.expect(what + " norm", compare_ulp(std::vector<float>{static_cast<float>(std::sqrt(squares))},
                                              std::vector<float>{to_host(device, norm)[0]}, 1));
  }
}

void adamw(const Device& device, Report& report) {
  const index_t more = device.large ? 40 : 1;
  const char* const schemes[] = {nullptr,
                                 "int4:group32:symmetric",
                                 "int4:group64:signed_extremum:bf16safe",
                                 "uint4:group128:asymmetric",
                                 "int3:group256:symmetric",
                                 "int8:axis0:symmetric",
                                 "int4:group96:asymmetric"};
  for (const char* text : schemes) {
    for (const index_t columns : {index_t{768}, index_t{4608}}) {
      compare_adamw<float>(device, report, text, 5 * more, columns, false);
      compare_adamw<bfloat16>(device, report, text, 3 * more, columns, false);
      if (text != nullptr) compare_adamw<bfloat16>(device, report, text, 2 * more, columns, true);
    }
  }
  compare_adamw<float>(device, report, nullptr, 1, 37, false);
}

constexpr const char* kActivationSchemes[] = {"int8:token:symmetric", "int8:token:asymmetric", "int8:group32:symmetric",
                                              "int4:group64:asymmetric:bfloat16"};

/// run(output) computes a pass (rows, columns) of T: quantized it has the bits of the definition on the unquantized.
template <class T, class F>
void compare_quantized(const Device& device, Report& report, const std::string& what, index_t rows, index_t columns,
                       const F& run) {
  const index_t n = rows * columns;
  const cuda::DeviceBuffer<T> device_plain(n), device_y(n);
  cuda::QuantizedOutput<T> out;
  out.y = device_plain.data();
  run(out);
  const std::vector<T> plain = to_host(device, device_plain);
  for (const char* text : kActivationSchemes) {
    const QuantSpec spec = parse_spec(text);
    const index_t tiles = group_layout(spec.granularity, rows, columns).count();
    const cuda::DeviceBuffer<float> device_scale(tiles), device_zero(tiles);
    const cuda::DeviceBuffer<std::int8_t> device_codes(n);
    const cuda::DeviceBuffer<std::uint8_t> device_mask(n / 8);
    out = {&spec,
           device_y.data(),
           device_codes.data(),
           device_scale.data(),
           device_zero.data(),
           device_mask.data(),
           SteMask::kInclusive,
           nullptr};
    run(out);
    std::vector<T> y(plain.size());
    std::vector<float> scale(static_cast<std::size_t>(tiles)), zero(static_cast<std::size_t>(tiles));
    std::vector<std::int8_t> codes(plain.size());
    std::vector<std::uint8_t> mask(plain.size() / 8);
    namespace reference = kernels::reference;
    reference::fake_quantize_dynamic(spec, plain.data(), rows, columns, y.data(), scale.data(), zero.data());
    reference::quantize(spec, plain.data(), rows, columns, scale.data(), zero.data(), codes.data());
    reference::gradient_mask(spec, plain.data(), rows, columns, scale.data(), zero.data(), SteMask::kInclusive,
                             mask.data());
    const std::string which = what + " " + text;
    report.expect(which + " y", compare_bits<T>(y, to_host(device, device_y)));
    report.expect(which + " scale", compare_bits<float>(scale, to_host(device, device_scale)));
    report.expect(which + " zero point", compare_bits<float>(zero, to_host(device, device_zero)));
    report.expect(which + " codes", compare_bits<std::int8_t>(codes, to_host(device, device_codes)));
    report.expect(which + " mask", compare_bits<std::uint8_t>(mask, to_host(device, device_mask)));
  }
}

/// |found - wanted| <= relative |wanted| + absolute, for every element.
void expect_near(Report& report, const std::string& what, const std::vector<double>& wanted,
                 const std::vector<float>& found, double relative, double absolute) {
  std::size_t off = 0;
  double worst = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double error = std::fabs(double{found[i]} - wanted[i]);
    off += !(error <= relative * std::fabs(wanted[i]) + absolute);
    worst = std::fmax(worst, error);
  }
  report.expect(
      what, off == 0 && wanted.size() == found.size(),
      std::to_string(off) + " of " + std::to_string(wanted.size()) + " off, the worst by " + std::to_string(worst));
}

template <class T>
void compare_rmsnorm(const Device& device, Report& report, index_t rows, index_t columns) {
  const index_t n = rows * columns;
  const std::string what = std::string("rmsnorm ") + (sizeof(T) == 2 ? "bfloat16 " : "float32 ") +
                           std::to_string(rows) + "x" + std::to_string(columns);
  const std::vector<T> x = rounded<T>(normal_values(n, 1)), residual = rounded<T>(normal_values(n, 2));
  const std::vector<T> dy = rounded<T>(normal_values(n, 3));
  const std::vector<float> weight = uniform_values(columns, 4, 2.0f);
  const auto device_x = to_device(device, x), device_residual = to_device(device, residual);
  const auto device_dy = to_device(device, dy);
  const auto device_weight = to_device(device, weight);
  const cuda::DeviceBuffer<T> device_sum(n), device_dx(n);
  const cuda::DeviceBuffer<float> device_inv(rows), device_dweight(columns);
  cuda::RmsNormArgs<T> args;
  args.x = device_x.data(), args.weight = device_weight.data(), args.rows = rows, args.columns = columns;
  args.inv_rms = device_inv.data();
  for (const bool with_residual : {false, true}) {
    args.residual = with_residual ? device_residual.data() : nullptr;
    args.sum = with_residual ? device_sum.data() : nullptr;
    compare_quantized<T>(device, report, what, rows, columns, [&](const cuda::QuantizedOutput<T>& out) {
      args.output = out;
      cuda::rmsnorm(device.backend, args);
    });
  }
  const std::vector<float> h = widened(to_host(device, device_sum)), inv = to_host(device, device_inv), d = widened(dy);
  std::vector<double> wanted_inv, dx, dweight(static_cast<std::size_t>(columns));
  const auto width = static_cast<std::size_t>(columns);
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    double squares = 0, mean = 0;
    for (std::size_t i = 0; i < width; ++i) squares += double{h[r * width + i]} * double{h[r * width + i]};
    wanted_inv.push_back(1 / std::sqrt(squares / static_cast<double>(columns) + double{args.eps}));
    for (std::size_t i = 0; i < width; ++i) {
      const double normalized = double{h[r * width + i]} * wanted_inv[r];
      mean += double{d[r * width + i]} * double{weight[i]} * normalized / static_cast<double>(columns);
      dweight[i] += double{d[r * width + i]} * normalized;
    }
    for (std::size_t i = 0; i < width; ++i)
      dx.push_back((double{d[r * width + i]} * double{weight[i]} - double{h[r * width + i]} * wanted_inv[r] * mean) *
                   wanted_inv[r]);
  }
  expect_near(report, what + " inv_rms", wanted_inv, inv, 32 * 0x1p-24, 0);
  cuda::RmsNormBackwardArgs<T> back;
  back.x = device_sum.data(), back.weight = device_weight.data(), back.inv_rms = device_inv.data();
  back.dy = device_dy.data(), back.rows = rows, back.columns = columns, back.dx = device_dx.data();
  back.dweight = device_dweight.data();
  cuda::rmsnorm_backward(device.backend, back);
  const std::vector<float> found = widened(to_host(device, device_dx)), found_dweight = to_host(device, device_dweight);
  expect_near(report, what + " dx", dx, found, sizeof(T) == 2 ? 0x1p-8 : 0x1p-18, 1e-5);
  expect_near(report, what + " dweight", dweight, found_dweight, 0, 0x1p-20 * static_cast<double>(rows + 16));
  cuda::rmsnorm_backward(device.backend, back);
  report.expect(what + " dx again", compare_bits<float>(found, widened(to_host(device, device_dx))));
  report.expect(what + " dweight again", compare_bits<float>(found_dweight, to_host(device, device_dweight)));
}

void rmsnorm(const Device& device, Report& report) {
  for (const index_t columns : {index_t{64}, index_t{768}, index_t{2048}}) {
    compare_rmsnorm<bfloat16>(device, report, 5, columns);
    compare_rmsnorm<float>(device, report, 3, columns);
  }
  if (!device.large) return;
  for (const index_t columns : {index_t{768}, index_t{4096}, index_t{8192}}) {
    compare_rmsnorm<bfloat16>(device, report, 700, columns);
    compare_rmsnorm<float>(device, report, 601, columns);
  }
  compare_rmsnorm<bfloat16>(device, report, 40, 16384);
}

template <class T>
void compare_activation(const Device& device, Report& report, cuda::Activation kind, index_t rows, index_t columns) {
  const index_t n = rows * columns;
  const bool gated = kind == cuda::Activation::kSwiglu;
  const std::string what = std::string(gated ? "swiglu " : "gelu ") + (sizeof(T) == 2 ? "bfloat16 " : "float32 ") +
                           std::to_string(rows) + "x" + std::to_string(columns);
  const std::vector<T> gate = rounded<T>(normal_values(n, 5)), up = rounded<T>(normal_values(n, 6));
  const std::vector<T> dy = rounded<T>(normal_values(n, 7));
  const auto device_gate = to_device(device, gate), device_up = to_device(device, up),
             device_dy = to_device(device, dy);
  const cuda::DeviceBuffer<T> device_y(n), device_dgate(n), device_dup(n);
  cuda::ActivationArgs<T> args;
  args.kind = kind;
  args.gate = device_gate.data(), args.up = gated ? device_up.data() : nullptr, args.rows = rows,
  args.columns = columns;
  compare_quantized<T>(device, report, what, rows, columns, [&](const cuda::QuantizedOutput<T>& out) {
    args.output = out;
    cuda::activation(device.backend, args);
  });
  args.output = {};
  args.output.y = device_y.data();
  cuda::activation(device.backend, args);
  cuda::ActivationBackwardArgs<T> back;
  back.kind = kind;
  back.gate = args.gate, back.up = args.up, back.dy = device_dy.data(), back.rows = rows, back.columns = columns;
  back.dgate = device_dgate.data(), back.dup = gated ? device_dup.data() : nullptr;
  cuda::activation_backward(device.backend, back);
  std::vector<double> y, dgate, dup;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double g = double{static_cast<float>(gate[i])}, u = double{static_cast<float>(up[i])};
    const double d = double{static_cast<float>(dy[i])}, slope = gated ? 1 : 1.5957691216057308;
    const double argument = gated ? g : slope * (g + 0.044715 * g * g * g);
    const double s = 1 / (1 + std::exp(-argument)), chain = gated ? 1 : slope * (1 + 3 * 0.044715 * g * g);
    y.push_back(g * s * (gated ? u : 1));
    dgate.push_back(d * (gated ? u : 1) * (s + g * s * (1 - s) * chain));
    dup.push_back(d * g * s);
  }
  const double relative = sizeof(T) == 2 ? 0x1p-8 : 0x1p-19;
  expect_near(report, what + " y", y, widened(to_host(device, device_y)), relative, 1e-6);
  expect_near(report, what + " dgate", dgate, widened(to_host(device, device_dgate)), relative, 1e-5);
  if (gated) expect_near(report, what + " dup", dup, widened(to_host(device, device_dup)), relative, 1e-6);
}

void activation(const Device& device, Report& report) {
  for (const cuda::Activation kind : {cuda::Activation::kSwiglu, cuda::Activation::kGeluTanh}) {
    compare_activation<bfloat16>(device, report, kind, 5, 192);
    compare_activation<float>(device, report, kind, 3, 1024);
    if (!device.large) continue;
    compare_activation<bfloat16>(device, report, kind, 300, 11008);
    compare_activation<bfloat16>(device, report, kind, 50, 28672);
    compare_activation<float>(device, report, kind, 200, 4096);
  }
}

const Registration adamw_check("adamw: a step has the bits of the processor's passes", adamw);
const Registration rmsnorm_check("rmsnorm: quantized as defined, gradients of the formula, the same again", rmsnorm);
const Registration activation_check("activation: quantized as defined, gradients of the formula", activation);

}  // namespace
}  // namespace qat::test::gpu
