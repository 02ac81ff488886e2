// Readers of strangers' bytes, each as a function of a file: it returns, or throws qat::Error with one clear line.
#pragma once

#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "qat/base/check.hpp"

namespace qat::fuzz {

struct Reader {
  std::string name;  ///< also of its folder in corpus/
  std::string file;  ///< what the file is called: some readers go by it
  std::function<void(const std::string& path)> read;
  bool counts = true;  ///< the format says how long it is: a file that was cut short is an error
};

/// Between the files of an input that is a directory.
inline constexpr std::string_view kNextFile = "\n--- next file ---\n";

/// Files and tokenizers.
std::vector<Reader> format_targets();
/// What a run reads: recipes, packed checkpoints, checkpoints.
std::vector<Reader> recipe_targets();

/// Writes a part of an input: a file that need not outlast the run, so nothing waits for the disk.
inline void put(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) std::abort();
}

/// Runs a target; what it throws may only be an Error whose message is one line. Returns that message or "".
inline std::string run(const Reader& target, const std::string& path) {
  try {
    target.read(path);
  } catch (const Error& error) {
    std::string message = error.what();
    if (message.empty() || message.find('\n') != message.npos) return "(a message that is not one line) " + message;
    return message;
  }
  return {};
}

}  // namespace qat::fuzz
