#include "libs/http/testing/raw_connection.h"

namespace gantry::http::testing {

RawConnection::RawConnection(UvLoop& loop, uint16_t port)
    : io_(IoContext::create(loop)), channel_(Channel::create(io_)) {
  sockaddr_in address{};
  uv_ip4_addr("127.0.0.1", port, &address);
  channel_->attach(this);
  channel_->connect(reinterpret_cast<sockaddr*>(&address), nullptr, {});
}

RawConnection::~RawConnection() {
  channel_->detach();
  channel_->close();
}

void RawConnection::write(std::string_view bytes) {
  if (channel_->ready()) {
    channel_->write(bytes);
  } else {
    early_ += bytes;
  }
}

void RawConnection::on_ready(std::string_view) { channel_->write(std::exchange(early_, {})); }

}  // namespace gantry::http::testing
