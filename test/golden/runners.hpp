// Which function compares a case: chosen by family, and by the case's name where a family holds several kinds.
#pragma once

#include <string>

#include "golden/case.hpp"

namespace qat::golden {

using Runner = void (*)(Case&);

/// Integer schemes and casts; null for others.
Runner scheme_runner(const std::string& family, const std::string& id);
/// Layers, training steps and the Llama block; null for others.
Runner layer_runner(const std::string& family, const std::string& id);

}  // namespace qat::golden
