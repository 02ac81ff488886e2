// GuardedBuffer: a byte outside the guarded end kills the process, a spare byte written on the other side is found.
#include "support/guarded_buffer.hpp"

#include <csignal>
#include <cstdlib>

#include <doctest/doctest.h>
#include <sys/wait.h>

namespace {

using qat::test::GuardedBuffer;
using qat::test::GuardedEnd;

/// True if f ends a child process otherwise than by returning.
template <class F>
bool kills(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

TEST_CASE("GuardedBuffer: reading or writing one element past the guarded end dies; inside, nothing happens") {
  for (const qat::index_t n : {0, 1, 3, 1024, 1025}) {
    GuardedBuffer<float> last(n, GuardedEnd::kLast), first(n, GuardedEnd::kFirst);
    volatile float* p = last.data();
    volatile float* q = first.data();
    for (qat::index_t i = 0; i < n; ++i) {
      p[i] = 1.0f;
      q[i] = 1.0f;
    }
    CHECK(kills([&] { static_cast<void>(p[n]); }));
    CHECK(kills([&] { p[n] = 0.0f; }));
    CHECK(kills([&] { static_cast<void>(q[-1]); }));
    CHECK_FALSE(kills([&] {
      for (qat::index_t i = 0; i < n; ++i) p[i] = q[i];
    }));
    CHECK(last.intact());
    CHECK(first.intact());
  }
}

TEST_CASE("GuardedBuffer: a write into read-only operands dies, one into the spare bytes of a page is seen") {
  GuardedBuffer<float> buffer(5, GuardedEnd::kLast);
  volatile float* p = buffer.data();
  p[-1] = 0.0f;
  CHECK_FALSE(buffer.intact());
  buffer.make_read_only();
  CHECK(kills([&] { p[0] = 0.0f; }));
}
