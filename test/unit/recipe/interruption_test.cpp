// Interruption: the first signal is noted, the second one ends the program, ignored ones stay ignored.
#include "qat/recipe/interruption.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

using qat::recipe::Interruption;

namespace {
/// How a child that runs f ends: its exit code, or minus the signal that ended it.
template <class F>
int end_of_child(const F& f) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    for (const int number : {SIGINT, SIGTERM}) std::signal(number, SIG_DFL);  // not the test program's handlers
    ::_exit(f());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
}  // namespace

TEST_CASE("a first signal is noted, a second one ends the program") {
  for (const int number : {SIGINT, SIGTERM}) {
    CHECK(end_of_child([&] {
            const Interruption interruption;
            const int before = Interruption::number();
            std::raise(number);
            return before == 0 && Interruption::number() == number ? 7 : 1;
          }) == 7);
    CHECK(end_of_child([&] {
            const Interruption interruption;
            std::raise(SIGINT);
            std::raise(number);
            return 7;
          }) == -number);
  }
}

TEST_CASE("the number outlives the scope, and the scope ends what it began") {
  CHECK(end_of_child([] {
          {
            const Interruption interruption;
            std::raise(SIGTERM);
          }
          if (Interruption::number() != SIGTERM) return 1;
          {
            const Interruption interruption;
            if (Interruption::number() != 0) return 2;
          }
          std::raise(SIGTERM);
          return 7;
        }) == -SIGTERM);
}

TEST_CASE("what was ignored stays ignored") {
  CHECK(end_of_child([] {
          std::signal(SIGINT, SIG_IGN);
          const Interruption interruption;
          std::raise(SIGINT);
          return Interruption::number() == 0 ? 7 : 1;
        }) == 7);
}
