#include "cli/experts_page.h"

#include <string_view>

#include "cli/embedded_pages.h"

namespace quorum::cli {

std::string ExpertsPage(const Json& report) {
  constexpr std::string_view kPlace = "null/*REPORT*/";
  std::string data = report.dump(-1, ' ', false, Json::error_handler_t::replace);
  // The page's script holds it, so nothing in it may end the script or open a comment.
  for (std::size_t at = 0; (at = data.find('<', at)) != std::string::npos; at += 6) data.replace(at, 1, "\\u003c");
  std::string page(kExpertsPage);
  const std::size_t at = page.find(kPlace);
  return page.replace(at, kPlace.size(), data);
}

}  // namespace quorum::cli
