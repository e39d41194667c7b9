#include "services/nodeagent/node/registrar.h"

#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "libs/model/draft.h"
#include "schemas/api/coordination_v1_generated.h"
#include "schemas/node_generated.h"

namespace gantry::nodeagent {

namespace core = api::core_v1;
using model::str;

namespace {

constexpr Duration kRetry = std::chrono::seconds(1);
constexpr Duration kCheck = std::chrono::seconds(10), kCheckUnready = std::chrono::milliseconds(500);
constexpr size_t kMaxImages = 50;
constexpr char kLeaseNamespace[] = "kube-node-lease";

std::string_view condition_status(const core::Node& node, std::string_view type) {
  if (node.status() == nullptr || node.status()->conditions() == nullptr) return {};
  for (const auto* c : *node.status()->conditions()) {
    if (str(c->type()) == type) return str(c->status());
  }
  return {};
}

}  // namespace

Registrar::Registrar(Loop& loop, bus::Bus& bus, bus::Commands& commands, projection::Cache& nodes, Runtime& runtime,
                     Sequence& sequence, RegistrarOptions options)
    : loop_(loop),
      bus_(bus),
      commands_(commands),
      nodes_(nodes),
      runtime_(runtime),
      sequence_(sequence),
      options_(std::move(options)) {
  options_.labels["kubernetes.io/hostname"] = options_.node;
  options_.labels["kubernetes.io/os"] = "linux";
  options_.labels["kubernetes.io/arch"] = options_.machine.architecture;
  for (const auto& [resource, value] : options_.capacity) options_.allocatable.emplace(resource, value);
}

void Registrar::start() {
  nodes_.on_change(guard([this](const projection::Change& change) {
    if (change.after) {
      if (change.after.name() == options_.node) on_node(change.after);
    } else if (change.before.name() == options_.node) {
      registered_ = false;
      create();
    }
  }));
  nodes_.on_synced(guard([this] {
    if (const auto* node = nodes_.find("", options_.node)) {
      on_node(*node);
    } else {
      create();
    }
  }));
  heartbeat_ = loop_.every(options_.heartbeat_period, [this] { beat(); });
  lease_ = loop_.every(options_.lease_period, [this] { renew(false); });
  status_ = loop_.every(options_.status_period, [this] { report(); });
  check();
}

void Registrar::create() {
  if (std::exchange(creating_, true)) return;
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = "nodes";
  command.name = options_.node;
  command.object = render(false);
  commands_.send(std::move(command), guard([this](Result<bus::CommandOutcome> r) {
                   creating_ = false;
                   if (r.ok()) {
                     LOG(INFO) << "node=" << options_.node << " registered";
                   } else if (r.code() != Code::kAlreadyExists) {
                     LOG(WARNING) << "node=" << options_.node << " registering: " << r.error().message;
                     create_retry_ = loop_.after(kRetry, [this] {
                       if (nodes_.find("", options_.node) == nullptr) create();
                     });
                   }
                   // The event brings the object; on_node goes on from there.
                 }));
}

void Registrar::on_node(const model::Object& object) {
  const auto& node = *object.as<core::Node>();
  bool first = !std::exchange(registered_, true);
  if (uid_ != object.uid()) {
    uid_ = object.uid();
    if (on_registered_) on_registered_(uid_);
  }
  auto cidr = std::string(node.spec() ? str(node.spec()->pod_cidr()) : "");
  if (!cidr.empty() && cidr != pod_cidr_) {
    pod_cidr_ = cidr;
    configure();
    check();
  }
  if (first) {
    nlohmann::json missing;
    for (const auto& [key, value] : options_.labels) {
      if (node.metadata()->labels() == nullptr || str(model::lookup(node.metadata()->labels(), key)) != value)
        missing[key] = value;
    }
    if (!missing.is_null()) {
      bus::Command patch;
      patch.verb = bus::Verb::Patch;
      patch.resource = "nodes";
      patch.name = options_.node;
      patch.patch_type = bus::PatchType::Merge;
      patch.json = nlohmann::json{{"metadata", {{"labels", missing}}}}.dump();
      commands_.send(std::move(patch), [](auto) {});
    }
    renew(false);
    beat();
    return report();
  }
  // Somebody else's word about us (Unknown, after a silence) is answered with ours.
  if (condition_status(node, "Ready") != (ready_ ? "True" : "False") && !reporting_) report();
}

void Registrar::configure() {
  auto configured = configure_ ? configure_(pod_cidr_) : Status(Done{});
  network_error_ = configured.ok() ? "" : configured.error().message;
  LOG(INFO) << "node=" << options_.node << " pod_cidr=" << pod_cidr_ << " " << network_error_;
}

void Registrar::set_runtime(bool connected, const std::string& why) {
  connected_ = connected;
  if (!connected)
    runtime_status_ = {false, "container runtime is down: " + why, runtime_status_.name, runtime_status_.version};
  check();
}

void Registrar::set_pressure(bool memory, bool disk, bool pid) {
  memory_pressure_ = memory;
  disk_pressure_ = disk;
  pid_pressure_ = pid;
  LOG(INFO) << "node=" << options_.node << " pressure: memory=" << memory << " disk=" << disk << " pid=" << pid;
  report();
}

void Registrar::set_images(std::vector<Image> images) {
  std::sort(images.begin(), images.end(), [](const Image& a, const Image& b) { return a.size > b.size; });
  if (images.size() > kMaxImages) images.resize(kMaxImages);
  images_ = std::move(images);
  report();
}

void Registrar::check() {
  check_.reset();
  runtime_.status(guard([this](Result<RuntimeStatus> r) {
    auto before = runtime_status_;
    if (r.ok()) {
      runtime_status_ = *r;
    } else {
      runtime_status_.ready = false;
      runtime_status_.reason = "container runtime is down: " + r.error().message;
    }
    bool ready = runtime_status_.ready && network_error_.empty();
    auto reason = !runtime_status_.ready ? runtime_status_.reason : network_error_;
    if (!network_error_.empty() && pod_cidr_.empty()) reason = network_error_;
    if (!leaving_.empty()) {
      ready = false;
      reason = leaving_;
    }
    bool changed = ready != ready_ || reason != reason_ || before.version != runtime_status_.version ||
                   before.handlers != runtime_status_.handlers;
    if (ready != ready_) transition_ = loop_.wall() / 1'000'000;
    ready_ = ready;
    reason_ = reason;
    if (changed) {
      LOG(INFO) << "node=" << options_.node << (ready ? " ready" : " not ready: " + reason);
      beat();
      report();
    }
    check_ = loop_.after(ready ? kCheck : kCheckUnready, [this] {
      if (!pod_cidr_.empty() && !network_error_.empty()) configure();
      check();
    });
  }));
}

void Registrar::report() {
  if (!registered_) return;
  if (reporting_) {
    report_again_ = true;
    return;
  }
  reporting_ = true;
  report_again_ = false;
  retry_.reset();
  bus::Command command;
  command.verb = bus::Verb::Update;
  command.resource = "nodes";
  command.subresource = "status";
  command.name = options_.node;
  command.object = render(true);
  command.sequence_epoch = sequence_.epoch();
  command.sequence_number = sequence_.next();
  commands_.send(std::move(command), guard([this](Result<bus::CommandOutcome> r) { on_reported(r); }));
}

void Registrar::on_reported(const Result<bus::CommandOutcome>& outcome) {
  reporting_ = false;
  if (!outcome.ok()) {
    LOG(WARNING) << "node=" << options_.node << " reporting its status: " << outcome.error().message;
    // Gone without our having heard of it (yet).
    if (outcome.code() == Code::kNotFound) return create();
    retry_ = loop_.after(kRetry, [this] { report(); });
    return;
  }
  if (report_again_) report();
}

model::Bytes Registrar::render(bool with_status) const {
  model::Draft node(*model::Schema::get().by_resource("nodes"));
  node.set("metadata.name", options_.node);
  if (!with_status) {
    for (const auto& [key, value] : options_.labels) node.set(fmt::format("metadata.labels[{}]", key), value);
    for (const auto& taint : options_.taints) {
      nlohmann::json json{{"key", taint.key}, {"effect", taint.effect}};
      if (!taint.value.empty()) json["value"] = taint.value;
      auto set = node.set_json("spec.taints[+]", json.dump());
      if (!set.ok()) LOG(ERROR) << "taint " << taint.key << ": " << set.error().message;
    }
  }
  for (const auto& [key, value] : options_.capacity) node.set(fmt::format("status.capacity[{}]", key), value);
  for (const auto& [key, value] : options_.allocatable) node.set(fmt::format("status.allocatable[{}]", key), value);
  auto set_json = [&](const char* path, const nlohmann::json& value) {
    auto set = node.set_json(path, value.dump());
    if (!set.ok()) LOG(ERROR) << path << ": " << set.error().message;
  };
  int64_t now = loop_.wall() / 1'000'000;
  const auto* known = nodes_.find("", options_.node);
  int index = 0;
  auto condition = [&](const char* type, bool status, const char* reason, const std::string& message) {
    int64_t since = now;
    if (known != nullptr && known->as<core::Node>()->status() && known->as<core::Node>()->status()->conditions()) {
      for (const auto* c : *known->as<core::Node>()->status()->conditions()) {
        if (str(c->type()) == type && str(c->status()) == (status ? "True" : "False"))
          since = c->last_transition_time().value_or(now);
      }
    }
    auto json =
        nlohmann::json{{"type", type}, {"status", status ? "True" : "False"}, {"reason", reason}, {"message", message}};
    set_json("status.conditions[+]", json);
    auto own = fmt::format("status.conditions[{}].", index++);
    node.set(own + "lastHeartbeatTime", now);
    node.set(own + "lastTransitionTime", since);
  };
  const auto pressure = [&](const char* type, bool status, const char* bad, const char* good, const char* says_bad,
                            const char* says_good) {
    condition(type, status, status ? bad : good, status ? says_bad : says_good);
  };
  pressure("MemoryPressure", memory_pressure_, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
           "kubelet has insufficient memory available", "kubelet has sufficient memory available");
  pressure("DiskPressure", disk_pressure_, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure",
           "kubelet has disk pressure", "kubelet has no disk pressure");
  pressure("PIDPressure", pid_pressure_, "KubeletHasInsufficientPID", "KubeletHasSufficientPID",
           "kubelet has insufficient PID available", "kubelet has sufficient PID available");
  condition("Ready", ready_, ready_ ? "KubeletReady" : "KubeletNotReady",
            ready_ ? "the node agent is posting ready status" : reason_);
  nlohmann::json addresses = nlohmann::json::array();
  if (!options_.address.empty()) addresses.push_back({{"type", "InternalIP"}, {"address", options_.address}});
  addresses.push_back({{"type", "Hostname"}, {"address", options_.node}});
  set_json("status.addresses", addresses);
  const auto& m = options_.machine;
  set_json("status.nodeInfo",
           {{"machineID", m.machine_id},
            {"systemUUID", m.machine_id},
            {"bootID", m.boot_id},
            {"kernelVersion", m.kernel},
            {"osImage", m.os_image},
            {"containerRuntimeVersion", fmt::format("{}://{}", runtime_status_.name, runtime_status_.version)},
            {"kubeletVersion", options_.version},
            {"kubeProxyVersion", ""},
            {"operatingSystem", "linux"},
            {"architecture", m.architecture}});
  nlohmann::json images = nlohmann::json::array();
  for (const auto& image : images_) {
    auto names = nlohmann::json::array();
    for (const auto* list : {&image.digests, &image.tags}) {
      for (const auto& name : *list) names.push_back(name);
    }
    images.push_back({{"names", names}, {"sizeBytes", image.size}});
  }
  if (!images.empty()) set_json("status.images", images);
  nlohmann::json handlers = nlohmann::json::array();
  for (const auto& handler : runtime_status_.handlers) {
    handlers.push_back(
        {{"name", handler.name},
         {"features",
          {{"recursiveReadOnlyMounts", handler.recursive_read_only}, {"userNamespaces", handler.user_namespaces}}}});
  }
  if (!handlers.empty()) set_json("status.runtimeHandlers", handlers);
  set_json("status.features", {{"supplementalGroupsPolicy", runtime_status_.supplemental_groups_policy}});
  return node.bytes();
}

void Registrar::beat() {
  if (!registered_) return;
  flatbuffers::FlatBufferBuilder b;
  auto beat = node::CreateHeartbeatDirect(b, options_.node.c_str(), sequence_.epoch(), ++beats_, loop_.wall(), ready_,
                                          reason_.c_str());
  b.Finish(beat);
  auto sent = bus_.publish(fmt::format("gantry.node.{}.up.heartbeat", encode_token(options_.node)),
                           {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()});
  if (!sent.ok()) LOG(WARNING) << "node=" << options_.node << " heartbeat: " << sent.error().message;
}

void Registrar::renew(bool create) {
  if (!registered_) return;
  model::Draft lease(*model::Schema::get().by_resource("leases"));
  lease.set("metadata.name", options_.node);
  lease.set("metadata.namespace", kLeaseNamespace);
  lease.set("spec.holderIdentity", options_.node);
  lease.set("spec.leaseDurationSeconds",
            static_cast<int64_t>(std::chrono::duration_cast<std::chrono::seconds>(options_.lease_period).count() * 3));
  lease.set("spec.renewTime", loop_.wall());
  bus::Command command;
  command.verb = create ? bus::Verb::Create : bus::Verb::Update;
  command.resource = "leases";
  command.ns = kLeaseNamespace;
  command.name = options_.node;
  command.object = lease.bytes();
  commands_.send(std::move(command), guard([this, create](Result<bus::CommandOutcome> r) {
                   if (r.ok()) return;
                   if (r.code() == Code::kNotFound && !create) return renew(true);
                   LOG(WARNING) << "node=" << options_.node
                                << " renewing its lease: " << r.error().message;  // the next period tries again
                 }));
}

}  // namespace gantry::nodeagent
