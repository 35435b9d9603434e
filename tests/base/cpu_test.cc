#include "engine/base/cpu.h"

#include <cstdlib>
#include <string>

#include "tests/support/catch.h"

namespace quorum {
namespace {

/// Sets QUORUM_ISA for one scope.
class ForcedIsa {
 public:
  explicit ForcedIsa(const char* name) {
    if (const char* old = std::getenv("QUORUM_ISA")) old_ = old;
    ::setenv("QUORUM_ISA", name, 1);
  }
  ~ForcedIsa() {
    if (old_.empty()) {
      ::unsetenv("QUORUM_ISA");
    } else {
      ::setenv("QUORUM_ISA", old_.c_str(), 1);
    }
  }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;

 private:
  std::string old_;
};

TEST_CASE("QUORUM_ISA lowers the instruction set and refuses what is unknown or missing") {
  {
    const ForcedIsa forced("scalar");
    CHECK(ChooseIsa().value() == Isa::kScalar);
  }
  {
    const ForcedIsa forced("sse9");
    const auto chosen = ChooseIsa();
    REQUIRE_FALSE(chosen.ok());
    CHECK(chosen.error().code == ErrorCode::kInvalidArgument);
    CHECK(chosen.error().message.find("sse9") != std::string::npos);
  }
  for (const Isa isa : kAllIsas) {
    const ForcedIsa forced(IsaName(isa).data());
    const auto chosen = ChooseIsa();
    REQUIRE(chosen.ok() == HasIsa(isa));
    if (chosen.ok()) {
      CHECK(*chosen == isa);
    } else {
      CHECK(chosen.error().message.find("needs") != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace quorum
