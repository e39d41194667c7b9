#include "tools/load/http2_client.h"

#include <fmt/format.h>

#include <vector>

namespace gantry::load {
namespace {

constexpr uint32_t kWindow = 4 * 1024 * 1024;

nghttp2_nv pair_of(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

Result<HttpTarget> http_target(const std::string& url, const std::string& ca, const std::string& certificate,
                               const std::string& key) {
  constexpr std::string_view kScheme = "https://";
  const Error bad{Code::kInvalid, fmt::format("--server {}: want https://ADDRESS:PORT", url)};
  if (!url.starts_with(kScheme)) return bad;
  const size_t colon = url.rfind(':');
  HttpTarget target;
  target.host = url.substr(kScheme.size(), colon - kScheme.size());
  target.port = static_cast<uint16_t>(std::strtoul(url.c_str() + colon + 1, nullptr, 10));
  sockaddr_in address{};
  if (target.port == 0 || uv_ip4_addr(target.host.c_str(), target.port, &address) != 0) return bad;
  auto tls = http::client_tls({.ca_file = ca, .cert_file = certificate, .key_file = key});
  if (!tls.ok()) return tls.error();
  static constexpr unsigned char kProtocols[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(tls->get(), kProtocols, sizeof kProtocols);
  target.tls = std::move(*tls);
  return target;
}

Http2Client::Http2Client(std::shared_ptr<http::IoContext> io, const HttpTarget& target)
    : target_(target), channel_(http::Channel::create(std::move(io))) {
  nghttp2_session_client_new(&session_, callbacks(), this);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, 4 * kWindow);
  sockaddr_in address{};
  uv_ip4_addr(target_.host.c_str(), target_.port, &address);
  channel_->attach(this);
  channel_->connect(reinterpret_cast<sockaddr*>(&address), target_.tls, target_.host);
}

Http2Client::~Http2Client() {
  channel_->detach();
  channel_->close();
  nghttp2_session_del(session_);
}

nghttp2_session_callbacks* Http2Client::callbacks() {
  static nghttp2_session_callbacks* made = [] {
    nghttp2_session_callbacks* c = nullptr;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_header_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
              const uint8_t* value, size_t value_length, uint8_t, void* self) {
          auto& streams = static_cast<Http2Client*>(self)->streams_;
          const auto it = streams.find(frame->hd.stream_id);
          if (it != streams.end() && std::string_view(reinterpret_cast<const char*>(name), name_length) == ":status")
            it->second->answer.status =
                std::atoi(std::string(reinterpret_cast<const char*>(value), value_length).c_str());
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        c, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t length, void* self) {
          auto& streams = static_cast<Http2Client*>(self)->streams_;
          const auto it = streams.find(id);
          if (it == streams.end()) return 0;
          const std::string_view piece(reinterpret_cast<const char*>(data), length);
          it->second->request.on_data ? it->second->request.on_data(piece)
                                      : static_cast<void>(it->second->answer.body += piece);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(c,
                                                           [](nghttp2_session*, int32_t id, uint32_t code, void* self) {
                                                             auto& client = *static_cast<Http2Client*>(self);
                                                             const auto it = client.streams_.find(id);
                                                             if (it != client.streams_.end() && code != 0)
                                                               it->second->answer.status = 0;
                                                             client.finish(id);
                                                             return 0;
                                                           });
    return c;
  }();
  return made;
}

void Http2Client::send(Request request, Done done) {
  if (closed_) return done({});
  auto stream = std::make_unique<Stream>();
  stream->request = std::move(request);
  stream->done = std::move(done);
  const auto& r = stream->request;
  const std::string authority = fmt::format("{}:{}", target_.host, target_.port);
  std::vector<nghttp2_nv> pairs{pair_of(":method", r.method), pair_of(":scheme", "https"),
                                pair_of(":authority", authority), pair_of(":path", r.path)};
  for (const auto& [name, value] : r.headers) pairs.push_back(pair_of(name, value));
  nghttp2_data_provider provider{};
  provider.source.ptr = stream.get();
  provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* out, size_t room, uint32_t* flags,
                              nghttp2_data_source* source, void*) {
    auto& s = *static_cast<Stream*>(source->ptr);
    const size_t taken = s.request.body.copy(reinterpret_cast<char*>(out), room, s.sent);
    s.sent += taken;
    if (s.sent == s.request.body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(taken);
  };
  const int32_t id = nghttp2_submit_request(session_, nullptr, pairs.data(), pairs.size(),
                                            r.body.empty() ? nullptr : &provider, nullptr);
  if (id < 0) return stream->done({});
  streams_[id] = std::move(stream);
  if (ready_) channel_->schedule();
}

void Http2Client::finish(int32_t id) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return;
  const auto stream = std::move(it->second);
  streams_.erase(it);
  if (stream->done) stream->done(std::move(stream->answer));
}

void Http2Client::on_ready(std::string_view alpn) {
  if (alpn != "h2") return channel_->close("the server speaks no HTTP/2");
  ready_ = true;
  channel_->schedule();
}

void Http2Client::on_bytes(std::string_view bytes) {
  if (nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) < 0)
    return channel_->close("not HTTP/2");
  channel_->schedule();
}

void Http2Client::on_fill() {
  while (ready_ && channel_->wants_output()) {
    const uint8_t* bytes = nullptr;
    const ssize_t length = nghttp2_session_mem_send(session_, &bytes);
    if (length <= 0) return;
    channel_->append({reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)});
  }
}

void Http2Client::on_eof() { channel_->close("the server has closed"); }

void Http2Client::on_closed() {
  closed_ = true;
  while (!streams_.empty()) {
    streams_.begin()->second->answer.status = 0;
    finish(streams_.begin()->first);
  }
}

}  // namespace gantry::load
