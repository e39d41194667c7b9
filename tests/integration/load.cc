#include "tests/integration/load.h"

#include <fmt/format.h>

namespace gantry::testing {
namespace {

constexpr int kAtOnce = 256;
constexpr auto kDeadline = std::chrono::seconds(30);
// What every pod refers to: its changes are announced on the nodes of those pods.
constexpr std::string_view kShared = "shared";

std::string pod(const std::string& name) {
  return fmt::format(
      R"({{"metadata":{{"name":"{}","labels":{{"app":"load"}}}},"spec":{{"volumes":[{{"name":"v","configMap":{{"name":"{}","optional":true}}}}],"containers":[{{"name":"main","image":"demo:1"}}]}}}})",
      name, kShared);
}

std::string config_map(const std::string& name) {
  return fmt::format(R"({{"metadata":{{"name":"{}"}},"data":{{"text":"{}"}}}})", name, std::string(200, 'x'));
}

}  // namespace

struct Load::Life {
  uint64_t number = 0;
  std::string resource, ns, name, node;
  int step = 0, changes = 0;
  bool shared = false, dies = false;
};

Load::Load(bus::Commands& commands, uint64_t commits, uint64_t seed) : commands_(commands), random_(seed) {
  if (commits > 0) more(commits);
}

void Load::more(uint64_t commits) {
  goal_ = committed_ + commits;
  while (running_ < kAtOnce) {
    ++running_;
    begin();
  }
}

void Load::begin() {
  auto life = std::make_shared<Life>();
  life->number = ++lives_;
  life->ns = ns(static_cast<int>(random_() % kNamespaces));
  life->changes = 1 + static_cast<int>(random_() % 4);
  life->shared = random_() % 50 == 0;
  life->dies = random_() % 4 != 0;
  if (!life->shared && random_() % 3 != 0) {
    life->resource = "pods";
    life->node = node(static_cast<int>(random_() % kNodes));
  } else {
    life->resource = "configmaps";
  }
  life->name = life->shared ? std::string(kShared) : fmt::format("o{}", life->number);
  next(std::move(life));
}

// The steps of a life: 0 create, 1 bind, then changes, then the end.
void Load::next(std::shared_ptr<Life> life) {
  if (committed_ >= goal_) {
    --running_;
    return;
  }
  const int step = life->step++;
  bus::Command command{.resource = life->resource, .ns = life->ns, .name = life->name};
  if (step == 0) {
    command.verb = bus::Verb::Create;
    command.json = life->resource == "pods" ? pod(life->name) : config_map(life->name);
    command.name.clear();
  } else if (step == 1) {
    if (life->node.empty()) return next(std::move(life));
    command.verb = bus::Verb::Bind;
    command.node = life->node;
  } else if (step < 2 + life->changes) {
    command.verb = bus::Verb::Patch;
    command.json = fmt::format(R"({{"metadata":{{"labels":{{"step":"{}-{}"}}}}}})", life->number, step);
  } else if (step == 2 + life->changes && life->dies && !life->shared) {
    command.verb = bus::Verb::Delete;
    command.grace_period_seconds = 0;
  } else {
    return begin();
  }
  send(std::move(command), std::move(life));
}

void Load::send(bus::Command command, std::shared_ptr<Life> life) {
  commands_.send(std::move(command), kDeadline, [this, life](Result<bus::CommandOutcome> outcome) {
    if (outcome.ok()) {
      ++committed_;
    } else if (!life->shared || outcome.code() != Code::kAlreadyExists) {
      ++failed_[std::string(reason(outcome.code()))];
    }
    // An object that a failover has taken: the next one.
    if (outcome.code() == Code::kNotFound && committed_ < goal_) return begin();
    next(life);
  });
}

}  // namespace gantry::testing
