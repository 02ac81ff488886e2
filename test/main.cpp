// The one doctest runner. It adds what doctest does not count: cases skipped for lack of data, and cases that checked
// nothing. The last line it prints, `[qat-test] P passed, F failed, S skipped`, is what ./dev test adds up.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "support/final_check.hpp"
#include "support/skip.hpp"

namespace {

int passed = 0, failed = 0, skipped = 0;
bool all_cases = false;

struct Counter : doctest::IReporter {
  const doctest::TestCaseData* current = nullptr;
  int skips_before = 0;
  explicit Counter(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    all_cases = stats.numTestCasesPassingFilters == stats.numTestCases;
  }
  void test_case_start(const doctest::TestCaseData& data) override {
    current = &data;
    skips_before = qat::test::skip_count();
    qat::test::current_case() = data.m_name;
  }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    const int skips = qat::test::skip_count() - skips_before;
    skipped += skips;
    if (!stats.testCaseSuccess) {
      ++failed;
      std::printf("FAILED: %s (%s:%d)\n", current->m_name, current->m_file.c_str(), static_cast<int>(current->m_line));
    } else if (stats.numAssertsCurrentTest > 0) {
      ++passed;
    } else if (skips == 0) {
      ++failed;
      std::printf("FAILED: %s (%s:%d: it asserted nothing)\n", current->m_name, current->m_file.c_str(),
                  static_cast<int>(current->m_line));
    }
  }
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("counter", 1, Counter);

}  // namespace

int main(int argc, char** argv) {
  doctest::Context context;
  context.applyCommandLine(argc, argv);
  const int result = context.run();
  if (context.shouldExit()) return result;  // --help, --list-test-cases
  if (all_cases)
    for (const qat::test::FinalCheck& check : qat::test::final_checks()) {
      const std::vector<std::string> problems = check.problems();
      ++(problems.empty() ? passed : failed);
      if (!problems.empty()) std::printf("FAILED: %s\n", check.name.c_str());
      for (const std::string& problem : problems) std::printf("  %s\n", problem.c_str());
    }
  std::printf("[qat-test] %d passed, %d failed, %d skipped\n", passed, failed, skipped);
  if (passed + failed + skipped == 0) std::printf("FAILED: no test case ran\n");
  return result != 0 || failed != 0 || passed + skipped == 0 ? 1 : 0;
}
