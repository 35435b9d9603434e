// The kernel tables that tests hold against each other.
#pragma once

#include <vector>

#include "engine/kernels/kernel_table.h"

namespace quorum::testing {

/// The vector tables whose code can run here: those of this host, and AVX-VNNI's and AVX-512's on emulated intrinsics
/// (tests/emulated) where only AVX2 is there. Their names are the same either way.
std::vector<const engine::KernelTable*> VectorTables();

/// The scalar table, then VectorTables().
std::vector<const engine::KernelTable*> AllTables();

/// VectorTables(), and AMX's, which differs from AVX-512's in matmul alone, on an emulated tile unit where it cannot run.
std::vector<const engine::KernelTable*> MatmulTables();

}  // namespace quorum::testing
