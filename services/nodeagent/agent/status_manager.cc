#include "services/nodeagent/agent/status_manager.h"

namespace gantry::nodeagent {

namespace {
constexpr Duration kFirstRetry = std::chrono::milliseconds(500), kMostRetry = std::chrono::seconds(10);
}  // namespace

void StatusManager::set(const std::string& uid, const std::string& ns, const std::string& name, std::string bytes,
                        const std::string& api_uid, std::string because) {
  auto& pod = pods_[uid];
  if (pod.bytes == bytes) return;
  pod.ns = ns;
  pod.name = name;
  pod.bytes = std::move(bytes);
  pod.api_uid = api_uid;
  pod.because = std::move(because);
  pod.settled = false;
  if (pod.in_flight) {
    pod.changed = true;
  } else {
    pod.retry.reset();
    send(uid);
  }
}

void StatusManager::resend(const std::string& uid) {
  auto found = pods_.find(uid);
  if (found == pods_.end() || found->second.in_flight || found->second.bytes.empty()) return;
  found->second.settled = false;
  send(uid);
}

void StatusManager::when_settled(const std::string& uid, std::function<void()> done) {
  auto found = pods_.find(uid);
  if (found == pods_.end() || found->second.settled) return done();
  found->second.waiting.push_back(std::move(done));
}

void StatusManager::send(const std::string& uid) {
  auto& pod = pods_[uid];
  pod.in_flight = true;
  pod.changed = false;
  bus::Command command;
  command.verb = bus::Verb::Update;
  command.resource = "pods";
  command.subresource = "status";
  command.ns = pod.ns;
  command.name = pod.name;
  command.uid = pod.api_uid;
  command.object = pod.bytes;
  command.because = pod.because;
  command.sequence_epoch = sequence_.epoch();
  command.sequence_number = sequence_.next();
  ++counters_.sent;
  commands_.send(std::move(command),
                 [this, uid, weak = std::weak_ptr<bool>(alive_)](Result<bus::CommandOutcome> outcome) {
                   if (!weak.expired()) on_answer(uid, outcome);
                 });
}

void StatusManager::on_answer(const std::string& uid, const Result<bus::CommandOutcome>& outcome) {
  auto found = pods_.find(uid);
  if (found == pods_.end()) return;
  auto& pod = found->second;
  pod.in_flight = false;
  if (outcome.ok()) {
    ++counters_.acknowledged;
    pod.failures = 0;
    if (pod.changed) return send(uid);
    return settle(pod);
  }
  switch (outcome.code()) {
    case Code::kUnavailable:
    case Code::kTimeout:
    case Code::kUnknownOutcome:
    case Code::kTooManyRequests:
    case Code::kInternal:
      break;
    case Code::kNotFound:
      if (pod.changed) return send(uid);
      return settle(pod);
    default:
      // Refused for good: another pod of this name, or something newer than this was accepted. What changed since may
      // still be right.
      ++counters_.refused;
      LOG(WARNING) << "pod=" << pod.ns << "/" << pod.name << " status refused: " << outcome.error().message;
      if (pod.changed) return send(uid);
      return settle(pod);
  }
  ++counters_.retried;
  auto delay = std::min(kMostRetry, kFirstRetry * (1 << std::min(pod.failures++, 5)));
  pod.retry = loop_.after(delay, [this, uid] { send(uid); });
}

void StatusManager::settle(Pod& pod) {
  pod.settled = true;
  auto waiting = std::move(pod.waiting);
  pod.waiting.clear();
  for (auto& done : waiting) done();
}

}  // namespace gantry::nodeagent
