// Rewrites split patterns from the Oniguruma syntax, in which tokenizer.json and the models' authors write them, to
// PCRE2's, so that both match the same text.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace quorum::tok {

/// `pattern` for PCRE2 with UTF, UCP and MULTILINE set. What differs and is rewritten: `\s` (PCRE2 adds U+180E), `\w`,
/// `\b`, `\h` (a hexadecimal digit), `\v`, script names (PCRE2 means script extensions), `(?m:` (dot matches newline),
/// `{,n}`, `[...&&[^...]]` of general categories.
/// Errors: kUnsupported, naming the construct, for all that is not known to mean the same: look at the code for the
/// white list. A pattern comes from a model file, so this is also what keeps PCRE2's verbs, callouts and recursion out.
Result<std::string> OnigurumaToPcre2(std::string_view pattern);

}  // namespace quorum::tok
