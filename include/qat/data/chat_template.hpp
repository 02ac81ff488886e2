// Messages of a conversation as text, by a named template or by a text with {role} and {content}.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "qat/base/check.hpp"

namespace qat::inline v0 {

/// One message: what stands before its content, the content, and what stands behind.
class ChatTemplate {
 public:
  /// `chatml`, `llama3`, `plain`, or the text of one message in which {role} and {content} stand once each, in this
  /// order. Templates of models with a beginning of their own get it from the tokenizer's BOS.
  /// @throws qat::Error (kInvalidArgument) naming what is missing
  explicit ChatTemplate(std::string_view text) {
    if (text == "chatml") text = "<|im_start|>{role}\n{content}<|im_end|>\n";
    if (text == "llama3") text = "<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>";
    if (text == "plain") text = "{role}: {content}\n";
    constexpr std::string_view kRole = "{role}", kContent = "{content}";
    const std::size_t role = text.find(kRole), content = text.find(kContent);
    QAT_CHECK(role != text.npos && content != text.npos && role < content && text.find(kRole, role + 1) == text.npos &&
                  text.find(kContent, content + 1) == text.npos,
              kInvalidArgument, "chat template '", text,
              "': accepted: chatml, llama3, plain, or a text with {role} and then {content}, once each");
    before_role_ = text.substr(0, role);
    before_content_ = text.substr(role + kRole.size(), content - role - kRole.size());
    behind_ = text.substr(content + kContent.size());
  }

  std::string opening(std::string_view role) const { return before_role_ + std::string(role) + before_content_; }
  const std::string& closing() const { return behind_; }

 private:
  std::string before_role_, before_content_, behind_;
};

}  // namespace qat::inline v0
