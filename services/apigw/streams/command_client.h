// The client's side of exec and attach: stdin, resizes, stdout, stderr and the final status over whichever protocol it
// speaks: WebSocket messages (v5.channel.k8s.io, v4 and older, plain or base64) or SPDY/3.1 streams. Loop's thread
// only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "libs/base/loop.h"
#include "libs/http/message.h"
#include "libs/http/responder.h"
#include "schemas/node_generated.h"

namespace gantry::apigw {

class CommandClient {
 public:
  virtual ~CommandClient() = default;
  /// From the loop, never inside a call; the client may be dropped in any.
  struct Callbacks {
    std::function<void(node::Channel channel, std::string_view data, bool end)> input;  // Stdin or Resize
    std::function<void()> drained;  // buffered() has fallen to http::kLowWater
    std::function<void()> gone;     // the client went, or broke the protocol; the last
  };
  /// Input begins. What came earlier was kept; the peer waits when that is much.
  virtual void start(Callbacks callbacks) = 0;
  virtual void send(node::Channel channel, std::string_view data) = 0;  // Stdout, Stderr
  /// The last to be said: how the command ended. `status`: a Status in JSON, `text`: the same in words for the oldest
  /// protocols, empty for success. False when the client should be given time to read it and to go.
  virtual bool finish(const std::string& status, const std::string& text) = 0;
  virtual size_t buffered() const = 0;
  virtual void pause() = 0;
  virtual void resume() = 0;
};

struct CommandChannels {
  bool in = false, out = false, err = false, tty = false;
};

/// Answers the upgrade and waits for the client's streams. `done` gets null when the request was no upgrade that is
/// known (it has been answered then) or the streams did not come.
void accept_command(Loop& loop, const http::Request& request, std::shared_ptr<http::Responder> responder,
                    CommandChannels channels, std::function<void(std::unique_ptr<CommandClient>)> done);

// The two, for accept_command().
void accept_websocket_command(Loop& loop, const http::Request& request, http::Responder& responder,
                              CommandChannels channels, std::function<void(std::unique_ptr<CommandClient>)> done);
void accept_spdy_command(Loop& loop, const http::Request& request, http::Responder& responder, CommandChannels channels,
                         std::function<void(std::unique_ptr<CommandClient>)> done);

/// What a client offers of `known`, in the client's order; "" (and an answer: 400 or 403) when nothing fits.
std::string negotiate_spdy(const http::Request& request, const std::vector<std::string>& known,
                           http::Responder& responder);

}  // namespace gantry::apigw
