// The small endpoints: models, tokenizing.
#pragma once

#include <string_view>

#include "server/api_context.h"

namespace quorum::server {

/// GET /v1/models; in Anthropic's shape for requests with its version header.
HttpResponse HandleModels(const ApiContext& context, const HttpRequest& http);
/// GET /v1/models/{id}; `id` is decoded and may hold slashes.
HttpResponse HandleModel(const ApiContext& context, const HttpRequest& http, std::string_view id);

/// POST /tokenize: {"content"} as llama.cpp has it (no BOS unless add_special, special tokens parsed unless
/// parse_special is false, with_pieces), or {"prompt"} / {"messages"} as vLLM has it (BOS unless add_special_tokens is
/// false). Answers {"tokens", "count", "max_model_len"}.
HttpResponse HandleTokenize(const ApiContext& context, HttpRequest& http);
/// POST /apply-template: a chat request to {"prompt"}, the text that the model would read (llama.cpp's form).
HttpResponse HandleApplyTemplate(const ApiContext& context, HttpRequest& http);
/// POST /detokenize: {"tokens"} to {"content", "prompt"}; control tokens are spelled out.
HttpResponse HandleDetokenize(const ApiContext& context, HttpRequest& http);

}  // namespace quorum::server
