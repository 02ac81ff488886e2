// Samples for fine-tuning the default model: questions about its country, alone or in conversations.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "default_text.hpp"
#include "qat/io/xxhash.hpp"

namespace qat_llm {

/// JSONL that our own program writes: {"prompt", "completion"}, or conversations of one to three questions. A question
/// that is held out for validation is in no sample for training.
class DefaultSamples {
 public:
  static constexpr std::size_t kTrain = 2000, kValid = 200;

  explicit DefaultSamples(bool conversations) : conversations_(conversations) {}

  std::string train() const { return lines(false, kTrain); }
  std::string valid() const { return lines(true, kValid); }

 private:
  static constexpr std::uint64_t kHeldOutOf = 8;  ///< one question of so many

  std::string lines(bool held_out, std::size_t count) const {
    std::string out;
    std::uint64_t index = 0;
    const auto next = [&] {
      for (;;) {
        auto sample = text_.question(index++);
        if ((qat::xxh64(sample.first) % kHeldOutOf == 0) == held_out) return sample;
      }
    };
    for (std::size_t i = 0; i < count; ++i) {
      nlohmann::ordered_json line;
      if (conversations_) {
        line["messages"] = nlohmann::ordered_json::array();
        for (std::size_t turn = 0; turn <= i % 3; ++turn) {
          const auto [question, answer] = next();
          line["messages"].push_back({{"role", "user"}, {"content", question}});
          line["messages"].push_back({{"role", "assistant"}, {"content", answer}});
        }
      } else {
        const auto [question, answer] = next();
        line = {{"prompt", question}, {"completion", " " + answer}};
      }
      out += line.dump() + "\n";
    }
    return out;
  }

  bool conversations_;
  DefaultText text_;
};

}  // namespace qat_llm
