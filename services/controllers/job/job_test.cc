#include "services/controllers/job/job.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/job/testing/pods.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct JobTest : ::testing::Test {
  void SetUp() override { h.start(std::make_unique<JobController>()); }
  void add(std::string_view spec, std::string_view pod = "") { h.cluster.add(testing::job(spec, pod)); }
  json status() { return h.cluster.get("jobs", "d/work")->value("status", json::object()); }
  json condition(std::string_view type) {
    for (const json& c : status().value("conditions", json::array())) {
      if (c["type"] == type) return c;
    }
    return json::object();
  }
  std::vector<std::string> condition_types() {
    std::vector<std::string> types;
    for (const json& c : status().value("conditions", json::array())) types.push_back(c["type"]);
    return types;
  }
  size_t running() { return pods.running().size(); }
  size_t tracked() { return pods.tracked(); }
  testing::Harness h;
  testing::JobPods pods{h};
};

TEST_F(JobTest, RunsUntilEnoughHaveSucceeded) {
  add(R"("parallelism":2,"completions":3)");
  h.run();
  ASSERT_EQ(running(), 2u);
  json pod = h.cluster.all("pods")[0];
  EXPECT_TRUE(pod["metadata"]["name"].get<std::string>().starts_with("work-"));
  EXPECT_EQ(pod["metadata"]["finalizers"], json::array({"batch.kubernetes.io/job-tracking"}));
  EXPECT_EQ(status()["active"], 2);
  EXPECT_EQ(status()["startTime"], h.now());
  pods.succeed(pods.running()[0]);
  h.pass(1s);
  EXPECT_EQ(status()["succeeded"], 1);
  EXPECT_EQ(status()["uncountedTerminatedPods"], json::object());
  EXPECT_EQ(running(), 2u);
  pods.succeed_all();
  h.pass(1s);
  EXPECT_EQ(status()["succeeded"], 3);
  EXPECT_EQ(h.cluster.count("pods"), 3u);
  EXPECT_EQ(tracked(), 0u);
  EXPECT_EQ(condition_types(), (std::vector<std::string>{"SuccessCriteriaMet", "Complete"}));
  EXPECT_EQ(condition("Complete")["reason"], "CompletionsReached");
  EXPECT_EQ(condition("Complete")["message"], "Reached expected number of succeeded pods");
  EXPECT_TRUE(status().contains("completionTime"));
  EXPECT_FALSE(status().contains("active"));
  EXPECT_EQ(status()["ready"], 0);
  EXPECT_EQ(status()["terminating"], 0);
}

TEST_F(JobTest, WithoutCompletionsOneSuccessIsEnoughAndTheOthersEnd) {
  add(R"("parallelism":3)");
  h.run();
  pods.succeed(pods.running()[0]);
  h.pass(1s);
  EXPECT_EQ(running(), 2u);  // neither replaced nor stopped
  EXPECT_TRUE(condition("Complete").empty());
  pods.succeed_all();
  h.pass(1s);
  EXPECT_EQ(status()["succeeded"], 3);
  EXPECT_FALSE(condition("Complete").empty());
}

TEST_F(JobTest, IndexedPodsKnowTheirIndex) {
  add(R"("parallelism":3,"completions":5,"completionMode":"Indexed")");
  h.run();
  ASSERT_EQ(running(), 3u);
  json pod = *h.cluster.get("pods", pods.of_index(2));
  EXPECT_TRUE(pod["metadata"]["name"].get<std::string>().starts_with("work-2-"));
  EXPECT_EQ(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"], "2");
  EXPECT_EQ(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], "2");
  EXPECT_EQ(pod["spec"]["hostname"], "work-2");
  json env = pod["spec"]["containers"][0]["env"];
  ASSERT_EQ(env.size(), 2u);
  EXPECT_EQ(env[0]["name"], "A");
  EXPECT_EQ(env[1]["name"], "JOB_COMPLETION_INDEX");
  EXPECT_EQ(env[1]["valueFrom"]["fieldRef"]["fieldPath"],
            "metadata.labels['batch.kubernetes.io/job-completion-index']");
  pods.succeed(pods.of_index(1));
  pods.succeed(pods.of_index(2));
  h.pass(1s);
  EXPECT_EQ(status()["completedIndexes"], "1,2");
  EXPECT_EQ(running(), 3u);
  EXPECT_NE(pods.of_index(3), "");
  EXPECT_NE(pods.of_index(4), "");
  pods.succeed_all();
  h.pass(1s);
  EXPECT_EQ(status()["completedIndexes"], "0-4");
  EXPECT_EQ(status()["succeeded"], 5);
  EXPECT_FALSE(condition("Complete").empty());
}

TEST_F(JobTest, FailedPodsAreReplacedAfterABackoffThatDoubles) {
  add(R"("parallelism":1,"completions":1,"backoffLimit":3)");
  h.run();
  for (auto wait : {10s, 20s, 40s}) {
    ASSERT_EQ(running(), 1u);
    pods.fail(pods.running()[0]);
    h.pass(wait - 2s);
    EXPECT_EQ(running(), 0u) << wait.count();
    h.pass(3s);
    EXPECT_EQ(running(), 1u) << wait.count();
  }
  pods.fail(pods.running()[0]);
  h.pass(1s);
  EXPECT_EQ(status()["failed"], 4);
  EXPECT_EQ(condition_types(), (std::vector<std::string>{"FailureTarget", "Failed"}));
  EXPECT_EQ(condition("Failed")["reason"], "BackoffLimitExceeded");
  EXPECT_EQ(condition("Failed")["message"], "Job has reached the specified backoff limit");
  EXPECT_EQ(tracked(), 0u);
  EXPECT_FALSE(status().contains("completionTime"));
}

TEST_F(JobTest, AFailedJobStopsWhatRunsBeforeItSaysSo) {
  add(R"("parallelism":3,"completions":3,"backoffLimit":0)");
  h.run();
  pods.fail(pods.running()[0]);
  h.pass(1s);
  EXPECT_EQ(condition_types(), (std::vector<std::string>{"FailureTarget"}));
  EXPECT_EQ(status()["terminating"], 2);
  pods.end_deleted();
  h.pass(1s);
  EXPECT_EQ(condition_types(), (std::vector<std::string>{"FailureTarget", "Failed"}));
  EXPECT_EQ(status()["failed"], 3);
}

TEST_F(JobTest, TheDeadlineEndsIt) {
  add(R"("parallelism":1,"completions":1,"activeDeadlineSeconds":30)");
  h.run();
  h.pass(29s);
  EXPECT_EQ(running(), 1u);
  h.pass(2s);
  pods.end_deleted();
  h.pass(1s);
  EXPECT_EQ(condition("Failed")["reason"], "DeadlineExceeded");
  EXPECT_EQ(condition("Failed")["message"], "Job was active longer than specified deadline");
}

TEST_F(JobTest, RestartsInPlaceCountForOnFailure) {
  add(R"("parallelism":1,"completions":1,"backoffLimit":2)", R"("restartPolicy":"OnFailure",)");
  h.run();
  h.cluster.edit("pods", pods.running()[0],
                 R"({"status":{"phase":"Running","containerStatuses":[{"name":"c","restartCount":2}]}})");
  h.pass(1s);
  EXPECT_EQ(condition("FailureTarget")["reason"], "BackoffLimitExceeded");
}

TEST_F(JobTest, SuspendedItHasNoPodsAndResumedItStartsAnew) {
  add(R"("parallelism":2,"completions":2,"suspend":true)");
  h.run();
  EXPECT_EQ(running(), 0u);
  EXPECT_EQ(condition("Suspended")["status"], "True");
  EXPECT_FALSE(status().contains("startTime"));
  h.cluster.edit("jobs", "d/work", R"({"spec":{"suspend":false}})");
  h.pass(1s);
  EXPECT_EQ(running(), 2u);
  EXPECT_EQ(condition("Suspended")["status"], "False");
  EXPECT_EQ(condition("Suspended")["reason"], "JobResumed");
  EXPECT_TRUE(status().contains("startTime"));
  h.cluster.edit("jobs", "d/work", R"({"spec":{"suspend":true}})");
  h.pass(1s);
  pods.end_deleted();
  h.pass(1s);
  EXPECT_EQ(h.cluster.count("pods"), 0u);
  EXPECT_FALSE(status().contains("failed"));  // suspending fails nothing
  EXPECT_EQ(condition("Suspended")["status"], "True");
}

TEST_F(JobTest, LessParallelismStopsPodsWithoutFailingThem) {
  add(R"("parallelism":4,"completions":4)");
  h.run();
  h.cluster.edit("jobs", "d/work", R"({"spec":{"parallelism":1}})");
  h.pass(1s);
  pods.end_deleted();
  h.pass(1s);
  EXPECT_EQ(running(), 1u);
  EXPECT_FALSE(status().contains("failed"));
}

TEST_F(JobTest, TheFailurePolicyIgnoresFailsOrCounts) {
  add(R"("parallelism":2,"completions":2,"backoffLimit":1,"podFailurePolicy":{"rules":[
        {"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]},
        {"action":"FailJob","onExitCodes":{"containerName":"c","operator":"In","values":[42]}}]})");
  h.run();
  for (int i = 0; i < 3; ++i) {
    pods.fail(pods.running()[0], 1, R"([{"type":"DisruptionTarget","status":"True"}])");
    h.pass(400s);
  }
  EXPECT_FALSE(status().contains("failed"));
  EXPECT_EQ(running(), 2u);
  std::string last = pods.running()[0];
  pods.fail(last, 42);
  h.pass(1s);
  pods.end_deleted();
  h.pass(1s);
  EXPECT_EQ(condition("Failed")["reason"], "PodFailurePolicy");
  EXPECT_EQ(condition("Failed")["message"],
            "Container c for pod " + last + " failed with exit code 42 matching FailJob rule at index 1");
}

TEST_F(JobTest, EachIndexHasItsOwnLimit) {
  add(R"("parallelism":2,"completions":2,"completionMode":"Indexed","backoffLimit":2147483647,"backoffLimitPerIndex":1)");
  h.run();
  pods.fail(pods.of_index(0));
  h.pass(12s);
  json again = *h.cluster.get("pods", pods.of_index(0));
  EXPECT_EQ(again["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"], "1");
  pods.fail(pods.of_index(0));
  h.pass(100s);
  EXPECT_EQ(status()["failedIndexes"], "0");
  EXPECT_EQ(pods.of_index(0), "");
  EXPECT_EQ(running(), 1u);
  pods.succeed(pods.of_index(1));
  h.pass(1s);
  EXPECT_EQ(condition("Failed")["reason"], "FailedIndexes");
  EXPECT_EQ(condition("Failed")["message"], "Job has failed indexes");
  EXPECT_EQ(status()["failed"], 2);
  EXPECT_EQ(status()["succeeded"], 1);
  EXPECT_EQ(tracked(), 0u);
}

TEST_F(JobTest, TooManyFailedIndexesEndIt) {
  add(R"("parallelism":4,"completions":4,"completionMode":"Indexed","backoffLimit":100,"backoffLimitPerIndex":0,"maxFailedIndexes":1)");
  h.run();
  pods.fail(pods.of_index(0));
  pods.fail(pods.of_index(3));
  h.pass(1s);
  pods.end_deleted();
  h.pass(1s);
  EXPECT_EQ(condition("Failed")["reason"], "MaxFailedIndexesExceeded");
  EXPECT_EQ(status()["failedIndexes"], "0,3");
}

TEST_F(JobTest, TheSuccessPolicyEndsItEarly) {
  add(R"("parallelism":4,"completions":4,"completionMode":"Indexed","successPolicy":{"rules":[{"succeededIndexes":"0,2-3","succeededCount":1}]})");
  h.run();
  pods.succeed(pods.of_index(1));
  h.pass(1s);
  EXPECT_EQ(running(), 3u);
  pods.succeed(pods.of_index(2));
  h.pass(1s);
  EXPECT_EQ(condition_types(), (std::vector<std::string>{"SuccessCriteriaMet"}));
  pods.end_deleted();
  h.pass(1s);
  EXPECT_EQ(condition("Complete")["reason"], "SuccessPolicy");
  EXPECT_EQ(condition("Complete")["message"], "Matched rules at index 0");
  EXPECT_EQ(status()["succeeded"], 2);
  EXPECT_FALSE(status().contains("failed"));
}

TEST_F(JobTest, ReplacementWaitsForTheEndIfAsked) {
  add(R"("parallelism":1,"completions":1,"podReplacementPolicy":"Failed")");
  h.run();
  std::string key = pods.running()[0];
  pods.remove(key);
  h.pass(60s);
  EXPECT_EQ(running(), 0u);
  EXPECT_EQ(status()["terminating"], 1);
  pods.end_deleted();
  h.pass(60s);
  EXPECT_EQ(running(), 1u);
  EXPECT_EQ(status()["failed"], 1);
}

TEST_F(JobTest, ADeletedPodCountsAsFailedAndIsReplaced) {
  add(R"("parallelism":1,"completions":1)");
  h.run();
  pods.remove(pods.running()[0]);
  h.pass(1s);
  EXPECT_EQ(status()["failed"], 1);
  h.pass(30s);
  EXPECT_EQ(running(), 1u);
}

TEST_F(JobTest, AnotherManagersJobIsLeftAlone) {
  add(R"("parallelism":1,"completions":1,"managedBy":"example.com/other")");
  h.run();
  EXPECT_EQ(h.cluster.count("pods"), 0u);
  EXPECT_EQ(status(), json::object());
}

TEST_F(JobTest, PodsOfAJobThatIsGoneAreReleased) {
  add(R"("parallelism":2,"completions":2)");
  h.run();
  h.cluster.erase("jobs", "d/work");
  h.pass(1s);
  EXPECT_EQ(h.cluster.count("pods"), 2u);
  EXPECT_EQ(tracked(), 0u);
}

TEST_F(JobTest, AnAdoptedPodIsTracked) {
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"orphan","namespace":"d","labels":{"job":"work"}},"spec":{"containers":[]}})");
  add(R"("parallelism":1,"completions":1)");
  h.run();
  EXPECT_EQ(h.cluster.count("pods"), 1u);
  EXPECT_EQ(tracked(), 1u);
  pods.succeed("d/orphan");
  h.pass(1s);
  EXPECT_FALSE(condition("Complete").empty());
}

TEST_F(JobTest, QuietItSendsNothing) {
  add(R"("parallelism":2,"completions":4)");
  h.run(2s);
  size_t before = h.cluster.log.size();
  h.pass(300s);
  EXPECT_EQ(h.cluster.log.size(), before);
}

}  // namespace
}  // namespace gantry::controllers
