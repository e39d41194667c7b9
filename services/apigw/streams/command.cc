// pods/exec and pods/attach: a client's channels joined to a session with the pod's node.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "services/apigw/sessions/pod_target.h"
#include "services/apigw/streams/command_client.h"
#include "services/apigw/streams/start.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr Duration kLinger = std::chrono::seconds(5);  // for a client to read the end

struct Ended {
  std::string status, text;  // text: empty for success
};

/// How a command ended, as kubectl reads it.
Ended describe(const bus::SessionEnd& end) {
  json status = {{"metadata", json::object()}};
  std::string text;
  int code = end.exit_code.value_or(0);
  if (end.error.empty() && code == 0) {
    status["status"] = "Success";
  } else if (end.error.empty()) {
    text = fmt::format("command terminated with non-zero exit code: exit status {}", code);
    status["status"] = "Failure";
    status["reason"] = "NonZeroExitCode";
    status["message"] = text;
    status["details"] = {{"causes", json::array({{{"reason", "ExitCode"}, {"message", std::to_string(code)}}})}};
  } else {
    text = end.error;
    status["status"] = "Failure";
    status["reason"] = "InternalError";
    status["code"] = 500;
    status["message"] = "Internal error occurred: " + end.error;
    status["details"] = {{"causes", json::array({{{"message", end.error}}})}};
  }
  return {status.dump(-1, ' ', false, json::error_handler_t::replace), text};
}

class CommandBridge : public std::enable_shared_from_this<CommandBridge> {
 public:
  explicit CommandBridge(const StreamContext& context) : context_(context) {}

  void start(const http::Request& request, std::shared_ptr<http::Responder> responder, PodTarget target) {
    keep_ = shared_from_this();
    target_ = std::move(target);
    const auto& r = target_.request;
    accept_command(context_.loop, request, std::move(responder), {r.in, r.out, r.err, r.tty},
                   [self = shared_from_this()](std::unique_ptr<CommandClient> client) {
                     if (!client) return self->finish();
                     self->client_ = std::move(client);
                     self->open();
                   });
  }

 private:
  void open() {
    bus::Session::Callbacks callbacks;
    callbacks.data = [this](node::Channel channel, std::string_view data, bool) { from_node(channel, data); };
    callbacks.closed = [this](const bus::SessionEnd& end) { node_closed(end); };
    callbacks.writable = [this] {
      if (!finished_) client_->resume();
    };
    bus::open_session(context_.loop, context_.bus, target_.node, target_.request, std::move(callbacks),
                      [this, self = shared_from_this()](Result<std::unique_ptr<bus::Session>> session) {
                        if (!session.ok()) {
                          // On the error channel: a failed upgrade sends kubectl to its other protocol.
                          return node_closed({.exit_code = std::nullopt, .error = dial_error(session.error())});
                        }
                        session_ = std::move(*session);
                        join();
                      });
  }

  void join() {
    CommandClient::Callbacks callbacks;
    callbacks.input = [this](node::Channel channel, std::string_view data, bool end) {
      if (finished_ || ended_ || !session_) return;
      if (!data.empty() && !session_->write(channel, data)) client_->pause();
      if (end && target_.request.in) session_->end(channel);
    };
    callbacks.drained = [this] { repay(); };
    callbacks.gone = [this] { finish(); };
    client_->start(std::move(callbacks));
    if (owed_ > 0) repay();
  }

  void from_node(node::Channel channel, std::string_view data) {
    if (finished_ || data.empty()) return;
    if (channel == node::Channel::Stdout || channel == node::Channel::Stderr) client_->send(channel, data);
    owed_ += data.size();
    if (client_->buffered() < http::kHighWater) repay();
  }

  void repay() {
    if (session_ && owed_ > 0) session_->consume(std::exchange(owed_, 0));
  }

  void node_closed(const bus::SessionEnd& end) {
    if (finished_ || ended_) return;
    auto ended = describe(end);
    bool over = client_->finish(ended.status, ended.text);
    context_.loop.post([self = shared_from_this()] { self->session_.reset(); });
    if (over) return finish();
    ended_ = true;
    linger_ = context_.loop.after(kLinger, [this] { finish(); });
  }

  void finish() {
    if (std::exchange(finished_, true)) return;
    linger_.reset();
    context_.loop.post([self = shared_from_this()] {
      self->session_.reset();
      self->client_.reset();
      self->keep_.reset();
    });
  }

  StreamContext context_;
  PodTarget target_;
  std::unique_ptr<CommandClient> client_;
  std::unique_ptr<bus::Session> session_;
  std::shared_ptr<CommandBridge> keep_;
  size_t owed_ = 0;
  Timer linger_;
  bool ended_ = false, finished_ = false;
};

}  // namespace

void start_command(const StreamContext& context, StreamRequest stream) {
  const auto& query = stream.request.query;
  const bool attach = stream.subresource == "attach";
  auto flag = [&](const char* name, bool fallback) {
    const auto* value = query.find(name);
    return value == nullptr ? fallback : *value == "true" || *value == "1" || *value == "True";
  };
  bus::SessionRequest options;
  options.kind = attach ? node::SessionKind::Attach : node::SessionKind::Exec;
  if (!attach) {
    for (auto argument : query.all("command")) options.command.emplace_back(argument);
  }
  options.in = flag("stdin", false);
  options.out = flag("stdout", attach);
  options.err = flag("stderr", attach);
  options.tty = flag("tty", false);
  options.ns = stream.ns;
  options.pod = stream.name;
  options.container = query.get("container");
  auto request = std::make_shared<http::Request>(std::move(stream.request));
  find_pod_target(context.api, stream.identity, options,
                  [context, request, responder = stream.responder](Result<PodTarget> target) {
                    if (!target.ok()) return refuse_stream(*responder, target.error());
                    if (!request->is_upgrade) {
                      return refuse_stream(*responder, {Code::kBadRequest, "Upgrade request required"});
                    }
                    std::make_shared<CommandBridge>(context)->start(*request, responder, std::move(*target));
                  });
}

}  // namespace gantry::apigw
