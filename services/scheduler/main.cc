// gantry-scheduler: gives pods their nodes. One process leads, the others follow and are ready to.
#include <CLI/CLI.hpp>

#include "libs/model/schema.h"
#include "libs/service/election.h"
#include "libs/service/service.h"
#include "services/scheduler/scheduler.h"

namespace {

using namespace gantry;  // NOLINT(google-build-using-namespace)

constexpr const char* kLease = "scheduler";

/// All parts of the process, in the order of their making.
struct Parts {
  Parts(service::Service& s, const scheduler::Scheduler::Options& options, std::chrono::seconds ttl)
      : nodes(*model::Schema::get().by_resource("nodes")),
        pods(*model::Schema::get().by_resource("pods")),
        claims(*model::Schema::get().by_resource("persistentvolumeclaims")),
        persistent(*model::Schema::get().by_resource("persistentvolumes")),
        classes(*model::Schema::get().by_resource("storageclasses")),
        csi_nodes(*model::Schema::get().by_resource("csinodes")),
        namespaces(*model::Schema::get().by_resource("namespaces")),
        budgets(*model::Schema::get().by_resource("poddisruptionbudgets")),
        volumes(claims, persistent, classes, csi_nodes, pods),
        recorder(s.loop(), s.commands(), options.name, s.instance()),
        scheduler(s.loop(), s.commands(), nodes, pods, &recorder, options),
        node_feed(projection::attach(s.loop(), s.bus(), s.commands(), nodes, {"nodes", "", ""})),
        pod_feed(projection::attach(s.loop(), s.bus(), s.commands(), pods, {"pods", "", ""})),
        election(s.loop(), s.commands(), {kLease, s.instance(), ttl},
                 {[this](uint64_t epoch) { scheduler.lead(kLease, epoch); }, [this] { scheduler.resign(); }}) {
    scheduler.use_volumes(volumes);
    for (projection::Cache* cache : {&claims, &persistent, &classes, &csi_nodes}) {
      cache->on_change([this](const projection::Change&) { scheduler.volumes_changed(); });
      feeds.push_back(projection::attach(s.loop(), s.bus(), s.commands(), *cache, {cache->kind().resource, "", ""}));
    }
    scheduler.use_namespaces(namespaces);
    scheduler.use_budgets(budgets);
    for (projection::Cache* cache : {&namespaces, &budgets}) {
      feeds.push_back(projection::attach(s.loop(), s.bus(), s.commands(), *cache, {cache->kind().resource, "", ""}));
    }
    // The election hears of a new holder by itself. If it still holds the lease by then, the epoch was good after all.
    scheduler.on_deposed([this, &s, ttl] {
      again = s.loop().after(ttl, [this] {
        if (election.leading()) scheduler.lead(kLease, election.epoch());
      });
    });
  }

  projection::Cache nodes, pods, claims, persistent, classes, csi_nodes, namespaces, budgets;
  scheduler::Volumes volumes;
  projection::Recorder recorder;
  scheduler::Scheduler scheduler;
  std::unique_ptr<bus::Feed> node_feed, pod_feed;
  std::vector<std::unique_ptr<bus::Feed>> feeds;
  service::Election election;
  Timer again;
};

void expose(service::Metrics& metrics, const Parts& parts) {
  const auto& c = parts.scheduler.counters();
  metrics.gauge("gantry_scheduler_leading", "1 while this process binds.").set(parts.scheduler.leading());
  metrics.gauge("gantry_scheduler_pending", "Pods to try.").set(static_cast<double>(parts.scheduler.queue().active()));
  metrics.gauge("gantry_scheduler_unschedulable", "Pods that wait for room.")
      .set(static_cast<double>(parts.scheduler.queue().sleeping()));
  metrics.gauge("gantry_scheduler_nodes", "Nodes known.")
      .set(static_cast<double>(parts.scheduler.cluster().node_count()));
  metrics.counter("gantry_scheduler_bound_total", "Pods bound to a node.").set(c.bound);
  metrics.counter("gantry_scheduler_failed_total", "Binds refused.").set(c.failed);
  metrics.counter("gantry_scheduler_tried_total", "Searches for a node.").set(c.tried);
  metrics.counter("gantry_scheduler_resends_total", "Binds sent again because their outcome was unknown.")
      .set(c.resends);
  metrics.counter("gantry_scheduler_victims_total", "Pods told to go for one of higher priority.").set(c.victims);
  metrics.counter("gantry_events_shed_total", "Events that were not recorded.").set(parts.recorder.shed());
}

}  // namespace

int main(int argc, char** argv) {
  service::Service service("scheduler", "Gives pods their nodes");
  scheduler::Scheduler::Options options;
  int64_t lease_ttl = 15;
  service.flags()
      .add_option("--scheduler-name", options.name, "The spec.schedulerName that it serves")
      ->capture_default_str();
  service.flags()
      .add_option("--lease-seconds", lease_ttl, "How long the lease lasts without renewal")
      ->check(CLI::Range(3, 300))
      ->capture_default_str();
  return service.run(argc, argv, [&](service::Service& s) -> Status {
    auto parts = s.keep(std::make_shared<Parts>(s, options, std::chrono::seconds(lease_ttl)));
    s.add_ready("caches", [parts = parts.get()]() -> Status {
      const auto& p = *parts;
      if (p.nodes.synced() && p.pods.synced() && p.claims.synced() && p.persistent.synced() && p.classes.synced() &&
          p.csi_nodes.synced() && p.namespaces.synced() && p.budgets.synced())
        return Done{};
      return Error{.code = Code::kUnavailable, .message = "caches have no snapshot yet"};
    });
    s.on_drain("lease", [parts = parts.get()](auto done) {
      parts->again.reset();
      parts->election.resign(std::move(done));
    });
    s.metrics().collect([&s, parts = parts.get()] { expose(s.metrics(), *parts); });
    return Done{};
  });
}
