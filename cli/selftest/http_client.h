// HTTP requests to a server under test, with nothing hidden: status, headers, body and times.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace quorum::selftest {

struct Answer {
  long status = 0;                             // 0: there was none
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  double head_seconds = 0;  // to the end of the headers
  std::string failure;      // why there was no answer

  std::string Header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

struct ClientOptions {
  std::string url;  // without /v1
  std::string key;  // empty: none
  int timeout_seconds = 120;
};

/// `headers`: further lines, "Name: value"; "Name:" takes away one that is sent otherwise.
Answer Send(const ClientOptions& options, const std::string& method, const std::string& path, std::string_view body,
            const std::vector<std::string>& headers = {});

}  // namespace quorum::selftest
