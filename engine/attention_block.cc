#include "engine/attention_block.h"

#include "engine/gqa.h"
#include "engine/mla.h"

namespace quorum::engine {

std::unique_ptr<AttentionBlock> MakeAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms,
                                              const StepOptions& limits) {
  if (spec.attention.is_latent()) return std::make_unique<MlaAttention>(memory, spec, forms, limits);
  return std::make_unique<GqaAttention>(memory, spec, forms, limits);
}

}  // namespace quorum::engine
