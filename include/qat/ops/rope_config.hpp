// Which angles the rotary position embedding uses: base, scaling rule and its parameters, under Hugging Face's names.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

enum class RopeScaling {
  kNone,    ///< inv_freq = theta^(-2i / head_dim)
  kLinear,  ///< inv_freq / factor ("linear": position interpolation)
  kLlama3,  ///< long wavelengths divided by factor, short ones kept, smooth between ("llama3")
};

struct RopeConfig {
  double theta = 10000.0;                        ///< rope_theta
  RopeScaling scaling = RopeScaling::kNone;      ///< rope_type: default, linear, llama3
  double factor = 1.0;                           ///< linear, llama3
  double low_freq_factor = 1.0;                  ///< llama3
  double high_freq_factor = 4.0;                 ///< llama3
  index_t original_max_position_embeddings = 0;  ///< llama3, tokens

  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

}  // namespace qat::inline v0
