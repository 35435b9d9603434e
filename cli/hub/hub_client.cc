#include "cli/hub/hub_client.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <utility>

#include <curl/curl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/hub/checksum.h"

namespace quorum::hub {
namespace {

constexpr std::size_t kMaxListing = 64 << 20;  // bytes
constexpr int kMaxRedirects = 5;

using Headers = std::map<std::string, std::string>;  // names in lower case

std::string Get(const Headers& headers, const char* name) {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

std::string Escaped(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~' || c == '/') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

std::string RevisionPart(const ModelReference& model) {
  std::string revision = Escaped(model.revision);  // refs/pr/1 is one part of the path
  for (std::size_t at = 0; (at = revision.find('/', at)) != std::string::npos;) revision.replace(at, 1, "%2F");
  return revision;
}

bool MayPass(long status) { return status == 408 || status == 429 || status >= 500; }

}  // namespace

/// One request at a time through libcurl, which keeps the connection.
struct HubClient::Connection {
  CURL* curl = ::curl_easy_init();
  Headers headers;  // of the last answer
  std::string message;
  ~Connection() { ::curl_easy_cleanup(curl); }

  static std::size_t TakeHeader(char* data, std::size_t size, std::size_t count, void* self) {
    const std::string_view line(data, size * count);
    auto& headers = static_cast<Connection*>(self)->headers;
    if (line.starts_with("HTTP/")) headers.clear();  // of the next answer in a chain of redirections
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return line.size();
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && std::isspace(static_cast<unsigned char>(value.front())) != 0) value.remove_prefix(1);
    while (!value.empty() && std::isspace(static_cast<unsigned char>(value.back())) != 0) value.remove_suffix(1);
    headers[std::move(name)] = value;
    return line.size();
  }

  struct Sink {
    Connection* connection = nullptr;
    std::function<bool(long status, const char*, std::size_t)> take;
  };
  static std::size_t TakeBody(char* data, std::size_t size, std::size_t count, void* at) {
    auto* sink = static_cast<Sink*>(at);
    long status = 0;
    ::curl_easy_getinfo(sink->connection->curl, CURLINFO_RESPONSE_CODE, &status);
    return sink->take(status, data, size * count) ? size * count : 0;
  }

  struct Answer {
    CURLcode code = CURLE_OK;
    long status = 0;
  };
  Answer Run(const HubOptions& options, const std::string& url, bool head, bool follow, std::uint64_t offset,
             std::function<bool(long, const char*, std::size_t)> take) {
    Answer answer;
    if (curl == nullptr) return {CURLE_FAILED_INIT, 0};
    headers.clear();
    ::curl_easy_reset(curl);
    Sink sink{this, std::move(take)};
    std::string error(CURL_ERROR_SIZE, '\0');
    const std::string agent = std::string("quorum/") + QUORUM_VERSION;
    const bool secure = options.endpoint.starts_with("https:");
    ::curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    ::curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    ::curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    ::curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, follow ? 1L : 0L);
    ::curl_easy_setopt(curl, CURLOPT_MAXREDIRS, static_cast<long>(kMaxRedirects));
    ::curl_easy_setopt(curl, CURLOPT_NOBODY, head ? 1L : 0L);
    ::curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    ::curl_easy_setopt(curl, CURLOPT_USERAGENT, agent.c_str());
    ::curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    ::curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    ::curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_seconds));
    ::curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error.data());
    ::curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &Connection::TakeHeader);
    ::curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
    ::curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Connection::TakeBody);
    ::curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    if (offset > 0) ::curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(offset));
    // libcurl keeps a bearer token from other hosts that an answer leads to.
    if (!options.token.empty()) {
      ::curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
      ::curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, options.token.c_str());
    }
    // What is counted and checked is the file itself, not a compressed form of it.
    curl_slist* list = ::curl_slist_append(nullptr, "Accept-Encoding: identity");
    ::curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    answer.code = ::curl_easy_perform(curl);
    ::curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    ::curl_slist_free_all(list);
    message = error.c_str();
    if (message.empty()) message = ::curl_easy_strerror(answer.code);
    ::curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
    return answer;
  }

  /// What an answer that is not a success means.
  Error Failure(const HubOptions& options, const Answer& answer, const std::string& what) const {
    if (answer.code != CURLE_OK) {
      return {ErrorCode::kUnavailable, fmt::format("{}: {} ({})", what, message, options.endpoint), {}, {}};
    }
    const std::string said = Get(headers, "x-error-message").substr(0, 300);
    const auto made = [&](ErrorCode code, std::string_view why) {
      return Error{code, fmt::format("{}: {}{}{}", what, why, said.empty() ? "" : "; the hub says: ", said), {}, {}};
    };
    const char* token =
        options.token.empty() ? "no token was given (HF_TOKEN, --token-file)" : "the token is not accepted for it";
    switch (answer.status) {
      case 401:  // also what the hub answers to strangers where there is nothing
        return made(ErrorCode::kUnauthenticated,
                    fmt::format("401, it does not exist, is private or gated, and {}", token));
      case 403: return made(ErrorCode::kPermissionDenied, fmt::format("403, access is refused; {}", token));
      case 404: return made(ErrorCode::kNotFound, "404, there is no such repository, revision or file");
      default:
        return made(MayPass(answer.status) ? ErrorCode::kUnavailable : ErrorCode::kDataLoss,
                    fmt::format("the hub answered with status {}", answer.status));
    }
  }
};

HubClient::HubClient(HubOptions options) : options_(std::move(options)) {
  static const CURLcode ready = ::curl_global_init(CURL_GLOBAL_DEFAULT);
  static_cast<void>(ready);
  connection_ = std::make_unique<Connection>();
}

HubClient::~HubClient() = default;

Result<std::vector<std::string>> ReadListing(std::string_view json) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  const auto wrong = [] { return DataLoss("the hub's list of files is not one (JSON with 'siblings')"); };
  if (!parsed.is_object() || !parsed.contains("siblings") || !parsed["siblings"].is_array()) return wrong();
  std::vector<std::string> names;
  for (const auto& file : parsed["siblings"]) {
    if (!file.is_object() || !file.contains("rfilename") || !file["rfilename"].is_string()) return wrong();
    auto name = file["rfilename"].get<std::string>();
    if (IsSafeName(name)) names.push_back(std::move(name));
  }
  return names;
}

Result<std::vector<std::string>> HubClient::List(const ModelReference& model) {
  const std::string url =
      fmt::format("{}/api/models/{}/{}/revision/{}", options_.endpoint, model.owner, model.repo, RevisionPart(model));
  std::string body;
  bool too_long = false;
  const auto answer = connection_->Run(options_, url, false, true, 0, [&](long, const char* data, std::size_t size) {
    too_long = body.size() + size > kMaxListing;
    if (!too_long) body.append(data, size);
    return !too_long;
  });
  if (too_long) return DataLoss("the hub's list of files is too long");
  if (answer.code != CURLE_OK || answer.status != 200) return connection_->Failure(options_, answer, model.Text());
  return ReadListing(body);
}

Result<RemoteFile> HubClient::Describe(const ModelReference& model, const std::string& name) {
  RemoteFile file;
  file.url = fmt::format("{}/{}/{}/resolve/{}/{}", options_.endpoint, model.owner, model.repo, RevisionPart(model),
                         Escaped(name));
  const std::string what = fmt::format("{} of {}", name, model.Text());
  for (int i = 0; i <= kMaxRedirects; ++i) {
    const auto answer =
        connection_->Run(options_, file.url, true, false, 0, [](long, const char*, std::size_t) { return true; });
    const bool moved = answer.status >= 300 && answer.status < 400;
    if (answer.code != CURLE_OK || (answer.status != 200 && !moved))
      return connection_->Failure(options_, answer, what);
    const Headers& headers = connection_->headers;
    const std::string linked = Get(headers, "x-linked-etag");
    const std::string location = Get(headers, "location");
    // A repository that was renamed leads elsewhere on the hub; a large file to a store, when this answer describes it.
    if (moved && linked.empty() && location.starts_with('/')) {
      file.url = options_.endpoint + location;
      continue;
    }
    file.etag = PlainEtag(linked.empty() ? Get(headers, "etag") : linked);
    const std::string size = linked.empty() || Get(headers, "x-linked-size").empty() ? Get(headers, "content-length")
                                                                                     : Get(headers, "x-linked-size");
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), file.size);
    if (size.empty() || error != std::errc() || end != size.data() + size.size() || (moved && linked.empty())) {
      return DataLoss(fmt::format("{}: the hub does not say how large it is", what));
    }
    return file;
  }
  return DataLoss(fmt::format("{}: the hub leads in circles", what));
}

FetchResult HubClient::Fetch(const RemoteFile& file, std::uint64_t offset, const std::function<bool()>& restart,
                             const std::function<bool(const char*, std::size_t)>& take) {
  FetchResult result;
  bool stopped = false;
  const auto answer =
      connection_->Run(options_, file.url, false, true, offset, [&](long status, const char* data, std::size_t size) {
        if (status != 200 && status != 206) return true;  // an error's text
        if (status == 200 && offset > 0 && !result.restarted) {
          result.restarted = true;
          stopped = !restart();
        }
        stopped = stopped || !take(data, size);
        return !stopped;
      });
  if (answer.code == CURLE_OK && (answer.status == 200 || answer.status == 206)) return result;
  if (stopped) {
    result.status = Error{ErrorCode::kCancelled, "stopped", {}, {}};
    return result;
  }
  // libcurl itself refuses a 200 where it asked for a rest: then from the beginning.
  if (answer.code == CURLE_RANGE_ERROR || answer.status == 416) {
    result.restarted = true;
    result.retry = restart();
    result.status = Error{ErrorCode::kUnavailable, "the hub does not send files in parts", {}, {}};
    return result;
  }
  result.retry = answer.code != CURLE_OK
                     ? answer.code != CURLE_URL_MALFORMAT && answer.code != CURLE_UNSUPPORTED_PROTOCOL &&
                           answer.code != CURLE_PEER_FAILED_VERIFICATION
                     : MayPass(answer.status);
  const std::string after = Get(connection_->headers, "retry-after");
  std::from_chars(after.data(), after.data() + after.size(), result.wait_seconds);
  result.status = connection_->Failure(options_, answer, file.url);
  return result;
}

}  // namespace quorum::hub
