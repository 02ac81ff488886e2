// The bridge from run-time specs to compiled schemes: every menu entry arrives as itself, everything else as a value.
#include "qat/quant/visit.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <type_traits>

using namespace qat;

namespace {
/// Calls of the visitor, and whether the last was with a compile-time policy.
struct Visit {
  int calls = 0;
  bool compiled = false;
  QuantSpec spec;
};
Visit visit(const QuantSpec& spec) {
  Visit out;
  visit_spec(spec, [&](auto policy) {
    ++out.calls;
    out.compiled = !std::is_same_v<decltype(policy), RuntimePolicy>;
    out.spec = policy.spec;
  });
  return out;
}
}  // namespace

TEST_CASE("every entry of the menu is valid, appears once, and visits as a compile-time policy") {
  CHECK(kMenuSize > 20);
  for (int i = 0; i < kMenuSize; ++i) {
    CAPTURE(to_string(kMenu[i]).c_str());
    CHECK_NOTHROW(validate(kMenu[i]));
    for (int k = 0; k < i; ++k) CHECK_FALSE(kMenu[k] == kMenu[i]);
    const Visit v = visit(kMenu[i]);
    CHECK(v.calls == 1);
    CHECK(v.compiled);
    CHECK(v.spec == kMenu[i]);
    CHECK(in_menu(kMenu[i]));
  }
}

TEST_CASE("a spec outside the menu visits once as a value") {
  for (const char* text : {"int4:group31:symmetric", "uint7:tensor:asymmetric", "int4:group32:symmetric:toward_zero",
                           "int4:group32:symmetric:eps=0.001", "int3:block4x4:signed_extremum:e4m3"}) {
    CAPTURE(text);
    const QuantSpec spec = parse_spec(text);
    const Visit v = visit(spec);
    CHECK(v.calls == 1);
    CHECK_FALSE(v.compiled);
    CHECK(v.spec == spec);
    CHECK_FALSE(in_menu(spec));
  }
}

TEST_CASE("policies carry their spec at compile time") {
  visit_spec(spec_of<Int4, PerGroup<32>, Symmetric>, [](auto policy) {
    if constexpr (!std::is_same_v<decltype(policy), RuntimePolicy>) static_assert(decltype(policy)::spec.bits >= 2);
  });
  static_assert(QuantPolicy<Int4, PerGroup<32>, Symmetric>::spec == spec_of<Int4, PerGroup<32>, Symmetric>);
  CHECK(in_menu(parse_spec("int4:group32:symmetric")));
}
