// Feed-forward block: down(activation(gate(x)) * up(x)), or down(activation(up(x))).
#pragma once

#include <optional>
#include <string>

#include "qat/nn/linear.hpp"
#include "qat/nn/llama_config.hpp"

namespace qat::inline v0::nn {

struct Mlp {
  std::optional<Linear> gate_proj;  // (F, C), absent without a gate
  Linear up_proj;                   // (F, C)
  Linear down_proj;                 // (C, F)
  Activation activation;

  Mlp(const std::string& name, const LlamaConfig& c)
      : up_proj(name + ".up_proj", c.dim, c.hidden_dim, c.mlp_bias),
        down_proj(name + ".down_proj", c.hidden_dim, c.dim, c.mlp_bias),
        activation(c.activation) {
    if (c.gated) gate_proj.emplace(name + ".gate_proj", c.dim, c.hidden_dim, c.mlp_bias);
  }

  /// f(layer) for each layer in the order of execution.
  template <class F>
  void visit(const F& f) {
    if (gate_proj) f(*gate_proj);
    f(up_proj);
    f(down_proj);
  }

  /// x (N, C), which nothing else reads.
  Variable forward(Tape& tape, Variable x) {
    const Variable gate = gate_proj ? gate_proj->forward(tape, x) : Variable{};
    const Variable up = up_proj.forward(tape, x);
    tape.discard(x);
    const Variable product =
        gate_proj ? autodiff::activation(tape, activation, gate, up) : autodiff::activation(tape, activation, up);
    const Variable y = down_proj.forward(tape, product);
    tape.discard(product);
    return y;
  }

  /// Without a tape.   x (N, C), y (N, C), may be the same; gate, up (N, F): scratch
  void forward(const CpuBackend& backend, View<const float, 2> x, View<float, 2> gate, View<float, 2> up,
               View<float, 2> y) {
    const auto flat = [](const View<float, 2>& v) { return view(v.data, v.size()); };
    if (gate_proj) gate_proj->forward(backend, x, gate);
    up_proj.forward(backend, x, up);
    const View<float, 2> product = gate_proj ? gate : up;
    ops::activation(backend, activation, flat(product),
                    gate_proj ? View<const float, 1>(flat(up)) : View<const float, 1>{}, flat(product));
    down_proj.forward(backend, product, y);
  }
};

}  // namespace qat::inline v0::nn
