// Metrics: one line a step, none twice and none lost, whatever happened to the process before.
#include "qat/recipe/metrics_file.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::recipe::MetricsFile;
using qat::test::TempDir;

namespace {
/// Lines of steps [from, to).
std::string metric_lines(index_t from, index_t to) {
  std::string text;
  for (index_t i = from; i < to; ++i) text += "{\"step\":" + std::to_string(i) + ",\"loss\":0.5}\n";
  return text;
}
/// What the file holds after a run went on at `step`, with lines of further steps up to `to`.
std::string resumed(const std::string& before, index_t step, index_t to, index_t missing = 0) {
  const TempDir dir;
  test::write_bytes(dir / "m", before);
  MetricsFile file(dir / "m", step);
  CHECK(file.missing() == missing);
  for (index_t i = step; i < to; ++i) file.write(i, {{"loss", 0.5}});
  file.sync();
  return test::read_file(dir / "m");
}
}  // namespace

TEST_CASE("a fresh file gets a line a step") {
  const TempDir dir;
  MetricsFile file(dir / "m", 0);
  file.write(0, {{"loss", 0.1}, {"grad_norm", 2.0}});
  file.write(1, nlohmann::ordered_json::object());
  CHECK(test::read_file(dir / "m") == "{\"step\":0,\"loss\":0.1,\"grad_norm\":2.0}\n{\"step\":1}\n");
  CHECK(file.missing() == 0);
}

TEST_CASE("steps from the resumed one on are cut off, earlier ones stay") {
  for (const index_t written : {10, 11, 15, 1000})
    CHECK(resumed(metric_lines(0, written), 10, 12) == metric_lines(0, 12));
  CHECK(resumed(metric_lines(0, 10), 0, 3) == metric_lines(0, 3));
  CHECK(resumed("", 0, 3) == metric_lines(0, 3));
}

TEST_CASE("half a line is cut off, wherever the process died") {
  const std::string whole = metric_lines(0, 12);
  for (std::size_t size = metric_lines(0, 10).size(); size <= whole.size(); ++size)
    CHECK(resumed(whole.substr(0, size), 10, 12) == whole);
}

TEST_CASE("what is no line of a step ends what is kept; steps that are gone are counted") {
  CHECK(resumed(metric_lines(0, 4), 10, 12, 6) == metric_lines(0, 4) + metric_lines(10, 12));
  for (const char* junk : {"\n", "junk\n", "{\"step\":x}\n", "{\"step\":5;\n", "{\"step\":5", "{\"step\":-1}\n",
                           "{\"loss\":1}\n", "{\"step\":99999999999999999999999,\"loss\":1}\n"}) {
    CAPTURE(junk);
    CHECK(resumed(metric_lines(0, 4) + junk + metric_lines(5, 9), 10, 10, 6) == metric_lines(0, 4));
  }
  CHECK(resumed(std::string(5000, '\0'), 2, 2, 2).empty());
}

TEST_CASE("a line that does not fit is not begun") {
  const TempDir dir;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit tight = before;
  const std::string expected = metric_lines(0, 100);
  tight.rlim_cur = expected.size() + 5;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  MetricsFile file(dir / "m", 0);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  for (index_t i = 0; i < 100; ++i) file.write(i, {{"loss", 0.5}});
  QAT_CHECK_ERROR(file.write(100, {{"loss", 0.5}}), "m: cannot write: File too large");
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(test::read_file(dir / "m") == expected);
  file.write(100, {{"loss", 0.5}});
  CHECK(test::read_file(dir / "m") == metric_lines(0, 101));
  QAT_CHECK_ERROR(MetricsFile(dir / "none/m", 0), "none/m: cannot write");
}
