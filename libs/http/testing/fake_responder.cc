#include "libs/http/testing/fake_responder.h"

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
