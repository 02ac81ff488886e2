// Variable: a handle of a tensor on a tape.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

/// An index into the tape that made it; trivially copyable, valid until that tape is cleared.
struct Variable {
  index_t index = -1;
  bool valid() const { return index >= 0; }
};

}  // namespace qat::inline v0
