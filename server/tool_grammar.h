// What a reply must be so that it makes the calls that a request asks for: a grammar in the model's own format of
// calls.
#pragma once

#include <string>

#include "engine/base/result.h"
#include "server/output_format.h"
#include "server/served_model.h"
#include "server/tool_request.h"

namespace quorum::server {

/// Whether a reply needs a grammar for its calls or channels: calls are demanded, some tool is strict, or a format of
/// the answer must leave room for them. Where calls are not read, only demanded ones need it (and get an error).
bool NeedsToolGrammar(const ServedModel& model, const ToolUse& use, const OutputFormat& format);

/// Demanded: one call, or more where `use.parallel`. Else, with a format, such calls or a text of that format; without
/// one, any text, in which what begins as a call becomes one. Before all of it a thought, where the model thinks
/// (`format.thinking`). Arguments satisfy their schemas; a tool without one, or (named in `ignored`, and not strict)
/// with one that cannot be followed, takes any object.
/// Errors: kInvalidArgument: the schema of a strict tool or a format that cannot be followed; kUnsupported: the model's
/// format of calls is not known.
Result<GrammarCache::Made> ToolGrammar(const ServedModel& model, const ToolUse& use, const OutputFormat& format);

/// A key for caches: equal for equal grammars of one model.
std::string ToolGrammarKey(const ToolUse& use, const OutputFormat& format);

}  // namespace quorum::server
