#include "services/controllers/nodelifecycle/health.h"

#include <flatbuffers/flatbuffers.h>
#include <glog/logging.h>

#include "libs/base/ids.h"
#include "libs/model/object.h"
#include "schemas/node_generated.h"

namespace gantry::controllers {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(500);

}  // namespace

NodeHealth::NodeHealth(Loop& loop, Duration grace)
    : loop_(loop), grace_(grace), since_(loop.now()), last_tick_(loop.now()) {
  tick_ = loop_.every(kTick, [this] {
    // Stopped, suspended or starved for a good part of the grace: beats may still be queued behind this timer.
    if (loop_.now() - last_tick_ > kTick + grace_ / 4) since_ = loop_.now();
    last_tick_ = loop_.now();
  });
}

void NodeHealth::heard(const std::string& node, uint64_t epoch, uint64_t sequence, bool ready, std::string reason) {
  bool was_missing = missing(node);
  Beat& beat = beats_[node];
  if (std::pair(epoch, sequence) <= std::pair(beat.epoch, beat.sequence) && beat.epoch != 0) return;
  beat = {loop_.now(), epoch, sequence, ready, std::move(reason)};
  if (was_missing && returned_) returned_(node);
}

void NodeHealth::connected(bool connected) {
  if (connected && !connected_) since_ = loop_.now();
  connected_ = connected;
}

void NodeHealth::restart() {
  beats_.clear();
  since_ = loop_.now();
}

Duration NodeHealth::silence(const std::string& node) const {
  auto it = beats_.find(node);
  return loop_.now() - (it == beats_.end() ? since_ : std::max(since_, it->second.at));
}

const NodeHealth::Beat* NodeHealth::fresh(const std::string& node) const {
  auto it = beats_.find(node);
  return it == beats_.end() || loop_.now() - it->second.at > grace_ ? nullptr : &it->second;
}

HeartbeatListener::HeartbeatListener(bus::Bus& bus, NodeHealth& health) {
  health.connected(bus.connected());
  connection_ = bus.on_connection([&health](bool connected) { health.connected(connected); });
  subscription_ = bus.subscribe("gantry.node.*.up.heartbeat", "", [&health](const bus::Message& message) {
    // The token in the subject is what NATS lets this agent publish under: it, not the body, says who speaks.
    constexpr std::string_view kHead = "gantry.node.";
    std::string_view rest = message.subject.substr(std::min(kHead.size(), message.subject.size()));
    auto node = decode_token(rest.substr(0, rest.find('.')));
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(message.data.data()), message.data.size());
    if (!node || !verifier.VerifyBuffer<node::Heartbeat>(nullptr)) {
      LOG_EVERY_N(WARNING, 100) << "not a heartbeat: subject=" << message.subject;
      return;
    }
    const auto* beat = flatbuffers::GetRoot<node::Heartbeat>(message.data.data());
    health.heard(*node, beat->epoch(), beat->sequence(), beat->ready(), std::string(model::str(beat->reason())));
  });
}

}  // namespace gantry::controllers
