// Files for the tests of this folder.
#pragma once

#include <string>

#include "tests/support/scratch.h"

namespace quorum::quant {

using test::Folder;
using test::ReadFile;

/// The path of tests/fixtures/quant/`name`.
inline std::string Fixture(const std::string& name) { return QUORUM_FIXTURES "/quant/" + name; }

}  // namespace quorum::quant
