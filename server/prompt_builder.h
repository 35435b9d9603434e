// From messages, or a plain prompt, to token ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/chat_request.h"
#include "server/completion_request.h"
#include "server/served_model.h"

namespace quorum::server {

/// The ids of a chat: the model's template renders it, and what the template itself wrote may become control tokens.
/// Names of control tokens inside messages and tools stay plain text. Fields that the template does not read are added
/// to `ignored`. Errors: kInvalidArgument (no template, the template's own complaint, or longer than the context:
/// reason "context_length_exceeded").
Result<std::vector<tok::TokenId>> BuildChatPrompt(const ServedModel& model, const ChatRequest& request,
                                                  std::int64_t now_unix, std::vector<std::string>& ignored,
                                                  std::int64_t* bytes_without_token = nullptr);

/// The text of the same prompt, names of control tokens as they stand.
Result<std::string> RenderChatPrompt(const ServedModel& model, const ChatRequest& request, std::int64_t now_unix,
                                     std::vector<std::string>& ignored);

/// The ids of a completion prompt. Text may hold control tokens: whoever asks for a raw completion writes the whole
/// prompt. BOS is added where the model wants it; an empty text is the start of a document (BOS, or the token that ends
/// one).
/// `param` is the request field; `parse_special` false: names of control tokens stay text.
Result<std::vector<tok::TokenId>> BuildPrompt(const ServedModel& model, const Prompt& prompt,
                                              std::vector<std::string>& ignored, const char* param = "prompt",
                                              bool parse_special = true);

/// Names in `ignored` how many bytes of a prompt the vocabulary has no token for; such bytes are left out.
void NoteLostBytes(std::int64_t bytes, std::vector<std::string>& ignored);

/// Refuses a text that cannot fit the context however well it is tokenized, before time is spent on it. `param` is the
/// request field at fault.
Status CheckTextFits(const ServedModel& model, std::size_t bytes, const char* param);

}  // namespace quorum::server
