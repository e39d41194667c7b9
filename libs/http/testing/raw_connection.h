// A TCP client that says exactly what a test tells it to: half requests, pipelines, silence.
#pragma once

#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/http/channel.h"

namespace gantry::http::testing {

/// Plain TCP to 127.0.0.1:port. Input is collected until pause().
class RawConnection final : private ChannelHandler {
 public:
  RawConnection(UvLoop& loop, uint16_t port);
  ~RawConnection();

  void write(std::string_view bytes);
  /// Stops taking what the server sends.
  void pause() { channel_->pause(); }
  void resume() { channel_->resume(); }
  void close() { channel_->close(); }

  std::string input;
  bool eof = false, closed = false;

 private:
  void on_ready(std::string_view) override;
  void on_bytes(std::string_view bytes) override { input += bytes; }
  void on_eof() override { eof = true; }
  void on_closed() override { closed = true; }

  std::shared_ptr<IoContext> io_;
  std::shared_ptr<Channel> channel_;
  std::string early_;
};

}  // namespace gantry::http::testing
