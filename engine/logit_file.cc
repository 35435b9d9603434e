#include "engine/logit_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/base/new_file.h"

namespace quorum::engine {
namespace {

constexpr char kMagic[8] = {'Q', 'L', 'O', 'G', 'I', 'T', 'S', '1'};
constexpr std::size_t kFixedBytes = sizeof kMagic + 4 + 4 + 8;
constexpr float kSteps = 65535.0F;

std::size_t RowBytes(std::uint32_t vocab) { return 8 + std::size_t{2} * vocab; }

template <typename T>
T Load(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

std::int64_t LogitHeader::positions() const {
  const auto n = static_cast<std::int64_t>(tokens.size());
  const auto windows = window > 0 ? (n + window - 1) / window : 0;
  return n - windows;
}

struct LogitWriter::File {
  NewFile file;
  std::string path;
  std::int64_t left = 0;
  std::vector<std::byte> row;
};

Result<LogitWriter> LogitWriter::Create(const std::string& path, const LogitHeader& header, bool replace) {
  QUORUM_ASSIGN(NewFile file, NewFile::Create(path, replace));
  const auto tokens = static_cast<std::uint64_t>(header.tokens.size());
  QUORUM_TRY(file.Write({kMagic, sizeof kMagic}));
  QUORUM_TRY(file.Write(std::as_bytes(std::span(&header.window, 1))));
  QUORUM_TRY(file.Write(std::as_bytes(std::span(&header.vocab, 1))));
  QUORUM_TRY(file.Write(std::as_bytes(std::span(&tokens, 1))));
  QUORUM_TRY(file.Write(std::as_bytes(std::span(header.tokens))));
  return LogitWriter(std::make_shared<File>(
      File{std::move(file), path, header.positions(), std::vector<std::byte>(RowBytes(header.vocab))}));
}

Status LogitWriter::Add(std::span<const float> logits) {
  QUORUM_CHECK(RowBytes(static_cast<std::uint32_t>(logits.size())) == file_->row.size() && file_->left > 0);
  const auto [low, high] = std::ranges::minmax(logits);
  const float step = (high - low) / kSteps;
  const float inverse = step > 0 ? 1.0F / step : 0.0F;
  std::memcpy(file_->row.data(), &high, 4);
  std::memcpy(file_->row.data() + 4, &step, 4);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float code = (high - logits[i]) * inverse + 0.5F;
    std::uint16_t q = 0;  // also for what is not a number
    if (code > 0) q = code < kSteps ? static_cast<std::uint16_t>(code) : std::uint16_t{65535};
    std::memcpy(file_->row.data() + 8 + 2 * i, &q, 2);
  }
  --file_->left;
  return file_->file.Write(file_->row);
}

Status LogitWriter::Finish() {
  if (file_->left != 0) return Internal(fmt::format("{} lacks {} positions", file_->path, file_->left));
  return file_->file.Publish();
}

Result<LogitReader> LogitReader::Parse(std::span<const std::byte> bytes) {
  if (bytes.size() < kFixedBytes || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return InvalidArgument("is no file that --save-logits wrote");
  }
  LogitReader reader;
  reader.header_.window = Load<std::uint32_t>(bytes, 8);
  reader.header_.vocab = Load<std::uint32_t>(bytes, 12);
  const auto tokens = Load<std::uint64_t>(bytes, 16);
  if (reader.header_.window < 2 || reader.header_.vocab < 1 || tokens < 2) {
    return InvalidArgument(fmt::format("has windows of {}, a vocabulary of {} and {} tokens", reader.header_.window,
                                       reader.header_.vocab, tokens));
  }
  if (tokens > (bytes.size() - kFixedBytes) / 4) return DataLoss("ends within its tokens");
  reader.header_.tokens.resize(tokens);
  std::memcpy(reader.header_.tokens.data(), bytes.data() + kFixedBytes, tokens * 4);
  reader.rows_ = bytes.subspan(kFixedBytes + tokens * 4);
  const auto rows = static_cast<std::uint64_t>(reader.header_.positions());
  if (reader.rows_.size() / RowBytes(reader.header_.vocab) < rows) {
    return DataLoss(
        fmt::format("holds {} of {} positions", reader.rows_.size() / RowBytes(reader.header_.vocab), rows));
  }
  return reader;
}

void LogitReader::Row(std::int64_t i, std::span<float> out) const {
  QUORUM_CHECK(i >= 0 && i < header_.positions() && out.size() == header_.vocab);
  const std::size_t at = static_cast<std::size_t>(i) * RowBytes(header_.vocab);
  const auto high = Load<float>(rows_, at);
  const auto step = Load<float>(rows_, at + 4);
  for (std::size_t t = 0; t < out.size(); ++t) {
    out[t] = high - step * static_cast<float>(Load<std::uint16_t>(rows_, at + 8 + 2 * t));
  }
}

}  // namespace quorum::engine
