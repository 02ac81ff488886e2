// The test support itself: skips are counted, data is found where the environment says.
#include <doctest/doctest.h>

#include <cstdlib>

#include "support/data.hpp"
#include "support/skip.hpp"

TEST_CASE("shared data is looked for where QAT_SHARED_DATA says") {
  const char* before = std::getenv("QAT_SHARED_DATA");
  const std::string saved = before != nullptr ? before : "";
  setenv("QAT_SHARED_DATA", (qat::test::source_root() / "include").c_str(), 1);
  CHECK(qat::test::find_shared_data("qat/base").has_value());
  CHECK_FALSE(qat::test::find_shared_data("no-such-folder").has_value());
  if (before != nullptr)
    setenv("QAT_SHARED_DATA", saved.c_str(), 1);
  else
    unsetenv("QAT_SHARED_DATA");
}

TEST_CASE("the committed tree is where the build says") {
  CHECK(std::filesystem::exists(qat::test::source_root() / "include" / "qat" / "base" / "config.hpp"));
  CHECK(qat::test::read_file(qat::test::source_root() / "LICENSE").find("Apache License") != std::string::npos);
}
