// The tape: operations on tensors in the order they ran, walked once in reverse to compute gradients.
//
// A record is a small struct that names its inputs and owns the tensors its backward pass needs. Memory is visible:
// every tensor on the tape is the value of a node or a member of a record, and the reverse walk frees both as it goes.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "qat/autodiff/variable.hpp"
#include "qat/backend/cpu.hpp"
#include "qat/kernels/cpu/elementwise.hpp"
#include "qat/ops/grad_mode.hpp"
#include "qat/optim/parameter.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// Where a backward function writes one gradient, and how. Null with kSkip when nobody wants it.
struct GradTarget {
  Tensor<float>* tensor = nullptr;
  GradMode mode = GradMode::kSkip;

  template <int Rank>
  View<float, Rank> view() const {
    return tensor == nullptr ? View<float, Rank>{} : tensor->template view<Rank>();
  }
  View<float, 1> flat() const { return tensor == nullptr ? View<float, 1>{} : tensor->flat(); }
  View<float, 2> matrix() const { return tensor == nullptr ? View<float, 2>{} : tensor->matrix(); }
};

/// Own operations are added with record(): see functions.hpp for the pattern and gradcheck.hpp to test them.
class Tape {
 public:
  explicit Tape(const CpuBackend& backend) : backend_(backend) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  const CpuBackend& backend() const { return backend_; }

  /// A tensor no gradient flows to.
  Variable constant(Tensor<float> value) { return add_node(std::move(value), nullptr, false, true); }
  /// A tensor whose gradient stays readable with gradient() after backward().
  Variable leaf(Tensor<float> value) { return add_node(std::move(value), nullptr, true, true); }
  /// A parameter: the value stays where it is, the gradient is added to parameter.grad. One node per parameter and
  /// tape.
  Variable parameter(Parameter& parameter) {
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].parameter == &parameter) return {static_cast<index_t>(i)};
    return add_node(Tensor<float>(), &parameter, true, true);
  }

  const Tensor<float>& value(Variable v) const {
    const Node& n = node(v);
    if (n.parameter != nullptr) return n.parameter->value;
    QAT_CHECK(!n.taken, kInvalidArgument, "Tape: the value of variable ", v.index,
              " is gone: an operation reused its storage, or backward has freed it");
    return n.value;
  }
  bool needs_grad(Variable v) const { return v.valid() && node(v).needs_grad; }

  /// The gradient of a leaf after backward(); empty if nothing depends on it.
  const Tensor<float>& gradient(Variable v) const { return node(v).parameter ? node(v).parameter->grad : node(v).grad; }

  // --- for operations, forward -------------------------------------------------------------------------------------

  /// Notes that a record will read v's value in its backward pass; call it from the forward pass.
  void save(Variable v) { ++node(v).saves; }

  /// Storage with v's value for an operation that works in place: v's own if no record saved it, a copy otherwise.
  Tensor<float> take_value(Variable v) {
    Node& n = node(v);
    if (n.parameter != nullptr || n.leaf || n.saves > 0) return value(v).clone();
    QAT_CHECK(!n.taken, kInvalidArgument, "Tape: the value of variable ", v.index, " was taken before");
    n.taken = true;
    return std::move(n.value);
  }

  /// Says that no operation to come will read v's value: freed now unless a record saved it.
  void discard(Variable v) {
    Node& n = node(v);
    n.derived.reset();
    if (n.parameter != nullptr || n.leaf || n.saves > 0 || n.taken) return;
    n.taken = true;
    n.value = Tensor<float>();
  }

  /// What an operation made of v's value and others can use again, such as its int8 codes; null if nothing of type T is
  /// kept.
  template <class T>
  std::shared_ptr<const T> derived(Variable v) const {
    const Node& n = node(v);
    return n.derived_type == &kTypeKey<T> ? std::static_pointer_cast<const T>(n.derived) : nullptr;
  }
  /// Keeps it until discard(v) or the end of the tape; one object a variable.
  template <class T>
  void set_derived(Variable v, std::shared_ptr<const T> object) {
    node(v).derived_type = &kTypeKey<T>;
    node(v).derived = std::move(object);
  }

  /// Appends an operation that produced `output`. Record has `void backward(Tape&, Tensor<float> gradient)`, which
  /// receives the gradient of the output and passes gradients on with target() or give(). If no input needs a gradient
  /// the record is dropped.
  template <class Record>
  Variable record(Tensor<float> output, bool any_input_needs_grad, Record record) {
    const Variable v = add_node(std::move(output), nullptr, any_input_needs_grad, false);
    if (any_input_needs_grad) records_.push_back({std::make_unique<Holder<Record>>(std::move(record)), v});
    return v;
  }
  /// The same for an operation whose result is no float tensor, such as int8 codes kept by their readers: a node that
  /// collects the gradient of a tensor of this shape and has no value.
  template <class Record>
  Variable record_without_value(const Shape& shape, bool any_input_needs_grad, Record record) {
    const Variable v = this->record(Tensor<float>(), any_input_needs_grad, std::move(record));
    node(v).shape = shape;
    node(v).taken = true;
    return v;
  }

  // --- for operations, backward ------------------------------------------------------------------------------------

  /// Where the gradient of v goes: overwritten at its first use, accumulated later, skipped if v needs none.
  GradTarget target(Variable v) {
    if (!needs_grad(v)) return {};
    Node& n = node(v);
    if (n.parameter != nullptr) return {&n.parameter->ensure_grad(), GradMode::kAccumulate};
    if (n.has_grad) return {&n.grad, GradMode::kAccumulate};
    n.grad = Tensor<float>::uninitialized(n.shape);
    n.has_grad = true;
    return {&n.grad, GradMode::kOverwrite};
  }

  /// Hands a finished gradient to v: moved in at its first use, added later.
  void give(Variable v, Tensor<float> gradient) {
    if (!needs_grad(v)) return;
    Node& n = node(v);
    QAT_CHECK(gradient.size() == n.shape.size(), kShapeMismatch, "Tape: gradient of ", gradient.size(),
              " elements for variable ", v.index, ", which has shape ", to_string(n.shape));
    if (n.parameter == nullptr && !n.has_grad) {
      gradient.reshape(n.shape);
      n.grad = std::move(gradient);
      n.has_grad = true;
      return;
    }
    Tensor<float>& sum = n.parameter != nullptr ? n.parameter->ensure_grad() : n.grad;
    kernels::add(backend_, sum.data(), gradient.data(), sum.size(), sum.data());
  }

  /// For the record that is the last to read v's saved value: that storage if no other record needs it (its content is
  /// then v's value), empty otherwise. Lets a gradient overwrite the activation it belongs to.
  Tensor<float> reuse_value(Variable v) {
    Node& n = node(v);
    if (n.parameter != nullptr || n.leaf || n.taken || n.saves != 1 || n.value.empty()) return {};
    n.taken = true;
    return std::move(n.value);
  }
  /// Takes back one save(): every record does so for what it saved, at the end of its backward pass.
  void unsave(Variable v) { --node(v).saves; }

  // -----------------------------------------------------------------------------------------------------------------

  /// Adds d(seed * output) / d(parameter) to every parameter's gradient; output has one element. The tape is used up:
  /// records, their saved tensors and the values they produced are freed while walking back.
  void backward(Variable output, float seed = 1.0f) {
    QAT_CHECK(node(output).shape.size() == 1, kShapeMismatch, "Tape::backward: the output has shape ",
              to_string(node(output).shape), ", must have one element; give the gradient of a larger one");
    Tensor<float> one = Tensor<float>::uninitialized(node(output).shape);
    one.fill(seed);
    backward(output, std::move(one));
  }
  /// The same for an output of any shape, given the gradient of what is minimized with respect to it.
  void backward(Variable output, Tensor<float> gradient) {
    give(output, std::move(gradient));
    while (!records_.empty()) {
      Entry entry = std::move(records_.back());
      records_.pop_back();
      Node& n = node(entry.output);
      if (n.has_grad) {
        Tensor<float> upstream = std::move(n.grad);
        n.has_grad = false;
        entry.record->backward(*this, std::move(upstream));
      }
      Node& done = node(entry.output);
      done.value = Tensor<float>();
      done.derived.reset();
      done.taken = true;
    }
  }

  /// Forgets everything; handles become invalid.
  void clear() {
    records_.clear();
    nodes_.clear();
  }

  index_t node_count() const { return static_cast<index_t>(nodes_.size()); }
  index_t record_count() const { return static_cast<index_t>(records_.size()); }

 private:
  struct Node {
    Tensor<float> value, grad;
    Shape shape;
    Parameter* parameter = nullptr;
    std::shared_ptr<const void> derived;
    const char* derived_type = nullptr;
    int saves = 0;
    bool needs_grad = false, leaf = false, has_grad = false, taken = false;
  };
  template <class T>
  static inline const char kTypeKey = 0;  // its address names the type

  struct RecordBase {
    virtual ~RecordBase() = default;
    virtual void backward(Tape& tape, Tensor<float> gradient) = 0;
  };
  template <class Record>
  struct Holder final : RecordBase {
    explicit Holder(Record r) : record(std::move(r)) {}
    void backward(Tape& tape, Tensor<float> gradient) override { record.backward(tape, std::move(gradient)); }
    Record record;
  };
  struct Entry {
    std::unique_ptr<RecordBase> record;
    Variable output;
  };

  Variable add_node(Tensor<float> value, Parameter* parameter, bool needs_grad, bool leaf) {
    Node n;
    n.shape = parameter != nullptr ? parameter->value.shape() : value.shape();
    n.value = std::move(value);
    n.parameter = parameter;
    n.needs_grad = needs_grad;
    n.leaf = leaf;
    nodes_.push_back(std::move(n));
    return {static_cast<index_t>(nodes_.size()) - 1};
  }
  Node& node(Variable v) {
    QAT_CHECK(v.index >= 0 && v.index < node_count(), kInvalidArgument, "Tape: variable ", v.index,
              " is not on this tape of ", node_count());
    return nodes_[static_cast<std::size_t>(v.index)];
  }
  const Node& node(Variable v) const { return const_cast<Tape*>(this)->node(v); }

  const CpuBackend& backend_;
  std::vector<Node> nodes_;
  std::vector<Entry> records_;
};

}  // namespace qat::inline v0
