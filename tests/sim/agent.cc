#include "services/nodeagent/agent/agent.h"

#include <fmt/format.h>

#include "libs/bus/command.h"
#include "libs/bus/permissions.h"
#include "libs/projection/recorder.h"
#include "services/nodeagent/agent/probe_transport.h"
#include "services/nodeagent/node/registrar.h"
#include "tests/sim/process.h"

namespace gantry::sim {
namespace {

class AgentProcess final : public Process {
 public:
  AgentProcess(World& world, Machine& machine)
      : machine_(machine),
        bus_(world.network.connect(identity(machine), bus::node_permissions(machine.node))),
        commands_(bus::make_command_client(world.loop, *bus_, identity(machine))),
        pods_(*model::Schema::get().by_resource("pods")),
        nodes_(*model::Schema::get().by_resource("nodes")),
        recorder_(world.loop, *commands_, "kubelet", machine.node),
        sequence_(++machine.starts),
        executor_(world.loop),
        probes_(nodeagent::make_hollow_transport(world.loop)),
        registrar_(world.loop, *bus_, *commands_, nodes_, *machine.containers, sequence_, registrar_options(machine)),
        agent_(world.loop, *commands_, *machine.containers, executor_, *probes_, pods_, sequence_,
               agent_options(machine)) {
    registrar_.on_pod_cidr([&machine](const std::string& cidr) -> Status {
      machine.pod_cidr = cidr;
      machine.containers->set_pod_cidr(cidr);
      return Done{};
    });
    agent_.on_record(
        [this](const model::Object& pod, bool warning, const std::string& reason, const std::string& message) {
          recorder_.record({pod, warning ? "Warning" : "Normal", reason, message});
        });
    agent_.on_runtime([this](bool connected, const std::string& why) { registrar_.set_runtime(connected, why); });
    agent_.start(bus_.get());
    registrar_.start();
    pod_feed_ = projection::attach(world.loop, *bus_, *commands_, pods_, {"pods", machine.node, ""});
    node_feed_ = projection::attach(world.loop, *bus_, *commands_, nodes_, {"nodes", machine.node, ""});
  }
  ~AgentProcess() override { machine_.orphan(); }

  testing::FakeBus& bus() override { return *bus_; }
  void visit_caches(const Visit& visit) const override {
    visit(pods_, {"pods", machine_.node, ""});
    visit(nodes_, {"nodes", machine_.node, ""});
  }

 private:
  static std::string identity(const Machine& machine) { return "node-" + machine.node; }
  static nodeagent::RegistrarOptions registrar_options(const Machine& machine) {
    nodeagent::RegistrarOptions options;
    options.node = machine.node;
    options.address = machine.address;
    options.capacity = machine.capacity;
    options.machine.architecture = "amd64";
    options.version = "v1.34.0-gantry";
    options.status_period = std::chrono::hours(10);  // a quiet cluster is quiet
    return options;
  }
  static nodeagent::AgentOptions agent_options(const Machine& machine) {
    nodeagent::AgentOptions options;
    options.node.node = machine.node;
    options.node.host_ips = {machine.address};
    options.disk = options.dependencies = false;
    return options;
  }

  Machine& machine_;
  std::unique_ptr<testing::FakeBus> bus_;
  std::unique_ptr<bus::Commands> commands_;
  projection::Cache pods_, nodes_;
  projection::Recorder recorder_;
  nodeagent::Sequence sequence_;
  nodeagent::InlineExecutor executor_;
  std::unique_ptr<nodeagent::ProbeTransport> probes_;
  nodeagent::Registrar registrar_;
  nodeagent::Agent agent_;
  std::unique_ptr<bus::Feed> pod_feed_, node_feed_;
};

}  // namespace

void Machine::orphan() {
  containers->start({.changed = [](const std::string&) {},
                     .connected = [] {},
                     .disconnected = [](const std::string&) {},
                     .oom = [](const std::string&) {}});
}

void Machine::reboot(Loop& loop) {
  containers = std::make_unique<Containers>(loop, node);
  if (!pod_cidr.empty()) containers->set_pod_cidr(pod_cidr);
  orphan();
}

std::unique_ptr<Process> make_agent(World& world, Machine& machine) {
  return std::make_unique<AgentProcess>(world, machine);
}

}  // namespace gantry::sim
