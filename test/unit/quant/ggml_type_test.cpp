// Tensor types of ggml.
#include "qat/quant/ggml_type.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace qat;

TEST_CASE("ggml types: each number and name is listed once and leads back to itself") {
  std::set<std::string> names;
  std::set<std::uint32_t> numbers;
  for (const GgmlTypeInfo& entry : kGgmlTypes) {
    CHECK(names.insert(entry.name).second);
    CHECK(numbers.insert(static_cast<std::uint32_t>(entry.type)).second);
    CHECK(&info(entry.type) == &entry);
    CHECK(find_ggml_type(static_cast<std::uint32_t>(entry.type)) == &entry);
  }
  for (const std::uint32_t removed : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 0xFFFFFFFFu})
    CHECK(find_ggml_type(removed) == nullptr);
}
