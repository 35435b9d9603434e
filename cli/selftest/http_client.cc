#include "cli/selftest/http_client.h"

#include <algorithm>
#include <cctype>
#include <memory>

#include <curl/curl.h>

namespace quorum::selftest {
namespace {

std::size_t TakeHeader(char* data, std::size_t size, std::size_t count, void* to) {
  const std::string_view line(data, size * count);
  auto& answer = *static_cast<Answer*>(to);
  if (line.starts_with("HTTP/")) answer.headers.clear();  // behind "100 Continue"
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string value(line.substr(colon + 1));
  value.erase(0, value.find_first_not_of(" \t"));
  value.erase(value.find_last_not_of(" \t\r\n") + 1);
  answer.headers[std::move(name)] = std::move(value);
  return line.size();
}

std::size_t TakeBody(char* data, std::size_t size, std::size_t count, void* to) {
  static_cast<Answer*>(to)->body.append(data, size * count);
  return size * count;
}

}  // namespace

Answer Send(const ClientOptions& options, const std::string& method, const std::string& path, std::string_view body,
            const std::vector<std::string>& headers) {
  static const CURLcode ready = ::curl_global_init(CURL_GLOBAL_DEFAULT);
  static_cast<void>(ready);
  Answer answer;
  const std::unique_ptr<CURL, decltype(&::curl_easy_cleanup)> owner(::curl_easy_init(), &::curl_easy_cleanup);
  CURL* curl = owner.get();
  if (curl == nullptr) {
    answer.failure = "libcurl does not start";
    return answer;
  }
  curl_slist* list = nullptr;
  const auto add = [&list](const std::string& line) { list = ::curl_slist_append(list, line.c_str()); };
  if (!body.empty()) add("Content-Type: application/json");
  add("Expect:");
  if (!options.key.empty()) add("Authorization: Bearer " + options.key);
  for (const std::string& line : headers) add(line);
  std::string error(CURL_ERROR_SIZE, '\0');
  ::curl_easy_setopt(curl, CURLOPT_URL, (options.url + path).c_str());
  ::curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  ::curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  ::curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  ::curl_easy_setopt(curl, CURLOPT_TIMEOUT, static_cast<long>(options.timeout_seconds));
  ::curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error.data());
  ::curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, TakeHeader);
  ::curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
  ::curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, TakeBody);
  ::curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  if (method != "GET") {
    ::curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    ::curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
    ::curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
  }
  ::curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
  const CURLcode code = ::curl_easy_perform(curl);
  ::curl_slist_free_all(list);
  ::curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
  ::curl_easy_getinfo(curl, CURLINFO_STARTTRANSFER_TIME, &answer.head_seconds);
  if (code != CURLE_OK) {
    answer.failure = error.c_str();
    if (answer.failure.empty()) answer.failure = ::curl_easy_strerror(code);
    if (answer.headers.empty()) answer.status = 0;
  }
  return answer;
}

}  // namespace quorum::selftest
