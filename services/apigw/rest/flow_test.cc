#include "services/apigw/rest/flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/apigw/rest/testing/rest_fixture.h"

namespace gantry::apigw {
namespace {

using ::testing::ElementsAre;

class FlowTest : public ::testing::Test {
 protected:
  void ask(const std::string& flow, size_t width = 1, FlowControl::Level level = FlowControl::Level::kWorkload) {
    control_.enter({.level = level,
                    .flow = flow,
                    .width = width,
                    .begin =
                        [this, flow](FlowControl::Seat seat) {
                          told_.push_back(flow);
                          seats_.push_back(std::move(seat));
                        },
                    .refuse = [this, flow](const Error& error) { told_.push_back(flow + " " + reason(error.code)); }});
  }
  void finish(size_t count = 1) {
    while (count-- > 0) seats_.pop_front();
    loop_.drain();
  }
  std::vector<std::string> told() { return std::exchange(told_, {}); }

  testing::ManualLoop loop_;
  FlowControl control_{loop_, {.system_seats = 2, .workload_seats = 2, .max_waiting_of_flow = 3, .max_waiting = 5}};
  std::vector<std::string> told_;
  std::deque<FlowControl::Seat> seats_;
};

TEST_F(FlowTest, AFloodDelaysItselfAlone) {
  for (int i = 0; i < 6; ++i) ask("flood");
  EXPECT_THAT(told(), ElementsAre("flood", "flood", "flood TooManyRequests"));
  ask("other");
  finish();
  EXPECT_THAT(told(), ElementsAre("other")) << "it need not wait for the whole flood";
  finish(2);
  EXPECT_THAT(told(), ElementsAre("flood", "flood"));
  EXPECT_EQ(control_.counters().refused, 1u);
  ASSERT_EQ(control_.levels().size(), 3u);
  EXPECT_EQ(control_.levels()[2].counters.refused, 1u);
  EXPECT_EQ(control_.levels()[1].counters.begun, 0u);
}

TEST_F(FlowTest, LevelsHaveSeatsOfTheirOwn) {
  for (int i = 0; i < 4; ++i) ask("flood");
  told();
  ask("node", 1, FlowControl::Level::kSystem);
  ask("operator", 1, FlowControl::Level::kExempt);
  EXPECT_THAT(told(), ElementsAre("node", "operator"));
}

TEST_F(FlowTest, WhatIsWideWaitsForAllItsSeats) {
  ask("a");
  ask("wide", 100);
  ask("b");
  EXPECT_THAT(told(), ElementsAre("a"));
  finish();
  EXPECT_THAT(told(), ElementsAre("b")) << "turns are by name";
  finish();
  EXPECT_THAT(told(), ElementsAre("wide"));
}

TEST_F(FlowTest, NobodyWaitsForever) {
  for (int i = 0; i < 3; ++i) ask("a");
  told();
  loop_.advance(std::chrono::seconds(17));
  EXPECT_THAT(told(), ElementsAre("a TooManyRequests"));
  EXPECT_EQ(control_.waiting(), 0u);
}

TEST_F(FlowTest, SeatsMayOutliveTheControl) {
  auto control = std::make_unique<FlowControl>(loop_);
  FlowControl::Seat kept;
  control->enter({.flow = "a", .begin = [&](FlowControl::Seat seat) { kept = std::move(seat); }, .refuse = nullptr});
  control.reset();
  kept.reset();
}

TEST_F(FlowTest, WhoIsWho) {
  EXPECT_EQ(FlowControl::level_of(identity_of_user("kubernetes-admin", {"system:masters"})),
            FlowControl::Level::kExempt);
  EXPECT_EQ(FlowControl::level_of(identity_of_user("system:node:n1", {"system:nodes"})), FlowControl::Level::kSystem);
  EXPECT_EQ(FlowControl::level_of(identity_of_user("jane", {})), FlowControl::Level::kWorkload);
}

class RestFlowTest : public RestTest {};

TEST_F(RestFlowTest, RequestsHaveATimeLimit) {
  store_.set_delay([] { return Duration(seconds(100)); });
  auto r = open("GET", "/api/v1/namespaces/default/configmaps?timeout=2s");
  loop_.advance(seconds(1));
  EXPECT_EQ(r->status, 0);
  loop_.advance(seconds(2));
  EXPECT_EQ(r->status, 504);
  EXPECT_EQ(json::parse(r->body)["reason"], "Timeout");
  loop_.advance(seconds(200));
  EXPECT_EQ(r->status, 504) << "a late answer has no effect";
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/configmaps?timeout=soon")->status, 400);
}

TEST_F(RestFlowTest, TooManyAreToldToComeAgain) {
  store_.set_delay([] { return Duration(seconds(5)); });
  std::vector<std::shared_ptr<http::testing::FakeResponder>> asked;
  for (int i = 0; i < 700; ++i)
    asked.push_back(open("GET", "/api/v1/namespaces/default/configmaps/a", "", {}, "system:gantry:controllers", {}));
  EXPECT_EQ(asked.back()->status, 429);
  EXPECT_EQ(asked.back()->headers.get("Retry-After"), "1");
  auto other = open("GET", "/api/v1/namespaces/default/configmaps/a");
  EXPECT_EQ(other->status, 0) << "others are still served";
  loop_.run_until([&] { return other->status != 0; }, seconds(60));
  EXPECT_NE(other->status, 429);
}

}  // namespace
}  // namespace gantry::apigw
