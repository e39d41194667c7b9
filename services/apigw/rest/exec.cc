// pods/<name>/exec over WebSocket: messages are <channel byte><data> (0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize;
// 255 closes a channel in v5), as the v4.channel.k8s.io and v5.channel.k8s.io subprotocols define them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "services/apigw/render/render.h"
#include "services/apigw/rest/rest.h"
#include "services/apigw/sessions/pod_target.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr char kError = 3;

std::string exit_status(const bus::SessionEnd& end) {
  json status = {{"metadata", json::object()}};
  int code = end.exit_code.value_or(0);
  if (end.error.empty() && code == 0) {
    status["status"] = "Success";
  } else if (end.error.empty()) {
    status["status"] = "Failure";
    status["reason"] = "NonZeroExitCode";
    status["message"] = fmt::format("command terminated with non-zero exit code: exit status {}", code);
    status["details"] = {{"causes", json::array({{{"reason", "ExitCode"}, {"message", std::to_string(code)}}})}};
  } else {
    status["status"] = "Failure";
    status["reason"] = "InternalError";
    status["code"] = 500;
    status["message"] = end.error;
  }
  return status.dump(-1, ' ', false, json::error_handler_t::replace);
}

class Bridge : public std::enable_shared_from_this<Bridge> {
 public:
  Bridge(Loop& loop, http::Request request, std::shared_ptr<http::Responder> responder)
      : loop_(loop), request_(std::move(request)), responder_(std::move(responder)) {}

  void open(bus::Bus& bus, const PodTarget& target) {
    keep_ = shared_from_this();
    bus::Session::Callbacks callbacks;
    callbacks.data = [this](node::Channel channel, std::string_view data, bool end) { from_node(channel, data, end); };
    callbacks.closed = [this](const bus::SessionEnd& end) { node_closed(end); };
    callbacks.writable = [this] {
      if (socket_) socket_->resume();
    };
    bus::open_session(loop_, bus, target.node, target.request, std::move(callbacks),
                      [this, self = shared_from_this()](Result<std::unique_ptr<bus::Session>> session) {
                        // A refusal by the node travels on the error channel: to a failed upgrade kubectl answers with
                        // SPDY, and its user would read about that.
                        if (session.ok()) {
                          session_ = std::move(*session);
                        } else {
                          ended_ = bus::SessionEnd{.exit_code = std::nullopt, .error = session.error().message};
                        }
                        upgrade();
                      });
  }

 private:
  void upgrade() {
    std::string chosen;
    for (std::string_view known : {"v5.channel.k8s.io", "v4.channel.k8s.io"}) {
      for (auto offered : request_.websocket_protocols()) {
        if (chosen.empty() && offered == known) chosen = known;
      }
    }
    v5_ = chosen == "v5.channel.k8s.io";
    socket_ = responder_->upgrade_websocket(chosen);
    if (!socket_) return finish();
    socket_->on_message([this](std::string_view message, bool) { from_client(message); });
    socket_->on_close([this](uint16_t, std::string_view) { finish(); });
    for (auto& [channel, data] : std::exchange(early_, {})) send(channel, data);
    if (ended_) node_closed(*std::exchange(ended_, std::nullopt));
  }

  void from_client(std::string_view message) {
    if (finished_ || !session_ || message.empty()) return;
    auto channel = static_cast<uint8_t>(message[0]);
    message.remove_prefix(1);
    if (channel == 255 && v5_) {
      if (!message.empty() && message[0] == 0) session_->end(node::Channel::Stdin);
      return;
    }
    if (channel == 0 && !message.empty() && !session_->write(node::Channel::Stdin, message)) socket_->pause();
    if (channel == 4) session_->write(node::Channel::Resize, message);
  }

  void from_node(node::Channel channel, std::string_view data, bool) {
    if (finished_ || data.empty()) return;
    char id = static_cast<char>(channel);
    if (!socket_) {
      early_.emplace_back(id, std::string(data));
      return;
    }
    send(id, data);
  }

  void send(char channel, std::string_view data) {
    std::string message(1, channel);
    message += data;
    socket_->send_binary(message);
    owed_ += data.size();
    if (socket_->buffered() < http::kHighWater) return repay();
    socket_->on_drained([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->repay();
    });
  }

  void repay() {
    if (session_ && owed_ > 0) session_->consume(std::exchange(owed_, 0));
  }

  void node_closed(const bus::SessionEnd& end) {
    if (finished_) return;
    if (!socket_) {
      ended_ = end;
      return;
    }
    socket_->send_binary(std::string(1, kError) + exit_status(end));
    socket_->close(1000);
    finish();
  }

  void finish() {
    if (std::exchange(finished_, true)) return;
    loop_.post([self = shared_from_this()] {
      self->session_.reset();
      self->keep_.reset();
    });
  }

  Loop& loop_;
  http::Request request_;
  std::shared_ptr<http::Responder> responder_;
  std::shared_ptr<http::WebSocket> socket_;
  std::unique_ptr<bus::Session> session_;
  std::shared_ptr<Bridge> keep_;
  std::vector<std::pair<char, std::string>> early_;  // bounded by the credit that is not given back yet
  std::optional<bus::SessionEnd> ended_;
  size_t owed_ = 0;
  bool v5_ = false, finished_ = false;
};

}  // namespace

void start_exec(Loop& loop, Api& api, bus::Bus& bus, http::Request request, const Route& route,
                const Identity& identity, std::shared_ptr<http::Responder> responder) {
  const auto& query = request.query;
  auto flag = [&](const char* name, bool fallback) {
    const auto* value = query.find(name);
    return value == nullptr ? fallback : *value == "true" || *value == "1";
  };
  const bool websocket = request.is_upgrade && http::iequals(request.upgrade, "websocket");
  bus::SessionRequest options;
  options.kind = node::SessionKind::Exec;
  for (auto argument : query.all("command")) options.command.emplace_back(argument);
  options.in = flag("stdin", false);
  options.out = flag("stdout", false);
  options.err = flag("stderr", false);
  options.tty = flag("tty", false);
  options.ns = route.ns;
  options.pod = route.name;
  options.container = query.get("container");
  auto bridge = std::make_shared<Bridge>(loop, std::move(request), responder);
  find_pod_target(api, identity, options, [bridge, &bus, responder, websocket](Result<PodTarget> target) {
    if (!target.ok()) return send_failure(*responder, target.error());
    if (!websocket) return send_failure(*responder, {Code::kBadRequest, "Upgrade request required"});
    bridge->open(bus, *target);
  });
}

}  // namespace gantry::apigw
