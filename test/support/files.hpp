// Files for tests: a directory that goes away, and the message of the error a call throws.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "qat/base/check.hpp"

namespace qat::test {

/// A fresh temporary directory, removed with its content.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "qat-test-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path() const { return path_.string(); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

/// The message of the qat::Error that f throws; checks that it is one line. "(no error)" when nothing is thrown.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.find('\n') == std::string::npos);
    CHECK(!message.empty());
    return message;
  }
  return "(no error)";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace qat::test

/// The call throws a qat::Error of one line that names each of the given parts.
#define QAT_CHECK_ERROR(call, ...)                                                        \
  do {                                                                                    \
    const std::string qat_message = ::qat::test::error_of([&] { (void)(call); });         \
    for (const char* qat_part : {__VA_ARGS__}) {                                          \
      INFO(qat_message);                                                                  \
      CHECK_MESSAGE(::qat::test::contains(qat_message, qat_part), std::string(qat_part)); \
    }                                                                                     \
  } while (false)
