// Requests to an engine over the fake model, and what they must reply.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/request.h"

namespace quorum::test {

/// `size` made-up tokens below 31, beginning with `first`.
std::vector<tok::TokenId> Prompt(std::int32_t size, tok::TokenId first = 0);

engine::GenerationRequest Greedy(std::vector<tok::TokenId> prompt, std::int32_t max_tokens);

/// What a greedy request must reply under FakeModel::HashLogits, from the definition.
std::vector<tok::TokenId> Expected(std::vector<tok::TokenId> history, std::int32_t max_tokens, tok::TokenId eos);

}  // namespace quorum::test
