// Family f12: the operations of a Llama block and a whole block, forward and backward, through qat's tape, within
// bounds that an error-carrying evaluation of the same formulas gives for each element. fp64 cases are references for
// fp32.
#pragma once

#include "golden/case.hpp"
#include "golden/error_tape.hpp"
#include "qat/autodiff/functions.hpp"

namespace qat::golden {

/// Extents of a case.
struct BlockExtents {
  index_t batch, tokens, features, heads, kv_heads, head_dim, hidden, vocabulary;
  double eps, theta;
  explicit BlockExtents(const JsonFields& f)
      : batch(f.integer("B")),
        tokens(f.integer("T")),
        features(f.integer("C")),
        heads(f.integer("H")),
        kv_heads(f.integer("KV")),
        head_dim(f.integer("head_dim")),
        hidden(f.integer("FF")),
        vocabulary(f.integer("V")),
        eps(f.number("eps")),
        theta(f.number("rope_theta")) {
    QAT_CHECK(f.integer("ignore_index") == -100, kUnsupported, "ignore_index ", f.integer("ignore_index"));
  }
  index_t rows() const { return batch * tokens; }
};

/// A tensor in its two forms: on qat's tape and on the tape of bounds.
struct Pair {
  Variable ours;
  ErrorTape::Ids bounds;
};

class BlockRun {
 public:
  BlockRun(Case& c, const BlockExtents& e) : c_(c), e_(e), tape_(CpuBackend::shared()) {
    const std::string compute = c.spec().string("compute_dtype");
    QAT_CHECK(compute == "fp32" || compute == "fp64", kUnsupported, "compute_dtype ", compute);
    evaluations_ = compute == "fp64" ? 1 : 2;  // an fp64 reference has no error worth counting
  }

  Pair input(const std::string& name) {
    const Array& a = c_.input("input." + name);
    QAT_CHECK(!a.floats.empty(), kUnsupported, "input.", name, " is not fp32");
    Shape shape = a.shape.size() == 1 ? Shape{a.shape[0]} : Shape{a.rows(), a.columns()};
    Tensor<float> t(shape);
    std::copy(a.floats.begin(), a.floats.end(), t.begin());
    leaves_.push_back({name, {tape_.leaf(std::move(t)), bounds_.leaves(a.floats)}});
    return leaves_.back().second;
  }

  Pair rmsnorm(const Pair& x, const Pair& w) {
    Pair y{autodiff::rmsnorm(tape_, x.ours, w.ours, static_cast<float>(e_.eps)), {}};
    const index_t n = static_cast<index_t>(w.bounds.size());
    for (index_t r = 0; r < static_cast<index_t>(x.bounds.size()); r += n) {
      const ErrorTape::Id* row = x.bounds.data() + r;
      const ErrorTape::Id square = bounds_.scale(bounds_.dot(row, 1, row, 1, n), 1.0 / static_cast<double>(n));
      const ErrorTape::Id inverse = bounds_.inverse_root(bounds_.add(square, bounds_.leaf({e_.eps, e_.eps * 0x1p-24})));
      for (index_t i = 0; i < n; ++i)
        y.bounds.push_back(bounds_.multiply(bounds_.multiply(row[i], inverse), w.bounds[static_cast<std::size_t>(i)]));
    }
    return y;
  }

  Pair linear(const Pair& x, const Pair& w, index_t in) {
    const index_t n = static_cast<index_t>(x.bounds.size()) / in, m = static_cast<index_t>(w.bounds.size()) / in;
    return {autodiff::linear(tape_, x.ours, w.ours), golden::linear(bounds_, x.bounds, w.bounds, n, m, in)};
  }

  /// Makes the table; compares it with the case's cos and sin where it has them.
  void make_rope_table() {
    table_ = ops::rope_table({e_.theta}, e_.head_dim, e_.tokens);
    const index_t half = e_.head_dim / 2;
    for (index_t t = 0; t < e_.tokens; ++t) {
      for (index_t i = 0; i < half; ++i) {
        // The angle carries the rounding of the frequency to fp32, twice where an implementation inverts a rounded
        // power.
        const double angle = static_cast<double>(t) *
                             std::pow(e_.theta, -2.0 * static_cast<double>(i) / static_cast<double>(e_.head_dim));
        const double error = 2 * 0x1p-24 * angle + 0x1p-24;
        cosine_.push_back({std::cos(angle), error});
        sine_.push_back({std::sin(angle), error});
      }
    }
    if (c_.has("cos")) within("cos", {table_.cosine.begin(), table_.cosine.end()}, cosine_, {e_.tokens, half});
    if (c_.has("sin")) within("sin", {table_.sine.begin(), table_.sine.end()}, sine_, {e_.tokens, half});
  }

  Pair rope(const Pair& x, index_t heads, bool interleaved) {
    const RopePairing pairing = interleaved ? RopePairing::kInterleaved : RopePairing::kHalf;
    Pair y{autodiff::rope(tape_, x.ours, table_, e_.batch, e_.tokens, heads, 0, pairing), x.bounds};
    const index_t half = e_.head_dim / 2;
    for (index_t head = 0; head < e_.rows() * heads; ++head) {
      for (index_t i = 0; i < half; ++i) {
        const std::size_t entry = static_cast<std::size_t>(head / heads % e_.tokens * half + i);
        const std::size_t first = static_cast<std::size_t>(head * e_.head_dim + (interleaved ? 2 * i : i));
        const std::size_t second = first + static_cast<std::size_t>(interleaved ? 1 : half);
        const ErrorTape::Id c = bounds_.leaf(cosine_[entry]), s = bounds_.leaf(sine_[entry]);
        const ErrorTape::Id a = x.bounds[first], b = x.bounds[second];
        y.bounds[first] = bounds_.subtract(bounds_.multiply(a, c), bounds_.multiply(b, s));
        y.bounds[second] = bounds_.add(bounds_.multiply(b, c), bounds_.multiply(a, s));
      }
    }
    return y;
  }

  Pair attention(const Pair& q, const Pair& k, const Pair& v) {
    Pair y{autodiff::attention(tape_, q.ours, k.ours, v.ours, e_.batch, e_.tokens, e_.heads, e_.kv_heads), q.bounds};
    const index_t d = e_.head_dim, group = e_.heads / e_.kv_heads, kv_row = e_.kv_heads * d;
    const double factor = 1.0 / std::sqrt(static_cast<double>(d));
    for (index_t b = 0; b < e_.batch; ++b) {
      for (index_t t = 0; t < e_.tokens; ++t) {
        for (index_t h = 0; h < e_.heads; ++h) {
          const index_t at = ((b * e_.tokens + t) * e_.heads + h) * d, kv = b * e_.tokens * kv_row + h / group * d;
          ErrorTape::Ids scores;
          double largest = -1e300;
          for (index_t s = 0; s <= t; ++s) {
            const ErrorTape::Id score = bounds_.dot(q.bounds.data() + at, 1, k.bounds.data() + kv + s * kv_row, 1, d);
            scores.push_back(bounds_.scale(score, factor));
            largest = std::fmax(largest, bounds_.value(scores.back()).value);
          }
          const ErrorTape::Id shift = bounds_.leaf({largest, 0});  // the softmax does not depend on it
          for (ErrorTape::Id& s : scores) s = bounds_.exp(bounds_.subtract(s, shift));
          const ErrorTape::Id total = bounds_.sum(scores);
          for (ErrorTape::Id& s : scores) s = bounds_.divide(s, total);
          for (index_t i = 0; i < d; ++i)
            y.bounds[static_cast<std::size_t>(at + i)] =
                bounds_.dot(scores.data(), 1, v.bounds.data() + kv + i, kv_row, t + 1);
        }
      }
    }
    return y;
  }

  Pair swiglu(const Pair& gate, const Pair& up) {
    Pair y{autodiff::swiglu(tape_, gate.ours, up.ours), {}};
    for (std::size_t i = 0; i < gate.bounds.size(); ++i)
      y.bounds.push_back(bounds_.multiply(silu(bounds_, gate.bounds[i]), up.bounds[i]));
    return y;
  }

  Pair add(const Pair& a, const Pair& b) {
    Pair y{autodiff::add(tape_, a.ours, b.ours), {}};
    for (std::size_t i = 0; i < a.bounds.size(); ++i) y.bounds.push_back(bounds_.add(a.bounds[i], b.bounds[i]));
    return y;
  }

  Pair cross_entropy(const Pair& logits) {
    const Array& a = c_.input("targets");
    Tensor<std::int32_t> targets({a.size()});
    for (index_t i = 0; i < a.size(); ++i)
      targets[i] = static_cast<std::int32_t>(a.integers[static_cast<std::size_t>(i)]);
    Pair y{autodiff::softmax_cross_entropy(tape_, logits.ours, std::as_const(targets).flat()), {}};
    ErrorTape::Ids losses;
    for (index_t r = 0; r < a.size(); ++r) {
      if (targets[r] == -100) continue;
      const ErrorTape::Id* row = logits.bounds.data() + r * e_.vocabulary;
      double largest = -1e300;
      for (index_t i = 0; i < e_.vocabulary; ++i) largest = std::fmax(largest, bounds_.value(row[i]).value);
      const ErrorTape::Id shift = bounds_.leaf({largest, 0});
      ErrorTape::Ids terms;
      for (index_t i = 0; i < e_.vocabulary; ++i) terms.push_back(bounds_.exp(bounds_.subtract(row[i], shift)));
      losses.push_back(bounds_.subtract(bounds_.add(bounds_.log(bounds_.sum(terms)), shift), row[targets[r]]));
    }
    y.bounds.push_back(bounds_.scale(bounds_.sum(losses), 1.0 / static_cast<double>(losses.size())));
    return y;
  }

  void compare(const std::string& role, const Pair& y) {
    const Tensor<float>& t = tape_.value(y.ours);
    within(role, {t.begin(), t.end()}, bounds_.values(y.bounds), c_.expected(role).shape);
  }

  /// Runs both tapes back from y and compares the gradient of every input.
  void backward(const Pair& y) {
    std::vector<float> seed(y.bounds.size(), 1.0f);
    if (c_.has("grad_output")) {
      const Array& g = c_.input("grad_output");
      if (!g.floats.empty())
        seed = g.floats;
      else
        seed.assign(g.doubles.begin(), g.doubles.end());
      QAT_CHECK(seed.size() == y.bounds.size(), kUnsupported, "grad_output does not have the size of the output");
    }
    Tensor<float> gradient(tape_.value(y.ours).shape());
    std::copy(seed.begin(), seed.end(), gradient.begin());
    std::vector<Bounded> seeds;
    for (const float s : seed) seeds.push_back({s, 0});
    tape_.backward(y.ours, std::move(gradient));
    bounds_.backward(y.bounds, seeds);
    for (const auto& [name, leaf] : leaves_) {
      const Tensor<float>& g = tape_.gradient(leaf.ours);
      within("grad." + name, {g.begin(), g.end()}, bounds_.gradients(leaf.bounds), c_.expected("grad." + name).shape);
    }
  }

 private:
  void within(const std::string& role, const std::vector<float>& ours, const std::vector<Bounded>& oracle,
              const std::vector<index_t>& shape) {
    std::vector<double> bounds;
    for (const Bounded& b : oracle) bounds.push_back(evaluations_ * b.error);
    c_.within(role, ours, shape, bounds);
    for (std::size_t i = 0; i < oracle.size(); ++i) {  // the oracle is our own witness, whatever the file says
      const double difference = std::fabs(static_cast<double>(ours[i]) - oracle[i].value);
      if (!(difference <= oracle[i].error)) return c_.fail(role, "oracle", "element " + std::to_string(i) + " is off");
    }
  }

  Case& c_;
  const BlockExtents& e_;
  Tape tape_;
  ErrorTape bounds_;
  double evaluations_ = 2;
  ops::RopeTable table_;
  std::vector<Bounded> cosine_, sine_;
  std::vector<std::pair<std::string, Pair>> leaves_;
};

inline void run_whole_block(Case& c, BlockRun& run, const BlockExtents& e) {
  const std::string pairing = c.spec().string("rope");
  QAT_CHECK(pairing == "interleaved" || pairing == "half", kUnsupported, "rope ", pairing);
  const bool interleaved = pairing == "interleaved";
  run.make_rope_table();
  const Pair x = run.input("x");
  const Pair n1 = run.rmsnorm(x, run.input("w_att_norm"));
  const Pair q = run.rope(run.linear(n1, run.input("wq"), e.features), e.heads, interleaved);
  const Pair k = run.rope(run.linear(n1, run.input("wk"), e.features), e.kv_heads, interleaved);
  const Pair v = run.linear(n1, run.input("wv"), e.features);
  const Pair a = run.attention(q, k, v);
  const Pair x1 = run.add(x, run.linear(a, run.input("wo"), e.heads * e.head_dim));
  const Pair n2 = run.rmsnorm(x1, run.input("w_ffn_norm"));
  const Pair gate = run.linear(n2, run.input("w_gate"), e.features), up = run.linear(n2, run.input("w_up"), e.features);
  const Pair x2 = run.add(x1, run.linear(run.swiglu(gate, up), run.input("w_down"), e.hidden));
  const Pair logits = run.linear(run.rmsnorm(x2, run.input("w_final_norm")), run.input("w_head"), e.features);
  const Pair loss = run.cross_entropy(logits);
  run.compare("attention_output", a);
  run.compare("after_attention", x1);
  run.compare("after_mlp", x2);
  run.compare("logits", logits);
  run.compare("loss", loss);
  run.backward(loss);
}

inline void run_llama_block(Case& c) {
  const BlockExtents e(c.spec());
  BlockRun run(c, e);
  const std::string id = c.id(), name = id.substr(id.find('/') + 1);
  if (name.starts_with("block-")) return run_whole_block(c, run, e);
  Pair y;
  if (name.starts_with("rmsnorm-")) {
    const Pair x = run.input("x");
    y = run.rmsnorm(x, run.input("w"));
  } else if (name.starts_with("rope_")) {
    run.make_rope_table();
    y = run.rope(run.input("q"), e.heads, name.starts_with("rope_interleaved-"));
  } else if (name.starts_with("attention_gqa-")) {
    const Pair q = run.input("q"), k = run.input("k"), v = run.input("v");
    y = run.attention(q, k, v);
  } else if (name.starts_with("swiglu-")) {
    const Pair x = run.input("x"), gate = run.input("w_gate"), up = run.input("w_up"), down = run.input("w_down");
    y = run.linear(run.swiglu(run.linear(x, gate, e.features), run.linear(x, up, e.features)), down, e.hidden);
  } else {
    QAT_CHECK(name.starts_with("cross_entropy-"), kUnsupported, "operation ", name);
    y = run.cross_entropy(run.input("logits"));
  }
  run.compare("output", y);
  run.backward(y);
}

}  // namespace qat::golden
