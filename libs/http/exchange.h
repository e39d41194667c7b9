// One HTTP/1.1 request over a Stream that is already connected: for proxies, whose connection is a session on the bus.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/base/loop.h"
#include "libs/base/result.h"
#include "libs/http/message.h"
#include "libs/http/responder.h"

namespace gantry::http {

/// Bytes that came too early, then all that `stream` gives.
std::shared_ptr<Stream> preloaded(Loop& loop, std::shared_ptr<Stream> stream, std::string first);
/// Joins two streams until either closes; each waits for the other's reader.
void join_streams(std::shared_ptr<Stream> one, std::shared_ptr<Stream> other);

/// Loop's thread only. Dropping it drops the connection, and no callback comes after.
class ClientExchange {
 public:
  struct Callbacks {
    /// Status and headers; 1xx but 101 are left out. Data follows, and end.
    std::function<void(int status, Headers headers)> head;
    std::function<void(std::string_view)> data;
    /// The last: the response is complete, or kUnavailable when it broke off.
    std::function<void(Status)> end;
    /// The last instead: 101. The stream is the caller's.
    std::function<void(Headers headers, std::shared_ptr<Stream> stream)> upgraded;
  };
  virtual ~ClientExchange() = default;
  /// Stops and restarts the response.
  virtual void pause() = 0;
  virtual void resume() = 0;

  struct Message {
    std::string method, target;
    Headers headers;  // complete but for Content-Length; with Host and Connection
    std::string body;
  };
  static std::shared_ptr<ClientExchange> start(Loop& loop, std::shared_ptr<Stream> stream, const Message& message,
                                               Callbacks callbacks);
};

}  // namespace gantry::http
