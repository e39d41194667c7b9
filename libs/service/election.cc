#include "libs/service/election.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "libs/service/log.h"

namespace gantry::service {

Election::Election(Loop& loop, bus::Commands& commands, ElectionOptions options, Callbacks callbacks)
    : loop_(loop), commands_(commands), options_(std::move(options)), callbacks_(std::move(callbacks)) {
  schedule(Duration::zero());
}

bus::Command Election::hold_command(int64_t seconds) const {
  bus::Command command;
  command.verb = bus::Verb::Update;
  command.resource = "leases";
  command.subresource = "hold";
  command.ns = "kube-system";
  command.name = options_.lease;
  command.json = nlohmann::json{{"apiVersion", "coordination.k8s.io/v1"},
                                {"kind", "Lease"},
                                {"metadata", {{"name", options_.lease}, {"namespace", "kube-system"}}},
                                {"spec", {{"holderIdentity", options_.holder}, {"leaseDurationSeconds", seconds}}}}
                     .dump();
  return command;
}

void Election::schedule(Duration delay) {
  next_ = loop_.after(delay, [this] { ask(); });
}

void Election::ask() {
  auto sent = loop_.now();
  // Its own deadline bounds it, so that there is never a second one under way.
  commands_.send(hold_command(options_.ttl.count()), Duration(options_.ttl) / 3,
                 [this, sent, alive = std::weak_ptr(alive_)](Result<bus::CommandOutcome> result) {
                   if (!alive.expired() && !stopped_) answered(sent, std::move(result));
                 });
}

void Election::answered(Duration sent, Result<bus::CommandOutcome> result) {
  const Duration ttl = options_.ttl;
  if (!result) {
    last_error_ = result.error().message;
    if (result.code() == Code::kConflict) {
      if (leading()) lose("another holds the lease");
      return schedule(ttl / 3);
    }
    VLOG(1) << "lease not renewed" << kv("lease", options_.lease) << kv("error", last_error_);
    return schedule(ttl / 12);
  }
  const Duration valid_until = sent + ttl - ttl / 10;
  if (valid_until <= loop_.now()) return schedule(Duration::zero());  // so late that it is over again
  last_error_.clear();
  if (leading() && result->revision != epoch_) lose("the lease has another epoch");
  expiry_ = loop_.after(valid_until - loop_.now(), [this] { lose("the lease could not be renewed in time"); });
  schedule(std::max(sent + ttl / 3 - loop_.now(), Duration::zero()));
  if (leading()) return;
  epoch_ = result->revision;
  LOG(INFO) << "elected" << kv("lease", options_.lease) << kv("epoch", epoch_) << kv("holder", options_.holder);
  callbacks_.elected(epoch_);
}

void Election::lose(const char* why) {
  expiry_.reset();
  LOG(WARNING) << "lease lost" << kv("lease", options_.lease) << kv("epoch", epoch_) << kv("reason", why);
  epoch_ = 0;
  callbacks_.lost();
}

void Election::resign(std::function<void()> done) {
  const bool held = leading();
  stopped_ = true;
  next_.reset();
  if (held) lose("resigned");
  if (!held) return loop_.post(std::move(done));
  commands_.send(hold_command(1), std::chrono::seconds(1),
                 [done = std::move(done)](Result<bus::CommandOutcome>) { done(); });
}

}  // namespace gantry::service
