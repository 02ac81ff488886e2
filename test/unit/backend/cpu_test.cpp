// CpuBackend: every chunk once, exceptions, nesting, several callers, a host's own loop, the floating-point mode.
#include "qat/backend/cpu.hpp"

#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "support/host_mode.hpp"

using qat::CpuBackend;
using qat::index_t;

TEST_CASE("parallel_for calls each chunk exactly once, for any number of chunks and threads") {
  for (const int threads : {1, 2, 3, 7}) {
    const CpuBackend backend(threads);
    CHECK(backend.threads() == threads);
    for (const index_t chunks : {0, 1, 2, 7, 100, 1000}) {
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<std::atomic<int>> calls(static_cast<std::size_t>(chunks));
        backend.parallel_for(chunks, [&](index_t chunk) { calls[static_cast<std::size_t>(chunk)]++; });
        int wrong = 0;
        for (const auto& n : calls) wrong += n != 1;
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("the exception of the lowest chunk reaches the caller, the other chunks run, and the backend stays usable") {
  for (const int threads : {2, 3}) {
    const CpuBackend backend(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::atomic<int> calls{0};
      std::string message;
      try {
        backend.parallel_for(40, [&](index_t chunk) {
          ++calls;
          if (chunk >= 5 && chunk % 5 == 0) qat::raise(qat::ErrorCode::kInvalidArgument, "chunk ", chunk);
        });
      } catch (const qat::Error& error) {
        message = error.what();
      }
      CHECK(message == "chunk 5");
      CHECK(calls == 40);
    }
  }
}

TEST_CASE("a nested loop runs, serially, on the thread it is called from") {
  const CpuBackend backend(3);
  std::atomic<int> calls{0}, moved{0};
  backend.parallel_for(8, [&](index_t) {
    const auto self = std::this_thread::get_id();
    backend.parallel_for(5, [&](index_t) {
      ++calls;
      moved += std::this_thread::get_id() != self;
    });
  });
  CHECK(calls == 40);
  CHECK(moved == 0);
}

TEST_CASE("several threads may use one backend at the same time") {
  const CpuBackend backend(3);
  std::atomic<long> sum{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat) backend.parallel_for(10, [&](index_t chunk) { sum += chunk; });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(sum == 4 * 200 * 45);
}

TEST_CASE("chunks see what was written before their loop, and the caller and the next loop see what they write") {
  const CpuBackend backend(3);
  std::vector<index_t> a(64), b(64);  // not atomic: under ThreadSanitizer, a missing order is a race
  index_t wrong = 0;
  for (index_t repeat = 0; repeat < 200; ++repeat) {
    for (index_t& x : a) x = repeat;
    backend.parallel_for(64,
                         [&](index_t i) { b[static_cast<std::size_t>(i)] = a[static_cast<std::size_t>(63 - i)] + i; });
    backend.parallel_for(64, [&](index_t i) { a[static_cast<std::size_t>(i)] = b[static_cast<std::size_t>(63 - i)]; });
    for (std::size_t i = 0; i < 64; ++i) wrong += a[i] != repeat + 63 - static_cast<index_t>(i);
  }
  CHECK(wrong == 0);
}

TEST_CASE("chunks run in the default floating-point mode on every thread, and the host's mode comes back") {
  for (const int threads : {1, 3}) {
    const CpuBackend backend(threads);
    const qat::test::HostMode host;
    std::atomic<int> wrong{0};
    backend.parallel_for(100, [&](index_t) {
      volatile float small = 0x1p-126f, factor = 0.5f;
      const float product = small * factor;
      wrong += product != 0x1p-127f || !qat::test::rounds_to_nearest();
    });
    CHECK(wrong == 0);
    CHECK(!qat::test::rounds_to_nearest());
  }
}

TEST_CASE("a host's own loop runs the chunks, and its exceptions pass through qat alone") {
  struct Host {
    int loops = 0;
    static void run(void* self, index_t chunks, void (*body)(void*, index_t), void* argument) {
      ++static_cast<Host*>(self)->loops;
      for (index_t chunk = chunks - 1; chunk >= 0; --chunk) body(argument, chunk);
    }
  } host;
  const CpuBackend backend(qat::ParallelForHook{&host, 4, &Host::run});
  CHECK(backend.threads() == 4);
  index_t sum = 0;
  backend.parallel_for(10, [&](index_t chunk) { sum += chunk; });
  CHECK(sum == 45);
  CHECK(host.loops == 1);
  CHECK_THROWS_AS(backend.parallel_for(3, [](index_t) { qat::raise(qat::ErrorCode::kIo, "no"); }), qat::Error);
}

TEST_CASE("what CpuBackend refuses") {
  CHECK_THROWS_AS(CpuBackend(-1), qat::Error);
  CHECK_THROWS_AS(CpuBackend(qat::ParallelForHook{}), qat::Error);
}
