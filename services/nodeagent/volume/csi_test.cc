// Drivers and their volumes against a driver that does as it is told; tools/csi-hostpath tests a real one.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "libs/base/testing/manual_loop.h"
#include "services/nodeagent/volume/csi_record.h"
#include "services/nodeagent/volume/csi_volumes.h"
#include "services/nodeagent/volume/mounts.h"

namespace gantry::nodeagent {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FakeDriver final : public CsiTransport {
 public:
  explicit FakeDriver(Loop& loop) : loop_(loop) {}
  void call(const std::string& socket, const std::string& method, std::string request, Duration,
            std::function<void(Result<std::string>)> done) override {
    const auto name = method.substr(method.find('/') + 1);
    const auto parsed = json::parse(request);
    if (name.find("Volume") != std::string::npos) calls.push_back(name);
    last[name] = parsed;
    Result<std::string> answer = answers.count(name) ? answers[name].dump() : std::string("{}");
    if (auto bad = failing.find(name); bad != failing.end()) answer = bad->second;
    loop_.post([done = std::move(done), answer] { done(answer); });
  }
  std::vector<std::string> calls;
  std::map<std::string, json> last, answers;
  std::map<std::string, Error> failing;

 private:
  Loop& loop_;
};

class Api final : public bus::Commands {
 public:
  explicit Api(Loop& loop) : loop_(loop) {}
  void send(bus::Command command, Duration, bus::CommandDone done) override {
    sent.push_back(command);
    const bool absent = command.resource == "csinodes" && command.verb == bus::Verb::Patch && !there;
    there |= command.resource == "csinodes" && command.verb == bus::Verb::Create;
    loop_.post([absent, done = std::move(done)] {
      if (absent) return done(Error{Code::kNotFound, "none"});
      done(bus::CommandOutcome{});
    });
  }
  std::vector<bus::Command> sent;
  bool there = false;

 private:
  Loop& loop_;
};

class CsiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-csi-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    paths_.root = name;
    fs::create_directories(paths_.plugins());
    driver_.answers["GetInfo"] = {{"type", "CSIPlugin"}, {"name", "disk"}, {"endpoint", "/csi.sock"}};
    driver_.answers["NodeGetCapabilities"] = {
        {"capabilities", {{{"rpc", {{"type", "STAGE_UNSTAGE_VOLUME"}}}}, {{"rpc", {{"type", "EXPAND_VOLUME"}}}}}}};
    driver_.answers["NodeGetInfo"] = {
        {"node_id", "id-1"}, {"max_volumes_per_node", "16"}, {"accessible_topology", {{"segments", {{"zone", "z1"}}}}}};
    drivers_ = std::make_unique<CsiDrivers>(loop_, driver_, api_, "n1", paths_.plugins());
    volumes_ = std::make_unique<CsiVolumes>(loop_, *drivers_, api_, paths_, [this](auto work, auto done) {
      loop_.post([work, done] {
        work();
        done();
      });
    });
  }
  void TearDown() override {
    if (socket_ >= 0) close(socket_);
    ASSERT_TRUE(remove_tree(paths_.root).ok());
  }
  void announce() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto path = paths_.plugins() + "/disk.sock";
    ASSERT_LT(path.size(), sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    drivers_->scan();
    loop_.drain();
  }
  VolumePlan plan(const std::string& uid) {
    VolumePlan p;
    p.kind = VolumePlan::Kind::kCsi;
    p.name = "v";
    p.spec_name = "pv";
    p.path = paths_.volume(uid, "v");
    p.csi.driver = "disk";
    p.csi.handle = "h";
    return p;
  }
  std::string mount(const std::string& uid, const VolumePlan& p) {
    std::string outcome = "nothing";
    volumes_->mount(uid, p, [&](const Status& s) { outcome = s.ok() ? "ok" : s.error().message; });
    loop_.drain();
    return outcome;
  }
  std::string unmount(const std::string& uid) {
    std::string outcome = "nothing";
    volumes_->unmount(uid, [&](const Status& s) { outcome = s.ok() ? "ok" : s.error().message; });
    loop_.drain();
    return outcome;
  }

  testing::ManualLoop loop_;
  FakeDriver driver_{loop_};
  Api api_{loop_};
  Paths paths_;
  int socket_ = -1;
  std::unique_ptr<CsiDrivers> drivers_;
  std::unique_ptr<CsiVolumes> volumes_;
};

TEST_F(CsiTest, DriversAreToldToTheCluster) {
  drivers_->scan();
  loop_.drain();
  ASSERT_EQ(api_.sent.size(), 2u) << "a node without drivers says so";
  EXPECT_EQ(api_.sent[1].verb, bus::Verb::Create);
  api_.sent.clear();
  std::string came;
  drivers_->on_registered([&](const std::string& name) { came = name; });
  driver_.failing["NodeGetInfo"] = {Code::kUnavailable, "not yet"};
  announce();
  EXPECT_EQ(drivers_->size(), 0u);
  EXPECT_EQ(driver_.last["NotifyRegistrationStatus"]["plugin_registered"], false);
  driver_.failing.clear();
  loop_.advance(seconds(3));
  EXPECT_EQ(came, "disk");
  ASSERT_GE(api_.sent.size(), 2u);
  const auto told = json::parse(api_.sent[0].json)["spec"]["drivers"][0];
  EXPECT_EQ(told["nodeID"], "id-1");
  EXPECT_EQ(told["allocatable"]["count"], 16);
  EXPECT_EQ(told["topologyKeys"][0], "zone");
  EXPECT_EQ(json::parse(api_.sent[1].json)["metadata"]["labels"]["zone"], "z1");
  fs::remove(paths_.plugins() + "/disk.sock");
  drivers_->scan();
  loop_.drain();
  EXPECT_EQ(json::parse(api_.sent.back().json)["spec"]["drivers"], json::array());
}

TEST_F(CsiTest, StagedOnceAndTakenBackWithTheLast) {
  EXPECT_THAT(mount("u1", plan("u1")), HasSubstr("driver name disk not found in the list of registered CSI drivers"));
  announce();
  ASSERT_EQ(mount("u1", plan("u1")), "ok");
  EXPECT_THAT(driver_.calls, ElementsAre("NodeStageVolume", "NodePublishVolume"));
  EXPECT_EQ(driver_.last["NodePublishVolume"]["staging_target_path"],
            staging_directory(paths_, "disk", "h") + "/mount");
  EXPECT_EQ(driver_.last["NodePublishVolume"]["target_path"], paths_.volume("u1", "v"));
  ASSERT_EQ(mount("u2", plan("u2")), "ok");
  driver_.calls.clear();
  ASSERT_EQ(unmount("u1"), "ok");
  EXPECT_THAT(driver_.calls, ElementsAre("NodeUnpublishVolume"));
  ASSERT_EQ(unmount("u2"), "ok");
  EXPECT_THAT(driver_.calls, ElementsAre("NodeUnpublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"));
  EXPECT_TRUE(fs::is_empty(paths_.staged_csi()));
  EXPECT_EQ(unmount("u2"), "ok") << "nothing is left to do";
}

TEST_F(CsiTest, WhatFailedIsTakenBackToo) {
  announce();
  driver_.failing["NodePublishVolume"] = {Code::kInternal, "rpc error: code = Internal desc = no"};
  EXPECT_EQ(mount("u1", plan("u1")),
            "MountVolume.SetUp failed for volume \"pv\" : rpc error: code = Internal desc = no");
  driver_.failing["NodeUnpublishVolume"] = {Code::kInternal, "busy"};
  EXPECT_THAT(unmount("u1"), HasSubstr("UnmountVolume.TearDown failed for volume \"h\" : busy"));
  driver_.failing.clear();
  driver_.calls.clear();
  ASSERT_EQ(unmount("u1"), "ok");
  EXPECT_THAT(driver_.calls, ElementsAre("NodeUnpublishVolume", "NodeUnstageVolume"));
  // What cannot be unstaged now is later.
  ASSERT_EQ(mount("u2", plan("u2")), "ok");
  driver_.failing["NodeUnstageVolume"] = {Code::kUnavailable, "away"};
  ASSERT_EQ(unmount("u2"), "ok") << "the pod need not wait for it";
  EXPECT_EQ(staged(paths_)->size(), 1u);
  driver_.failing.clear();
  volumes_->tidy();
  loop_.drain();
  EXPECT_EQ(staged(paths_)->size(), 0u);
}

TEST_F(CsiTest, OneAfterAnotherForOneVolume) {
  announce();
  std::vector<std::string> order;
  volumes_->mount("u1", plan("u1"), [&](const Status&) { order.emplace_back("mounted 1"); });
  volumes_->mount("u2", plan("u2"), [&](const Status&) { order.emplace_back("mounted 2"); });
  loop_.drain();
  EXPECT_THAT(order, ElementsAre("mounted 1", "mounted 2"));
  EXPECT_THAT(driver_.calls,
              ElementsAre("NodeStageVolume", "NodePublishVolume", "NodeStageVolume", "NodePublishVolume"));
}

TEST_F(CsiTest, AnUnreadableRecordHoldsThePodsDirectory) {
  fs::create_directories(paths_.csi_records("u1"));
  close(creat((paths_.csi_records("u1") + "/v.json").c_str(), 0600));
  EXPECT_THAT(unmount("u1"), HasSubstr("cannot be read"));
  EXPECT_THAT(driver_.calls, IsEmpty());
}

}  // namespace
}  // namespace gantry::nodeagent
