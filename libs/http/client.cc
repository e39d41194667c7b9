#include "libs/http/client.h"

#include <http_parser.h>
#include <netdb.h>

#include "libs/http/channel.h"
#include "libs/http/http1_parser.h"

namespace gantry::http {
namespace {

constexpr size_t kMaxResponseHead = 256 * 1024;

struct Url {
  bool secure = false;
  std::string host, port, authority, target;
};

Result<Url> parse_url(const std::string& text) {
  http_parser_url parsed;
  http_parser_url_init(&parsed);
  Error error{Code::kInvalid, fmt::format("\"{}\" is no http:// or https:// URL", text)};
  if (http_parser_parse_url(text.data(), text.size(), 0, &parsed) != 0) return error;
  auto part = [&](http_parser_url_fields field) {
    return (parsed.field_set & (1 << field)) == 0
               ? std::string()
               : text.substr(parsed.field_data[field].off, parsed.field_data[field].len);
  };
  Url url;
  std::string scheme = part(UF_SCHEMA);
  if (!iequals(scheme, "http") && !iequals(scheme, "https")) return error;
  url.secure = iequals(scheme, "https");
  url.host = part(UF_HOST);
  if (url.host.empty()) return error;
  url.port = part(UF_PORT);
  bool v6 = url.host.find(':') != std::string::npos;
  url.authority = v6 ? fmt::format("[{}]", url.host) : url.host;
  if (!url.port.empty()) url.authority += ":" + url.port;
  if (url.port.empty()) url.port = url.secure ? "443" : "80";
  url.target = part(UF_PATH);
  if (url.target.empty()) url.target = "/";
  if ((parsed.field_set & (1 << UF_QUERY)) != 0) url.target += "?" + part(UF_QUERY);
  return url;
}

using DoneCallback = std::function<void(Result<Response>)>;

class HttpCall final : public ChannelHandler, private Http1Sink, public std::enable_shared_from_this<HttpCall> {
 public:
  HttpCall(std::shared_ptr<IoContext> io, TlsContext tls, ClientRequest request, DoneCallback done)
      : io_(std::move(io)), tls_(std::move(tls)), request_(std::move(request)), done_(std::move(done)) {}

  ~HttpCall() { drop_channel(); }

  void cancel() {
    deadline_.reset();
    drop_channel();
    auto done = std::exchange(done_, nullptr);
  }

  void start() {
    if (request_.deadline.count() > 0) {
      deadline_ = io_->loop().after(request_.deadline, [this] { fail(Code::kTimeout, "no complete answer in time"); });
    }
    auto url = parse_url(request_.url);
    if (!url) {
      auto weak = weak_from_this();
      io_->loop().post([weak, error = url.error()] {
        if (auto self = weak.lock()) self->finish(error);
      });
      return;
    }
    url_ = std::move(*url);
    resolve();
  }

 private:
  struct Lookup {
    uv_getaddrinfo_t request;
    std::weak_ptr<HttpCall> call;
  };

  void resolve() {
    auto* lookup = new Lookup{{}, weak_from_this()};
    lookup->request.data = lookup;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    int rc = uv_getaddrinfo(
        io_->raw(), &lookup->request,
        [](uv_getaddrinfo_t* done, int status, addrinfo* found) {
          std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(done->data));
          if (auto self = lookup->call.lock()) {
            if (status != 0) {
              self->fail(Code::kUnavailable, uv_strerror(status));
            } else {
              self->connect(found->ai_addr);
            }
          }
          uv_freeaddrinfo(found);
        },
        url_.host.c_str(), url_.port.c_str(), &hints);
    if (rc != 0) {
      delete lookup;
      io_->loop().post([weak = weak_from_this(), rc] {
        if (auto self = weak.lock()) self->fail(Code::kUnavailable, uv_strerror(rc));
      });
    }
  }

  void connect(const sockaddr* address) {
    if (!done_) return;
    parser_ = Http1Parser::create(Http1Parser::Kind::kResponse, kMaxResponseHead, *this);
    channel_ = Channel::create(io_);
    channel_->attach(this);
    channel_->connect(address, url_.secure ? tls_ : nullptr, url_.secure ? url_.host : std::string());
  }

  void on_ready(std::string_view) override {
    std::string head = fmt::format("{} {} HTTP/1.1\r\n", request_.method, url_.target);
    auto line = [&](std::string_view name, std::string_view value) {
      fmt::format_to(std::back_inserter(head), "{}: {}\r\n", name, value);
    };
    if (!request_.headers.has("Host")) line("Host", url_.authority);
    for (const auto& [name, value] : request_.headers) line(name, value);
    if (!request_.headers.has("Connection")) line("Connection", "close");
    bool body =
        !request_.body.empty() || request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH";
    if (body && !request_.headers.has("Transfer-Encoding"))
      line("Content-Length", std::to_string(request_.body.size()));
    head += "\r\n";
    sent_ = true;
    channel_->write(head);
    channel_->write(request_.body);
  }

  void on_bytes(std::string_view bytes) override {
    auto self = shared_from_this();
    while (!bytes.empty() && done_ && !complete_) {
      size_t used = parser_->feed(bytes);
      bytes.remove_prefix(used);
      if (!done_) return;  // cancelled or failed in a callback
      if (parser_->state() != Http1Parser::State::kOk) {
        return fail(Code::kUnknownOutcome, fmt::format("malformed answer: {}", parser_->error()));
      }
      if (used == 0) break;
      if (complete_ && response_.status < 200 &&
          response_.status != 101) {  // 100 Continue: the answer is still to come
        complete_ = false;
        response_ = {};
      }
    }
    if (complete_) finish(std::move(response_));
  }

  void on_eof() override {
    auto self = shared_from_this();
    if (!done_) return;
    parser_->finish();
    if (complete_) return finish(std::move(response_));
    fail(Code::kUnknownOutcome, "the connection ended before the answer did");
  }

  void on_closed() override {
    auto self = shared_from_this();
    fail(sent_ ? Code::kUnknownOutcome : Code::kUnavailable, channel_->error());
  }

  Next on_head(Http1Head head) override {
    response_.status = head.status;
    response_.headers = std::move(head.headers);
    if (head.status >= 200 && request_.on_head) request_.on_head(response_.status, response_.headers);
    if (!done_) return Next::kStop;
    return request_.method == "HEAD" ? Next::kNoBody : Next::kBody;
  }

  bool on_body(std::string_view bytes) override {
    if (request_.on_data) {
      request_.on_data(bytes);
      return static_cast<bool>(done_);
    }
    if (response_.body.size() + bytes.size() > request_.max_body_bytes) {
      fail(Code::kTooLarge, fmt::format("the answer exceeds {} bytes", request_.max_body_bytes));
      return false;
    }
    response_.body += bytes;
    return true;
  }

  void on_complete() override { complete_ = true; }

  void fail(Code code, std::string_view why) {
    finish(Error{code, fmt::format("{} {}: {}", request_.method, request_.url, why)});
  }

  void finish(Result<Response> result) {
    if (!done_) return;
    auto self = shared_from_this();
    deadline_.reset();
    drop_channel();
    auto done = std::exchange(done_, nullptr);
    done(std::move(result));
  }

  void drop_channel() {
    if (!channel_) return;
    channel_->detach();
    channel_->close();
  }

  std::shared_ptr<IoContext> io_;
  TlsContext tls_;
  ClientRequest request_;
  DoneCallback done_;  // null once called
  Url url_;
  Timer deadline_;
  std::shared_ptr<Channel> channel_;
  std::unique_ptr<Http1Parser> parser_;
  Response response_;
  bool sent_ = false, complete_ = false;
};

/// What the caller holds; the call itself may be on the stack when this goes.
class Handle final : public Call {
 public:
  explicit Handle(std::shared_ptr<HttpCall> call) : call_(std::move(call)) {}
  ~Handle() override { call_->cancel(); }

 private:
  std::shared_ptr<HttpCall> call_;
};

class UvClient final : public Client {
 public:
  UvClient(UvLoop& loop, TlsContext tls) : io_(IoContext::create(loop)), tls_(std::move(tls)) {}

  std::shared_ptr<Call> call(ClientRequest request, DoneCallback done) override {
    auto call = std::make_shared<HttpCall>(io_, tls_, std::move(request), std::move(done));
    call->start();
    return std::make_shared<Handle>(std::move(call));
  }

 private:
  std::shared_ptr<IoContext> io_;
  TlsContext tls_;
};

}  // namespace

Result<std::shared_ptr<Client>> Client::create(UvLoop& loop, const ClientOptions& options) {
  auto tls = client_tls({options.ca_file, options.cert_file, options.key_file, options.insecure_skip_verify});
  if (!tls) return tls.error();
  return std::shared_ptr<Client>(std::make_shared<UvClient>(loop, std::move(*tls)));
}

}  // namespace gantry::http
