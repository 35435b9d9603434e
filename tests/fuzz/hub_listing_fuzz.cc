// A hub's answers and references to models on any bytes: nothing crashes, and no name leads out of the cache.
#include <cstdint>
#include <string>
#include <string_view>

#include "cli/hub/hub_client.h"
#include "cli/hub/model_choice.h"
#include "cli/hub/model_reference.h"
#include "engine/base/check.h"

namespace hub = quorum::hub;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto reference = hub::ParseReference(text); reference.ok()) {
    QUORUM_CHECK(reference->owner.find('/') == std::string::npos && reference->repo.find('/') == std::string::npos);
    const auto again = hub::ParseReference(reference->Text());
    QUORUM_CHECK(again.ok() && again->Text() == reference->Text());
  }
  const auto names = hub::ReadListing(text);
  if (!names.ok()) return 0;
  for (const std::string& name : *names) {
    QUORUM_CHECK(hub::IsSafeName(name));
    QUORUM_CHECK(name.front() != '/' && ("/" + name + "/").find("/../") == std::string::npos);
  }
  for (const char* wanted : {"", "Q4_K_M", "config.json"}) {
    const auto choice = hub::ChooseFiles(*names, wanted);
    if (choice.ok()) QUORUM_CHECK(!choice->files.empty());
  }
  return 0;
}
