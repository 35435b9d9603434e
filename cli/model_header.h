// What a model's files say of it, read without its weights, so that flags can be judged before anything takes long.
#pragma once

#include <string>

#include "engine/base/result.h"
#include "engine/expert_options.h"
#include "engine/model_spec.h"

namespace quorum::cli {

/// Errors: those of engine::ModelFiles::Open.
Result<engine::ModelSpec> ReadSpec(const std::string& path);

/// As engine::Model::experts tells it of the loaded model.
engine::ExpertShape ExpertShapeOf(const engine::ModelSpec& spec);

/// `error` with "NAME: " before its message.
Error InModel(const std::string& name, const Error& error);

/// Error kInvalidArgument, naming the flags, for experts that the model called `name` cannot be asked for.
Status CheckExperts(const std::string& name, const engine::ExpertRequest& request, const engine::ExpertShape& shape);

}  // namespace quorum::cli
