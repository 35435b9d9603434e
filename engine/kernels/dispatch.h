// Chooses the kernel table once.
#pragma once

#include "engine/base/cpu.h"
#include "engine/base/result.h"
#include "engine/kernels/kernel_table.h"

namespace quorum::engine {

/// The table of `isa`. REQUIRES: HasIsa(isa).
const KernelTable& KernelsFor(Isa isa);

/// The table that ChooseIsa() names; logs once which one, and why a better one was refused.
Result<const KernelTable*> ChooseKernels();

}  // namespace quorum::engine
