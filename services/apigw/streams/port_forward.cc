// pods/portforward. Three forms: SPDY/3.1 streams (portforward.k8s.io), the same tunnelled in a WebSocket
// (SPDY/3.1+portforward.k8s.io), and the older WebSocket channels (v4.channel.k8s.io) with the ports in the query.
#include <fmt/format.h>

#include <charconv>

#include "libs/http/spdy.h"
#include "services/apigw/sessions/pod_target.h"
#include "services/apigw/streams/command_client.h"
#include "services/apigw/streams/port_pipes.h"
#include "services/apigw/streams/start.h"
#include "services/apigw/streams/websocket_channels.h"

namespace gantry::apigw {
namespace {

using http::SpdySession;

constexpr char kProtocol[] = "portforward.k8s.io";
constexpr char kTunnel[] = "SPDY/3.1+portforward.k8s.io";
constexpr Duration kPairTimeout = std::chrono::seconds(30);
constexpr size_t kMaxPipes = 500;
constexpr size_t kMaxPorts = 32;

std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

/// A data and an error stream with the same request id make a connection.
class SpdyForward final : public http::SpdyHandler,
                          private PortPipes::Client,
                          public std::enable_shared_from_this<SpdyForward> {
 public:
  SpdyForward(const StreamContext& context, PodTarget target)
      : loop_(context.loop), pipes_(context, std::move(target), *this) {}
  ~SpdyForward() {
    if (session_) session_->detach();
  }

  void start(std::shared_ptr<http::Stream> stream) {
    keep_ = shared_from_this();
    session_ = SpdySession::create(std::move(stream), SpdySession::Role::kServer, *this);
  }

 private:
  struct Pair {
    uint32_t data = 0, error = 0;
    uint16_t port = 0;
    std::string early;
    bool early_end = false;
    Timer timer;
  };

  void on_stream(uint32_t stream, const http::Headers& headers, bool fin) override {
    auto type = headers.get("streamtype");
    auto port = parse_port(headers.get("port"));
    bool is_data = type == "data";
    if ((!is_data && type != "error") || !port || pairs_.size() >= kMaxPipes) {
      return session_->reset(stream, SpdySession::kRefused);
    }
    std::string id(headers.get("requestid"));
    // Clients of old: the error stream comes first and its number is the request's.
    if (id.empty()) id = std::to_string(is_data ? stream - 2 : stream);
    auto& pair = pairs_[id];
    auto& slot = is_data ? pair.data : pair.error;
    if (slot != 0) return session_->reset(stream, SpdySession::kRefused);
    slot = stream;
    if (is_data) {
      pair.port = *port;
      pair.early_end = fin;
    }
    by_stream_[stream] = id;
    session_->reply(stream);
    if (pair.data == 0 || pair.error == 0) {
      pair.timer = loop_.after(kPairTimeout, [this, id] { forget(id, SpdySession::kCancel); });
      return;
    }
    pair.timer.reset();
    pipes_.open(pair.data, pair.port);
    if (!pair.early.empty() || pair.early_end) pipes_.input(pair.data, std::exchange(pair.early, {}), pair.early_end);
  }

  void on_data(uint32_t stream, std::string_view data, bool fin) override {
    session_->consume(stream, data.size());
    auto found = by_stream_.find(stream);
    if (found == by_stream_.end()) return;
    auto& pair = pairs_.at(found->second);
    if (pair.data != stream) return;  // the error stream is ours to write
    if (pair.error != 0) return pipes_.input(stream, data, fin);
    pair.early += data;
    pair.early_end |= fin;
    if (pair.early.size() > http::kHighWater) forget(std::string(found->second), SpdySession::kCancel);
  }

  void on_reset(uint32_t stream, uint32_t) override {
    auto found = by_stream_.find(stream);
    if (found == by_stream_.end()) return;
    if (pairs_.at(found->second).data == stream) forget(std::string(found->second), SpdySession::kCancel);
  }

  void on_drained() override { pipes_.drained(); }
  void on_closed(const std::string&) override { finish(); }

  void pipe_data(uint32_t pipe, std::string_view data) override { session_->write(pipe, data); }
  void pipe_end(uint32_t pipe) override {
    session_->finish(pipe);
    // kubectl waits for the error stream's end before it lets the connection go.
    if (auto* pair = find(pipe)) session_->finish(pair->error);
  }
  void pipe_failed(uint32_t pipe, const std::string& error) override {
    if (auto* pair = find(pipe)) session_->write(pair->error, error);
  }
  void pipe_closed(uint32_t pipe) override {
    auto* pair = find(pipe);
    if (pair == nullptr) return;
    session_->finish(pair->data);
    session_->finish(pair->error);
    by_stream_.erase(pair->error);
    auto id = by_stream_.extract(pipe);
    pairs_.erase(id.mapped());
  }
  size_t client_buffered() const override { return session_->buffered(); }
  void client_pause() override { session_->pause(); }
  void client_resume() override { session_->resume(); }

  Pair* find(uint32_t stream) {
    auto found = by_stream_.find(stream);
    return found == by_stream_.end() ? nullptr : &pairs_.at(found->second);
  }

  void forget(const std::string& id, uint32_t status) {
    auto pair = pairs_.extract(id);
    if (!pair) return;
    for (auto stream : {pair.mapped().data, pair.mapped().error}) {
      if (stream == 0) continue;
      by_stream_.erase(stream);
      session_->reset(stream, status);
    }
    if (pair.mapped().data != 0) pipes_.drop(pair.mapped().data);
    // Its timer may be on the stack.
    loop_.post([kept = std::make_shared<Pair>(std::move(pair.mapped()))] {});
  }

  void finish() {
    loop_.post([self = shared_from_this()] { self->keep_.reset(); });
  }

  Loop& loop_;
  std::shared_ptr<SpdySession> session_;
  std::map<std::string, Pair> pairs_;          // by request id
  std::map<uint32_t, std::string> by_stream_;  // request ids
  PortPipes pipes_;                            // numbered as their data streams
  std::shared_ptr<SpdyForward> keep_;
};

/// Port i has two channels: 2i for data and 2i + 1 for errors. Each says first which port it is, in two bytes, the
/// lower one first.
class WebSocketForward final : private PortPipes::Client, public std::enable_shared_from_this<WebSocketForward> {
 public:
  WebSocketForward(const StreamContext& context, PodTarget target, std::vector<uint16_t> ports)
      : loop_(context.loop), ports_(std::move(ports)), pipes_(context, std::move(target), *this) {}

  void start(std::shared_ptr<http::WebSocket> socket, bool base64) {
    keep_ = shared_from_this();
    socket_ = std::move(socket);
    base64_ = base64;
    for (size_t i = 0; i < ports_.size(); ++i) {
      char port[2] = {static_cast<char>(ports_[i] & 0xff), static_cast<char>(ports_[i] >> 8)};
      send(static_cast<uint8_t>(2 * i), {port, 2});
      send(static_cast<uint8_t>(2 * i + 1), {port, 2});
      pipes_.open(static_cast<uint32_t>(2 * i), ports_[i]);
    }
    socket_->on_close([this](uint16_t, std::string_view) { finish(); });
    socket_->on_message([this](std::string_view message, bool) {
      auto decoded = decode_channel(message, base64_);
      if (!decoded) {
        socket_->close(1002, "malformed message");
        return finish();
      }
      if (!decoded->data.empty()) pipes_.input(decoded->channel, decoded->data, false);
    });
  }

 private:
  void send(uint8_t channel, std::string_view data) {
    send_channel(*socket_, channel, data, base64_);
    if (waiting_ || socket_->buffered() < http::kHighWater) return;
    waiting_ = true;
    socket_->on_drained([this] {
      waiting_ = false;
      pipes_.drained();
    });
  }
  void pipe_data(uint32_t pipe, std::string_view data) override { send(static_cast<uint8_t>(pipe), data); }
  void pipe_end(uint32_t pipe) override {
    // This protocol cannot end a channel: with the last port's end the connection ends.
    pipes_.drop(pipe);
    pipe_closed(pipe);
  }
  void pipe_failed(uint32_t pipe, const std::string& error) override { send(static_cast<uint8_t>(pipe + 1), error); }
  void pipe_closed(uint32_t) override {
    if (pipes_.size() > 0) return;
    socket_->close(1000);
    finish();
  }
  size_t client_buffered() const override { return socket_->buffered(); }
  void client_pause() override { socket_->pause(); }
  void client_resume() override { socket_->resume(); }

  void finish() {
    loop_.post([self = shared_from_this()] { self->keep_.reset(); });
  }

  Loop& loop_;
  std::vector<uint16_t> ports_;
  std::shared_ptr<http::WebSocket> socket_;
  PortPipes pipes_;
  std::shared_ptr<WebSocketForward> keep_;
  bool base64_ = false, waiting_ = false;
};

Result<std::vector<uint16_t>> ports_of(const http::Query& query) {
  std::vector<uint16_t> ports;
  for (const char* name : {"ports", "port"}) {
    for (auto list : query.all(name)) {
      while (true) {
        auto comma = list.find(',');
        auto port = parse_port(list.substr(0, comma));
        if (!port) return Error{Code::kBadRequest, fmt::format("unable to parse \"{}\" as a port", list)};
        ports.push_back(*port);
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
      }
    }
  }
  if (ports.empty()) return Error{Code::kBadRequest, "query parameter \"port\" is required"};
  if (ports.size() > kMaxPorts)
    return Error{Code::kBadRequest, fmt::format("at most {} ports in one request", kMaxPorts)};
  return ports;
}

void serve(const StreamContext& context, const http::Request& request, http::Responder& responder, PodTarget target) {
  if (!request.is_upgrade) return refuse_stream(responder, {Code::kBadRequest, "Upgrade request required"});
  if (!http::iequals(request.upgrade, "websocket")) {
    auto protocol = negotiate_spdy(request, {kProtocol}, responder);
    if (protocol.empty()) return;
    auto stream = responder.hijack({{"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", protocol}});
    if (stream) std::make_shared<SpdyForward>(context, std::move(target))->start(std::move(stream));
    return;
  }
  auto offered = request.websocket_protocols();
  for (auto name : offered) {
    if (name != kTunnel) continue;
    auto stream = http::make_websocket_stream(responder.upgrade_websocket(kTunnel));
    if (stream) std::make_shared<SpdyForward>(context, std::move(target))->start(std::move(stream));
    return;
  }
  std::optional<std::string_view> chosen;
  if (offered.empty()) chosen = "";
  for (auto name : offered) {
    if (!chosen && (name == "v4.channel.k8s.io" || name == "v4.base64.channel.k8s.io")) chosen = name;
  }
  if (!chosen) {
    return responder.send(403, {{"Content-Type", "text/plain; charset=utf-8"}},
                          "the requested protocols are not supported\n");
  }
  auto ports = ports_of(request.query);
  if (!ports.ok()) return refuse_stream(responder, ports.error());
  auto socket = responder.upgrade_websocket(*chosen);
  if (!socket) return;
  std::make_shared<WebSocketForward>(context, std::move(target), std::move(*ports))
      ->start(std::move(socket), chosen->find("base64") != std::string_view::npos);
}

}  // namespace

void start_port_forward(const StreamContext& context, StreamRequest stream) {
  bus::SessionRequest options;
  options.kind = node::SessionKind::PortForward;
  options.ns = stream.ns;
  options.pod = stream.name;
  auto request = std::make_shared<http::Request>(std::move(stream.request));
  find_pod_target(context.api, stream.identity, options,
                  [context, request, responder = stream.responder](Result<PodTarget> target) {
                    if (!target.ok()) return refuse_stream(*responder, target.error());
                    serve(context, *request, *responder, std::move(*target));
                  });
}

}  // namespace gantry::apigw
