// Which kernels the tests run: the log lists each with its laws, and a kernel that no test case launches fails.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "qat/kernels/cuda/launch.cuh"
#include "support/final_check.hpp"

namespace {

std::map<std::string, std::set<std::string>>& laws() {  // by kernel: the test cases that launch it
  static std::map<std::string, std::set<std::string>> laws;
  return laws;
}

/// A kernel's name without namespace and arguments of templates.
std::string plain_name(const std::string& kernel) {
  const std::string name = kernel.substr(0, kernel.find('<'));
  const std::size_t colon = name.rfind(':');
  return colon == std::string::npos ? name : name.substr(colon + 1);
}

/// Names of the structs of a header that are called with a context.
std::vector<std::string> kernels_in(const std::string& text) {
  std::vector<std::string> names;
  std::string last;
  std::istringstream lines(text);
  static const std::regex structure("^struct (\\w+).*"), body(".* operator\\(\\)\\(const Context& c\\) const \\{");
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_match(line, match, structure)) last = match[1];
    if (std::regex_match(line, body)) names.push_back(last);
  }
  return names;
}

std::vector<std::string> kernels_without_laws() {
  std::vector<std::string> problems;
  std::size_t kernels = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(QAT_SOURCE_ROOT "/include/qat")) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path());
    std::ostringstream text;
    text << file.rdbuf();
    for (const std::string& name : kernels_in(text.str())) {
      ++kernels;
      const auto found = laws().find(name);
      if (found == laws().end())
        problems.push_back(entry.path().filename().string() + ": no test case launches " + name);
      else
        for (const std::string& law : found->second) std::printf("kernel %s: %s\n", name.c_str(), law.c_str());
    }
  }
  if (kernels == 0) problems.push_back("include/qat: no kernels found");
  return problems;
}

const bool registered = [] {
  qat::emulation::launch_observer() = [](const std::string& kernel) {
    laws()[plain_name(kernel)].insert(qat::test::current_case());
  };
  qat::test::final_checks().push_back({"every CUDA kernel is launched by a test case", kernels_without_laws});
  return true;
}();

}  // namespace

TEST_CASE("cuda kernels: the list of kernels is found in a header's text") {
  CHECK(registered);
  const std::string body =
      "  template <class Context>\n  QAT_HOST_DEVICE void operator()(const Context& c) const {\n  }\n};\n";
  const auto names =
      kernels_in("struct Shape {\n  static constexpr int kThreads = 64;\n};\ntemplate <class T>\nstruct A {\n" + body +
                 "struct B : A<int> {\n" + body);
  CHECK(names == std::vector<std::string>{"A", "B"});
  CHECK(plain_name("detail::A<B<float>, 4>") == "A");
  CHECK(plain_name("A") == "A");
}
