// SPDY/3.1 framing (https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/), as Kubernetes clients use it
// for exec, attach and port-forward. Pure: bytes to frames and back; one of each for a connection, not thread-safe.
// Internal to libs/http: spdy.h has the sessions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/http/message.h"

namespace gantry::http::spdy {

enum class Type : uint16_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8,
  kWindowUpdate = 9,
};
inline constexpr uint8_t kFlagFin = 1;
inline constexpr uint32_t kSettingInitialWindow = 7;

// Limits of what is accepted.
inline constexpr size_t kMaxControlFrame = 64 * 1024;
inline constexpr size_t kMaxHeaderBlock = 64 * 1024;  // inflated
inline constexpr size_t kMaxHeaderPairs = 128;

/// A control frame; the fields that its type has.
struct Control {
  Type type = Type::kPing;
  uint8_t flags = 0;
  uint32_t stream = 0;   // SYN_STREAM, SYN_REPLY, RST_STREAM, HEADERS, WINDOW_UPDATE; GOAWAY: the last good stream
  uint32_t value = 0;    // RST_STREAM, GOAWAY: the status; PING: its id; WINDOW_UPDATE: the delta
  Headers headers = {};  // names in lower case
  std::vector<std::pair<uint32_t, uint32_t>> settings = {};
};

/// What FrameReader finds.
class FrameSink {
 public:
  virtual void on_control(const Control& frame) = 0;
  /// A piece of a data frame; `fin` with its last one.
  virtual void on_data(uint32_t stream, std::string_view bytes, bool fin) = 0;

 protected:
  ~FrameSink() = default;
};

class FrameReader {
 public:
  FrameReader();
  ~FrameReader();
  /// Takes any cut of the peer's bytes. An error is final: the peer does not speak SPDY/3.1, or beyond the limits.
  /// `stop` is asked between frames: true leaves the rest unread.
  Status feed(std::string_view bytes, FrameSink& sink, const std::function<bool()>& stop = {});

 private:
  struct Inflater;
  Result<Headers> inflate(std::string_view block);
  Status control(FrameSink& sink);

  std::unique_ptr<Inflater> inflater_;
  std::string head_;  // of a frame, not complete
  std::string body_;  // of a control frame, not complete
  uint32_t length_ = 0, data_stream_ = 0;
  uint8_t flags_ = 0;
  uint16_t type_ = 0;
  enum class At : uint8_t { kHead, kControl, kSkip, kData } at_ = At::kHead;
};

class FrameWriter {
 public:
  FrameWriter();
  ~FrameWriter();
  /// Any control frame but SETTINGS with more than 100 entries.
  std::string control(const Control& frame);
  /// The head of a data frame of `length` bytes (below 2^24), which follow.
  static std::string data_head(uint32_t stream, size_t length, bool fin);

 private:
  struct Deflater;
  std::string deflate(const Headers& headers);
  std::unique_ptr<Deflater> deflater_;
};

}  // namespace gantry::http::spdy
