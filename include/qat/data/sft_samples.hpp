// Samples for supervised fine-tuning: prompts with completions, or conversations, as tokens with the targets that
// count.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/chat_template.hpp"
#include "qat/data/token_stream.hpp"
#include "qat/io/json.hpp"
#include "qat/io/json_lines.hpp"
#include "qat/ops/softmax_cross_entropy.hpp"

namespace qat::inline v0 {

/// One sample as a model reads it: target t is what follows input t, or kIgnoreIndex inside a prompt.
struct SftSample {
  std::vector<std::int32_t> inputs, targets;
  index_t counted = 0;  ///< targets that count
  index_t line = 0;     ///< in its file, from 1
};

struct SftOptions {
  index_t longest = 512;     ///< inputs of a sample at most: the length that is trained with
  index_t vocab_size = 0;    ///< of the model
  std::int32_t eos_id = -1;  ///< ends every sample, and counts; -1: none
  std::string chat_template = "chatml";
  bool skip_broken = false;  ///< leave out lines that are not valid or too long
};

struct SftData {
  std::vector<SftSample> samples;
  index_t skipped = 0;        ///< lines left out
  std::string first_skipped;  ///< why the first of them was
};

namespace detail {

/// A part of a sample's text; the loss counts on completions.
struct SftPart {
  std::string text;
  bool is_completion;
};

inline const std::string& text_member(const Json& object, const char* key, const std::string& where) {
  const Json* found = find_member(object, key);
  QAT_CHECK(found != nullptr && found->is_string(), kBadFile, where, ": ", key, " is ",
            found == nullptr ? "missing" : json_text(*found), "; accepted: a string");
  return found->get_ref<const std::string&>();
}

/// {"prompt", "completion"}, or {"messages": [{"role", "content"} ...]} of which the assistant's count.
inline std::vector<SftPart> sft_parts(const Json& json, const ChatTemplate& chat, const std::string& where) {
  QAT_CHECK(json.is_object(), kBadFile, where, ": is ", json_text(json),
            "; accepted: an object with prompt and completion, or with messages");
  const Json* messages = find_member(json, "messages");
  if (messages == nullptr) {
    const std::string &prompt = text_member(json, "prompt", where),
                      &completion = text_member(json, "completion", where);
    QAT_CHECK(!completion.empty(), kBadFile, where, ": completion is empty; accepted: a text");
    return {{prompt, false}, {completion, true}};
  }
  QAT_CHECK(messages->is_array() && !messages->empty(), kBadFile, where, ": messages is ", json_text(*messages),
            "; accepted: a list of messages with role and content");
  std::vector<SftPart> parts;
  bool any = false;
  for (const Json& message : *messages) {
    QAT_CHECK(message.is_object(), kBadFile, where, ": a message is ", json_text(message),
              "; accepted: an object with role and content");
    const std::string &role = text_member(message, "role", where), &content = text_member(message, "content", where);
    QAT_CHECK(role == "system" || role == "user" || role == "assistant", kBadFile, where, ": role is ", printable(role),
              "; accepted: system, user, assistant");
    const bool counts = role == "assistant";
    any = any || counts;
    parts.push_back({chat.opening(role), false});
    parts.push_back({content + chat.closing(), counts});
  }
  QAT_CHECK(any, kBadFile, where, ": no message is the assistant's; there is nothing to learn");
  return parts;
}

/// The whole text is tokenized at once, as it will be read; a token that reaches into a completion belongs to it.
inline SftSample sft_sample(const std::vector<SftPart>& parts, const Tokenizer& tokenizer, const SftOptions& options,
                            const std::string& where) {
  std::string text;
  for (const SftPart& part : parts) text += part.text;
  std::vector<std::int32_t> ids = tokenizer.encode(text, true);
  std::vector<bool> counts(ids.size(), false);
  std::string before;
  for (const SftPart& part : parts) {
    const auto tokens_of = [&](const std::string& begin) {  // that the whole text begins with, too
      const std::vector<std::int32_t> own = begin.empty() ? std::vector<std::int32_t>() : tokenizer.encode(begin, true);
      const auto common = std::mismatch(own.begin(), own.end(), ids.begin(), ids.end());
      return static_cast<std::size_t>(common.first - own.begin());
    };
    if (part.is_completion) {
      const std::size_t begin = tokens_of(before), end = tokens_of(before + part.text);
      const bool is_last = &part == &parts.back();
      for (std::size_t i = begin; i < (is_last ? ids.size() : end); ++i) counts[i] = true;
    }
    before += part.text;
  }
  if (options.eos_id >= 0) {
    ids.push_back(options.eos_id);
    counts.push_back(parts.back().is_completion);
  }
  check_token_ids(ids, options.vocab_size, where);
  SftSample sample;
  const auto n = static_cast<index_t>(ids.size()) - 1;
  const auto prompt = static_cast<index_t>(std::find(counts.begin(), counts.end(), true) - counts.begin());
  QAT_CHECK(prompt <= options.longest, kInvalidArgument, where, ": the prompt has ", prompt,
            " tokens; accepted: at most ", options.longest);
  QAT_CHECK(n <= options.longest, kInvalidArgument, where, ": prompt and completion have ", n,
            " tokens; accepted: at most ", options.longest);
  sample.inputs.assign(ids.begin(), ids.end() - 1);
  for (std::size_t i = 1; i < ids.size(); ++i) {
    sample.targets.push_back(counts[i] ? ids[i] : ops::kIgnoreIndex);
    sample.counted += counts[i];
  }
  QAT_CHECK(sample.counted > 0, kInvalidArgument, where, ": the completion adds no token to its prompt");
  return sample;
}

}  // namespace detail

/// Samples from JSONL, one a line: {"prompt": text, "completion": text} or {"messages": [{"role", "content"}, ...]};
/// other keys are left alone. The loss counts on completions (the assistant's messages with what closes them) and on
/// the end token. source: names the text in errors
/// @throws qat::Error naming source and line: not JSON, a member missing or of another type, too long for `longest`
inline SftData make_sft_data(std::string_view text, const std::string& source, const Tokenizer& tokenizer,
                             const SftOptions& options) {
  const ChatTemplate chat(options.chat_template);
  SftData data;
  for_each_json_line_of(text, [&](std::string_view line, index_t number) {
    const std::string where = source + ":" + std::to_string(number);
    try {
      SftSample sample =
          detail::sft_sample(detail::sft_parts(parse_json(line, where), chat, where), tokenizer, options, where);
      sample.line = number;
      data.samples.push_back(std::move(sample));
    } catch (const Error& e) {
      if (!options.skip_broken) throw;
      if (data.skipped++ == 0) data.first_skipped = e.what();
    }
  });
  QAT_CHECK(!data.samples.empty(), kBadFile, source, ": has no samples",
            data.skipped > 0 ? "; the first line left out: " : "", data.first_skipped,
            "; accepted: lines {\"prompt\", \"completion\"} or {\"messages\"}");
  return data;
}

/// The same for a file.
/// @throws qat::Error (kIo) naming the file; else as make_sft_data()
inline SftData load_sft_data(const std::string& path, const Tokenizer& tokenizer, const SftOptions& options) {
  const MappedFile file(path);
  return make_sft_data(file.text(), path, tokenizer, options);
}

/// The samples in two parts: those that held_out(share, seed) leaves, and those it holds out.
inline std::pair<std::vector<SftSample>, std::vector<SftSample>> split_samples(std::vector<SftSample> samples,
                                                                               double share, std::uint64_t seed,
                                                                               const std::string& source) {
  const std::vector<bool> out = held_out(static_cast<index_t>(samples.size()), share, seed, source.c_str());
  std::pair<std::vector<SftSample>, std::vector<SftSample>> parts;
  for (std::size_t i = 0; i < samples.size(); ++i)
    (out[i] ? parts.second : parts.first).push_back(std::move(samples[i]));
  return parts;
}

}  // namespace qat::inline v0
