#include "libs/service/election.h"

#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>

#include "libs/base/testing/manual_loop.h"

namespace gantry::service {
namespace {

using gantry::testing::ManualLoop;
using std::chrono::seconds;

/// What apigw does with a lease: one holder until its time is over.
class FakeGateway final : public bus::Commands {
 public:
  explicit FakeGateway(Loop& loop) : loop_(loop) {}

  void send(bus::Command command, Duration, bus::CommandDone done) override {
    EXPECT_EQ(command.verb, bus::Verb::Update);
    EXPECT_EQ(command.resource + '/' + command.subresource, "leases/hold");
    EXPECT_EQ(command.ns + '/' + command.name, "kube-system/scheduler");
    ++asked;
    auto spec = nlohmann::json::parse(command.json).at("spec");
    std::string holder = spec.at("holderIdentity");
    if (lose_requests.contains(holder)) return fail_later(std::move(done));
    auto result = hold(holder, seconds(spec.at("leaseDurationSeconds").get<int>()));
    if (lose_answers.contains(holder)) return fail_later(std::move(done));
    timers_.push_back(loop_.after(delay, [result, done = std::move(done)] { done(result); }));
  }

  std::set<std::string> lose_requests, lose_answers;
  Duration delay{1000};
  int asked = 0;
  uint64_t epoch = 10;
  std::string holder_now;
  Duration until{};

 private:
  Result<bus::CommandOutcome> hold(const std::string& holder, Duration ttl) {
    if (holder != holder_now) {
      if (until > loop_.now()) return Error{.code = Code::kConflict, .message = "held by " + holder_now};
      holder_now = holder;
      ++epoch;
    }
    until = loop_.now() + ttl;
    return bus::CommandOutcome{.revision = epoch};
  }
  void fail_later(bus::CommandDone done) {
    timers_.push_back(loop_.after(
        seconds(2), [done = std::move(done)] { done(Error{.code = Code::kUnknownOutcome, .message = "no answer"}); }));
  }
  Loop& loop_;
  std::deque<Timer> timers_;
};

class Candidate {
 public:
  Candidate(Loop& loop, FakeGateway& gateway, std::string name)
      : name_(name),
        election_(loop, gateway, {.lease = "scheduler", .holder = name, .ttl = seconds(15)},
                  {.elected = [this](uint64_t epoch) { log.push_back("elected " + std::to_string(epoch)); },
                   .lost = [this] { log.push_back("lost"); }}) {}
  Election& election() { return election_; }
  std::vector<std::string> log;

 private:
  std::string name_;
  Election election_;
};

using Log = std::vector<std::string>;

class ElectionTest : public ::testing::Test {
 protected:
  /// Advances in small steps and checks at each that there is at most one leader.
  void pass(Duration time) {
    for (Duration end = loop_.now() + time; loop_.now() < end;) {
      loop_.advance(std::chrono::milliseconds(50));
      EXPECT_FALSE(a_.election().leading() && b_.election().leading()) << "two leaders";
    }
  }
  ManualLoop loop_;
  FakeGateway gateway_{loop_};
  Candidate a_{loop_, gateway_, "a"}, b_{loop_, gateway_, "b"};
};

TEST_F(ElectionTest, TheFirstIsElectedAndStays) {
  pass(seconds(120));
  EXPECT_EQ(a_.log, Log{"elected 11"});
  EXPECT_EQ(a_.election().epoch(), 11u);
  EXPECT_EQ(b_.log, Log{});
  EXPECT_EQ(b_.election().last_error(), "held by a");
}

TEST_F(ElectionTest, ALeaderThatIsCutOffStepsDownBeforeAnotherIsElected) {
  pass(seconds(20));
  gateway_.lose_requests = {"a"};
  pass(seconds(40));
  EXPECT_EQ(a_.log, (Log{"elected 11", "lost"}));
  EXPECT_EQ(b_.log, Log{"elected 12"});
  gateway_.lose_requests.clear();
  pass(seconds(40));
  EXPECT_EQ(a_.log, (Log{"elected 11", "lost"}));
}

TEST_F(ElectionTest, LostAnswersDoNotMakeALeader) {
  gateway_.lose_answers = {"a"};
  pass(seconds(60));
  EXPECT_EQ(a_.log, Log{}) << "it holds the lease and does not know";
  EXPECT_EQ(b_.log, Log{});
  gateway_.lose_answers.clear();
  pass(seconds(20));
  EXPECT_EQ(a_.log, Log{"elected 11"});
}

TEST_F(ElectionTest, AnAnswerThatIsLateIsCountedFromWhenItWasAsked) {
  gateway_.delay = seconds(14);  // past nine tenths of the ttl
  pass(seconds(60));
  EXPECT_EQ(a_.log, Log{});
  EXPECT_EQ(b_.log, Log{});
}

TEST_F(ElectionTest, AFewLostRenewalsAreSurvived) {
  pass(seconds(20));
  gateway_.lose_requests = {"a"};
  pass(seconds(6));
  gateway_.lose_requests.clear();
  pass(seconds(30));
  EXPECT_EQ(a_.log, Log{"elected 11"});
}

TEST_F(ElectionTest, AnotherEpochIsToldAsLostAndElected) {
  pass(seconds(20));
  gateway_.epoch = 50;  // as after a failover of Redis that had lost the lease
  pass(seconds(10));
  EXPECT_EQ(a_.log, (Log{"elected 11", "lost", "elected 50"}));
}

TEST_F(ElectionTest, TakenOverIsLostAtOnce) {
  pass(seconds(20));
  gateway_.holder_now = "c";
  gateway_.until = loop_.now() + seconds(60);
  pass(seconds(6));
  EXPECT_EQ(a_.log, (Log{"elected 11", "lost"}));
}

TEST_F(ElectionTest, ResigningLetsAnotherInSoon) {
  pass(seconds(20));
  bool done = false;
  a_.election().resign([&] { done = true; });
  EXPECT_EQ(a_.log, (Log{"elected 11", "lost"}));
  pass(seconds(7));
  EXPECT_TRUE(done);
  EXPECT_EQ(b_.log, Log{"elected 12"});
  pass(seconds(60));
  EXPECT_EQ(a_.log.size(), 2u);
  done = false;
  a_.election().resign([&] { done = true; });
  pass(seconds(1));
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace gantry::service
