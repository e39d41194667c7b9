// Logs to a session through rotations, on real files.
#include "services/nodeagent/session/log_session.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "libs/bus/testing/fake_bus.h"
#include "services/nodeagent/runtime/testing/fake_runtime.h"
#include "services/nodeagent/session/log_rotator.h"

namespace gantry::nodeagent {
namespace {

namespace fs = std::filesystem;

class LogSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-logs-XXXXXX";
    directory = mkdtemp(name);
    path = directory + "/0.log";
    acceptor = bus::accept_sessions(loop, *agent, "n1", [this](bus::SessionAcceptor::Offer offer) {
      session = std::make_unique<LogSession>(loop, executor, options, [this] { finished = true; });
      session->start(offer.accept(session->callbacks()));
    });
  }
  void TearDown() override {
    session.reset();
    loop.run_once(false);
    fs::remove_all(directory);
  }
  /// As a runtime writes.
  void say(std::ofstream& file, int from, int to) {
    for (int i = from; i < to; ++i) {
      file << "2026-01-01T00:00:00.000000000Z stdout F line " << i << "\n";
    }
    file.flush();
  }
  void open(LogSession::Options o) {
    options = std::move(o);
    options.path = path;
    if (!options.running) options.running = [this] { return running; };
    bus::SessionRequest request;
    request.ns = "default", request.pod = "web";
    bus::Session::Callbacks callbacks{.data =
                                          [this](node::Channel, std::string_view data, bool) {
                                            got += data;
                                            if (mine) mine->consume(data.size());
                                          },
                                      .closed = [this](const bus::SessionEnd& end) { closed = end; },
                                      .writable = [] {}};
    bus::open_session(loop, *gateway, "n1", request, callbacks,
                      [this](Result<std::unique_ptr<bus::Session>> opened) { mine = std::move(*opened); });
  }
  bool until(const std::function<bool()>& condition) {
    auto end = loop.now() + std::chrono::seconds(20);
    auto tick = loop.every(std::chrono::milliseconds(10), [] {});
    while (!condition()) {
      if (loop.now() > end) return false;
      loop.run_once();
    }
    return true;
  }
  static std::string lines(int from, int to) {
    std::string out;
    for (int i = from; i < to; ++i) out += "line " + std::to_string(i) + "\n";
    return out;
  }
  void rotate(int64_t at) { fs::rename(path, rotated_name(path, at * 1'000'000)); }

  UvLoop loop;
  UvExecutor executor{loop};
  gantry::testing::FakeNetwork network{loop};
  std::unique_ptr<gantry::testing::FakeBus> gateway = network.connect("apigw", bus::apigw_permissions()),
                                            agent = network.connect("node-n1", bus::node_permissions("n1"));
  std::string directory, path, got;
  LogSession::Options options;
  std::unique_ptr<LogSession> session;
  std::unique_ptr<bus::Session> mine;
  std::unique_ptr<bus::Subscription> acceptor;
  std::optional<bus::SessionEnd> closed;
  bool running = true, finished = false;
};

TEST_F(LogSessionTest, FollowsThroughRotationsWithoutLossOrRepetition) {
  std::ofstream file(path);
  say(file, 0, 100);
  open({.follow = true});
  ASSERT_TRUE(until([&] { return got == lines(0, 100); })) << got.size();
  for (int round = 1; round <= 3; ++round) {
    int base = round * 100;
    rotate(1000 + round);
    say(file, base, base + 50);  // the runtime does not know yet
    std::ofstream next(path);
    say(file, base + 50, base + 60);  // nor has it closed the old file
    say(next, base + 60, base + 100);
    file.close();
    file = std::move(next);
    ASSERT_TRUE(until([&] { return got.size() >= lines(0, base + 100).size(); })) << round << " " << got.size();
    ASSERT_EQ(got, lines(0, base + 100)) << round;
  }
  running = false;
  file.close();
  ASSERT_TRUE(until([&] { return closed.has_value(); }));
  EXPECT_EQ(closed->error, "");
  EXPECT_EQ(got, lines(0, 400));
}

TEST_F(LogSessionTest, TheEndIsWhatTheRuntimeWritesAfterTheContainersEnd) {
  std::ofstream file(path);
  say(file, 0, 10);
  int asked = 0;
  open({.follow = true, .running = [&] { return ++asked, false; }});
  ASSERT_TRUE(until([&] { return asked > 3; }));
  say(file, 10, 20);
  ASSERT_TRUE(until([&] { return got == lines(0, 20); })) << got;
  say(file, 20, 30);
  file.close();
  ASSERT_TRUE(until([&] { return closed.has_value(); }));
  EXPECT_EQ(got, lines(0, 30));
}

TEST_F(LogSessionTest, WhatWasRotatedAwayIsStillRead) {
  for (int round = 0; round < 3; ++round) {
    std::ofstream file(path);
    say(file, round * 10, round * 10 + 10);
    file.close();
    if (round < 2) rotate(1000 + round);
  }
  open({});
  ASSERT_TRUE(until([&] { return closed.has_value(); }));
  EXPECT_EQ(got, lines(0, 30));
}

TEST_F(LogSessionTest, ATailMayBeginInAnOlderFile) {
  for (int round = 0; round < 3; ++round) {
    std::ofstream file(path);
    say(file, round * 10, round * 10 + 10);
    file.close();
    if (round < 2) rotate(1000 + round);
  }
  for (int tail : {0, 1, 10, 11, 25, 30, 100}) {
    got.clear();
    closed.reset();
    open({.tail_lines = tail});
    ASSERT_TRUE(until([&] { return closed.has_value(); }));
    EXPECT_EQ(got, lines(std::max(0, 30 - tail), 30)) << tail;
  }
}

TEST_F(LogSessionTest, ARotationWhileTheLogIsOpenedHidesNothing) {
  const auto write = [&](int line) {
    std::ofstream file(path);
    say(file, line, line + 1);
  };
  write(0);
  std::atomic<int> written{1};
  std::thread rotator([&] {
    for (int line = 1; line < 200; ++line) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // less is not a rotation
      rotate(1000 + line);
      write(line);
      written = line + 1;
    }
  });
  while (written < 200) {
    const int least = written;
    LogFiles files(path);
    ASSERT_TRUE(files.open({}).ok());
    std::string all;
    for (auto data = files.read(1 << 20, false); !data.empty(); data = files.read(1 << 20, false)) all += data;
    std::string text;
    LogPrinter({}).feed(all, text);
    // Whatever there was at that moment, without a gap; the last may be renamed already and have no successor yet.
    const auto seen = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    EXPECT_GE(seen, least - 1);
    EXPECT_EQ(text, lines(0, seen));
  }
  rotator.join();
}

TEST_F(LogSessionTest, NoFileIsAnEmptyLog) {
  open({});
  ASSERT_TRUE(until([&] { return closed.has_value(); }));
  EXPECT_EQ(got, "");
  EXPECT_EQ(closed->error, "");
}

TEST_F(LogSessionTest, TheRotatorKeepsSizesAndCounts) {
  gantry::testing::FakeRuntime runtime(loop, "n1");
  std::ofstream file(path);
  LogLimits limits;
  limits.max_bytes = 1000;
  limits.max_files = 3;
  limits.period = std::chrono::milliseconds(5);
  LogRotator rotator(loop, executor, runtime, limits, [&] { return std::vector<LogRotator::Log>{{"c1", path}}; });
  size_t before = 0;
  for (int round = 0; round < 6; ++round) {
    say(file, 0, 100);
    ASSERT_TRUE(until([&] { return !fs::exists(path); })) << round;
    file = std::ofstream(path);  // what ReopenContainerLog does
    auto rotated = rotated_logs(path);
    EXPECT_LE(rotated.size(), 2u);
    before = std::max(before, rotated.size());
  }
  EXPECT_EQ(before, 2u);
}

}  // namespace
}  // namespace gantry::nodeagent
