// Jobs under random pods, users, leaders and lost answers: each end is counted once, and a Job that has ended is quiet.
#include <gtest/gtest.h>

#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/job/job.h"
#include "services/controllers/job/testing/pods.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct OneJob {
  testing::Dice& dice;
  testing::Harness h;
  testing::JobPods pods{h};
  int parallelism, completions, most;
  bool indexed;
  uint64_t epoch = 1;
  int succeeded = 0, failed = 0;
  std::set<int> indexes;

  explicit OneJob(testing::Dice& d) : dice(d) {
    h.start(std::make_unique<JobController>());
    most = parallelism = 1 + dice.pick(4);
    completions = 1 + dice.pick(6);
    indexed = dice.chance(50);
    h.cluster.lose_answer = [this](const bus::Command&) { return dice.chance(5); };
    h.cluster.add(testing::job(
        fmt::format(R"("parallelism":{},"completions":{},"completionMode":"{}","backoffLimit":{},"suspend":{})",
                    parallelism, completions, indexed ? "Indexed" : "NonIndexed", dice.pick(8), dice.chance(20))));
    h.run();
  }

  json get() { return *h.cluster.get("jobs", "d/work"); }
  bool has(const char* type) {
    json all = get().value("status", json::object()).value("conditions", json::array());
    return std::any_of(all.begin(), all.end(),
                       [&](const json& c) { return c["type"] == type && c["status"] == "True"; });
  }
  bool ending() { return has("SuccessCriteriaMet") || has("FailureTarget"); }

  /// A running pod that still counts, or "".
  std::string some_pod() {
    std::vector<std::string> keys;
    for (const std::string& key : pods.running()) {
      if (h.cluster.get("pods", key)->at("metadata").contains("finalizers")) keys.push_back(key);
    }
    return keys.empty() ? "" : dice.of(keys);
  }

  void act() {
    int what = dice.pick(100);
    std::string key = what < 60 ? some_pod() : "";
    if (what < 60 && key.empty()) return;
    if (what < 35) {
      pods.succeed(key);
      ++succeeded;
      if (indexed) indexes.insert(std::stoi(key.substr(std::string("d/work-").size())));
    } else if (what < 50) {
      pods.fail(key);
      ++failed;
    } else if (what < 60) {
      pods.remove(key);
      ++failed;
    } else if (what < 75) {
      pods.end_deleted();
    } else if (what < 82) {
      h.cluster.edit("jobs", "d/work", fmt::format(R"({{"spec":{{"suspend":{}}}}})", dice.chance(40)));
    } else if (what < 90) {
      parallelism = 1 + dice.pick(4);
      most = std::max(most, parallelism);
      h.cluster.edit("jobs", "d/work", fmt::format(R"({{"spec":{{"parallelism":{}}}}})", parallelism));
    } else if (what < 93) {
      h.runner().lead("controllers-job", ++epoch);
    }
  }

  void holds() {
    std::set<std::string> taken;
    size_t running = 0;
    for (const std::string& key : pods.running()) {
      const json& meta = h.cluster.get("pods", key)->at("metadata");
      if (!meta.contains("finalizers")) continue;
      ++running;
      if (indexed) {
        EXPECT_TRUE(taken.insert(meta["labels"]["batch.kubernetes.io/job-completion-index"]).second) << key;
      }
    }
    EXPECT_LE(running, static_cast<size_t>(most));
    json status = get().value("status", json::object());
    EXPECT_LE(status.value("succeeded", 0), indexed ? static_cast<int>(indexes.size()) : succeeded);
    if (!ending()) {
      EXPECT_LE(status.value("failed", 0), failed);
    }
  }

  int run() {
    int steps = 0;
    for (; steps < 60 && !ending(); ++steps) {
      act();
      h.pass(std::chrono::milliseconds(dice.chance(70) ? dice.pick(3000) : dice.pick(60'000)));
      holds();
      if (::testing::Test::HasFailure()) return steps;
    }
    // It is let end.
    if (!ending()) h.cluster.edit("jobs", "d/work", R"({"spec":{"suspend":false}})");
    for (int i = 0; i < 60 && !has("Complete") && !has("Failed"); ++i) {
      pods.end_deleted();
      h.pass(2s);
      std::string key = ending() ? "" : some_pod();
      if (!key.empty()) {
        pods.succeed(key);
        ++succeeded;
        if (indexed) indexes.insert(std::stoi(key.substr(std::string("d/work-").size())));
      }
      h.pass(30s);
    }
    pods.end_deleted();
    h.pass(10s);
    json status = get()["status"];
    EXPECT_TRUE(has("Complete") || has("Failed")) << status;
    EXPECT_EQ(status.value("succeeded", 0), indexed ? static_cast<int>(indexes.size()) : succeeded) << status;
    if (has("Complete")) {
      EXPECT_EQ(status.value("failed", 0), failed) << status;
    }
    EXPECT_FALSE(status.contains("active")) << status;
    EXPECT_EQ(status["uncountedTerminatedPods"], json::object());
    EXPECT_EQ(pods.tracked(), 0u);
    size_t before = h.cluster.log.size();
    h.pass(60s);
    EXPECT_EQ(h.cluster.log.size(), before);
    return steps + 1;
  }
};

TEST(JobProperty, EachEndIsCountedOnce) {
  testing::Dice dice(2000);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  for (int steps = 0; steps < dice.steps() && !::testing::Test::HasFailure();) {
    OneJob job(dice);
    steps += job.run();
  }
}

}  // namespace
}  // namespace gantry::controllers
