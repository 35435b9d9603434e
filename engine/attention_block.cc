#include "engine/attention_block.h"

#include "engine/gqa.h"

namespace quorum::engine {

std::unique_ptr<AttentionBlock> MakeAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms,
                                              const StepOptions& limits) {
  return std::make_unique<GqaAttention>(memory, spec, forms, limits);
}

}  // namespace quorum::engine
