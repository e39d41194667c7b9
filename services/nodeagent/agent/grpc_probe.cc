#include "services/nodeagent/agent/grpc_probe.h"

#include <nghttp2/nghttp2.h>

#include "libs/http/dial.h"

namespace gantry::nodeagent {

namespace {

constexpr size_t kMostAnswer = 64 * 1024;

// HealthCheckRequest{service = 1} behind gRPC's five bytes: not compressed, length.
std::string encode_request(const std::string& service) {
  std::string message;
  if (!service.empty()) {
    message += '\x0a';
    for (size_t left = service.size();; left >>= 7) {
      message += static_cast<char>((left & 127) | (left > 127 ? 128 : 0));
      if (left <= 127) break;
    }
    message += service;
  }
  std::string out(5, 0);
  for (int i = 0; i < 4; ++i) out[static_cast<size_t>(1 + i)] = static_cast<char>(message.size() >> (24 - 8 * i));
  return out + message;
}

// HealthCheckResponse{status = 1}: UNKNOWN where it is absent, -1 where it cannot be read.
int decode_status(std::string_view body) {
  if (body.size() < 5 || body[0] != 0) return -1;
  body.remove_prefix(5);
  if (body.empty()) return 0;
  return body.size() >= 2 && body[0] == 8 ? static_cast<unsigned char>(body[1]) : -1;
}

const char* status_name(int status) {
  constexpr std::array kNames = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  return status >= 0 && status < 4 ? kNames[static_cast<size_t>(status)] : "no health status";
}

/// One call on a connection of its own; kept by the stream's callbacks and its timer.
class GrpcProbe final : public std::enable_shared_from_this<GrpcProbe> {
 public:
  GrpcProbe(UvLoop& loop, std::string authority, std::string service, std::function<void(Status)> done)
      : loop_(loop), authority_(std::move(authority)), service_(std::move(service)), done_(std::move(done)) {}
  ~GrpcProbe() { nghttp2_session_del(session_); }

  void start(std::shared_ptr<http::Stream> stream, Duration left) {
    stream_ = std::move(stream);
    timer_ = loop_.after(left, [self = shared_from_this()] {
      self->finish(Error{Code::kTimeout, fmt::format("timeout: no answer of service \"{}\" in time", self->service_)});
    });
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* data) {
          static_cast<GrpcProbe*>(data)->header({reinterpret_cast<const char*>(name), name_size},
                                                {reinterpret_cast<const char*>(value), value_size});
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t, const uint8_t* bytes, size_t size, void* data) {
          auto& body = static_cast<GrpcProbe*>(data)->body_;
          if (body.size() + size > kMostAnswer) return static_cast<int>(NGHTTP2_ERR_CALLBACK_FAILURE);
          body.append(reinterpret_cast<const char*>(bytes), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                           [](nghttp2_session*, int32_t, uint32_t error, void* data) {
                                                             auto* self = static_cast<GrpcProbe*>(data);
                                                             self->closed_ = true;
                                                             if (error != 0 && self->grpc_status_.empty())
                                                               self->message_ = nghttp2_http2_strerror(error);
                                                             return 0;
                                                           });
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    submit();
    stream_->on_close([self = shared_from_this()] {
      self->finish(Error{Code::kUnavailable, "error: the connection was closed before an answer"});
    });
    stream_->on_data([self = shared_from_this()](std::string_view bytes) { self->received(bytes); });
    flush();
  }

 private:
  void submit() {
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
    auto field = [](std::string_view name, std::string_view value) {
      return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NONE};
    };
    const std::array fields = {field(":method", "POST"),
                               field(":scheme", "http"),
                               field(":path", "/grpc.health.v1.Health/Check"),
                               field(":authority", authority_),
                               field("content-type", "application/grpc"),
                               field("user-agent", "kube-probe/1.34"),
                               field("te", "trailers")};
    request_ = encode_request(service_);
    nghttp2_data_provider body{};
    body.source.ptr = this;
    body.read_callback = [](nghttp2_session*, int32_t, uint8_t* to, size_t room, uint32_t* flags,
                            nghttp2_data_source* source, void*) -> ssize_t {
      auto& request = static_cast<GrpcProbe*>(source->ptr)->request_;
      const size_t size = std::min(room, request.size());
      std::copy_n(request.begin(), size, to);
      request.erase(0, size);
      if (request.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(size);
    };
    nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &body, nullptr);
  }

  void header(std::string_view name, std::string_view value) {
    if (name == "grpc-status") grpc_status_ = value;
    if (name == "grpc-message") message_ = value;
    if (name == ":status") http_status_ = value;
  }

  void received(std::string_view bytes) {
    if (!done_) return;
    if (nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) < 0)
      return finish(Error{Code::kUnavailable, "error: the answer is not gRPC"});
    flush();
    if (!closed_) return;
    const int status = decode_status(body_);
    if (grpc_status_ == "12") {
      finish(
          Error{Code::kUnavailable,
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + message_});
    } else if (grpc_status_ != "0") {
      finish(Error{Code::kUnavailable,
                   fmt::format("error: health rpc probe failed: {}",
                               grpc_status_.empty() ? fmt::format("HTTP {} {}", http_status_, message_)
                                                    : fmt::format("code {}: {}", grpc_status_, message_))});
    } else if (status != 1) {
      finish(Error{Code::kUnavailable, fmt::format("service unhealthy (responded with \"{}\")", status_name(status))});
    } else {
      finish(Done{});
    }
  }

  void flush() {
    const uint8_t* bytes = nullptr;
    for (ssize_t size; (size = nghttp2_session_mem_send(session_, &bytes)) > 0;)
      stream_->write({reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)});
  }

  void finish(Status outcome) {
    if (!done_) return;
    auto done = std::exchange(done_, nullptr);
    auto self = shared_from_this();
    // On a later turn: this may run inside what holds the stream and this.
    loop_.post([self, done = std::move(done), outcome = std::move(outcome)] {
      self->timer_.reset();
      if (auto stream = std::exchange(self->stream_, nullptr)) stream->close();
      done(outcome);
    });
  }

  UvLoop& loop_;
  std::string authority_, service_, request_, body_, grpc_status_, http_status_, message_;
  std::function<void(Status)> done_;
  std::shared_ptr<http::Stream> stream_;
  nghttp2_session* session_ = nullptr;
  bool closed_ = false;
  Timer timer_;
};

}  // namespace

void probe_grpc(UvLoop& loop, const std::string& address, const std::string& service, Duration timeout,
                std::function<void(Status)> done) {
  http::DialOptions options;
  options.address = address;
  options.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
  auto began = loop.now();
  http::dial(loop, options, [=, &loop, done = std::move(done)](Result<std::shared_ptr<http::Stream>> stream) {
    if (!stream.ok()) {
      return done(Error{stream.code(), fmt::format("timeout: failed to connect service \"{}\" within {} s: {}", address,
                                                   std::chrono::duration_cast<std::chrono::seconds>(timeout).count(),
                                                   stream.error().message)});
    }
    auto probe = std::make_shared<GrpcProbe>(loop, address, service, done);
    probe->start(std::move(*stream), std::max(Duration::zero(), timeout - (loop.now() - began)));
  });
}

}  // namespace gantry::nodeagent
