#include "services/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/model/schema.h"
#include "libs/projection/testing/fake_cluster.h"

namespace gantry::scheduler {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct SchedulerTest : ::testing::Test {
  void SetUp() override {
    cluster.attach(nodes);
    cluster.attach(pods);
    cluster.attach(events);
  }
  void lead(uint64_t epoch = 1) {
    scheduler.lead("scheduler", epoch);
    loop.advance(100ms);
  }
  void node(std::string_view name, std::string_view cpu = "2", std::string_view spec = "{}") {
    cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{}"}},"spec":{},"status":{{"allocatable":{{"cpu":"{}","memory":"8Gi","pods":"110"}}}}}})",
        name, spec, cpu));
  }
  void pod(std::string_view name, std::string_view cpu = "1", std::string_view spec = "") {
    cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{}","namespace":"d"}},"spec":{{{}"containers":[{{"name":"c","resources":{{"requests":{{"cpu":"{}"}}}}}}]}}}})",
        name, spec, cpu));
  }
  std::string where(std::string_view name) {
    return (*cluster.get("pods", fmt::format("d/{}", name)))["spec"].value("nodeName", "");
  }
  size_t bound() {
    size_t n = 0;
    for (const json& p : cluster.all("pods")) n += p["spec"].contains("nodeName");
    return n;
  }
  gantry::testing::ManualLoop loop;
  projection::testing::FakeCluster cluster{loop};
  projection::Cache nodes{*model::Schema::get().by_resource("nodes")}, pods{*model::Schema::get().by_resource("pods")},
      events{*model::Schema::get().by_resource("events")};
  projection::Recorder recorder{loop, cluster, "default-scheduler", ""};
  Scheduler scheduler{loop, cluster, nodes, pods, &recorder};
};

TEST_F(SchedulerTest, BindsWhatWaitsAndWhatComes) {
  node("a");
  node("b");
  pod("p1");
  loop.advance(1s);
  EXPECT_EQ(bound(), 0u);  // not elected
  lead();
  EXPECT_EQ(bound(), 1u);
  pod("p2");
  pod("other", "1", R"("schedulerName":"mine",)");
  pod("gated", "1", R"("schedulingGates":[{"name":"wait"}],)");
  loop.advance(100ms);
  EXPECT_NE(where("p1"), where("p2"));
  EXPECT_EQ(where("other"), "");
  EXPECT_EQ(where("gated"), "");
  cluster.edit("pods", "d/gated", R"({"spec":{"schedulingGates":null}})");
  loop.advance(100ms);
  EXPECT_NE(where("gated"), "");
  json event = cluster.all("events")[1];  // after that of "gated"
  EXPECT_EQ(event["reason"], "Scheduled");
  EXPECT_EQ(event["message"], "Successfully assigned d/p1 to " + where("p1"));
  EXPECT_EQ(event["involvedObject"]["name"], "p1");
  EXPECT_EQ(event["source"]["component"], "default-scheduler");
}

TEST_F(SchedulerTest, APodThatWaitsForAnotherWakesWhenThatIsPlaced) {
  for (const char* name : {"a", "b"}) {
    cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{}","labels":{{"host":"{}"}}}},"status":{{"allocatable":{{"cpu":"2","memory":"8Gi","pods":"110"}}}}}})",
        name, name));
  }
  lead();
  pod("web", "100m",
      R"("affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"cache"}},"topologyKey":"host"}]}},)");
  loop.advance(1s);
  EXPECT_EQ(where("web"), "");
  cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"cache","namespace":"d","labels":{"app":"other"}},"spec":{"containers":[{"name":"c"}]}})");
  loop.advance(1s);
  EXPECT_NE(where("cache"), "");
  EXPECT_EQ(where("web"), "");
  cluster.edit("pods", "d/cache", R"({"metadata":{"labels":{"app":"cache"}}})");
  loop.advance(1s);
  EXPECT_EQ(where("web"), where("cache"));
  const auto tried = scheduler.counters().tried;
  loop.advance(10s);
  EXPECT_EQ(scheduler.counters().tried, tried);  // nobody waits: nobody is tried
}

TEST_F(SchedulerTest, TellsWhyAndWakesWhenRoomComes) {
  node("a", "1");
  lead();
  pod("p1");
  loop.advance(100ms);
  pod("p2");
  loop.advance(100ms);
  EXPECT_EQ(where("p2"), "");
  json condition = (*cluster.get("pods", "d/p2"))["status"]["conditions"][0];
  EXPECT_EQ(condition["type"], "PodScheduled");
  EXPECT_EQ(condition["status"], "False");
  EXPECT_EQ(condition["reason"], "Unschedulable");
  EXPECT_EQ(condition["message"],
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims "
            "found for incoming pod.");
  uint64_t tried = scheduler.counters().tried;
  size_t log = cluster.log.size();
  loop.advance(10min);
  EXPECT_EQ(scheduler.counters().tried, tried);  // it sleeps
  EXPECT_EQ(cluster.log.size(), log);
  cluster.erase("pods", "d/p1");
  loop.advance(200ms);
  EXPECT_EQ(where("p2"), "a");
  pod("p3");
  loop.advance(200ms);
  EXPECT_EQ(where("p3"), "");
  node("b");
  loop.advance(200ms);
  EXPECT_EQ(where("p3"), "b");
}

TEST_F(SchedulerTest, NeverOvercommitsWhileTheViewIsBehind) {
  node("a", "3");
  lead();
  cluster.hold_events = true;
  loop.drain();
  cluster.release_events();
  for (int i = 0; i < 10; ++i) pod(fmt::format("p{}", i));
  loop.drain();
  cluster.hold_events = true;  // binds happen, the view does not see them
  loop.advance(10s);
  EXPECT_EQ(bound(), 3u);
  cluster.release_events();
  loop.advance(10s);
  EXPECT_EQ(bound(), 3u);
  EXPECT_EQ(scheduler.queue().sleeping(), 7u);
}

TEST_F(SchedulerTest, LostAnswersAndFailuresAreResolved) {
  for (int i = 0; i < 5; ++i) node(fmt::format("n{}", i), "4");
  cluster.lose_answer = [n = 0](const bus::Command& c) mutable { return c.verb == bus::Verb::Bind && ++n % 3 == 0; };
  cluster.before = [n = 0](const bus::Command& c) mutable -> std::optional<Error> {
    if (c.verb == bus::Verb::Bind && ++n % 4 == 0) return Error{.code = Code::kUnavailable, .message = "later"};
    return std::nullopt;
  };
  lead();
  for (int i = 0; i < 20; ++i) pod(fmt::format("p{}", i));
  loop.advance(2min);
  EXPECT_EQ(bound(), 20u);
  std::map<std::string, int> count;
  for (const json& p : cluster.all("pods")) ++count[p["spec"]["nodeName"]];
  for (const auto& [name, n] : count) EXPECT_LE(n, 4) << name;
  EXPECT_EQ(scheduler.in_flight(), 0u);
}

TEST_F(SchedulerTest, ABindRefusedIsForgotten) {
  node("a", "1");
  lead();
  cluster.before = [&](const bus::Command& c) -> std::optional<Error> {
    if (c.verb != bus::Verb::Bind || c.name != "gone") return std::nullopt;
    cluster.before = nullptr;
    cluster.erase("pods", "d/gone");  // a user was faster
    return Error{.code = Code::kNotFound, .message = "pods \"gone\" not found"};
  };
  pod("gone");
  loop.advance(3s);
  pod("next");
  loop.advance(3s);
  EXPECT_EQ(where("next"), "a");
}

TEST_F(SchedulerTest, AFencedLeaderBindsNothingAndANewOneDoes) {
  node("a");
  cluster.fenced["scheduler"] = 2;
  bool told = false;
  scheduler.on_deposed([&] { told = true; });
  pod("p");
  lead(1);
  EXPECT_TRUE(told);
  EXPECT_EQ(bound(), 0u);
  EXPECT_EQ(scheduler.cluster().node("a")->pods, 0);
  lead(2);
  EXPECT_EQ(where("p"), "a");
}

TEST_F(SchedulerTest, HigherPriorityGoesFirst) {
  node("a", "1");
  pod("low");
  pod("high", "1", R"("priority":1000,)");
  lead();
  EXPECT_EQ(where("high"), "a");
  EXPECT_EQ(where("low"), "");
}

struct PreemptionTest : SchedulerTest {
  void SetUp() override {
    SchedulerTest::SetUp();
    node("a", "2");
    lead();
    pod("low-1");
    pod("low-2");
    loop.advance(1s);
    ASSERT_EQ(bound(), 2u);
    // Pods end as an agent ends them: they are told, and gone later.
    cluster.before = [this](const bus::Command& c) -> std::optional<Error> {
      if (c.verb != bus::Verb::Delete) return std::nullopt;
      told.push_back(c.name);
      if (failures > 0) return --failures, Error{.code = Code::kUnavailable, .message = "later"};
      cluster.edit("pods", fmt::format("d/{}", c.name),
                   R"({"metadata":{"finalizers":["agent/ends"],"deletionTimestamp":"2026-01-01T00:00:00Z"}})");
      return Error{.code = Code::kNotFound, .message = "was marked"};
    };
  }
  void high(std::string_view name, int priority = 1000, std::string_view cpu = "1") {
    pod(name, cpu, fmt::format(R"("priority":{},)", priority));
    loop.advance(1s);
  }
  std::string nominated(std::string_view name) {
    const json pod = *cluster.get("pods", fmt::format("d/{}", name));
    return pod.contains("status") ? pod["status"].value("nominatedNodeName", "") : "";
  }
  std::vector<std::string> told;
  int failures = 0;
};

TEST_F(PreemptionTest, AMoreImportantPodTakesThePlaceOfAnother) {
  high("high");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(nominated("high"), "a");
  EXPECT_EQ(where("high"), "");
  const json victim = *cluster.get("pods", "d/" + told[0]);
  EXPECT_EQ(victim["status"]["conditions"][0]["type"], "DisruptionTarget");
  EXPECT_EQ(victim["status"]["conditions"][0]["reason"], "PreemptionByScheduler");
  loop.advance(1min);
  EXPECT_EQ(told.size(), 1u) << "it waits";
  // A pod like the victim comes: the room is not for it.
  pod("late");
  cluster.erase("pods", "d/" + told[0]);
  loop.advance(1s);
  EXPECT_EQ(where("high"), "a");
  EXPECT_EQ(where("late"), "");
  EXPECT_EQ(told.size(), 1u);
}

TEST_F(PreemptionTest, EachDrivesOutAnother) {
  high("high-1");
  high("high-2");
  EXPECT_EQ(std::set(told.begin(), told.end()), (std::set<std::string>{"low-1", "low-2"}));
  high("high-3");
  EXPECT_EQ(told.size(), 2u);
  EXPECT_EQ(nominated("high-3"), "");
  for (const std::string& name : told) cluster.erase("pods", "d/" + name);
  loop.advance(1s);
  EXPECT_EQ(where("high-1") + where("high-2") + where("high-3"), "aa");
}

TEST_F(PreemptionTest, AStillMoreImportantOneGoesFirst) {
  high("high", 1000, "2");
  ASSERT_EQ(told.size(), 2u);
  high("higher", 2000, "2");
  EXPECT_EQ(told.size(), 2u) << "those go already";
  EXPECT_EQ(nominated("higher"), "a");
  EXPECT_EQ(nominated("high"), "");
  for (const char* name : {"low-1", "low-2"}) cluster.erase("pods", fmt::format("d/{}", name));
  loop.advance(1s);
  EXPECT_EQ(where("higher"), "a");
  EXPECT_EQ(where("high"), "");
}

TEST_F(PreemptionTest, AVictimThatWasNotToldIsToldAgain) {
  failures = 2;
  high("high");
  loop.advance(5s);
  EXPECT_EQ(told.size(), 3u);
  cluster.erase("pods", "d/" + told.back());
  loop.advance(1s);
  EXPECT_EQ(where("high"), "a");
}

TEST_F(PreemptionTest, ANewLeaderKeepsTheRoom) {
  high("high");
  scheduler.resign();
  pod("late");
  lead(2);
  cluster.erase("pods", "d/" + told[0]);
  loop.advance(1s);
  EXPECT_EQ(where("high"), "a");
  EXPECT_EQ(where("late"), "");
  EXPECT_EQ(told.size(), 1u);
}

TEST_F(PreemptionTest, ANominatedPodThatGoesLeavesTheRoom) {
  high("high", 1000, "2");
  ASSERT_EQ(told.size(), 2u);
  cluster.erase("pods", "d/high");
  for (const std::string& name : told) cluster.erase("pods", "d/" + name);
  pod("late");
  loop.advance(1s);
  EXPECT_EQ(where("late"), "a");
  EXPECT_EQ(scheduler.cluster().node("a")->pods, 1);
}

TEST_F(SchedulerTest, ThousandsAtOnce) {
  for (int i = 0; i < 200; ++i) node(fmt::format("n{}", i), "32");
  lead();
  for (int i = 0; i < 3000; ++i) pod(fmt::format("p{}", i), "1");
  loop.advance(1s);
  EXPECT_EQ(bound(), 3000u);
  EXPECT_EQ(scheduler.counters().bound, 3000u);
}

struct VolumesTest : SchedulerTest {
  void SetUp() override {
    SchedulerTest::SetUp();
    for (projection::Cache* cache : {&claims, &persistent, &classes, &csi_nodes}) {
      cache->on_change([this](const projection::Change&) { scheduler.volumes_changed(); });
      cluster.attach(*cache);
    }
    scheduler.use_volumes(volumes);
    for (const char* name : {"a", "b", "c"}) node(name);
    lead();
  }
  void claim(std::string_view name, std::string_view spec, std::string_view status = R"("phase":"Pending")") {
    cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{{"name":"{}","namespace":"d"}},"spec":{{{}}},"status":{{{}}}}})",
        name, spec, status));
  }
  void user(std::string_view name, std::string_view of) {
    pod(name, "1", fmt::format(R"("volumes":[{{"name":"v","persistentVolumeClaim":{{"claimName":"{}"}}}}],)", of));
  }
  std::string why(std::string_view name) {
    const json& status = (*cluster.get("pods", fmt::format("d/{}", name)))["status"];
    const std::string whole =
        status.contains("conditions") ? status["conditions"][0]["message"].get<std::string>() : "";
    return whole.substr(0, whole.find(" preemption: "));
  }
  projection::Cache claims{*model::Schema::get().by_resource("persistentvolumeclaims")},
      persistent{*model::Schema::get().by_resource("persistentvolumes")},
      classes{*model::Schema::get().by_resource("storageclasses")},
      csi_nodes{*model::Schema::get().by_resource("csinodes")};
  Volumes volumes{claims, persistent, classes, csi_nodes, pods};
};

TEST_F(VolumesTest, PodsGoWhereTheirVolumesAre) {
  cluster.add(
      R"({"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"pv"},"spec":{"claimRef":{"name":"data"},"nodeAffinity":{"required":{"nodeSelectorTerms":[
         {"matchFields":[{"key":"metadata.name","operator":"In","values":["b"]}]}]}}}})");
  claim("data", R"("volumeName":"pv")", R"("phase":"Bound")");
  user("p1", "data");
  user("p2", "data");
  user("p3", "data");
  loop.advance(1s);
  EXPECT_EQ(where("p1") + where("p2") + where("p3"), "bb") << "two CPUs are there";
  for (const char* p : {"p1", "p2", "p3"}) {
    if (where(p).empty())
      EXPECT_EQ(
          why(p),
          "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match PersistentVolume's node affinity.");
  }
}

TEST_F(VolumesTest, ClaimsThatCannotBeHad) {
  user("none", "nothing");
  claim("loose", R"("accessModes":["ReadWriteOnce"])");
  user("unbound", "loose");
  loop.advance(1s);
  EXPECT_EQ(why("none"), "0/3 nodes are available: persistentvolumeclaim \"nothing\" not found.");
  EXPECT_EQ(why("unbound"), "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
  EXPECT_EQ(bound(), 0u);
}

TEST_F(VolumesTest, TheFirstConsumerChoosesTheNode) {
  cluster.add(
      R"({"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"late"},"provisioner":"disk","volumeBindingMode":"WaitForFirstConsumer"})");
  cluster.add(
      R"({"apiVersion":"storage.k8s.io/v1","kind":"CSINode","metadata":{"name":"c"},"spec":{"drivers":[{"name":"disk","nodeID":"c"}]}})");
  claim("data", R"("storageClassName":"late")");
  user("p", "data");
  loop.advance(1s);
  EXPECT_EQ(where("p"), "") << "not before its volume is there";
  EXPECT_EQ((*cluster.get("persistentvolumeclaims", "d/data"))["metadata"]["annotations"][Volumes::kSelectedNode], "c")
      << "the only one with the driver";
  cluster.add(
      R"({"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"pv"},"spec":{"claimRef":{"name":"data"}}})");
  cluster.edit("persistentvolumeclaims", "d/data", R"({"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}})");
  loop.advance(1s);
  EXPECT_FALSE(where("p").empty());
}

TEST_F(VolumesTest, AClaimForOnePodOnly) {
  cluster.add(
      R"({"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"pv"},"spec":{"claimRef":{"name":"data"}}})");
  claim("data", R"("volumeName":"pv","accessModes":["ReadWriteOncePod"])", R"("phase":"Bound")");
  user("first", "data");
  loop.advance(1s);
  user("second", "data");
  loop.advance(1s);
  EXPECT_FALSE(where("first").empty());
  EXPECT_EQ(why("second"),
            "0/3 nodes are available: node has pod using PersistentVolumeClaim with the same name and "
            "ReadWriteOncePod access mode.");
  cluster.erase("pods", "d/first");
  loop.advance(1s);
  EXPECT_FALSE(where("second").empty());
}

}  // namespace
}  // namespace gantry::scheduler
