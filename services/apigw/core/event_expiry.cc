#include "services/apigw/core/event_expiry.h"

#include "libs/base/ids.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::apigw {
namespace {

constexpr int64_t kLifetimeSeconds = 3600;
constexpr auto kPeriod = std::chrono::seconds(60);
constexpr uint32_t kLeaseMillis = 150'000;  // longer than two periods
constexpr size_t kBatch = 1000;             // a sweep; the next one goes on

int64_t last_seen(const model::Object& object) {
  const auto* event = object.as<api::core_v1::Event>();
  int64_t seconds = object.meta()->creation_timestamp().value_or(0);
  seconds = std::max(seconds, event->last_timestamp().value_or(0));
  if (event->series() != nullptr)
    seconds = std::max(seconds, event->series()->last_observed_time().value_or(0) / 1'000'000);
  return seconds;
}

}  // namespace

EventExpiry::EventExpiry(Loop& loop, state::Store& store, Api& api, World& world)
    : loop_(loop), store_(store), api_(api), world_(world), holder_(new_uid()) {
  timer_ = loop_.every(kPeriod, [this] { ask(); });
}

void EventExpiry::ask() {
  store_.hold("apigw/event-expiry", holder_, kLeaseMillis, alive_.guard([this](Result<uint64_t> epoch) {
    if (epoch.ok()) sweep();
  }));
}

void EventExpiry::sweep() {
  const int64_t oldest = loop_.wall() / 1'000'000 - kLifetimeSeconds;
  std::vector<model::Object> old;
  world_.find("events")->cache().for_each([&](const model::Object& event) {
    if (old.size() < kBatch && last_seen(event) < oldest) old.push_back(event);
  });
  for (const auto& event : old) {
    bus::Command command;
    command.verb = bus::Verb::Delete;
    command.resource = "events";
    command.ns = event.ns();
    command.name = event.name();
    command.revision = event.revision();  // not one that was seen again meanwhile
    api_.handle(gateway(), std::move(command), [](Result<Answer>) {});
  }
}

}  // namespace gantry::apigw
