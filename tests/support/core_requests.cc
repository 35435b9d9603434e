#include "tests/support/core_requests.h"

#include <algorithm>
#include <utility>

#include "tests/support/fake_model.h"

namespace quorum::test {

using tok::TokenId;

std::vector<TokenId> Prompt(std::int32_t size, TokenId first) {
  std::vector<TokenId> prompt{first};
  for (std::int32_t i = 1; i < size; ++i) prompt.push_back((first + i * 7) % 31);
  return prompt;
}

engine::GenerationRequest Greedy(std::vector<TokenId> prompt, std::int32_t max_tokens) {
  engine::GenerationRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

std::vector<TokenId> Expected(std::vector<TokenId> history, std::int32_t max_tokens, TokenId eos) {
  std::vector<TokenId> reply;
  std::vector<float> row(static_cast<std::size_t>(eos) + 1);
  while (static_cast<std::int32_t>(reply.size()) < max_tokens) {
    FakeModel::HashLogits(history, row);
    reply.push_back(static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin()));
    history.push_back(reply.back());
    if (reply.back() == eos) break;
  }
  return reply;
}

}  // namespace quorum::test
