// The request fields that chat and plain completions have in common.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/json_fields.h"
#include "server/output_format.h"

namespace quorum::server {

struct GenerationFields {
  std::string model;                  // as asked for; empty: not given
  engine::GenerationRequest request;  // all but prompt and max_tokens; a seed has been drawn if none was given
  OutputFormat format;                // what the reply must be; compiled into request.grammar when the model is known
  bool stream = false;
  bool include_usage = false;        // stream_options.include_usage
  bool tokens_as_ids = false;        // return_tokens_as_token_ids
  std::string budget_field;          // what the client called request.thinking.budget; empty: it gave none
  std::vector<std::string> ignored;  // fields that were sent and are not honoured
};

/// Reads the common fields of a request body.
/// Errors: kInvalidArgument with the field as param for a wrong type or range; kUnsupported for a field that would
/// change the answer and is not implemented. Never silent: what is neither honoured nor refused ends up in `ignored`.
Status ReadGenerationFields(JsonFields& fields, GenerationFields& out);

/// Adds the stop strings of an array. Empty ones would end every text at once: `field` is named in `ignored` instead.
Status ReadStopStrings(const Json& list, const char* field, GenerationFields& out);

/// Ranges of log-probability counts.
inline constexpr std::int64_t kMaxTopLogprobs = 20;

/// Parses a request body that must be an object.
Result<Json> ParseBody(std::string_view text);

}  // namespace quorum::server
