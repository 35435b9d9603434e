// Where models with an oracle lie: tests/fixtures/model, or the folder that QUORUM_ORACLE_FIXTURES names
// (tests/oracle/random_cases.py fills one).
#pragma once

#include <cstdlib>
#include <string>

namespace quorum::testing {

inline bool IsOwnOracleFolder() { return std::getenv("QUORUM_ORACLE_FIXTURES") != nullptr; }

inline std::string OracleFolder() {
  return IsOwnOracleFolder() ? std::getenv("QUORUM_ORACLE_FIXTURES") : std::string(QUORUM_FIXTURES) + "/model";
}

}  // namespace quorum::testing
