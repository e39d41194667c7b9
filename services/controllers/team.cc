#include "services/controllers/team.h"

#include <glog/logging.h>

#include "libs/projection/cache.h"
#include "services/controllers/autoscaling/autoscaling.h"
#include "services/controllers/certificates/certificates.h"
#include "services/controllers/clusterrole/clusterrole.h"
#include "services/controllers/cronjob/cronjob.h"
#include "services/controllers/daemonset/daemonset.h"
#include "services/controllers/deployment/deployment.h"
#include "services/controllers/disruption/disruption.h"
#include "services/controllers/endpointslice/endpointslice.h"
#include "services/controllers/endpointslice/mirroring.h"
#include "services/controllers/ephemeralvolume/ephemeralvolume.h"
#include "services/controllers/gc/gc.h"
#include "services/controllers/job/job.h"
#include "services/controllers/loadbalancer/loadbalancer.h"
#include "services/controllers/namespace/namespace.h"
#include "services/controllers/nodelifecycle/nodelifecycle.h"
#include "services/controllers/podgc/podgc.h"
#include "services/controllers/replicaset/replicaset.h"
#include "services/controllers/rootca/rootca.h"
#include "services/controllers/serviceaccount/serviceaccount.h"
#include "services/controllers/statefulset/statefulset.h"
#include "services/controllers/ttlafterfinished/ttlafterfinished.h"
#include "services/controllers/volumebinder/volumebinder.h"
#include "services/controllers/volumeprotection/volumeprotection.h"

namespace gantry::controllers {
namespace {

std::unique_ptr<Controller> make(const std::string& name, const TeamConfig& config, NodeHealth& health,
                                 const Measurements& measured, ScalingHistory& scaling) {
  if (name == "autoscaling") return std::make_unique<AutoscalingController>(measured, scaling);
  if (name == "clusterrole") return std::make_unique<ClusterRoleController>();
  if (name == "csr-approving") return std::make_unique<CertificateApprover>();
  if (name == "csr-cleaner") return std::make_unique<CertificateCleaner>();
  if (name == "csr-signing") return std::make_unique<CertificateSigner>(config.authority);
  if (name == "cronjob") return std::make_unique<CronJobController>();
  if (name == "daemonset") return std::make_unique<DaemonSetController>();
  if (name == "deployment") return std::make_unique<DeploymentController>();
  if (name == "disruption") return std::make_unique<DisruptionController>();
  if (name == "endpointslice") return std::make_unique<EndpointSliceController>();
  if (name == "endpointslicemirroring") return std::make_unique<EndpointSliceMirroringController>();
  if (name == "ephemeral-volume") return std::make_unique<EphemeralVolumeController>();
  if (name == "gc") return std::make_unique<GarbageCollector>();
  if (name == "job") return std::make_unique<JobController>();
  if (name == "loadbalancer") return std::make_unique<LoadBalancerController>(config.load_balancer_range);
  if (name == "namespace") return std::make_unique<NamespaceController>();
  if (name == "nodelifecycle") return std::make_unique<NodeLifecycleController>(health);
  if (name == "podcidr") return std::make_unique<PodCidrController>(config.pod_network);
  if (name == "podgc") return std::make_unique<PodGcController>();
  if (name == "replicaset") return std::make_unique<ReplicaSetController>();
  if (name == "replicationcontroller")
    return std::make_unique<ReplicaSetController>(ReplicaSetController::Of::kReplicationController);
  if (name == "rootca") return std::make_unique<RootCaController>(config.root_ca_pem);
  if (name == "serviceaccount") return std::make_unique<ServiceAccountController>();
  if (name == "statefulset") return std::make_unique<StatefulSetController>();
  if (name == "ttlafterfinished") return std::make_unique<TtlAfterFinishedController>();
  if (name == "persistentvolume-binder") return std::make_unique<VolumeBinder>();
  if (name == "persistentvolume-protection") return std::make_unique<VolumeProtection>();
  LOG(FATAL) << "no such controller: " << name;
}

}  // namespace

std::vector<std::string> Team::names() {
  return {"autoscaling",
          "clusterrole",
          "cronjob",
          "csr-approving",
          "csr-cleaner",
          "csr-signing",
          "daemonset",
          "deployment",
          "disruption",
          "endpointslice",
          "endpointslicemirroring",
          "ephemeral-volume",
          "gc",
          "job",
          "loadbalancer",
          "namespace",
          "nodelifecycle",
          "persistentvolume-binder",
          "persistentvolume-protection",
          "podcidr",
          "podgc",
          "replicaset",
          "replicationcontroller",
          "rootca",
          "serviceaccount",
          "statefulset",
          "ttlafterfinished"};
}

Team::Team(Loop& loop, bus::Bus& bus, bus::Commands& commands, TeamConfig config)
    : loop_(loop),
      bus_(bus),
      commands_(commands),
      config_(std::move(config)),
      recorder_(loop, commands, "controllers", config_.instance),
      health_(loop, config_.node_monitor_grace) {
  for (const std::string& name : config_.controllers.empty() ? names() : config_.controllers) {
    auto member = std::make_unique<Member>();
    member->controller = make(name, config_, health_, measured_, scaling_);
    member->runner = std::make_unique<Runner>(loop_, commands_, view_, *member->controller, &recorder_);
    if (name == "autoscaling") measure(*member);
    if (name == "nodelifecycle") {
      heartbeats_ = std::make_unique<HeartbeatListener>(bus_, health_);
      health_.on_return([runner = member->runner.get()](const std::string& node) { runner->enqueue(node); });
    }
    members_.push_back(std::move(member));
  }
  // After every controller has declared its indexes.
  for (const auto& [resource, cache] : view_.caches()) {
    feeds_.push_back(projection::attach(loop_, bus_, commands_, view_.need(resource), {resource, "", ""}));
  }
  for (auto& member : members_) elect(*member);
}

Team::~Team() = default;

void Team::measure(Member& autoscaler) {
  measured_.usage = std::make_unique<usage::UsageBoard>(loop_, bus_);
  measured_.metrics = std::make_unique<usage::MetricBoard>(loop_, bus_);
  Runner* runner = autoscaler.runner.get();
  measured_.metrics->on_change([this, runner](const std::string& ns, const std::string& name) {
    if (!runner->leading()) return;
    for (const std::string& key : AutoscalingController::keys_of_metric(view_, ns, name)) runner->enqueue(key);
  });
  measured_.queues = std::make_unique<QueueWatch>(loop_, bus_, *measured_.metrics, [this, runner] {
    return runner->leading() ? queues_wanted(view_) : std::set<Queue>();
  });
}

void Team::elect(Member& member) {
  std::string lease = fmt::format("controllers-{}", member.controller->name());
  Member* m = &member;
  member.election = std::make_unique<service::Election>(
      loop_, commands_, service::ElectionOptions{lease, config_.instance, config_.lease_ttl},
      service::Election::Callbacks{[m, lease](uint64_t epoch) { m->runner->lead(lease, epoch); },
                                   [m] { m->runner->resign(); }});
  // The election hears of a new holder by itself. If it still holds the lease by then, the epoch was good after all.
  member.runner->on_deposed([this, m, lease] {
    m->again = loop_.after(config_.lease_ttl, [m, lease] {
      if (m->election->leading()) m->runner->lead(lease, m->election->epoch());
    });
  });
}

bool Team::synced() const {
  return std::all_of(view_.caches().begin(), view_.caches().end(),
                     [](const auto& entry) { return entry.second->synced(); });
}

void Team::drain(std::function<void()> done) {
  auto left = std::make_shared<size_t>(members_.size());
  if (*left == 0) return done();
  for (auto& member : members_) {
    member->again.reset();
    member->election->resign([left, done] {
      if (--*left == 0) done();
    });
  }
}

}  // namespace gantry::controllers
