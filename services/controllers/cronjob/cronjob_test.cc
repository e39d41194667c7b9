#include "services/controllers/cronjob/cronjob.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/controllers/cronjob/due.h"
#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct CronJobTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<CronJobController>());
    to_minute(10);
  }
  int64_t seconds() { return h.loop.wall() / 1'000'000; }
  /// Moves to `second` seconds past a minute.
  void to_minute(int second) { h.pass(std::chrono::seconds((60 + second - seconds() % 60) % 60)); }
  void add(std::string_view spec) {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"batch/v1","kind":"CronJob","metadata":{{"name":"tick","namespace":"d"}},
             "spec":{{{},"jobTemplate":{{"metadata":{{"labels":{{"l":"1"}},"annotations":{{"a":"2"}}}},
               "spec":{{"completions":1,"template":{{"spec":{{"containers":[]}}}}}}}}}}}})",
        spec));
    h.run();
  }
  void finish(const std::string& key, const char* type = "Complete") {
    h.cluster.edit(
        "jobs", key,
        fmt::format(
            R"({{"status":{{"startTime":"{0}","completionTime":"{0}","conditions":[{{"type":"{1}","status":"True"}}]}}}})",
            h.now(), type));
    h.pass(1s);
  }
  json status() { return h.cluster.get("cronjobs", "d/tick")->value("status", json::object()); }
  std::vector<std::string> jobs() { return h.cluster.keys("jobs"); }
  testing::Harness h;
};

TEST_F(CronJobTest, AJobEachMinuteNamedByIt) {
  add(R"("schedule":"* * * * *")");
  EXPECT_TRUE(jobs().empty());
  h.pass(60s);
  ASSERT_EQ(jobs().size(), 1u);
  int64_t minute = seconds() / 60;
  EXPECT_EQ(jobs()[0], fmt::format("d/tick-{}", minute));
  json job = *h.cluster.get("jobs", jobs()[0]);
  EXPECT_EQ(job["metadata"]["labels"], (json{{"l", "1"}}));
  EXPECT_EQ(job["metadata"]["annotations"],
            (json{{"a", "2"}, {"batch.kubernetes.io/cronjob-scheduled-timestamp", model::format_time(minute * 60)}}));
  EXPECT_EQ(job["metadata"]["ownerReferences"][0]["kind"], "CronJob");
  EXPECT_EQ(job["spec"]["completions"], 1);
  ASSERT_EQ(status()["active"].size(), 1u);
  EXPECT_EQ(status()["active"][0]["uid"], job["metadata"]["uid"]);
  EXPECT_EQ(status()["lastScheduleTime"], model::format_time(minute * 60));
  finish(jobs()[0]);
  EXPECT_FALSE(status().contains("active"));
  EXPECT_EQ(status()["lastSuccessfulTime"], model::format_time(seconds() - 1));
  h.pass(60s);
  EXPECT_EQ(jobs().size(), 2u);
}

TEST_F(CronJobTest, ConcurrencyAllowsForbidsOrReplaces) {
  add(R"("schedule":"* * * * *","concurrencyPolicy":"Forbid")");
  h.pass(180s);
  ASSERT_EQ(jobs().size(), 1u);
  finish(jobs()[0]);
  EXPECT_EQ(jobs().size(), 2u);  // the latest that was missed, at once
  h.cluster.edit("cronjobs", "d/tick", R"({"spec":{"concurrencyPolicy":"Replace"}})");
  std::string before = jobs()[1];
  h.pass(60s);
  ASSERT_EQ(jobs().size(), 2u);
  EXPECT_EQ(h.cluster.get("jobs", before), nullptr);
  h.cluster.edit("cronjobs", "d/tick", R"({"spec":{"concurrencyPolicy":"Allow"}})");
  h.pass(120s);
  EXPECT_EQ(jobs().size(), 4u);
  EXPECT_EQ(status()["active"].size(), 3u);
}

TEST_F(CronJobTest, HistoryIsKeptWithinItsLimits) {
  add(R"("schedule":"* * * * *","successfulJobsHistoryLimit":2,"failedJobsHistoryLimit":1)");
  for (int i = 0; i < 8; ++i) {
    h.pass(59s);
    for (const std::string& key : jobs()) {
      if (!h.cluster.get("jobs", key)->contains("status")) finish(key, i % 2 == 0 ? "Complete" : "Failed");
    }
  }
  EXPECT_EQ(jobs().size(), 3u);
}

TEST_F(CronJobTest, SuspendedItStartsNothingAndResumedOnlyTheLast) {
  add(R"("schedule":"* * * * *","suspend":true)");
  h.pass(600s);
  EXPECT_TRUE(jobs().empty());
  h.cluster.edit("cronjobs", "d/tick", R"({"spec":{"suspend":false}})");
  h.pass(1s);
  EXPECT_EQ(jobs().size(), 1u);
}

TEST_F(CronJobTest, TooLateIsNotStarted) {
  add(R"("schedule":"* * * * *","suspend":true,"startingDeadlineSeconds":20)");
  h.pass(90s);  // 40 s after the last minute
  h.cluster.edit("cronjobs", "d/tick", R"({"spec":{"suspend":false}})");
  to_minute(50);
  EXPECT_TRUE(jobs().empty());
  to_minute(5);
  EXPECT_EQ(jobs().size(), 1u);
}

TEST_F(CronJobTest, AJobMadeByHandIsKeptOutOfTheSchedule) {
  add(R"("schedule":"0 0 1 1 *")");
  json owner = {{"apiVersion", "batch/v1"}, {"kind", "CronJob"}, {"name", "tick"}, {"controller", true}};
  owner["uid"] = (*h.cluster.get("cronjobs", "d/tick"))["metadata"]["uid"];
  json job = {{"apiVersion", "batch/v1"},
              {"kind", "Job"},
              {"metadata",
               {{"name", "tick-1"},
                {"namespace", "d"},
                {"annotations", {{"cronjob.kubernetes.io/instantiate", "manual"}}},
                {"ownerReferences", {owner}}}},
              {"spec", {{"completions", 1}}}};
  h.cluster.add(job.dump());
  h.pass(1s);
  EXPECT_FALSE(status().contains("active"));
  EXPECT_FALSE(status().contains("lastScheduleTime"));
  finish("d/tick-1");
  EXPECT_TRUE(status().contains("lastSuccessfulTime"));
}

TEST_F(CronJobTest, ARunThatIsGoneAlreadyIsNotRepeated) {
  h.cluster.lose_answer = [n = 0](const bus::Command&) mutable { return ++n % 3 == 0; };
  add(R"("schedule":"*/5 * * * *","successfulJobsHistoryLimit":0)");
  size_t made = 0;
  for (int i = 0; i < 60; ++i) {
    h.pass(30s);
    for (const std::string& key : jobs()) ++made, finish(key);
    h.pass(29s);
  }
  EXPECT_EQ(made, 12u);
}

TEST(Due, TheMostRecentOfManyMissed) {
  auto schedule = *cron::Schedule::parse("*/5 * * * *");
  const cron::Zone& utc = cron::Zone::utc();
  EXPECT_EQ(find_due(schedule, utc, 0, 299).at, std::nullopt);
  EXPECT_EQ(find_due(schedule, utc, 0, 299).next, 300);
  EXPECT_EQ(find_due(schedule, utc, 0, 301).at, 300);
  Due many = find_due(schedule, utc, 0, 300 * 500 + 7);
  EXPECT_EQ(many.at, 300 * 500);
  EXPECT_TRUE(many.many_missed);
  EXPECT_FALSE(find_due(schedule, utc, 0, 300 * 100).many_missed);
}

TEST(Due, AsIfEachRunWereWalked) {
  testing::Dice dice(300);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  const cron::Zone& zone = **cron::Zone::find("Europe/Berlin");
  for (int i = 0; i < dice.steps(); ++i) {
    std::string text = fmt::format("{} {} {} * {}", dice.chance(50) ? "*/7" : "13", dice.chance(50) ? "*" : "2,3,23",
                                   dice.chance(70) ? "*" : "1,30", dice.chance(70) ? "*" : "1-5");
    auto schedule = *cron::Schedule::parse(text);
    int64_t since = 1'700'000'000 + dice.pick(40'000'000), now = since + dice.pick(400'000);
    std::optional<int64_t> last;
    for (auto t = schedule.next(since, zone); t && *t <= now; t = schedule.next(*t, zone)) last = t;
    EXPECT_EQ(find_due(schedule, zone, since, now).at, last) << text << " " << since << " " << now;
  }
}

}  // namespace
}  // namespace gantry::controllers
