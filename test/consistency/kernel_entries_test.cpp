// Laws of every kernel entry: no byte outside the operands is touched, and the host's floating-point mode is not seen.
#include "consistency/kernel_entries.hpp"

#include <signal.h>

#include <cstdio>

#include <doctest/doctest.h>

#include "support/host_mode.hpp"
#include "support/tuning_scope.hpp"

namespace {

using qat::test::GuardedEnd;
using qat::test::KernelEntry;
using qat::test::KernelOperands;

/// Says which call was running when a guard page was hit, then lets the fault take its course.
class FaultReport {
 public:
  FaultReport() {
    struct sigaction action = {};
    action.sa_handler = &on_fault;
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &action, &before());
  }
  ~FaultReport() { sigaction(SIGSEGV, &before(), nullptr); }
  static void running(const KernelEntry& entry, qat::index_t size, GuardedEnd end) {
    std::snprintf(text(), 200, "%s of size %d touched a byte outside its operands, %s end guarded, target %s\n",
                  entry.name.c_str(), static_cast<int>(size), end == GuardedEnd::kFirst ? "first" : "last",
                  name(qat::active_target()));
  }

 private:
  static struct sigaction& before() {
    static struct sigaction action;
    return action;
  }
  static char* text() {
    static char buffer[200];
    return buffer;
  }
  static void on_fault(int) {
    if (write(STDERR_FILENO, text(), std::strlen(text())) < 0) std::abort();
    sigaction(SIGSEGV, &before(), nullptr);  // returning repeats the access
  }
};

/// The hash of what one call wrote, or 0 if the entry has no such size.
std::uint64_t hash_of_call(const KernelEntry& entry, qat::index_t size, GuardedEnd end, bool& intact) {
  const qat::CpuBackend backend(1);
  KernelOperands operands(end);
  const auto call = entry.prepare(backend, operands, size);
  if (!call) return 0;
  FaultReport::running(entry, size, end);
  call();
  intact = operands.intact();
  return operands.hash();
}

/// Every element of a vector and its neighbours, whole tiles and ragged ones; 47, 73 and 125 are products of whole
/// blocks of 32 columns with 6, 32 and 2 rows.
constexpr qat::index_t kEntrySizes[] = {0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 65, 73, 96, 125, 127, 128};

}  // namespace

TEST_CASE("no kernel touches a byte outside its operands, and their alignment does not change a bit") {
  const FaultReport report;
  int calls = 0;
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget forced(target);
    CAPTURE(std::string(name(target)));
    for (const KernelEntry& entry : qat::test::kernel_entries()) {
      CAPTURE(entry.name);
      for (const qat::index_t size : kEntrySizes) {
        CAPTURE(size);
        bool intact_first = true, intact_last = true, intact_streamed = true;
        const std::uint64_t first = hash_of_call(entry, size, GuardedEnd::kFirst, intact_first);
        const std::uint64_t last = hash_of_call(entry, size, GuardedEnd::kLast, intact_last);
        const qat::test::TuningScope restored;
        qat::kernels::cpu_tuning().stream_bytes = 0;  // non-temporal stores at any size
        const std::uint64_t streamed = hash_of_call(entry, size, GuardedEnd::kFirst, intact_streamed);
        const bool good = intact_first && intact_last && intact_streamed && first == last && first == streamed;
        CHECK(good);
        calls += first != 0 ? 3 : 0;
      }
    }
  }
  CHECK(calls > 5000);
}

TEST_CASE("every kernel gives the same bits whatever the host's rounding and flushing, and leaves them set") {
  struct Mode {
    int rounding;
    bool flush;
  };
  int calls = 0;
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget forced(target);
    CAPTURE(std::string(name(target)));
    for (const KernelEntry& entry : qat::test::kernel_entries()) {
      CAPTURE(entry.name);
      for (const qat::index_t size : {33, 47, 96, 125}) {
        CAPTURE(size);
        bool intact = true;
        const std::uint64_t expected = hash_of_call(entry, size, GuardedEnd::kFirst, intact);
        for (const Mode mode : {Mode{FE_UPWARD, true}, Mode{FE_DOWNWARD, false}}) {
          CAPTURE(mode.rounding);
          const qat::CpuBackend backend(1);
          KernelOperands operands(GuardedEnd::kFirst);
          const auto call = entry.prepare(backend, operands, size);
          if (!call) continue;
          bool mode_is_back = false;
          {
            const qat::test::HostMode host(mode.rounding, mode.flush);
            call();
            mode_is_back = !qat::test::rounds_to_nearest();
          }
          CHECK(operands.hash() == expected);
          CHECK(mode_is_back);
          ++calls;
        }
      }
    }
  }
  CHECK(calls > 500);
}
