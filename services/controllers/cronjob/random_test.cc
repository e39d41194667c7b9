// CronJobs under random schedules, users, leaders, lost answers and stale views, with jobs that end at random.
#include <gtest/gtest.h>

#include "services/controllers/cronjob/cronjob.h"
#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct Ticks {
  testing::Dice& dice;
  testing::Harness h;
  uint64_t epoch = 1;
  std::string policy = "Allow";
  bool suspended = false;
  std::set<std::string> seen;  // names of Jobs that were ever made

  explicit Ticks(testing::Dice& d) : dice(d) {
    h.start(std::make_unique<CronJobController>());
    h.cluster.lose_answer = [this](const bus::Command&) { return dice.chance(5); };
    h.cluster.add(
        R"({"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"tick","namespace":"d"},
            "spec":{"schedule":"* * * * *","successfulJobsHistoryLimit":2,"failedJobsHistoryLimit":1,
              "jobTemplate":{"spec":{"completions":1,"template":{"spec":{"containers":[]}}}}}})");
    h.run();
  }
  void spec(const std::string& change) { h.cluster.edit("cronjobs", "d/tick", R"({"spec":)" + change + "}"); }

  static bool ended(const json& job) {
    const json conditions = job.value("status", json::object()).value("conditions", json::array());
    return !conditions.empty();
  }
  void end_some(int percent) {
    for (const std::string& key : h.cluster.keys("jobs")) {
      const json& job = *h.cluster.get("jobs", key);
      if (job["metadata"].contains("deletionTimestamp")) {
        h.cluster.erase("jobs", key);
      } else if (!ended(job) && dice.chance(percent)) {
        h.cluster.edit(
            "jobs", key,
            fmt::format(
                R"({{"status":{{"startTime":"{0}","completionTime":"{0}","conditions":[{{"type":"{1}","status":"True"}}]}}}})",
                h.now(), dice.chance(70) ? "Complete" : "Failed"));
      }
    }
  }

  void act() {
    const int what = dice.pick(100);
    if (what < 45) return end_some(60);
    if (what < 53) {
      policy = std::vector<std::string>{"Allow", "Forbid", "Replace"}[static_cast<size_t>(dice.pick(3))];
      return spec(fmt::format(R"({{"concurrencyPolicy":"{}"}})", policy));
    }
    if (what < 60) return spec(fmt::format(R"({{"suspend":{}}})", suspended = dice.chance(40)));
    if (what < 65) return spec(fmt::format(R"({{"schedule":"{}"}})", dice.chance(60) ? "* * * * *" : "*/3 * * * *"));
    if (what < 70)
      return spec(dice.chance(50) ? R"({"startingDeadlineSeconds":30})" : R"({"startingDeadlineSeconds":null})");
    if (what < 75) return h.runner().lead("controllers-cronjob", ++epoch);
    if (what < 80) h.cluster.hold_events = true;
    const auto keys = h.cluster.keys("jobs");
    if (what >= 80 && what < 84 && !keys.empty()) h.cluster.erase("jobs", dice.of(keys));
  }

  /// `before`: who ran when time began to pass; `log`: how many commands there were.
  void holds(const std::set<std::string>& before, size_t log) {
    const std::set<std::string> running = this->running();
    std::set<std::string> fresh;
    for (size_t i = log; i < h.cluster.log.size(); ++i) {
      const auto& command = h.cluster.log[i];
      if (command.verb != bus::Verb::Create || command.resource != "jobs") continue;
      EXPECT_FALSE(suspended) << "started while suspended";
      ++made;
    }
    for (const std::string& key : h.cluster.keys("jobs")) {
      if (seen.insert(key).second && !before.contains(key)) fresh.insert(key);
    }
    if (policy == "Forbid" && !before.empty() &&
        std::any_of(before.begin(), before.end(), [&](const auto& key) { return running.contains(key); })) {
      EXPECT_TRUE(fresh.empty()) << "a run beside another that still runs";
    }
    if (policy == "Replace" && !fresh.empty()) {
      EXPECT_LE(running.size(), 1u);
    }
  }

  std::set<std::string> running() {
    std::set<std::string> all;
    for (const std::string& key : h.cluster.keys("jobs")) {
      const json& job = *h.cluster.get("jobs", key);
      if (!ended(job) && !job["metadata"].contains("deletionTimestamp")) all.insert(key);
    }
    return all;
  }

  void quiet() {
    h.cluster.release_events();
    spec(R"({"suspend":true})");
    suspended = true;
    for (int i = 0; i < 5; ++i) {
      h.pass(5s);
      end_some(100);
    }
    h.pass(5s);
    int complete = 0, failed = 0;
    for (const json& job : h.cluster.all("jobs")) {
      ASSERT_TRUE(ended(job));
      (job["status"]["conditions"][0]["type"] == "Complete" ? complete : failed) += 1;
    }
    EXPECT_LE(complete, 2);
    EXPECT_LE(failed, 1);
    EXPECT_FALSE(h.cluster.get("cronjobs", "d/tick")->value("status", json::object()).contains("active"));
    const size_t before = h.cluster.log.size();
    h.pass(600s);
    EXPECT_EQ(h.cluster.log.size(), before) << "commands while suspended";
    spec(R"({"suspend":false})");
    suspended = false;
    h.pass(1s);
  }

  size_t made = 0;
};

TEST(CronJobProperty, EachMinuteOnceWithinItsPolicyAndHistory) {
  testing::Dice dice(1200);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  Ticks ticks(dice);
  int looked = 0;
  for (int step = 0; step < dice.steps() && !::testing::Test::HasFailure(); ++step) {
    bool stale = ticks.h.cluster.hold_events;
    ticks.act();
    stale |= ticks.h.cluster.hold_events;
    const auto before = ticks.running();
    const size_t log = ticks.h.cluster.log.size();
    ticks.h.pass(std::chrono::milliseconds(dice.pick(40'000)));
    if (dice.chance(70)) {
      ticks.h.cluster.release_events();
      ticks.h.pass(100ms);
    }
    // What it has not heard of it cannot heed; but no minute ever has two.
    if (stale) {
      for (const auto& key : ticks.h.cluster.keys("jobs")) ticks.seen.insert(key);
      continue;
    }
    ticks.holds(before, log);
    if (++looked % 60 != 0) continue;
    ticks.quiet();
    ticks.h.cluster.log.clear();
  }
  EXPECT_GT(ticks.made, 10u);
}

}  // namespace
}  // namespace gantry::controllers
