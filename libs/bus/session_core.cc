// One side of a session. Both are the same but for their subjects.
//
// Credit: a side sends data only against what the other has granted, so that what is on the way or waits at the
// receiver is bounded by the window. The receiver grants again as its owner consumes. Frames are numbered; each side
// pings, so that a lost last frame shows as a gap within a ping's period.
#include "libs/bus/session_core.h"

#include "libs/base/ids.h"

namespace gantry::bus {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr size_t kFrame = 64 << 10;
constexpr size_t kMaxQueued = 4 << 20;
constexpr Duration kPing = seconds(10), kSilence = seconds(30);
constexpr Duration kRetry = milliseconds(20);  // when the bus takes no more

}  // namespace

SessionCore::SessionCore(Loop& loop, Bus& bus, std::string out_subject)
    : loop_(loop), bus_(bus), out_subject_(std::move(out_subject)), heard_(loop.now()) {}

void SessionCore::listen(const std::string& in_subject) {
  subscription_ = bus_.subscribe(in_subject, "", [this](const Message& m) { received(m.data); });
}

void SessionCore::start(Session::Callbacks callbacks, size_t credit) {
  callbacks_ = std::move(callbacks);
  credit_ += credit;
  open_ = true;
  heard_ = loop_.now();
  ping_ = loop_.every(kPing, [this] { on_ping(); });
  connection_ = bus_.on_connection([this](bool connected) {
    if (connected) on_ping();  // frames may have been lost: let the peer see the gap now
  });
  // What came before we were open, and the owner is not called inside of the call that opens.
  loop_.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    for (auto& frame : std::exchange(self->early_, {})) self->received(frame);
    self->pump();
  });
}

bool SessionCore::write(node::Channel channel, std::string_view data) {
  if (phase_ != Phase::kOpen) return false;
  queued_ += data.size();
  if (queued_ > kMaxQueued) {
    finish({std::nullopt, "the reader is too slow: more than 4 MiB wait"}, true);
    return false;
  }
  if (!data.empty()) queue_.push_back({channel, std::string(data), 0, false});
  pump();
  if (queue_.empty()) return phase_ == Phase::kOpen;
  blocked_ = true;
  return false;
}

void SessionCore::end(node::Channel channel) {
  if (phase_ != Phase::kOpen) return;
  queue_.push_back({channel, {}, 0, true});
  pump();
}

void SessionCore::consume(size_t bytes) {
  if (phase_ == Phase::kClosed) return;
  consumed_ += bytes;
  if (consumed_ >= kSessionWindow / 4) grant();
}

void SessionCore::close(SessionEnd end) {
  if (phase_ != Phase::kOpen) return;
  phase_ = Phase::kClosing;
  closing_ = std::move(end);
  pump();
}

void SessionCore::abandon() {
  if (phase_ != Phase::kClosed && open_) (void)send({.close = true, .error = "gone"});
  shut();
}

/// Frames cost a number only once the bus has taken them.
bool SessionCore::send(const Frame& frame) {
  flatbuffers::FlatBufferBuilder b(frame.data.size() + 128);
  flatbuffers::Offset<flatbuffers::Vector<uint8_t>> data;
  if (!frame.data.empty())
    data = b.CreateVector(reinterpret_cast<const uint8_t*>(frame.data.data()), frame.data.size());
  flatbuffers::Offset<flatbuffers::String> error;
  if (!frame.error.empty()) error = b.CreateString(frame.error);
  node::SessionFrameBuilder f(b);
  f.add_sequence(sent_ + 1);
  f.add_channel(frame.channel);
  f.add_data(data);
  f.add_credit(frame.credit);
  f.add_end(frame.end);
  f.add_close(frame.close);
  if (frame.exit_code) f.add_exit_code(*frame.exit_code);
  f.add_error(error);
  b.Finish(f.Finish());
  auto status = bus_.publish(out_subject_, {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()});
  if (!status) {
    if (!retry_) {
      retry_ = loop_.after(kRetry, [this] {
        retry_.reset();
        if (consumed_ >= kSessionWindow / 4) grant();
        pump();
      });
    }
    return false;
  }
  ++sent_;
  return true;
}

void SessionCore::grant() {
  if (!open_ || consumed_ == 0) return;
  if (!send({.credit = static_cast<uint32_t>(consumed_)})) return;
  allowance_ += consumed_;
  consumed_ = 0;
}

/// Sends what the credit allows; then tells the owner that there is room, or closes.
void SessionCore::pump() {
  if (!open_ || phase_ == Phase::kClosed) return;
  while (!queue_.empty()) {
    auto& front = queue_.front();
    if (front.end) {
      if (!send({.channel = front.channel, .end = true})) return;
      queue_.pop_front();
      continue;
    }
    size_t size = std::min({front.data.size() - front.sent, kFrame, credit_});
    if (size == 0) return;
    if (!send({.channel = front.channel, .data = std::string_view(front.data).substr(front.sent, size)})) return;
    credit_ -= size;
    queued_ -= size;
    front.sent += size;
    if (front.sent == front.data.size()) queue_.pop_front();
  }
  if (phase_ == Phase::kClosing) {
    if (send({.close = true, .exit_code = closing_.exit_code, .error = closing_.error})) finish(closing_, false);
    return;
  }
  if (!blocked_ || std::exchange(posted_, true)) return;
  loop_.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->posted_ = false;
    // What was queued since leaves it owed: the pump that empties the queue comes here again.
    if (self->phase_ != Phase::kOpen || !self->queue_.empty() || !std::exchange(self->blocked_, false)) return;
    if (self->callbacks_.writable) self->callbacks_.writable();
  });
}

void SessionCore::received(std::string_view bytes) {
  if (phase_ == Phase::kClosed) return;
  if (!open_) {
    if (early_.size() < 64) early_.emplace_back(bytes);  // the credit allows no more than that
    return;
  }
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (!verifier.VerifyBuffer<node::SessionFrame>(nullptr)) return finish({std::nullopt, "a malformed frame"}, true);
  const auto& frame = *flatbuffers::GetRoot<node::SessionFrame>(bytes.data());
  if (frame.sequence() <= received_) return;  // doubled
  if (frame.sequence() != received_ + 1) {
    return finish({std::nullopt, fmt::format("the bus lost {} frames", frame.sequence() - received_ - 1)}, true);
  }
  received_ = frame.sequence();
  heard_ = loop_.now();
  auto self = shared_from_this();  // the owner may let go in a callback
  if (frame.credit() > 0) {
    credit_ += frame.credit();
    pump();
  }
  if (auto* data = frame.data(); data != nullptr && data->size() > 0) {
    if (data->size() > allowance_) return finish({std::nullopt, "the peer sent beyond its credit"}, true);
    allowance_ -= data->size();
    if (phase_ == Phase::kOpen && callbacks_.data) {
      callbacks_.data(frame.channel(), {reinterpret_cast<const char*>(data->data()), data->size()}, false);
    }
  }
  if (frame.end() && phase_ == Phase::kOpen && callbacks_.data) callbacks_.data(frame.channel(), {}, true);
  if (frame.close()) {
    SessionEnd end;
    if (auto code = frame.exit_code()) end.exit_code = *code;
    if (frame.error() != nullptr) end.error = frame.error()->str();
    finish(std::move(end), false);
  }
}

void SessionCore::on_ping() {
  if (loop_.now() - heard_ > kSilence) return finish({std::nullopt, "the peer is gone: nothing heard for 30 s"}, true);
  (void)send({});
}

/// The end, told to the owner outside of its own calls.
void SessionCore::finish(SessionEnd end, bool tell_peer) {
  if (phase_ == Phase::kClosed) return;
  if (tell_peer) (void)send({.close = true, .error = end.error});
  auto closed = std::move(callbacks_.closed);
  shut();
  if (!closed) return;
  loop_.post([weak = weak_from_this(), closed = std::move(closed), end = std::move(end)] {
    if (auto self = weak.lock()) closed(end);  // not once the owner has let go
  });
}

void SessionCore::shut() {
  phase_ = Phase::kClosed;
  subscription_.reset();
  connection_.reset();
  ping_.reset();
  retry_.reset();
  queue_.clear();
  queued_ = 0;
}

}  // namespace gantry::bus
