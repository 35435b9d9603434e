#include "engine/residual.h"

namespace quorum::engine {

void ResidualRows::Add(const float* post_norm, std::int64_t row) const {
  float* added = block + row * spec.d_model;
  float* to = x + row * spec.d_model;
  if (post_norm != nullptr) kernels.rms_norm(added, post_norm, spec.norm_eps, spec.d_model, added);
  if (spec.residual_scale == 1.0F) {
    kernels.add(added, spec.d_model, to);
  } else {
    kernels.axpy(spec.residual_scale, added, spec.d_model, to);
  }
}

void ResidualRows::Norm(const NormWeights& norm, const ActForms& forms, std::int64_t row, std::int64_t to) const {
  const float* from = x + row * spec.d_model;
  float* normed = in->Floats(to);
  if (norm.bias == nullptr) {
    kernels.rms_norm(from, norm.weight, spec.norm_eps, spec.d_model, normed);
  } else {
    kernels.layer_norm(from, norm.weight, norm.bias, spec.norm_eps, spec.d_model, normed);
  }
  in->Quantize(kernels, forms, to, 0, normed, spec.d_model);
}

}  // namespace quorum::engine
