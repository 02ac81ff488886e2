// Where CPU kernels run: a persistent pool of threads, or the host framework's own parallel loop.
#pragma once

#include <atomic>
#include <exception>
#include <type_traits>

#include "qat/backend/float_mode.hpp"
#include "qat/backend/worker_thread.hpp"
#include "qat/base/check.hpp"

namespace qat::inline v0 {

/// A host's own parallel loop. run(context, chunks, body, argument) must call body(argument, chunk) exactly once for
/// each chunk in [0, chunks), on any threads, and return when all calls have returned. body does not throw.
struct ParallelForHook {
  void* context = nullptr;
  int threads = 1;  ///< how many calls may run at once; information only
  void (*run)(void* context, index_t chunks, void (*body)(void* argument, index_t chunk), void* argument) = nullptr;
};

/// What fp32 matrix products may lose: nothing, or their operands are rounded to bf16 where that is faster. Sums,
/// weights and everything else stay fp32. As PyTorch's float32_matmul_precision "highest" and "medium".
enum class MatmulPrecision { kFloat32, kBfloat16 };

/// Runs the chunks of an operation. Every operation derives its chunks from sizes alone, never from threads(), and
/// every chunk writes its own outputs: so any number of threads gives the same bytes.
///
/// Safe to use from several threads at once: while one caller holds the pool, another caller's loop runs on its own
/// thread.
class CpuBackend {
 public:
  /// @param threads  how many threads work on a loop, the caller included; 0 takes the hardware's number.
  ///                 Fewer where the system does not give as many; threads() tells
  /// @throws qat::Error (kInvalidArgument) if threads is negative or above 1024
  explicit CpuBackend(int threads = 0, MatmulPrecision precision = MatmulPrecision::kFloat32) : precision_(precision) {
    QAT_CHECK(threads >= 0 && threads <= 1024, kInvalidArgument, "CpuBackend: threads is ", threads,
              ", must be in [0, 1024] (0: all)");
    threads_ = threads > 0 ? threads : detail::hardware_threads();
    if (threads_ < 1) threads_ = 1;
    if (threads_ == 1) return;
    workers_ = new detail::WorkerThread[static_cast<std::size_t>(threads_) - 1];
    int started = 0;
    while (started < threads_ - 1 && workers_[started].start(this)) ++started;
    threads_ = started + 1;
  }
  /// Uses the host's loop and starts no threads.
  /// @throws qat::Error (kInvalidArgument) if hook.run is null
  explicit CpuBackend(const ParallelForHook& hook, MatmulPrecision precision = MatmulPrecision::kFloat32)
      : precision_(precision), hook_(hook) {
    QAT_CHECK(hook.run != nullptr, kInvalidArgument,
              "CpuBackend: ParallelForHook::run is null, a function is required");
    threads_ = hook.threads > 0 ? hook.threads : 1;
  }
  CpuBackend(const CpuBackend&) = delete;
  CpuBackend& operator=(const CpuBackend&) = delete;
  ~CpuBackend() {
    if (workers_ == nullptr) return;
    stop_.store(true);
    epoch_.fetch_add(1);
    epoch_.notify_all();
    for (int i = 0; i < threads_ - 1; ++i) workers_[i].join();
    delete[] workers_;
  }

  /// How many threads work on a loop. For reports; nothing that is computed may depend on it.
  int threads() const { return threads_; }
  MatmulPrecision matmul_precision() const { return precision_; }

  /// Calls f(chunk) exactly once for each chunk in [0, chunks), on any thread, in any order, under ScopedFloatMode.
  /// A call from inside f runs serially. When calls throw, the others still run, and the exception of the lowest chunk
  /// is rethrown here.
  template <class F>
  void parallel_for(index_t chunks, F&& f) const {
    if (chunks <= 0) return;
    if (chunks == 1 || threads_ == 1 || inside_loop()) {
      const ScopedFloatMode mode;
      for (index_t chunk = 0; chunk < chunks; ++chunk) f(chunk);
      return;
    }
    using Function = std::remove_reference_t<F>;
    Job job;
    job.call = [](void* function, index_t chunk) { (*static_cast<Function*>(function))(chunk); };
    job.function = const_cast<void*>(static_cast<const void*>(&f));
    job.chunks = chunks;
    run(job);
  }

  /// The default instance: every hardware thread. Made at first use.
  static const CpuBackend& shared() {
    static const CpuBackend backend;
    return backend;
  }

 private:
  friend class detail::WorkerThread;  // runs serve()

  struct Job {
    void (*call)(void* function, index_t chunk) = nullptr;
    void* function = nullptr;
    index_t chunks = 0;
    std::atomic<index_t> next{0};
    std::atomic<bool> error_lock{false};
    index_t error_chunk = -1;
    std::exception_ptr error;

    void call_one(index_t chunk) noexcept {
#if defined(__cpp_exceptions)
      try {
        call(function, chunk);
      } catch (...) {
        while (error_lock.exchange(true, std::memory_order_acquire)) {
        }
        if (error_chunk < 0 || chunk < error_chunk) {
          error_chunk = chunk;
          error = std::current_exception();
        }
        error_lock.store(false, std::memory_order_release);
      }
#else
      call(function, chunk);
#endif
    }
    void work() {
      const ScopedFloatMode mode;
      bool& inside = inside_loop();
      inside = true;
      for (index_t chunk; (chunk = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) call_one(chunk);
      inside = false;
    }
  };

  static bool& inside_loop() {
    static thread_local bool inside = false;
    return inside;
  }
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  void run(Job& job) const {
    if (hook_.run != nullptr) {
      hook_.run(
          hook_.context, job.chunks,
          [](void* argument, index_t chunk) {
            const ScopedFloatMode mode;
            bool& inside = inside_loop();
            inside = true;
            static_cast<Job*>(argument)->call_one(chunk);
            inside = false;
          },
          &job);
    } else if (busy_.exchange(true, std::memory_order_acquire)) {
      job.work();  // another caller holds the pool
    } else {
      job_ = &job;
      open_.store(true);
      epoch_.fetch_add(1);
      epoch_.notify_all();
      job.work();
      // No new worker gets in once the job is closed; those inside finish the chunk they hold.
      open_.store(false);
      for (int spins = 0; inside_.load() != 0; ++spins) spins < kSpins ? pause() : detail::yield_thread();
      busy_.store(false, std::memory_order_release);
    }
#if defined(__cpp_exceptions)
    if (job.error) std::rethrow_exception(job.error);
#endif
  }

  void serve() const {
    unsigned seen = 0;
    for (;;) {
      // Spins for some microseconds, as the next loop of the same operation comes soon, then sleeps.
      for (int spins = 0; spins < kSpins && epoch_.load(std::memory_order_relaxed) == seen; ++spins) pause();
      epoch_.wait(seen);
      seen = epoch_.load();
      if (stop_.load()) return;
      inside_.fetch_add(1);
      if (open_.load()) job_->work();
      inside_.fetch_sub(1);
    }
  }

  static constexpr int kSpins = 2000;

  int threads_ = 1;
  MatmulPrecision precision_;
  ParallelForHook hook_;
  detail::WorkerThread* workers_ = nullptr;
  mutable Job* job_ = nullptr;
  mutable std::atomic<bool> busy_{false};
  alignas(64) mutable std::atomic<unsigned> epoch_{0};
  mutable std::atomic<bool> open_{false};
  std::atomic<bool> stop_{false};
  alignas(64) mutable std::atomic<int> inside_{0};
};

}  // namespace qat::inline v0
