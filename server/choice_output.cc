#include "server/choice_output.h"

#include <utility>

#include "server/request_reports.h"

namespace quorum::server {

ChoiceDelta ChoiceOutput::Apply(engine::Event event) {
  ChoiceDelta delta;
  text_bytes_ += event.text.size();
  if (event.kind == engine::Event::Kind::kToken) {
    logprob_sum_ += event.logprob;
    ++tokens_;
    if (scored_) scores_.Add(event);
    if (event.trace != nullptr) {
      delta.tokens = Json::array({TokenReport(TokenString(tokenizer_, event.token, as_ids_), *event.trace)});
    }
  }
  if (event.kind == engine::Event::Kind::kFinish) {
    finished_ = delta.finished = true;
    finish_ = event.finish;
    completion_tokens_ = event.completion_tokens;
    reasoning_tokens_ = event.reasoning_tokens;
    stop_text_ = event.stop_text;
  }
  if (scored_) {
    delta.scores = delta.finished ? scores_.Rest(text_bytes_, !event.stop_text.empty()) : scores_.Released(text_bytes_);
  }
  delta.text = std::move(event.text);
  return delta;
}

}  // namespace quorum::server
