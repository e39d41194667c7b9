// HTTP/1.1 on a server's connection: one request at a time, in order; what a client pipelines waits, bounded. Internal
// to libs/http.
#pragma once

#include "libs/http/connection.h"
#include "libs/http/http1_parser.h"

namespace gantry::http {

class Http1Exchange;
class Http1Stream;

class Http1Server final : public Protocol, private Http1Sink {
 public:
  explicit Http1Server(Connection& connection);
  ~Http1Server() override;

  void on_bytes(std::string_view bytes) override;
  void on_fill() override;
  void on_writable() override;
  void on_eof() override;
  void on_gone() override;
  void check(uint64_t now_ms) override;
  void drain() override;

  /// How a response's body is delimited.
  enum class Framing : uint8_t { kLength, kChunked, kUntilClose, kNone };

 private:
  friend class Http1Exchange;
  friend class Http1Stream;
  enum class Phase : uint8_t { kIdle, kHead, kBody, kBusy, kUpgraded, kClosing };

  Next on_head(Http1Head head) override;
  bool on_body(std::string_view bytes) override;
  void on_complete() override;

  size_t consume(std::string_view bytes);
  bool may_parse();
  void begin(Phase phase);
  void dispatch();
  void reject(int status, std::string_view message);
  bool count(size_t bytes);
  void forget_body();
  Channel& channel() { return connection_.channel(); }

  void write_head(int status, const Headers& headers, Framing framing, size_t length);
  /// The exchange has said all; the next request may come.
  void finished(bool complete);
  /// The handler took the connection over.
  void upgraded(Http1Stream* stream);

  Connection& connection_;
  std::unique_ptr<Http1Parser> parser_;
  Http1Head head_;      // of the request being received
  std::string body_;    // likewise
  size_t counted_ = 0;  // of ServerCore::receiving
  std::string in_;      // pipelined input, not parsed
  Http1Exchange* exchange_ = nullptr;
  Http1Stream* stream_ = nullptr;
  uint64_t phase_since_;
  Phase phase_ = Phase::kHead;
  bool complete_ = false, keep_alive_ = true, first_ = true;
};

}  // namespace gantry::http
