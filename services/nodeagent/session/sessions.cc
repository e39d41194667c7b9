#include "services/nodeagent/session/sessions.h"

#include <unistd.h>

#include "libs/http/dial.h"
#include "services/nodeagent/session/log_session.h"
#include "services/nodeagent/session/stream_sessions.h"

namespace gantry::nodeagent {

using model::str;
using Offer = bus::SessionAcceptor::Offer;

namespace {

// Beyond this the node says so instead of growing.
constexpr size_t kMostSessions = 1000;

const Container* newest(const RuntimePod& pod, const std::string& name) {
  for (const auto& c : pod.containers) {
    if (c.name == name) return &c;
  }
  return nullptr;
}

const ContainerStatusValue* status_of(const PodStatusValue& status, const std::string& name) {
  for (const auto* list : {&status.containers, &status.init_containers}) {
    for (const auto& s : *list) {
      if (s.name == name) return &s;
    }
  }
  return nullptr;
}

std::string why_waiting(const std::string& reason) {
  if (reason == "ErrImagePull") return "image can't be pulled";
  if (reason == "ImagePullBackOff") return "trying and failing to pull image";
  return reason.empty() ? "ContainerCreating" : reason;
}

}  // namespace

Sessions::Sessions(UvLoop& loop, bus::Bus& bus, Runtime& runtime, Executor& executor, Agent& agent,
                   const std::string& node, std::function<std::string()> own_address)
    : loop_(loop), runtime_(runtime), executor_(executor), agent_(agent), own_address_(std::move(own_address)) {
  subscription_ = bus::accept_sessions(loop, bus, node, [this](Offer offer) { on_offer(std::move(offer)); });
}

Sessions::~Sessions() = default;

std::function<void()> Sessions::closer(Place place) {
  return [this, place, weak = std::weak_ptr<bool>(alive_)] {
    loop_.post([this, place, weak] {
      if (!weak.expired()) open_.erase(place);
    });
  };
}

void Sessions::on_offer(Offer given) {
  auto offer = std::make_shared<Offer>(std::move(given));
  const auto& r = offer->request;
  if (open_.size() >= kMostSessions)
    return offer->refuse({Code::kTooManyRequests, "the node has too many sessions open"});
  if (!r.address.empty()) return dial(offer);
  const auto* pod = agent_.find(r.ns, r.pod);
  if (pod == nullptr || (!r.uid.empty() && pod->api_uid() != r.uid)) {
    return offer->refuse({Code::kNotFound, fmt::format("pods \"{}\" not found", r.pod)});
  }
  if (r.kind == node::SessionKind::PortForward) return forward(offer, *pod);
  if (r.trace()) return trace(offer, *pod);
  auto container = r.container;
  if (container.empty() && pod->pod() && pod->pod().as<core::Pod>()->spec()->containers()->size() > 0) {
    container = str(pod->pod().as<core::Pod>()->spec()->containers()->Get(0)->name());
  }
  r.kind == node::SessionKind::Logs ? logs(offer, *pod, container) : command(offer, *pod, container);
}

void Sessions::trace(const std::shared_ptr<Offer>& offer, const PodWorker& pod) {
  auto place = open_.insert(open_.end(), Open{});
  bus::Session::Callbacks callbacks;
  callbacks.data = [](node::Channel, std::string_view, bool) {};
  callbacks.closed = [close = closer(place)](const bus::SessionEnd&) { close(); };
  callbacks.writable = [] {};
  std::shared_ptr<bus::Session> session = offer->accept(std::move(callbacks));
  place->session = session;
  session->write(node::Channel::Stdout, pod.trace());
  session->close({});
}

void Sessions::logs(const std::shared_ptr<Offer>& offer, const PodWorker& pod, const std::string& name) {
  const auto& r = offer->request;
  const auto* container = newest(pod.observed(), name);
  if (container == nullptr) {
    const auto* status = status_of(pod.status(), name);
    if (status == nullptr) {
      return offer->refuse({Code::kBadRequest, fmt::format("container {} is not valid for pod {}", name, r.pod)});
    }
    return offer->refuse({Code::kBadRequest, fmt::format("container \"{}\" in pod \"{}\" is waiting to start: {}", name,
                                                         r.pod, why_waiting(status->state.reason))});
  }
  auto attempt = container->attempt;
  // Between two runs the last one is the previous one, and also what there is to read without asking for it.
  const auto* status = status_of(pod.status(), name);
  const bool between = container->state == ContainerState::kExited && status != nullptr &&
                       status->state.kind == ContainerStateValue::Kind::kWaiting;
  if (r.previous && !between) {
    if (attempt == 0) {
      return offer->refuse({Code::kBadRequest,
                            fmt::format("previous terminated container \"{}\" in pod \"{}\" not found", name, r.pod)});
    }
    --attempt;
  }
  LogSession::Options options;
  options.path = fmt::format(
      "{}/{}/{}.log", agent_.node().paths.logs(pod.observed().ns, pod.observed().name, pod.uid()), name, attempt);
  options.follow = r.follow && !r.previous;
  options.tail_lines = r.tail_lines;
  options.filter.timestamps = r.timestamps;
  options.filter.limit_bytes = r.limit_bytes;
  if (r.since_seconds) options.filter.since_micros = loop_.wall() - *r.since_seconds * 1'000'000;
  if (r.since_time) options.filter.since_micros = *r.since_time * 1'000'000;
  options.running = [this, ns = r.ns, pod_name = r.pod, id = container->id] {
    const auto* now = agent_.find(ns, pod_name);
    if (now == nullptr) return false;
    for (const auto& c : now->observed().containers) {
      if (c.id == id) return c.state == ContainerState::kRunning || c.state == ContainerState::kCreated;
    }
    return false;
  };
  auto place = open_.insert(open_.end(), Open{});
  auto session = std::make_shared<LogSession>(loop_, executor_, std::move(options), closer(place));
  place->session = session;
  session->start(offer->accept(session->callbacks()));
}

void Sessions::command(const std::shared_ptr<Offer>& offer, const PodWorker& pod, const std::string& name) {
  const auto& r = offer->request;
  const auto* container = newest(pod.observed(), name);
  if (container == nullptr || container->state != ContainerState::kRunning) {
    // In the words of the API server, whose users know them.
    return offer->refuse(
        {Code::kBadRequest, fmt::format("unable to upgrade connection: container not found (\"{}\")", name)});
  }
  ExecOptions options;
  options.command = r.command;
  options.in = r.in;
  options.out = r.out;
  options.err = r.err && !r.tty;
  options.tty = r.tty;
  auto place = open_.insert(open_.end(), Open{});
  auto session = std::make_shared<ExecSession>(closer(place));
  place->session = session;
  auto started = [this, offer, session, place,
                  weak = std::weak_ptr<bool>(alive_)](Result<std::unique_ptr<Process>> process) {
    if (weak.expired()) return;
    if (!process.ok()) {
      offer->refuse({process.error().code, process.error().message});
      return closer(place)();
    }
    session->start(std::move(*process), offer->accept(session->session_callbacks()));
  };
  if (r.kind == node::SessionKind::Attach) {
    runtime_.attach(container->id, options, session->process_callbacks(), started);
  } else {
    runtime_.exec(container->id, options, session->process_callbacks(), started);
  }
}

void Sessions::dial(const std::shared_ptr<Offer>& offer) {
  http::DialOptions options;
  options.address = offer->request.address;
  options.tls = offer->request.tls;
  if (options.address == bus::kAgentAddress) options.address = own_address_ ? own_address_() : "";
  if (options.address.empty()) return offer->refuse({Code::kUnavailable, "the agent has no server of its own"});
  http::dial(loop_, options,
             [this, offer, weak = std::weak_ptr<bool>(alive_)](Result<std::shared_ptr<http::Stream>> stream) {
               if (weak.expired()) return;
               if (!stream.ok()) return offer->refuse(stream.error());
               auto place = open_.insert(open_.end(), Open{});
               auto session = std::make_shared<DialSession>(*stream, closer(place));
               place->session = session;
               session->start(offer->accept(session->session_callbacks()));
             });
}

void Sessions::forward(const std::shared_ptr<Offer>& offer, const PodWorker& pod) {
  const Sandbox* sandbox = nullptr;
  for (const auto& s : pod.observed().sandboxes) {
    if (s.ready && sandbox == nullptr) sandbox = &s;
  }
  if (sandbox == nullptr)
    return offer->refuse({Code::kBadRequest, fmt::format("pod {} is not running", offer->request.pod)});
  runtime_.connect_port(sandbox->id, offer->request.port,
                        [this, offer, weak = std::weak_ptr<bool>(alive_)](Result<int> fd) {
                          if (weak.expired()) {
                            if (fd.ok()) ::close(*fd);
                            return;
                          }
                          if (!fd.ok()) return offer->refuse(fd.error());
                          auto place = open_.insert(open_.end(), Open{});
                          auto session = std::make_shared<PortSession>(loop_, *fd, closer(place));
                          place->session = session;
                          session->start(offer->accept(session->session_callbacks()));
                        });
}

}  // namespace gantry::nodeagent
