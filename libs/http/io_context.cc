#include "libs/http/io_context.h"

#include <ctime>

#include "libs/http/channel.h"

namespace gantry::http {

std::shared_ptr<IoContext> IoContext::create(UvLoop& loop) { return std::shared_ptr<IoContext>(new IoContext(loop)); }

IoContext::IoContext(UvLoop& loop) : loop_(loop), idle_(new uv_idle_t) {
  uv_idle_init(loop.raw(), idle_);
  idle_->data = this;
}

IoContext::~IoContext() {
  uv_close(reinterpret_cast<uv_handle_t*>(idle_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_idle_t*>(handle); });
}

const std::string& IoContext::date() {
  time_t now = time(nullptr);
  if (now != date_second_) {
    date_second_ = now;
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[40];
    date_.assign(text, strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
  }
  return date_;
}

void IoContext::wake() {
  if (uv_is_active(reinterpret_cast<uv_handle_t*>(idle_)) != 0) return;
  uv_idle_start(idle_, [](uv_idle_t* handle) {
    auto self = static_cast<IoContext*>(handle->data)->shared_from_this();
    self->run();
  });
}

void IoContext::schedule(std::shared_ptr<Channel> channel) {
  dirty_.push_back(std::move(channel));
  wake();
}

void IoContext::bury(std::shared_ptr<void> object) {
  dead_.push_back(std::move(object));
  wake();
}

void IoContext::run() {
  // What is scheduled meanwhile waits for the next round, so that the sockets are polled between two rounds.
  auto dirty = std::exchange(dirty_, {});
  for (auto& channel : dirty) channel->tick();
  dirty.clear();
  auto dead = std::exchange(dead_, {});
  dead.clear();
  if (dirty_.empty() && dead_.empty()) uv_idle_stop(idle_);
}

}  // namespace gantry::http
