#include "tokenizer/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <cmath>
#include <exception>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/byte_level.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

using Processor = sentencepiece::SentencePieceProcessor;

/// A name that no text has: a noncharacter first.
std::string HiddenName(std::size_t id) { return fmt::format("\xEF\xBF\xBF{}", id); }

std::string ByteName(std::size_t byte) { return fmt::format("<0x{:02X}>", byte); }

bool IsTextPiece(const ModelProto::Piece& piece) {
  const bool made_from_text =
      piece.type == TokenType::kNormal || piece.type == TokenType::kUnused || piece.type == TokenType::kUserDefined;
  // In the library byte pieces' names win over others.
  return made_from_text && !piece.text.empty() && piece.text.find('\0') == std::string::npos &&
         !ParseByteToken(piece.text) && ValidUtf8Prefix(piece.text, 0) == piece.text.size();
}

/// A proto that the library takes and that makes every unknown character bytes: those without a token of their own get
/// an id from the vocabulary's size on. (The library's own unknown pieces cost time quadratic in the length of a run of
/// them, and it wants all 256 bytes or none.)
struct Prepared {
  ModelProto proto;
  std::vector<std::int16_t> byte_of_id;  // -1: no byte
  UnknownText unknown;
};

Result<Prepared> Prepare(const ModelProto& proto, TokenId unknown) {
  Prepared out;
  out.proto = proto;
  out.unknown.unknown = unknown;
  out.unknown.fuse = true;
  auto& pieces = out.proto.pieces;
  std::unordered_set<std::string_view> seen;
  bool any = false;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    ModelProto::Piece& piece = pieces[id];
    if (!std::isfinite(piece.score)) {
      return InvalidArgument(fmt::format("the score of the piece {} is not a finite number", id));
    }
    if (piece.text.size() > SentencePieceModel::kMaxPieceBytes) {
      return InvalidArgument(fmt::format("the piece {} is {} bytes long; the limit is {}", id, piece.text.size(),
                                         SentencePieceModel::kMaxPieceBytes));
    }
    if (IsTextPiece(piece) && seen.insert(proto.pieces[id].text).second) {
      any = true;
      continue;
    }
    const auto byte = piece.type == TokenType::kByte ? ParseByteToken(piece.text) : std::nullopt;
    if (byte && out.unknown.byte_tokens[*byte] < 0) {
      out.unknown.byte_tokens[*byte] = static_cast<TokenId>(id);
      piece.text = ByteName(*byte);
    } else {
      piece.text = HiddenName(id);
      piece.type = TokenType::kControl;
    }
  }
  if (!any) return InvalidArgument("the vocabulary has no piece that text could become");
  out.byte_of_id.assign(pieces.size(), -1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const TokenId own = out.unknown.byte_tokens[byte];
    if (own >= 0) {
      out.byte_of_id[static_cast<std::size_t>(own)] = static_cast<std::int16_t>(byte);
    } else {
      pieces.push_back({ByteName(byte), 0, TokenType::kByte});
      out.byte_of_id.push_back(static_cast<std::int16_t>(byte));
    }
  }
  out.proto.byte_fallback = true;
  out.proto.unk_id = static_cast<std::int32_t>(pieces.size());
  pieces.push_back({HiddenName(pieces.size()), 0, TokenType::kUnknown});
  out.byte_of_id.push_back(-1);
  return out;
}

/// Runs `call` and turns what the library throws into an error.
template <typename Call>
Status Guarded(const Call& call) {
  try {
    const sentencepiece::util::Status status = call();
    if (status.ok()) return {};
    return Internal(fmt::format("sentencepiece: {}", status.ToString()));
  } catch (const std::exception& exception) {
    return Internal(fmt::format("sentencepiece: {}", exception.what()));
  }
}

}  // namespace

struct SentencePieceModel::Library {
  Processor begin;  // adds the dummy prefix
  // The same without the prefix, for text that goes on; made when first needed: that is seldom, and costs memory.
  std::string bare_proto;
  Processor bare;
  std::once_flag bare_made;
  bool has_prefix = false;
  std::vector<std::int16_t> byte_of_id;
  UnknownText unknown;
};

SentencePieceModel::SentencePieceModel(std::unique_ptr<Library> library) : library_(std::move(library)) {}
SentencePieceModel::~SentencePieceModel() = default;

Result<std::unique_ptr<const SentencePieceModel>> SentencePieceModel::Make(const ModelProto& proto, TokenId unknown) {
  if (!proto.chars_map.empty()) QUORUM_TRY(CharsMap::Parse(proto.chars_map));
  QUORUM_ASSIGN(Prepared prepared, Prepare(proto, unknown));
  auto library = std::make_unique<Library>();
  library->has_prefix = prepared.proto.add_dummy_prefix;
  library->byte_of_id = std::move(prepared.byte_of_id);
  library->unknown = prepared.unknown;
  const std::string bytes = SerializeModelProto(prepared.proto);
  const Status loaded = Guarded([&] { return library->begin.LoadFromSerializedProto(bytes); });
  if (!loaded.ok()) return InvalidArgument(loaded.error().message);
  if (library->has_prefix) {
    prepared.proto.add_dummy_prefix = false;
    library->bare_proto = SerializeModelProto(prepared.proto);
  }
  return std::unique_ptr<const SentencePieceModel>(new SentencePieceModel(std::move(library)));
}

Status SentencePieceModel::Encode(std::string_view word, bool begins_text, WordScratch& scratch,
                                  std::vector<TokenId>& out) const {
  if (word.empty()) return {};
  if (word.size() > kMaxWordBytes) {
    return Error{ErrorCode::kTooLarge, fmt::format("a text of {} bytes is too long to tokenize", word.size()), {}, {}};
  }
  Library& library = *library_;
  if (ValidUtf8Prefix(word, 0) != word.size()) {  // the library would put U+FFFD there
    for (const char& byte : word) library.unknown.Append(std::string_view(&byte, 1), out, scratch);
    return {};
  }
  const bool bare = library.has_prefix && !begins_text;
  if (bare) {
    std::call_once(library.bare_made, [&library] {
      // What the other one took, this one takes; should it fail all the same, Encode says so.
      (void)Guarded([&library] { return library.bare.LoadFromSerializedProto(library.bare_proto); });
    });
  }
  std::vector<int> ids;
  QUORUM_TRY(Guarded([&] { return (bare ? library.bare : library.begin).Encode(word, &ids); }));

  std::string bytes;  // of unknown characters
  const auto flush = [&] {
    for (std::size_t pos = 0; pos < bytes.size();) {
      const std::size_t length = DecodeUtf8(bytes, pos).length;
      library.unknown.Append(std::string_view(bytes).substr(pos, length), out, scratch);
      pos += length;
    }
    bytes.clear();
  };
  for (const int id : ids) {
    const std::int16_t byte = library.byte_of_id[static_cast<std::size_t>(id)];
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    out.push_back(id);
  }
  flush();
  return {};
}

}  // namespace quorum::tok
