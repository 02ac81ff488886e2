// Messages as text.
#include "qat/data/chat_template.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("named templates and own ones put role and content where they say") {
  const auto message = [](const char* form) {
    const ChatTemplate chat(form);
    return chat.opening("user") + "Hi" + chat.closing();
  };
  CHECK(message("chatml") == "<|im_start|>user\nHi<|im_end|>\n");
  CHECK(message("llama3") == "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>");
  CHECK(message("plain") == "user: Hi\n");
  CHECK(message("[{role}]{content}") == "[user]Hi");
  for (const char* bad :
       {"", "chatml2", "{role}", "{content}", "{content}{role}", "{role}{role}{content}", "{role}{content}{content}"})
    QAT_CHECK_ERROR(ChatTemplate(bad), "accepted: chatml, llama3, plain");
}
