#include "services/apigw/relay/relay.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include "libs/model/schema.h"
#include "libs/model/served.h"
#include "services/apigw/relay/relay_stream.h"

namespace gantry::apigw {
namespace {

constexpr auto kHeadPeriod = std::chrono::seconds(1);
constexpr auto kCaptureTimeout = std::chrono::seconds(5);

}  // namespace

Relay::Relay(Loop& loop, state::Store& store, bus::Bus& bus, RelayConfig config)
    : loop_(loop), store_(store), bus_(bus), config_(std::move(config)) {
  renew_ = loop_.every(config_.lease / 3, [this] {
    if (active_) renew();
  });
  renew();
}

Relay::~Relay() = default;

void Relay::renew() {
  const auto ttl = static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(config_.lease).count());
  const Duration asked = loop_.now();
  store_.hold("apigw/relay", config_.holder, ttl, [this, asked, alive = std::weak_ptr(token_)](Result<uint64_t> epoch) {
    if (alive.expired() || resigned_) return;
    if (epoch.ok()) {
      held_at_ = asked;
      if (!active_) take_over();
    } else if (active_ && (epoch.code() == Code::kConflict || loop_.now() - held_at_ >= config_.lease)) {
      step_down(epoch.error().message);
    }
    // The store is not there yet, or the one before has died: events wait for us.
    if (!active_) retry_ = loop_.after(config_.attempt, [this] { renew(); });
  });
}

void Relay::resign(std::function<void()> done) {
  resigned_ = true;
  renew_.reset();
  retry_.reset();
  const bool held = active_;
  if (held) step_down("resigned");
  if (!held) return loop_.post(std::move(done));
  bus_.flush([this, done = std::move(done), alive = std::weak_ptr(token_)](Status) {
    if (alive.expired()) return;
    store_.hold("apigw/relay", config_.holder, 1, [done](Result<uint64_t>) { done(); });
  });
}

void Relay::take_over() {
  LOG(INFO) << "relay active: holder=" << config_.holder;
  active_ = true;
  ++counters_.takeovers;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!model::stored(kind)) continue;
    streams_.push_back(std::make_unique<RelayStream>(loop_, store_, bus_, kind.resource, config_, counters_));
  }
  heads_ = loop_.every(kHeadPeriod, [this] {
    for (auto& stream : streams_) stream->publish_heads();
  });
  if (!config_.stream.empty()) capture();
}

void Relay::step_down(const std::string& why) {
  LOG(WARNING) << "relay no longer active: holder=" << config_.holder << " reason=" << why;
  active_ = false;
  heads_.reset();
  streams_.clear();
}

// History for durable consumers. Nothing depends on it: without JetStream everything else works.
void Relay::capture() {
  const std::string body = fmt::format(
      R"({{"name":"{}","subjects":["gantry.events.>"],"retention":"limits","storage":"file","discard":"old","num_replicas":1,)"
      R"("max_age":{},"max_bytes":{},"duplicate_window":{},"max_consumers":-1,"max_msgs":-1,"max_msg_size":-1}})",
      config_.stream, int64_t{24} * 3600 * 1'000'000'000, int64_t{4} << 30, int64_t{120} * 1'000'000'000);
  bus_.request("$JS.API.STREAM.CREATE." + config_.stream, body, kCaptureTimeout,
               [name = config_.stream](Result<std::string> reply) {
                 if (!reply.ok()) {
                   LOG(WARNING) << "no JetStream capture: stream=" << name << " error=" << reply.error().message;
                 } else if (reply->find("\"error\"") != std::string::npos) {
                   LOG(WARNING) << "no JetStream capture: stream=" << name << " answer=" << *reply;
                 }
               });
}

}  // namespace gantry::apigw
