// The machine that figures come from has a name.
#include "qat/recipe/machine.hpp"

#include <doctest/doctest.h>

using namespace qat;

TEST_CASE("a machine states its processor, threads, instruction set and compiler on one line each") {
  const CpuBackend backend(2);
  const Json machine = recipe::machine_json(backend);
  CHECK(machine.at("threads") == 2);
  bool known = false;
  for (const Target target : supported_targets()) known = known || machine.at("target") == name(target);
  CHECK(known);
  for (const char* key : {"processor", "compiler"}) {
    const auto text = machine.at(key).get<std::string>();
    CHECK_FALSE(text.empty());
    CHECK(text.front() != ' ');
    CHECK(text.back() != ' ');
    CHECK(text.find_first_of(std::string("\n\0", 2)) == text.npos);
  }
}
