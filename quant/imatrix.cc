#include "quant/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/base/mapped_file.h"
#include "engine/base/new_file.h"
#include "quant/gguf.h"
#include "quant/gguf_parser.h"
#include "quant/gguf_writer.h"

namespace quorum::quant {
namespace {

constexpr std::string_view kSumsSuffix = ".in_sum2";
constexpr std::string_view kCountsSuffix = ".counts";

Error In(const std::string& name, const std::string& what) { return InvalidArgument(name + ": " + what); }

std::vector<float> Floats(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

Status CheckValues(const std::string& file, const std::string& name, const ImportanceEntry& entry) {
  const auto bad = [](float v) { return !std::isfinite(v) || v < 0.0F; };
  if (std::ranges::any_of(entry.sums, bad) || std::ranges::any_of(entry.counts, bad)) {
    return In(file, "entry " + Quoted(name) + " has a sum or a count that is negative or not finite");
  }
  return {};
}

Result<ImportanceMatrix> FromGguf(std::span<const std::byte> bytes, const std::string& name) {
  QUORUM_ASSIGN(const GgufFile file, GgufFile::Parse(bytes, name));
  QUORUM_ASSIGN(const auto type, file.GetString("general.type"));
  if (type.value_or("") != "imatrix") return In(name, "a GGUF file whose general.type is not \"imatrix\"");
  ImportanceMatrix matrix;
  QUORUM_ASSIGN(const auto* datasets, file.GetStrings("imatrix.datasets"));
  if (datasets != nullptr) matrix.datasets = *datasets;
  QUORUM_ASSIGN(const auto chunks, file.GetInt("imatrix.chunk_count"));
  QUORUM_ASSIGN(const auto size, file.GetInt("imatrix.chunk_size"));
  matrix.chunks = static_cast<std::int32_t>(std::clamp<std::int64_t>(chunks.value_or(0), 0, 1 << 30));
  matrix.chunk_size = static_cast<std::int32_t>(std::clamp<std::int64_t>(size.value_or(0), 0, 1 << 30));
  for (const GgufTensor& sums : file.tensors()) {
    if (!sums.name.ends_with(kSumsSuffix)) continue;
    const std::string base = sums.name.substr(0, sums.name.size() - kSumsSuffix.size());
    const GgufTensor* counts = file.FindTensor(base + std::string(kCountsSuffix));
    if (counts == nullptr) return In(name, "tensor " + Quoted(sums.name) + " has no counts beside it");
    if (sums.type != DType::kF32 || counts->type != DType::kF32) {
      return In(name, "entry " + Quoted(base) + " is not of F32");
    }
    if (sums.elements() == 0 || sums.elements() % sums.dim(0) != 0 ||
        sums.elements() / sums.dim(0) != counts->elements()) {
      return In(name, "entry " + Quoted(base) + " has " + std::to_string(sums.elements()) + " sums in rows of " +
                          std::to_string(sums.dim(0)) + " and " + std::to_string(counts->elements()) + " counts");
    }
    ImportanceEntry entry{Floats(sums.data), Floats(counts->data)};
    QUORUM_TRY(CheckValues(name, base, entry));
    matrix.entries[base] = std::move(entry);
  }
  if (matrix.entries.empty()) return In(name, "no entries");
  return matrix;
}

// The older format: int32 number of entries; each int32 length and name, int32 calls, int32 number of values, the
// values, which are means of squares times calls. Then, not always, int32 chunks and int32 length and name of the text.
Result<ImportanceMatrix> FromDat(std::span<const std::byte> bytes, const std::string& name) {
  std::size_t at = 0;
  const auto read = [&](void* to, std::size_t size) {
    if (bytes.size() - at < size) return false;
    if (size > 0) std::memcpy(to, bytes.data() + at, size);
    at += size;
    return true;
  };
  const auto cut = [&] {
    return DataLoss(name + ": ends at byte " + std::to_string(at) + ", in the middle of an entry");
  };
  std::int32_t count = 0;
  if (!read(&count, sizeof count)) return DataLoss(name + ": too short for an importance matrix");
  if (count < 1 || static_cast<std::size_t>(count) > bytes.size() / 12) {
    return In(name, "is no importance matrix: neither GGUF nor a list of entries (it would have " +
                        std::to_string(count) + ")");
  }
  ImportanceMatrix matrix;
  for (std::int32_t i = 0; i < count; ++i) {
    std::int32_t length = 0;
    if (!read(&length, sizeof length)) return cut();
    if (length < 1 || length > 4096)
      return In(name, "entry " + std::to_string(i) + " has a name of " + std::to_string(length) + " bytes");
    std::string tensor(static_cast<std::size_t>(length), '\0');
    std::int32_t calls = 0;
    std::int32_t values = 0;
    if (!read(tensor.data(), tensor.size()) || !read(&calls, sizeof calls) || !read(&values, sizeof values))
      return cut();
    if (values < 1 || calls < 0) {
      return In(name, "entry " + Quoted(tensor) + " has " + std::to_string(values) + " values of " +
                          std::to_string(calls) + " calls");
    }
    if (static_cast<std::size_t>(values) > (bytes.size() - at) / sizeof(float)) return cut();
    ImportanceEntry entry;
    entry.sums = Floats(bytes.subspan(at, static_cast<std::size_t>(values) * sizeof(float)));
    at += entry.sums.size() * sizeof(float);
    entry.counts = {static_cast<float>(std::max(calls, 1))};
    QUORUM_TRY(CheckValues(name, tensor, entry));
    matrix.entries[std::move(tensor)] = std::move(entry);
  }
  std::int32_t length = 0;
  if (read(&matrix.chunks, sizeof matrix.chunks) && read(&length, sizeof length) && length > 0 && length < (1 << 16)) {
    std::string dataset(static_cast<std::size_t>(length), '\0');
    if (read(dataset.data(), dataset.size())) matrix.datasets.push_back(std::move(dataset));
  }
  return matrix;
}

template <typename T>
void Append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

Result<ImportanceMatrix> ImportanceMatrix::Parse(std::span<const std::byte> bytes, const std::string& name) {
  constexpr std::string_view kMagic = "GGUF";
  if (bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0) {
    return FromGguf(bytes, name);
  }
  return FromDat(bytes, name);
}

Result<ImportanceMatrix> ImportanceMatrix::Open(const std::string& path) {
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  QUORUM_ASSIGN(ImportanceMatrix matrix, Parse(file.bytes(), path));
  QUORUM_TRY(file.CheckIntact());
  return matrix;
}

Status ImportanceMatrix::Write(const std::string& path, bool replace) const {
  if (path.ends_with(".dat")) {
    QUORUM_ASSIGN(NewFile file, NewFile::Create(path, replace));
    QUORUM_TRY(file.Write(ToDat()));
    return file.Publish();
  }
  GgufWriter writer;
  writer.SetString("general.type", "imatrix");
  writer.SetStrings("imatrix.datasets", datasets);
  writer.SetUint32("imatrix.chunk_count", static_cast<std::uint32_t>(chunks));
  writer.SetUint32("imatrix.chunk_size", static_cast<std::uint32_t>(chunk_size));
  for (const auto& [name, entry] : entries) {
    writer.AddTensor(name + std::string(kSumsSuffix), DType::kF32, {entry.columns(), entry.matrices()},
                     std::as_bytes(std::span(entry.sums)));
    writer.AddTensor(name + std::string(kCountsSuffix), DType::kF32, {1, entry.matrices()},
                     std::as_bytes(std::span(entry.counts)));
  }
  return writer.Write(path, replace);
}

std::string ImportanceMatrix::ToDat() const {
  // A reader divides by the calls, of which an entry has one number: experts are scaled to a count of their own.
  std::string out;
  Append(out, static_cast<std::int32_t>(entries.size()));
  for (const auto& [name, entry] : entries) {
    Append(out, static_cast<std::int32_t>(name.size()));
    out += name;
    const std::int32_t calls = std::max(chunks, 1);
    Append(out, calls);
    Append(out, static_cast<std::int32_t>(entry.sums.size()));
    const auto columns = static_cast<std::size_t>(entry.columns());
    for (std::size_t i = 0; i < entry.sums.size(); ++i) {
      const float count = entry.counts[i / columns];
      Append(out, count > 0.0F ? entry.sums[i] / count * static_cast<float>(calls) : static_cast<float>(calls));
    }
  }
  Append(out, chunks);
  const std::string dataset = datasets.empty() ? "" : datasets.front();
  Append(out, static_cast<std::int32_t>(dataset.size()));
  return out + dataset;
}

std::vector<std::string> ImportanceMatrix::Unvisited() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries) {
    for (std::size_t i = 0; i < entry.counts.size(); ++i) {
      if (!(entry.counts[i] > 0.0F)) names.push_back(name + "[" + std::to_string(i) + "]");
    }
  }
  return names;
}

const ImportanceEntry* ImportanceMatrix::Find(std::string_view name) const {
  const auto it = entries.find(name);
  return it == entries.end() ? nullptr : &it->second;
}

std::vector<float> ImportanceMatrix::Means(std::string_view name, std::int64_t i, std::int64_t columns) const {
  const ImportanceEntry* entry = Find(name);
  if (entry == nullptr || entry->counts.empty() || i < 0 || columns < 1) return {};
  const auto width = static_cast<std::size_t>(columns);
  const auto at = static_cast<std::size_t>(i);
  if ((at + 1) * width > entry->sums.size() || entry->sums.size() % width != 0) return {};
  // The older format has the columns of all experts under one count.
  const bool apart = entry->counts.size() * width == entry->sums.size();
  if (!apart && entry->counts.size() != 1) return {};
  const float count = entry->counts[apart ? at : 0];
  if (!(count > 0.0F)) return {};
  std::vector<float> means(width);
  for (std::size_t c = 0; c < width; ++c) means[c] = entry->sums[at * width + c] / count;
  return means;
}

}  // namespace quorum::quant
