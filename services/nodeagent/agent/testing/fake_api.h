// The gateway as an agent sees it, in memory: takes commands, keeps pods in a cache, ConfigMaps and Secrets in a map.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "libs/bus/command.h"
#include "libs/projection/cache.h"
#include "services/nodeagent/agent/executor.h"
#include "services/nodeagent/agent/prober.h"

namespace gantry::testing {

class FakeApi final : public bus::Commands {
 public:
  explicit FakeApi(Loop& loop);

  /// Creates or replaces; JSON of the whole object. Returns its revision.
  uint64_t put(const std::string& resource, const std::string& json);
  /// What a user's delete does: sets deletionTimestamp and grace; the agent's confirmation removes it.
  void delete_pod(const std::string& ns, const std::string& name, int64_t grace_seconds);
  /// Replaces the pod's status behind the agent's back, as the node lifecycle controller does; JSON.
  void set_status(const std::string& ns, const std::string& name, const std::string& status);
  /// Gone at once, as by force.
  void remove_pod(const std::string& ns, const std::string& name);
  const model::Object* pod(const std::string& ns, const std::string& name) const { return pods.find(ns, name); }
  /// The status that the agent reported last, as JSON; "{}" without.
  std::string status_json(const std::string& ns, const std::string& name) const;
  std::string phase(const std::string& ns, const std::string& name) const;
  bool ready(const std::string& ns, const std::string& name) const;

  void send(bus::Command command, Duration deadline, bus::CommandDone done) override;
  using Commands::send;

  /// The next command of this verb on this resource answers the error (kUnknownOutcome: after doing it).
  void fail_next(bus::Verb verb, const std::string& resource, Error error);

  projection::Cache pods;
  std::map<std::string, model::Object> objects;  // "<resource>/<ns>/<name>"
  std::vector<bus::Command> commands;
  int tokens = 0;  // issued: token-1, token-2, ...
  int64_t token_seconds = 3600;

 private:
  Result<bus::CommandOutcome> handle(const bus::Command& command);
  Loop& loop_;
  uint64_t revision_ = 1;
  std::map<std::pair<bus::Verb, std::string>, std::deque<Error>> failures_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> sequences_;  // by uid
};

/// Answers as set; counts.
class FakeProbes final : public nodeagent::ProbeTransport {
 public:
  explicit FakeProbes(Loop& loop) : loop_(loop) {}
  void http(const Http& request, Duration, std::function<void(Status)> done) override {
    answer(request.url, std::move(done));
  }
  void tcp(const std::string& host, uint16_t port, Duration, std::function<void(Status)> done) override {
    answer(host + ":" + std::to_string(port), std::move(done));
  }
  void grpc(const std::string& host, uint16_t port, const std::string& service, Duration,
            std::function<void(Status)> done) override {
    answer(host + ":" + std::to_string(port) + "/" + service, std::move(done));
  }
  bool healthy = true;
  std::vector<std::string> asked;

 private:
  void answer(const std::string& what, std::function<void(Status)> done) {
    asked.push_back(what);
    loop_.post([done = std::move(done), ok = healthy] {
      done(ok ? Status(Done{}) : Error{Code::kUnavailable, "connection refused"});
    });
  }
  Loop& loop_;
};

}  // namespace gantry::testing
