// A request and its answer as the rest of the server sees them; nothing of the HTTP library shows.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace quorum::server {

struct Header {
  std::string name;
  std::string value;
};

/// The first header called `name` (any case), or null.
const std::string* FindHeader(const std::vector<Header>& headers, std::string_view name);

/// Whether `text` equals `other` but for the case of ASCII letters.
bool EqualsIgnoreCase(std::string_view text, std::string_view other);

/// Percent-decodes `text`. Nothing where a '%' is not followed by two hex digits.
Result<std::string> PercentDecode(std::string_view text);

/// Names and values of a query ("a=1&b"), percent-decoded, in their order. Errors: as PercentDecode.
Result<std::vector<Header>> ParseQuery(std::string_view query);

/// One request whose head has been checked. Used by one thread at a time.
struct HttpRequest {
  std::string method;
  std::string path;   // percent-decoded, without the query
  std::string query;  // as sent, without '?'
  std::vector<Header> headers;
  std::string request_id;   // the client's x-request-id where it is acceptable, else our own
  std::string remote_addr;  // numeric, from the socket; never from a header

  /// Reads the whole body. Errors: kTooLarge (over the limit; nothing over it is kept), kInvalidArgument (malformed
  /// chunks, or cut short), kCancelled (the client went away or was too slow).
  std::function<Result<std::string>()> read_body;
  /// Whether the client closed its side: a half-closed connection counts as gone. Costs one poll().
  std::function<bool()> client_gone;

  const std::string* FindHeader(std::string_view name) const { return server::FindHeader(headers, name); }
};

/// Where a streamed answer is written.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  /// Sends `bytes` at once. False when the client is gone or did not read within the write timeout.
  virtual bool Write(std::string_view bytes) = 0;
  virtual bool ClientGone() = 0;
  /// The client sends nothing more: it waits for the rest, or is gone, which writing something finds out.
  virtual bool ClientSilent() { return false; }
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<Header> headers;
  /// If set, writes the answer piece by piece after the head has been sent, instead of `body`.
  std::function<void(StreamWriter&)> stream;
};

/// Must not throw; what escapes all the same becomes a 500 and a log line.
using HttpHandler = std::function<HttpResponse(HttpRequest&)>;

}  // namespace quorum::server
