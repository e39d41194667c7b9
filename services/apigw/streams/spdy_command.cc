// A SPDY stream for each channel, told apart by the header streamType: error, stdin, stdout, stderr, resize (from v3
// on).
#include <fmt/format.h>

#include "libs/http/spdy.h"
#include "services/apigw/streams/command_client.h"

namespace gantry::apigw {
namespace {

using http::SpdySession;
using node::Channel;

constexpr Duration kStreamsTimeout = std::chrono::seconds(30);
constexpr size_t kMaxEarly = 256 * 1024;
constexpr size_t kMaxResize = 1024;

class SpdyCommand final : public CommandClient, public http::SpdyHandler {
 public:
  using Ready = std::function<void(SpdyCommand*)>;

  SpdyCommand(Loop& loop, std::shared_ptr<http::Stream> stream, CommandChannels channels, bool resizes, bool json)
      : loop_(loop), json_status_(json) {
    expected_.insert(Channel::Error);
    if (channels.in) expected_.insert(Channel::Stdin);
    if (channels.out) expected_.insert(Channel::Stdout);
    if (channels.err && !channels.tty) expected_.insert(Channel::Stderr);
    if (channels.tty && resizes) expected_.insert(Channel::Resize);
    session_ = SpdySession::create(std::move(stream), SpdySession::Role::kServer, *this);
  }
  ~SpdyCommand() override {
    if (!session_) return;
    session_->detach();
    session_->close();
  }

  /// `ready` once: this when the streams have come, null when they do not. Until then this keeps itself.
  void await_streams(Ready ready) {
    ready_ = std::move(ready);
    timer_ = loop_.after(kStreamsTimeout, [this] {
      session_->close();
      give_up();
    });
  }

  void start(Callbacks callbacks) override {
    callbacks_ = std::move(callbacks);
    loop_.post([this, alive = std::weak_ptr(alive_)] {
      if (alive.expired()) return;
      if (gone_) return callbacks_.gone();
      for (auto& [channel, data, end] : std::exchange(early_, {})) {
        if (alive.expired()) return;
        callbacks_.input(channel, data, end);
      }
      if (alive.expired()) return;
      started_ = true;
      if (!paused_) session_->resume();
    });
  }

  void send(Channel channel, std::string_view data) override {
    if (auto found = streams_.find(channel); found != streams_.end()) session_->write(found->second, data);
  }

  bool finish(const std::string& status, const std::string& text) override {
    const auto& message = json_status_ ? status : text;
    session_->write(streams_[Channel::Error], message);
    for (const auto& [_, stream] : streams_) session_->finish(stream);
    // The client closes when it has read it all. Kubernetes' library may lose what it has not read when we go first.
    return false;
  }

  size_t buffered() const override { return session_->buffered(); }
  void pause() override {
    paused_ = true;
    session_->pause();
  }
  void resume() override {
    paused_ = false;
    session_->resume();
  }

 private:
  void on_stream(uint32_t stream, const http::Headers& headers, bool fin) override {
    static const std::map<std::string_view, Channel> kTypes = {{"error", Channel::Error},
                                                               {"stdin", Channel::Stdin},
                                                               {"stdout", Channel::Stdout},
                                                               {"stderr", Channel::Stderr},
                                                               {"resize", Channel::Resize}};
    auto type = kTypes.find(headers.get("streamtype"));
    if (type == kTypes.end() || !expected_.contains(type->second) || streams_.contains(type->second)) {
      return session_->reset(stream, SpdySession::kRefused);
    }
    streams_[type->second] = stream;
    session_->reply(stream);
    if (fin && type->second == Channel::Stdin) pass(Channel::Stdin, {}, true);
    if (streams_.size() < expected_.size() || !ready_) return;
    timer_.reset();
    auto ready = std::exchange(ready_, nullptr);
    ready(this);
  }

  void on_data(uint32_t stream, std::string_view data, bool fin) override {
    session_->consume(stream, data.size());
    if (auto in = streams_.find(Channel::Stdin); in != streams_.end() && in->second == stream)
      return pass(Channel::Stdin, data, fin);
    if (auto size = streams_.find(Channel::Resize); size != streams_.end() && size->second == stream) resized(data);
  }

  /// Sizes come as JSON objects one after another, cut anywhere.
  void resized(std::string_view data) {
    resize_ += data;
    auto alive = std::weak_ptr(alive_);
    for (size_t end; !alive.expired() && (end = resize_.find('}')) != std::string::npos;) {
      std::string object = resize_.substr(0, end + 1);
      resize_.erase(0, end + 1);
      pass(Channel::Resize, object, false);
    }
    if (!alive.expired() && resize_.size() > kMaxResize) resize_.clear();
  }

  void pass(Channel channel, std::string_view data, bool end) {
    if (started_) return callbacks_.input(channel, data, end);
    early_size_ += data.size();
    early_.emplace_back(channel, std::string(data), end);
    if (early_size_ > kMaxEarly) session_->pause();
  }

  void on_reset(uint32_t stream, uint32_t) override {
    if (auto in = streams_.find(Channel::Stdin); in != streams_.end() && in->second == stream)
      pass(Channel::Stdin, {}, true);
  }
  void on_drained() override {
    if (callbacks_.drained) callbacks_.drained();
  }
  void on_closed(const std::string& error) override {
    if (!error.empty()) VLOG(1) << "spdy client: " << error;
    gone_ = true;
    if (ready_) return give_up();
    if (callbacks_.gone && started_) callbacks_.gone();
  }
  void give_up() {
    timer_.reset();
    auto ready = std::exchange(ready_, nullptr);
    if (ready) ready(nullptr);
  }

  Loop& loop_;
  bool json_status_;
  std::set<Channel> expected_;
  std::map<Channel, uint32_t> streams_;
  std::shared_ptr<SpdySession> session_;
  Ready ready_;
  Callbacks callbacks_;
  Timer timer_;
  std::vector<std::tuple<Channel, std::string, bool>> early_;
  size_t early_size_ = 0;
  std::string resize_;
  bool started_ = false, paused_ = false, gone_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::string negotiate_spdy(const http::Request& request, const std::vector<std::string>& known,
                           http::Responder& responder) {
  constexpr const char* kHeader = "X-Stream-Protocol-Version";
  auto offered = request.headers.list(kHeader);
  for (auto name : offered) {
    if (std::find(known.begin(), known.end(), name) != known.end()) return std::string(name);
  }
  http::Headers headers{{"Content-Type", "text/plain; charset=utf-8"}};
  if (offered.empty()) {
    responder.send(400, std::move(headers), fmt::format("unable to upgrade: {} header is required\n", kHeader));
    return {};
  }
  for (const auto& name : known) headers.add("X-Accepted-Stream-Protocol-Versions", name);
  responder.send(403, std::move(headers),
                 fmt::format("unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts "
                             "[{}]\n",
                             fmt::join(offered, " "), fmt::join(known, " ")));
  return {};
}

void accept_spdy_command(Loop& loop, const http::Request& request, http::Responder& responder, CommandChannels channels,
                         std::function<void(std::unique_ptr<CommandClient>)> done) {
  auto protocol = negotiate_spdy(
      request, {"v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"},
      responder);
  if (protocol.empty()) return done(nullptr);
  auto stream = responder.hijack({{"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", protocol}});
  if (!stream) return done(nullptr);
  bool json = protocol.starts_with("v5") || protocol.starts_with("v4");
  auto client = std::make_shared<std::unique_ptr<SpdyCommand>>(
      std::make_unique<SpdyCommand>(loop, std::move(stream), channels, json || protocol.starts_with("v3"), json));
  (*client)->await_streams([client, done = std::move(done), &loop](SpdyCommand* ready) {
    if (ready != nullptr) return done(std::move(*client));
    done(nullptr);
    loop.post([client] { client->reset(); });
  });
}

void accept_command(Loop& loop, const http::Request& request, std::shared_ptr<http::Responder> responder,
                    CommandChannels channels, std::function<void(std::unique_ptr<CommandClient>)> done) {
  if (http::iequals(request.upgrade, "websocket")) {
    return accept_websocket_command(loop, request, *responder, channels, std::move(done));
  }
  accept_spdy_command(loop, request, *responder, channels, std::move(done));
}

}  // namespace gantry::apigw
