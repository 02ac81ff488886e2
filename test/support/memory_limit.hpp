// Work under a limit of memory: in a process of its own, which the system gives no more.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "qat/base/check.hpp"

namespace qat::test {

/// Whether work() ends without an exception where no more than `bytes` of private memory can be had beyond what the
/// process has. Pages of mapped files do not count.
template <class Work>
bool succeeds_within(index_t bytes, const Work& work) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    rlim_t held = 0;
    char line[256];
    if (std::FILE* const file = std::fopen("/proc/self/status", "r"); file != nullptr) {
      while (std::fgets(line, sizeof line, file) != nullptr)
        if (std::strncmp(line, "VmData:", 7) == 0) held = static_cast<rlim_t>(std::atoll(line + 7)) << 10;
      std::fclose(file);
    }
    const rlimit limit{held + static_cast<rlim_t>(bytes), held + static_cast<rlim_t>(bytes)};
    if (held == 0 || ::setrlimit(RLIMIT_DATA, &limit) != 0) ::_exit(2);
    try {
      work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "within %td bytes: %s\n", bytes, error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace qat::test
