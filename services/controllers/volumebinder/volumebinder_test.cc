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
    h.cluster.before = [this](const bus::Command& command) -> std::optional<Error> {
      if (command.subresource != "csi") return std::nullopt;
      const auto call = nlohmann::json::parse(command.json);
      const std::string method = call["method"];
      calls.push_back(fmt::format("{} {}", command.name, method.substr(method.find('/') + 1)));
      requests.push_back(call["request"]);
      return Error{refuse, "rpc error: out of order"};
    };
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
  Code refuse = Code::kInternal;
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

}  // namespace
}  // namespace gantry::controllers
