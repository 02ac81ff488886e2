// The counters of tensor memory: exact for owners, untouched by views.
#include "qat/tensor/memory.hpp"

#include <doctest/doctest.h>

#include "qat/tensor/tensor.hpp"

TEST_CASE("current bytes follow construction, move and destruction; the peak stays") {
  const qat::MemoryStats before = qat::memory_stats();
  qat::reset_peak();
  {
    qat::Tensor<float> a({10, 10});
    CHECK(qat::memory_stats().current_bytes - before.current_bytes == 400);
    qat::Tensor<float> b = std::move(a);
    CHECK(qat::memory_stats().current_bytes - before.current_bytes == 400);
    b = qat::Tensor<float>({5});
    CHECK(qat::memory_stats().current_bytes - before.current_bytes == 20);
    [[maybe_unused]] const auto view = b.view<1>();
    CHECK(qat::memory_stats().allocations - before.allocations == 2);
  }
  CHECK(qat::memory_stats().current_bytes == before.current_bytes);
  CHECK(qat::memory_stats().peak_bytes - before.current_bytes == 420);
  qat::reset_peak();
  CHECK(qat::memory_stats().peak_bytes == before.current_bytes);
}

TEST_CASE("empty tensors hold nothing") {
  const qat::MemoryStats before = qat::memory_stats();
  const qat::Tensor<float> none, empty({3, 0});
  CHECK(qat::memory_stats().allocations == before.allocations);
}
