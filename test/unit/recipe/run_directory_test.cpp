// Output directories of runs: refused, resumed or overwritten, never mixed up.
#include "qat/recipe/run_directory.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;
using namespace qat::recipe;
using test::TempDir;

namespace {
Json described(index_t steps) { return {{"format", "qat-run"}, {"version", 1}, {"steps", steps}}; }
/// A run with checkpoints after 20 and 100 steps.
void make_run(const std::string& path) {
  const RunDirectory run(path, ExistingRun::kRefuse);
  run.write_description(described(600));
  test::write_bytes(run.metrics(), "{\"step\":0}\n");
  make_directory(run.checkpoint(100));
  make_directory(run.checkpoint(20));
}
}  // namespace

TEST_CASE("a new or empty directory takes a run") {
  const TempDir dir;
  {
    const RunDirectory run(dir / "new", ExistingRun::kRefuse);
    CHECK(run.description().is_null());
    CHECK(run.checkpoint_steps().empty());
    CHECK(run.metrics() == dir / "new/metrics.jsonl");
    CHECK(run.checkpoint(7) == dir / "new/checkpoints/step-000007");
    CHECK(run.checkpoint(12345678) == dir / "new/checkpoints/step-12345678");
  }
  // What a process leaves that died before it wrote run.json is no run.
  test::write_bytes(dir / "new/run.json.tmp-77-0", "{");
  for (const ExistingRun existing : {ExistingRun::kRefuse, ExistingRun::kResume, ExistingRun::kOverwrite})
    CHECK(RunDirectory(dir / "new", existing).description().is_null());
  CHECK_FALSE(file_exists(dir / "new/run.json.tmp-77-0"));
  QAT_CHECK_ERROR(RunDirectory(dir / "none/new", ExistingRun::kRefuse), "none/new", "cannot create directory");
}

TEST_CASE("a run is refused, saying what it is, and untouched") {
  const TempDir dir;
  make_run(dir / "d");
  QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kRefuse), "d: holds a run of 600 steps", "after step 100",
                  "resume it, overwrite it");
  CHECK(file_exists(dir / "d/metrics.jsonl"));
  remove_directory(dir / "d/checkpoints");
  QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kRefuse), "without a checkpoint");
}

TEST_CASE("a run is resumed with its checkpoints in the order of their steps") {
  const TempDir dir;
  make_run(dir / "d");
  make_directory(dir / "d/checkpoints/.unfinished-step-000200");
  make_directory(dir / "d/checkpoints/step-300");
  make_directory(dir / "d/checkpoints/other");
  const RunDirectory run(dir / "d", ExistingRun::kResume);
  CHECK(run.description() == described(600));
  CHECK(run.checkpoint_steps() == std::vector<index_t>{20, 100});
  CHECK_FALSE(is_directory(dir / "d/checkpoints/.unfinished-step-000200"));
  CHECK(file_exists(run.metrics()));
}

TEST_CASE("a run that is overwritten loses checkpoints and metrics, and stays a run until another is described") {
  const TempDir dir;
  make_run(dir / "d");
  make_directory(dir / "d/model");
  {
    const RunDirectory run(dir / "d", ExistingRun::kOverwrite);
    CHECK(run.description().is_null());
    CHECK(run.checkpoint_steps().empty());
    CHECK_FALSE(file_exists(run.metrics()));
  }
  QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kRefuse), "holds a run of 600 steps");
  RunDirectory(dir / "d", ExistingRun::kOverwrite).write_description(described(7));
  QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kRefuse), "holds a run of 7 steps");
}

TEST_CASE("files of somebody else are left alone, whatever is asked") {
  const TempDir dir;
  make_directory(dir / "d");
  test::write_bytes(dir / "d/photo", "x");
  for (const ExistingRun existing : {ExistingRun::kRefuse, ExistingRun::kResume, ExistingRun::kOverwrite})
    QAT_CHECK_ERROR(RunDirectory(dir / "d", existing), "holds 'photo' and no run", "a new or empty directory");
  CHECK(list_directory(dir / "d") == std::vector<std::string>{"photo"});
  test::write_bytes(dir / "f", "x");
  QAT_CHECK_ERROR(RunDirectory(dir / "f", ExistingRun::kRefuse), "f: cannot create directory");
}

TEST_CASE("a description that is none is refused") {
  const TempDir dir;
  make_run(dir / "d");
  for (const char* text :
       {"", "{", "[]", "{\"format\":\"qat-run\",\"version\":2}", "{\"format\":\"x\",\"version\":1}"}) {
    CAPTURE(text);
    test::write_bytes(dir / "d/run.json", text);
    QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kResume), "d/run.json");
    QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kRefuse), "d/run.json");
  }
}

TEST_CASE("only one process is at work in a directory") {
  const TempDir dir;
  make_run(dir / "d");
  const RunDirectory first(dir / "d", ExistingRun::kResume);
  QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kResume), "run.lock", "another process");
  QAT_CHECK_ERROR(RunDirectory(dir / "d", ExistingRun::kOverwrite), "run.lock", "another process");
  CHECK(first.checkpoint_steps().size() == 2);
}

TEST_CASE("keep_last removes all but the newest") {
  const TempDir dir;
  make_run(dir / "d");
  const RunDirectory run(dir / "d", ExistingRun::kResume);
  for (const index_t step : {30, 40, 1000000}) make_directory(run.checkpoint(step));
  run.keep_last(0);
  CHECK(run.checkpoint_steps() == std::vector<index_t>{20, 30, 40, 100, 1000000});
  run.keep_last(7);
  CHECK(run.checkpoint_steps().size() == 5);
  run.keep_last(2);
  CHECK(run.checkpoint_steps() == std::vector<index_t>{100, 1000000});
  run.keep_last(1);
  CHECK(list_directory(dir / "d/checkpoints") == std::vector<std::string>{"step-1000000"});
}
