#include "quant/gguf_parser.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "engine/base/byte_reader.h"

namespace quorum::quant {
namespace {

// Far above any real model, low enough that a hostile header cannot make us allocate without end: what is read
// into memory is at most about eight times the metadata's bytes.
constexpr std::uint64_t kMaxMetadataBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kMaxEntries = 65536;
constexpr std::uint64_t kMaxTensors = 1048576;
constexpr std::uint64_t kMaxNameBytes = 65535;  // GGUF's own limit for keys
constexpr std::uint32_t kMaxDims = 4;           // GGML_MAX_DIMS
constexpr std::uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 4 + 8;

// Names of GGML types that Quorum does not read, so that the error can say which one it met.
std::string_view UnreadTypeName(std::uint32_t number) {
  constexpr std::pair<std::uint32_t, std::string_view> kNames[] = {
      {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"},
      {29, "IQ1_M"},   {34, "TQ1_0"},  {35, "TQ2_0"},   {40, "NVFP4"}, {41, "Q1_0"},
  };
  for (const auto& [known, name] : kNames) {
    if (known == number) return name;
  }
  return "unknown";
}

std::string At(std::uint64_t offset) { return " at offset " + std::to_string(offset); }

class Parser {
 public:
  explicit Parser(std::span<const std::byte> bytes) : bytes_(bytes), reader_(bytes) {}

  Result<GgufPart> Parse(bool with_data) {
    part_.bytes = bytes_.size();
    QUORUM_TRY(CheckMagic());
    QUORUM_ASSIGN(const auto tensors, reader_.Read<std::uint64_t>("the tensor count"));
    QUORUM_ASSIGN(const auto entries, reader_.Read<std::uint64_t>("the metadata count"));
    QUORUM_TRY(CheckCount("metadata entries", entries, kMinEntryBytes, kMaxEntries));
    QUORUM_TRY(CheckCount("tensors", tensors, kMinTensorBytes, kMaxTensors));
    for (std::uint64_t i = 0; i < entries; ++i) QUORUM_TRY(ReadEntry(i));
    QUORUM_TRY(FindAlignment());
    part_.tensors.reserve(static_cast<std::size_t>(tensors));
    for (std::uint64_t i = 0; i < tensors; ++i) QUORUM_TRY(ReadTensor(i));
    if (with_data) QUORUM_TRY(PlaceTensors());
    return std::move(part_);
  }

 private:
  struct Place {  // a tensor's bytes, relative to the start of the data section
    std::uint64_t offset;
    std::uint64_t bytes;
  };

  Status CheckMagic() {
    const std::string_view lfs = "version https://git-lfs";
    if (bytes_.size() >= lfs.size() && std::memcmp(bytes_.data(), lfs.data(), lfs.size()) == 0) {
      return InvalidArgument("this is a Git LFS pointer, not the model itself: fetch it with `git lfs pull`");
    }
    QUORUM_ASSIGN(const auto magic, reader_.Read<std::uint32_t>("the magic number"));
    if (magic != kGgufMagic) {
      char text[64];
      std::snprintf(text, sizeof text, "not a GGUF file: it starts with %02x %02x %02x %02x, not \"GGUF\"",
                    magic & 255U, (magic >> 8) & 255U, (magic >> 16) & 255U, magic >> 24);
      return InvalidArgument(text);
    }
    QUORUM_ASSIGN(part_.version, reader_.Read<std::uint32_t>("the version"));
    if (part_.version != 0 && (part_.version & 0xffffU) == 0) {
      return Unsupported("the file is big-endian (version bytes at offset 4); only little-endian GGUF is read");
    }
    if (part_.version != 2 && part_.version != 3) {
      return Unsupported("GGUF version " + std::to_string(part_.version) + "; versions 2 and 3 are read");
    }
    return {};
  }

  // No count is believed before the bytes that it needs at the least are known to be there.
  Status CheckCount(const char* what, std::uint64_t count, std::uint64_t min_bytes, std::uint64_t limit) const {
    if (count > reader_.remaining() / min_bytes) {
      return DataLoss("the header claims " + std::to_string(count) + " " + what + ", more than the file's " +
                      std::to_string(bytes_.size()) + " bytes can hold");
    }
    if (count > limit) {
      return Unsupported(std::to_string(count) + " " + what + " (the limit is " + std::to_string(limit) + ")");
    }
    return {};
  }

  Result<std::string_view> ReadString(std::string_view what, std::uint64_t limit = ~std::uint64_t{0}) {
    const std::size_t start = reader_.offset();
    QUORUM_ASSIGN(const auto length, reader_.Read<std::uint64_t>(what));
    if (length > reader_.remaining()) {
      return DataLoss(std::string(what) + At(start) + " claims a string of " + std::to_string(length) +
                      " bytes, but only " + std::to_string(reader_.remaining()) + " are left in the file");
    }
    if (length > limit) {
      return DataLoss(std::string(what) + At(start) + " is " + std::to_string(length) + " bytes long (the limit is " +
                      std::to_string(limit) + ")");
    }
    QUORUM_ASSIGN(const auto text, reader_.ReadBytes(length, what));
    return std::string_view(reinterpret_cast<const char*>(text.data()), text.size());
  }

  Status ReadEntry(std::uint64_t index) {
    const std::size_t start = reader_.offset();
    QUORUM_ASSIGN(const auto key, ReadString("the name of metadata entry " + std::to_string(index), kMaxNameBytes));
    if (key.empty()) return DataLoss("metadata entry " + std::to_string(index) + At(start) + " has an empty name");
    const std::string what = "key " + Quoted(key);
    QUORUM_ASSIGN(const auto type, reader_.Read<std::uint32_t>("the type of " + what));
    const std::size_t value_start = reader_.offset();
    QUORUM_ASSIGN(auto value, ReadValue(static_cast<GgufType>(type), what));
    if (reader_.offset() > kMaxMetadataBytes) {
      return Unsupported(what + At(start) + ": metadata is larger than " + std::to_string(kMaxMetadataBytes >> 20) +
                         " MiB");
    }
    if (!part_.metadata.emplace(key, std::move(value)).second) {
      return DataLoss(what + " occurs twice, the second time" + At(start));
    }
    part_.entries.push_back(
        {std::string(key), static_cast<GgufType>(type), bytes_.subspan(value_start, reader_.offset() - value_start)});
    return {};
  }

  template <typename T, typename Wide>
  Result<GgufValue> ReadNumber(const std::string& what) {
    QUORUM_ASSIGN(const auto value, reader_.Read<T>(what));
    return GgufValue(static_cast<Wide>(value));
  }

  Status CheckBool(std::uint8_t value, const std::string& what, std::size_t offset) const {
    if (value <= 1) return {};
    return DataLoss(what + At(offset) + ": " + std::to_string(value) + " is not a boolean");
  }

  Result<GgufValue> ReadValue(GgufType type, const std::string& what) {
    switch (type) {
      case GgufType::kUint8: return ReadNumber<std::uint8_t, std::int64_t>(what);
      case GgufType::kInt8: return ReadNumber<std::int8_t, std::int64_t>(what);
      case GgufType::kUint16: return ReadNumber<std::uint16_t, std::int64_t>(what);
      case GgufType::kInt16: return ReadNumber<std::int16_t, std::int64_t>(what);
      case GgufType::kUint32: return ReadNumber<std::uint32_t, std::int64_t>(what);
      case GgufType::kInt32: return ReadNumber<std::int32_t, std::int64_t>(what);
      case GgufType::kInt64: return ReadNumber<std::int64_t, std::int64_t>(what);
      case GgufType::kUint64: return ReadNumber<std::uint64_t, std::uint64_t>(what);
      case GgufType::kFloat32: return ReadNumber<float, double>(what);
      case GgufType::kFloat64: return ReadNumber<double, double>(what);
      case GgufType::kBool: {
        QUORUM_ASSIGN(const auto value, reader_.Read<std::uint8_t>(what));
        QUORUM_TRY(CheckBool(value, what, reader_.offset() - 1));
        return GgufValue(value != 0);
      }
      case GgufType::kString: {
        QUORUM_ASSIGN(const auto text, ReadString(what));
        return GgufValue(std::string(text));
      }
      case GgufType::kArray: return ReadArray(what);
    }
    return DataLoss(what + At(reader_.offset()) + " has the unknown value type " +
                    std::to_string(static_cast<std::uint32_t>(type)));
  }

  // The bytes of `count` elements of `size` bytes each.
  Result<std::span<const std::byte>> ReadElements(std::uint64_t count, std::uint64_t size, const std::string& what) {
    if (count > reader_.remaining() / size) {
      return DataLoss(what + At(reader_.offset()) + " claims " + std::to_string(count) + " array elements, but only " +
                      std::to_string(reader_.remaining()) + " bytes are left in the file");
    }
    if (count * size > kMaxMetadataBytes) {
      return Unsupported(what + At(reader_.offset()) + ": an array of " + std::to_string(count) + " elements");
    }
    return reader_.ReadBytes(count * size, what);
  }

  template <typename T, typename Wide>
  Result<GgufValue> ReadNumbers(std::uint64_t count, const std::string& what) {
    const std::size_t start = reader_.offset();
    QUORUM_ASSIGN(const auto raw, ReadElements(count, sizeof(T), what));
    std::vector<Wide> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) {
      T value;
      std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
      if constexpr (std::is_same_v<T, std::uint64_t>) {
        if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          return Unsupported(what + At(start + i * sizeof(T)) + ": " + std::to_string(value) +
                             " is beyond a signed 64-bit integer");
        }
      }
      values[i] = static_cast<Wide>(value);  // NOLINT(bugprone-signed-char-misuse): int8 holds numbers
    }
    return GgufValue(std::move(values));
  }

  Result<GgufValue> ReadArray(const std::string& what) {
    const std::size_t start = reader_.offset();
    QUORUM_ASSIGN(const auto type, reader_.Read<std::uint32_t>(what));
    QUORUM_ASSIGN(const auto count, reader_.Read<std::uint64_t>(what));
    switch (static_cast<GgufType>(type)) {
      case GgufType::kUint8: return ReadNumbers<std::uint8_t, std::int64_t>(count, what);
      case GgufType::kInt8: return ReadNumbers<std::int8_t, std::int64_t>(count, what);
      case GgufType::kUint16: return ReadNumbers<std::uint16_t, std::int64_t>(count, what);
      case GgufType::kInt16: return ReadNumbers<std::int16_t, std::int64_t>(count, what);
      case GgufType::kUint32: return ReadNumbers<std::uint32_t, std::int64_t>(count, what);
      case GgufType::kInt32: return ReadNumbers<std::int32_t, std::int64_t>(count, what);
      case GgufType::kUint64: return ReadNumbers<std::uint64_t, std::int64_t>(count, what);
      case GgufType::kInt64: return ReadNumbers<std::int64_t, std::int64_t>(count, what);
      case GgufType::kFloat32: return ReadNumbers<float, double>(count, what);
      case GgufType::kFloat64: return ReadNumbers<double, double>(count, what);
      case GgufType::kBool: {
        const std::size_t first = reader_.offset();
        QUORUM_ASSIGN(const auto raw, ReadElements(count, 1, what));
        std::vector<bool> values(raw.size());
        for (std::size_t i = 0; i < raw.size(); ++i) {
          QUORUM_TRY(CheckBool(static_cast<std::uint8_t>(raw[i]), what, first + i));
          values[i] = raw[i] != std::byte{0};
        }
        return GgufValue(std::move(values));
      }
      case GgufType::kString: return ReadStrings(count, what);
      case GgufType::kArray: return Unsupported(what + At(start) + " is an array of arrays, which is not read");
    }
    return DataLoss(what + At(start) + " is an array of the unknown value type " + std::to_string(type));
  }

  Result<GgufValue> ReadStrings(std::uint64_t count, const std::string& what) {
    constexpr std::uint64_t kLengthBytes = 8;
    if (count > reader_.remaining() / kLengthBytes) {
      return DataLoss(what + At(reader_.offset()) + " claims " + std::to_string(count) +
                      " strings, more than the rest of the file can hold");
    }
    if (count * kLengthBytes > kMaxMetadataBytes) {
      return Unsupported(what + At(reader_.offset()) + ": an array of " + std::to_string(count) + " strings");
    }
    std::vector<std::string> values;
    values.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      QUORUM_ASSIGN(const auto text, ReadString(what));
      values.emplace_back(text);
    }
    return GgufValue(std::move(values));
  }

  Status FindAlignment() {
    const auto entry = std::find_if(part_.entries.begin(), part_.entries.end(),
                                    [](const GgufEntry& e) { return e.key == "general.alignment"; });
    if (entry == part_.entries.end()) return {};
    const auto* value = std::get_if<std::int64_t>(&part_.metadata.find(entry->key)->second);
    const bool fits = entry->type == GgufType::kUint32 && *value >= 8 && *value <= (std::int64_t{1} << 30);
    if (!fits || (*value & (*value - 1)) != 0) {
      return DataLoss("key 'general.alignment' is not a 32-bit power of two of 8 or more");
    }
    alignment_ = static_cast<std::uint64_t>(*value);
    return {};
  }

  Status ReadTensor(std::uint64_t index) {
    const std::size_t start = reader_.offset();
    QUORUM_ASSIGN(const auto name, ReadString("the name of tensor " + std::to_string(index), kMaxNameBytes));
    if (name.empty()) return DataLoss("tensor " + std::to_string(index) + At(start) + " has an empty name");
    const std::string what = "tensor " + Quoted(name);
    GgufTensor tensor;
    tensor.name = name;
    QUORUM_ASSIGN(const auto rank, reader_.Read<std::uint32_t>(what));
    if (rank > kMaxDims) {
      return DataLoss(what + At(start) + " has " + std::to_string(rank) + " dimensions (at most 4 are possible)");
    }
    std::int64_t elements = 1;
    for (std::uint32_t i = 0; i < rank; ++i) {
      QUORUM_ASSIGN(const auto dim, reader_.Read<std::int64_t>(what));
      if (dim <= 0 || __builtin_mul_overflow(elements, dim, &elements)) {
        return DataLoss(what + At(start) + ": dimension " + std::to_string(i) + " of " + std::to_string(dim) +
                        " is impossible");
      }
      tensor.dims.push_back(dim);
    }
    QUORUM_ASSIGN(const auto type, reader_.Read<std::uint32_t>(what));
    const auto info = FindDType(type);
    if (!info) {
      return Unsupported(what + At(start) + " has element type " + std::to_string(type) + " (" +
                         std::string(UnreadTypeName(type)) + "), which Quorum does not read");
    }
    tensor.type = info->type;
    if (tensor.dim(0) % info->block != 0) {
      return DataLoss(what + At(start) + ": a row of " + std::to_string(tensor.dim(0)) +
                      " elements is no whole number of " + std::string(info->name) + " blocks of " +
                      std::to_string(info->block));
    }
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(elements / info->block, info->bytes, &bytes)) {
      return DataLoss(what + At(start) + " has an impossible size");
    }
    QUORUM_ASSIGN(const auto offset, reader_.Read<std::uint64_t>(what));
    if (offset % alignment_ != 0) {
      return DataLoss(what + At(start) + ": its data offset " + std::to_string(offset) + " is not a multiple of " +
                      std::to_string(alignment_));
    }
    places_.push_back({offset, static_cast<std::uint64_t>(bytes)});
    part_.tensors.push_back(std::move(tensor));
    return {};
  }

  // Gives every tensor its bytes: inside the file, and no byte to two tensors.
  Status PlaceTensors() {
    if (part_.tensors.empty()) return {};
    const std::uint64_t data_start = (reader_.offset() + alignment_ - 1) / alignment_ * alignment_;
    const std::uint64_t available = bytes_.size() > data_start ? bytes_.size() - data_start : 0;
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      GgufTensor& tensor = part_.tensors[i];
      const Place& place = places_[i];
      if (!names.insert(tensor.name).second) return DataLoss("tensor " + Quoted(tensor.name) + " occurs twice");
      if (place.offset > available || place.bytes > available - place.offset) {
        return DataLoss("tensor " + Quoted(tensor.name) + " needs " + std::to_string(place.bytes) +
                        " bytes at data offset " + std::to_string(place.offset) + " (file offset " +
                        std::to_string(data_start) + " + that), but the file ends at " + std::to_string(bytes_.size()) +
                        ": is it cut off?");
      }
      tensor.data =
          bytes_.subspan(static_cast<std::size_t>(data_start + place.offset), static_cast<std::size_t>(place.bytes));
    }
    std::vector<std::size_t> order(places_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [this](std::size_t a, std::size_t b) { return places_[a].offset < places_[b].offset; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      const Place& before = places_[order[i - 1]];
      if (places_[order[i]].offset < before.offset + before.bytes) {
        return DataLoss("tensors " + Quoted(part_.tensors[order[i - 1]].name) + " and " +
                        Quoted(part_.tensors[order[i]].name) + " overlap at file offset " +
                        std::to_string(data_start + places_[order[i]].offset));
      }
    }
    return {};
  }

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  GgufPart part_;
  std::vector<Place> places_;  // one a tensor
  std::uint64_t alignment_ = kGgufDefaultAlignment;
};

}  // namespace

Result<GgufPart> ParseGgufPart(std::span<const std::byte> bytes) { return Parser(bytes).Parse(true); }

Result<GgufPart> ParseGgufHead(std::span<const std::byte> bytes) { return Parser(bytes).Parse(false); }

std::string Quoted(std::string_view name) {
  constexpr std::size_t kShown = 96;
  std::string out = "'";
  for (const char c : name.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 32 && byte < 127 && c != '\'' && c != '\\') {
      out += c;
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte));
      out += escaped;
    }
  }
  return out + (name.size() > kShown ? "...'" : "'");
}

}  // namespace quorum::quant
