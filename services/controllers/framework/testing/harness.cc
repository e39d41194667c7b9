#include "services/controllers/framework/testing/harness.h"

#include "libs/model/json.h"

namespace gantry::controllers::testing {

void Harness::start(std::unique_ptr<Controller> controller, Runner::Options options) {
  runners_.push_back(std::make_unique<Runner>(loop, cluster, view, *controller, nullptr, options));
  controllers_.push_back(std::move(controller));
}

void Harness::connect() {
  for (const auto& [resource, cache] : view.caches()) {
    if (connected_.insert(resource).second) cluster.attach(*cache);
  }
}

void Harness::run(Duration time) {
  connect();
  for (; elected_ < runners_.size(); ++elected_) {
    runners_[elected_]->lead(fmt::format("controllers-{}", runners_[elected_]->controller().name()), 1);
  }
  loop.advance(time);
}

Decision Harness::decide(Controller& controller, const std::string& key, const Memory& memory) {
  controller.setup(view);
  connect();
  loop.drain();
  return controller.decide(view, key, loop.wall(), memory);
}

std::string Harness::now() const { return model::format_time(loop.wall() / 1'000'000); }

void Harness::ready_pods(bool only_bound) {
  for (const std::string& key : cluster.keys("pods")) {
    const nlohmann::json& pod = *cluster.get("pods", key);
    if (pod["metadata"].contains("deletionTimestamp")) {
      cluster.erase("pods", key);
      continue;
    }
    if (only_bound && !pod["spec"].contains("nodeName")) continue;
    if (pod.contains("status") && pod["status"].contains("phase")) continue;
    cluster.edit(
        "pods", key,
        fmt::format(
            R"({{"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"{}"}}]}}}})",
            now()));
  }
}

}  // namespace gantry::controllers::testing
