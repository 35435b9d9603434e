#include "cli/hub/model_reference.h"

#include <algorithm>

#include <fmt/format.h>

namespace quorum::hub {
namespace {

constexpr std::string_view kScheme = "hf:";

bool IsWordCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.';
}

// https://huggingface.co/docs/hub: letters, digits, '-', '_' and '.', at most 96.
bool IsWord(std::string_view word) {
  return !word.empty() && word.size() <= 96 && word.front() != '.' &&
         std::all_of(word.begin(), word.end(), IsWordCharacter);
}

}  // namespace

std::string ModelReference::Text() const {
  return fmt::format("{}{}/{}{}{}{}{}", kScheme, owner, repo, revision == "main" ? "" : "@",
                     revision == "main" ? "" : revision, file.empty() ? "" : ":", file);
}

bool IsReference(std::string_view text) { return text.starts_with(kScheme); }

bool IsSafeName(std::string_view name) {
  if (name.empty() || name.size() > 1024) return false;
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    // What begins with a dot is ours to keep notes in.
    if (part.empty() || part.front() == '.' || part.size() > 200) return false;
    begin = end + 1;
  }
  return std::none_of(name.begin(), name.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\'; });
}

Result<ModelReference> ParseReference(std::string_view text) {
  const auto wrong = [text](std::string_view why) {
    return InvalidArgument(fmt::format("'{}' is not hf:OWNER/REPO[@REVISION][:FILE]: {}", text, why));
  };
  if (!IsReference(text)) return wrong("it does not begin with hf:");
  std::string_view rest = text.substr(kScheme.size());
  ModelReference out;
  if (const std::size_t colon = rest.find(':'); colon != std::string_view::npos) {
    out.file = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!IsSafeName(out.file)) return wrong("the file's name is empty or leads elsewhere");
  }
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    out.revision = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!IsSafeName(out.revision)) return wrong("such a revision cannot be");
  }
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return wrong("it has no '/' between owner and repository");
  out.owner = rest.substr(0, slash);
  out.repo = rest.substr(slash + 1);
  if (!IsWord(out.owner) || !IsWord(out.repo)) {
    return wrong("owner and repository are letters, digits, '-', '_' and '.'");
  }
  return out;
}

}  // namespace quorum::hub
