// The driver on its real socket, driven by the node agent's own side.
#include "tools/csi-hostpath/driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "libs/base/uv_loop.h"
#include "services/nodeagent/volume/csi/grpc_transport.h"
#include "services/nodeagent/volume/csi_record.h"
#include "services/nodeagent/volume/csi_volumes.h"
#include "services/nodeagent/volume/mounts.h"

namespace gantry::csi_hostpath {
namespace {

namespace fs = std::filesystem;
using namespace nodeagent;  // NOLINT(google-build-using-namespace): both sides meet here
using nlohmann::json;
using ::testing::HasSubstr;

class Api final : public bus::Commands {
 public:
  explicit Api(Loop& loop) : loop_(loop) {}
  using Commands::send;
  void send(bus::Command command, Duration, bus::CommandDone done) override {
    sent.push_back(command);
    const bool absent = command.resource == "csinodes" && command.verb == bus::Verb::Patch && !made_;
    made_ |= command.resource == "csinodes" && command.verb == bus::Verb::Create;
    loop_.post([absent, done = std::move(done)] {
      if (absent) return done(Error{Code::kNotFound, "csinodes"});
      done(bus::CommandOutcome{});
    });
  }
  std::vector<bus::Command> sent;

 private:
  Loop& loop_;
  bool made_ = false;
};

class DriverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    char name[] = "/tmp/gantry-csi-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
    options_ = {.root = root_ + "/data", .node = "n1", .socket = root_ + "/csi.sock", .registry = paths().plugins()};
    agent();
    serve();
  }
  void TearDown() override {
    if (root_.empty()) return;
    volumes_.reset();
    drivers_.reset();
    driver_.reset();
    EXPECT_TRUE(mounts_below(root_)->empty()) << "mounts were left behind";
    ASSERT_TRUE(remove_tree(root_).ok());
  }
  /// The agent's side, new.
  void agent() {
    volumes_.reset();
    drivers_ = std::make_unique<CsiDrivers>(loop_, *transport_, api_, "n1", paths().plugins());
    volumes_ = std::make_unique<CsiVolumes>(loop_, *drivers_, api_, paths(), [this](auto work, auto done) {
      loop_.post([work, done] {
        work();
        done();
      });
    });
  }
  void serve() {
    auto started = Driver::start(options_);
    ASSERT_TRUE(started.ok()) << started.error().message;
    driver_ = std::move(*started);
    drivers_->scan();
    ASSERT_TRUE(await([&] { return drivers_->find(options_.name) != nullptr; }));
  }
  Paths paths() const {
    Paths p;
    p.root = root_ + "/agent";
    return p;
  }
  bool await(const std::function<bool()>& what) {
    const auto end = loop_.now() + std::chrono::seconds(20);
    auto tick = loop_.every(std::chrono::milliseconds(10), [] {});
    while (!what() && loop_.now() < end) loop_.run_once();
    return what();
  }
  Result<std::string> controller(const std::string& method, const json& request) {
    std::optional<json> answer;
    drivers_->serve(
        json{{"driver", options_.name}, {"method", "csi.v1.Controller/" + method}, {"request", request}}.dump(),
        [&](const std::string& a) { answer = json::parse(a); });
    EXPECT_TRUE(await([&] { return answer.has_value(); }));
    if (answer->contains("error"))
      return Error{static_cast<Code>((*answer)["code"].get<int>()), (*answer)["error"].get<std::string>()};
    return (*answer)["response"].dump();
  }
  std::string create(const std::string& name, const std::string& bytes = "1048576") {
    auto made = controller(
        "CreateVolume",
        {{"name", name},
         {"capacity_range", {{"required_bytes", bytes}}},
         {"volume_capabilities", {{{"mount", json::object()}, {"access_mode", {{"mode", "SINGLE_NODE_WRITER"}}}}}}});
    EXPECT_TRUE(made.ok()) << made.error().message;
    return made.ok() ? json::parse(*made)["volume"]["volume_id"].get<std::string>() : "";
  }
  VolumePlan plan(const std::string& uid, const std::string& handle) {
    VolumePlan p;
    p.kind = VolumePlan::Kind::kCsi;
    p.name = "v";
    p.spec_name = "pv";
    p.path = paths().volume(uid, "v");
    p.csi.driver = options_.name;
    p.csi.handle = handle;
    return p;
  }
  std::string run(const std::function<void(CsiVolumes::Done)>& step) {
    std::optional<Status> outcome;
    step([&](Status s) { outcome = s; });
    if (!await([&] { return outcome.has_value(); })) return "no answer";
    return outcome->ok() ? "ok" : outcome->error().message;
  }
  std::string mount(const std::string& uid, const VolumePlan& p) {
    return run([&](auto done) { volumes_->mount(uid, p, done); });
  }
  std::string unmount(const std::string& uid) {
    return run([&](auto done) { volumes_->unmount(uid, done); });
  }

  UvLoop loop_;
  Api api_{loop_};
  std::string root_;
  Options options_;
  std::unique_ptr<CsiTransport> transport_ = make_grpc_transport(loop_);
  std::unique_ptr<Driver> driver_;
  std::unique_ptr<CsiDrivers> drivers_;
  std::unique_ptr<CsiVolumes> volumes_;
};

TEST_F(DriverTest, RegistersAndIsToldToTheCluster) {
  ASSERT_TRUE(await([&] { return api_.sent.size() >= 3; }));
  const auto made = json::parse(std::find_if(api_.sent.begin(), api_.sent.end(), [](const auto& c) {
                                  return c.verb == bus::Verb::Create;
                                })->json);
  EXPECT_EQ(made["kind"], "CSINode");
  EXPECT_EQ(drivers_->find(options_.name)->topology.at(topology_key(options_)), "n1");
  EXPECT_TRUE(drivers_->find(options_.name)->stages && drivers_->find(options_.name)->expands);
  driver_.reset();
  drivers_->scan();
  EXPECT_EQ(drivers_->size(), 0u) << "its socket is gone";
  EXPECT_THAT(mount("u1", plan("u1", "x")), HasSubstr("not found in the list of registered CSI drivers"));
}

TEST_F(DriverTest, DataOutlivesPods) {
  const auto id = create("pvc-1");
  EXPECT_EQ(create("pvc-1"), id) << "the same name is the same volume";
  EXPECT_EQ(controller("CreateVolume", {{"name", "pvc-1"},
                                        {"capacity_range", {{"required_bytes", "9048576"}}},
                                        {"volume_capabilities", {{{"mount", json::object()}}}}})
                .code(),
            Code::kAlreadyExists);
  auto first = plan("u1", id);
  ASSERT_EQ(mount("u1", first), "ok");
  ASSERT_EQ(mount("u1", first), "ok") << "as after a restart of the agent";
  std::ofstream(first.path + "/file") << "data";
  auto second = plan("u2", id);
  second.read_only = true;
  ASSERT_EQ(mount("u2", second), "ok");
  EXPECT_FALSE(std::ofstream(second.path + "/no").is_open());
  ASSERT_EQ(unmount("u1"), "ok");
  EXPECT_FALSE(fs::exists(first.path));
  EXPECT_EQ(staged(paths())->size(), 1u) << "the other pod still has it";
  EXPECT_TRUE(std::ifstream(second.path + "/file").is_open());
  ASSERT_EQ(unmount("u2"), "ok");
  EXPECT_EQ(staged(paths())->size(), 0u);
  EXPECT_TRUE(mounts_below(root_)->empty());
  ASSERT_EQ(mount("u3", plan("u3", id)), "ok");
  EXPECT_TRUE(std::ifstream(paths().volume("u3", "v") + "/file").is_open());
  ASSERT_EQ(unmount("u3"), "ok");
  ASSERT_TRUE(controller("DeleteVolume", {{"volume_id", id}}).ok());
  EXPECT_THAT(mount("u4", plan("u4", id)),
              HasSubstr("MountVolume.MountDevice failed for volume \"pv\" : rpc error: code = "
                        "NotFound desc = there is no volume"));
  ASSERT_EQ(unmount("u4"), "ok");
}

TEST_F(DriverTest, WhatACrashLeftIsTakenBack) {
  const auto id = create("pvc-1");
  ASSERT_EQ(mount("u1", plan("u1", id)), "ok");
  volumes_.reset();  // the agent dies and starts again; the driver too
  driver_.reset();
  agent();
  EXPECT_THAT(unmount("u1"), HasSubstr("not found in the list of registered CSI drivers")) << "not before it is back";
  serve();
  ASSERT_EQ(unmount("u1"), "ok");
  EXPECT_TRUE(mounts_below(root_)->empty());
  // Died between unpublishing and unstaging.
  ASSERT_EQ(mount("u2", plan("u2", id)), "ok");
  ASSERT_TRUE(remove_tree(paths().pod("u2")).ok());
  EXPECT_EQ(mounts_below(root_)->size(), 1u);
  volumes_->tidy();
  EXPECT_TRUE(await([&] { return staged(paths())->empty(); }));
  EXPECT_TRUE(mounts_below(root_)->empty());
}

TEST_F(DriverTest, GrowsWithItsClaim) {
  const auto id = create("pvc-1");
  const auto grown =
      controller("ControllerExpandVolume", {{"volume_id", id}, {"capacity_range", {{"required_bytes", "2097152"}}}});
  ASSERT_TRUE(grown.ok()) << grown.error().message;
  EXPECT_EQ(json::parse(*grown)["capacity_bytes"], "2097152");
  auto p = plan("u1", id);
  p.csi.claim = "d/c";
  p.csi.known_capacity = 1 << 20;
  p.csi.capacity = 2 << 20;
  api_.sent.clear();
  ASSERT_EQ(mount("u1", p), "ok");
  ASSERT_EQ(api_.sent.size(), 1u);
  EXPECT_EQ(api_.sent[0].subresource, "status");
  EXPECT_EQ(json::parse(api_.sent[0].json)["status"]["capacity"]["storage"], "2Mi");
  volumes_->measure();
  EXPECT_TRUE(await([&] { return volumes_->usage().count("d/c") != 0; }));
  EXPECT_GT(volumes_->usage().at("d/c").capacity_bytes, 0);
  ASSERT_EQ(unmount("u1"), "ok");
  EXPECT_TRUE(volumes_->usage().empty());
}

TEST_F(DriverTest, VolumesOfAPodEndWithIt) {
  auto p = plan("u1", "csi-u1-v");
  p.csi.ephemeral = true;
  p.fs_group = 4000;
  p.csi.group_always = true;
  ASSERT_EQ(mount("u1", p), "ok");
  struct stat info {};
  ASSERT_EQ(stat(p.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_gid, 4000u);
  EXPECT_TRUE(fs::exists(options_.root + "/volumes/csi-u1-v"));
  ASSERT_EQ(unmount("u1"), "ok");
  EXPECT_FALSE(fs::exists(options_.root + "/volumes/csi-u1-v"));
}

TEST_F(DriverTest, NobodyAsksTheNodeSideFromOutside) {
  std::optional<json> answer;
  drivers_->serve(json{{"driver", options_.name}, {"method", "csi.v1.Node/NodePublishVolume"}}.dump(),
                  [&](const std::string& a) { answer = json::parse(a); });
  ASSERT_TRUE(await([&] { return answer.has_value(); }));
  EXPECT_THAT((*answer)["error"].get<std::string>(), HasSubstr("is not served"));
}

}  // namespace
}  // namespace gantry::csi_hostpath
