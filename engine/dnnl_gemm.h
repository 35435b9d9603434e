// Products with unquantized matrices on oneDNN instead of Quorum's own kernels: an option, and a yardstick for those
// kernels. oneDNN adds in other orders than they do, so what it computes is outside the promise of one answer
// (DESIGN 4.8): bits may depend on the batch and on the machine.
#pragma once

#include <string>

#include "engine/base/result.h"
#include "engine/kernels/kernel_table.h"

namespace quorum::engine {

/// `base` with float products of 16 and more rows computed by oneDNN, on the same panels. The tables live for the
/// process. Errors: kUnsupported when oneDNN has only its reference implementation here, which is a thousand times
/// slower.
Result<const KernelTable*> WithOneDnn(const KernelTable& base);

/// "oneDNN 2.6.3", for logs.
std::string OneDnnVersion();

}  // namespace quorum::engine
