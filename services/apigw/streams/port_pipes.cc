#include "services/apigw/streams/port_pipes.h"

#include <fmt/format.h>

namespace gantry::apigw {

namespace {
constexpr size_t kMuchWaits = 512 * 1024;  // of one pipe: the client's connection, which all share, waits
}

struct PortPipes::Pipe {
  std::unique_ptr<bus::Session> session;
  std::string early;
  bool early_end = false, ended = false;
  uint16_t port = 0;
  size_t owed = 0;

  size_t waiting() const { return session ? session->queued() : early.size(); }
};

PortPipes::PortPipes(const StreamContext& context, PodTarget target, Client& client)
    : context_(context), target_(std::move(target)), client_(client), alive_(std::make_shared<PortPipes*>(this)) {}

PortPipes::~PortPipes() = default;

std::shared_ptr<PortPipes::Pipe> PortPipes::find(uint32_t number) {
  auto found = pipes_.find(number);
  return found == pipes_.end() ? nullptr : found->second;
}

void PortPipes::open(uint32_t number, uint16_t port) {
  auto pipe = std::make_shared<Pipe>();
  pipe->port = port;
  pipes_[number] = pipe;
  auto request = target_.request;
  request.kind = node::SessionKind::PortForward;
  request.port = port;
  bus::Session::Callbacks callbacks;
  auto alive = std::weak_ptr(alive_);
  callbacks.data = [this, alive, number](node::Channel, std::string_view data, bool end) {
    auto pipe = alive.expired() ? nullptr : find(number);
    if (!pipe) return;
    pipe->owed += data.size();
    if (!data.empty()) client_.pipe_data(number, data);
    if (end && !alive.expired() && !std::exchange(pipe->ended, true)) client_.pipe_end(number);
    if (!alive.expired() && pipe->session && client_.client_buffered() < http::kHighWater)
      pipe->session->consume(std::exchange(pipe->owed, 0));
  };
  callbacks.closed = [this, alive, number](const bus::SessionEnd& end) {
    if (!alive.expired()) closed(number, end.error);
  };
  callbacks.writable = [this, alive] {
    if (!alive.expired()) adjust();
  };
  bus::open_session(context_.loop, context_.bus, target_.node, request, std::move(callbacks),
                    [this, alive, number](Result<std::unique_ptr<bus::Session>> session) {
                      if (alive.expired() || !find(number)) return;  // dropping the session tells the node
                      opened(number, std::move(session));
                    });
}

void PortPipes::opened(uint32_t number, Result<std::unique_ptr<bus::Session>> session) {
  auto pipe = find(number);
  if (!session.ok()) return closed(number, session.error().message);
  pipe->session = std::move(*session);
  if (!pipe->early.empty()) pipe->session->write(node::Channel::Stdin, std::exchange(pipe->early, {}));
  if (pipe->early_end) pipe->session->end(node::Channel::Stdin);
  if (pipe->owed > 0) pipe->session->consume(std::exchange(pipe->owed, 0));
  adjust();
}

void PortPipes::input(uint32_t number, std::string_view data, bool end) {
  auto found = pipes_.find(number);
  if (found == pipes_.end()) return;
  auto& pipe = *found->second;
  if (!pipe.session) {
    pipe.early += data;
    pipe.early_end |= end;
  } else {
    if (!data.empty()) pipe.session->write(node::Channel::Stdin, data);
    if (end) pipe.session->end(node::Channel::Stdin);
  }
  adjust();
}

void PortPipes::closed(uint32_t number, const std::string& error) {
  auto found = pipes_.find(number);
  if (found == pipes_.end()) return;
  auto pipe = found->second;
  pipes_.erase(found);
  auto alive = std::weak_ptr(alive_);
  if (!error.empty()) {
    client_.pipe_failed(number, fmt::format("error forwarding port {} to pod {}, uid {}: {}", pipe->port,
                                            target_.request.pod, target_.request.uid, error));
  }
  if (alive.expired()) return;
  client_.pipe_closed(number);
  if (!alive.expired()) adjust();
  // The session is on the stack.
  context_.loop.post([pipe] {});
}

void PortPipes::drop(uint32_t number) {
  auto found = pipes_.find(number);
  if (found == pipes_.end()) return;
  context_.loop.post([pipe = found->second] { pipe->session.reset(); });
  pipes_.erase(found);
  adjust();
}

void PortPipes::drained() {
  for (const auto& [_, pipe] : pipes_) {
    if (pipe->session && pipe->owed > 0) pipe->session->consume(std::exchange(pipe->owed, 0));
  }
}

void PortPipes::adjust() {
  bool much =
      std::any_of(pipes_.begin(), pipes_.end(), [](const auto& entry) { return entry.second->waiting() > kMuchWaits; });
  if (much == paused_) return;
  paused_ = much;
  much ? client_.client_pause() : client_.client_resume();
}

}  // namespace gantry::apigw
