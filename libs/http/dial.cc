#include "libs/http/dial.h"

#include <charconv>

#include "libs/http/channel.h"
#include "libs/http/exchange.h"
#include "libs/http/http1_parser.h"
#include "libs/http/tls.h"

namespace gantry::http {
namespace {

constexpr Duration kLinger = std::chrono::seconds(10);

using Done = std::function<void(Result<std::shared_ptr<Stream>>)>;

Result<sockaddr_storage> parse_address(const std::string& text) {
  Error error{Code::kInvalid, fmt::format("\"{}\" is no ip:port", text)};
  auto colon = text.rfind(':');
  if (colon == std::string::npos) return error;
  auto host = text.substr(0, colon);
  uint16_t port = 0;
  auto [end, failed] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  if (failed != std::errc() || end != text.data() + text.size() || port == 0) return error;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  sockaddr_storage out{};
  if (uv_ip4_addr(host.c_str(), port, reinterpret_cast<sockaddr_in*>(&out)) == 0) return out;
  if (uv_ip6_addr(host.c_str(), port, reinterpret_cast<sockaddr_in6*>(&out)) == 0) return out;
  return error;
}

/// A connected channel, as a server's upgraded connection is a Stream (http1_exchange.h).
class DialedStream final : public Stream, public ChannelHandler, public std::enable_shared_from_this<DialedStream> {
 public:
  DialedStream(UvLoop& loop, std::string address) : io_(IoContext::create(loop)), address_(std::move(address)) {}
  ~DialedStream() override {
    if (!channel_) return;
    channel_->detach();
    channel_->close();
  }

  void start(const sockaddr* to, const TlsContext& tls, std::chrono::milliseconds timeout, Done done) {
    done_ = std::move(done);
    keep_ = shared_from_this();
    channel_ = Channel::create(io_);
    channel_->attach(this);
    channel_->connect(to, tls, {});
    timer_ = io_->loop().after(timeout, [this] { failed({Code::kTimeout, "no connection in time"}); });
  }

  void write(std::string_view bytes) override {
    if (!over_) channel_->write(bytes);
  }
  size_t buffered() const override { return over_ ? 0 : channel_->buffered(); }
  void on_drained(std::function<void()> callback) override {
    if (over_) return;
    drained_ = std::move(callback);
    channel_->schedule();
  }
  void on_data(std::function<void(std::string_view)> callback) override {
    if (over_) return;
    data_ = std::move(callback);
    channel_->schedule();
  }
  void on_close(std::function<void()> callback) override {
    if (over_) return;
    close_ = std::move(callback);
    if (ended_) channel_->schedule();
  }
  void pause() override {
    paused_ = true;
    if (!over_) channel_->pause();
  }
  void resume() override {
    paused_ = false;
    if (!over_) channel_->schedule();
  }
  void close() override {
    if (std::exchange(over_, true)) return;
    channel_->close_gracefully();
    // The peer may never close: what it has not taken by then is lost.
    keep_ = shared_from_this();
    timer_ = io_->loop().after(kLinger, [this] { channel_->close(); });
    forget();
  }
  bool closed() const override { return over_; }

 private:
  void on_ready(std::string_view) override {
    timer_.reset();
    auto self = std::exchange(keep_, nullptr);
    if (auto done = std::exchange(done_, nullptr)) done(std::static_pointer_cast<Stream>(self));
  }
  void on_bytes(std::string_view bytes) override {
    if (over_) return;
    auto self = shared_from_this();
    if (!data_ || paused_ || !pending_.empty()) {
      pending_ += bytes;
      channel_->pause();
      if (data_ && !paused_) channel_->schedule();
      return;
    }
    auto callback = data_;
    callback(bytes);
  }
  void on_fill() override {
    auto self = shared_from_this();
    if (over_ || !data_ || paused_) return;
    if (!pending_.empty()) {
      auto callback = data_;
      callback(std::exchange(pending_, {}));
      if (over_ || paused_) return;
    }
    channel_->resume();
    if (ended_ && close_) gone();
  }
  void on_writable() override {
    if (!drained_ || over_ || buffered() > kLowWater) return;
    auto self = shared_from_this();
    auto callback = std::exchange(drained_, nullptr);
    callback();
  }
  void on_eof() override {
    // What came before the end is handed over first.
    ended_ = true;
    if (pending_.empty() && close_) return gone();
    channel_->schedule();
  }
  void on_closed() override {
    if (over_) {
      timer_.reset();
      auto self = std::exchange(keep_, nullptr);
      return;
    }
    if (done_) return failed({Code::kUnavailable, channel_->error().empty() ? "connection closed" : channel_->error()});
    if (!over_) gone();
  }
  void failed(Error error) {
    timer_.reset();
    auto self = std::exchange(keep_, nullptr);
    over_ = true;
    channel_->detach();
    channel_->close();
    error.message = fmt::format("dial tcp {}: {}", address_, error.message);
    if (auto done = std::exchange(done_, nullptr)) done(std::move(error));
  }
  void gone() {
    if (done_) return failed({Code::kUnavailable, "connection closed"});
    auto self = weak_from_this().lock();
    if (std::exchange(over_, true)) return;
    channel_->detach();
    channel_->close();
    auto close = std::exchange(close_, nullptr);
    forget();
    if (close) close();
  }
  void forget() {
    auto self = weak_from_this().lock();
    auto data = std::exchange(data_, nullptr);
    auto drained = std::exchange(drained_, nullptr);
    auto close = std::exchange(close_, nullptr);
  }

  std::shared_ptr<IoContext> io_;
  std::string address_;
  std::shared_ptr<Channel> channel_;
  std::shared_ptr<DialedStream> keep_;  // until connected or failed
  Done done_;
  Timer timer_;
  std::function<void(std::string_view)> data_;
  std::function<void()> drained_, close_;
  std::string pending_;
  bool paused_ = false, over_ = false, ended_ = false;
};

/// Reads the answer to an upgrade, then steps aside.
class Upgrading final : public std::enable_shared_from_this<Upgrading>, private Http1Sink {
 public:
  Upgrading(UvLoop& loop, std::shared_ptr<Stream> stream, Done done)
      : loop_(loop), stream_(std::move(stream)), done_(std::move(done)) {}

  void start(const UpgradeRequest& request) {
    parser_ = Http1Parser::create(Http1Parser::Kind::kResponse, 64 * 1024, *this);
    timer_ = loop_.after(request.to.timeout, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->finish(Error{Code::kTimeout, "no answer to the upgrade in time"});
    });
    std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n", request.method,
                                   request.target, request.to.address);
    for (const auto& [name, value] : request.headers) head += fmt::format("{}: {}\r\n", name, value);
    if (request.method != "GET") head += "Content-Length: 0\r\n";
    stream_->on_close([self = shared_from_this()] {
      self->parser_->finish();
      self->finish(Error{Code::kUnavailable, self->status_ == 0 ? "connection closed" : self->refusal()});
    });
    stream_->on_data([self = shared_from_this()](std::string_view bytes) { self->input(bytes); });
    stream_->write(head + "\r\n");
  }

 private:
  std::string refusal() const { return fmt::format("{} {}: {}", status_, status_text(status_), body_); }
  void input(std::string_view bytes) {
    size_t used = parser_->feed(bytes);
    if (parser_->state() != Http1Parser::State::kOk && parser_->state() != Http1Parser::State::kStopped) {
      return finish(Error{Code::kUnavailable, "malformed answer to the upgrade"});
    }
    if (status_ == 101) {
      return finish(preloaded(loop_, stream_, std::string(bytes.substr(used))));
    }
    if (complete_) finish(Error{Code::kUnavailable, refusal()});
  }
  Next on_head(Http1Head head) override {
    status_ = head.status;
    return status_ == 101 ? Next::kUpgrade : Next::kBody;
  }
  bool on_body(std::string_view bytes) override {
    if (body_.size() < 4096) body_ += bytes.substr(0, 4096 - body_.size());
    return true;
  }
  void on_complete() override { complete_ = true; }

  void finish(Result<std::shared_ptr<Stream>> result);

  UvLoop& loop_;
  std::shared_ptr<Stream> stream_;
  Done done_;
  std::unique_ptr<Http1Parser> parser_;
  Timer timer_;
  std::string body_;
  int status_ = 0;
  bool complete_ = false;
};

void Upgrading::finish(Result<std::shared_ptr<Stream>> result) {
  auto self = shared_from_this();
  auto done = std::exchange(done_, nullptr);
  if (!done) return;
  timer_.reset();
  stream_->on_data(nullptr);
  stream_->on_close(nullptr);
  if (!result.ok()) stream_->close();
  done(std::move(result));
}

/// For connections whose certificate nobody checks.
Result<TlsContext> any_tls() {
  static auto& context = *new Result<TlsContext>(client_tls({.insecure_skip_verify = true}));
  return context;
}

}  // namespace

void dial(UvLoop& loop, const DialOptions& options, std::function<void(Result<std::shared_ptr<Stream>>)> done) {
  auto fail = [&](Error error) { loop.post([done, error = std::move(error)] { done(error); }); };
  auto address = parse_address(options.address);
  if (!address.ok()) return fail(address.error());
  TlsContext tls;
  if (options.tls) {
    auto context = any_tls();
    if (!context.ok()) return fail(context.error());
    tls = *context;
  }
  std::make_shared<DialedStream>(loop, options.address)
      ->start(reinterpret_cast<const sockaddr*>(&*address), tls, options.timeout, std::move(done));
}

void upgrade(UvLoop& loop, UpgradeRequest request, std::function<void(Result<std::shared_ptr<Stream>>)> done) {
  auto to = request.to;
  dial(loop, to, [&loop, request = std::move(request), done = std::move(done)](Result<std::shared_ptr<Stream>> stream) {
    if (!stream.ok()) return done(stream.error());
    std::make_shared<Upgrading>(loop, *stream, done)->start(request);
  });
}

}  // namespace gantry::http
