// WorkerThread, in both forms: this file is also built with QAT_NO_POSIX_THREADS.
#include "qat/backend/worker_thread.hpp"

#include <atomic>
#include <fstream>
#include <vector>

#include <doctest/doctest.h>

#include "qat/backend/cpu.hpp"

#if defined(__x86_64__) && defined(__linux__) && !defined(QAT_ADDRESS_SANITIZER) && !defined(QAT_THREAD_SANITIZER)
#include <sys/resource.h>
#include <unistd.h>
#define QAT_TEST_LIMITS_MEMORY 1
#endif

namespace {
struct Counter {
  std::atomic<int>* calls;
  void serve() const { ++*calls; }
};
}  // namespace

TEST_CASE("a started thread runs serve() once, and join() waits for its end") {
  std::atomic<int> calls{0};
  const Counter counter{&calls};
  std::vector<qat::detail::WorkerThread> threads(5);
  int started = 0;
  for (auto& thread : threads) started += thread.start(&counter);
  REQUIRE(started == 5);
  for (auto& thread : threads) thread.join();
  CHECK(calls == 5);
  CHECK(qat::detail::hardware_threads() >= 1);
}

#ifdef QAT_TEST_LIMITS_MEMORY
TEST_CASE("a backend has the threads that the system gives, and its loops run on those") {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  rlimit limited = before;
  limited.rlim_cur = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + (std::size_t{256} << 20);
  REQUIRE(setrlimit(RLIMIT_AS, &limited) == 0);  // 256 MiB more: stacks of a few dozen threads
  int threads = 0;
  std::atomic<int> calls{0};
  {
    const qat::CpuBackend backend(1024);
    threads = backend.threads();
    backend.parallel_for(5000, [&](qat::index_t) { ++calls; });
  }
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(threads >= 1);
  CHECK(threads < 1024);
  CHECK(calls == 5000);
}
#endif
