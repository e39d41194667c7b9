#include "services/apigw/streams/websocket_channels.h"

#include <openssl/evp.h>

namespace gantry::apigw {

std::optional<ChannelMessage> decode_channel(std::string_view message, bool base64) {
  if (message.empty()) return std::nullopt;
  auto channel = static_cast<uint8_t>(message[0]);
  message.remove_prefix(1);
  if (!base64) return ChannelMessage{channel, std::string(message)};
  if (channel < '0' || channel > '9' || message.size() % 4 != 0) return std::nullopt;
  std::string data(message.size() / 4 * 3 + 1, '\0');
  int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(data.data()),
                      reinterpret_cast<const unsigned char*>(message.data()), static_cast<int>(message.size()));
  if (length < 0) return std::nullopt;
  size_t padding = message.ends_with("==") ? 2 : message.ends_with("=") ? 1 : 0;
  data.resize(static_cast<size_t>(length) - std::min(padding, static_cast<size_t>(length)));
  return ChannelMessage{static_cast<uint8_t>(channel - '0'), std::move(data)};
}

void send_channel(http::WebSocket& socket, uint8_t channel, std::string_view data, bool base64) {
  std::string message;
  if (!base64) {
    message += static_cast<char>(channel);
    message += data;
    return socket.send_binary(message);
  }
  message.resize(1 + 4 * ((data.size() + 2) / 3) + 1);
  message[0] = static_cast<char>('0' + channel);
  int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(message.data()) + 1,
                               reinterpret_cast<const unsigned char*>(data.data()), static_cast<int>(data.size()));
  message.resize(1 + static_cast<size_t>(length));
  socket.send_text(message);
}

}  // namespace gantry::apigw
