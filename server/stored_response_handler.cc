#include "server/stored_response_handler.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "server/error_body.h"

namespace quorum::server {
namespace {

constexpr std::string_view kItems = "/input_items";
constexpr std::string_view kCancel = "/cancel";

struct PageQuery {
  std::size_t limit = 20;
  bool newest_first = true;
  std::string after;  // an item's id; empty: from the beginning
};

/// What of the query is not read is named.
Result<PageQuery> ReadPageQuery(std::string_view query, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const auto fields, ParseQuery(query));
  PageQuery page;
  for (const auto& [name, value] : fields) {
    if (name == "limit") {
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), page.limit);
      const bool whole = parsed.ec == std::errc() && parsed.ptr == value.data() + value.size();
      if (!whole || page.limit < 1 || page.limit > 100) {
        return InvalidArgument(fmt::format("'limit' must be a number from 1 to 100, but is '{}'", value), "limit");
      }
    } else if (name == "order") {
      if (value != "asc" && value != "desc") {
        return InvalidArgument(fmt::format("'order' must be asc or desc, but is '{}'", value), "order");
      }
      page.newest_first = value == "desc";
    } else if (name == "after") {
      page.after = value;
    } else {
      ignored.push_back(name);
    }
  }
  return page;
}

// The conversation before a response's own output, in the API's long form.
Json InputOf(const std::string& id, const StoredResponse& stored) {
  Json list = Json::array();
  const std::size_t output = stored.response["output"].size();
  for (std::size_t i = 0; i + output < stored.items.size(); ++i) {
    Json item = stored.items[i];
    if (!item.contains("type")) item["type"] = "message";
    if (!item.contains("id")) item["id"] = InputItemId(id, i);
    if (item.contains("content") && item["content"].is_string()) {
      const char* type = item.value("role", Json()) == "assistant" ? "output_text" : "input_text";
      item["content"] = Json::array({{{"type", type}, {"text", item["content"]}}});
    }
    list.push_back(std::move(item));
  }
  return list;
}

Result<Json> InputItems(const std::string& id, const StoredResponse& stored, const PageQuery& page) {
  Json all = InputOf(id, stored);
  if (page.newest_first) std::reverse(all.begin(), all.end());
  auto from = all.begin();
  if (!page.after.empty()) {
    from = std::find_if(all.begin(), all.end(), [&](const Json& item) { return item["id"] == page.after; });
    if (from == all.end()) {
      return InvalidArgument(fmt::format("'after' names '{}', which is no input item of this response", page.after),
                             "after");
    }
    ++from;
  }
  const auto left = static_cast<std::size_t>(all.end() - from);
  Json data = Json::array();
  for (std::size_t i = 0; i < std::min(left, page.limit); ++i) data.push_back(std::move(*from++));
  const Json first = data.empty() ? Json() : data.front()["id"], last = data.empty() ? Json() : data.back()["id"];
  return Json{{"object", "list"},
              {"data", std::move(data)},
              {"first_id", first},
              {"last_id", last},
              {"has_more", left > page.limit}};
}

// The options of GET {id}: only what turns something off is followed. A client that waits for events would take the
// answer for none at all.
Status NoteOptions(std::string_view query, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const auto fields, ParseQuery(query));
  for (const auto& [name, value] : fields) {
    if (value == "false") continue;
    if (name == "stream") {
      return Error{ErrorCode::kUnsupported,
                   "'stream' is not supported here: a stored response is whole, and comes at once", "stream",
                   "unsupported_parameter"};
    }
    ignored.push_back(name);
  }
  return {};
}

Result<Json> Read(const ApiContext& context, const HttpRequest& http, const std::string& id, bool items,
                  const StoredResponse& stored, std::vector<std::string>& ignored) {
  if (items) {
    QUORUM_ASSIGN(const PageQuery page, ReadPageQuery(http.query, ignored));
    QUORUM_TRY(CheckStrict(context, ignored));
    return InputItems(id, stored, page);
  }
  QUORUM_TRY(NoteOptions(http.query, ignored));
  QUORUM_TRY(CheckStrict(context, ignored));
  return stored.response;
}

}  // namespace

HttpResponse HandleStoredResponse(const ApiContext& context, const HttpRequest& http, std::string_view path,
                                  ResponseStore& store) {
  const bool items = path.ends_with(kItems), cancel = path.ends_with(kCancel);
  const std::string id(path.substr(0, path.size() - (items ? kItems.size() : cancel ? kCancel.size() : 0)));
  const bool erase = http.method == "DELETE", post = http.method == "POST";
  if (cancel != post) return MethodNotAllowed(cancel ? "POST" : items ? "GET, HEAD" : "GET, HEAD, DELETE");
  if (items && erase) return MethodNotAllowed("GET, HEAD");
  const auto found = store.Get(id);
  if (!found.has_value()) {
    return ErrorResponse(404, fmt::format("the response '{}' is not (or no longer) stored here", id), {}, "not_found");
  }
  if (cancel) {
    return ErrorResponse(400, "only background responses can be cancelled, and this one was answered at once", {},
                         "not_cancellable");
  }
  if (erase) {
    store.Erase(id);
    return JsonResponse({{"id", id}, {"object", "response"}, {"deleted", true}});
  }
  std::vector<std::string> ignored;
  const auto read = Read(context, http, id, items, *found, ignored);
  HttpResponse response = read.ok() ? JsonResponse(*read) : ApiError(context, read.error());
  SetIgnored(response, ignored);
  return response;
}

}  // namespace quorum::server
