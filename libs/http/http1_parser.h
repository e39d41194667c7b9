// HTTP/1.x messages from bytes. An interface because http-parser, which does the work today, is no longer developed:
// what replaces it goes behind this. Internal to libs/http.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "libs/http/message.h"

namespace gantry::http {

/// Start line and headers.
struct Http1Head {
  std::string method, target;  // of a request
  int status = 0;              // of a response
  int minor_version = 1;       // HTTP/1.<minor>
  Headers headers;
  bool keep_alive = true;
  bool chunked = false;
  bool upgrade = false;         // Connection: Upgrade and an Upgrade header
  uint64_t content_length = 0;  // when declared
  bool has_content_length = false;
};

/// Receives one message after the other. Calls come from within Http1Parser::feed().
class Http1Sink {
 public:
  enum class Next : uint8_t { kBody, kNoBody, kUpgrade, kStop };
  /// What follows the headers: the body that they announce; nothing (the answer to HEAD); another protocol; or stop
  /// parsing for good.
  virtual Next on_head(Http1Head head) = 0;
  /// A piece of the body; false stops parsing for good.
  virtual bool on_body(std::string_view bytes) = 0;
  virtual void on_complete() = 0;

 protected:
  ~Http1Sink() = default;
};

class Http1Parser {
 public:
  enum class Kind : uint8_t { kRequest, kResponse };
  enum class State : uint8_t { kOk, kMalformed, kHeadTooLarge, kStopped };

  static std::unique_ptr<Http1Parser> create(Kind kind, size_t max_head_bytes, Http1Sink& sink);
  virtual ~Http1Parser() = default;

  /// Parses up to the end of one message; returns what it consumed. The rest belongs to the next message or to the
  /// protocol upgraded to.
  virtual size_t feed(std::string_view bytes) = 0;
  /// The peer sends no more: completes a response that ends with the connection.
  virtual void finish() = 0;
  virtual State state() const = 0;
  /// Why, with kMalformed.
  virtual const char* error() const = 0;
  /// Between two messages: nothing of the next has come.
  virtual bool idle() const = 0;
};

}  // namespace gantry::http
