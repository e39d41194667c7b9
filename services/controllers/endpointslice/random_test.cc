// Pods of a Service that come, go, wait and move, and somebody who edits and deletes slices, under random leaders, lost
// answers and stale views: once quiet each pod stands in exactly one slice, as it is, and nothing else does.
#include <gtest/gtest.h>

#include "services/controllers/endpointslice/endpointslice.h"
#include "services/controllers/endpointslice/slices.h"
#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct Crowd {
  struct Expected {
    bool ready = false, terminating = false;
    std::string node;
    bool operator==(const Expected&) const = default;
  };

  testing::Dice& dice;
  testing::Harness h;
  uint64_t epoch = 1;
  int names = 0, port = 8080;

  explicit Crowd(testing::Dice& d) : dice(d) {
    h.start(std::make_unique<EndpointSliceController>());
    h.cluster.lose_answer = [this](const bus::Command&) { return dice.chance(3); };
    h.cluster.add(
        R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"d"},
            "spec":{"selector":{"app":"web"},"ports":[{"name":"http","port":80,"targetPort":8080}]}})");
    h.run();
  }

  void add() {
    const int n = names++;
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p{0}","namespace":"d","labels":{{"app":"{1}"}}}},
             "spec":{{"nodeName":"n{2}","containers":[{{"name":"c"}}]}},
             "status":{{"phase":"Running","podIP":"10.{3}.{4}.{5}","conditions":[{{"type":"Ready","status":"{6}"}}]}}}})",
        n, dice.chance(90) ? "web" : "other", dice.pick(3), n / 65536, n / 256 % 256, n % 256,
        dice.chance(70) ? "True" : "False"));
  }
  void some(std::string_view resource, const std::function<void(const std::string&)>& change) {
    const auto keys = h.cluster.keys(resource);
    if (!keys.empty()) change(dice.of(keys));
  }
  void edit_some_pod(const std::string& patch) {
    some("pods", [&](const std::string& key) { h.cluster.edit("pods", key, patch); });
  }

  void act() {
    const int what = dice.pick(100);
    if (what < 30) {
      for (int i = dice.chance(10) ? 60 : 3; i > 0; --i) add();
      return;
    }
    if (what < 45)
      return edit_some_pod(fmt::format(R"({{"status":{{"conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
                                       dice.chance(50) ? "True" : "False"));
    if (what < 52)
      return edit_some_pod(
          fmt::format(R"({{"metadata":{{"labels":{{"app":"{}"}}}}}})", dice.chance(50) ? "web" : "other"));
    if (what < 60)
      return edit_some_pod(
          fmt::format(R"({{"metadata":{{"deletionTimestamp":"{}","deletionGracePeriodSeconds":30}}}})", h.now()));
    if (what < 64) return edit_some_pod(R"({"status":{"phase":"Succeeded"}})");
    if (what < 80) return some("pods", [&](const std::string& key) { h.cluster.erase("pods", key); });
    if (what < 84)
      return some("endpointslices", [&](const std::string& key) { h.cluster.erase("endpointslices", key); });
    if (what < 88)
      return some("endpointslices",
                  [&](const std::string& key) { h.cluster.edit("endpointslices", key, R"({"endpoints":[]})"); });
    if (what < 90) {
      port = 8080 + dice.pick(3);
      return h.cluster.edit(
          "services", "d/s",
          fmt::format(R"({{"spec":{{"ports":[{{"name":"http","port":80,"targetPort":{}}}]}}}})", port));
    }
    if (what < 94) return h.runner().lead("controllers-endpointslice", ++epoch);
    h.cluster.hold_events = true;
  }

  std::map<std::string, Expected> expected() {
    std::map<std::string, Expected> out;
    for (const json& pod : h.cluster.all("pods")) {
      if (pod["metadata"]["labels"]["app"] != "web" || pod["status"]["phase"] != "Running") continue;
      const bool ends = pod["metadata"].contains("deletionTimestamp");
      out[pod["metadata"]["name"]] = {
          .ready = !ends && pod["status"]["conditions"][0]["status"] == "True",
          .terminating = ends,
          .node = pod["spec"]["nodeName"],
      };
    }
    return out;
  }

  void quiet() {
    h.cluster.release_events();
    h.pass(120s);
    std::map<std::string, Expected> told;
    for (const json& slice : h.cluster.all("endpointslices")) {
      const json endpoints = slice.value("endpoints", json::array());
      EXPECT_LE(endpoints.size(), kMaxEndpoints);
      EXPECT_EQ(slice["ports"][0]["port"], port);
      for (const json& e : endpoints) {
        const bool first = told.emplace(e["targetRef"]["name"], Expected{.ready = e["conditions"]["ready"],
                                                                         .terminating = e["conditions"]["terminating"],
                                                                         .node = e["nodeName"]})
                               .second;
        EXPECT_TRUE(first) << e["targetRef"]["name"] << " twice";
      }
    }
    EXPECT_TRUE(told == expected()) << told.size() << " of " << expected().size();
    std::set<std::string> old_ready, ready;  // what old clients are told
    const json subsets = h.cluster.get("endpoints", "d/s")->value("subsets", json::array());
    for (const json& subset : subsets) {
      for (const json& address : subset.value("addresses", json::array()))
        old_ready.insert(address["targetRef"]["name"]);
    }
    for (const auto& [name, pod] : told) {
      if (pod.ready) ready.insert(name);
    }
    EXPECT_EQ(old_ready, ready);
    const size_t before = h.cluster.log.size();
    h.pass(60s);
    EXPECT_EQ(h.cluster.log.size(), before) << "commands in a quiet minute";
    h.cluster.log.clear();
    const auto keys = h.cluster.keys("pods");
    for (size_t i = 0; i + 150 < keys.size(); ++i) h.cluster.erase("pods", keys[i]);
  }
};

TEST(EndpointSliceProperty, EachPodStandsInOneSliceAsItIs) {
  testing::Dice dice(200);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  Crowd crowd(dice);
  for (int step = 0; step < dice.steps() && !::testing::Test::HasFailure(); ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    crowd.act();
    crowd.h.pass(std::chrono::milliseconds(dice.pick(500)));
    if (dice.chance(70)) crowd.h.cluster.release_events();
    if (step % 50 == 49) crowd.quiet();
  }
}

}  // namespace
}  // namespace gantry::controllers
