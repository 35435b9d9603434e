#include "server/web_page.h"

#include <array>

#include "server/web_files.h"  // made by server/CMakeLists.txt

namespace quorum::server {
namespace {

constexpr std::array kFiles = {
    WebFile{"/", "text/html; charset=utf-8", kPage_index_html},
    WebFile{"/page/page.css", "text/css; charset=utf-8", kPage_page_css},
    WebFile{"/page/chat.js", "text/javascript; charset=utf-8", kPage_chat_js},
    WebFile{"/page/experts.js", "text/javascript; charset=utf-8", kPage_experts_js},
    WebFile{"/page/tokens.js", "text/javascript; charset=utf-8", kPage_tokens_js},
    WebFile{"/page/markdown.js", "text/javascript; charset=utf-8", kPage_markdown_js},
};

}  // namespace

const WebFile* FindWebFile(std::string_view path) {
  for (const WebFile& file : kFiles) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

}  // namespace quorum::server
