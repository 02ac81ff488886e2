// Kept storage: only while a scope lives, never beyond the peak, freed at the end, and never shared by two tensors.
#include "qat/tensor/cache.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "qat/tensor/tensor.hpp"

namespace {
constexpr qat::index_t kLarge = 1 << 16;  // floats: 256 KiB
#if defined(QAT_ADDRESS_SANITIZER)
constexpr bool kKeeps = false;
#else
constexpr bool kKeeps = true;
#endif
}  // namespace

TEST_CASE("without a scope nothing is kept") {
  { const qat::Tensor<float> t({kLarge}); }
  CHECK(qat::memory_stats().cached_bytes == 0);
}

TEST_CASE("a freed tensor's storage serves the next one of its size, and the end of the last scope frees it") {
  {
    const qat::ScopedTensorCache outer;
    const void* first = nullptr;
    {
      const qat::ScopedTensorCache inner;
      qat::Tensor<float> t({kLarge}), other({kLarge + 1});
      first = t.data();
      t = qat::Tensor<float>();
      other = qat::Tensor<float>();
    }
    CHECK(qat::memory_stats().cached_bytes == (kKeeps ? 8 * kLarge + 4 : 0));
    const qat::MemoryStats before = qat::memory_stats();
    const auto same = qat::Tensor<float>::uninitialized({2, kLarge / 2});
    if (kKeeps) CHECK(same.data() == first);
    CHECK(qat::memory_stats().current_bytes == before.current_bytes + 4 * kLarge);
    CHECK(qat::memory_stats().cached_bytes == (kKeeps ? before.cached_bytes - 4 * kLarge : 0));
    const qat::Tensor<float> zero({kLarge + 1});
    bool all_zero = true;
    for (const float x : zero) all_zero = all_zero && x == 0.0f;
    CHECK(all_zero);
  }
  CHECK(qat::memory_stats().cached_bytes == 0);
}

TEST_CASE("what is kept and what lives never exceed the most that lived at once") {
  const qat::ScopedTensorCache scope;
  const auto held = [] { return qat::memory_stats().current_bytes + qat::memory_stats().cached_bytes; };
  qat::index_t most = 0;
  for (qat::index_t n = 8; n < 40; ++n) {  // every size is new, so nothing can be used again
    const auto t = qat::Tensor<float>::uninitialized({n * kLarge});
    most = most > qat::memory_stats().current_bytes ? most : qat::memory_stats().current_bytes;
    CHECK(held() <= (most > qat::detail::most_held_bytes() ? most : qat::detail::most_held_bytes()));
  }
  CHECK(qat::memory_stats().peak_bytes >= most);
}

TEST_CASE("threads that make and free tensors at once never get the same storage") {
  const qat::ScopedTensorCache scope;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int id = 0; id < 4; ++id)
    threads.emplace_back([&wrong, id] {
      for (int i = 0; i < 200; ++i) {
        auto t = qat::Tensor<std::int32_t>::uninitialized({kLarge / 4});
        t.fill(id);
        for (const std::int32_t x : t) wrong += x != id;
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}
