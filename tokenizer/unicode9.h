// The version of Unicode that Hugging Face's tokenizers normalize by.
#pragma once

#include <cstdint>

namespace quorum::tok {

/// Whether the normal forms of Unicode 9 leave this code point as it is and where it is, though later versions give it
/// a combining class, a decomposition or a composition. The tables of Hugging Face's tokenizers (the crate
/// unicode-normalization-alignments) are those of Unicode 9, and models were trained on what these make of a text.
bool IsAfterUnicode9(std::uint32_t code_point);

}  // namespace quorum::tok
