#include "libs/http/connection.h"

#include "libs/http/http1_server.h"
#include "libs/http/http2_server.h"

namespace gantry::http {
namespace {

constexpr uint64_t kLingerMs = 2000;  // how long a closing connection waits for the peer's own close
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0";

}  // namespace

ServerCore::Rejection ServerCore::rejection(int status, std::string_view message) {
  ++stats.refused;
  if (options.render_error) {
    auto [body, type] = options.render_error(status, message);
    Rejection out{status, {{"Content-Type", std::move(type)}}, std::move(body)};
    if (status == 503) out.headers.add("Retry-After", "1");  // clients come again only if told so
    return out;
  }
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, fmt::format("{}\n", message)};
}

Connection::Connection(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel)
    : core_(std::move(core)), channel_(std::move(channel)), accepted_at_(core_->io->now_ms()) {
  channel_->attach(this);
}

Connection::~Connection() {
  protocol_.reset();
  shut();
}

void Connection::shut() {
  channel_->detach();
  channel_->close();
}

Result<Request> Connection::make_request(std::string method, std::string target, Headers headers,
                                         Version version) const {
  // A proxy's absolute form means the same as the origin form with its Host.
  if (target.starts_with("http://") || target.starts_with("https://")) {
    size_t path = target.find('/', target.find("//") + 2);
    target = path == std::string::npos ? "/" : target.substr(path);
  }
  if (target.empty() || (target[0] != '/' && target != "*")) {
    return Error{Code::kBadRequest, "the request target must be a path"};
  }
  Request request;
  size_t mark = target.find('?');
  request.raw_path = target.substr(0, mark);
  auto path = percent_decode(request.raw_path);
  if (!path) return Error{Code::kBadRequest, "broken percent escape in the path " + request.raw_path};
  request.path = std::move(*path);
  if (mark != std::string::npos) {
    auto query = Query::parse(std::string_view(target).substr(mark + 1));
    if (!query) return query.error();
    request.query = std::move(*query);
  }
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers = std::move(headers);
  request.peer = peer_;
  request.remote_address = remote_address_;
  request.version = version;
  request.secure = channel_->ssl() != nullptr;
  return request;
}

void Connection::dispatch(Request request, const std::shared_ptr<Responder>& responder) {
  ++core_->stats.requests;
  ++core_->stats.active;
  std::string what = fmt::format("{} {}", request.method, request.target);
  try {
    core_->handler(std::move(request), responder);
  } catch (const std::exception& error) {
    LOG(ERROR) << "request=\"" << what << "\" the handler threw: " << error.what();
    auto [status, headers, body] = core_->rejection(500, "internal error");
    responder->send(status, std::move(headers), std::move(body));
  }
}

void Connection::on_ready(std::string_view alpn) {
  remote_address_ = channel_->remote_address();
  if (channel_->ssl() == nullptr) return;  // the first bytes tell
  peer_ = peer_certificate(channel_->ssl());
  if (alpn == "h2") {
    protocol_ = std::make_unique<Http2Server>(*this);
  } else {
    protocol_ = std::make_unique<Http1Server>(*this);
  }
  if (core_->draining) protocol_->drain();
}

void Connection::on_bytes(std::string_view bytes) {
  if (!protocol_) {
    if (bytes.starts_with(kHttp2Preface)) {
      protocol_ = std::make_unique<Http2Server>(*this);
    } else {
      protocol_ = std::make_unique<Http1Server>(*this);
    }
  }
  protocol_->on_bytes(bytes);
}

void Connection::on_fill() {
  if (protocol_) protocol_->on_fill();
}

void Connection::on_writable() {
  if (protocol_) protocol_->on_writable();
}

void Connection::on_eof() {
  if (protocol_) return protocol_->on_eof();
  channel_->close();
}

void Connection::on_closed() {
  auto self = shared_from_this();
  if (channel_->ssl() != nullptr && !channel_->ready()) {
    ++core_->stats.handshake_failures;
    VLOG(1) << "peer=" << remote_address_ << " no TLS: " << channel_->error();
  }
  if (protocol_) protocol_->on_gone();
  core_->connections.erase(position);
  core_->io->bury(self);
  if (core_->on_connection_closed) core_->on_connection_closed();
}

void Connection::check(uint64_t now_ms) {
  if (channel_->closed()) return;
  auto over = [now_ms](uint64_t since, std::chrono::milliseconds limit) {
    return now_ms > since + static_cast<uint64_t>(limit.count());
  };
  if (uint64_t since = channel_->stalled_since_ms(); since != 0 && over(since, core_->options.write_timeout)) {
    ++core_->stats.refused;
    return channel_->close("the peer takes no output");
  }
  if (uint64_t since = channel_->shut_since_ms(); since != 0) {
    if (now_ms > since + kLingerMs) channel_->close();
    return;
  }
  if (channel_->closing()) return;
  if (protocol_) return protocol_->check(now_ms);
  if (over(accepted_at_, core_->options.header_timeout)) {
    ++core_->stats.refused;
    channel_->close("no request in time");
  }
}

void Connection::drain() {
  if (protocol_) return protocol_->drain();
  if (channel_->ready()) channel_->close_gracefully();
}

}  // namespace gantry::http
