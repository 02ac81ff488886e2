// Fibres: functions that stop in the middle and go on later, each on a stack of its own. On x86-64 a switch saves and
// loads eight registers; elsewhere it is swapcontext, which also makes a system call. AddressSanitizer is told of both.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define QAT_EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QAT_EMULATION_ASAN 1
#endif
#endif
#if defined(QAT_EMULATION_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace qat::emulation {

/// Memory for the stacks of fibres; an unmapped page below each, so that an overflow dies instead of writing elsewhere.
class Stacks {
 public:
#if defined(QAT_EMULATION_ASAN)
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
/// Saves the registers that a call preserves on this stack and its pointer in *save; goes on where `load` was saved.
__attribute__((naked, noinline)) inline void switch_stack(void** /*save*/, void* /*load*/) {
  __asm__(
      "pushq %rbp\n\t"
      "pushq %rbx\n\t"
      "pushq %r12\n\t"
      "pushq %r13\n\t"
      "pushq %r14\n\t"
      "pushq %r15\n\t"
      "movq %rsp, (%rdi)\n\t"
      "movq %rsi, %rsp\n\t"
      "popq %r15\n\t"
      "popq %r14\n\t"
      "popq %r13\n\t"
      "popq %r12\n\t"
      "popq %rbx\n\t"
      "popq %rbp\n\t"
      "ret");
}
#endif

/// Runs one function after another on a stack of its own: start() the next one when the last has returned, resume()
/// until it has. (Fibres live as long as the program: AddressSanitizer maps much memory for each.)
class Fibre {
 public:
  using Function = void (*)(void* argument);

  explicit Fibre(std::byte* stack) : stack_(stack) {
#if defined(__x86_64__)
    void** top =
        reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(stack + Stacks::kBytes) & ~std::uintptr_t{15});
    *--top = nullptr;  // where enter() would return to
    *--top = reinterpret_cast<void*>(&enter);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    own_ = top;
#else
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack;
    own_.uc_stack.ss_size = Stacks::kBytes;
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
  void resume() {
    entered_ = this;
#if defined(QAT_EMULATION_ASAN)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_, Stacks::kBytes);
#endif
#if defined(__x86_64__)
    switch_stack(&owner_, own_);
#else
    swapcontext(&owner_, &own_);
#endif
#if defined(QAT_EMULATION_ASAN)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }

  /// From inside the function: goes back to the owner.
  void suspend() {
#if defined(QAT_EMULATION_ASAN)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, owner_stack_, owner_bytes_);
#endif
#if defined(__x86_64__)
    switch_stack(&own_, owner_);
#else
    swapcontext(&own_, &owner_);
#endif
#if defined(QAT_EMULATION_ASAN)
    __sanitizer_finish_switch_fiber(fake, &owner_stack_, &owner_bytes_);
#endif
  }

 private:
  static void enter() {
    Fibre* self = entered_;
#if defined(QAT_EMULATION_ASAN)
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
#if defined(QAT_EMULATION_ASAN)
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
      for (std::size_t i = 0; i < kTogether; ++i) fibres_.push_back(std::make_unique<Fibre>((*stacks_.back())[i]));
    }
  }
  Fibre& operator[](std::size_t i) { return *fibres_[i]; }

 private:
  static constexpr std::size_t kTogether = 32;
  std::vector<std::unique_ptr<Stacks>> stacks_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
};

}  // namespace qat::emulation
