// kernels/cuda/adamw: a step of the fused kernel has the bits of the processor's passes, one after the other.
#include "qat/kernels/cuda/adamw.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "qat/kernels/cpu/optimizer.hpp"
#include "qat/kernels/cpu/scale.hpp"
#include "qat/kernels/reference/quantize.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::adamw_test {
namespace {

using namespace qat::test;

/// A parameter with everything a step reads and writes.
template <class G, class W>
struct State {
  std::string name;
  index_t rows = 0, columns = 0, offset = 0;  // offset: elements by which every array misses its alignment
  bool quantized = false, learned = false;
  QuantSpec spec{};
  SteMask mask = SteMask::kInclusive;
  std::vector<float> value, mean, square, scale, zero_point, trained, trained_mean, trained_square;
  std::vector<G> gradient;
  std::vector<W> copy;

  index_t tiles() const { return quantized ? group_layout(spec.granularity, rows, columns).count() : 0; }
};

std::vector<float> values_with_corners(index_t n, std::uint64_t seed, bool corners) {
  std::vector<float> x = normal_values(n, seed);
  const float special[] = {0.0f, -0.0f, 1e-40f, -1e-45f, 3.0f, -3.0f, 3.0f, 1e30f, -1e30f, NAN, INFINITY, -INFINITY};
  if (corners)
    for (std::size_t i = 0; i < std::size(special) && 3 * i < x.size(); ++i) x[3 * i] = special[i];
  return x;
}

template <class G, class W>
State<G, W> state_of(const char* name, index_t rows, index_t columns, const char* spec, bool learned = false,
                     SteMask mask = SteMask::kInclusive, index_t offset = 0, bool corners = false) {
  State<G, W> s;
  s.name = name;
  s.rows = rows, s.columns = columns, s.offset = offset;
  s.quantized = spec != nullptr, s.learned = learned, s.mask = mask;
  const index_t n = rows * columns;
  const std::uint64_t seed = 1000 + std::hash<std::string>()(name) % 1000;
  s.value = values_with_corners(n, seed, corners);
  s.gradient.resize(static_cast<std::size_t>(n));
  s.mean = normal_values(n, seed + 1);
  s.square = uniform_values(n, seed + 2);
  for (float& v : s.square) v = v * v;
  s.copy.resize(static_cast<std::size_t>(n));
  if (spec == nullptr) return s;
  s.spec = parse_spec(spec);
  const auto tiles = static_cast<std::size_t>(s.tiles());
  s.scale.resize(tiles), s.zero_point.resize(tiles);
  kernels::reference::choose_qparams(s.spec, s.value.data(), rows, columns, s.scale.data(), s.zero_point.data());
  if (!learned) return s;
  s.trained = s.scale;
  s.trained_mean = normal_values(s.tiles(), seed + 3);
  s.trained_square = uniform_values(s.tiles(), seed + 4);
  for (float& v : s.trained_square) v = v * v;
  return s;
}

template <class G, class W>
void draw_gradient(State<G, W>& s, std::uint64_t seed, bool corners) {
  const std::vector<float> g = values_with_corners(static_cast<index_t>(s.gradient.size()), seed, corners);
  for (std::size_t i = 0; i < g.size(); ++i) s.gradient[i] = static_cast<G>(g[i] * 0.01f);
}

constexpr float kLsqFactor = 0.0625f;

/// The gradients as the step uses them: of the master, and of the learned scales.
template <class G, class W>
void gradients_of(const State<G, W>& s, std::vector<float>& dvalue, std::vector<float>& dscale) {
  dvalue.clear(), dscale.assign(s.learned ? static_cast<std::size_t>(s.tiles()) : 0, 0.0f);
  for (const G g : s.gradient) dvalue.push_back(static_cast<float>(g));
  if (!s.quantized) return;
  float* const dy = dvalue.data();
  const float* const x = s.value.data();
  if (s.learned)
    kernels::reference::lsq_scale_gradient(s.spec, dy, x, s.rows, s.columns, s.scale.data(), s.zero_point.data(),
                                           s.mask, kLsqFactor, dscale.data());
  kernels::reference::fake_quantize_backward(s.spec, dy, x, s.rows, s.columns, s.scale.data(), s.zero_point.data(),
                                             s.mask, dy);
}

template <class G, class W>
void reference_step(const CpuBackend& backend, State<G, W>& s, const kernels::AdamWFactors& f,
                    const kernels::AdamWFactors& learned_f, float factor) {
  std::vector<float> dvalue, dscale;
  gradients_of(s, dvalue, dscale);
  kernels::scale(backend, dvalue.data(), factor, dvalue.data(), static_cast<index_t>(dvalue.size()));
  kernels::scale(backend, dscale.data(), factor, dscale.data(), static_cast<index_t>(dscale.size()));
  const index_t n = s.rows * s.columns;
  kernels::adamw(backend, s.value.data(), dvalue.data(), s.mean.data(), s.square.data(), n, f);
  if (s.learned) {
    kernels::adamw(backend, s.trained.data(), dscale.data(), s.trained_mean.data(), s.trained_square.data(), s.tiles(),
                   learned_f);
    const AffineScheme scheme(s.spec, FloatType::kFloat32);
    for (std::size_t i = 0; i < s.scale.size(); ++i) s.scale[i] = stored_scale(s.trained[i], scheme);
  } else if (s.quantized) {
    kernels::reference::choose_qparams(s.spec, s.value.data(), s.rows, s.columns, s.scale.data(), s.zero_point.data());
  }
  std::vector<float> copy(s.value.begin(), s.value.end());
  if (s.quantized)
    kernels::reference::fake_quantize(s.spec, s.value.data(), s.rows, s.columns, s.scale.data(), s.zero_point.data(),
                                      copy.data());
  for (index_t i = 0; i < n; ++i)
    s.copy[static_cast<std::size_t>(i)] = static_cast<W>(copy[static_cast<std::size_t>(i)]);
}

/// States in the memory of kernels, and the table and works that name them.
template <class G, class W>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<State<G, W>>& states) {
    for (const State<G, W>& s : states) {
      cuda::AdamWTensor<G, W> t;
      t.name = s.name.c_str();
      t.rows = s.rows, t.columns = s.columns;
      t.value = put(floats_, s.value, s.offset), t.gradient = put(gradients_, s.gradient, s.offset);
      t.mean = put(floats_, s.mean, s.offset), t.square = put(floats_, s.square, s.offset);
      t.copy = put(copies_, s.copy, s.offset);
      if (s.quantized) {
        t.scale = put(floats_, s.scale, 0);
        t.zero_point = has_constant_zero_point(s.spec.mapping) ? nullptr : put(floats_, s.zero_point, 0);
        t.spec = s.spec, t.mask = s.mask;
      }
      if (s.learned) {
        t.learned = put(floats_, s.trained, 0);
        t.learned_mean = put(floats_, s.trained_mean, 0), t.learned_square = put(floats_, s.trained_square, 0);
        t.lsq_factor = kLsqFactor;
        t.learned_group = 1;
      }
      table_.push_back(t);
    }
    const auto count = static_cast<index_t>(table_.size());
    std::vector<cuda::AdamWWork> works(static_cast<std::size_t>(cuda::plan_adamw(table_.data(), count, nullptr).works));
    plan_ = cuda::plan_adamw(table_.data(), count, works.data());
    device_table_ = std::make_unique<emulation::Buffer<const cuda::AdamWTensor<G, W>>>(table_);
    device_works_ = std::make_unique<emulation::Buffer<const cuda::AdamWWork>>(works);
  }
  const cuda::AdamWTensor<G, W>* table() const { return device_table_->data(); }
  const cuda::AdamWWork* works() const { return device_works_->data(); }
  const cuda::AdamWPlan& plan() const { return plan_; }
  const cuda::AdamWTensor<G, W>& operator[](std::size_t i) const { return table_[i]; }
  /// The table stays: only gradients change.
  void set_gradient(std::size_t i, const std::vector<G>& gradient) {
    std::copy(gradient.begin(), gradient.end(), const_cast<G*>(table_[i].gradient));
  }

 private:
  template <class T>
  T* put(std::vector<emulation::Buffer<T>>& buffers, const std::vector<T>& values, index_t offset) {
    if (values.empty()) return nullptr;
    buffers.emplace_back(values, static_cast<std::size_t>(offset));
    return buffers.back().data();
  }
  std::vector<emulation::Buffer<float>> floats_;
  std::vector<emulation::Buffer<G>> gradients_;
  std::vector<emulation::Buffer<W>> copies_;
  std::vector<cuda::AdamWTensor<G, W>> table_;
  std::unique_ptr<emulation::Buffer<const cuda::AdamWTensor<G, W>>> device_table_;
  std::unique_ptr<emulation::Buffer<const cuda::AdamWWork>> device_works_;
  cuda::AdamWPlan plan_;
};

template <class T>
std::vector<float> as_floats(const T* p, std::size_t n) {
  std::vector<float> x;
  for (std::size_t i = 0; i < n; ++i) x.push_back(static_cast<float>(p[i]));
  return x;
}

template <class G, class W>
std::vector<State<G, W>> all_states(bool learned) {
  const auto make = [](const char* name, index_t rows, index_t columns, const char* spec, bool learns = false,
                       SteMask mask = SteMask::kInclusive, index_t offset = 0, bool corners = false) {
    return state_of<G, W>(name, rows, columns, spec, learns, mask, offset, corners);
  };
  std::vector<State<G, W>> states;
  states.push_back(make("plain", 1, 37, nullptr, false, SteMask::kInclusive, 0, true));
  states.push_back(make("plain of two works", 3, 4101, nullptr, false, SteMask::kInclusive, 0, false));
  states.push_back(make("plain, misaligned", 5, 33, nullptr, false, SteMask::kInclusive, 1, true));
  states.push_back(make("group 32", 3, 96, "int4:group32:symmetric", learned));
  states.push_back(make("group 16, asymmetric", 5, 48, "uint4:group16:asymmetric:bfloat16", learned));
  states.push_back(
      make("group 64, strict", 2, 448, "int3:group64:signed_extremum:bf16safe", learned, SteMask::kStrict));
  states.push_back(make("group 128", 67, 128, "int8:group128:symmetric_no_clip:float16", learned));
  states.push_back(make("group 256, passing", 2, 512, "int2:group256:symmetric", learned, SteMask::kPassThrough));
  states.push_back(make("group 256", 3, 256, "int4:group256:signed_extremum", learned));
  states.push_back(make("group 32, misaligned", 2, 64, "int4:group32:symmetric", learned, SteMask::kInclusive, 1));
  states.push_back(make("group 32, ragged", 7, 41, "int4:group32:signed_extremum", learned));
  states.push_back(make("group 512", 1, 1200, "int4:group512:asymmetric_raw", learned));
  states.push_back(make("rows of warps", 19, 300, "int8:axis0:asymmetric", learned));
  states.push_back(make("rows of blocks", 2, 1030, "int4:axis0:signed_extremum", learned));
  states.push_back(make("rows of two pieces", 2, 5000, "int8:token:symmetric", learned, SteMask::kStrict));
  states.push_back(make("empty", 0, 64, "int4:group32:symmetric", learned));
  if (!learned) {  // what is not finite stays in its element, and out of the range
    states.push_back(make("corners", 2, 128, "int4:group32:asymmetric", false, SteMask::kInclusive, 0, true));
    states.push_back(
        make("corners of extrema", 2, 96, "int4:group32:signed_extremum", false, SteMask::kStrict, 0, true));
    states.push_back(make("corners of rows", 2, 90, "int4:axis0:signed_extremum", false, SteMask::kInclusive, 0, true));
  }
  return states;
}

template <class G, class W>
void check_steps(bool learned) {
  const CpuBackend cpu(1);
  std::vector<State<G, W>> wanted = all_states<G, W>(learned);
  OnDevice<G, W> found(wanted);
  CHECK(found.plan().has_learned == learned);
  for (int step = 1; step <= 2; ++step) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      draw_gradient(wanted[i], 77 * i + static_cast<std::uint64_t>(step), !learned && step == 2);
      found.set_gradient(i, wanted[i].gradient);
    }
    const emulation::Buffer<const float> factor(1, step == 1 ? 1.0f : 0.37f);
    cuda::AdamWStep numbers;
    numbers.factors[0] = kernels::adamw_factors(1e-2, 0.9, 0.95, 1e-8, 0.1, step);
    numbers.factors[1] = kernels::adamw_factors(1e-3, 0.9, 0.95, 1e-8, 0.0, step);
    if (step == 2) numbers.gradient_factor = factor.data();
    cuda::adamw(CudaBackend{}, found.table(), found.works(), found.plan(), numbers);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      State<G, W>& w = wanted[i];
      const cuda::AdamWTensor<G, W>& f = found[i];
      reference_step(cpu, w, numbers.factors[0], numbers.factors[1], factor[0]);
      CAPTURE(w.name);
      CAPTURE(step);
      const std::size_t n = w.value.size(), tiles = w.scale.size();
      if (n == 0) continue;
      CHECK(compare_bits(w.value, as_floats(f.value, n)));
      CHECK(compare_bits(w.mean, as_floats(f.mean, n)));
      CHECK(compare_bits(w.square, as_floats(f.square, n)));
      CHECK(compare_bits(as_floats(w.copy.data(), n), as_floats(f.copy, n)));
      if (!w.quantized) continue;
      CHECK(compare_bits(w.scale, as_floats(f.scale, tiles)));
      if (f.zero_point != nullptr) CHECK(compare_bits(w.zero_point, as_floats(f.zero_point, tiles)));
      if (!learned) continue;
      CHECK(compare_bits(w.trained, as_floats(f.learned, tiles)));
      CHECK(compare_bits(w.trained_mean, as_floats(f.learned_mean, tiles)));
      CHECK(compare_bits(w.trained_square, as_floats(f.learned_square, tiles)));
    }
  }
}

}  // namespace

TEST_CASE("adamw: two steps of every kind of tensor have the bits of the processor's passes") {
  check_steps<float, bfloat16>(false);
  check_steps<bfloat16, bfloat16>(false);
  check_steps<float, float>(false);
}
TEST_CASE("adamw: with learned scales, too, down to the order of their gradient's sum") {
  check_steps<float, bfloat16>(true);
  check_steps<bfloat16, bfloat16>(true);
}

TEST_CASE("adamw: factors from device memory are those of the arguments") {
  std::vector<State<float, float>> states;
  states.push_back(state_of<float, float>("w", 4, 64, "int4:group32:symmetric"));
  draw_gradient(states[0], 5, false);
  const OnDevice<float, float> a(states), b(states);
  cuda::AdamWStep given, pointed;
  given.factors[0] = kernels::adamw_factors(1e-2, 0.9, 0.999, 1e-8, 0.01, 3);
  const emulation::Buffer<const kernels::AdamWFactors> memory(
      std::vector<kernels::AdamWFactors>(given.factors, given.factors + cuda::AdamWStep::kGroups));
  pointed.device_factors = memory.data();
  cuda::adamw(CudaBackend{}, a.table(), a.works(), a.plan(), given);
  cuda::adamw(CudaBackend{}, b.table(), b.works(), b.plan(), pointed);
  CHECK(compare_bits(as_floats(a[0].value, 256), as_floats(b[0].value, 256)));
  CHECK(compare_bits(as_floats(a[0].copy, 256), as_floats(b[0].copy, 256)));
  CHECK(!compare_bits(as_floats(a[0].value, 256), states[0].value));
}

TEST_CASE("gradient_norm: the norm of what the step uses, and the factor that clips it") {
  for (const bool learned : {false, true}) {
    std::vector<State<float, bfloat16>> states = all_states<float, bfloat16>(learned);
    double squares = 0.0;
    for (std::size_t i = 0; i < states.size(); ++i) {
      draw_gradient(states[i], 31 * i, false);
      std::vector<float> dvalue, dscale;
      gradients_of(states[i], dvalue, dscale);
      for (const float g : dvalue) squares += double{g} * double{g};
      for (const float g : dscale) squares += double{g} * double{g};
    }
    const double norm = std::sqrt(squares);
    OnDevice<float, bfloat16> device(states);
    const emulation::Buffer<double> workspace =
        emulation::Buffer<double>::uninitialized(static_cast<std::size_t>(device.plan().works));
    CudaBackend backend;
    backend.workspace = workspace.data();
    backend.workspace_bytes = cuda::gradient_norm_bytes(device.plan());
    const emulation::Buffer<float> result(2, -1.0f);
    const auto run = [&](double max_norm) {
      cuda::gradient_norm(backend, device.table(), device.works(), device.plan(), max_norm, result.data());
    };
    for (const double max_norm : {0.5 * norm, 2.0 * norm}) {
      run(max_norm);
      CHECK(compare_ulp(std::vector<float>{static_cast<float>(norm)}, std::vector<float>{result[0]}, 1));
      const float factor = max_norm < norm ? static_cast<float>(max_norm / (norm + 1e-6)) : 1.0f;
      CHECK(compare_ulp(std::vector<float>{factor}, std::vector<float>{result[1]}, max_norm < norm ? 1 : 0));
    }
    states[0].gradient[0] = INFINITY;
    device.set_gradient(0, states[0].gradient);
    run(1.0);
    CHECK(result[0] == INFINITY);
    CHECK(result[1] == 1.0f);
    backend.workspace_bytes -= 1;
    CHECK_THROWS_AS(run(1.0), Error);
  }
}

TEST_CASE("plan_adamw: what cannot be folded into a step is an error that names the tensor") {
  const auto message_of = [](const char* spec, bool drop_mean) {
    float word[4] = {};
    bfloat16 copy[4];
    cuda::AdamWTensor<float, bfloat16> t;
    t.name = "layers.3.wq";
    t.rows = 2, t.columns = 64;
    t.value = t.mean = t.square = t.scale = t.zero_point = word, t.gradient = word, t.copy = copy;
    t.spec = parse_spec(spec);
    if (drop_mean) t.mean = nullptr;
    try {
      cuda::plan_adamw(&t, 1, nullptr);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  CHECK(message_of("int4:group32:symmetric", false) == "none");
  for (const char* spec : {"int8:tensor:symmetric", "uint4:group32:float_zero_point:bfloat16", "int8:axis1:symmetric",
                           "int4:group32:symmetric:half_away_from_zero"}) {
    CAPTURE(std::string(spec));
    CHECK(message_of(spec, false).find("layers.3.wq") != std::string::npos);
    CHECK(message_of(spec, false).find(spec) != std::string::npos);
  }
  CHECK(message_of("int4:group32:symmetric", true).find("mean is null") != std::string::npos);
}

}  // namespace qat::adamw_test
