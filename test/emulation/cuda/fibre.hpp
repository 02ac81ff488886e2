// Fibres: functions that stop in the middle and go on later, each on a stack of its own. On x86-64 a switch is a few
// instructions; elsewhere it is swapcontext, which also makes a system call. AddressSanitizer is told of both.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "qat/base/config.hpp"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(QAT_ADDRESS_SANITIZER)
#include <sanitizer/common_interface_defs.h>
#endif

namespace qat::emulation {

/// Memory for the stacks of fibres; an unmapped page below each, so that an overflow dies instead of writing elsewhere.
class Stacks {
 public:
#if defined(QAT_ADDRESS_SANITIZER)
  static constexpr std::size_t kBytes = 512 << 10;
#else
  static constexpr std::size_t kBytes = 128 << 10;
#endif

  explicit Stacks(std::size_t count) : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    bytes_ = count * (kBytes + page_);
    void* base = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) throw std::runtime_error("emulation: no memory for the stacks of fibres");
    base_ = static_cast<std::byte*>(base);
    for (std::size_t i = 0; i < count; ++i) mprotect(base_ + i * (kBytes + page_), page_, PROT_NONE);
  }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks() { munmap(base_, bytes_); }

  /// The lowest byte of stack i.
  std::byte* operator[](std::size_t i) const { return base_ + i * (kBytes + page_) + page_; }

 private:
  std::size_t page_, bytes_ = 0;
  std::byte* base_ = nullptr;
};

#if defined(__x86_64__)
/// Leaves this stack, its pointer in *save, and goes on where another one was left. In line and with a jump, so that
/// the processor's predictions of returns hold: lanes of a warp wait in one place. The compiler saves what it needs.
__attribute__((always_inline)) inline void switch_stack(void** save, void* load) {
  __asm__ volatile(
      "leaq -128(%%rsp), %%rsp\n\t"  // functions that call nothing keep data below the stack pointer
      "pushq %%rbp\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "movq %%rsp, (%0)\n\t"
      "movq %1, %%rsp\n\t"
      "popq %%rax\n\t"
      "jmpq *%%rax\n"
      "1:\tpopq %%rbp\n\t"
      "leaq 128(%%rsp), %%rsp"
      : "+D"(save), "+S"(load)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
        "xmm14", "xmm15"
#if defined(__AVX512F__)
        ,
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
        "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#endif
  );
}
#endif

/// Runs one function after another on a stack of its own: start() the next one when the last has returned, resume()
/// until it has. (Fibres live as long as the program: AddressSanitizer maps much memory for each.)
class Fibre {
 public:
  using Function = void (*)(void* argument);

  /// unused: bytes at the top of the stack to leave alone.
  Fibre(std::byte* stack, std::size_t unused) : stack_(stack) {
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(stack + Stacks::kBytes - unused) &
                                          ~std::uintptr_t{15});
    *--top = nullptr;  // where enter() would return to
    *--top = reinterpret_cast<void*>(&enter);
    own_ = top;
#else
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack;
    own_.uc_stack.ss_size = Stacks::kBytes - unused;
    own_.uc_link = nullptr;
    makecontext(&own_, &enter, 0);
#endif
  }
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  /// function(argument) is what the next resume() calls.
  void start(Function function, void* argument) {
    function_ = function;
    argument_ = argument;
  }

  /// By the owner: runs the function until it suspends itself or returns.
  QAT_INLINE void resume() {
    entered_ = this;
#if defined(QAT_ADDRESS_SANITIZER)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_, Stacks::kBytes);
#endif
#if defined(__x86_64__)
    switch_stack(&owner_, own_);
#else
    swapcontext(&owner_, &own_);
#endif
#if defined(QAT_ADDRESS_SANITIZER)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }

  /// From inside the function: goes back to the owner.
  QAT_INLINE void suspend() {
#if defined(QAT_ADDRESS_SANITIZER)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, owner_stack_, owner_bytes_);
#endif
#if defined(__x86_64__)
    switch_stack(&own_, owner_);
#else
    swapcontext(&own_, &owner_);
#endif
#if defined(QAT_ADDRESS_SANITIZER)
    __sanitizer_finish_switch_fiber(fake, &owner_stack_, &owner_bytes_);
#endif
  }

 private:
  static void enter() {
    Fibre* self = entered_;
#if defined(QAT_ADDRESS_SANITIZER)
    __sanitizer_finish_switch_fiber(nullptr, &self->owner_stack_, &self->owner_bytes_);
#endif
    for (;;) {
      self->function_(self->argument_);
      self->suspend();
    }
  }

  static inline thread_local Fibre* entered_ = nullptr;
  Function function_ = nullptr;
  void* argument_ = nullptr;
  [[maybe_unused]] std::byte* stack_;
#if defined(__x86_64__)
  void* own_ = nullptr;
  void* owner_ = nullptr;
#else
  ucontext_t own_, owner_;
#endif
#if defined(QAT_ADDRESS_SANITIZER)
  const void* owner_stack_ = nullptr;
  std::size_t owner_bytes_ = 0;
#endif
};

/// As many fibres as asked for so far.
class FibrePool {
 public:
  static FibrePool& instance() {
    static FibrePool* pool = new FibrePool;  // never deleted: see Fibre
    return *pool;
  }
  void reserve(std::size_t count) {
    while (fibres_.size() < count) {
      stacks_.push_back(std::make_unique<Stacks>(kTogether));
      for (std::size_t i = 0; i < kTogether; ++i)  // tops at equal offsets in a page would share the sets of a cache
        fibres_.push_back(std::make_unique<Fibre>((*stacks_.back())[i], fibres_.size() % 61 * 64));
    }
  }
  Fibre& operator[](std::size_t i) { return *fibres_[i]; }

 private:
  static constexpr std::size_t kTogether = 32;
  std::vector<std::unique_ptr<Stacks>> stacks_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
};

}  // namespace qat::emulation
