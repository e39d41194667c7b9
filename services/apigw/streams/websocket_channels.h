// Messages of Kubernetes' WebSocket protocols: a channel's number and data. Plain: a byte, then the data. base64: a
// digit, then the data in base64, as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libs/http/responder.h"

namespace gantry::apigw {

struct ChannelMessage {
  uint8_t channel = 0;
  std::string data;
};
/// nullopt for what the protocol does not allow.
std::optional<ChannelMessage> decode_channel(std::string_view message, bool base64);
void send_channel(http::WebSocket& socket, uint8_t channel, std::string_view data, bool base64);

}  // namespace gantry::apigw
