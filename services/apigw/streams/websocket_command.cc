// A message is <channel><data>: the channel a byte, or in the base64 protocols a digit with the data in base64. 0
// stdin, 1 stdout, 2 stderr, 3 error, 4 resize; in v5 255 and a channel close that channel.
#include <fmt/format.h>

#include "services/apigw/streams/command_client.h"
#include "services/apigw/streams/websocket_channels.h"

namespace gantry::apigw {
namespace {

using node::Channel;

constexpr uint8_t kClose = 255;

struct Protocol {
  const char* name;
  bool base64, closes, json_status;
};
constexpr Protocol kProtocols[] = {
    {"v5.channel.k8s.io", false, true, true},        {"v4.channel.k8s.io", false, false, true},
    {"v4.base64.channel.k8s.io", true, false, true}, {"channel.k8s.io", false, false, false},
    {"base64.channel.k8s.io", true, false, false},
};
constexpr Protocol kNoProtocol = {"", false, false, false};

class WebSocketCommand final : public CommandClient {
 public:
  WebSocketCommand(Loop& loop, std::shared_ptr<http::WebSocket> socket, Protocol protocol)
      : loop_(loop), socket_(std::move(socket)), protocol_(protocol) {}

  void start(Callbacks callbacks) override {
    callbacks_ = std::move(callbacks);
    if (socket_->closed()) {
      loop_.post([this, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) callbacks_.gone();
      });
      return;
    }
    socket_->on_close([this](uint16_t, std::string_view) { callbacks_.gone(); });
    socket_->on_message([this](std::string_view message, bool) { received(message); });
  }

  void send(Channel channel, std::string_view data) override {
    send_raw(static_cast<uint8_t>(channel), data);
    if (waiting_ || socket_->buffered() < http::kHighWater) return;
    waiting_ = true;
    socket_->on_drained([this] {
      waiting_ = false;
      callbacks_.drained();
    });
  }

  bool finish(const std::string& status, const std::string& text) override {
    if (protocol_.json_status || !text.empty())
      send_raw(static_cast<uint8_t>(Channel::Error), protocol_.json_status ? status : text);
    socket_->close(1000);
    return true;
  }

  size_t buffered() const override { return socket_->buffered(); }
  void pause() override { socket_->pause(); }
  void resume() override { socket_->resume(); }

  void send_raw(uint8_t channel, std::string_view data) { send_channel(*socket_, channel, data, protocol_.base64); }

 private:
  void received(std::string_view message) {
    if (message.empty()) return;
    auto decoded = decode_channel(message, protocol_.base64);
    if (!decoded) return broken("malformed message");
    if (decoded->channel == kClose && protocol_.closes) {
      if (!decoded->data.empty() && decoded->data[0] == 0) callbacks_.input(Channel::Stdin, {}, true);
      return;
    }
    if (decoded->data.empty()) return;
    if (decoded->channel == 0) callbacks_.input(Channel::Stdin, decoded->data, false);
    if (decoded->channel == 4) callbacks_.input(Channel::Resize, decoded->data, false);
  }

  void broken(std::string_view why) {
    socket_->close(1002, why);
    callbacks_.gone();
  }

  Loop& loop_;
  std::shared_ptr<http::WebSocket> socket_;
  Protocol protocol_;
  Callbacks callbacks_;
  bool waiting_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

void accept_websocket_command(Loop& loop, const http::Request& request, http::Responder& responder,
                              CommandChannels channels, std::function<void(std::unique_ptr<CommandClient>)> done) {
  auto offered = request.websocket_protocols();
  const Protocol* chosen = offered.empty() ? &kNoProtocol : nullptr;
  for (auto name : offered) {
    for (const auto& known : kProtocols) {
      if (chosen == nullptr && known.name == name) chosen = &known;
    }
  }
  if (chosen == nullptr) {
    responder.send(403, {{"Content-Type", "text/plain; charset=utf-8"}}, "the requested protocols are not supported\n");
    return done(nullptr);
  }
  auto socket = responder.upgrade_websocket(chosen->name);
  if (!socket) return done(nullptr);
  auto client = std::make_unique<WebSocketCommand>(loop, std::move(socket), *chosen);
  // Tells the client that it is connected, as the API server does.
  client->send_raw(static_cast<uint8_t>(channels.out   ? Channel::Stdout
                                        : channels.err ? Channel::Stderr
                                                       : Channel::Error),
                   {});
  done(std::move(client));
}

}  // namespace gantry::apigw
