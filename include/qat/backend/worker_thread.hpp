// A thread of the pool, and what the pool asks of the system: POSIX threads where there are any, else std::thread,
// whose header alone costs a tenth of the time that qat.hpp takes to compile. Define QAT_NO_POSIX_THREADS for
// std::thread.
#pragma once

#if __has_include(<pthread.h>) && __has_include(<unistd.h>) && !defined(QAT_NO_POSIX_THREADS)
#define QAT_HAVE_POSIX_THREADS 1
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#else
#define QAT_HAVE_POSIX_THREADS 0
#include <system_error>
#include <thread>
#endif

#include "qat/base/config.hpp"

namespace qat::inline v0::detail {

#if QAT_HAVE_POSIX_THREADS

class WorkerThread {
 public:
  /// Runs object->serve() on a new thread. Returns false if the system gives none.
  template <class T>
  bool start(const T* object) {
    return pthread_create(
               &thread_, nullptr,
               [](void* self) -> void* {
                 static_cast<const T*>(self)->serve();
                 return nullptr;
               },
               const_cast<void*>(static_cast<const void*>(object))) == 0;
  }
  /// Waits for the end of a started thread.
  void join() { pthread_join(thread_, nullptr); }

 private:
  pthread_t thread_{};
};

inline int hardware_threads() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)); }
inline void yield_thread() { static_cast<void>(sched_yield()); }

#else

class WorkerThread {
 public:
  template <class T>
  bool start(const T* object) {
#if defined(__cpp_exceptions)
    try {
      thread_ = std::thread([object] { object->serve(); });
    } catch (const std::system_error&) {
      return false;
    }
#else
    thread_ = std::thread([object] { object->serve(); });
#endif
    return true;
  }
  void join() { thread_.join(); }

 private:
  std::thread thread_;
};

inline int hardware_threads() { return static_cast<int>(std::thread::hardware_concurrency()); }
inline void yield_thread() { std::this_thread::yield(); }

#endif

}  // namespace qat::inline v0::detail
