// A scalar tape on numbers that carry error bounds: the formula of a model written once gives values, gradients and a
// bound on the fp32 rounding error of both. Slow (one node per scalar operation), independent of qat's own operations.
#pragma once

#include <utility>

#include "golden/bounded.hpp"

namespace qat::golden {

class ErrorTape {
 public:
  using Id = std::int32_t;
  using Ids = std::vector<Id>;

  Id leaf(Bounded v) { return node(v, {}); }
  Ids leaves(const std::vector<float>& values) {
    Ids out;
    for (const float v : values) out.push_back(leaf({static_cast<double>(v), 0}));
    return out;
  }
  const Bounded& value(Id i) const { return nodes_[static_cast<std::size_t>(i)].value; }

  Id add(Id a, Id b) { return node(fp_.add(value(a), value(b)), {{a, {1, 0}}, {b, {1, 0}}}); }
  Id subtract(Id a, Id b) { return node(fp_.subtract(value(a), value(b)), {{a, {1, 0}}, {b, {-1, 0}}}); }
  Id multiply(Id a, Id b) { return node(fp_.multiply(value(a), value(b)), {{a, value(b)}, {b, value(a)}}); }
  Id scale(Id a, double factor) { return node(fp_.multiply(value(a), {factor, 0}), {{a, fp_.rounded({factor, 0})}}); }
  Id divide(Id a, Id b) {
    const Bounded q = fp_.divide(value(a), value(b)), db = fp_.divide(q, value(b));
    return node(q, {{a, fp_.divide({1, 0}, value(b))}, {b, {-db.value, db.error}}});
  }
  Id exp(Id a) {
    const double e = std::exp(value(a).value);
    const Bounded y = fp_.rounded({e, e * std::expm1(value(a).error)});
    return node(y, {{a, y}});
  }
  Id log(Id a) {
    const Bounded x = value(a);
    const Bounded y = fp_.rounded({std::log(x.value), x.error / x.low()});
    return node(y, {{a, fp_.divide({1, 0}, x)}});
  }
  /// 1 / sqrt(a)
  Id inverse_root(Id a) {
    const Bounded y = fp_.divide({1, 0}, fp_.square_root(value(a)));
    const Bounded slope = fp_.divide(y, value(a));
    return node(y, {{a, {-0.5 * slope.value, 0.5 * slope.error}}});
  }
  /// A node whose value and derivative the caller knows.
  Id custom(Id a, Bounded v, Bounded derivative) { return node(v, {{a, derivative}}); }

  /// sum of a[i] b[i], in any order. i runs over `count`, with strides.
  Id dot(const Id* a, index_t a_stride, const Id* b, index_t b_stride, index_t count) {
    BoundedSum sum;
    std::vector<Edge> edges;
    for (index_t i = 0; i < count; ++i) {
      const Id x = a[i * a_stride], y = b[i * b_stride];
      const Bounded &p = value(x), &q = value(y);
      sum.add({p.value * q.value, std::fabs(p.value) * q.error + std::fabs(q.value) * p.error + p.error * q.error});
      edges.push_back({x, q});
      edges.push_back({y, p});
    }
    ++sum.terms;
    return node(sum.result(fp_.unit), std::move(edges));
  }
  Id sum(const Ids& terms) {
    BoundedSum total;
    std::vector<Edge> edges;
    for (const Id t : terms) {
      total.add(value(t));
      edges.push_back({t, {1, 0}});
    }
    return node(total.result(fp_.unit), std::move(edges));
  }

  /// Gradients of sum of seeds[i] * outputs[i] with respect to every node.
  void backward(const Ids& outputs, const std::vector<Bounded>& seeds) {
    std::vector<BoundedSum> sums(nodes_.size());
    gradients_.assign(nodes_.size(), {});
    for (std::size_t i = 0; i < outputs.size(); ++i) sums[static_cast<std::size_t>(outputs[i])].add(seeds[i]);
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      gradients_[i] = sums[i].result(fp_.unit);
      if (sums[i].terms == 0) continue;
      for (const Edge& e : nodes_[i].edges)
        sums[static_cast<std::size_t>(e.input)].add(fp_.multiply(gradients_[i], e.derivative));
    }
  }
  std::vector<Bounded> gradients(const Ids& ids) const {
    std::vector<Bounded> out;
    for (const Id i : ids) out.push_back(gradients_[static_cast<std::size_t>(i)]);
    return out;
  }
  std::vector<Bounded> values(const Ids& ids) const {
    std::vector<Bounded> out;
    for (const Id i : ids) out.push_back(value(i));
    return out;
  }

 private:
  struct Edge {
    Id input;
    Bounded derivative;
  };
  struct Node {
    Bounded value;
    std::vector<Edge> edges;
  };
  Id node(Bounded v, std::vector<Edge> edges) {
    nodes_.push_back({v, std::move(edges)});
    return static_cast<Id>(nodes_.size()) - 1;
  }

  Rounding fp_{0x1p-24};
  std::vector<Node> nodes_;
  std::vector<Bounded> gradients_;
};

/// y = x W^T + b on the tape.   x (n, k), w (m, k), b (m) or empty
inline ErrorTape::Ids linear(ErrorTape& t, const ErrorTape::Ids& x, const ErrorTape::Ids& w, index_t n, index_t m,
                             index_t k, const ErrorTape::Ids& bias = {}) {
  ErrorTape::Ids out;
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j < m; ++j) {
      const ErrorTape::Id y = t.dot(x.data() + i * k, 1, w.data() + j * k, 1, k);
      out.push_back(bias.empty() ? y : t.add(y, bias[static_cast<std::size_t>(j)]));
    }
  }
  return out;
}

/// x / (1 + exp(-x))
inline ErrorTape::Id silu(ErrorTape& t, ErrorTape::Id x) {
  return t.divide(x, t.add(t.leaf({1, 0}), t.exp(t.scale(x, -1))));
}

}  // namespace qat::golden
