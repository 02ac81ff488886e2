// Memory that counts how often each of its pages comes into use: what a kernel reads in one pass counts one.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "qat/base/config.hpp"

namespace qat::test {

/// Pages of which only those used last, `window` of them, can be touched; touching another raises a fault that counts
/// it and lets it in. One thread at a time, one object that counts at a time.
class CountedPages {
 public:
  CountedPages(std::size_t bytes, std::size_t window)
      : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), bytes_((bytes + page_ - 1) / page_ * page_) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("CountedPages: mmap failed");
    first_ = static_cast<std::uint8_t*>(memory);
    counts_.resize(bytes_ / page_);
    open_.resize(window, counts_.size());
  }
  CountedPages(const CountedPages&) = delete;
  CountedPages& operator=(const CountedPages&) = delete;
  ~CountedPages() { munmap(first_, bytes_); }

  template <class T>
  T* data() {
    return reinterpret_cast<T*>(first_);
  }

  /// Counts while run() runs, from no page in use on.
  template <class F>
  void count(const F& run) {
    counting() = this;
    mprotect(first_, bytes_, PROT_NONE);
    struct sigaction action = {}, before = {};
    action.sa_sigaction = &on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before);
    run();
    sigaction(SIGSEGV, &before, nullptr);
    mprotect(first_, bytes_, PROT_READ | PROT_WRITE);
    counting() = nullptr;
  }
  /// How often each page came into use.
  const std::vector<int>& counts() const { return counts_; }

 private:
  static CountedPages*& counting() {
    static CountedPages* object = nullptr;
    return object;
  }
  static void on_fault(int, siginfo_t* info, void*) {
    CountedPages& own = *counting();
    const std::size_t offset = static_cast<std::size_t>(static_cast<std::uint8_t*>(info->si_addr) - own.first_);
    if (offset >= own.bytes_) {  // a fault of its own: returning repeats it
      signal(SIGSEGV, SIG_DFL);
      return;
    }
    const std::size_t page = offset / own.page_;
    std::size_t& slot = own.open_[own.next_++ % own.open_.size()];
    if (slot < own.counts_.size()) mprotect(own.first_ + slot * own.page_, own.page_, PROT_NONE);
    slot = page;
    ++own.counts_[page];
    mprotect(own.first_ + page * own.page_, own.page_, PROT_READ | PROT_WRITE);
  }

  std::size_t page_, bytes_, next_ = 0;
  std::uint8_t* first_;
  std::vector<int> counts_;
  std::vector<std::size_t> open_;  // the pages that can be touched, in a ring
};

}  // namespace qat::test
