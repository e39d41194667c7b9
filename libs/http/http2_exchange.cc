#include "libs/http/http2_exchange.h"

namespace gantry::http {

Http2Exchange::~Http2Exchange() {
  if (stream_ == nullptr) return;
  if (started_) {
    abort();
    return;
  }
  LOG(WARNING) << "request=\"" << what_ << "\" dropped without an answer";
  auto [status, headers, body] = owner_->connection_.core().rejection(500, "the request was not answered");
  send(status, std::move(headers), std::move(body));
}

void Http2Exchange::send(int status, Headers headers, std::string body) {
  if (stream_ == nullptr || started_) return;
  started_ = true;
  bool no_body = status == 204 || status == 304;
  stream_->ended = true;
  std::optional<size_t> length;
  if (!no_body) length = body.size();
  if (!no_body && !head_) {
    stream_->out = std::move(body);
    owner_->hold(stream_->out.size());
  }
  owner_->respond(*stream_, status, headers, length, !stream_->out.empty());
  release();
}

void Http2Exchange::start(int status, Headers headers, Length length) {
  if (stream_ == nullptr || started_) return;
  started_ = true;
  length_ = length;
  owner_->respond(*stream_, status, headers, std::nullopt, true);
}

void Http2Exchange::write(std::string_view bytes) {
  if (stream_ == nullptr || !started_ || bytes.empty() || head_) return;
  stream_->out += bytes;
  owner_->hold(bytes.size());
  owner_->wrote(*stream_);
}

void Http2Exchange::end() {
  if (stream_ == nullptr || !started_) return;
  stream_->ended = true;
  owner_->wrote(*stream_);
  release();
}

void Http2Exchange::abort() {
  if (stream_ == nullptr) return;
  owner_->reset(*stream_, NGHTTP2_INTERNAL_ERROR);
  release();
}

void Http2Exchange::release() {
  owner_->released(*stream_);
  detach();
}

size_t Http2Exchange::buffered() const { return stream_ == nullptr ? 0 : stream_->out.size() - stream_->taken; }

void Http2Exchange::on_drained(std::function<void()> callback) {
  if (stream_ == nullptr) return;
  if (!drained_) owner_->waiting_.push_back(stream_->id);
  drained_ = std::move(callback);
  owner_->channel().schedule();
}

void Http2Exchange::on_close(std::function<void()> callback) {
  if (stream_ != nullptr) close_ = std::move(callback);
}

bool Http2Exchange::writable() {
  if (!drained_) return true;
  if (buffered() > kLowWater) return false;
  auto callback = std::exchange(drained_, nullptr);
  callback();  // may ask again: that waits anew
  return true;
}

void Http2Exchange::gone() {
  auto close = std::exchange(close_, nullptr);
  detach();
  if (close) close();
}

void Http2Exchange::detach() {
  stream_ = nullptr;
  owner_ = nullptr;
  auto drained = std::exchange(drained_, nullptr);
  auto close = std::exchange(close_, nullptr);  // one of them may hold the last reference to this: nothing after
}

void Http2Exchange::drain() {
  if (!started_ || length_ != Length::kEndless || stream_ == nullptr) return;
  auto close = std::exchange(close_, nullptr);
  end();
  if (close) close();
}

std::shared_ptr<WebSocket> Http2Exchange::upgrade_websocket(std::string_view) {
  send(400, {{"Content-Type", "text/plain; charset=utf-8"}}, "this needs an HTTP/1.1 Upgrade\n");
  return nullptr;
}

std::shared_ptr<Stream> Http2Exchange::hijack(Headers) {
  send(400, {{"Content-Type", "text/plain; charset=utf-8"}}, "this needs an HTTP/1.1 Upgrade\n");
  return nullptr;
}

}  // namespace gantry::http
