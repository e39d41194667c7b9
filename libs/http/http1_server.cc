#include "libs/http/http1_server.h"

#include "libs/http/http1_exchange.h"

namespace gantry::http {
namespace {

constexpr size_t kMaxPipelined = 64 * 1024;
constexpr size_t kMaxUpgraded = 2 * kHighWater;

// A name or value from a handler must not be able to end the line.
void append_clean(std::string& out, std::string_view text) {
  for (char c : text) out += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
}

}  // namespace

Http1Server::Http1Server(Connection& connection)
    : connection_(connection),
      parser_(Http1Parser::create(Http1Parser::Kind::kRequest, connection.core().options.max_header_bytes, *this)),
      phase_since_(connection.now()) {}

Http1Server::~Http1Server() {
  forget_body();
  if (exchange_ != nullptr) {
    --connection_.core().stats.active;
    exchange_->detach();
  }
  if (stream_ != nullptr) {
    --connection_.core().stats.active;
    stream_->detach();
  }
}

void Http1Server::begin(Phase phase) {
  phase_ = phase;
  phase_since_ = connection_.now();
}

bool Http1Server::may_parse() {
  return phase_ < Phase::kBusy && !channel().closing() && channel().buffered() < kHighWater;
}

void Http1Server::on_bytes(std::string_view bytes) {
  if (phase_ == Phase::kUpgraded) {
    if (stream_ != nullptr) stream_->input(bytes);
    // A peer that asks (pings) and does not read the answers waits; on_fill() looks again when some have gone.
    if (stream_ != nullptr && channel().buffered() > kMaxUpgraded) channel().pause();
    return;
  }
  size_t used = in_.empty() ? consume(bytes) : 0;
  bytes.remove_prefix(used);
  if (phase_ == Phase::kUpgraded) {
    if (stream_ != nullptr && !bytes.empty()) stream_->input(bytes);
    return;
  }
  if (bytes.empty() || phase_ == Phase::kClosing) return;
  in_ += bytes;
  if (in_.size() >= kMaxPipelined) channel().pause();
  if (may_parse()) channel().schedule();
}

void Http1Server::on_fill() {
  if (phase_ == Phase::kUpgraded) {
    if (stream_ != nullptr && channel().buffered() <= kMaxUpgraded) stream_->pump();
    return;
  }
  if (!in_.empty() && may_parse()) {
    std::string input = std::move(in_);
    in_.clear();
    size_t used = consume(input);
    if (phase_ == Phase::kClosing) return;
    in_.assign(input, used);
    if (phase_ == Phase::kUpgraded) return channel().schedule();  // hand the rest over
  }
  if (in_.size() < kMaxPipelined) channel().resume();
}

// Parses and answers as far as it may; returns how much of `bytes` is done with.
size_t Http1Server::consume(std::string_view bytes) {
  size_t used = 0;
  while (used < bytes.size() && may_parse()) {
    size_t parsed = parser_->feed(bytes.substr(used));
    used += parsed;
    switch (parser_->state()) {
      case Http1Parser::State::kOk:
        break;
      case Http1Parser::State::kMalformed:
        reject(400, fmt::format("malformed request: {}", parser_->error()));
        return bytes.size();
      case Http1Parser::State::kHeadTooLarge:
        reject(431,
               fmt::format("request line and headers exceed {} bytes", connection_.core().options.max_header_bytes));
        return bytes.size();
      case Http1Parser::State::kStopped:  // rejected by on_head() or on_body()
        return bytes.size();
    }
    if (std::exchange(complete_, false)) {
      dispatch();
    } else if (phase_ == Phase::kIdle && !parser_->idle()) {
      begin(Phase::kHead);
    } else if (parsed == 0) {
      break;
    }
  }
  return used;
}

Http1Sink::Next Http1Server::on_head(Http1Head head) {
  const auto& options = connection_.core().options;
  head_ = std::move(head);
  keep_alive_ = head_.keep_alive;
  if (head_.method == "CONNECT") {
    reject(405, "CONNECT is not supported");
    return Next::kStop;
  }
  if (head_.minor_version >= 1 && !head_.headers.has("Host")) {
    reject(400, "HTTP/1.1 needs a Host header");
    return Next::kStop;
  }
  if (head_.has_content_length && head_.content_length > options.max_body_bytes) {
    reject(413, fmt::format("request body of {} bytes exceeds the limit of {}", head_.content_length,
                            options.max_body_bytes));
    return Next::kStop;
  }
  bool body = head_.chunked || head_.content_length > 0;
  if (const auto* expect = head_.headers.find("Expect"); expect != nullptr && head_.minor_version >= 1) {
    if (!iequals(*expect, "100-continue")) {
      reject(417, "only 100-continue can be expected");
      return Next::kStop;
    }
    if (body) channel().write("HTTP/1.1 100 Continue\r\n\r\n");
  }
  size_t head_bytes = head_.target.size();
  for (const auto& [name, value] : head_.headers) head_bytes += name.size() + value.size();
  if (!count(head_bytes)) return Next::kStop;
  begin(Phase::kBody);
  // h2c is an offer that may be ignored, and is: HTTP/2 without TLS works by prior knowledge only.
  if (head_.upgrade && (body || head_.headers.has_token("Upgrade", "h2c"))) head_.upgrade = false;
  return head_.upgrade ? Next::kUpgrade : Next::kBody;
}

bool Http1Server::on_body(std::string_view bytes) {
  auto& core = connection_.core();
  if (body_.size() + bytes.size() > core.options.max_body_bytes) {
    reject(413, fmt::format("request body exceeds the limit of {} bytes", core.options.max_body_bytes));
    return false;
  }
  if (!count(bytes.size())) return false;
  if (body_.empty() && head_.has_content_length) body_.reserve(head_.content_length);
  body_ += bytes;
  return true;
}

void Http1Server::on_complete() { complete_ = true; }

bool Http1Server::count(size_t bytes) {
  if (!connection_.core().receive(bytes)) {
    reject(503, "too many requests are being received, try again");
    return false;
  }
  counted_ += bytes;
  return true;
}

void Http1Server::forget_body() {
  connection_.core().receiving -= std::exchange(counted_, 0);
  std::string().swap(body_);
}

void Http1Server::dispatch() {
  begin(Phase::kBusy);
  Http1Exchange::Asked asked;
  asked.head = head_.method == "HEAD";
  asked.what = head_.method + " " + head_.target;
  asked.minor_version = head_.minor_version;
  asked.upgrade = head_.upgrade;
  if (head_.upgrade) {
    asked.upgrade_protocol = head_.headers.get("Upgrade");
    asked.websocket_key = head_.headers.get("Sec-WebSocket-Key");
    asked.websocket_version = head_.headers.get("Sec-WebSocket-Version");
  }
  auto version = head_.minor_version == 0 ? Version::kHttp10 : Version::kHttp11;
  auto request =
      connection_.make_request(std::move(head_.method), std::move(head_.target), std::move(head_.headers), version);
  if (!request) return reject(400, request.error().message);
  request->body = std::exchange(body_, {});
  request->is_upgrade = asked.upgrade;
  request->upgrade = asked.upgrade_protocol;
  auto exchange = std::make_shared<Http1Exchange>(*this, std::move(asked));
  exchange_ = exchange.get();
  connection_.dispatch(std::move(*request), std::move(exchange));
}

void Http1Server::reject(int status, std::string_view message) {
  forget_body();
  keep_alive_ = false;
  auto rejection = connection_.core().rejection(status, message);
  write_head(status, rejection.headers, Framing::kLength, rejection.body.size());
  channel().write(rejection.body);
  begin(Phase::kClosing);
  channel().close_gracefully();
}

void Http1Server::write_head(int status, const Headers& headers, Framing framing, size_t length) {
  forget_body();
  std::string out;
  out.reserve(256);
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", status, status_text(status));
  for (const auto& [name, value] : headers) {
    if (iequals(name, "Connection") || iequals(name, "Transfer-Encoding") || iequals(name, "Content-Length")) {
      if (status != 101) continue;  // framing is ours
    }
    append_clean(out, name);
    out += ": ";
    append_clean(out, value);
    out += "\r\n";
  }
  if (!headers.has("Date")) fmt::format_to(std::back_inserter(out), "Date: {}\r\n", connection_.core().io->date());
  if (framing == Framing::kLength) fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", length);
  if (framing == Framing::kChunked) out += "Transfer-Encoding: chunked\r\n";
  if (framing == Framing::kUntilClose || connection_.core().draining) keep_alive_ = false;
  if (status != 101) {
    if (!keep_alive_) {
      out += "Connection: close\r\n";
    } else if (head_.minor_version == 0) {
      out += "Connection: keep-alive\r\n";
    }
  }
  out += "\r\n";
  channel().write(out);
}

void Http1Server::finished(bool complete) {
  exchange_ = nullptr;
  --connection_.core().stats.active;
  if (!complete) {
    begin(Phase::kClosing);
    return channel().close("broken off");
  }
  if (!keep_alive_ || connection_.core().draining) {
    begin(Phase::kClosing);
    return channel().close_gracefully();
  }
  begin(Phase::kIdle);
  channel().schedule();  // on_fill() goes on with what was pipelined
}

void Http1Server::upgraded(Http1Stream* stream) {
  exchange_ = nullptr;
  stream_ = stream;
  begin(Phase::kUpgraded);
  if (!in_.empty()) stream_->input(std::exchange(in_, {}));
}

void Http1Server::on_writable() {
  if (exchange_ != nullptr) exchange_->writable();
  if (stream_ != nullptr) stream_->writable();
}

void Http1Server::on_eof() {
  if (exchange_ != nullptr || stream_ != nullptr) {
    on_gone();
  }
  begin(Phase::kClosing);
  channel().close_gracefully();
}

void Http1Server::on_gone() {
  forget_body();
  if (exchange_ != nullptr) {
    --connection_.core().stats.active;
    std::exchange(exchange_, nullptr)->gone();
  }
  if (stream_ != nullptr) {
    --connection_.core().stats.active;
    std::exchange(stream_, nullptr)->gone();
  }
}

void Http1Server::check(uint64_t now_ms) {
  const auto& options = connection_.core().options;
  auto over = [&](std::chrono::milliseconds limit) {
    return now_ms > phase_since_ + static_cast<uint64_t>(limit.count());
  };
  if (phase_ == Phase::kIdle && over(options.idle_timeout)) {
    begin(Phase::kClosing);
    channel().close_gracefully();
  } else if (phase_ == Phase::kHead && over(options.header_timeout)) {
    if (parser_->idle()) return channel().close_gracefully();  // asked for nothing
    reject(408, "the request's headers did not come in time");
  } else if (phase_ == Phase::kBody && over(options.body_timeout)) {
    reject(408, "the request's body did not come in time");
  }
}

void Http1Server::drain() {
  if (phase_ == Phase::kIdle || (phase_ == Phase::kHead && parser_->idle())) {
    begin(Phase::kClosing);
    channel().close_gracefully();
  } else if (exchange_ != nullptr) {
    exchange_->drain();
  }
}

}  // namespace gantry::http
