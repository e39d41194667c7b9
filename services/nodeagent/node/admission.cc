#include "services/nodeagent/node/admission.h"

#include <fmt/format.h>

#include "libs/model/workload.h"
#include "services/nodeagent/resource/pod_resources.h"

namespace gantry::nodeagent {

namespace {

bool tolerates_memory_pressure(const core::PodSpec& spec) {
  flatbuffers::FlatBufferBuilder b;
  b.Finish(core::CreateTaintDirect(b, "node.kubernetes.io/memory-pressure", nullptr, "NoSchedule"));
  return model::toleration_for(&spec, *flatbuffers::GetRoot<core::Taint>(b.GetBufferPointer())) != nullptr;
}

std::vector<const core::Pod*> others_than(const model::Object& pod, const projection::Cache& pods) {
  std::vector<const core::Pod*> out;
  pods.for_each([&](const model::Object& other) {
    const auto* p = other.as<core::Pod>();
    if (other.uid() != pod.uid() && p->spec() != nullptr && !model::pod_terminal(*p)) out.push_back(p);
  });
  return out;
}

}  // namespace

std::optional<Rejection> does_not_fit(const core::Pod& pod, const std::map<std::string, std::string>& allocatable,
                                      const std::vector<const core::Pod*>& others) {
  const auto refuse = [](std::string_view resource, int64_t asked, int64_t used, int64_t all) {
    return Rejection{fmt::format("OutOf{}", resource),
                     fmt::format("Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
                                 resource, asked, used, all)};
  };
  Amounts used;
  for (const auto* other : others) {
    for (const auto& [name, value] : pod_resources(*other->spec()).requests) used[name] = used[name] + value;
  }
  const auto all_of = [&](const std::string& resource) -> std::optional<model::Quantity> {
    const auto found = allocatable.find(resource);
    if (found == allocatable.end()) return std::nullopt;
    auto parsed = model::Quantity::parse(found->second);
    return parsed.ok() ? std::optional(*parsed) : std::nullopt;
  };
  if (const auto pods = all_of("pods"); pods && static_cast<int64_t>(others.size()) >= pods->value())
    return refuse("pods", 1, static_cast<int64_t>(others.size()), pods->value());
  for (const auto& [name, asked] : pod_resources(*pod.spec()).requests) {
    const auto all = all_of(name);
    if (!all || asked == model::Quantity() || used[name] + asked <= *all) continue;
    const bool cpu = name == "cpu";
    const auto count = [cpu](const model::Quantity& q) { return cpu ? q.milli() : q.value(); };
    return refuse(name, count(asked), count(used[name]), count(*all));
  }
  return std::nullopt;
}

void admit_pods(Agent& agent, const Registrar& registrar, const projection::Cache& pods,
                std::function<bool()> memory_pressure) {
  agent.on_admit([&agent, &registrar, &pods, memory_pressure = std::move(memory_pressure)](
                     const model::Object& object) -> std::optional<Termination> {
    const auto& pod = *object.as<core::Pod>();
    const auto end = [](const Rejection& no) { return Termination{no.reason, no.message, 0, false}; };
    agent.node().user_namespaces.clear();
    for (const auto& handler : registrar.runtime_status().handlers) {
      if (handler.user_namespaces) agent.node().user_namespaces.push_back(handler.name);
    }
    if (auto no = reject(pod, agent.node(), registrar.runtime_status())) return end(*no);
    // A static pod is the machine's own; in the list it stands as its mirror already.
    if (!model::annotation(pod.metadata(), "kubernetes.io/config.source").empty()) return std::nullopt;
    if (auto no = does_not_fit(pod, registrar.allocatable(), others_than(object, pods))) return end(*no);
    if (memory_pressure && memory_pressure() && pod_qos(*pod.spec()) == Qos::kBestEffort &&
        !tolerates_memory_pressure(*pod.spec()))
      return end({"Evicted", "The node had condition: [MemoryPressure]. "});
    return std::nullopt;
  });
  agent.on_resize([&registrar, &pods](const model::Object& object) -> std::optional<ResizeRefusal> {
    const auto& pod = *object.as<core::Pod>();
    if (auto never = does_not_fit(pod, registrar.allocatable(), {})) {
      const auto used = never->message.find(", used: 0");
      if (used != std::string::npos) never->message.erase(used, std::string_view(", used: 0").size());
      const auto word = never->message.find("resource:");
      if (word != std::string::npos) never->message.replace(word, std::string_view("resource:").size(), "capacity:");
      return ResizeRefusal{true, never->message};
    }
    if (auto now = does_not_fit(pod, registrar.allocatable(), others_than(object, pods)))
      return ResizeRefusal{false, now->message};
    return std::nullopt;
  });
}

}  // namespace gantry::nodeagent
