// Llama's feed-forward block: down(silu(gate(x)) * up(x)).
#pragma once

#include <string>

#include "qat/nn/linear.hpp"

namespace qat::inline v0::nn {

struct Mlp {
  Linear gate_proj, up_proj;  // (F, C)
  Linear down_proj;           // (C, F)

  Mlp(const std::string& name, index_t dim, index_t hidden_dim)
      : gate_proj(name + ".gate_proj", dim, hidden_dim),
        up_proj(name + ".up_proj", dim, hidden_dim),
        down_proj(name + ".down_proj", hidden_dim, dim) {}

  /// x (N, C), which nothing else reads.
  Variable forward(Tape& tape, Variable x) {
    const Variable gate = gate_proj.forward(tape, x);
    const Variable up = up_proj.forward(tape, x);
    tape.discard(x);
    const Variable product = autodiff::swiglu(tape, gate, up);
    const Variable y = down_proj.forward(tape, product);
    tape.discard(product);
    return y;
  }

  /// Without a tape.   x (N, C), y (N, C), may be the same; gate, up (N, F): scratch
  void forward(const CpuBackend& backend, View<const float, 2> x, View<float, 2> gate, View<float, 2> up,
               View<float, 2> y) {
    gate_proj.forward(backend, x, gate);
    up_proj.forward(backend, x, up);
    const index_t n = gate.size();
    ops::swiglu(backend, view(static_cast<const float*>(gate.data), n), view(static_cast<const float*>(up.data), n),
                view(gate.data, n));
    down_proj.forward(backend, gate, y);
  }
};

}  // namespace qat::inline v0::nn
