#include "services/apigw/streams/session_stream.h"

namespace gantry::apigw {
namespace {

class SessionStream final : public http::Stream, public std::enable_shared_from_this<SessionStream> {
 public:
  explicit SessionStream(Loop& loop) : loop_(loop) {}

  bus::Session::Callbacks callbacks() {
    bus::Session::Callbacks callbacks;
    callbacks.data = [weak = weak_from_this()](node::Channel, std::string_view data, bool) {
      if (auto self = weak.lock()) self->received(data);
    };
    callbacks.closed = [weak = weak_from_this()](const bus::SessionEnd&) {
      if (auto self = weak.lock()) self->ended();
    };
    callbacks.writable = [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || !self->drained_) return;
      auto callback = std::exchange(self->drained_, nullptr);
      callback();
    };
    return callbacks;
  }
  void own(std::unique_ptr<bus::Session> session) { session_ = std::move(session); }

  void write(std::string_view bytes) override {
    if (closed_) return;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kPiece)))
      session_->write(node::Channel::Stdin, bytes.substr(0, kPiece));
  }
  size_t buffered() const override { return closed_ ? 0 : session_->queued(); }
  void on_drained(std::function<void()> callback) override {
    if (closed_) return;
    if (session_->queued() > 0) {
      drained_ = std::move(callback);
      return;
    }
    loop_.post([weak = weak_from_this(), callback = std::move(callback)] {
      if (auto self = weak.lock(); self && !self->closed_) callback();
    });
  }
  void on_data(std::function<void(std::string_view)> callback) override {
    data_ = std::move(callback);
    schedule();
  }
  void on_close(std::function<void()> callback) override {
    close_ = std::move(callback);
    if (ended_) schedule();
  }
  void pause() override { paused_ = true; }
  void resume() override {
    if (std::exchange(paused_, false)) schedule();
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    forget();
    if (ended_) return;
    session_->close({});
    // What is queued goes first; `closed` lets go.
    keep_ = shared_from_this();
    patience_ = loop_.after(kPatience, [this] { release(); });
  }
  bool closed() const override { return closed_; }

 private:
  static constexpr size_t kPiece = 256 * 1024;
  static constexpr Duration kPatience = std::chrono::seconds(30);

  void received(std::string_view data) {
    if (closed_) return session_->consume(data.size());
    if (!data_ || paused_ || !waiting_.empty()) {
      waiting_ += data;  // bounded by the session's credit
      return;
    }
    session_->consume(data.size());
    auto callback = data_;
    callback(data);
  }
  void schedule() {
    loop_.post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->deliver();
    });
  }
  void deliver() {
    if (closed_ || !data_ || paused_) return;
    if (!waiting_.empty()) {
      session_->consume(waiting_.size());
      auto callback = data_;
      callback(std::exchange(waiting_, {}));
    }
    if (ended_ && !closed_ && waiting_.empty() && close_) {
      closed_ = true;
      auto callback = std::exchange(close_, nullptr);
      forget();
      callback();
    }
  }
  void ended() {
    ended_ = true;
    if (closed_) return release();
    schedule();
  }
  void release() {
    loop_.post([self = shared_from_this()] {
      self->patience_.reset();
      self->session_.reset();
      self->keep_.reset();
    });
  }
  void forget() {
    auto self = weak_from_this().lock();
    auto data = std::exchange(data_, nullptr);
    auto drained = std::exchange(drained_, nullptr);
    auto close = std::exchange(close_, nullptr);
  }

  Loop& loop_;
  std::unique_ptr<bus::Session> session_;
  std::function<void(std::string_view)> data_;
  std::function<void()> drained_, close_;
  std::string waiting_;
  std::shared_ptr<SessionStream> keep_;
  Timer patience_;
  bool paused_ = false, closed_ = false, ended_ = false;
};

}  // namespace

void open_session_stream(Loop& loop, bus::Bus& bus, const std::string& node, const bus::SessionRequest& request,
                         std::function<void(Result<std::shared_ptr<http::Stream>>)> done) {
  auto stream = std::make_shared<SessionStream>(loop);
  bus::open_session(loop, bus, node, request, stream->callbacks(),
                    [stream, done = std::move(done)](Result<std::unique_ptr<bus::Session>> session) {
                      if (!session.ok()) return done(session.error());
                      stream->own(std::move(*session));
                      done(std::static_pointer_cast<http::Stream>(stream));
                    });
}

}  // namespace gantry::apigw
