// The reader of routing logs on any bytes: what it accepts can be summed up and written again.
#include <cmath>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>

#include "engine/base/check.h"
#include "engine/expert_insight.h"
#include "engine/expert_log.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace engine = quorum::engine;
  std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
  std::optional<engine::ExpertInsight> insight;
  const quorum::Status status = engine::ReadExpertLog(
      in, "fuzz",
      [&](const engine::ExpertLogHead& head) -> quorum::Status {
        QUORUM_CHECK(!engine::ExpertLogLine(head).empty());
        // Large shapes are allowed, but not worth their memory here.
        const std::int64_t cells =
            std::ssize(head.shape.experts) * head.shape.most() * (head.shape.most() + std::ssize(head.topics));
        if (cells < 100000) insight.emplace(head.shape, static_cast<std::int32_t>(head.topics.size()));
        return {};
      },
      [&](const engine::RoutedToken& token, const std::string& text) -> quorum::Status {
        QUORUM_CHECK(!engine::ExpertLogLine(token, text).empty());
        if (insight) insight->Add(token);
        return {};
      });
  if (!status.ok()) QUORUM_CHECK(status.error().message.starts_with("fuzz: "));
  if (insight) {
    for (std::int32_t layer = 0; layer < std::ssize(insight->shape().experts); ++layer) {
      (void)insight->Favourites(layer, 4);
      QUORUM_CHECK(insight->TopicBits(layer) >= 0);
    }
    (void)insight->UnsureTokens(0.1F, 5);
  }
  return 0;
}
