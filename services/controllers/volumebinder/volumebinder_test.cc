#include "services/controllers/volumebinder/volumebinder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/volumeprotection/volumeprotection.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class VolumeBinderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    h.start(std::make_unique<VolumeBinder>());
    h.start(std::make_unique<VolumeProtection>());
    // The drivers of nodes, as the gateway reaches them.
    h.cluster.instead = [this](const bus::Command& command) -> std::optional<Result<bus::CommandOutcome>> {
      if (command.subresource != "csi") return std::nullopt;
      const auto call = nlohmann::json::parse(command.json);
      const std::string method = call["method"];
      calls.push_back(fmt::format("{} {}", command.name, method.substr(method.find('/') + 1)));
      requests.push_back(call["request"]);
      if (refuse) return Result<bus::CommandOutcome>(Error{*refuse, "rpc error: out of order"});
      bus::CommandOutcome outcome;
      outcome.json = answer(command.name, calls.back(), call["request"]).dump();
      return Result<bus::CommandOutcome>(outcome);
    };
  }
  /// A driver without memory but for what it holds.
  nlohmann::json answer(const std::string& node, const std::string& call, const nlohmann::json& request) {
    if (call.ends_with("CreateVolume")) {
      const std::string id = node + "/" + request["name"].get<std::string>();
      held.insert(id);
      return {{"volume",
               {{"volume_id", id},
                {"capacity_bytes", request["capacity_range"]["required_bytes"]},
                {"accessible_topology", {{{"segments", {{"disk/node", node}}}}}}}}};
    }
    if (call.ends_with("DeleteVolume")) {
      const std::string id = request["volume_id"];
      for (const auto& claim : h.cluster.all("persistentvolumeclaims"))
        EXPECT_NE(id.substr(id.find('/') + 1), "pvc-" + claim["metadata"]["uid"].get<std::string>())
            << "a claim holds it";
      held.erase(id);
      return nlohmann::json::object();
    }
    return {{"capacity_bytes", request["capacity_range"]["required_bytes"]}, {"node_expansion_required", true}};
  }
  void volume(const std::string& name, const std::string& size, const std::string& more = "",
              const std::string& meta = "") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"PersistentVolume","metadata":{{"name":"{}"{}}},"spec":{{"capacity":{{"storage":"{}"}},"accessModes":["ReadWriteOnce"],"hostPath":{{"path":"/x"}}{}}}}})",
        name, meta, size, more));
  }
  void claim(const std::string& name, const std::string& size, const std::string& more = "",
             const std::string& meta = "") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{{"name":"{}","namespace":"d"{}}},"spec":{{"accessModes":["ReadWriteOnce"],"resources":{{"requests":{{"storage":"{}"}}}}{}}}}})",
        name, meta, size, more));
  }
  void storage_class(const std::string& name, const std::string& more = "") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{{"name":"{}"}},"provisioner":"disk"{}}})",
        name, more));
  }
  void node(const std::string& name) {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{0}","labels":{{"disk/node":"{0}"}}}}}})", name));
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"storage.k8s.io/v1","kind":"CSINode","metadata":{{"name":"{0}"}},"spec":{{"drivers":[{{"name":"disk","nodeID":"{0}","topologyKeys":["disk/node"]}}]}}}})",
        name));
  }
  std::string of_claim(const std::string& name) {
    const auto& c = *h.cluster.get("persistentvolumeclaims", "d/" + name);
    return c["spec"].value("volumeName", "-") + " " + c.value("status", nlohmann::json::object()).value("phase", "-");
  }
  std::string of_volume(const std::string& name) {
    const auto* v = h.cluster.get("persistentvolumes", name);
    return v == nullptr ? "none" : (*v).value("status", nlohmann::json::object()).value("phase", "-");
  }

  testing::Harness h;
  std::vector<std::string> calls;
  std::vector<nlohmann::json> requests;
  std::optional<Code> refuse;
  std::set<std::string> held;
};

TEST_F(VolumeBinderTest, TheSmallestThatFits) {
  volume("big", "10Gi");
  volume("small", "1Gi");
  volume("right", "5Gi");
  volume("other-class", "5Gi", R"(,"storageClassName":"fast")");
  volume("block", "5Gi", R"(,"volumeMode":"Block")");
  claim("c", "2Gi", R"(,"storageClassName":"")");
  h.run(5s);
  EXPECT_EQ(of_claim("c"), "right Bound");
  EXPECT_EQ(of_volume("right"), "Bound");
  EXPECT_EQ(of_volume("big"), "Available");
  EXPECT_EQ((*h.cluster.get("persistentvolumeclaims", "d/c"))["status"]["capacity"]["storage"], "5Gi");
}

TEST_F(VolumeBinderTest, SelectorsAndReservations) {
  volume("a", "1Gi", "", R"(,"labels":{"tier":"gold"})");
  volume("b", "1Gi");
  volume("kept", "1Gi", R"(,"claimRef":{"namespace":"d","name":"reserved"})");
  claim("gold", "1Gi", R"(,"storageClassName":"","selector":{"matchLabels":{"tier":"gold"}})");
  claim("by-name", "1Gi", R"(,"storageClassName":"","volumeName":"b")");
  claim("late", "1Gi", R"(,"storageClassName":"")");
  h.run(5s);
  EXPECT_EQ(of_claim("gold"), "a Bound");
  EXPECT_EQ(of_claim("by-name"), "b Bound");
  EXPECT_THAT(of_claim("late"), ::testing::StartsWith("- ")) << "what is left is reserved";
  EXPECT_EQ(of_volume("kept"), "Available");
  claim("reserved", "1Gi", R"(,"storageClassName":"")");
  h.pass(5s);
  EXPECT_EQ(of_claim("reserved"), "kept Bound");
  volume("more", "2Gi");
  h.pass(5s);
  EXPECT_EQ(of_claim("late"), "more Bound");
}

TEST_F(VolumeBinderTest, TwoClaimsNeverShare) {
  volume("only", "1Gi");
  for (int i = 0; i < 5; ++i) claim(fmt::format("c{}", i), "1Gi", R"(,"storageClassName":"")");
  h.run(10s);
  int bound = 0;
  for (int i = 0; i < 5; ++i) bound += of_claim(fmt::format("c{}", i)) == "only Bound";
  EXPECT_EQ(bound, 1);
}

TEST_F(VolumeBinderTest, RetainedWhenTheClaimGoes) {
  volume("v", "1Gi");
  claim("c", "1Gi", R"(,"storageClassName":"")");
  h.run(5s);
  h.cluster.erase("persistentvolumeclaims", "d/c");
  h.pass(5s);
  EXPECT_EQ(of_volume("v"), "Released");
  claim("c", "1Gi", R"(,"storageClassName":"")");
  h.pass(5s);
  EXPECT_THAT(of_claim("c"), ::testing::StartsWith("- ")) << "another claim of that name has no right to the data";
}

TEST_F(VolumeBinderTest, AClaimThatOnlyTheViewMissesKeepsItsVolume) {
  volume("v", "1Gi", R"(,"persistentVolumeReclaimPolicy":"Delete")");
  claim("c", "1Gi", R"(,"storageClassName":"")");
  h.run(5s);
  h.view.need("persistentvolumeclaims").remove("d", "c", h.cluster.head("persistentvolumeclaims"));
  h.pass(60s);
  EXPECT_EQ(of_volume("v"), "Bound");
}

TEST_F(VolumeBinderTest, ALostVolumeIsTold) {
  volume("v", "1Gi");
  claim("c", "1Gi", R"(,"storageClassName":"")");
  h.run(5s);
  h.cluster.erase("persistentvolumes", "v");
  h.pass(5s);
  EXPECT_EQ(of_claim("c"), "v Lost");
}

TEST_F(VolumeBinderTest, ADriverMakesWhatIsMissing) {
  refuse = Code::kInternal;
  node("n1");
  node("n2");
  storage_class("late", R"(,"volumeBindingMode":"WaitForFirstConsumer","parameters":{"kind":"ssd"})");
  claim("c", "1Gi", R"(,"storageClassName":"late")");
  h.run(5s);
  EXPECT_THAT(calls, IsEmpty()) << "waits for its first consumer";
  h.cluster.edit("persistentvolumeclaims", "d/c",
                 R"({"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"n2"}}})");
  h.pass(1s);
  ASSERT_FALSE(calls.empty());
  EXPECT_EQ(calls[0], "n2 CreateVolume");
  EXPECT_EQ(requests[0]["capacity_range"]["required_bytes"], "1073741824");
  EXPECT_EQ(requests[0]["parameters"]["kind"], "ssd");
  EXPECT_EQ(requests[0]["accessibility_requirements"]["requisite"][0]["segments"]["disk/node"], "n2");
  const size_t before = calls.size();
  h.pass(60s);
  EXPECT_GT(calls.size(), before) << "tried again";
  EXPECT_LT(calls.size(), 40u) << "but not all the time";
}

TEST_F(VolumeBinderTest, NoRoomThereAsksTheSchedulerAgain) {
  node("n1");
  storage_class("late", R"(,"volumeBindingMode":"WaitForFirstConsumer")");
  refuse = Code::kTooManyRequests;
  claim("c", "1Gi", R"(,"storageClassName":"late")", R"(,"annotations":{"volume.kubernetes.io/selected-node":"n1"})");
  h.run(5s);
  EXPECT_FALSE((*h.cluster.get("persistentvolumeclaims", "d/c"))["metadata"]["annotations"].contains(
      "volume.kubernetes.io/selected-node"));
}

TEST_F(VolumeBinderTest, WhatIsInUseStays) {
  volume("v", "1Gi");
  claim("c", "1Gi", R"(,"storageClassName":"")");
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d"},"spec":{"nodeName":"n1","containers":[],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]}})");
  h.run(5s);
  const auto& finalizers = (*h.cluster.get("persistentvolumeclaims", "d/c"))["metadata"]["finalizers"];
  EXPECT_EQ(finalizers, nlohmann::json::array({"kubernetes.io/pvc-protection"}));
  for (const char* resource : {"persistentvolumeclaims", "persistentvolumes"}) {
    bus::Command command{.verb = bus::Verb::Delete, .resource = resource};
    command.ns = std::string_view(resource) == "persistentvolumes" ? "" : "d";
    command.name = std::string_view(resource) == "persistentvolumes" ? "v" : "c";
    ASSERT_TRUE(h.cluster.run(command).ok());
  }
  h.pass(60s);
  EXPECT_EQ(h.cluster.count("persistentvolumeclaims"), 1u);
  EXPECT_EQ(h.cluster.count("persistentvolumes"), 1u);
  h.cluster.erase("pods", "d/p");
  h.pass(10s);
  EXPECT_EQ(h.cluster.count("persistentvolumeclaims"), 0u);
  EXPECT_EQ(h.cluster.count("persistentvolumes"), 0u);
}

TEST_F(VolumeBinderTest, FromClaimToVolumeAndBack) {
  node("n1");
  node("n2");
  storage_class("fast", R"(,"allowVolumeExpansion":true,"mountOptions":["noatime"])");
  claim("c", "1Gi", R"(,"storageClassName":"fast")");
  h.cluster.lose_answer = [n = 0](const bus::Command&) mutable { return ++n % 3 == 0; };
  h.run(30s);
  const auto& c = *h.cluster.get("persistentvolumeclaims", "d/c");
  const std::string volume = c["spec"]["volumeName"];
  EXPECT_EQ(volume, "pvc-" + c["metadata"]["uid"].get<std::string>());
  EXPECT_EQ(c["status"]["phase"], "Bound");
  EXPECT_EQ(of_volume(volume), "Bound");
  EXPECT_EQ(held.size(), 1u);
  const auto& spec = (*h.cluster.get("persistentvolumes", volume))["spec"];
  EXPECT_EQ(spec["csi"]["volumeHandle"], *held.begin());
  EXPECT_EQ(spec["persistentVolumeReclaimPolicy"], "Delete");
  EXPECT_EQ(spec["mountOptions"][0], "noatime");
  EXPECT_EQ(spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"][0],
            held.begin()->substr(0, 2));
  // It grows: the driver first, then the node that mounts it.
  h.cluster.edit("persistentvolumeclaims", "d/c", R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})");
  h.pass(30s);
  EXPECT_EQ((*h.cluster.get("persistentvolumes", volume))["spec"]["capacity"]["storage"], "2Gi");
  EXPECT_EQ((*h.cluster.get("persistentvolumeclaims", "d/c"))["status"]["conditions"][0]["type"],
            "FileSystemResizePending");
  EXPECT_EQ((*h.cluster.get("persistentvolumeclaims", "d/c"))["status"]["capacity"]["storage"], "1Gi");
  // A driver that is out of order loses nothing.
  refuse = Code::kUnavailable;
  h.cluster.erase("persistentvolumeclaims", "d/c");
  h.pass(30s);
  EXPECT_EQ(of_volume(volume), "Released");
  EXPECT_EQ(held.size(), 1u);
  refuse.reset();
  h.pass(120s);
  EXPECT_EQ(of_volume(volume), "none");
  EXPECT_TRUE(held.empty());
  const size_t quiet = h.cluster.log.size();
  h.pass(300s);
  EXPECT_EQ(h.cluster.log.size(), quiet) << "nothing to do, nothing done";
}

TEST_F(VolumeBinderTest, ManyClaimsAndOneVolumeEach) {
  for (const char* name : {"n1", "n2", "n3"}) node(name);
  storage_class("fast");
  for (int i = 0; i < 50; ++i) claim(fmt::format("c{}", i), "1Gi", R"(,"storageClassName":"fast")");
  for (int i = 0; i < 10; ++i) volume(fmt::format("v{}", i), "2Gi", R"(,"storageClassName":"fast")");
  h.cluster.latency = 5ms;
  h.run(60s);
  std::set<std::string> volumes;
  for (const auto& c : h.cluster.all("persistentvolumeclaims")) {
    EXPECT_EQ(c["status"]["phase"], "Bound");
    EXPECT_TRUE(volumes.insert(c["spec"]["volumeName"]).second) << "shared";
  }
  EXPECT_EQ(held.size(), 40u) << "what was there is taken first";
}

TEST_F(VolumeBinderTest, AClaimDeletedWhileItsVolumeIsMadeLeavesNothing) {
  node("n1");
  storage_class("fast");
  const auto remove = [this] {
    bus::Command command{.verb = bus::Verb::Delete, .resource = "persistentvolumeclaims", .ns = "d", .name = "c"};
    ASSERT_TRUE(h.cluster.run(command).ok());
  };
  h.run(1s);
  for (const Duration when : {1ms, 15ms, 25ms, 35ms, 45ms, 65ms}) {
    h.cluster.latency = 10ms;
    claim("c", "1Gi", R"(,"storageClassName":"fast")", R"(,"finalizers":["kubernetes.io/pvc-protection"])");
    h.pass(when);
    remove();
    h.pass(60s);
    EXPECT_EQ(h.cluster.count("persistentvolumeclaims"), 0u);
    EXPECT_EQ(h.cluster.count("persistentvolumes"), 0u);
    EXPECT_TRUE(held.empty());
  }
  EXPECT_FALSE(calls.empty());
}

}  // namespace
}  // namespace gantry::controllers
