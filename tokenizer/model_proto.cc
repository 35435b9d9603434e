#include "tokenizer/model_proto.h"

#include <bit>
#include <optional>

#include <fmt/format.h>

#include "tokenizer/vocab.h"

namespace quorum::tok {
namespace {

// Wire types of protocol buffers.
enum Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Field numbers of sentencepiece_model.proto.
namespace field {
constexpr std::uint64_t kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3;
constexpr std::uint64_t kText = 1, kScore = 2, kType = 3;
constexpr std::uint64_t kKind = 3, kSpaceAsSuffix = 24, kByteFallback = 35;
constexpr std::uint64_t kUnkId = 40, kBosId = 41, kEosId = 42, kPadId = 43;
constexpr std::uint64_t kCharsMap = 2, kDummyPrefix = 3, kRemoveSpaces = 4, kEscapeSpaces = 5;
}  // namespace field

/// One field of a message.
struct Field {
  std::uint64_t number = 0;
  std::uint8_t wire = 0;
  std::uint64_t value = 0;  // of a number
  std::string_view bytes;   // of a string or message
};

/// Reads the fields of a message; `base` is its offset in the file, for errors.
class FieldReader {
 public:
  FieldReader(std::string_view message, std::size_t base) : message_(message), base_(base) {}

  std::size_t offset() const { return base_ + pos_; }
  std::size_t OffsetOf(const Field& field) const {
    return base_ + static_cast<std::size_t>(field.bytes.data() - message_.data());
  }

  /// The next field; nothing at the end.
  Result<std::optional<Field>> Next() {
    if (pos_ == message_.size()) return std::optional<Field>();
    QUORUM_ASSIGN(const std::uint64_t tag, Varint());
    Field field;
    field.number = tag >> 3;
    field.wire = static_cast<std::uint8_t>(tag & 7);
    switch (field.wire) {
      case kVarint: {
        QUORUM_ASSIGN(field.value, Varint());
        break;
      }
      case kFixed32:
      case kFixed64: {
        const std::size_t size = field.wire == kFixed32 ? 4 : 8;
        if (message_.size() - pos_ < size) return Bad("a number goes over the end");
        for (std::size_t i = size; i-- > 0;) {
          field.value = (field.value << 8) | static_cast<std::uint8_t>(message_[pos_ + i]);
        }
        pos_ += size;
        break;
      }
      case kBytes: {
        QUORUM_ASSIGN(const std::uint64_t size, Varint());
        if (size > message_.size() - pos_) return Bad(fmt::format("a field of {} bytes goes over the end", size));
        field.bytes = message_.substr(pos_, static_cast<std::size_t>(size));
        pos_ += static_cast<std::size_t>(size);
        break;
      }
      default: return Bad(fmt::format("a field has the wire type {}", field.wire));
    }
    return std::optional<Field>(field);
  }

  Error Bad(std::string_view what) const {
    return InvalidArgument(fmt::format("not a SentencePiece model: at byte {}: {}", offset(), what));
  }

 private:
  Result<std::uint64_t> Varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (pos_ == message_.size()) return Bad("a number goes over the end");
      const auto byte = static_cast<std::uint8_t>(message_[pos_++]);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80U) return value;
    }
    return Bad("a number has too many bytes");
  }

  std::string_view message_;
  std::size_t base_;
  std::size_t pos_ = 0;
};

/// Calls `visit(field)` for each field of `message`. A field of an unexpected wire type is the visitor's to notice.
template <typename Visit>
Status ForEachField(std::string_view message, std::size_t base, Visit&& visit) {
  FieldReader reader(message, base);
  while (true) {
    QUORUM_ASSIGN(const std::optional<Field> field, reader.Next());
    if (!field) return {};
    QUORUM_TRY(visit(*field, reader));
  }
}

Status ReadPiece(std::string_view message, std::size_t base, ModelProto::Piece& piece) {
  return ForEachField(message, base, [&](const Field& f, const FieldReader& reader) -> Status {
    if (f.number == field::kText && f.wire == kBytes) {
      piece.text = f.bytes;
    } else if (f.number == field::kScore && f.wire == kFixed32) {
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(f.value));
    } else if (f.number == field::kType && f.wire == kVarint) {
      if (f.value < 1 || f.value > 6) return reader.Bad(fmt::format("a piece has the type {}", f.value));
      piece.type = static_cast<TokenType>(f.value);
    } else if (f.number <= field::kType) {
      return reader.Bad(fmt::format("field {} of a piece has the wire type {}", f.number, f.wire));
    }
    return {};
  });
}

Status ReadTrainerSpec(std::string_view message, std::size_t base, ModelProto& proto) {
  return ForEachField(message, base, [&](const Field& f, const FieldReader& reader) -> Status {
    if (f.wire != kVarint) return {};
    const auto id = static_cast<std::int32_t>(static_cast<std::uint32_t>(f.value));  // negative ones have 10 bytes
    switch (f.number) {
      case field::kKind:
        if (f.value < 1 || f.value > 4) return reader.Bad(fmt::format("trainer_spec.model_type is {}", f.value));
        proto.kind = static_cast<ModelProto::Kind>(f.value);
        break;
      case field::kSpaceAsSuffix: proto.space_as_suffix = f.value != 0; break;
      case field::kByteFallback: proto.byte_fallback = f.value != 0; break;
      case field::kUnkId: proto.unk_id = id; break;
      case field::kBosId: proto.bos_id = id; break;
      case field::kEosId: proto.eos_id = id; break;
      case field::kPadId: proto.pad_id = id; break;
      default: break;
    }
    return {};
  });
}

Status ReadNormalizerSpec(std::string_view message, std::size_t base, ModelProto& proto) {
  return ForEachField(message, base, [&](const Field& f, const FieldReader&) -> Status {
    if (f.number == field::kCharsMap && f.wire == kBytes) proto.chars_map = f.bytes;
    if (f.wire != kVarint) return {};
    if (f.number == field::kDummyPrefix) proto.add_dummy_prefix = f.value != 0;
    if (f.number == field::kRemoveSpaces) proto.remove_extra_whitespaces = f.value != 0;
    if (f.number == field::kEscapeSpaces) proto.escape_whitespaces = f.value != 0;
    return {};
  });
}

class Writer {
 public:
  void Number(std::uint64_t number, std::uint64_t value) {
    Varint(number << 3 | kVarint);
    Varint(value);
  }
  void Bytes(std::uint64_t number, std::string_view bytes) {
    Varint(number << 3 | kBytes);
    Varint(bytes.size());
    out_ += bytes;
  }
  void Float(std::uint64_t number, float value) {
    Varint(number << 3 | kFixed32);
    auto bits = std::bit_cast<std::uint32_t>(value);
    for (int i = 0; i < 4; ++i, bits >>= 8) out_.push_back(static_cast<char>(bits & 0xFFU));
  }
  std::string Take() { return std::move(out_); }

 private:
  void Varint(std::uint64_t value) {
    for (; value >= 0x80U; value >>= 7) out_.push_back(static_cast<char>(0x80U | (value & 0x7FU)));
    out_.push_back(static_cast<char>(value));
  }

  std::string out_;
};

}  // namespace

Result<ModelProto> ParseModelProto(std::string_view bytes) {
  ModelProto proto;
  QUORUM_TRY(ForEachField(bytes, 0, [&](const Field& f, const FieldReader& reader) -> Status {
    if (f.number < field::kPieces || f.number > field::kNormalizerSpec) return {};
    if (f.wire != kBytes) return reader.Bad(fmt::format("field {} has the wire type {}", f.number, f.wire));
    const std::size_t base = reader.OffsetOf(f);
    if (f.number == field::kTrainerSpec) return ReadTrainerSpec(f.bytes, base, proto);
    if (f.number == field::kNormalizerSpec) return ReadNormalizerSpec(f.bytes, base, proto);
    if (proto.pieces.size() >= static_cast<std::size_t>(kMaxVocabSize)) return reader.Bad("too many pieces");
    return ReadPiece(f.bytes, base, proto.pieces.emplace_back());
  }));
  if (proto.pieces.empty()) return InvalidArgument("not a SentencePiece model: it has no pieces");
  return proto;
}

std::string SerializeModelProto(const ModelProto& proto) {
  Writer out;
  for (const ModelProto::Piece& piece : proto.pieces) {
    Writer message;
    message.Bytes(field::kText, piece.text);
    message.Float(field::kScore, piece.score);
    message.Number(field::kType, static_cast<std::uint64_t>(piece.type));
    out.Bytes(field::kPieces, message.Take());
  }
  const auto id = [](std::int32_t value) { return static_cast<std::uint64_t>(std::int64_t{value}); };
  Writer trainer;
  trainer.Number(field::kKind, static_cast<std::uint64_t>(proto.kind));
  trainer.Number(field::kSpaceAsSuffix, proto.space_as_suffix ? 1 : 0);
  trainer.Number(field::kByteFallback, proto.byte_fallback ? 1 : 0);
  trainer.Number(field::kUnkId, id(proto.unk_id));
  trainer.Number(field::kBosId, id(proto.bos_id));
  trainer.Number(field::kEosId, id(proto.eos_id));
  trainer.Number(field::kPadId, id(proto.pad_id));
  out.Bytes(field::kTrainerSpec, trainer.Take());
  Writer normalizer;
  if (!proto.chars_map.empty()) normalizer.Bytes(field::kCharsMap, proto.chars_map);
  normalizer.Number(field::kDummyPrefix, proto.add_dummy_prefix ? 1 : 0);
  normalizer.Number(field::kRemoveSpaces, proto.remove_extra_whitespaces ? 1 : 0);
  normalizer.Number(field::kEscapeSpaces, proto.escape_whitespaces ? 1 : 0);
  out.Bytes(field::kNormalizerSpec, normalizer.Take());
  return out.Take();
}

}  // namespace quorum::tok
