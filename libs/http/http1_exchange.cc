#include "libs/http/http1_exchange.h"

#include "libs/http/websocket.h"

namespace gantry::http {

using Framing = Http1Server::Framing;

Http1Exchange::Http1Exchange(Http1Server& owner, Asked asked) : owner_(&owner), asked_(std::move(asked)) {}

Http1Exchange::~Http1Exchange() {
  if (owner_ == nullptr) return;
  if (started_) {
    abort();
    return;
  }
  LOG(WARNING) << "request=\"" << asked_.what << "\" dropped without an answer";
  auto [status, headers, body] = owner_->connection_.core().rejection(500, "the request was not answered");
  send(status, std::move(headers), std::move(body));
}

void Http1Exchange::send(int status, Headers headers, std::string body) {
  if (owner_ == nullptr || started_) return;
  started_ = true;
  bool no_body = status == 204 || status == 304;
  owner_->write_head(status, headers, no_body ? Framing::kNone : Framing::kLength, body.size());
  if (!no_body && !asked_.head) owner_->channel().write(body);
  finish(true);
}

void Http1Exchange::start(int status, Headers headers, Length length) {
  if (owner_ == nullptr || started_) return;
  started_ = true;
  length_ = length;
  framing_ = asked_.minor_version == 0 ? Framing::kUntilClose : Framing::kChunked;
  owner_->write_head(status, headers, framing_, 0);
  if (asked_.head) framing_ = Framing::kNone;
}

void Http1Exchange::write(std::string_view bytes) {
  if (owner_ == nullptr || !started_ || bytes.empty() || framing_ == Framing::kNone) return;
  auto& channel = owner_->channel();
  if (framing_ == Framing::kUntilClose) return channel.write(bytes);
  char size[20];
  auto* end = fmt::format_to(size, "{:x}\r\n", bytes.size());
  channel.write({size, static_cast<size_t>(end - size)});
  channel.write(bytes);
  channel.write("\r\n");
}

void Http1Exchange::end() {
  if (owner_ == nullptr || !started_) return;
  if (framing_ == Framing::kChunked) owner_->channel().write("0\r\n\r\n");
  finish(true);
}

void Http1Exchange::abort() {
  if (owner_ != nullptr) finish(false);
}

void Http1Exchange::finish(bool complete) {
  auto* owner = owner_;
  owner->finished(complete);
  detach();
}

size_t Http1Exchange::buffered() const { return owner_ == nullptr ? 0 : owner_->channel().buffered(); }

void Http1Exchange::on_drained(std::function<void()> callback) {
  if (owner_ == nullptr) return;
  drained_ = std::move(callback);
  owner_->channel().schedule();
}

void Http1Exchange::on_close(std::function<void()> callback) {
  if (owner_ != nullptr) close_ = std::move(callback);
}

void Http1Exchange::writable() {
  if (!drained_ || buffered() > kLowWater) return;
  auto callback = std::exchange(drained_, nullptr);
  callback();
}

void Http1Exchange::gone() {
  auto close = std::exchange(close_, nullptr);
  detach();
  if (close) close();
}

void Http1Exchange::detach() {
  owner_ = nullptr;
  auto drained = std::exchange(drained_, nullptr);
  auto close = std::exchange(close_, nullptr);  // one of them may hold the last reference to this: nothing after
}

void Http1Exchange::drain() {
  if (!started_ || length_ != Length::kEndless || owner_ == nullptr) return;
  auto close = std::exchange(close_, nullptr);
  end();
  if (close) close();
}

std::shared_ptr<Stream> Http1Exchange::hijack(Headers headers) {
  if (owner_ == nullptr || started_) return nullptr;
  if (!asked_.upgrade) {
    send(400, {{"Content-Type", "text/plain; charset=utf-8"}}, "this needs an HTTP/1.1 Upgrade\n");
    return nullptr;
  }
  started_ = true;
  headers.set("Upgrade", headers.has("Upgrade") ? std::string(headers.get("Upgrade")) : asked_.upgrade_protocol);
  headers.set("Connection", "Upgrade");
  owner_->write_head(101, headers, Framing::kNone, 0);
  auto stream = std::make_shared<Http1Stream>(*owner_);
  auto* owner = std::exchange(owner_, nullptr);
  drained_ = close_ = nullptr;
  owner->upgraded(stream.get());
  return stream;
}

std::shared_ptr<WebSocket> Http1Exchange::upgrade_websocket(std::string_view subprotocol) {
  if (owner_ == nullptr || started_) return nullptr;
  Headers text{{"Content-Type", "text/plain; charset=utf-8"}};
  if (!asked_.upgrade || !iequals(asked_.upgrade_protocol, "websocket") || asked_.websocket_key.empty()) {
    send(400, std::move(text), "this needs a WebSocket handshake\n");
    return nullptr;
  }
  if (asked_.websocket_version != "13") {
    text.add("Sec-WebSocket-Version", "13");
    send(426, std::move(text), "only WebSocket version 13 is supported\n");
    return nullptr;
  }
  size_t max_message = owner_->connection_.core().options.max_websocket_message;
  Headers headers{{"Upgrade", "websocket"}, {"Sec-WebSocket-Accept", websocket_accept(asked_.websocket_key)}};
  if (!subprotocol.empty()) headers.add("Sec-WebSocket-Protocol", std::string(subprotocol));
  return make_websocket(hijack(std::move(headers)), max_message);
}

Http1Stream::~Http1Stream() {
  *alive_ = false;
  if (owner_ == nullptr) return;
  owner_->stream_ = nullptr;
  --owner_->connection_.core().stats.active;
  owner_->channel().close("dropped");
}

void Http1Stream::write(std::string_view bytes) {
  if (owner_ != nullptr) owner_->channel().write(bytes);
}

size_t Http1Stream::buffered() const { return owner_ == nullptr ? 0 : owner_->channel().buffered(); }

void Http1Stream::on_drained(std::function<void()> callback) {
  if (owner_ == nullptr) return;
  drained_ = std::move(callback);
  owner_->channel().schedule();
}

void Http1Stream::on_data(std::function<void(std::string_view)> callback) {
  if (owner_ == nullptr) return;
  data_ = std::move(callback);
  owner_->channel().schedule();
}

void Http1Stream::on_close(std::function<void()> callback) {
  if (owner_ != nullptr) close_ = std::move(callback);
}

void Http1Stream::pause() {
  paused_ = true;
  if (owner_ != nullptr) owner_->channel().pause();
}

void Http1Stream::resume() {
  if (!paused_) return;
  paused_ = false;
  if (owner_ != nullptr) owner_->channel().schedule();
}

void Http1Stream::close() {
  if (owner_ == nullptr) return;
  auto* owner = owner_;
  owner->stream_ = nullptr;
  --owner->connection_.core().stats.active;
  owner->channel().close_gracefully();
  detach();
}

void Http1Stream::input(std::string_view bytes) {
  if (!data_ || paused_ || !pending_.empty()) {
    pending_ += bytes;
    owner_->channel().pause();
    if (data_ && !paused_) owner_->channel().schedule();
    return;
  }
  auto callback = data_;  // it may replace itself, or drop this stream
  callback(bytes);
}

// Hands over what waited, then reads on.
void Http1Stream::pump() {
  if (!data_ || paused_) return;
  if (!pending_.empty()) {
    auto alive = alive_;
    auto callback = data_;
    callback(std::exchange(pending_, {}));
    if (!*alive || owner_ == nullptr || paused_) return;
  }
  owner_->channel().resume();
}

void Http1Stream::writable() {
  if (!drained_ || buffered() > kLowWater) return;
  auto callback = std::exchange(drained_, nullptr);
  callback();
}

void Http1Stream::gone() {
  auto close = std::exchange(close_, nullptr);
  auto data = std::exchange(data_, nullptr);
  auto drained = std::exchange(drained_, nullptr);
  owner_ = nullptr;
  if (close) close();
}

void Http1Stream::detach() {
  auto close = std::exchange(close_, nullptr);
  gone();
}

}  // namespace gantry::http
