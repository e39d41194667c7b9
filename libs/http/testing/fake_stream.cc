#include "libs/http/testing/fake_stream.h"

namespace gantry::http::testing {

std::pair<std::shared_ptr<FakeStream>, std::shared_ptr<FakeStream>> FakeStream::pair(Loop& loop) {
  auto one = std::make_shared<FakeStream>(loop), other = std::make_shared<FakeStream>(loop);
  one->peer_ = other;
  other->peer_ = one;
  return {one, other};
}

FakeStream::~FakeStream() {
  if (auto peer = peer_.lock()) {
    peer->ended_ = true;
    peer->schedule();
  }
}

void FakeStream::write(std::string_view bytes) {
  auto peer = peer_.lock();
  if (closed_ || !peer) return;
  peer->waiting_ += bytes;
  peer->schedule();
}

size_t FakeStream::buffered() const {
  auto peer = peer_.lock();
  return peer ? peer->waiting_.size() : 0;
}

void FakeStream::on_drained(std::function<void()> callback) {
  drained_ = std::move(callback);
  schedule();
}

void FakeStream::on_data(std::function<void(std::string_view)> callback) {
  data_ = std::move(callback);
  schedule();
}

void FakeStream::resume() {
  paused_ = false;
  schedule();
}

void FakeStream::close() {
  if (std::exchange(closed_, true)) return;
  data_ = nullptr;
  close_ = nullptr;
  if (auto peer = peer_.lock()) {
    peer->ended_ = true;
    peer->schedule();
  }
}

void FakeStream::schedule() {
  if (std::exchange(scheduled_, true)) return;
  loop_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->deliver();
  });
}

void FakeStream::deliver() {
  scheduled_ = false;
  auto self = shared_from_this();
  if (!paused_ && data_ && !waiting_.empty()) {
    auto callback = data_;
    callback(std::exchange(waiting_, {}));
    if (auto peer = peer_.lock()) peer->schedule();  // it may have drained
  }
  if (drained_ && buffered() <= kLowWater) {
    auto callback = std::exchange(drained_, nullptr);
    callback();
  }
  if (ended_ && waiting_.empty() && !closed_) {
    closed_ = true;
    data_ = nullptr;
    if (auto callback = std::exchange(close_, nullptr)) callback();
  }
}

}  // namespace gantry::http::testing
