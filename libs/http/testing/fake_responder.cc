#include "libs/http/testing/fake_responder.h"

#include "libs/http/websocket.h"

namespace gantry::http::testing {

void FakeResponder::send(int status_code, Headers response_headers, std::string response_body) {
  if (closed() || status != 0) return;
  status = status_code;
  headers = std::move(response_headers);
  body = std::move(response_body);
  ended = true;
}

void FakeResponder::start(int status_code, Headers response_headers, Length response_length) {
  if (closed() || status != 0) return;
  status = status_code;
  headers = std::move(response_headers);
  length = response_length;
  streamed = true;
}

void FakeResponder::write(std::string_view bytes) {
  if (!closed()) body += bytes;
}

std::shared_ptr<WebSocket> FakeResponder::upgrade_websocket(std::string_view subprotocol) {
  protocol = subprotocol;
  return make_websocket(hijack({}), 4 << 20);
}

std::shared_ptr<Stream> FakeResponder::hijack(Headers response_headers) {
  if (loop == nullptr || closed() || status != 0) return nullptr;
  status = 101;
  headers = std::move(response_headers);
  ended = true;
  auto [mine, theirs] = FakeStream::pair(*loop);
  peer = theirs;
  return mine;
}

void FakeResponder::drain() {
  pending = 0;
  if (auto callback = std::exchange(drained, nullptr)) callback();
}

void FakeResponder::disconnect() {
  gone = true;
  drained = nullptr;
  if (auto callback = std::exchange(close, nullptr); callback && !ended) callback();
}

}  // namespace gantry::http::testing
