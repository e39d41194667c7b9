#include "tests/sim/workload.h"

#include <fmt/format.h>

#include "libs/bus/permissions.h"

namespace gantry::sim {
namespace {

using nlohmann::json;

constexpr int kApps = 4, kMostReplicas = 6;
// Longer than any message may be under way: an attempt that was given up must not overtake the next wish.
constexpr Duration kRetry = std::chrono::seconds(5);
constexpr Duration kDeadline = std::chrono::seconds(10);

}  // namespace

Workload::Workload(Cluster& cluster, uint64_t seed)
    : cluster_(cluster),
      random_(seed),
      bus_(cluster.network.connect("admin", bus::permissions_for("admin"))),
      commands_(bus::make_command_client(cluster.loop, *bus_, "admin")) {}

void Workload::act() {
  std::string name = fmt::format("app{}", pick(kApps));
  auto known = items_.find("deployments/" + name);
  bool there = known != items_.end() && known->second.wish;
  int dice = pick(100);
  if (dice < 8) return delete_some_pod();
  if (dice < 20) {
    auto service = items_.find("services/" + name);
    bool drop = service != items_.end() && service->second.wish;
    return wish("services", name, drop ? std::nullopt : std::optional(DeploymentWish{}));
  }
  if (!there) {
    static const json kStrategies[] = {
        nullptr,
        {{"type", "Recreate"}},
        {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 1}, {"maxUnavailable", 0}}}},
        {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 0}, {"maxUnavailable", 1}}}},
        {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", "50%"}, {"maxUnavailable", "50%"}}}}};
    return wish("deployments", name,
                DeploymentWish{pick(kMostReplicas + 1), fmt::format("demo:{}", pick(3)),
                               kStrategies[pick(std::size(kStrategies))]});
  }
  DeploymentWish next = *known->second.wish;
  if (dice < 32) return wish("deployments", name, std::nullopt);
  if (dice < 65) {
    next.replicas = pick(kMostReplicas + 1);
  } else {
    next.image = fmt::format("demo:{}", pick(4));
  }
  wish("deployments", name, next);
}

void Workload::wish(const std::string& resource, const std::string& name, std::optional<DeploymentWish> wish) {
  std::string key = resource + "/" + name;
  Item& item = items_[key];
  item.resource = resource;
  item.name = name;
  item.wish = std::move(wish);
  ++item.wished;
  send(key);
}

bool Workload::settled() const {
  return std::all_of(items_.begin(), items_.end(), [](const auto& entry) {
    return !entry.second.in_flight && entry.second.acknowledged == entry.second.wished;
  });
}

void Workload::repeat_all() {
  for (auto& [key, item] : items_) {
    ++item.wished;
    item.exists = true;  // or so it is tried
    send(key);
  }
}

json Workload::body(const Item& item) const {
  if (item.resource == "services") {
    return {{"metadata", {{"name", item.name}}},
            {"spec", {{"selector", {{"app", item.name}}}, {"ports", {{{"port", 80}, {"targetPort", 8080}}}}}}};
  }
  json spec = {
      {"replicas", item.wish->replicas},
      {"selector", {{"matchLabels", {{"app", item.name}}}}},
      {"template",
       {{"metadata", {{"labels", {{"app", item.name}}}}},
        {"spec",
         {{"terminationGracePeriodSeconds", 5},
          {"containers",
           {{{"name", "main"}, {"image", item.wish->image}, {"resources", {{"requests", {{"cpu", "100m"}}}}}}}}}}}}};
  if (!item.wish->strategy.is_null()) spec["strategy"] = item.wish->strategy;
  return {{"metadata", {{"name", item.name}}}, {"spec", spec}};
}

void Workload::send(const std::string& key) {
  Item& item = items_[key];
  if (item.in_flight || item.acknowledged == item.wished) return;
  item.in_flight = true;
  item.retry.reset();
  bus::Command command;
  command.resource = item.resource;
  command.ns = "default";
  command.name = item.name;
  if (!item.wish) {
    command.verb = bus::Verb::Delete;
  } else if (!item.exists) {
    command.verb = bus::Verb::Create;
    command.json = body(item).dump();
  } else {
    command.verb = bus::Verb::Patch;
    command.patch_type = bus::PatchType::Merge;
    json patch = body(item);
    // What it was made with stays: a merge patch would leave parts of the old strategy behind.
    patch["spec"].erase("strategy");
    command.json = patch.dump();
  }
  bus::Verb verb = command.verb;
  commands_->send(std::move(command), kDeadline,
                  [this, key, said = item.wished, verb](const Result<bus::CommandOutcome>& result) {
                    answered(key, said, verb, result);
                  });
}

void Workload::answered(const std::string& key, uint64_t said, bus::Verb verb,
                        const Result<bus::CommandOutcome>& result) {
  Item& item = items_[key];
  item.in_flight = false;
  Duration again = kRetry;
  if (result.ok() || (verb == bus::Verb::Delete && result.code() == Code::kNotFound)) {
    item.exists = verb != bus::Verb::Delete;
    item.acknowledged = said;
    again = Duration::zero();
  } else if (verb == bus::Verb::Create && result.code() == Code::kAlreadyExists) {
    item.exists = true;
    again = Duration::zero();
  } else if (verb == bus::Verb::Patch && result.code() == Code::kNotFound) {
    item.exists = false;
    again = Duration::zero();
  }
  if (item.acknowledged != item.wished) item.retry = cluster_.loop.after(again, [this, key] { send(key); });
}

void Workload::delete_some_pod() {
  auto pods = cluster_.store.state().snapshot("pods").objects;
  if (pods.empty()) return;
  bus::Command command;
  command.verb = bus::Verb::Delete;
  command.resource = "pods";
  command.ns = "default";
  command.name = pods[static_cast<size_t>(pick(static_cast<int>(pods.size())))].key.name;
  commands_->send(std::move(command), kDeadline, [](const Result<bus::CommandOutcome>&) {});
}

std::map<std::string, DeploymentWish> Workload::deployments() const {
  std::map<std::string, DeploymentWish> all;
  for (const auto& [key, item] : items_) {
    if (item.resource == "deployments" && item.wish) all[item.name] = *item.wish;
  }
  return all;
}

std::vector<std::string> Workload::services() const {
  std::vector<std::string> all;
  for (const auto& [key, item] : items_) {
    if (item.resource == "services" && item.wish) all.push_back(item.name);
  }
  return all;
}

}  // namespace gantry::sim
