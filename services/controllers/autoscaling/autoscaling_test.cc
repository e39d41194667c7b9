#include "services/controllers/autoscaling/autoscaling.h"

#include <gtest/gtest.h>

#include "libs/bus/permissions.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/model/json.h"
#include "services/controllers/autoscaling/measure.h"
#include "services/controllers/autoscaling/queues.h"
#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/replicaset/replicaset.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

/// Every pod uses the same; those not ready are not measured.
struct FakeUsage : Measurements {
  explicit FakeUsage(testing::Harness& harness) : h(harness) {}
  std::optional<usage::PodMeasured> pod(std::string_view uid) const override {
    if (milli < 0) return std::nullopt;
    usage::PodMeasured m;
    m.time = h.loop.wall();
    m.window = 15s;
    m.containers.emplace_back("c", usage::Usage{static_cast<uint64_t>(milli) * 1'000'000, uint64_t{64} << 20});
    m.containers.emplace_back("side", usage::Usage{0, 0});
    return m;
  }
  void pushed(std::string_view ns, std::string_view name,
              const std::function<void(const usage::Sample&)>& visit) const override {
    board.for_each(ns, name, visit);
  }
  testing::Harness& h;
  gantry::testing::FakeNetwork net{h.loop};
  std::unique_ptr<gantry::testing::FakeBus> bus = net.connect("controllers", bus::controllers_permissions());
  usage::MetricBoard board{h.loop, *bus};
  int64_t milli = -1;
};

struct AutoscalingTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<AutoscalingController>(used, history));
    h.start(std::make_unique<ReplicaSetController>());
  }
  void web(int replicas) {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{{"name":"web","namespace":"d"}},
          "spec":{{"replicas":{},"selector":{{"matchLabels":{{"app":"web"}}}},
            "template":{{"metadata":{{"labels":{{"app":"web"}}}},
              "spec":{{"containers":[{{"name":"c","resources":{{"requests":{{"cpu":"100m","memory":"64Mi"}}}}}}]}}}}}}}})",
        replicas));
  }
  void scaler(std::string_view spec) {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{{"name":"a","namespace":"d"}},
          "spec":{{"scaleTargetRef":{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web"}},{}}}}})",
        spec));
  }
  static std::string cpu(int percent) {
    return fmt::format(
        R"("metrics":[{{"type":"Resource","resource":{{"name":"cpu","target":{{"type":"Utilization","averageUtilization":{}}}}}}}])",
        percent);
  }
  /// Lets pods run, long ago as far as the metric is concerned.
  void serve() {
    for (const std::string& key : h.cluster.keys("pods")) {
      const json& pod = *h.cluster.get("pods", key);
      if (pod.contains("status") && pod["status"].contains("phase")) continue;
      h.cluster.edit(
          "pods", key,
          R"({"status":{"phase":"Running","startTime":"2020-01-01T00:00:00Z","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2020-01-01T00:00:00Z"}]}})");
    }
  }
  void settle(Duration time) {
    for (Duration t{}; t < time; t += 1s) {
      h.pass(1s);
      serve();
    }
  }
  int replicas() { return (*h.cluster.get("replicasets", "d/web"))["spec"]["replicas"]; }
  json status() { return h.cluster.get("horizontalpodautoscalers", "d/a")->value("status", json::object()); }
  json condition(std::string_view type) {
    const json now = status();
    for (const json& c : now.value("conditions", json::array())) {
      if (c["type"] == type) return c;
    }
    return json::object();
  }
  /// As a program does; it takes effect as in the Team.
  void push(const char* name, std::string_view data) {
    auto team = used.net.connect("team");
    ASSERT_TRUE(team->publish(fmt::format("gantry.metrics.d.{}", name), data).ok());
    h.pass(1ms);
  }
  void listen() {
    used.board.on_change([this](const std::string& ns, const std::string& name) {
      for (const auto& key : AutoscalingController::keys_of_metric(h.view, ns, name)) h.runner().enqueue(key);
    });
  }
  /// A metric of one number for all; `target` e.g. "averageValue":"10".
  static std::string external(std::string_view name, std::string_view selector, std::string_view target) {
    return fmt::format(
        R"("metrics":[{{"type":"External","external":{{"metric":{{"name":"{}","selector":{{"matchLabels":{}}}}},"target":{{"type":"{}",{}}}}}}}])",
        name, selector, target.starts_with("\"average") ? "AverageValue" : "Value", target);
  }
  testing::Harness h;
  FakeUsage used{h};
  ScalingHistory history;
};

constexpr const char* kAtOnce = R"("behavior":{"scaleDown":{"stabilizationWindowSeconds":0}},)";

TEST_F(AutoscalingTest, FromZeroAndBackByWhatWaitsInAStream) {
  auto server = used.net.connect("nats-server");
  int messages = 0, pending = -1;
  auto answer = [&](const bus::Message& m, std::string text) { ASSERT_TRUE(server->publish(m.reply, text).ok()); };
  auto stream = server->subscribe("$JS.API.STREAM.INFO.orders", "", [&](const bus::Message& m) {
    answer(m, fmt::format(R"({{"state":{{"messages":{}}}}})", messages));
  });
  auto consumer = server->subscribe("$JS.API.CONSUMER.INFO.orders.*", "", [&](const bus::Message& m) {
    answer(m, pending < 0 ? R"({"error":{"code":404}})"
                          : fmt::format(R"({{"num_pending":{},"num_ack_pending":1}})", pending));
  });
  QueueWatch watch(h.loop, *used.bus, used.board, [this] { return queues_wanted(h.view); });
  listen();
  web(0);
  scaler(fmt::format(R"("minReplicas":0,"maxReplicas":10,{}{})", kAtOnce,
                     external("nats_stream_messages", R"({"stream":"orders"})", R"("averageValue":"10")")));
  h.run(1s);
  EXPECT_EQ(replicas(), 0);
  EXPECT_EQ(condition("ScalingActive")["status"], "True");
  messages = 25;
  h.pass(600ms);
  EXPECT_EQ(replicas(), 3);
  settle(5s);
  EXPECT_EQ(status()["currentMetrics"][0]["external"]["current"]["averageValue"], "8334m");
  EXPECT_EQ(status()["currentMetrics"][0]["external"]["metric"]["selector"]["matchLabels"]["stream"], "orders");
  messages = 0;
  settle(2s);
  EXPECT_EQ(replicas(), 0);
  // A consumer's lag, which is not there at first.
  h.cluster.edit(
      "horizontalpodautoscalers", "d/a",
      fmt::format(R"({{"spec":{{{}}}}})", external("nats_consumer_pending", R"({"stream":"orders","consumer":"c.x"})",
                                                   R"("averageValue":"2")")));
  settle(2s);
  EXPECT_EQ(condition("ScalingActive")["reason"], "FailedGetExternalMetric");  // no consumer can be called so
  h.cluster.edit(
      "horizontalpodautoscalers", "d/a",
      fmt::format(R"({{"spec":{{{}}}}})",
                  external("nats_consumer_pending", R"({"stream":"orders","consumer":"c"})", R"("averageValue":"2")")));
  settle(2s);
  EXPECT_EQ(condition("ScalingActive")["reason"], "FailedGetExternalMetric");
  pending = 6;
  h.pass(600ms);
  EXPECT_EQ(replicas(), 4);
  EXPECT_TRUE(used.bus->violations().empty());
}

TEST_F(AutoscalingTest, PushedMetricsActAtOnce) {
  listen();
  web(2);
  scaler(R"("maxReplicas":20,"behavior":{"scaleDown":{"stabilizationWindowSeconds":0},
        "scaleUp":{"policies":[{"type":"Percent","value":900,"periodSeconds":15}]}},"metrics":[
      {"type":"Pods","pods":{"metric":{"name":"requests","selector":{"matchLabels":{"verb":"get"}}},"target":{"type":"AverageValue","averageValue":"10"}}},
      {"type":"Object","object":{"describedObject":{"apiVersion":"v1","kind":"Service","name":"web"},"metric":{"name":"queued"},"target":{"type":"Value","value":"100"}}}])");
  h.run(1s);
  settle(3s);
  EXPECT_EQ(condition("ScalingActive")["reason"], "FailedGetPodsMetric");
  auto each = [&](int value) {
    std::string all = "[";
    for (const std::string& key : h.cluster.keys("pods"))
      all += fmt::format(
          R"({}{{"value":{},"pod":"{}","labels":{{"verb":"get"}}}},{{"value":999,"pod":"{}","labels":{{"verb":"put"}}}})",
          all.size() > 1 ? "," : "", value, key.substr(2), key.substr(2));
    push("requests", all + "]");
  };
  each(20);
  h.pass(10ms);
  EXPECT_EQ(replicas(), 4);
  settle(2s);
  each(10);
  push("queued", R"({"value":"300","object":{"kind":"Service","name":"web"}})");
  h.pass(200ms);
  EXPECT_EQ(replicas(), 12);  // three times as many as are ready
  settle(2s);
  EXPECT_EQ(status()["currentMetrics"][1]["object"]["current"]["value"], "300");
  EXPECT_EQ(status()["currentMetrics"][0]["pods"]["current"]["averageValue"], "10");
  push("queued", R"({"value":"10","object":{"kind":"Service","name":"web"}})");
  each(1);
  h.pass(200ms);
  EXPECT_EQ(replicas(), 1);
  // Its numbers alone are not written each time.
  settle(16s);
  const size_t before = h.cluster.log.size();
  for (int i = 0; i < 100; ++i)
    push("queued", fmt::format(R"({{"value":{},"object":{{"kind":"Service","name":"web"}}}})", 95 + i % 9)),
        h.pass(99ms);
  EXPECT_LE(h.cluster.log.size() - before, 11u);
}

TEST_F(AutoscalingTest, UpAtOnceDownAfterTheWindow) {
  web(2);
  scaler(R"("minReplicas":1,"maxReplicas":10,)" + cpu(50));
  used.milli = 50;
  h.run(1s);
  settle(5s);
  EXPECT_EQ(replicas(), 2);
  EXPECT_EQ(status()["currentMetrics"][0]["resource"]["current"]["averageUtilization"], 50);
  EXPECT_EQ(status()["currentMetrics"][0]["resource"]["current"]["averageValue"], "50m");
  EXPECT_EQ(condition("ScalingActive")["reason"], "ValidMetricFound");
  EXPECT_EQ(condition("AbleToScale")["reason"], "ReadyForNewScale");
  used.milli = 100;
  settle(1s);
  EXPECT_EQ(replicas(), 4);
  used.milli = 50;
  settle(10s);
  EXPECT_EQ(replicas(), 4);
  used.milli = 10;
  settle(280s);
  EXPECT_GE(replicas(), 4);  // what was wanted within five minutes
  EXPECT_EQ(condition("AbleToScale")["reason"], "ScaleDownStabilized");
  settle(60s);
  EXPECT_EQ(replicas(), 1);
  EXPECT_EQ(status()["desiredReplicas"], 1);
  EXPECT_TRUE(status().contains("lastScaleTime"));
}

TEST_F(AutoscalingTest, ToleranceAndBounds) {
  web(4);
  scaler(R"("minReplicas":3,"maxReplicas":5,)" + cpu(50));
  used.milli = 54;
  h.run(1s);
  settle(5s);
  EXPECT_EQ(replicas(), 4);  // within a tenth
  used.milli = 500;
  settle(20s);
  EXPECT_EQ(replicas(), 5);
  EXPECT_EQ(condition("ScalingLimited")["reason"], "TooManyReplicas");
  used.milli = 0;
  settle(330s);
  EXPECT_EQ(replicas(), 3);
  EXPECT_EQ(condition("ScalingLimited")["reason"], "TooFewReplicas");
  used.milli = 50;
  h.cluster.edit("horizontalpodautoscalers", "d/a", R"({"spec":{"maxReplicas":2,"minReplicas":1}})");
  h.pass(1s);
  EXPECT_EQ(replicas(), 2);
}

TEST_F(AutoscalingTest, PoliciesSlowItDown) {
  web(2);
  scaler(R"("maxReplicas":100,"behavior":{"scaleUp":{"policies":[{"type":"Pods","value":1,"periodSeconds":10}]},
          "scaleDown":{"stabilizationWindowSeconds":0,"selectPolicy":"Disabled"}},)" +
         cpu(10));
  used.milli = 100;
  h.run(500ms);
  settle(4s);
  EXPECT_EQ(replicas(), 3);
  EXPECT_EQ(condition("ScalingLimited")["reason"], "ScaleUpLimit");
  settle(10s);
  EXPECT_EQ(replicas(), 4);
  used.milli = 0;
  settle(60s);
  EXPECT_GE(replicas(), 4);  // never down
}

TEST_F(AutoscalingTest, WithoutMetricsNothingChangesAndItSaysWhy) {
  web(2);
  scaler(R"("maxReplicas":10,)" + cpu(50));
  h.run(1s);
  settle(5s);
  EXPECT_EQ(replicas(), 2);
  EXPECT_EQ(condition("ScalingActive")["status"], "False");
  EXPECT_EQ(condition("ScalingActive")["reason"], "FailedGetResourceMetric");
  size_t before = h.cluster.log.size();
  settle(60s);
  EXPECT_EQ(h.cluster.log.size(), before);
  h.cluster.erase("replicasets", "d/web");
  h.pass(1s);
  EXPECT_EQ(condition("AbleToScale")["reason"], "FailedGetScale");
  EXPECT_EQ(condition("AbleToScale")["message"],
            "the HPA controller was unable to get the target's current scale: replicasets.apps \"web\" not found");
}

TEST_F(AutoscalingTest, OneContainersUseAndAverageValues) {
  web(2);
  scaler(
      R"("maxReplicas":10,"metrics":[{"type":"ContainerResource","containerResource":{"name":"cpu","container":"c","target":{"type":"Utilization","averageUtilization":50}}},
        {"type":"Resource","resource":{"name":"memory","target":{"type":"AverageValue","averageValue":"32Mi"}}},
        {"type":"External","external":{"metric":{"name":"q"},"target":{"type":"Value","value":"1"}}}])");
  used.milli = 50;
  h.run(1s);
  settle(3s);
  EXPECT_EQ(replicas(), 6);  // by memory, as fast as it may; what is not known only keeps it from going down
  EXPECT_EQ(status()["currentMetrics"].size(), 2u);
}

TEST_F(AutoscalingTest, AtZeroItIsSwitchedOff) {
  web(0);
  scaler(R"("maxReplicas":10,)" + cpu(50));
  used.milli = 500;
  h.run(1s);
  settle(3s);
  EXPECT_EQ(replicas(), 0);
  EXPECT_EQ(condition("ScalingActive")["reason"], "ScalingDisabled");
}

TEST(Propose, OneNumberForAll) {
  auto wanted = [](Whole w) { return propose_whole(w, {})->replicas; };
  EXPECT_EQ(wanted({.milli = 25'000, .target_milli = 10'000, .per_pod = true}), 3);
  EXPECT_EQ(wanted({.milli = 0, .target_milli = 10'000, .per_pod = true}), 0);
  EXPECT_EQ(wanted({.milli = 31'000, .target_milli = 10'000, .per_pod = true, .current = 3, .reported = 3}), 3);
  EXPECT_EQ(wanted({.milli = 0, .target_milli = 10'000, .per_pod = true, .current = 3, .reported = 3}), 0);
  EXPECT_EQ(wanted({.milli = 5'000, .target_milli = 2'000}), 3);
  EXPECT_EQ(wanted({.milli = 5'000, .target_milli = 2'000, .current = 2, .reported = 2, .ready = 2}), 5);
  EXPECT_EQ(wanted({.milli = 5'000, .target_milli = 2'000, .current = 2, .reported = 2, .ready = 0}), 2);
  EXPECT_EQ(wanted({.milli = -5'000, .target_milli = 2'000, .per_pod = true, .current = 2, .reported = 2}), 0);
  EXPECT_FALSE(propose_whole({.milli = 1, .target_milli = 0}, {}).ok());
}

model::Object pod(std::string_view status) {
  static testing::Harness h;
  static int n = 0;
  return h.cluster.add(fmt::format(
      R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p{}","namespace":"d"}},"spec":{{"containers":[]}},"status":{}}})",
      n++, status));
}

TEST(Propose, WhatIsNotKnownSpeaksAgainstAChange) {
  constexpr const char* kOld =
      R"({"phase":"Running","startTime":"2020-01-01T00:00:00Z","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2020-01-01T00:00:00Z"}]})";
  const int64_t now = 1'700'000'000;
  auto ready = [&](int64_t milli) { return ScaledPod{pod(kOld), PodUse{milli, now, 15}, 100}; };
  auto missing = [&] { return ScaledPod{pod(kOld), std::nullopt, 100}; };
  auto pending = [&] { return ScaledPod{pod(R"({"phase":"Pending"})"), std::nullopt, 100}; };
  Target half{.cpu = true, .utilization = 50, .average_milli = 0};
  EXPECT_EQ(propose({ready(100), ready(100)}, 2, half, {}, now)->replicas, 4);
  EXPECT_EQ(propose({ready(100), ready(100), pending(), pending()}, 4, half, {}, now)->replicas, 4);
  EXPECT_EQ(propose({ready(200), missing()}, 2, half, {}, now)->replicas, 4);
  EXPECT_EQ(propose({ready(10), missing()}, 2, half, {}, now)->replicas, 2);
  EXPECT_EQ(propose({ready(10), ready(10)}, 2, half, {}, now)->replicas, 1);
  EXPECT_FALSE(propose({pending()}, 1, half, {}, now).ok());
  EXPECT_EQ(
      propose({ready(30), ready(30)}, 2, {.cpu = true, .utilization = {}, .average_milli = 10}, {}, now)->replicas, 6);
}

// Whatever is wanted: within the bounds, and each second no faster than the policies say.
TEST(Bound, NeverFasterThanThePolicies) {
  testing::Dice dice(20'000);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  ScalingRecord record;
  int32_t current = 5;
  std::map<int64_t, int32_t> at;
  for (int64_t now = 1000; now < 1000 + dice.steps(); ++now) {
    Bounded b = bound(nullptr, current, dice.pick(60), 2, 50, record, now);
    EXPECT_GE(b.replicas, 2);
    EXPECT_LE(b.replicas, 50);
    note_scaling(record, current, b.replicas, now);
    current = b.replicas;
    at[now] = current;
    int32_t lowest = current;
    for (int64_t t = now - 14; t <= now; ++t) {
      if (at.contains(t)) lowest = std::min(lowest, at[t]);
    }
    EXPECT_LE(current, std::max(lowest * 2, lowest + 4)) << now;
  }
}

}  // namespace
}  // namespace gantry::controllers
