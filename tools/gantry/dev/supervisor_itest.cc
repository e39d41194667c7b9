// The supervisor with real processes: shells that stand in for services.
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>

#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/supervisor.h"

namespace gantry::dev {
namespace {

using nlohmann::json;

struct SupervisorTest : ::testing::Test {
  SupervisorTest() {
    std::string pattern = ::testing::TempDir() + "/gantry-supervisor-XXXXXX";
    paths.root = ::mkdtemp(pattern.data());
    for (const char* folder : {"run", "log"}) std::filesystem::create_directories(paths.root / folder);
  }
  ~SupervisorTest() override {
    for (const auto& [name, pid] : seen) {
      if (auto process = read_pid_file(paths.pid(name))) stop_process(*process, 0);
    }
    std::filesystem::remove_all(paths.root);
  }

  Component component(const std::string& name, const std::string& script, std::vector<std::string> after = {}) {
    seen[name] = 0;
    Component c{.name = name, .spawn = {}, .after = std::move(after), .ready = {}, .stop_seconds = 1};
    c.spawn = {
        .command = {"/bin/sh", "-c", script}, .environment = {}, .log = paths.log(name), .network_namespace = ""};
    return c;
  }
  void begin(std::vector<Component> components) {
    supervisor = std::make_unique<Supervisor>(loop, paths, std::move(components));
    supervisor->start();
  }
  json status(const std::string& name) {
    for (const auto& c : json::parse(supervisor->status_json())) {
      if (c["name"] == name) return c;
    }
    return json::object();
  }
  bool await(const std::function<bool()>& condition) {
    bool late = false;
    auto limit = loop.after(std::chrono::seconds(10), [&] { late = true; });
    auto tick = loop.every(std::chrono::milliseconds(10), [] {});
    while (!condition() && !late) loop.run_once();
    return condition();
  }
  bool await_state(const std::string& name, const std::string& state) {
    return await([&] { return status(name)["state"] == state; });
  }

  Paths paths;
  UvLoop loop;
  std::unique_ptr<Supervisor> supervisor;
  std::map<std::string, int> seen;
};

TEST_F(SupervisorTest, StartsInOrderAndRestartsWhatDies) {
  begin({component("a", "exec sleep 1000"), component("b", "exec sleep 1000", {"a"})});
  ASSERT_TRUE(await_state("b", "ready"));
  const pid_t first = status("a")["pid"];
  ::kill(first, SIGKILL);
  ASSERT_TRUE(await([&] { return status("a")["restarts"] == 1 && status("a")["state"] == "ready"; }));
  EXPECT_NE(status("a")["pid"], first);
  EXPECT_EQ(status("b")["restarts"], 0);
}

TEST_F(SupervisorTest, WhatComesAfterTheUnreadyWaits) {
  auto deaf = component("a", "exec sleep 1000");
  deaf.ready = {.kind = Probe::Kind::kSocket, .socket = paths.run() / "never.sock"};
  begin({deaf, component("b", "exec sleep 1000", {"a"}), component("c", "exit 1")});
  ASSERT_TRUE(await([&] { return status("c")["restarts"] >= 2; }));
  EXPECT_EQ(status("a")["state"], "starting");
  EXPECT_EQ(status("b")["state"], "waiting");
  EXPECT_EQ(status("b")["reason"], "waits for a");
}

TEST_F(SupervisorTest, AnotherOneAdoptsWhatStillRuns) {
  begin({component("a", "exec sleep 1000")});
  ASSERT_TRUE(await_state("a", "ready"));
  const pid_t first = status("a")["pid"];
  supervisor.reset();  // as by kill -9: the child is left alone
  begin({component("a", "exec sleep 1000")});
  ASSERT_TRUE(await_state("a", "ready"));
  EXPECT_EQ(status("a")["pid"], first);
  ::kill(first, SIGKILL);
  ASSERT_TRUE(await([&] { return status("a")["pid"] != first && status("a")["state"] == "ready"; }));
}

TEST_F(SupervisorTest, StopKeepsItStoppedUntilStarted) {
  begin({component("a", "exec sleep 1000")});
  ASSERT_TRUE(await_state("a", "ready"));
  ASSERT_TRUE(supervisor->stop("a"));
  ASSERT_TRUE(await_state("a", "stopped"));
  ASSERT_TRUE(supervisor->resume("a"));
  ASSERT_TRUE(await_state("a", "ready"));
  EXPECT_EQ(supervisor->stop("nobody").code(), Code::kNotFound);
}

TEST_F(SupervisorTest, ShutdownStopsDependentsFirstAndKillsTheDeaf) {
  // Each says when its trap is set; who is told to stop before would just die.
  const auto script = [&](const std::string& name, const std::string& on_term) {
    return "trap '" + on_term + "' TERM; touch " + (paths.root / name).string() + "; while :; do sleep 0.05; done";
  };
  const std::string order = (paths.root / "order").string();
  begin({component("a", script("a", "echo a >> " + order + "; exit")),
         component("b", script("b", "echo b >> " + order + "; exit"), {"a"}),
         component("deaf", script("deaf", ""), {"a"})});
  ASSERT_TRUE(await([&] {
    return std::filesystem::exists(paths.root / "a") && std::filesystem::exists(paths.root / "b") &&
           std::filesystem::exists(paths.root / "deaf");
  }));
  bool done = false;
  supervisor->shutdown([&] { done = true; });
  ASSERT_TRUE(await([&] { return done; }));
  EXPECT_EQ(*read_file(order), "b\na\n");
}

TEST_F(SupervisorTest, RefreshRestartsOnlyWhatIsNew) {
  begin({component("a", "exec sleep 1000"), component("b", "exec sleep 1000")});
  ASSERT_TRUE(await([&] { return status("a")["state"] == "ready" && status("b")["state"] == "ready"; }));
  EXPECT_TRUE(supervisor->refresh({component("a", "exec sleep 1000"), component("b", "exec sleep 1000")}).empty());
  EXPECT_EQ(supervisor->refresh({component("a", "exec sleep 1001"), component("b", "exec sleep 1000")}),
            std::vector<std::string>{"a"});
  ASSERT_TRUE(await([&] { return status("a")["restarts"] == 1 && status("a")["state"] == "ready"; }));
}

}  // namespace
}  // namespace gantry::dev
