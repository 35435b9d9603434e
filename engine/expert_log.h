// Routing logs: one JSON object a line, a head and then a token each, so that routing can be kept, read by other
// programs, and compared later without the model.
//
//   {"quorum_expert_log": 1, "model": "...", "top_k": 2, "experts": [8, 8], "topics": ["a.txt"], "share": 0.5}
//   {"t": 17, "s": "Hello", "topic": 0, "loss": 2.5, "e": [[1, 4], [0, 7]], "w": [[0.6, 0.4], ...], "n": [[...], ...],
//   "m": [0.2, 1.3]}
//
// t, s: the token and its text; absent where the log does not tell them.
// e, w, n, m: by layer the experts (ascending), their weights, lengths of their outputs (may be absent), and the margin
// of the choice; null stands for numbers that there are not.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_insight.h"
#include "engine/expert_options.h"

namespace quorum::engine {

struct ExpertLogHead {
  std::string model;
  ExpertShape shape;
  std::vector<std::string> topics;
  double share = 1;  // of what was computed that is in the log, steps evenly spread; not written where it is all
};

/// The head's line and a token's, line ends included. `text`: the token's bytes, perhaps no valid UTF-8; of kNoToken
/// none are written.
std::string ExpertLogLine(const ExpertLogHead& head);
std::string ExpertLogLine(const RoutedToken& token, std::string_view text);

/// Reads a log: `begin` gets the head, then `each` every token with its text. What they point to lives during the call.
/// Errors: kInvalidArgument with the line at fault; `name` is the file's, for messages.
Status ReadExpertLog(std::istream& in, const std::string& name,
                     const std::function<Status(const ExpertLogHead&)>& begin,
                     const std::function<Status(const RoutedToken&, const std::string& text)>& each);

}  // namespace quorum::engine
