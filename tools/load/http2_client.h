// Many requests at once over one HTTP/2 connection with TLS, as client-go makes them. For measuring: errors are few
// words. Loop's thread only.
#pragma once

#include <nghttp2/nghttp2.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "libs/http/channel.h"

namespace gantry::load {

struct HttpTarget {
  std::string host;  // a numeric IPv4 address, which the server's certificate names
  uint16_t port = 443;
  http::TlsContext tls;
};
/// From https://ADDRESS:PORT and PEM files.
Result<HttpTarget> http_target(const std::string& url, const std::string& ca, const std::string& certificate,
                               const std::string& key);

class Http2Client final : private http::ChannelHandler {
 public:
  struct Request {
    std::string method = "GET", path;
    http::Headers headers = {};
    std::string body = {};
    std::function<void(std::string_view)> on_data = {};  // in pieces; otherwise the answer is collected
  };
  struct Answer {
    int status = 0;  // 0: broken off
    std::string body;
  };
  using Done = std::function<void(Answer)>;

  Http2Client(std::shared_ptr<http::IoContext> io, const HttpTarget& target);
  ~Http2Client();
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  /// `done` comes once, unless the client is destroyed before.
  void send(Request request, Done done);
  bool ready() const { return ready_; }
  bool closed() const { return closed_; }

 private:
  struct Stream {
    Request request;
    Done done;
    Answer answer;
    size_t sent = 0;
  };
  static nghttp2_session_callbacks* callbacks();
  void on_ready(std::string_view alpn) override;
  void on_bytes(std::string_view bytes) override;
  void on_fill() override;
  void on_eof() override;
  void on_closed() override;
  void finish(int32_t id);

  HttpTarget target_;
  std::shared_ptr<http::Channel> channel_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Stream>> streams_;
  bool ready_ = false, closed_ = false;
};

}  // namespace gantry::load
