#include "services/apigw/core/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"

namespace gantry::apigw {
namespace {

using Rank = Admission::Rank;
using ::testing::ElementsAre;

struct AdmissionTest : ::testing::Test {
  void enter(Rank rank, const std::string& flow, const std::string& what) {
    ASSERT_TRUE(admission.enter(rank, flow, [this, what, rank] {
      begun.push_back(what);
      running.push_back(rank);
    }));
  }
  void finish_all() {
    for (Rank rank : std::exchange(running, {})) admission.finished(rank);
    loop.drain();
  }
  std::vector<std::string> take() { return std::exchange(begun, {}); }

  gantry::testing::ManualLoop loop;
  Admission admission{loop, {.max_running = 2, .max_events = 3, .min_events = 1, .max_waiting = 8}};
  std::vector<std::string> begun;
  std::vector<Rank> running;
};

TEST_F(AdmissionTest, BeginsNothingInsideTheCall) {
  enter(Rank::kNormal, "a", "1");
  EXPECT_THAT(take(), ElementsAre());
  loop.drain();
  EXPECT_THAT(take(), ElementsAre("1"));
}

TEST_F(AdmissionTest, CallersTakeTurns) {
  for (const char* what : {"a1", "a2", "a3"}) enter(Rank::kNormal, "a", what);
  enter(Rank::kNormal, "b", "b1");
  loop.drain();
  EXPECT_THAT(take(), ElementsAre("a1", "b1"));
  finish_all();
  EXPECT_THAT(take(), ElementsAre("a2", "a3"));
}

TEST_F(AdmissionTest, WhatKeepsTheClusterAliveWaitsForNobody) {
  for (const char* what : {"a1", "a2", "a3"}) enter(Rank::kNormal, "a", what);
  loop.drain();
  enter(Rank::kVital, "a", "lease");
  loop.drain();
  EXPECT_THAT(take(), ElementsAre("a1", "a2", "lease"));
}

TEST_F(AdmissionTest, EventsAreLateUnderLoadButNotStopped) {
  for (const char* what : {"a1", "a2", "a3"}) enter(Rank::kNormal, "a", what);
  for (const char* what : {"e1", "e2", "e3"}) enter(Rank::kEvent, "a", what);
  loop.drain();
  EXPECT_THAT(take(), ElementsAre("e1", "a1", "a2"));
  finish_all();
  EXPECT_THAT(take(), ElementsAre("e2", "a3"));
  finish_all();
  EXPECT_THAT(take(), ElementsAre("e3"));
  finish_all();
  for (const char* what : {"f1", "f2", "f3", "f4"}) enter(Rank::kEvent, "a", what);
  loop.drain();
  EXPECT_THAT(take(), ElementsAre("f1", "f2", "f3"));  // nobody else is there
}

TEST_F(AdmissionTest, HasABound) {
  for (int i = 0; i < 8; ++i) enter(Rank::kNormal, "a", "x");
  EXPECT_FALSE(admission.enter(Rank::kNormal, "a", [] {}));
  EXPECT_TRUE(admission.enter(Rank::kVital, "a", [] {}));
  loop.drain();
  EXPECT_EQ(admission.running(), 2u);
}

}  // namespace
}  // namespace gantry::apigw
