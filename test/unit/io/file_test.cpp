// Files: maps show the content, writers leave the whole file or the old one.
#include "qat/io/file.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

TEST_CASE("a mapped file shows the bytes that were written, also none") {
  const TempDir dir;
  const std::string bytes("a\0b\xff", 4);
  write_file(dir / "f", bytes);
  CHECK(MappedFile(dir / "f").text() == bytes);
  write_file(dir / "f", "");
  const MappedFile empty(dir / "f");
  CHECK(empty.size() == 0);
  CHECK(empty.text().empty());
}

TEST_CASE("a mapped file can be moved and stays readable after its name is gone") {
  const TempDir dir;
  write_file(dir / "f", "content");
  MappedFile first(dir / "f");
  std::filesystem::remove(dir / "f");
  const MappedFile second = std::move(first);
  CHECK(second.text() == "content");
}

TEST_CASE("what cannot be read is named with the reason") {
  const TempDir dir;
  QAT_CHECK_ERROR(MappedFile(dir / "none"), "none", "cannot open");
  QAT_CHECK_ERROR(MappedFile(dir.path()), "is a directory");
  QAT_CHECK_ERROR(MappedFile("/dev/null"), "not a regular file");
}

TEST_CASE("a writer without commit leaves the old file and no temporary") {
  const TempDir dir;
  write_file(dir / "f", "old");
  {
    AtomicFileWriter writer(dir / "f");
    writer.write("new");
    writer.write(std::string(1 << 20, 'x'));
  }
  CHECK(test::read_file(dir / "f") == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("commit replaces the file by small and large writes in order") {
  const TempDir dir;
  write_file(dir / "f", "old");
  std::string expected;
  AtomicFileWriter writer(dir / "f");
  for (int i = 0; i < 2000; ++i) {
    const int size = i % 500 == 3 ? 700000 : i % 7 == 0 ? 9000 : i % 50;  // of several buffers, or none
    const std::string part(static_cast<std::size_t>(size), static_cast<char>('a' + i % 26));
    writer.write(part);
    expected += part;
  }
  CHECK(test::read_file(dir / "f") == "old");
  writer.commit();
  CHECK(test::read_file(dir / "f") == expected);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("a target that cannot be written is named") {
  const TempDir dir;
  QAT_CHECK_ERROR(write_file(dir / "no/f", "x"), "no/f", "cannot write");
  QAT_CHECK_ERROR(write_file(dir.path(), "x"), "is a directory");
  QAT_CHECK_ERROR(make_directory(dir / "a/b"), "a/b", "cannot create directory");
  CHECK_NOTHROW(write_file("/dev/null", "x"));
}

TEST_CASE("text of a file in a message stays on one line") {
  CHECK(printable("a\nb\x1b") == "'a\\x0ab\\x1b'");
  CHECK(printable(std::string(300, 'x')) == "'" + std::string(200, 'x') + "...'");
}

TEST_CASE("paths are joined and taken apart") {
  CHECK(join_path("a", "b") == "a/b");
  CHECK(join_path("a/", "b") == "a/b");
  CHECK(parent_directory("a/b") == "a/");
  CHECK(parent_directory("b").empty());
  CHECK(file_name("a/b") == "b");
}

TEST_CASE("the temporary of a writer is known by its name, and nothing else is") {
  const TempDir dir;
  AtomicFileWriter writer(dir / "f.txt");
  for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
    CHECK(is_temporary_file(entry.path().filename().string()));
  CHECK(is_temporary_file("a.tmp-1-2"));
  for (const char* name : {"", "f.txt", "a.tmp-", "a.tmp-1", "a.tmp-1-", "a.tmp--2", "a.tmp-1-2x", "a.tmp-x1-2",
                           ".tmp-1-2", "a.tmp-1-2-3"})
    CHECK_FALSE(is_temporary_file(name));
}
