#include "libs/http/spdy_frames.h"

#include <fmt/format.h>
#include <zlib.h>

namespace gantry::http::spdy {
namespace {

constexpr uint16_t kVersion = 3;
constexpr size_t kHead = 8;
constexpr uint32_t kStreamMask = 0x7fffffff;

uint32_t read32(std::string_view bytes, size_t at) {
  auto byte = [&](size_t n) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + n])); };
  return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}

void append32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

void append_word(std::string& out, std::string_view word) {
  append32(out, static_cast<uint32_t>(word.size()));
  out += word;
}

/// Section 2.6.10.1 of the specification: words with their lengths, then what headers often say.
const std::string& dictionary() {
  static const std::string text = [] {
    std::string out;
    for (const char* word : {"options",
                             "head",
                             "post",
                             "put",
                             "delete",
                             "trace",
                             "accept",
                             "accept-charset",
                             "accept-encoding",
                             "accept-language",
                             "accept-ranges",
                             "age",
                             "allow",
                             "authorization",
                             "cache-control",
                             "connection",
                             "content-base",
                             "content-encoding",
                             "content-language",
                             "content-length",
                             "content-location",
                             "content-md5",
                             "content-range",
                             "content-type",
                             "date",
                             "etag",
                             "expect",
                             "expires",
                             "from",
                             "host",
                             "if-match",
                             "if-modified-since",
                             "if-none-match",
                             "if-range",
                             "if-unmodified-since",
                             "last-modified",
                             "location",
                             "max-forwards",
                             "pragma",
                             "proxy-authenticate",
                             "proxy-authorization",
                             "range",
                             "referer",
                             "retry-after",
                             "server",
                             "te",
                             "trailer",
                             "transfer-encoding",
                             "upgrade",
                             "user-agent",
                             "vary",
                             "via",
                             "warning",
                             "www-authenticate",
                             "method",
                             "get",
                             "status",
                             "200 OK",
                             "version",
                             "HTTP/1.1",
                             "url",
                             "public",
                             "set-cookie",
                             "keep-alive",
                             "origin"}) {
      append_word(out, word);
    }
    out +=
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    return out;
  }();
  return text;
}

const Bytef* bytes_of(std::string_view text) { return reinterpret_cast<const Bytef*>(text.data()); }

Error malformed(std::string_view what) { return {Code::kInvalid, fmt::format("SPDY: {}", what)}; }

}  // namespace

struct FrameReader::Inflater {
  z_stream z{};
  Inflater() { CHECK_EQ(inflateInit(&z), Z_OK); }
  ~Inflater() { inflateEnd(&z); }
};

struct FrameWriter::Deflater {
  z_stream z{};
  Deflater() {
    CHECK_EQ(deflateInit(&z, Z_BEST_SPEED), Z_OK);
    CHECK_EQ(deflateSetDictionary(&z, bytes_of(dictionary()), static_cast<uInt>(dictionary().size())), Z_OK);
  }
  ~Deflater() { deflateEnd(&z); }
};

FrameReader::FrameReader() : inflater_(std::make_unique<Inflater>()) {}
FrameReader::~FrameReader() = default;
FrameWriter::FrameWriter() : deflater_(std::make_unique<Deflater>()) {}
FrameWriter::~FrameWriter() = default;

/// Every block goes through, also of what is not wanted: the blocks of a connection share one compression state.
Result<Headers> FrameReader::inflate(std::string_view block) {
  auto& z = inflater_->z;
  z.next_in = const_cast<Bytef*>(bytes_of(block));
  z.avail_in = static_cast<uInt>(block.size());
  std::string plain;
  while (true) {
    size_t had = plain.size();
    plain.resize(had + 4096);
    z.next_out = reinterpret_cast<Bytef*>(plain.data() + had);
    z.avail_out = 4096;
    int rc = ::inflate(&z, Z_SYNC_FLUSH);
    if (rc == Z_NEED_DICT) {
      if (inflateSetDictionary(&z, bytes_of(dictionary()), static_cast<uInt>(dictionary().size())) != Z_OK)
        return malformed("headers compressed with another dictionary");
      plain.erase(had);
      continue;
    }
    plain.erase(plain.size() - z.avail_out);
    if (plain.size() > kMaxHeaderBlock) return malformed("a header block is too large");
    if (rc == Z_BUF_ERROR && z.avail_in == 0) break;  // nothing was left to do
    if (rc != Z_OK) return malformed("a header block does not decompress");
    if (z.avail_in == 0 && z.avail_out > 0) break;
  }
  std::string_view rest = plain;
  auto number = [&]() -> std::optional<uint32_t> {
    if (rest.size() < 4) return std::nullopt;
    uint32_t value = read32(rest, 0);
    rest.remove_prefix(4);
    return value;
  };
  auto word = [&]() -> std::optional<std::string> {
    auto length = number();
    if (!length || *length > rest.size()) return std::nullopt;
    std::string out(rest.substr(0, *length));
    rest.remove_prefix(*length);
    return out;
  };
  auto pairs = number();
  if (!pairs || *pairs > kMaxHeaderPairs) return malformed("a header block is malformed");
  Headers headers;
  for (uint32_t i = 0; i < *pairs; ++i) {
    auto name = word();
    auto value = name ? word() : std::nullopt;
    if (!value || name->empty()) return malformed("a header block is malformed");
    headers.add(std::move(*name), std::move(*value));
  }
  if (!rest.empty()) return malformed("a header block is malformed");
  return headers;
}

Status FrameReader::control(FrameSink& sink) {
  std::string_view body = body_;
  Control frame;
  frame.type = static_cast<Type>(type_);
  frame.flags = flags_;
  auto need = [&](size_t least) { return body.size() >= least; };
  size_t headers_at = 0;
  switch (frame.type) {
    case Type::kSynStream:
      headers_at = 10;
      break;
    case Type::kSynReply:
    case Type::kHeaders:
      headers_at = 4;
      break;
    case Type::kRstStream:
    case Type::kGoAway:
    case Type::kWindowUpdate:
      if (!need(8)) return malformed("a control frame is too short");
      frame.stream = read32(body, 0) & kStreamMask;
      frame.value = read32(body, 4) & (frame.type == Type::kWindowUpdate ? kStreamMask : ~0U);
      sink.on_control(frame);
      return Done{};
    case Type::kPing:
      if (!need(4)) return malformed("a control frame is too short");
      frame.value = read32(body, 0);
      sink.on_control(frame);
      return Done{};
    case Type::kSettings: {
      if (!need(4)) return malformed("a control frame is too short");
      uint32_t count = read32(body, 0);
      if (count > (body.size() - 4) / 8) return malformed("a SETTINGS frame is too short");
      for (uint32_t i = 0; i < count; ++i)
        frame.settings.emplace_back(read32(body, 4 + i * 8) & 0xffffff, read32(body, 8 + i * 8));
      sink.on_control(frame);
      return Done{};
    }
    default:
      return Done{};  // to be ignored, as the specification says
  }
  if (!need(headers_at)) return malformed("a control frame is too short");
  frame.stream = read32(body, 0) & kStreamMask;
  auto headers = inflate(body.substr(headers_at));
  if (!headers) return headers.error();
  frame.headers = std::move(*headers);
  sink.on_control(frame);
  return Done{};
}

Status FrameReader::feed(std::string_view bytes, FrameSink& sink, const std::function<bool()>& stop) {
  while (!bytes.empty()) {
    if (stop && stop()) return Done{};
    if (at_ == At::kHead) {
      size_t take = std::min(kHead - head_.size(), bytes.size());
      head_ += bytes.substr(0, take);
      bytes.remove_prefix(take);
      if (head_.size() < kHead) return Done{};
      uint32_t first = read32(head_, 0), second = read32(head_, 4);
      head_.clear();
      flags_ = static_cast<uint8_t>(second >> 24);
      length_ = second & 0xffffff;
      if ((first & ~kStreamMask) == 0) {
        data_stream_ = first;
        if (data_stream_ == 0) return malformed("data on stream 0");
        if (length_ == 0) {
          sink.on_data(data_stream_, {}, (flags_ & kFlagFin) != 0);
        } else {
          at_ = At::kData;
        }
        continue;
      }
      if ((first >> 16 & 0x7fff) != kVersion) return malformed("a frame of another version");
      type_ = static_cast<uint16_t>(first & 0xffff);
      if (length_ > kMaxControlFrame) return malformed("a control frame is too large");
      at_ = At::kControl;
      if (length_ > 0) continue;
    }
    if (at_ == At::kData) {
      auto piece = bytes.substr(0, length_);
      bytes.remove_prefix(piece.size());
      length_ -= static_cast<uint32_t>(piece.size());
      if (length_ == 0) at_ = At::kHead;
      sink.on_data(data_stream_, piece, length_ == 0 && (flags_ & kFlagFin) != 0);
      continue;
    }
    size_t take = std::min<size_t>(length_ - body_.size(), bytes.size());
    body_ += bytes.substr(0, take);
    bytes.remove_prefix(take);
    if (body_.size() < length_) return Done{};
    at_ = At::kHead;
    auto status = control(sink);
    body_.clear();
    if (!status.ok()) return status;
  }
  return Done{};
}

std::string FrameWriter::deflate(const Headers& headers) {
  std::string plain;
  append32(plain, static_cast<uint32_t>(headers.size()));
  for (const auto& [name, value] : headers) {
    std::string lower = name;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    append_word(plain, lower);
    append_word(plain, value);
  }
  auto& z = deflater_->z;
  z.next_in = const_cast<Bytef*>(bytes_of(plain));
  z.avail_in = static_cast<uInt>(plain.size());
  std::string out;
  do {
    size_t had = out.size();
    out.resize(had + 4096);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + had);
    z.avail_out = 4096;
    ::deflate(&z, Z_SYNC_FLUSH);
    out.erase(out.size() - z.avail_out);
  } while (z.avail_out == 0);
  return out;
}

std::string FrameWriter::control(const Control& frame) {
  std::string body;
  switch (frame.type) {
    case Type::kSynStream:
      append32(body, frame.stream);
      append32(body, 0);     // no associated stream
      body.append(2, '\0');  // priority and slot
      body += deflate(frame.headers);
      break;
    case Type::kSynReply:
    case Type::kHeaders:
      append32(body, frame.stream);
      body += deflate(frame.headers);
      break;
    case Type::kPing:
      append32(body, frame.value);
      break;
    case Type::kSettings:
      append32(body, static_cast<uint32_t>(frame.settings.size()));
      for (const auto& [id, value] : frame.settings) {
        append32(body, id);
        append32(body, value);
      }
      break;
    default:
      append32(body, frame.stream);
      append32(body, frame.value);
  }
  std::string out;
  append32(out, 0x80000000U | uint32_t{kVersion} << 16 | static_cast<uint32_t>(frame.type));
  append32(out, uint32_t{frame.flags} << 24 | static_cast<uint32_t>(body.size()));
  return out + body;
}

std::string FrameWriter::data_head(uint32_t stream, size_t length, bool fin) {
  std::string out;
  append32(out, stream & kStreamMask);
  append32(out, (fin ? uint32_t{kFlagFin} << 24 : 0) | static_cast<uint32_t>(length));
  return out;
}

}  // namespace gantry::http::spdy
