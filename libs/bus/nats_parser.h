// The server's half of the NATS protocol, incrementally: bytes in, operations out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace gantry::bus {

/// Not thread-safe. The views given to callbacks are valid during them only.
class NatsParser {
 public:
  struct Callbacks {
    /// `status`: of the headers' first line ("503": nobody listens), empty without headers or status.
    std::function<void(uint64_t sid, std::string_view subject, std::string_view reply, std::string_view status,
                       std::string_view data)>
        message;
    std::function<void(std::string_view json)> info;
    std::function<void()> ping, pong;
    std::function<void(std::string_view text)> error;
  };
  explicit NatsParser(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

  /// kInvalid for what no server says; the connection is to be closed then. A callback may call stop().
  Status feed(std::string_view bytes);
  /// Nothing is parsed and nobody is called any more, not even of what was fed already.
  void stop() { stopped_ = true; }
  /// What was fed and is not part of a whole operation yet (plain bytes before the TLS handshake must leave none).
  size_t pending() const { return rest_.size(); }

 private:
  /// The length of the operation at the front; 0: more bytes are needed.
  Result<size_t> parse(std::string_view bytes);
  Result<size_t> parse_message(std::string_view line, std::string_view bytes, bool headers);

  Callbacks callbacks_;
  std::string rest_;
  size_t needed_ = 0;  // do not look again before rest_ is as long
  bool stopped_ = false;
};

}  // namespace gantry::bus
