// The report of `quorum experts` as one HTML page that needs nothing else.
#pragma once

#include <string>

#include "cli/experts_report.h"

namespace quorum::cli {

/// cli/pages/experts.html with `report` in it.
std::string ExpertsPage(const Json& report);

}  // namespace quorum::cli
