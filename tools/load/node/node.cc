#include "tools/load/node/node.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cri.grpc.pb.h"
#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/bus_generated.h"

namespace gantry::load {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using model::str;
using nlohmann::json;

namespace {

/// Entries below `root` for which `wanted` holds.
int64_t count_below(const std::string& root, const std::function<bool(const fs::directory_entry&)>& wanted) {
  int64_t n = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(root, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end; it.increment(error))
    n += wanted(*it) ? 1 : 0;
  return n;
}

int64_t entries(const std::string& directory) {
  int64_t n = 0;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) ++n;
  return n;
}

bool is_address(const fs::directory_entry& entry) {
  return entry.is_regular_file() && std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0])) != 0;
}

int64_t mounts_below(const std::string& directory) {
  std::ifstream in("/proc/self/mounts");
  int64_t n = 0;
  for (std::string line; std::getline(in, line);) n += line.find(" " + directory) == std::string::npos ? 0 : 1;
  return n;
}

// Those of the QoS classes are the node's own, made when it first looks after them.
int64_t cgroups_below(const std::string& parent) {
  const auto is_pods = [](const auto& e) {
    const auto name = e.path().filename();
    return e.is_directory() && name != "besteffort" && name != "burstable";
  };
  int64_t n = 0;
  std::error_code error;
  for (fs::directory_iterator it("/sys/fs/cgroup", error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory() && !it->is_symlink()) n += count_below(it->path().string() + parent, is_pods);
  }
  return n + count_below("/sys/fs/cgroup" + parent, is_pods);
}

template <typename List, typename Visit>
void each(const List* list, const Visit& visit) {
  if (list == nullptr) return;
  for (const auto* one : *list) visit(*one);
}

}  // namespace

json pod_that_stays() {
  return {{"terminationGracePeriodSeconds", 1},
          {"containers",
           {{{"name", "main"},
             {"image", "gantry.local/busybox:1"},
             {"command", {"sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"}}}}}};
}

json pod_with_volumes() {
  const json mount = {{{"name", "v"}, {"mountPath", "/v"}}};
  auto spec = pod_that_stays();
  spec["volumes"] = {{{"name", "v"}, {"emptyDir", {{"medium", "Memory"}}}}};
  spec["containers"][0]["volumeMounts"] = mount;
  auto side = pod_that_stays()["containers"][0];
  side["name"] = "side";
  side["restartPolicy"] = "Always";
  spec["initContainers"] = {{{"name", "init"},
                             {"image", "gantry.local/busybox:1"},
                             {"command", {"sh", "-c", "echo x > /v/x"}},
                             {"volumeMounts", mount}},
                            side};
  return spec;
}

json pod_that_ends(int code) {
  return {{"restartPolicy", "Never"},
          {"terminationGracePeriodSeconds", 1},
          {"containers",
           {{{"name", "main"},
             {"image", "gantry.local/busybox:1"},
             {"command", {"sh", "-c", fmt::format("sleep 0.5; exit {}", code)}}}}}};
}

Result<std::unique_ptr<Node>> Node::start(ClusterOptions options, std::vector<std::string> agent_flags) {
  std::unique_ptr<Node> node(new Node);
  options.nodes = 1;
  // Before any thread is made, see Cluster.
  node->cluster_ = std::make_unique<Cluster>(options);
  if (auto done = node->cluster_->start_control_plane(); !done) return done.error();
  auto containerd = testing::Containerd::start();
  if (!containerd) return containerd.error();
  node->containerd_ = std::move(*containerd);
  const auto& directory = node->containerd_->directory();
  std::error_code error;
  fs::create_directories(directory + "/agent", error);
  fs::create_directory_symlink(directory + "/ipam", directory + "/agent/cni", error);
  if (error) return Error{Code::kInternal, fmt::format("{}/agent/cni: {}", directory, error.message())};
  node->flags_ = {"--containerd", "unix://" + node->containerd_->socket(), "--root", directory + "/agent", "--capacity",
                  "cpu=64,memory=64Gi,pods=240", "--node-ip", "192.0.2.1", "--no-pod-cidr-from-node", "--cgroup-parent",
                  node->containerd_->cgroup(),
                  // The machine's disk is everybody's.
                  "--eviction-hard", "memory.available<50Mi,nodefs.available<1%,imagefs.available<1%"};
  node->flags_.insert(node->flags_.end(), agent_flags.begin(), agent_flags.end());
  auto gateway = client::Gateway::connect(node->cluster_->connect_options());
  if (!gateway) return gateway.error();
  node->gateway_ = std::move(*gateway);
  node->events_ = node->gateway_->bus().subscribe("gantry.events.>", "", [n = node.get()](const bus::Message& m) {
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(m.data.data()), m.data.size());
    if (verifier.VerifyBuffer<bus::Event>(nullptr)) n->on_event(*flatbuffers::GetRoot<bus::Event>(m.data.data()));
  });
  bus::Command list;
  list.verb = bus::Verb::List;
  list.resource = "namespaces";
  if (auto answered = node->gateway_->send(list); !answered) return answered.error();  // waits for the gateway
  if (auto done = node->start_agent(); !done) return done.error();
  if (auto done = node->until("the node to be Ready", 60, [&] { return node->node_ready_ == "True"; }); !done)
    return done.error();
  // Pods wait for their namespace's service account.
  bus::Command account;
  account.verb = bus::Verb::Get;
  account.resource = "serviceaccounts";
  account.ns = account.name = "default";
  auto there = node->until("the service account", 60, [&] { return node->gateway_->send(account).ok(); });
  if (!there) return there.error();
  return node;
}

Node::~Node() {
  events_.reset();
  cluster_.reset();  // its agent lets go of containerd first
}

Status Node::start_agent() { return cluster_->start_agent(kName, flags_); }

Result<std::string> Node::create(const std::string& name, const json& spec) {
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = "pods";
  command.ns = "default";
  command.name = name;
  auto bound = spec;
  bound["nodeName"] = kName;
  command.json = json{
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata", {{"name", name}, {"namespace", "default"}}},
      {"spec",
       bound}}.dump();
  auto made = gateway_->send(std::move(command));
  if (!made) return made.error();
  return made->uid;
}

Status Node::remove(const std::string& name, bool force) {
  bus::Command command;
  command.verb = bus::Verb::Delete;
  command.resource = "pods";
  command.ns = "default";
  command.name = name;
  if (force) command.grace_period_seconds = 0;
  auto done = gateway_->send(std::move(command));
  if (!done && done.code() != Code::kNotFound) return done.error();
  return Done{};
}

void Node::on_event(const bus::Event& event) {
  const auto resource = str(event.resource());
  if (resource != "pods" && resource != "nodes") return;
  const std::string uid(str(event.uid()));
  if (event.type() == bus::EventType::Delete) {
    if (auto pod = pods_.find(uid); pod != pods_.end() && pod->second.deleted == 0) pod->second.deleted = event.time();
    return;
  }
  if (event.type() != bus::EventType::Put || event.object() == nullptr) return;
  const auto* kind = model::Schema::get().by_resource(std::string(resource));
  const std::string bytes(reinterpret_cast<const char*>(event.object()->data()), event.object()->size());
  if (!model::verify(*kind->type, bytes)) return;
  const model::Object object(*kind, bytes);
  if (resource == "nodes") {
    const auto* status = object.as<api::core_v1::Node>()->status();
    if (status == nullptr) return;
    each(status->conditions(), [&](const auto& c) {
      if (str(c.type()) == "Ready") node_ready_ = str(c.status());
    });
    return;
  }
  auto [entry, fresh] = pods_.try_emplace(uid);
  auto& pod = entry->second;
  if (fresh) {
    pod.name = object.name();
    pod.created = event.time();
  }
  const auto* status = object.as<api::core_v1::Pod>()->status();
  if (status == nullptr) return;
  pod.phase = str(status->phase());
  if (pod.running == 0 && pod.phase == "Running") pod.running = event.time();
  pod.ready = false;
  each(status->conditions(),
       [&](const auto& c) { pod.ready |= str(c.type()) == "Ready" && str(c.status()) == "True"; });
  if (pod.ready && pod.ready_at == 0) pod.ready_at = event.time();
  pod.running_ids.clear();
  pod.exit_codes.clear();
  const auto add = [&](const auto& c) {
    if (c.state() == nullptr) return;
    const auto id = str(c.container_id());
    const auto scheme = id.find("://");
    if (c.state()->running() != nullptr)
      pod.running_ids[std::string(str(c.name()))] = id.substr(scheme == std::string_view::npos ? 0 : scheme + 3);
    if (const auto* ended = c.state()->terminated())
      pod.exit_codes.push_back(fmt::format("{}={}", str(c.name()), ended->exit_code().value_or(0)));
  };
  each(status->init_container_statuses(), add);
  each(status->container_statuses(), add);
}

size_t Node::present() const {
  return static_cast<size_t>(
      std::count_if(pods_.begin(), pods_.end(), [](const auto& entry) { return entry.second.deleted == 0; }));
}

void Node::forget_gone() {
  std::erase_if(pods_, [](const auto& entry) { return entry.second.deleted != 0; });
}

Status Node::until(const std::string& what, int seconds, const std::function<bool()>& done) {
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  const auto tick = loop().every(std::chrono::milliseconds(20), [] {});
  while (!done()) {
    if (auto alive = cluster_->check(); !alive) return alive;
    if (Clock::now() > end) return Error{Code::kTimeout, fmt::format("{}: not within {} s", what, seconds)};
    loop().run_once();
  }
  return Done{};
}

Status Node::settle(int seconds) {
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  return until("settling", seconds + 5, [&] { return Clock::now() >= end; });
}

std::set<std::string> Node::running_tasks() const {
  std::set<std::string> out;
  std::istringstream lines(containerd_->ctr("-n k8s.io tasks ls"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, pid, state;
    words >> id >> pid >> state;
    if (state == "RUNNING") out.insert(id);
  }
  return out;
}

std::map<std::string, CriContainer> Node::cri_containers() const {
  std::map<std::string, CriContainer> out;
  auto stub = runtime::v1::RuntimeService::NewStub(
      grpc::CreateChannel("unix://" + containerd_->socket(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext of_sandboxes, of_containers;
  for (auto* context : {&of_sandboxes, &of_containers}) context->set_wait_for_ready(true);
  runtime::v1::ListPodSandboxResponse sandboxes;
  if (stub->ListPodSandbox(&of_sandboxes, {}, &sandboxes).ok()) {
    for (const auto& s : sandboxes.items())
      out[s.id()] = {s.metadata().uid(), "", s.state() == runtime::v1::SANDBOX_READY, s.id()};
  }
  runtime::v1::ListContainersResponse containers;
  if (stub->ListContainers(&of_containers, {}, &containers).ok()) {
    for (const auto& c : containers.containers()) {
      const auto uid = c.labels().find("io.kubernetes.pod.uid");
      out[c.id()] = {uid == c.labels().end() ? "" : uid->second, c.metadata().name(),
                     c.state() == runtime::v1::CONTAINER_RUNNING, c.pod_sandbox_id()};
    }
  }
  return out;
}

Holdings Node::holdings() const {
  Holdings out;
  out.agent_mb = usage().private_mb;
  const auto& directory = containerd_->directory();
  const auto process = fmt::format("/proc/{}", agent());
  std::istringstream containers(containerd_->ctr("-n k8s.io containers ls -q"));
  int64_t kept = 0;
  for (std::string id; containers >> id;) ++kept;
  out.counts = {
      {"open files of the agent", entries(process + "/fd")},
      {"threads of the agent", entries(process + "/task")},
      {"files under the agent's root",
       count_below(directory + "/agent", [](const auto& e) { return !e.is_directory(); })},
      {"directories of pods", entries(directory + "/agent/pods")},
      {"directories of logs", entries(directory + "/agent/logs/pods")},
      {"mounts", mounts_below(directory)},
      {"cgroups", cgroups_below(containerd_->cgroup())},
      {"network namespaces", entries(directory + "/state/io.containerd.grpc.v1.cri/netns")},
      {"addresses", count_below(directory + "/ipam", is_address)},
      {"containers of containerd", kept},
      {"tasks of containerd", static_cast<int64_t>(running_tasks().size())},
  };
  return out;
}

}  // namespace gantry::load
