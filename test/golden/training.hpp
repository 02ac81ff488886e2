// Family f11: five optimizer steps of a two-layer perceptron, plain and with 8da4w fake quantization.
//
// Each step starts from the stored parameters of the step before, so that its result can be bounded: an error-carrying
// evaluation of forward, backward and the optimizer's rule gives a bound for each element. Where a value may lie on
// either side of a rounding tie, or a gradient mask may open or close, the bound covers both.
#pragma once

#include "golden/error_tape.hpp"
#include "golden/linear.hpp"
#include "qat/ops/elementwise.hpp"
#include "qat/ops/linear.hpp"
#include "qat/optim/adamw.hpp"
#include "qat/optim/sgd.hpp"

namespace qat::golden {

inline constexpr const char* kParameterNames[4] = {"0.weight", "0.bias", "2.weight", "2.bias"};

/// The fake quantization of a QAT case: 8da4w, or none.
struct TrainingScheme {
  bool quantized = false;
  AffineScheme weight, activation;
  SteMask mask = SteMask::kStrict;
  explicit TrainingScheme(const JsonFields& f) {
    const std::string qat = f.string("qat");
    QAT_CHECK(qat == "none" || qat == "8da4w" || qat == "8da4w_inclusive", kUnsupported, "qat ", qat);
    if (qat == "none") return;
    quantized = true;
    weight = AffineScheme(parse_case_spec(f), FloatType::kFloat32);
    activation = parse_activation(f.string("activation"), FloatType::kFloat32);
    if (qat == "8da4w_inclusive") mask = SteMask::kInclusive;
  }
};

/// A tensor through fake quantization and its gradient back; both are copies where the case does not quantize.
struct FakeQuantized {
  Array source;
  Quantized q;
  const AffineScheme* scheme;
  SteMask mask;
  bool active;
  FakeQuantized(Array x, const AffineScheme& s, const TrainingScheme& t)
      : source(std::move(x)), scheme(&s), mask(t.mask), active(t.quantized) {
    if (active) q = quantize_by_definition(source, s);
  }
  const std::vector<float>& values() const { return active ? q.dequantized : source.floats; }
  std::vector<float> backward(const std::vector<float>& dy) const {
    return active ? gradient_by_definition(source, dy, q, *scheme, mask) : dy;
  }
};

/// One forward and backward pass through qat's operations.
struct TrainingPass {
  std::vector<float> output;
  float loss = 0;
  std::vector<float> gradients[4];
};

struct Perceptron {
  index_t batch, inputs, hidden, outputs;
};

inline Array matrix(std::vector<float> values, index_t rows, index_t columns) {
  return {DType::kF32, {rows, columns}, std::move(values), {}, {}};
}

inline TrainingPass run_pass(const Perceptron& m, const std::vector<float> (&p)[4], const std::vector<float>& x,
                             const std::vector<float>& target, const TrainingScheme& scheme) {
  const CpuBackend& backend = CpuBackend::shared();
  const auto as_view = [](const std::vector<float>& v, index_t rows, index_t columns) {
    return view(v.data(), rows, columns);
  };
  const FakeQuantized xq(matrix(x, m.batch, m.inputs), scheme.activation, scheme);
  const FakeQuantized w0(matrix(p[0], m.hidden, m.inputs), scheme.weight, scheme);
  const FakeQuantized w2(matrix(p[2], m.outputs, m.hidden), scheme.weight, scheme);
  std::vector<float> h(static_cast<std::size_t>(m.batch * m.hidden)), a(h.size()), dh(h.size()), daq(h.size());
  ops::linear(backend, as_view(xq.values(), m.batch, m.inputs), as_view(w0.values(), m.hidden, m.inputs), p[1].data(),
              view(h.data(), m.batch, m.hidden));
  ops::silu(backend, view(std::as_const(h).data(), m.batch * m.hidden), view(a.data(), m.batch * m.hidden));
  const FakeQuantized aq(matrix(a, m.batch, m.hidden), scheme.activation, scheme);

  TrainingPass out;
  out.output.resize(static_cast<std::size_t>(m.batch * m.outputs));
  ops::linear(backend, as_view(aq.values(), m.batch, m.hidden), as_view(w2.values(), m.outputs, m.hidden), p[3].data(),
              view(out.output.data(), m.batch, m.outputs));
  std::vector<float> dy(out.output.size());
  const float count = static_cast<float>(dy.size());
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const float difference = out.output[i] - target[i];
    out.loss += difference * difference;
    dy[i] = 2.0f * difference / count;
  }
  out.loss /= count;

  for (int i = 0; i < 4; ++i) out.gradients[i].resize(p[i].size());
  std::vector<float> dw2(p[2].size()), dw0(p[0].size());
  ops::linear_backward(backend, as_view(aq.values(), m.batch, m.hidden), as_view(w2.values(), m.outputs, m.hidden),
                       as_view(dy, m.batch, m.outputs), view(daq.data(), m.batch, m.hidden), GradMode::kOverwrite,
                       view(dw2.data(), m.outputs, m.hidden), GradMode::kOverwrite,
                       view(out.gradients[3].data(), m.outputs), GradMode::kOverwrite);
  const std::vector<float> da = aq.backward(daq);
  ops::silu_backward(backend, view(std::as_const(h).data(), m.batch * m.hidden), view(da.data(), m.batch * m.hidden),
                     view(dh.data(), m.batch * m.hidden), GradMode::kOverwrite);
  ops::linear_backward(backend, as_view(xq.values(), m.batch, m.inputs), as_view(w0.values(), m.hidden, m.inputs),
                       as_view(dh, m.batch, m.hidden), {}, GradMode::kSkip, view(dw0.data(), m.hidden, m.inputs),
                       GradMode::kOverwrite, view(out.gradients[1].data(), m.hidden), GradMode::kOverwrite);
  out.gradients[2] = w2.backward(dw2);
  out.gradients[0] = w0.backward(dw0);
  return out;
}

/// Weights on the tape of bounds: the fake-quantized values are exact, the derivative is the mask.
inline ErrorTape::Ids quantized_leaves(ErrorTape& t, const ErrorTape::Ids& leaves, const FakeQuantized& w) {
  if (!w.active) return leaves;
  ErrorTape::Ids out;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const QParams& p = w.q.params[static_cast<std::size_t>(w.q.group[i])];
    const bool passes = passes_gradient(w.source.floats[i], p, *w.scheme, w.mask);
    out.push_back(t.custom(leaves[i], {w.values()[i], 0}, passes ? Bounded{1, kRoundings * 0x1p-24} : Bounded{}));
  }
  return out;
}

/// Asymmetric fake quantization of a row of values that carry errors: hulls over every scale, zero point and code
/// possible.
inline ErrorTape::Ids fake_quantize_row(ErrorTape& t, const ErrorTape::Id* row, index_t count, const AffineScheme& a,
                                        SteMask mask) {
  const Rounding fp{0x1p-24};
  double low[2] = {0, 0}, high[2] = {0, 0};  // of the minimum and of the maximum, 0 included
  for (index_t i = 0; i < count; ++i) {
    const Bounded v = t.value(row[i]);
    low[0] = std::fmin(low[0], v.low()), high[0] = std::fmin(high[0], v.high());
    low[1] = std::fmax(low[1], v.low()), high[1] = std::fmax(high[1], v.high());
  }
  const Bounded minimum = interval(low[0], high[0]), maximum = interval(low[1], high[1]);
  const double qmin = a.spec.qmin(), qmax = a.spec.qmax();
  const Bounded s = fp.divide(fp.subtract(maximum, minimum), {qmax - qmin, 0});
  QAT_CHECK(s.low() > static_cast<double>(a.eps), kUnsupported, "a row of activations has no range");
  const Bounded steps = fp.divide(minimum, s);
  const double zeros[2] = {std::fmax(qmin, qmin - std::rint(steps.high())),
                           std::fmin(qmax, qmin - std::rint(steps.low()))};
  ErrorTape::Ids out;
  for (index_t i = 0; i < count; ++i) {
    const Bounded u = fp.divide(t.value(row[i]), s);
    double smallest = 1e300, largest = -1e300;
    bool may_pass = false, may_block = false;
    for (const double z : zeros) {
      for (const double r : {std::rint(u.low()), std::rint(u.high())}) {
        const double code = r + z, q = std::fmin(std::fmax(code, qmin), qmax) - z;
        for (const double scale : {s.low(), s.high()})
          smallest = std::fmin(smallest, q * scale), largest = std::fmax(largest, q * scale);
        const bool passes = mask == SteMask::kInclusive ? code >= qmin && code <= qmax : code > qmin && code < qmax;
        (passes ? may_pass : may_block) = true;
      }
    }
    const Bounded derivative = may_pass && may_block ? Bounded{0.5, 0.5}
                               : may_pass            ? Bounded{1, kRoundings * fp.unit}
                                                     : Bounded{};
    out.push_back(t.custom(row[i], fp.rounded(interval(smallest, largest)), derivative));
  }
  return out;
}

/// What an exact evaluation gives, with bounds for fp32.
struct BoundedPass {
  std::vector<Bounded> output;
  Bounded loss;
  std::vector<Bounded> gradients[4];
};

inline BoundedPass bound_pass(const Perceptron& m, const std::vector<float> (&p)[4], const std::vector<float>& x,
                              const std::vector<float>& target, const TrainingScheme& scheme) {
  ErrorTape t;
  const FakeQuantized xq(matrix(x, m.batch, m.inputs), scheme.activation, scheme);
  const FakeQuantized w0(matrix(p[0], m.hidden, m.inputs), scheme.weight, scheme);
  const FakeQuantized w2(matrix(p[2], m.outputs, m.hidden), scheme.weight, scheme);
  ErrorTape::Ids leaves[4];
  for (int i = 0; i < 4; ++i) leaves[i] = t.leaves(p[i]);
  ErrorTape::Ids h =
      linear(t, t.leaves(xq.values()), quantized_leaves(t, leaves[0], w0), m.batch, m.hidden, m.inputs, leaves[1]);
  for (ErrorTape::Id& id : h) id = silu(t, id);
  if (scheme.quantized) {
    ErrorTape::Ids quantized;
    for (index_t r = 0; r < m.batch; ++r) {
      const ErrorTape::Ids row =
          fake_quantize_row(t, h.data() + r * m.hidden, m.hidden, scheme.activation, scheme.mask);
      quantized.insert(quantized.end(), row.begin(), row.end());
    }
    h = quantized;
  }
  const ErrorTape::Ids y = linear(t, h, quantized_leaves(t, leaves[2], w2), m.batch, m.outputs, m.hidden, leaves[3]);
  ErrorTape::Ids squares;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const ErrorTape::Id d = t.subtract(y[i], t.leaf({target[i], 0}));
    squares.push_back(t.multiply(d, d));
  }
  const ErrorTape::Id loss = t.scale(t.sum(squares), 1.0 / static_cast<double>(y.size()));
  t.backward({loss}, {{1, 0}});
  BoundedPass out{t.values(y), t.value(loss), {}};
  for (int i = 0; i < 4; ++i) out.gradients[i] = t.gradients(leaves[i]);
  return out;
}

/// One optimizer with qat's implementation and its published rule on numbers with bounds.
class TrainedOptimizer {
 public:
  TrainedOptimizer(const JsonFields& f, std::vector<Parameter*> parameters)
      : name_(f.string("optimizer")), hyper_(f.at("hyperparameters"), "hyperparameters") {
    const JsonFields& h = hyper_;
    if (name_ == "adamw") {
      const Json& betas = h.array("betas");
      QAT_CHECK(!h.boolean_or("amsgrad", false), kUnsupported, "amsgrad");
      adamw_config_ = {h.number("lr"), betas.at(0).get<double>(), betas.at(1).get<double>(), h.number("eps"),
                       h.number("weight_decay")};
      adamw_ = std::make_unique<AdamW>(parameters, adamw_config_);
    } else {
      QAT_CHECK(name_.starts_with("sgd"), kUnsupported, "optimizer ", name_);
      sgd_config_ = {h.number("lr"), h.number("momentum"), h.number("dampening"), h.number("weight_decay"),
                     h.boolean_or("nesterov", false)};
      sgd_ = std::make_unique<Sgd>(parameters, sgd_config_);
    }
    for (const Parameter* p : parameters) {
      first_.emplace_back(static_cast<std::size_t>(p->value.size()));
      second_.emplace_back(static_cast<std::size_t>(p->value.size()));
    }
  }

  void step() {
    ++steps_;
    if (adamw_)
      adamw_->step(CpuBackend::shared());
    else
      sgd_->step(CpuBackend::shared());
  }

  /// New value of element i of parameter `index` from the value and gradient before; call after step(), once for each.
  Bounded expected(std::size_t index, std::size_t i, double p, Bounded g) {
    const Rounding fp{0x1p-24};
    const auto times = [&](Bounded x, double factor) { return fp.multiply(x, fp.rounded({factor, 0})); };
    Bounded &m = first_[index][i], &v = second_[index][i];
    if (adamw_) {
      const AdamWConfig& c = adamw_config_;
      m = fp.add(times(m, c.beta1), times(g, 1 - c.beta1));
      v = fp.add(times(v, c.beta2), times(fp.multiply(g, g), 1 - c.beta2));
      const double correction1 = 1 - std::pow(c.beta1, steps_), correction2 = 1 - std::pow(c.beta2, steps_);
      const Bounded root = times(fp.square_root(v), 1 / std::sqrt(correction2));
      const Bounded update = fp.divide(times(m, c.lr / correction1), fp.add(root, fp.rounded({c.eps, 0})));
      return fp.subtract(times({p, 0}, 1 - c.lr * c.weight_decay), update);
    }
    const SgdConfig& c = sgd_config_;
    if (c.weight_decay != 0) g = fp.add(g, times({p, 0}, c.weight_decay));
    m = steps_ == 1 ? g : fp.add(times(m, c.momentum), times(g, 1 - c.dampening));
    const Bounded update = c.momentum == 0 ? g : c.nesterov ? fp.add(g, times(m, c.momentum)) : m;
    return fp.subtract({p, 0}, times(update, c.lr));
  }

 private:
  std::string name_;
  JsonFields hyper_;
  AdamWConfig adamw_config_;
  SgdConfig sgd_config_;
  std::unique_ptr<AdamW> adamw_;
  std::unique_ptr<Sgd> sgd_;
  std::vector<std::vector<Bounded>> first_, second_;
  int steps_ = 0;
};

inline std::vector<float> slice(const Array& x, index_t index) {
  const index_t size = x.size() / x.shape[0];
  return {x.floats.begin() + index * size, x.floats.begin() + (index + 1) * size};
}

inline void run_training(Case& c) {
  const TrainingScheme scheme(c.spec());
  const Array &batches = c.input("batches"), &targets = c.input("targets");
  QAT_CHECK(c.spec().string("loss").starts_with("mean squared error") &&
                c.spec().string("model").find("SiLU") != std::string::npos,
            kUnsupported, "model ", c.spec().string("model"), ", loss ", c.spec().string("loss"));
  QAT_CHECK(batches.shape.size() == 3 && targets.shape.size() == 3 && batches.shape[0] == c.spec().integer("steps"),
            kUnsupported, "batches or targets do not have the shape (steps, batch, features)");
  const Perceptron m{batches.shape[1], batches.shape[2], c.expected("initial.0.bias").size(), targets.shape[2]};
  std::vector<Parameter> parameters;
  std::vector<Parameter*> pointers;
  for (const char* name : kParameterNames)
    parameters.emplace_back(name, Tensor<float>({c.input("initial." + std::string(name)).size()}));
  for (Parameter& p : parameters) pointers.push_back(&p);
  TrainedOptimizer optimizer(c.spec(), pointers);

  std::vector<float> losses;
  std::vector<double> loss_bounds;
  for (index_t step = 0; step < batches.shape[0]; ++step) {
    std::vector<float> p[4];
    for (int i = 0; i < 4; ++i) {
      const std::string source = step == 0 ? "initial." : "step" + std::to_string(step) + ".";
      p[i] = c.expected(source + kParameterNames[i]).floats;
      std::copy(p[i].begin(), p[i].end(), parameters[static_cast<std::size_t>(i)].value.begin());
    }
    const std::vector<float> x = slice(batches, step), target = slice(targets, step);
    const TrainingPass ours = run_pass(m, p, x, target, scheme);
    const BoundedPass bound = bound_pass(m, p, x, target, scheme);
    losses.push_back(ours.loss);
    loss_bounds.push_back(2 * bound.loss.error);
    if (step == 0) c.within("output0", ours.output, c.expected("output0").shape, bounds_of(bound.output));
    for (std::size_t i = 0; i < 4; ++i) {
      Tensor<float>& gradient = parameters[i].ensure_grad();
      std::copy(ours.gradients[i].begin(), ours.gradients[i].end(), gradient.begin());
      const std::string role = std::string("grad0.") + kParameterNames[i];
      if (step == 0) c.within(role, ours.gradients[i], c.expected(role).shape, bounds_of(bound.gradients[i]));
    }
    optimizer.step();
    for (std::size_t i = 0; i < 4; ++i) {
      std::vector<double> bounds;
      for (std::size_t k = 0; k < p[i].size(); ++k)
        bounds.push_back(2 * optimizer.expected(i, k, static_cast<double>(p[i][k]), bound.gradients[i][k]).error);
      const std::string role = "step" + std::to_string(step + 1) + "." + kParameterNames[i];
      c.within(role, {parameters[i].value.begin(), parameters[i].value.end()}, c.expected(role).shape, bounds);
    }
  }
  c.within("losses", losses, {batches.shape[0]}, loss_bounds);
}

}  // namespace qat::golden
