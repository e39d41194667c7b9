// Which revision a read is answered from, and pages of a list that stays as it was.
#include "services/apigw/core/reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using ::testing::ElementsAre;
using Names = std::vector<std::string>;

class ReadsTest : public ::testing::Test {
 protected:
  uint64_t make(const std::string& name, const std::string& ns = "default") {
    const auto made = g.create("configmaps", ns, {{"metadata", {{"name", name}}}});
    EXPECT_TRUE(made.ok());
    return made->object.revision();
  }
  static bus::Command list_of(const std::string& ns = "default") {
    return {.verb = bus::Verb::List, .resource = "configmaps", .ns = ns};
  }
  static Names names(const Result<Answer>& answer) {
    Names out;
    if (!answer.ok()) return {answer.error().message};
    for (const auto& item : answer->items) out.emplace_back(item.name());
    return out;
  }
  TestGateway g;
};

TEST_F(ReadsTest, AnExactListIsAsItWas) {
  make("a");
  const uint64_t then = make("b");
  ASSERT_TRUE(g.remove("configmaps", "default", "a").ok());
  make("aa");
  auto command = list_of();
  command.revision = then;
  command.match = bus::Match::kExact;
  EXPECT_THAT(names(g.call(command)), ElementsAre("a", "b"));
  EXPECT_EQ(g.call(command)->revision, then);
  command.field_selector = "metadata.name=a";
  EXPECT_THAT(names(g.call(command)), ElementsAre("a"));
  command.field_selector.clear();
  command.match = bus::Match::kNotOlderThan;
  EXPECT_THAT(names(g.call(command)), ElementsAre("aa", "b"));
}

TEST_F(ReadsTest, AnExactListOfWhatWasTrimmedHasExpired) {
  TestGateway small(ApiConfig{.window = 2});
  uint64_t first = 0;
  for (const char* name : {"a", "b", "c", "d"}) {
    const auto made = small.create("configmaps", "default", {{"metadata", {{"name", name}}}});
    if (first == 0) first = made->object.revision();
  }
  auto command = list_of();
  command.revision = first;
  command.match = bus::Match::kExact;
  const auto answer = small.call(command);
  ASSERT_EQ(answer.code(), Code::kExpired);
  EXPECT_EQ(answer.error().message, "The resourceVersion for the provided list is too old.");
}

TEST_F(ReadsTest, AFutureRevisionIsAwaitedForAWhile) {
  const uint64_t now = make("a");
  auto command = list_of();
  command.revision = now + 1;
  command.match = bus::Match::kNotOlderThan;
  std::optional<Result<Answer>> answer;
  g.api->handle(g.admin, command, [&](Result<Answer> a) { answer.emplace(std::move(a)); });
  g.loop.advance(std::chrono::seconds(1));
  EXPECT_FALSE(answer);
  make("b");
  g.loop.drain();
  ASSERT_TRUE(answer);
  EXPECT_THAT(names(*answer), ElementsAre("a", "b"));
  command.revision = now + 100;
  const auto late = g.call(command);
  ASSERT_EQ(late.code(), Code::kTooLargeRevision);
  EXPECT_EQ(late.error().causes[0].reason, "ResourceVersionTooLarge");
}

TEST_F(ReadsTest, AnyGatewayContinuesAList) {
  for (const char* name : {"a", "b", "c", "d", "e"}) make(name);
  const auto second = g.another();
  auto command = list_of();
  command.limit = 2;
  const auto first = g.call(command);
  EXPECT_EQ(first->remaining, 3);
  make("bb");
  ASSERT_TRUE(g.remove("configmaps", "default", "c").ok());
  command.continue_token = first->continue_token;
  const auto next = g.call(command, nullptr, second.get());
  EXPECT_THAT(names(next), ElementsAre("c", "d"));
  EXPECT_EQ(next->remaining, 1);
  EXPECT_EQ(next->revision, first->revision);
  command.continue_token = next->continue_token;
  const auto last = g.call(command);
  EXPECT_THAT(names(last), ElementsAre("e"));
  EXPECT_TRUE(last->continue_token.empty());
}

TEST_F(ReadsTest, PagesOfOneNamespaceStayInIt) {
  ASSERT_TRUE(g.create("namespaces", "", {{"metadata", {{"name", "team"}}}}).ok());
  make("z");
  make("a", "team");
  make("b", "team");
  auto command = list_of("team");
  command.limit = 1;
  const auto first = g.call(command);
  EXPECT_THAT(names(first), ElementsAre("a"));
  ASSERT_TRUE(g.remove("configmaps", "team", "b").ok());
  ASSERT_TRUE(g.remove("configmaps", "default", "z").ok());
  command.continue_token = first->continue_token;
  EXPECT_THAT(names(g.call(command)), ElementsAre("b"));
  // A token says where to go on, not what may be seen.
  command.continue_token = Position{0, "default/"}.encode();
  EXPECT_THAT(names(g.call(command)), ElementsAre("a"));
}

TEST_F(ReadsTest, SelectorsAndPagesTogether) {
  for (const char* name : {"a", "b", "c", "d"}) make(name);
  for (const char* name : {"b", "d"})
    ASSERT_TRUE(g.patch("configmaps", "default", name, {{"metadata", {{"labels", {{"x", "y"}}}}}}).ok());
  auto command = list_of();
  command.label_selector = "x=y";
  command.limit = 1;
  const auto first = g.call(command);
  EXPECT_THAT(names(first), ElementsAre("b"));
  EXPECT_FALSE(first->remaining) << "unknown with a selector";
  command.continue_token = first->continue_token;
  const auto second = g.call(command);
  EXPECT_THAT(names(second), ElementsAre("d"));
  EXPECT_TRUE(second->continue_token.empty());
}

TEST_F(ReadsTest, WhateverIsNoTokenIsRefused) {
  for (const char* token : {"x", "!!!", "eyJ9", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiIn0",
                            "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "bnVsbA", "W10"}) {
    auto command = list_of();
    command.continue_token = token;
    EXPECT_EQ(g.call(command).code(), Code::kBadRequest) << token;
  }
  auto command = list_of();
  command.continue_token = Position{uint64_t{1} << 52, ""}.encode();
  EXPECT_EQ(g.call(command).code(), Code::kTooLargeRevision);
  EXPECT_THAT(Position::decode(Position{7, "ns/n", 3}.encode())->key, "ns/n");
}

}  // namespace
}  // namespace gantry::apigw::testing
