// What a loaded model takes: the growth of a fresh process's resident memory.
#pragma once

#include <malloc.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <utility>

#include "qat/recipe/evaluation_table.hpp"
#include "session.hpp"

namespace qat_llm {

/// Bytes of this process in memory (VmRSS); freed blocks are given back first. Unknown off Linux.
inline recipe::Figure resident_bytes() {
  ::malloc_trim(0);
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return {};
  long long size = 0, resident = 0;
  const int read = std::fscanf(file, "%lld %lld", &size, &resident);
  std::fclose(file);
  if (read != 2) return {};
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// Writes to a file by how much this process grows with the model loaded and one token decoded, so that every weight
/// has been read. A verb for resident_growth(), not shown in the help.
struct ResidentVerb {
  std::string model, out;
  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("resident-memory", "write what a loaded model takes in memory")->group("");
    verb->add_option("--model", model)->required();
    verb->add_option("--out", out)->required();
    verb->callback([this] { run(); });
  }
  void run() {
    const CpuBackend backend(1);
    const recipe::Figure before = resident_bytes();
    nn::Transformer network = Checkpoint(model).model();
    {
      nn::KvCache cache(network.config(), 1, 1);
      const std::int32_t token = 0;
      network.decode(backend, cache, view(&token, index_t{1}));
    }
    const recipe::Figure after = resident_bytes();
    if (before && after) write_file(out, std::to_string(*after - *before));
  }
};

/// The growth that loading this model causes in a process of its own. Unknown where none can be started.
/// scratch: a directory to write in
inline recipe::Figure resident_growth(const std::string& model, const std::string& scratch) {
  std::fflush(nullptr);
  const std::string out = join_path(scratch, "resident");
  std::string words[] = {"qat-llm", "resident-memory", "--model", model, "--out", out};
  char* arguments[7] = {};
  for (std::size_t i = 0; i < 6; ++i) arguments[i] = words[i].data();
  pid_t child = 0;
  if (::posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environ) != 0) return {};
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0 || !file_exists(out))
    return {};
  return std::stod(std::string(MappedFile(out).text()));
}

}  // namespace qat_llm
