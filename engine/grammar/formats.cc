#include "engine/grammar/formats.h"

#include <algorithm>
#include <array>
#include <utility>

namespace quorum::grammar {
namespace {

// RFC 3339, years 1000 to 9999; 29 February in leap years only.
#define QUORUM_DATE                                                                                                \
  "(?:[1-9]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]" \
  "|1\\d|2[0-8]))|(?:[1-9]\\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)"
#define QUORUM_TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
// RFC 1123 host names.
#define QUORUM_LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?"
#define QUORUM_HOST QUORUM_LABEL "(?:\\." QUORUM_LABEL "){0,5}"
#define QUORUM_OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define QUORUM_IPV4 QUORUM_OCTET "(?:\\." QUORUM_OCTET "){3}"
#define QUORUM_UUID(version) \
  "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-" version "[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
#define QUORUM_H16 "[0-9a-fA-F]{1,4}"
// RFC 4291: all eight groups, or one gap that stands for at least one.
#define QUORUM_IPV6                                                                                       \
  "(?:(?:" QUORUM_H16 ":){7}" QUORUM_H16 "|::(?:(?:" QUORUM_H16 ":){0,6}" QUORUM_H16 ")?|" QUORUM_H16     \
  "::(?:(?:" QUORUM_H16 ":){0,5}" QUORUM_H16 ")?|(?:" QUORUM_H16 ":){1}" QUORUM_H16 "::(?:(?:" QUORUM_H16 \
  ":){0,4}" QUORUM_H16 ")?|(?:" QUORUM_H16 ":){2}" QUORUM_H16 "::(?:(?:" QUORUM_H16 ":){0,3}" QUORUM_H16  \
  ")?|(?:" QUORUM_H16 ":){3}" QUORUM_H16 "::(?:(?:" QUORUM_H16 ":){0,2}" QUORUM_H16 ")?|(?:" QUORUM_H16   \
  ":){4}" QUORUM_H16 "::(?:(?:" QUORUM_H16 ":){0,1}" QUORUM_H16 ")?|(?:" QUORUM_H16 ":){5}" QUORUM_H16    \
  "::(?:" QUORUM_H16 ")?|(?:" QUORUM_H16 ":){6}" QUORUM_H16 "::)"
#define QUORUM_URI_CHARS "(?:[a-zA-Z0-9._~!$&'()*+,;=:@/-]|%[0-9a-fA-F]{2})"
// Whole ones stay below 2,083 characters, which pydantic's HttpUrl allows.
#define QUORUM_URI_TAIL QUORUM_URI_CHARS "{0,300}(?:\\?" QUORUM_URI_CHARS "{0,150})?(?:#" QUORUM_URI_CHARS "{0,50})?"

constexpr std::array<std::pair<std::string_view, const char*>, 31> kFormats = {{
    {"date", QUORUM_DATE},
    {"time", QUORUM_TIME},
    {"date-time", QUORUM_DATE "T" QUORUM_TIME},
    {"duration",
     "P(?:\\d{1,4}W|(?:\\d{1,4}Y(?:\\d{1,4}M(?:\\d{1,4}D)?)?|\\d{1,4}M(?:\\d{1,4}D)?|\\d{1,4}D)(?:T(?:\\d{1,4}H(?:\\d{"
     "1,"
     "4}M(?:\\d{1,4}S)?)?|\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))?|T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|\\d{1,4}M(?:"
     "\\d{1,4}S)?|\\d{1,4}S))"},
    {"email", "[a-zA-Z0-9_+-]{1,24}(?:\\.[a-zA-Z0-9_+-]{1,24}){0,1}@" QUORUM_LABEL "(?:\\." QUORUM_LABEL "){1,3}"},
    {"idn-email", "[a-zA-Z0-9_+-]{1,24}(?:\\.[a-zA-Z0-9_+-]{1,24}){0,1}@" QUORUM_LABEL "(?:\\." QUORUM_LABEL "){1,3}"},
    {"hostname", QUORUM_HOST},
    {"idn-hostname", QUORUM_HOST},
    {"ipv4", QUORUM_IPV4},
    {"ipv6", QUORUM_IPV6},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    // Pydantic's.
    {"uuid1", QUORUM_UUID("1")},
    {"uuid3", QUORUM_UUID("3")},
    {"uuid4", QUORUM_UUID("4")},
    {"uuid5", QUORUM_UUID("5")},
    {"uuid6", QUORUM_UUID("6")},
    {"uuid7", QUORUM_UUID("7")},
    {"uuid8", QUORUM_UUID("8")},
    {"ipvanyaddress", "(?:" QUORUM_IPV4 "|" QUORUM_IPV6 ")"},
    {"base64url", "(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?"},
    {"uri", "[a-zA-Z][a-zA-Z0-9+.-]{1,15}://" QUORUM_HOST "(?::[1-9]\\d{0,3})?(?:/" QUORUM_URI_TAIL ")?"},
    {"iri", "[a-zA-Z][a-zA-Z0-9+.-]{1,15}://" QUORUM_HOST "(?::[1-9]\\d{0,3})?(?:/" QUORUM_URI_TAIL ")?"},
    {"uri-reference", "(?:[a-zA-Z][a-zA-Z0-9+.-]{1,15}://" QUORUM_HOST "(?::[1-9]\\d{0,3})?)?/" QUORUM_URI_TAIL},
    {"json-pointer", "(?:/(?:[^/~]|~[01]){0,100}){0,32}"},
    {"base64", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
    {"byte", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
    // No rules of their own (OpenAPI, pydantic).
    {"password", ""},
    {"binary", ""},
    {"path", ""},
    {"file-path", ""},
    {"directory-path", ""},
}};

}  // namespace

const char* FormatPattern(std::string_view format) {
  const auto* found =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const auto& entry) { return entry.first == format; });
  return found == kFormats.end() ? nullptr : found->second;
}

}  // namespace quorum::grammar
