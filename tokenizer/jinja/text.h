// Values as text: Python's str() and repr().
#pragma once

#include <string>
#include <string_view>

#include "tokenizer/jinja/objects.h"

namespace quorum::tok::jinja {

/// Appends str(value).
void AppendStr(TextBuilder& out, const Value& value);

/// Appends repr(value).
void AppendRepr(TextBuilder& out, const Value& value);

/// str(value) as a plain C++ string.
std::string Str(Budget& budget, const Value& value);

/// repr(value) as a plain C++ string.
std::string Repr(Budget& budget, const Value& value);

/// Appends repr() of a string with this text; with `ascii`, what Python's ascii() gives.
void AppendQuoted(TextBuilder& out, std::string_view text, bool ascii = false);

/// `value` itself if it is a string (markup or not), else str(value) as a string value.
Value SoftStr(Heap& heap, const Value& value);

/// HTML-escapes & < > ' ".
std::string EscapeHtml(Budget& budget, std::string_view text);

/// Markup of `value`: escaped, unless it is markup already.
Value Escape(Heap& heap, const Value& value);

}  // namespace quorum::tok::jinja
