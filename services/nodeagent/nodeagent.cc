#include "services/nodeagent/nodeagent.h"

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <sstream>

#include "libs/model/quantity.h"
#include "libs/projection/recorder.h"
#include "libs/service/service.h"
#include "services/nodeagent/agent/probe_transport.h"
#include "services/nodeagent/agent/shutdown.h"
#include "services/nodeagent/agent/static_pods.h"
#include "services/nodeagent/node/admission.h"
#include "services/nodeagent/node/cni.h"
#include "services/nodeagent/node/host.h"
#include "services/nodeagent/node/housekeeper.h"
#include "services/nodeagent/node/registrar.h"
#include "services/nodeagent/node/usage_reporter.h"
#include "services/nodeagent/node_csi.h"
#include "services/nodeagent/runtime/hollow_runtime.h"
#include "services/nodeagent/runtime_choice.h"
#include "services/nodeagent/session/log_rotator.h"
#include "services/nodeagent/session/sessions.h"

namespace gantry::nodeagent {

namespace {

constexpr char kVersion[] = "v1.34.0-gantry0.1.0";

/// Everything of one node; members in the order of their lifetimes.
struct Node {
  Node(service::Service& s, const std::string& name, uint64_t epoch) : sequence(epoch) {
    const auto& schema = model::Schema::get();
    pods = std::make_unique<projection::Cache>(*schema.by_resource("pods"));
    nodes = std::make_unique<projection::Cache>(*schema.by_resource("nodes"));
    recorder = std::make_unique<projection::Recorder>(s.loop(), s.commands(), "kubelet", name);
  }

  Sequence sequence;
  std::unique_ptr<projection::Cache> pods, nodes;
  std::unique_ptr<projection::Recorder> recorder;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<ProbeTransport> probes;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<Registrar> registrar;
  std::unique_ptr<NodeCsi> csi;
  std::unique_ptr<Agent> agent;
  std::unique_ptr<StaticPods> static_pods;
  std::shared_ptr<void> static_watch;
  std::unique_ptr<NodeShutdown> shutdown;
  std::shared_ptr<void> power;
  std::unique_ptr<Sessions> sessions;
  std::unique_ptr<LogRotator> rotator;
  std::unique_ptr<UsageReporter> usage;
  std::unique_ptr<Housekeeper> housekeeper;
  std::unique_ptr<bus::Feed> pod_feed, node_feed;
};

void attach(service::Service& s, Node& node, const std::string& name) {
  node.agent->on_record(
      [&node](const model::Object& pod, bool warning, const std::string& reason, const std::string& message) {
        node.recorder->record({pod, warning ? "Warning" : "Normal", reason, message});
      });
  node.agent->on_runtime(
      [&node](bool connected, const std::string& why) { node.registrar->set_runtime(connected, why); });
  node.agent->start(&s.bus());
  node.registrar->start();
  node.pod_feed = projection::attach(s.loop(), s.bus(), s.commands(), *node.pods, {"pods", name, ""});
  node.node_feed = projection::attach(s.loop(), s.bus(), s.commands(), *node.nodes, {"nodes", name, ""});
}

AgentOptions agent_options(const Options& options, const std::string& name, const std::string& address) {
  AgentOptions out;
  auto& node = out.node;
  node.node = name;
  if (!address.empty()) node.host_ips = {address};
  node.cluster_dns = options.cluster_dns;
  node.cluster_domain = options.cluster_domain;
  node.host_dns = host_dns();
  if (auto colon = options.kubernetes_service.rfind(':'); colon != std::string::npos) {
    node.service_host = options.kubernetes_service.substr(0, colon);
    node.service_port = options.kubernetes_service.substr(colon + 1);
  }
  node.cgroup_parent = options.cgroup_parent;
  node.paths.root = options.root;
  node.seccomp_root = options.root + "/seccomp";
  node.pod_cgroups = true;
  node.pod_pids = options.pod_pids;
  node.apparmor = std::filesystem::exists("/sys/module/apparmor");
  std::istringstream sysctls(options.allowed_unsafe_sysctls);
  for (std::string name; std::getline(sysctls, name, ',');) node.unsafe_sysctls.push_back(name);
  out.parallel_pulls = static_cast<size_t>(options.parallel_pulls);
  return out;
}

Result<RegistrarOptions> registrar_options(const Options& options, const std::string& name,
                                           const std::string& address) {
  RegistrarOptions out;
  out.node = name;
  out.address = address;
  out.machine = read_machine();
  auto capacity = parse_capacity(options.capacity, out.machine);
  if (!capacity.ok()) return capacity.error();
  out.capacity = std::move(*capacity);
  auto labels = parse_pairs("--node-labels", options.labels);
  if (!labels.ok()) return labels.error();
  out.labels = std::move(*labels);
  auto taints = parse_taints(options.taints);
  if (!taints.ok()) return taints.error();
  for (auto& taint : *taints)
    out.taints.push_back({std::move(taint.key), std::move(taint.value), std::move(taint.effect)});
  out.version = kVersion;
  out.heartbeat_period = std::chrono::seconds(options.heartbeat_seconds);
  return out;
}

// What the machine has beside processors and memory, and what of it all is not for pods.
Status reserve(const Options& options, const std::vector<Threshold>& thresholds, RegistrarOptions& out) {
  for (const auto& [resource, value] : huge_pages()) out.capacity.emplace(resource, value);
  if (const auto disk = disk_bytes(options.root); disk > 0)
    out.capacity.emplace("ephemeral-storage", fmt::format("{}Ki", disk / 1024));
  auto system = parse_pairs("--system-reserved", options.system_reserved);
  if (!system.ok()) return system.error();
  auto agents = parse_pairs("--kube-reserved", options.kube_reserved);
  if (!agents.ok()) return agents.error();
  std::map<std::string, std::string> eviction;  // pods never get to use it
  for (const auto& t : thresholds) {
    if (t.soft || (t.signal != "memory.available" && t.signal != "nodefs.available")) continue;
    const char* resource = t.signal == "memory.available" ? "memory" : "ephemeral-storage";
    const auto total = model::Quantity::parse(out.capacity[resource]);
    if (total.ok()) eviction[resource] = fmt::format("{}", t.quantity({0, total->value()}));
  }
  out.allocatable = allocatable(out.capacity, {*system, *agents, eviction});
  return Done{};
}

Result<HousekeeperOptions> housekeeper_options(const Options& options, int64_t memory) {
  HousekeeperOptions out;
  auto hard = parse_thresholds(options.eviction_hard);
  if (!hard.ok()) return hard.error();
  auto soft = parse_soft_thresholds(options.eviction_soft, options.eviction_soft_grace);
  if (!soft.ok()) return soft.error();
  out.eviction.thresholds = std::move(*hard);
  out.eviction.thresholds.insert(out.eviction.thresholds.end(), soft->begin(), soft->end());
  out.eviction.max_pod_grace_seconds = options.eviction_max_grace;
  out.eviction.pressure_transition = std::chrono::seconds(options.eviction_transition_seconds);
  out.images.high_percent = options.image_gc_high;
  out.images.low_percent = options.image_gc_low;
  out.images.minimum_age = std::chrono::seconds(options.image_minimum_age_seconds);
  out.part_of_machine = !options.capacity.empty();
  out.memory_capacity = memory;
  return out;
}

std::vector<LogRotator::Log> running_logs(const Agent& agent) {
  std::vector<LogRotator::Log> out;
  agent.for_each([&](const PodWorker& pod) {
    for (const auto& container : pod.observed().containers) {
      if (container.state == ContainerState::kRunning && !container.log_path.empty())
        out.push_back({container.id, container.log_path});
    }
  });
  return out;
}

void add_metrics(service::Service& s, std::vector<Node*> nodes) {
  auto& metrics = s.metrics();
  auto& pods = metrics.gauge("gantry_nodeagent_pods", "Pods that are here: wanted or still going.");
  auto& sent = metrics.counter("gantry_nodeagent_status_sent_total", "Pod status reports sent.");
  auto& retried = metrics.counter("gantry_nodeagent_status_retried_total", "Pod status reports sent again.");
  auto& ready = metrics.gauge("gantry_nodeagent_ready_nodes", "Nodes of this agent that are ready.");
  auto& evicted = metrics.counter("gantry_nodeagent_evictions_total", "Pods that had to go.");
  auto& removed = metrics.counter("gantry_nodeagent_images_removed_total", "Unused images removed from a full disk.");
  metrics.collect([&pods, &sent, &retried, &ready, &evicted, &removed, nodes = std::move(nodes)] {
    uint64_t gone = 0, images = 0;
    size_t count = 0, up = 0;
    uint64_t reports = 0, again = 0;
    for (const auto& node : nodes) {
      count += node->agent->size();
      up += node->registrar->ready();
      if (node->housekeeper) {
        gone += node->housekeeper->counters().evicted;
        images += node->housekeeper->counters().images_removed;
      }
      reports += node->agent->statuses().counters().sent;
      again += node->agent->statuses().counters().retried;
    }
    pods.set(static_cast<double>(count));
    ready.set(static_cast<double>(up));
    evicted.set(gone);
    removed.set(images);
    sent.set(reports);
    retried.set(again);
  });
}

/// How full the volumes of claims are, under the names that dashboards know.
void add_volume_metrics(service::Service& s, const NodeCsi& csi) {
  s.metrics().collect([&s, &csi] {
    for (const auto& [claim, usage] : csi.volumes().usage()) {
      const service::Labels labels{{"namespace", claim.substr(0, claim.find('/'))},
                                   {"persistentvolumeclaim", claim.substr(claim.find('/') + 1)}};
      const auto set = [&](const char* name, const char* help, int64_t value) {
        s.metrics().gauge(name, help, labels).set(static_cast<double>(value));
      };
      set("kubelet_volume_stats_capacity_bytes", "Size of the volume.", usage.capacity_bytes);
      set("kubelet_volume_stats_available_bytes", "Bytes that are free in it.", usage.available_bytes);
      set("kubelet_volume_stats_used_bytes", "Bytes that are used in it.", usage.used_bytes);
      set("kubelet_volume_stats_inodes", "Files that it can hold.", usage.inodes);
      set("kubelet_volume_stats_inodes_free", "Files that it can take more.", usage.inodes_free);
      set("kubelet_volume_stats_inodes_used", "Files in it.", usage.inodes_used);
    }
  });
}

void add_static_pods(service::Service& s, Node& node, const std::string& directory, const std::string& name) {
  if (directory.empty()) return;
  node.agent->expect_static_pods();
  node.agent->set_node_uid("");
  node.registrar->on_registered([&agent = *node.agent](const std::string& uid) { agent.set_node_uid(uid); });
  node.static_pods = std::make_unique<StaticPods>(
      s.loop(), *node.executor, directory, name,
      [&agent = *node.agent](std::vector<model::Object> pods) { agent.set_static_pods(std::move(pods)); });
  node.static_watch = watch_directory(s.loop(), directory, [&node] { node.static_pods->look(); });
  node.static_pods->start();
}

// With a time for it, pods end before the machine does: on SIGPWR, or on SIGTERM while systemd stops the machine.
Status add_shutdown(service::Service& s, Node& node, const Options& options) {
  auto steps =
      shutdown_steps(options.shutdown_seconds, options.shutdown_critical_seconds, options.shutdown_by_priority);
  if (!steps.ok()) return steps.error();
  if (steps->empty()) return Done{};
  node.shutdown = std::make_unique<NodeShutdown>(s.loop(), *node.agent, std::move(*steps));
  s.allow_drain(static_cast<int>(node.shutdown->seconds()) + 10);
  auto begin = [&node](std::function<void()> done) {
    node.registrar->set_leaving("node is shutting down");
    node.shutdown->begin(std::move(done));
  };
  node.power = on_signal(s.loop(), SIGPWR, [&s, begin] { begin([&s] { s.stop(); }); });
  s.on_drain("pods", [&node, begin](std::function<void()> done) {
    if (node.shutdown->under_way()) return done();
    auto stopping = std::make_shared<bool>(false);
    node.executor->run([stopping] { *stopping = machine_is_stopping(); },
                       [stopping, begin, done] { *stopping ? begin(done) : done(); });
  });
  return Done{};
}

Status start_real(service::Service& s, const Options& options) {
  auto name = options.node;
  if (name.empty()) {
    char host[256] = {};
    gethostname(host, sizeof host - 1);
    name = host;
  }
  std::error_code error;
  std::filesystem::create_directories(options.root, error);
  if (error) return Error{Code::kInvalid, fmt::format("--root {}: {}", options.root, error.message())};
  auto agent =
      agent_options(options, name, options.node_ip.empty() ? own_address(s.options().nats_url) : options.node_ip);
  auto epoch = next_epoch(agent.node.paths.epoch(), static_cast<uint64_t>(s.loop().wall() / 1'000'000));
  if (!epoch.ok()) return epoch.error();
  auto registrar = registrar_options(options, name, agent.node.host_ips.empty() ? "" : agent.node.host_ips[0]);
  if (!registrar.ok()) return registrar.error();
  const auto capacity = model::Quantity::parse(registrar->capacity["memory"]);
  auto housekeeping = housekeeper_options(options, capacity.ok() ? capacity->value() : 0);
  if (!housekeeping.ok()) return housekeeping.error();
  if (auto reserved = reserve(options, housekeeping->eviction.thresholds, *registrar); !reserved.ok()) return reserved;
  const auto left = [&](const char* resource, bool milli) {
    const auto amount = model::Quantity::parse(registrar->allocatable[resource]);
    return !amount.ok() ? int64_t{0} : milli ? amount->milli() : amount->value();
  };
  agent.node.cpu_milli = left("cpu", true);
  agent.node.memory_bytes = left("memory", false);
  agent.node.ephemeral_bytes = left("ephemeral-storage", false);

  auto node = s.keep(std::make_shared<Node>(s, name, *epoch));
  auto runtime = make_runtime(s.loop(), options.containerd, agent.node.paths.exec(), options.root + "/cni");
  if (!runtime.ok()) return runtime.error();
  node->runtime = std::move(*runtime);
  node->executor = std::make_unique<UvExecutor>(s.loop());
  node->probes = make_probe_transport(s.loop());
  node->registrar = std::make_unique<Registrar>(s.loop(), s.bus(), s.commands(), *node->nodes, *node->runtime,
                                                node->sequence, std::move(*registrar));
  CniOptions cni{options.cni_conf_dir, options.cni_bin_dir, options.root + "/cni", name, options.mtu};
  node->registrar->on_pod_cidr([cni, write = options.pod_cidr_from_node](const std::string& cidr) -> Status {
    return write ? write_conflist(cni, cidr) : Status(Done{});
  });
  node->agent = std::make_unique<Agent>(s.loop(), s.commands(), *node->runtime, *node->executor, *node->probes,
                                        *node->pods, node->sequence, std::move(agent));
  auto csi = NodeCsi::make(s.loop(), s.bus(), s.commands(), *node->executor, name, node->agent->node().paths);
  if (!csi.ok()) return csi.error();
  node->csi = std::move(*csi);
  if (node->csi) node->csi->attach(*node->agent);
  node->sessions = std::make_unique<Sessions>(
      s.loop(), s.bus(), *node->runtime, *node->executor, *node->agent, name,
      [&s] { return s.health_port() == 0 ? std::string() : fmt::format("127.0.0.1:{}", s.health_port()); });
  LogLimits limits;
  limits.max_files = options.log_max_files;
  auto log_size = model::Quantity::parse(options.log_max_size);
  if (!log_size.ok() || log_size->value() <= 0)
    return Error{Code::kInvalid, fmt::format("--container-log-max-size {}: want a size", options.log_max_size)};
  limits.max_bytes = static_cast<uint64_t>(log_size->value());
  node->rotator = std::make_unique<LogRotator>(s.loop(), *node->executor, *node->runtime, limits,
                                               [agent = node->agent.get()] { return running_logs(*agent); });
  admit_pods(*node->agent, *node->registrar, *node->pods,
             [node = node.get()] { return node->housekeeper && node->housekeeper->memory_pressure(); });
  Housekeeper::Callbacks keeping;
  keeping.pressure = [node = node.get()](bool memory, bool disk, bool pid) {
    node->registrar->set_pressure(memory, disk, pid);
  };
  keeping.images = [node = node.get()](const std::vector<Image>& images) { node->registrar->set_images(images); };
  keeping.record = [node = node.get()](const model::Object& pod, const std::string& reason,
                                       const std::string& message) {
    node->recorder->record({pod, "Warning", reason, message});
  };
  node->housekeeper = std::make_unique<Housekeeper>(s.loop(), *node->executor, *node->runtime, *node->agent,
                                                    std::move(*housekeeping), std::move(keeping));
  // With a capacity of its own the node is a part of its machine.
  node->usage = std::make_unique<UsageReporter>(
      s.loop(), s.bus(), *node->runtime, name, std::chrono::seconds(options.stats_seconds),
      options.capacity.empty() ? machine_usage : std::function<NodeUsage()>());
  s.metrics().append([usage = node->usage.get()] { return usage->expose(); });
  add_static_pods(s, *node, options.static_pods, name);
  if (auto added = add_shutdown(s, *node, options); !added.ok()) return added.error();
  attach(s, *node, name);
  s.add_ready("pods", [node = node.get()]() -> Status {
    if (!node->agent->synced()) return Error{Code::kUnavailable, "the node's pods or containers are not known yet"};
    return Done{};
  });
  s.add_ready("registered", [node = node.get()]() -> Status {
    if (!node->registrar->registered()) return Error{Code::kUnavailable, "the node is not registered yet"};
    return Done{};
  });
  add_metrics(s, {node.get()});
  if (node->csi) add_volume_metrics(s, *node->csi);
  LOG(INFO) << "node=" << name << " epoch=" << *epoch << " root=" << options.root;
  return Done{};
}

Status start_hollow(service::Service& s, const Options& options) {
  std::vector<Node*> nodes;
  for (int i = 0; i < options.hollow; ++i) {
    auto name = fmt::format("hollow-{}", i);
    auto registrar = registrar_options(options, name, fmt::format("192.0.2.{}", i % 254 + 1));
    if (!registrar.ok()) return registrar.error();
    // Nothing to keep but the order of reports: the clock orders the runs.
    auto node = s.keep(std::make_shared<Node>(s, name, static_cast<uint64_t>(s.loop().wall() / 1'000)));
    auto runtime = std::make_unique<HollowRuntime>(s.loop(), name);
    auto* hollow = runtime.get();
    node->runtime = std::move(runtime);
    node->executor = std::make_unique<InlineExecutor>(s.loop());
    node->probes = make_hollow_transport(s.loop());
    auto agent = agent_options(options, name, registrar->address);
    agent.disk = agent.dependencies = false;
    node->registrar = std::make_unique<Registrar>(s.loop(), s.bus(), s.commands(), *node->nodes, *node->runtime,
                                                  node->sequence, std::move(*registrar));
    node->registrar->on_pod_cidr([hollow](const std::string& cidr) -> Status {
      hollow->set_pod_cidr(cidr);
      return Done{};
    });
    node->agent = std::make_unique<Agent>(s.loop(), s.commands(), *node->runtime, *node->executor, *node->probes,
                                          *node->pods, node->sequence, std::move(agent));
    attach(s, *node, name);
    nodes.push_back(node.get());
  }
  s.add_ready("registered", [nodes]() -> Status {
    for (const auto* node : nodes) {
      if (!node->registrar->registered()) return Error{Code::kUnavailable, "not every node is registered yet"};
    }
    return Done{};
  });
  add_metrics(s, nodes);
  return Done{};
}

}  // namespace

Status start(service::Service& s, const Options& options) {
  return options.hollow > 0 ? start_hollow(s, options) : start_real(s, options);
}

}  // namespace gantry::nodeagent
