// proxy of pods, services and nodes: the request goes on over a session to a node, which dials the target; the answer
// streams back, an upgrade is passed through.
#include <fmt/format.h>

#include "libs/http/exchange.h"
#include "services/apigw/render/render.h"
#include "services/apigw/streams/proxy_headers.h"
#include "services/apigw/streams/proxy_target.h"
#include "services/apigw/streams/session_stream.h"
#include "services/apigw/streams/start.h"

namespace gantry::apigw {
namespace {

std::string verb_of(const std::string& method) {
  if (method == "GET" || method == "HEAD" || method == "OPTIONS") return "get";
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return "";
}

/// Absolute, with everything escaped but its slashes.
std::string encoded_path(std::string_view path) {
  std::string out = path.starts_with('/') ? "" : "/";
  for (const char& c : path) out += c == '/' ? "/" : http::percent_encode({&c, 1});
  return out;
}

class Proxy : public std::enable_shared_from_this<Proxy> {
 public:
  Proxy(const StreamContext& context, StreamRequest stream) : context_(context), stream_(std::move(stream)) {}

  void start() {
    const auto& request = stream_.request;
    auto verb = verb_of(request.method);
    if (verb.empty()) {
      return refuse({Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"});
    }
    Attributes asked;
    asked.verb = verb;
    asked.resource = stream_.resource;
    asked.subresource = "proxy";
    asked.ns = stream_.ns;
    asked.name = stream_.name;
    if (auto allowed = context_.api.authorize(stream_.identity, asked); !allowed.ok()) return refuse(allowed.error());
    paths_ = split_proxy_path(request.target);
    // Without a path behind it, one in the query, as typed clients send it.
    if (const auto path = request.query.get("path"); paths_.path.empty() && !path.empty())
      paths_.path = encoded_path(path);
    if (paths_.path.empty() && !request.is_upgrade && (request.method == "GET" || request.method == "HEAD")) {
      // So that relative links on the page lead on through the proxy.
      return stream_.responder->send(301, {{"Location", paths_.prefix + "/" + paths_.query}}, "");
    }
    find_proxy_target(context_.api, stream_.resource, stream_.ns, stream_.name,
                      [self = shared_from_this()](Result<ProxyTarget> target) {
                        if (!target.ok()) return self->refuse(target.error());
                        self->dial(std::move(*target));
                      });
  }

 private:
  void dial(ProxyTarget target) {
    target_ = std::move(target);
    bus::SessionRequest session;
    session.kind = node::SessionKind::PortForward;
    session.address = target_.address;
    session.tls = target_.tls;
    open_session_stream(context_.loop, context_.bus, target_.node, session,
                        [self = shared_from_this()](Result<std::shared_ptr<http::Stream>> connection) {
                          if (!connection.ok()) return self->unreachable(connection.error());
                          self->send(std::move(*connection));
                        });
  }

  void send(std::shared_ptr<http::Stream> connection) {
    auto& request = stream_.request;
    http::ClientExchange::Message message;
    message.method = request.method;
    message.target = (paths_.path.empty() ? "/" : paths_.path) + paths_.query;
    message.headers = forwarded_headers(request, target_.host);
    message.body = std::move(request.body);
    http::ClientExchange::Callbacks callbacks;
    callbacks.head = [this](int status, http::Headers headers) { head(status, std::move(headers)); };
    callbacks.data = [this](std::string_view bytes) { data(bytes); };
    callbacks.end = [this](const Status& status) { end(status); };
    callbacks.upgraded = [this](http::Headers headers, std::shared_ptr<http::Stream> peer) {
      upgraded(std::move(headers), std::move(peer));
    };
    keep_ = shared_from_this();
    stream_.responder->on_close([this] { finish(); });
    exchange_ = http::ClientExchange::start(context_.loop, std::move(connection), message, std::move(callbacks));
  }

  void head(int status, http::Headers headers) {
    if (finished_) return;
    answered_ = true;
    bool finite = headers.has("Content-Length");
    auto answer = returned_headers(headers, stream_.request, target_, paths_);
    if (status == 204 || status == 304) return stream_.responder->send(status, std::move(answer), "");  // no body
    stream_.responder->start(status, std::move(answer), finite ? http::Length::kFinite : http::Length::kEndless);
  }

  void data(std::string_view bytes) {
    if (finished_) return;
    stream_.responder->write(bytes);
    if (waiting_ || stream_.responder->buffered() < http::kHighWater) return;
    waiting_ = true;
    exchange_->pause();
    stream_.responder->on_drained([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->finished_) return;
      self->waiting_ = false;
      self->exchange_->resume();
    });
  }

  void end(const Status& status) {
    if (finished_) return;
    if (status.ok()) {
      stream_.responder->end();
    } else if (answered_) {
      stream_.responder->abort();
    } else {
      unreachable(status.error());
    }
    finish();
  }

  void upgraded(http::Headers headers, std::shared_ptr<http::Stream> peer) {
    if (finished_) return;
    headers.remove("Connection");
    auto mine = stream_.responder->hijack(std::move(headers));
    if (mine) {
      http::join_streams(mine, std::move(peer));
    } else {
      peer->close();
    }
    finish();
  }

  void refuse(const Error& error) {
    stream_.responder->send(http_status(error.code), {{"Content-Type", "application/json"}}, status_json(error));
  }
  void unreachable(const Error& error) {
    refuse({Code::kUnavailable, fmt::format("error trying to reach service: {}", error.message)});
  }
  void finish() {
    if (std::exchange(finished_, true)) return;
    context_.loop.post([self = shared_from_this()] {
      self->exchange_.reset();
      self->keep_.reset();
    });
  }

  StreamContext context_;
  StreamRequest stream_;
  ProxyPaths paths_;
  ProxyTarget target_;
  std::shared_ptr<http::ClientExchange> exchange_;
  std::shared_ptr<Proxy> keep_;
  bool answered_ = false, waiting_ = false, finished_ = false;
};

}  // namespace

void start_proxy(const StreamContext& context, StreamRequest stream) {
  std::make_shared<Proxy>(context, std::move(stream))->start();
}

}  // namespace gantry::apigw
