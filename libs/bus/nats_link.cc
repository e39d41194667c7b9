#include "libs/bus/nats_link.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "libs/bus/identity.h"

namespace gantry::bus {
namespace {

using Json = nlohmann::json;

constexpr Duration kConnectTimeout = std::chrono::seconds(5);
constexpr Duration kPingInterval = std::chrono::seconds(10);
constexpr int kSilence = 2;  // ping intervals
constexpr size_t kReadSize = 256 << 10;
constexpr size_t kWriteSize = 1 << 20;  // handed to the socket at once: bounds what TLS holds twice

std::string tls_error() {
  char text[256] = "TLS failed";
  if (auto code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

/// The text between the BEGIN line that names `what` and the END line.
std::string section(const std::string& file, std::string_view what) {
  auto begin = file.find(fmt::format("BEGIN {}", what));
  if (begin == std::string::npos) return {};
  begin = file.find('\n', begin);
  auto end = file.find("---", begin);
  if (begin == std::string::npos || end == std::string::npos) return {};
  std::string text;
  for (char c : file.substr(begin, end - begin)) {
    if (c > ' ') text += c;
  }
  return text;
}

bool parse_ip(const std::string& host, const std::string& port, sockaddr_storage& address) {
  int number = std::atoi(port.c_str());
  return uv_ip4_addr(host.c_str(), number, reinterpret_cast<sockaddr_in*>(&address)) == 0 ||
         uv_ip6_addr(host.c_str(), number, reinterpret_cast<sockaddr_in6*>(&address)) == 0;
}

}  // namespace

struct NatsLink::WriteRequest {
  uv_write_t request;
  std::string bytes;
};

std::shared_ptr<NatsLink> NatsLink::open(UvLoop& loop, Login login, Events events) {
  std::shared_ptr<NatsLink> link(new NatsLink(loop, std::move(login), std::move(events)),
                                 [](NatsLink* l) { delete l; });
  link->self_ = link;
  link->start();
  return link;
}

NatsLink::NatsLink(UvLoop& loop, Login login, Events events)
    : loop_(loop),
      login_(std::move(login)),
      events_(std::move(events)),
      parser_({.message =
                   [this](uint64_t sid, std::string_view subject, std::string_view reply, std::string_view status,
                          std::string_view data) {
                     if (phase_ == Phase::kReady) events_.message(sid, subject, reply, status, data);
                   },
               .info = [this](std::string_view json) { on_info(json); },
               .ping = [this] { write({"PONG\r\n"}); },
               .pong = [this] { on_pong(); },
               .error =
                   [this](std::string_view text) {
                     // The server closes after all but these, and after any before the login.
                     if (phase_ == Phase::kReady && text.find("Permissions Violation") != std::string_view::npos) {
                       return events_.error(text);
                     }
                     fail(fmt::format("the server says {}", text));
                   }}) {}

NatsLink::~NatsLink() {
  if (ssl_ != nullptr) SSL_free(ssl_);
  if (context_ != nullptr) SSL_CTX_free(context_);
}

void NatsLink::released() {
  if (--open_ == 0) {
    auto self = std::move(self_);  // the last reference may be this one
  }
}

void NatsLink::start() {
  open_ = 2;
  tcp_.data = prepare_.data = this;
  CHECK_EQ(uv_tcp_init(loop_.raw(), &tcp_), 0);
  CHECK_EQ(uv_prepare_init(loop_.raw(), &prepare_), 0);
  uv_prepare_start(&prepare_, [](uv_prepare_t* handle) { static_cast<NatsLink*>(handle->data)->flush(); });
  timer_ = loop_.after(kConnectTimeout, [this] { fail("no answer in time"); });
  sockaddr_storage address{};
  if (parse_ip(login_.server.host, login_.server.port, address)) return dial(reinterpret_cast<sockaddr*>(&address));
  resolve_.data = this;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  ++open_;
  int status = uv_getaddrinfo(
      loop_.raw(), &resolve_,
      [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
        auto* link = static_cast<NatsLink*>(request->data);
        if (link->phase_ == Phase::kConnecting) {
          if (status == 0) {
            link->dial(found->ai_addr);
          } else {
            link->fail(fmt::format("{}: {}", link->login_.server.host, uv_strerror(status)));
          }
        }
        uv_freeaddrinfo(found);
        link->released();
      },
      login_.server.host.c_str(), login_.server.port.c_str(), &hints);
  if (status != 0) {
    --open_;
    loop_.post([weak = weak_from_this(), status] {
      if (auto self = weak.lock()) self->fail(uv_strerror(status));
    });
  }
}

void NatsLink::dial(const sockaddr* address) {
  uv_tcp_nodelay(&tcp_, 1);
  connect_.data = this;
  ++open_;
  int status = uv_tcp_connect(&connect_, &tcp_, address, [](uv_connect_t* request, int status) {
    auto* link = static_cast<NatsLink*>(request->data);
    link->connected(status);
    link->released();
  });
  if (status != 0) {
    --open_;
    loop_.post([weak = weak_from_this(), status] {
      if (auto self = weak.lock()) self->fail(uv_strerror(status));
    });
  }
}

void NatsLink::connected(int status) {
  if (phase_ == Phase::kClosed) return;
  if (status != 0) return fail(uv_strerror(status));
  phase_ = Phase::kGreeting;
  read_buffer_.resize(kReadSize);
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&tcp_),
      [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
        auto& space = static_cast<NatsLink*>(handle->data)->read_buffer_;
        *buffer = uv_buf_init(space.data(), static_cast<unsigned>(space.size()));
      },
      [](uv_stream_t* stream, ssize_t size, const uv_buf_t*) { static_cast<NatsLink*>(stream->data)->received(size); });
}

void NatsLink::received(ssize_t size) {
  auto self = shared_from_this();
  if (size < 0) return fail(size == UV_EOF ? "closed by the server" : uv_strerror(static_cast<int>(size)));
  std::string_view bytes(read_buffer_.data(), static_cast<size_t>(size));
  if (ssl_ != nullptr) {
    tls_received(bytes);
  } else {
    feed(bytes);
  }
}

void NatsLink::feed(std::string_view bytes) {
  if (phase_ == Phase::kClosed) return;
  if (auto status = parser_.feed(bytes); !status && phase_ != Phase::kClosed) fail(status.error().message);
}

void NatsLink::on_info(std::string_view json) {
  info_ = json;
  auto info = Json::parse(json, nullptr, false);
  if (!info.is_object()) return fail("an INFO that is not JSON");
  if (phase_ != Phase::kGreeting) {
    if (phase_ == Phase::kReady) events_.info(json);
    return;
  }
  nonce_ = info.value("nonce", "");
  bool offered = info.value("tls_required", false) || info.value("tls_available", false);
  if (login_.server.tls && !offered) return fail("the server does not speak TLS");
  if (!login_.server.tls && info.value("tls_required", false)) return fail("the server wants TLS: use tls://");
  auto status = login_.server.tls ? start_tls() : log_in();
  if (!status) fail(status.error().message);
}

Status NatsLink::start_tls() {
  phase_ = Phase::kHandshake;
  context_ = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION);
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  bool trusted = login_.ca_file.empty() ? SSL_CTX_set_default_verify_paths(context_) == 1
                                        : SSL_CTX_load_verify_file(context_, login_.ca_file.c_str()) == 1;
  if (!trusted) return Error{Code::kInvalid, fmt::format("{}: {}", login_.ca_file, tls_error())};
  ssl_ = SSL_new(context_);
  SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(ssl_);
  sockaddr_storage ignored{};
  if (parse_ip(login_.server.host, login_.server.port, ignored)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), login_.server.host.c_str());
  } else {
    SSL_set1_host(ssl_, login_.server.host.c_str());
    SSL_set_tlsext_host_name(ssl_, login_.server.host.c_str());
  }
  tls_received({});
  return Done{};
}

void NatsLink::tls_received(std::string_view bytes) {
  if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
  if (phase_ == Phase::kHandshake) {
    int done = SSL_do_handshake(ssl_);
    tls_flush();
    if (done != 1) {
      int error = SSL_get_error(ssl_, done);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
      auto verify = SSL_get_verify_result(ssl_);
      return fail(verify == X509_V_OK
                      ? tls_error()
                      : fmt::format("the server's certificate: {}", X509_verify_cert_error_string(verify)));
    }
    if (auto status = log_in(); !status) return fail(status.error().message);
  }
  char plain[16 << 10];
  while (phase_ != Phase::kClosed) {
    int size = SSL_read(ssl_, plain, sizeof plain);
    if (size <= 0) {
      int error = SSL_get_error(ssl_, size);
      if (error == SSL_ERROR_ZERO_RETURN) return fail("closed by the server");
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return fail(tls_error());
      break;
    }
    feed({plain, static_cast<size_t>(size)});
  }
  if (phase_ != Phase::kClosed) tls_flush();
}

/// What TLS wants to send.
void NatsLink::tls_flush() {
  BIO* out = SSL_get_wbio(ssl_);
  if (size_t size = BIO_ctrl_pending(out); size > 0) {
    std::string bytes(size, '\0');
    BIO_read(out, bytes.data(), static_cast<int>(size));
    send_raw(std::move(bytes));
  }
}

Status NatsLink::log_in() {
  phase_ = Phase::kLogin;
  Json connect = {{"verbose", false},      {"pedantic", false},
                  {"name", login_.name},   {"lang", "gantry"},
                  {"version", "1"},        {"protocol", 1},
                  {"echo", true},          {"headers", true},
                  {"no_responders", true}, {"tls_required", login_.server.tls}};
  if (!login_.creds_file.empty()) {
    std::ifstream in(login_.creds_file, std::ios::binary);
    std::string file((std::istreambuf_iterator<char>(in)), {});
    auto jwt = section(file, "NATS USER JWT"), seed = section(file, "USER NKEY SEED");
    auto key = KeyPair::from_seed(seed);
    sodium_memzero(seed.data(), seed.size());
    sodium_memzero(file.data(), file.size());
    if (jwt.empty() || !key)
      return Error{Code::kInvalid, fmt::format("{} holds no user JWT and seed", login_.creds_file)};
    connect["jwt"] = jwt;
    connect["sig"] = base64url(key->sign(nonce_));
  }
  write({"CONNECT ", connect.dump(), "\r\nPING\r\n"});
  return Done{};
}

void NatsLink::on_pong() {
  if (phase_ == Phase::kLogin) {
    phase_ = Phase::kReady;
    timer_ = loop_.every(kPingInterval, [this] { on_ping_timer(); });
    return events_.ready(info_);
  }
  silent_ = 0;
  if (phase_ != Phase::kReady || pongs_.empty()) return;
  auto pong = std::move(pongs_.front());
  pongs_.pop_front();
  if (pong) pong();
}

void NatsLink::ping(std::function<void()> pong) {
  if (phase_ != Phase::kReady) return;
  pongs_.push_back(std::move(pong));
  write({"PING\r\n"});
}

void NatsLink::on_ping_timer() {
  if (silent_++ >= kSilence) return fail("the server does not answer pings");
  ping(nullptr);
}

void NatsLink::write(std::initializer_list<std::string_view> parts) {
  if (phase_ == Phase::kClosed) return;
  for (auto part : parts) out_.append(part);
}

size_t NatsLink::buffered() const { return out_.size() + writing_; }

void NatsLink::flush() {
  if (out_.empty() || phase_ < Phase::kLogin || phase_ == Phase::kClosed || writing_ >= kWriteSize) return;
  std::string bytes;
  if (out_.size() <= kWriteSize) {
    bytes = std::move(out_);
    out_.clear();
  } else {
    bytes = out_.substr(0, kWriteSize);
    out_.erase(0, kWriteSize);
  }
  if (ssl_ == nullptr) return send_raw(std::move(bytes));
  for (size_t at = 0; at < bytes.size();) {  // into memory: always takes all
    int size = SSL_write(ssl_, bytes.data() + at, static_cast<int>(bytes.size() - at));
    if (size <= 0) return fail(tls_error());
    at += static_cast<size_t>(size);
  }
  tls_flush();
}

void NatsLink::send_raw(std::string bytes) {
  if (phase_ == Phase::kClosed) return;
  auto* write = new WriteRequest{{}, std::move(bytes)};
  write->request.data = this;
  writing_ += write->bytes.size();
  ++open_;
  auto buffer = uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
  int status =
      uv_write(&write->request, reinterpret_cast<uv_stream_t*>(&tcp_), &buffer, 1, [](uv_write_t* request, int status) {
        std::unique_ptr<WriteRequest> done(reinterpret_cast<WriteRequest*>(request));
        auto* link = static_cast<NatsLink*>(request->data);
        link->writing_ -= done->bytes.size();
        if (status != 0 && link->phase_ != Phase::kClosed) link->fail(uv_strerror(status));
        link->flush();
        link->released();
      });
  if (status != 0) {
    writing_ -= write->bytes.size();
    --open_;
    delete write;
    fail(uv_strerror(status));
  }
}

void NatsLink::fail(std::string reason) {
  if (phase_ == Phase::kClosed) return;
  auto self = shared_from_this();
  auto lost = std::move(events_.lost);
  close();
  // Not at once: we may be inside of a call of the owner.
  loop_.post([lost = std::move(lost), reason = std::move(reason), weak = weak_from_this()] { lost(reason); });
}

void NatsLink::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  parser_.stop();
  timer_.reset();
  uv_prepare_stop(&prepare_);
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_),
           [](uv_handle_t* handle) { static_cast<NatsLink*>(handle->data)->released(); });
  uv_close(reinterpret_cast<uv_handle_t*>(&tcp_),
           [](uv_handle_t* handle) { static_cast<NatsLink*>(handle->data)->released(); });
}

Result<std::vector<NatsServerAddress>> parse_nats_urls(std::string_view urls) {
  std::vector<NatsServerAddress> addresses;
  while (!urls.empty()) {
    auto url = urls.substr(0, urls.find(','));
    urls.remove_prefix(std::min(urls.size(), url.size() + 1));
    NatsServerAddress address;
    if (url.starts_with("tls://")) {
      address.tls = true;
      url.remove_prefix(6);
    } else if (url.starts_with("nats://")) {
      url.remove_prefix(7);
    }
    size_t colon = url.rfind(':');
    bool v6 = url.starts_with("[");
    if (v6 && url.find(']') == std::string_view::npos)
      return Error{Code::kInvalid, fmt::format("not a NATS URL: {}", url)};
    if (colon != std::string_view::npos && (!v6 || colon > url.find(']'))) {
      address.port = url.substr(colon + 1);
      url = url.substr(0, colon);
    }
    address.host = v6 ? url.substr(1, url.find(']') - 1) : url;
    bool digits = !address.port.empty() && address.port.find_first_not_of("0123456789") == std::string::npos;
    if (address.host.empty() || !digits) return Error{Code::kInvalid, fmt::format("not a NATS URL: {}", url)};
    addresses.push_back(std::move(address));
  }
  if (addresses.empty()) return Error{Code::kInvalid, "no NATS URL"};
  return addresses;
}

}  // namespace gantry::bus
