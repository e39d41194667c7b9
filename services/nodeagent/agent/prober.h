// Liveness, readiness and startup probes of one pod's containers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "services/nodeagent/pod/pod_memory.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// How probes and hooks reach a pod over the network. `done` comes once, on the loop.
class ProbeTransport {
 public:
  virtual ~ProbeTransport() = default;
  struct Http {
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers;
    bool any_status = false;
  };
  /// Succeeds on 200-399, or with `any_status` on whatever is answered.
  virtual void http(const Http& request, Duration timeout, std::function<void(Status)> done) = 0;
  virtual void tcp(const std::string& host, uint16_t port, Duration timeout, std::function<void(Status)> done) = 0;
  /// Asks grpc.health.v1.Health/Check of `service`; succeeds on SERVING.
  virtual void grpc(const std::string& host, uint16_t port, const std::string& service, Duration timeout,
                    std::function<void(Status)> done) = 0;
};

/// The port by number or by the container's name for it; 0 when there is none.
uint16_t resolve_port(const api::meta_v1::IntOrString* port, const core::Container& container);
ProbeTransport::Http render_http(const core::HTTPGetAction& action, const core::Container& container,
                                 const std::string& pod_ip);

/// Loop's thread only; `loop`, `runtime` and `transport` outlive it.
class Prober {
 public:
  /// A result that changes what ProbeResults says. `message` for a failure.
  using Changed = std::function<void(const std::string& container_id, const ProbeResults& results)>;
  /// Each failure, for the Unhealthy event: "Readiness", "Liveness" or "Startup".
  using Failed = std::function<void(const std::string& container, const std::string& kind, const std::string& message)>;
  Prober(Loop& loop, Runtime& runtime, ProbeTransport& transport, Changed changed, Failed failed)
      : loop_(loop),
        runtime_(runtime),
        transport_(transport),
        changed_(std::move(changed)),
        failed_(std::move(failed)) {}

  /// Probes exactly the running containers of `observed` that have probes, but not those in `skipped` (ids). Of a pod
  /// that ends only the readiness is of interest.
  void reconcile(const core::Pod& pod, const RuntimePod& observed, const std::string& pod_ip, WallMicros now,
                 bool ending = false, const std::set<std::string>& skipped = {});
  void stop() { containers_.clear(); }

 private:
  struct Probe {
    std::string kind;
    const core::Probe* spec = nullptr;
    int successes = 0, failures = 0;
    bool under_way = false;
    Timer timer;
  };
  struct Probed {
    std::string id, name, ip;
    const core::Container* spec = nullptr;
    ProbeResults results;
    std::map<std::string, Probe> probes;
  };
  void add(Probed& c, const char* kind, const core::Probe* spec, int64_t age_seconds);
  void probe(const std::string& id, const std::string& kind);
  void on_result(const std::string& id, const std::string& kind, const Status& result);

  Loop& loop_;
  Runtime& runtime_;
  ProbeTransport& transport_;
  Changed changed_;
  Failed failed_;
  std::map<std::string, Probed> containers_;  // by id
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
