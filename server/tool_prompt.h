// Tools for chat templates that know none: described in words, as Hermes models were trained to read them.
#pragma once

#include "server/json_input.h"

namespace quorum::server {

/// Where the tools stand.
enum class ToolPlace { kSystem, kFirstUser };

/// `messages` with the tools described in the system message (or one of their own; or, where templates have no such
/// role, at the beginning of the first user's message), and with earlier calls and results written into the text, in
/// the format that ToolFormat::kHermes reads (https://github.com/NousResearch/Hermes-Function-Calling).
Json WithToolsInWords(const Json& messages, const Json& tools, ToolPlace place);

}  // namespace quorum::server
