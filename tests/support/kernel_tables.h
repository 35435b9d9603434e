// The kernel tables that tests hold against each other.
#pragma once

#include <vector>

#include "engine/kernels/kernel_table.h"

namespace quorum::testing {

/// The vector tables whose code can run here: those of this host, and AVX-512's on emulated intrinsics
/// (tests/emulated) where only AVX2 is there. Its name is "avx512" either way.
std::vector<const engine::KernelTable*> VectorTables();

/// The scalar table, then VectorTables().
std::vector<const engine::KernelTable*> AllTables();

/// VectorTables(), and the tables that differ from them in matmul alone: AVX-VNNI's and AMX's, on an emulated instruction
/// and an emulated tile unit where they cannot run.
std::vector<const engine::KernelTable*> MatmulTables();

}  // namespace quorum::testing
