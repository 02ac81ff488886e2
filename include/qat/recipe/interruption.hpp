// SIGINT and SIGTERM as a question that a loop asks, so that it ends where its state is whole.
#pragma once

#include <csignal>

#include "qat/base/check.hpp"

namespace qat::inline v0::recipe {

namespace detail {
inline volatile std::sig_atomic_t interruption_number = 0;

extern "C" inline void qat_note_interruption(int number) {
  if (interruption_number != 0) {  // the second one: as if nobody had asked
    std::signal(number, SIG_DFL);
    std::raise(number);  // blocked here, and so delivered when the handler returns
    return;
  }
  interruption_number = number;
}
}  // namespace detail

/// While one lives, a first SIGINT or SIGTERM is noted, and a second one ends the program as usual. A signal that was
/// ignored before stays ignored. At most one at a time.
class Interruption {
 public:
  Interruption() {
    detail::interruption_number = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      struct sigaction action = {};
      action.sa_handler = detail::qat_note_interruption;
      action.sa_flags = SA_RESTART;
      ::sigemptyset(&action.sa_mask);
      ::sigaction(kNumbers[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(kNumbers[i], &action, nullptr);
    }
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption() {
    for (std::size_t i = 0; i < 2; ++i) ::sigaction(kNumbers[i], &before_[i], nullptr);
  }

  /// The number of the signal that came, 0 if none did.
  static int number() { return detail::interruption_number; }

 private:
  static constexpr int kNumbers[2] = {SIGINT, SIGTERM};
  struct sigaction before_[2];
};

}  // namespace qat::inline v0::recipe
