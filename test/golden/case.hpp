// One folder of golden cases (cases.json and tensors.safetensors), and what became of each role of a case.
#pragma once

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "qat/io/json.hpp"
#include "qat/io/safetensors.hpp"
#include "qat/quant/affine.hpp"
#include "support/compare.hpp"

namespace qat::golden {

/// A tensor as stored: exactly one of the three holds its elements. bfloat16 and half are widened to fp32 (exact).
struct Array {
  DType dtype = DType::kF32;
  std::vector<index_t> shape;
  std::vector<float> floats;
  std::vector<double> doubles;
  std::vector<std::int64_t> integers;

  index_t size() const {
    index_t n = 1;
    for (const index_t extent : shape) n *= extent;
    return n;
  }
  index_t columns() const { return shape.empty() ? 1 : shape.back(); }
  index_t rows() const { return columns() == 0 ? 0 : size() / columns(); }
  /// fp32, bf16 or fp16; throws for others.
  FloatType float_type() const {
    if (dtype == DType::kF16) return FloatType::kFloat16;
    if (dtype == DType::kBF16) return FloatType::kBfloat16;
    QAT_CHECK(dtype == DType::kF32, kUnsupported, "tensor is ", info(dtype).name, "; accepted: F32, BF16, F16");
    return FloatType::kFloat32;
  }
};

template <class T>
std::vector<std::int64_t> widen(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

inline Array read_array(const SafetensorView& view) {
  Array out{view.dtype, view.shape, {}, {}, {}};
  switch (view.dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      out.floats.resize(static_cast<std::size_t>(view.size()));
      view.to_float(out.floats.data());
      break;
    case DType::kF64:
      out.doubles = view.values<double>(DType::kF64);
      break;
    case DType::kI8:
      out.integers = widen(view.values<std::int8_t>(DType::kI8));
      break;
    case DType::kU8:
      out.integers = widen(view.values<std::uint8_t>(DType::kU8));
      break;
    case DType::kI32:
      out.integers = widen(view.values<std::int32_t>(DType::kI32));
      break;
    case DType::kI64:
      out.integers = widen(view.values<std::int64_t>(DType::kI64));
      break;
    default:
      raise(ErrorCode::kUnsupported, "tensor ", view.name, " is ", info(view.dtype).name,
            "; accepted: F32 F16 BF16 F64 I8 U8 I32 I64");
  }
  return out;
}

/// A folder: its cases by id, and their tensors.
struct Folder {
  const Safetensors& tensors;
  const std::map<std::string, const Json*>& cases;
};

/// A case: its spec and tensors, which outputs were compared and how that went.
/// Every role must be read as an input or compared; what is left over when the case ends fails it.
class Case {
 public:
  Case(const Json& json, const Folder& folder)
      : json_(json), spec_(json.at("spec"), json.at("id").get<std::string>() + ": spec"), folder_(folder) {}

  std::string id() const { return json_.at("id").get<std::string>(); }
  std::string family() const { return json_.at("family").get<std::string>(); }
  const JsonFields& spec() const { return spec_; }
  bool flag(const char* name) const { return spec_.boolean_or(name, false); }
  bool has(const std::string& role) const { return json_.at("tensors").contains(role); }

  /// Another case of the folder, to read inputs from; null when it is not there.
  std::unique_ptr<Case> sibling(const std::string& id) const {
    const auto found = folder_.cases.find(id);
    return found == folder_.cases.end() ? nullptr : std::make_unique<Case>(*found->second, folder_);
  }

  /// A tensor that the comparison starts from.
  const Array& input(const std::string& role) {
    done_.insert(role);
    return array(role);
  }
  /// A tensor to compare with; comparing marks it.
  const Array& expected(const std::string& role) { return array(role); }

  /// The case's `tolerance` names the role, `*`, or the role without `_inclusive` / `_wide_inclusive`: such a role is
  /// the same sum under another mask.
  bool tolerated(std::string role) const {
    const Json& tolerance = json_.at("tolerance");
    for (const char* suffix : {"_wide_inclusive", "_inclusive"}) {
      if (tolerance.contains(role) || tolerance.contains("*")) return true;
      if (role.ends_with(suffix)) role.resize(role.size() - std::string(suffix).size());
    }
    return tolerance.contains(role) || tolerance.contains("*");
  }

  /// Bit for bit. `how` names the path that computed `actual` where there are several.
  void exact(const std::string& role, const std::vector<float>& actual, const std::vector<index_t>& shape,
             const char* how = "") {
    const Array& e = array(role);
    if (!e.floats.empty()) {
      settle(role, how, test::compare_bits(test::Values<float>(e.floats.data(), e.shape), {actual.data(), shape}),
             false);
    } else {
      std::vector<std::int64_t> integers(actual.size());
      for (std::size_t i = 0; i < actual.size(); ++i) integers[i] = static_cast<std::int64_t>(actual[i]);
      exact(role, integers, shape, how);
    }
  }
  void exact(const std::string& role, const std::vector<std::int64_t>& actual, const std::vector<index_t>& shape,
             const char* how = "") {
    const Array& e = array(role);
    using Values = test::Values<std::int64_t>;
    if (e.integers.empty())
      return fail(role, how, std::string("stored as ") + info(e.dtype).name + ", not as integers");
    settle(role, how, test::compare_bits(Values(e.integers.data(), e.shape), Values(actual.data(), shape)), false);
  }

  /// Bit for bit or, if the case's tolerance names the role, within the bound of each element. An fp64 role is a
  /// reference for an fp32 result: both are compared as doubles. Elements with excused[i] (none if empty) are left out.
  void within(const std::string& role, std::vector<float> actual, const std::vector<index_t>& shape,
              const std::vector<double>& bounds, const std::vector<bool>& excused = {}, const char* how = "") {
    if (excuse(role, actual, excused)) excused_.insert(role);
    const Array& e = array(role);
    if (!tolerated(role)) return exact(role, actual, shape, how);
    if (!e.floats.empty()) {
      settle(role, how,
             test::compare_within(test::Values<float>(e.floats.data(), e.shape), {actual.data(), shape}, bounds), true);
    } else {
      const std::vector<double> wide(actual.begin(), actual.end());
      using Values = test::Values<double>;
      settle(role, how, test::compare_within(Values(e.doubles.data(), e.shape), Values(wide.data(), shape), bounds),
             true);
    }
  }

  /// Bit for bit, except elements with excused[i]: what torchao does there is recorded, not a rule, and the caller
  /// checks our own rule instead.
  template <class T>
  void exact_but(const std::string& role, std::vector<T> actual, const std::vector<index_t>& shape,
                 const std::vector<bool>& excused, const char* how = "") {
    const bool differs = excuse(role, actual, excused);
    exact(role, actual, shape, how);
    if (differs) excused_.insert(role);
  }

  void fail(const std::string& role, const char* how, const std::string& what) {
    done_.insert(role);
    roles_[role] = 3;
    std::string where = "role " + role;
    if (*how != '\0') where += std::string(" (") + how + ")";
    failures_.push_back(where + ": " + what);
  }
  void fail(const std::string& what) { failures_.push_back(what); }

  /// Marks what nothing read or compared.
  void finish() {
    for (const auto& [role, key] : json_.at("tensors").items())
      if (!done_.contains(role)) fail(role, "", "not compared");
    if (roles_.empty() && failures_.empty()) fail("nothing was compared");
  }

  bool failed() const { return !failures_.empty(); }
  const std::vector<std::string>& failures() const { return failures_; }
  std::string spec_text() const {
    Json short_spec = json_.at("spec");
    short_spec.erase("row_kinds");
    return short_spec.dump();
  }
  int compared_roles() const { return static_cast<int>(roles_.size()); }
  int exact_roles() const { return count(1); }
  int bounded_roles() const { return count(2); }
  int excused_roles() const { return static_cast<int>(excused_.size()); }
  double worst_ratio() const { return worst_; }

 private:
  const Array& array(const std::string& role) {
    std::unique_ptr<Array>& slot = arrays_[role];
    if (slot == nullptr) {
      const Json& keys = json_.at("tensors");
      QAT_CHECK(keys.contains(role), kUnsupported, "role ", role, " is missing");
      slot = std::make_unique<Array>(read_array(folder_.tensors.at(keys.at(role).get<std::string>())));
    }
    return *slot;
  }
  /// Replaces the excused elements by the stored ones; true if that made a difference.
  template <class T>
  bool excuse(const std::string& role, std::vector<T>& actual, const std::vector<bool>& excused) {
    const Array& e = array(role);
    bool differs = false;
    for (std::size_t i = 0; i < actual.size() && i < excused.size() && static_cast<index_t>(i) < e.size(); ++i) {
      if (!excused[i]) continue;
      const T theirs = e.floats.empty() ? static_cast<T>(e.integers[i]) : static_cast<T>(e.floats[i]);
      differs = differs || !(theirs == actual[i]);
      actual[i] = theirs;
    }
    return differs;
  }
  void settle(const std::string& role, const char* how, const test::Comparison& c, bool bounded) {
    if (!c.passed) return fail(role, how, c.report);
    done_.insert(role);
    roles_[role] = std::max(roles_[role], bounded && c.different > 0 ? 2 : 1);
    if (bounded) worst_ = std::max(worst_, c.worst);
  }
  int count(int state) const {
    int n = 0;
    for (const auto& [role, value] : roles_) n += value == state && !excused_.contains(role);
    return n;
  }

  const Json& json_;
  JsonFields spec_;
  const Folder& folder_;
  std::map<std::string, std::unique_ptr<Array>> arrays_;
  std::set<std::string> done_, excused_;
  std::map<std::string, int> roles_;  ///< 1 bit exact, 2 within its bound, 3 failed
  std::vector<std::string> failures_;
  double worst_ = 0;
};

/// fp32, bf16, fp16 as cases name them.
inline FloatType parse_float_type(const std::string& name, const std::string& where) {
  if (name == "fp32") return FloatType::kFloat32;
  if (name == "bf16") return FloatType::kBfloat16;
  QAT_CHECK(name == "fp16", kUnsupported, where, " is ", name, "; accepted: fp32, bf16, fp16");
  return FloatType::kFloat16;
}
inline ScaleType scale_type_of(FloatType type) {
  return type == FloatType::kFloat16    ? ScaleType::kFloat16
         : type == FloatType::kBfloat16 ? ScaleType::kBfloat16
                                        : ScaleType::kFloat32;
}

}  // namespace qat::golden
