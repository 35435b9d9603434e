#include "engine/grammar/network.h"

#include <algorithm>

#include "engine/grammar/network_builder.h"

namespace quorum::grammar {

Result<Network> Network::Compile(const Grammar& grammar, const CharSet& spellable) {
  if (grammar.overflowed()) return Grammar::TooLarge();
  return NetworkBuilder(grammar, spellable).Build();
}

std::size_t Network::bytes() const {
  return nodes_.size() * (sizeof(Node) + 2 * sizeof(std::int32_t) + 1) + edges_.size() * sizeof(Edge) +
         targets_.size() * sizeof(NodeId) + repeats_.size() * sizeof(Repetition);
}

}  // namespace quorum::grammar
