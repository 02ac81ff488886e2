// Directories: written whole or not at all, removed whole, locked by one process.
#include "qat/io/directory.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

using Names = std::vector<std::string>;

TEST_CASE("a directory appears with all its files at commit, and never without") {
  const TempDir dir;
  {
    AtomicDirectoryWriter writer(dir / "d");
    write_file(join_path(writer.path(), "f"), "content");
    CHECK_FALSE(is_directory(dir / "d"));
  }
  CHECK(list_directory(dir.path()).empty());
  {
    AtomicDirectoryWriter writer(dir / "d");
    write_file(join_path(writer.path(), "f"), "content");
    writer.commit();
  }
  CHECK(list_directory(dir.path()) == Names{"d"});
  CHECK(MappedFile(dir / "d/f").text() == "content");
}

TEST_CASE("a target that exists with files is not replaced") {
  const TempDir dir;
  make_directory(dir / "d");
  write_file(dir / "d/old", "old");
  {
    AtomicDirectoryWriter writer(dir / "d");
    write_file(join_path(writer.path(), "new"), "new");
    QAT_CHECK_ERROR(writer.commit(), "d: cannot create directory");
  }
  CHECK(list_directory(dir.path()) == Names{"d"});
  CHECK(list_directory(dir / "d") == Names{"old"});
}

TEST_CASE("what a dead process left behind is replaced, and can be removed") {
  const TempDir dir;
  make_directory(dir / ".unfinished-d");
  write_file(dir / ".unfinished-d/half", "half");
  {
    AtomicDirectoryWriter writer(dir / "d");
    CHECK(list_directory(writer.path()).empty());
    writer.commit();
  }
  CHECK(list_directory(dir / "d").empty());
  make_directory(dir / ".unfinished-e");
  write_file(dir / ".unfinished-e/half", "half");
  remove_unfinished(dir.path());
  CHECK(list_directory(dir.path()) == Names{"d"});
}

TEST_CASE("a directory is removed with everything in it; links are not followed") {
  const TempDir dir;
  make_directory(dir / "kept");
  write_file(dir / "kept/f", "content");
  make_directory(dir / "d");
  make_directory(dir / "d/inner");
  write_file(dir / "d/inner/f", "content");
  REQUIRE(::symlink((dir / "kept").c_str(), (dir / "d/link").c_str()) == 0);
  remove_directory(dir / "d");
  CHECK(list_directory(dir.path()) == Names{"kept"});
  CHECK(list_directory(dir / "kept") == Names{"f"});
  CHECK_NOTHROW(remove_directory(dir / "none"));
  retire_directory(dir / "kept");
  CHECK(list_directory(dir.path()).empty());
  QAT_CHECK_ERROR(retire_directory(dir / "none"), "none: cannot remove");
  QAT_CHECK_ERROR(list_directory(dir / "none"), "none: cannot read directory");
  QAT_CHECK_ERROR(AtomicDirectoryWriter(dir / "none/d"), "none/d: cannot create directory");
}

TEST_CASE("a directory is replaced whole, or not at all when writing fails") {
  const TempDir dir;
  const auto write = [](const std::string& name) {
    return [name](const std::string& path) { write_file(join_path(path, name), name); };
  };
  replace_directory(dir / "d", write("first"));
  CHECK(list_directory(dir / "d") == Names{"first"});
  replace_directory(dir / "d", write("second"));
  CHECK(list_directory(dir / "d") == Names{"second"});
  const auto fail = [&](const std::string& path) {
    write("third")(path);
    raise(ErrorCode::kIo, "the disk is full");
  };
  CHECK(test::error_of([&] { replace_directory(dir / "d", fail); }) == "the disk is full");
  CHECK(list_directory(dir / "d") == Names{"second"});
  CHECK(list_directory(dir.path()) == Names{"d"});
}

TEST_CASE("a lock is held by one holder and free once it is gone") {
  const TempDir dir;
  {
    const FileLock first(dir / "lock");
    QAT_CHECK_ERROR(FileLock(dir / "lock"), "lock: another process is at work here");
  }
  const FileLock second(dir / "lock");
  QAT_CHECK_ERROR(FileLock(dir / "none/lock"), "none/lock: cannot write");
}

TEST_CASE("a file that does not fit leaves no directory") {
  const TempDir dir;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit tight = before;
  tight.rlim_cur = 1 << 16;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  const auto write = [&] {
    AtomicDirectoryWriter writer(dir / "d");
    write_file(join_path(writer.path(), "f"), std::string(1 << 20, 'x'));
    writer.commit();
  };
  QAT_CHECK_ERROR(write(), "f: cannot write: File too large");
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(list_directory(dir.path()).empty());
}

TEST_CASE("a directory is updated once all new files are complete, or not at all; other files stay") {
  const TempDir dir;
  const std::string target = dir / "d";
  const auto update = [&](const std::string& a, bool fails) {
    update_directory(target, [&](const std::string& path) {
      write_file(join_path(path, "a"), a);
      if (fails) raise(ErrorCode::kIo, "no space");
      write_file(join_path(path, "b"), "b");
    });
  };
  QAT_CHECK_ERROR(update("1", true), "no space");
  CHECK(list_directory(dir.path()).empty());
  update("1", false);
  write_file(join_path(target, "other"), "x");
  QAT_CHECK_ERROR(update("2", true), "no space");
  CHECK(test::read_file(join_path(target, "a")) == "1");
  update("3", false);
  CHECK(test::read_file(join_path(target, "a")) == "3");
  CHECK(list_directory(target) == std::vector<std::string>{"a", "b", "other"});
  CHECK(list_directory(dir.path()) == std::vector<std::string>{"d"});
  write_file(dir / "file", "");
  QAT_CHECK_ERROR(update_directory(dir / "file", [](const std::string&) {}), "file: cannot create directory");
}
