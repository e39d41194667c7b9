// The controllers of one process: their shared view, a runner and a lease for each. Loop's thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/bus.h"
#include "libs/bus/command.h"
#include "libs/bus/events.h"
#include "libs/projection/recorder.h"
#include "libs/service/election.h"
#include "services/controllers/autoscaling/autoscaling.h"
#include "services/controllers/autoscaling/queues.h"
#include "services/controllers/certificates/authority.h"
#include "services/controllers/framework/runner.h"
#include "services/controllers/framework/view.h"
#include "services/controllers/loadbalancer/loadbalancer.h"
#include "services/controllers/nodelifecycle/health.h"
#include "services/controllers/podcidr/podcidr.h"

namespace gantry::controllers {

struct TeamConfig {
  std::vector<std::string> controllers;  // names; empty: all
  PodCidrController::Network pod_network;
  AddressRange load_balancer_range;            // empty: nobody gives Services of type LoadBalancer an address
  std::string root_ca_pem;                     // empty: nobody keeps kube-root-ca.crt
  std::shared_ptr<const Authority> authority;  // signs certificates; null: nobody does
  Duration node_monitor_grace = std::chrono::seconds(40);
  std::string instance;  // of this process: holds leases, and stands in Events
  std::chrono::seconds lease_ttl{15};
};

class Team {
 public:
  /// Every name that --controllers takes.
  static std::vector<std::string> names();

  /// `loop`, `bus` and `commands` outlive it. Names must be known.
  Team(Loop& loop, bus::Bus& bus, bus::Commands& commands, TeamConfig config);
  ~Team();

  /// Every cache has its first snapshot.
  bool synced() const;
  /// Gives the leases back.
  void drain(std::function<void()> done);

  struct Member {
    std::unique_ptr<Controller> controller;
    std::unique_ptr<Runner> runner;
    std::unique_ptr<service::Election> election;
    Timer again;
  };
  const std::vector<std::unique_ptr<Member>>& members() const { return members_; }
  const View& view() const { return view_; }
  const projection::Recorder& recorder() const { return recorder_; }

 private:
  void elect(Member& member);
  void measure(Member& autoscaler);

  Loop& loop_;
  bus::Bus& bus_;
  bus::Commands& commands_;
  TeamConfig config_;
  View view_;
  projection::Recorder recorder_;
  NodeHealth health_;
  struct Measured final : Measurements {
    std::optional<usage::PodMeasured> pod(std::string_view uid) const override {
      return usage ? usage->pod(uid) : std::nullopt;
    }
    void pushed(std::string_view ns, std::string_view name,
                const std::function<void(const usage::Sample&)>& visit) const override {
      if (metrics) metrics->for_each(ns, name, visit);
    }
    // Of the process that has the autoscaler.
    std::unique_ptr<usage::UsageBoard> usage;
    std::unique_ptr<usage::MetricBoard> metrics;
    std::unique_ptr<QueueWatch> queues;
  } measured_;
  ScalingHistory scaling_;
  std::unique_ptr<HeartbeatListener> heartbeats_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::unique_ptr<bus::Feed>> feeds_;
};

}  // namespace gantry::controllers
