#include "libs/usage/metric_board.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/permissions.h"
#include "libs/bus/testing/fake_bus.h"

namespace gantry::usage {
namespace {

using namespace std::chrono_literals;

struct MetricBoardTest : ::testing::Test {
  void push(const char* subject, std::string_view data) {
    ASSERT_TRUE(team->publish(subject, data).ok());
    loop.advance(1ms);
  }
  int64_t sum(const char* ns, const char* name) {
    int64_t all = 0;
    board.for_each(ns, name, [&](const Sample& s) { all += s.milli; });
    return all;
  }
  gantry::testing::ManualLoop loop;
  gantry::testing::FakeNetwork net{loop};
  std::unique_ptr<gantry::testing::FakeBus> team = net.connect("team"),
                                            bus = net.connect("controllers", bus::controllers_permissions());
  MetricBoard board{loop, *bus, {.series = 4, .of_namespace = 3}};
  std::vector<std::string> told;
};

TEST_F(MetricBoardTest, TheLastValueOfEachSeriesUntilItIsStale) {
  push("gantry.metrics.shop.requests",
       R"([{"value":"1500m","pod":"web-1"},{"value":2,"object":{"kind":"Service","name":"web"},"seconds":10}])");
  EXPECT_EQ(sum("shop", "requests"), 3500);
  push("gantry.metrics.shop.requests", R"({"value":5,"pod":"web-1"})");
  EXPECT_EQ(sum("shop", "requests"), 7000);
  EXPECT_EQ(sum("else", "requests"), 0);
  loop.advance(20s);
  EXPECT_EQ(sum("shop", "requests"), 5000);
  loop.advance(60s);
  EXPECT_EQ(sum("shop", "requests"), 0);
  EXPECT_EQ(board.series(), 0u);
  EXPECT_TRUE(bus->violations().empty());
}

TEST_F(MetricBoardTest, WhatSaysNothingIsRefused) {
  for (const char* data :
       {"", "x", "7", "[1]", "{}", R"({"value":true})", R"({"value":"x"})", R"({"value":1e300})",
        R"({"value":1,"labels":[]})", R"({"value":1,"labels":{"a":1}})", R"({"value":1,"object":{"kind":"Pod"}})",
        R"({"value":1,"seconds":-1})", R"({"value":1,"pod":7})"})
    push("gantry.metrics.shop.m", data);
  push("gantry.metrics._.m", R"({"value":1})");  // nobody's namespace
  push("gantry.metrics.sh%op.m", R"({"value":1})");
  push("gantry.metrics.shop.m", std::string(300'000, ' ') + R"({"value":1})");
  push("gantry.metrics.shop.m", std::string(100'000, '['));
  EXPECT_EQ(board.series(), 0u);
  EXPECT_EQ(board.counters().refused, 17u);
}

TEST_F(MetricBoardTest, SeriesAreBounded) {
  for (const char* pod : {"a", "b", "c", "d"})
    push("gantry.metrics.one.m", fmt::format(R"({{"value":1,"pod":"{}"}})", pod));
  for (const char* pod : {"a", "b"}) push("gantry.metrics.two.m", fmt::format(R"({{"value":1,"pod":"{}"}})", pod));
  EXPECT_EQ(sum("one", "m"), 3000);
  EXPECT_EQ(sum("two", "m"), 1000);
  EXPECT_EQ(board.counters().shed, 2u);
}

TEST_F(MetricBoardTest, ChangesAreToldAtOnceAndThenTogether) {
  board.on_change([&](const std::string& ns, const std::string& name) { told.push_back(ns + "/" + name); });
  push("gantry.metrics.one.m", R"({"value":1})");
  EXPECT_EQ(told.size(), 1u);
  for (int i = 2; i < 20; ++i) push("gantry.metrics.one.m", fmt::format(R"({{"value":{}}})", i));
  EXPECT_EQ(told.size(), 1u);
  loop.advance(100ms);
  EXPECT_EQ(told.size(), 2u);
  push("gantry.metrics.one.m", R"({"value":19})");
  loop.advance(1s);
  EXPECT_EQ(told, (std::vector<std::string>{"one/m", "one/m"}));
}

}  // namespace
}  // namespace gantry::usage
