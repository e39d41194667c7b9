#include "services/controllers/podgc/podgc.h"

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using api::core_v1::Pod;

constexpr WallMicros kLookAgain = 10'000'000;

std::string_view node_of(const model::Object& pod) {
  const auto* spec = pod.as<Pod>()->spec();
  return spec == nullptr ? std::string_view() : model::str(spec->node_name());
}

bus::Command force(const model::Object& pod) {
  bus::Command command = remove(pod, "Background");
  command.grace_period_seconds = 0;
  return command;
}

}  // namespace

void PodGcController::setup(View& view) {
  view.need("nodes");
  view.index("pods", "node",
             [](const model::Object& o, std::vector<std::string>& values) { values.emplace_back(node_of(o)); });
}

void PodGcController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                               std::vector<std::string>& keys) const {
  if (resource == "nodes") {  // keys: "node:<name>" and "pod:<namespace>/<name>"
    if (!change.after) keys.push_back(fmt::format("node:{}", change.before.name()));
    return;
  }
  if (!change.after) return;
  std::string_view node = node_of(change.after);
  if (node.empty()) {
    if (model::is_deleting(change.after.meta())) keys.push_back(fmt::format("pod:{}", make_key(change.after)));
  } else if (view.find("nodes", "", node) == nullptr) {
    keys.push_back(fmt::format("node:{}", node));
  }
}

Decision PodGcController::decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const {
  Decision decision;
  if (key.starts_with("pod:")) {
    const model::Object* pod = view.find("pods", std::string_view(key).substr(4));
    if (pod != nullptr && node_of(*pod).empty() && model::is_deleting(pod->meta())) decision.add(force(*pod));
    return decision;
  }
  std::string name = key.substr(5);
  if (view.find("nodes", "", name) != nullptr) return decision;
  std::vector<model::Object> pods;
  view.each_by("pods", "node", name, [&](const model::Object& pod) { pods.push_back(pod); });
  if (pods.empty()) return decision;
  bool gone = false;
  for (const Answer& answer : memory.answers) {
    if (answer.command.verb != bus::Verb::Get) continue;
    if (answer.result.ok()) {  // the view is wrong, and will learn
      decision.wake(now + kLookAgain);
      return decision;
    }
    gone = gone || answer.result.code() == Code::kNotFound;
  }
  if (!gone) {
    bus::Command command;
    command.verb = bus::Verb::Get;
    command.resource = "nodes";
    command.name = name;
    decision.add(std::move(command));
    return decision;
  }
  std::sort(pods.begin(), pods.end(), [](const auto& a, const auto& b) { return make_key(a) < make_key(b); });
  decision.weight = pods.size();
  for (const model::Object& pod : pods) decision.add(force(pod));
  return decision;
}

}  // namespace gantry::controllers
