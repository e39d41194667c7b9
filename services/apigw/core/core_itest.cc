// The core on a real Redis: what the stories of objects_test and cluster_test rely on, and what a crash of Redis must
// not take.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "libs/base/uv_loop.h"
#include "libs/model/json.h"
#include "libs/state/redis_store.h"
#include "libs/state/testing/redis_server.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;
using std::chrono::seconds;

class CoreOnRedis : public ::testing::Test {
 protected:
  CoreOnRedis() {
    EXPECT_TRUE(run_until([this] { return api->ready(); }));
  }
  bool run_until(const std::function<bool()>& done, Duration limit = seconds(20)) {
    const Duration end = loop.now() + limit;
    auto tick = loop.every(std::chrono::milliseconds(10), [] {});
    while (!done() && loop.now() < end) loop.run_once();
    return done();
  }
  Result<Answer> call(bus::Command command) {
    std::optional<Result<Answer>> answer;
    api->handle(admin, std::move(command), [&](Result<Answer> a) { answer.emplace(std::move(a)); });
    run_until([&] { return answer.has_value(); });
    return answer ? std::move(*answer) : Result<Answer>(Error{Code::kInternal, "no answer"});
  }
  Result<Answer> create(const std::string& resource, const Json& body) {
    return call({.verb = bus::Verb::Create, .resource = resource, .ns = "default", .json = body.dump()});
  }

  using Callback = std::function<void(Result<Answer>)>;
  /// Makes `n` requests by `send`, with a crash of Redis while half of them are under way. True once all are answered.
  bool load_with_a_crash(size_t n, size_t turn_each, const std::function<void(size_t, Callback)>& send) {
    for (size_t i = 0; i < n; ++i) {
      send(i, [this](Result<Answer> answer) {
        ++answered;
        if (answer.ok()) acknowledged.push_back(std::move(answer->object));
      });
      if (i % turn_each == 0) loop.run_once(false);
      if (i == n / 2) {
        run_until([&] { return answered > 20; });
        redis.kill();
      }
    }
    run_until([&] { return answered > n / 2; }, seconds(2));
    redis.start();
    return run_until([&] { return answered == n; });
  }
  /// Asks until there is an answer.
  std::vector<model::Object> all(const std::string& resource) {
    Result<Answer> list = Error{};
    EXPECT_TRUE(run_until([&] {
      list = call({.verb = bus::Verb::List, .resource = resource, .ns = "default"});
      return list.ok();
    }));
    return list.ok() ? std::move(list->items) : std::vector<model::Object>();
  }

  UvLoop loop;
  state::testing::RedisServer redis;
  state::RedisStore store{loop, {.address = redis.address()}};
  std::unique_ptr<Api> api = make_api(loop, store, {.advertise_address = "192.0.2.1:6443"});
  Identity admin = identity_of_bus("admin");
  size_t answered = 0;
  std::vector<model::Object> acknowledged;
};

TEST_F(CoreOnRedis, AStory) {
  const auto pod = create("pods", TestGateway::pod("web"));
  ASSERT_TRUE(pod.ok()) << pod.error().message;
  EXPECT_EQ(create("pods", TestGateway::pod("web")).code(), Code::kAlreadyExists);
  ASSERT_TRUE(call({.verb = bus::Verb::Bind, .resource = "pods", .ns = "default", .name = "web", .node = "n1"}).ok());
  const auto list = call({.verb = bus::Verb::List, .resource = "pods", .field_selector = "spec.nodeName=n1"});
  ASSERT_EQ(list->items.size(), 1);
  Json a = TestGateway::service("a", "NodePort");
  a["spec"]["ports"][0]["nodePort"] = 30001;
  ASSERT_TRUE(create("services", a).ok());
  a["metadata"]["name"] = "b";
  EXPECT_EQ(create("services", a).code(), Code::kInvalid);
  EXPECT_EQ(create("secrets", {{"metadata", {{"name", "s"}}}, {"stringData", {{"p", "q"}}}}).code(), Code::kOk);
  EXPECT_EQ(
      model::to_tree(
          call({.verb = bus::Verb::Get, .resource = "secrets", .ns = "default", .name = "s"})->object)["data"]["p"],
      "cQ==");
  ASSERT_TRUE(
      call({.verb = bus::Verb::Create, .resource = "namespaces", .json = R"({"metadata":{"name":"team"}})"}).ok());
  ASSERT_TRUE(call({.verb = bus::Verb::Delete, .resource = "namespaces", .name = "team"}).ok());
  EXPECT_EQ(
      call({.verb = bus::Verb::Create, .resource = "pods", .ns = "team", .json = TestGateway::pod("p").dump()}).code(),
      Code::kForbidden);
}

// A kind that never had an object is at a revision, too, and can be watched from it, also from another gateway and
// after a restart of Redis.
TEST_F(CoreOnRedis, AKindThatNeverHadAnObjectIsWatchedFromItsRevision) {
  const auto empty = call({.verb = bus::Verb::List, .resource = "horizontalpodautoscalers"});
  ASSERT_TRUE(empty.ok());
  ASSERT_GT(empty->revision, 0u);
  redis.kill();
  redis.start();
  state::RedisStore other_store{loop, {.address = redis.address()}};
  const auto other = make_api(loop, other_store, {.advertise_address = "192.0.2.2:6443"});
  ASSERT_TRUE(run_until([&] { return other->ready(); }));
  std::vector<std::string> told;
  const auto watch = other->watch(admin, {.resource = "horizontalpodautoscalers", .revision = empty->revision},
                                  {.event =
                                       [&](WatchType, const model::Object& object) {
                                         told.emplace_back(object.name());
                                         EXPECT_GT(object.revision(), empty->revision);
                                         return true;
                                       },
                                   .bookmark = [](uint64_t, bool) {},
                                   .error = [&](const Error& error) { told.push_back(error.message); }});
  ASSERT_TRUE(run_until([&] {
    return create("horizontalpodautoscalers",
                  {{"metadata", {{"name", "web"}}},
                   {"spec",
                    {{"maxReplicas", 3},
                     {"scaleTargetRef", {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", "web"}}}}}})
               .code() != Code::kUnavailable;
  }));
  ASSERT_TRUE(run_until([&] { return !told.empty(); }));
  EXPECT_EQ(told.front(), "web");
}

TEST_F(CoreOnRedis, WhatWasAcknowledgedSurvivesACrashAndNothingIsDoubled) {
  ASSERT_TRUE(load_with_a_crash(600, 50, [&](size_t i, Callback done) {
    const std::string name = fmt::format("c{}", i);
    const Json body{{"metadata", {{"generateName", name + "-"}}}};
    api->handle(admin,
                {.id = name, .verb = bus::Verb::Create, .resource = "configmaps", .ns = "default", .json = body.dump()},
                std::move(done));
  }));
  std::set<std::string> there;
  std::map<std::string, int> of_command;
  for (const auto& item : all("configmaps")) {
    there.insert(std::string(item.name()));
    ++of_command[std::string(model::str(item.meta()->generate_name()))];
  }
  for (const auto& object : acknowledged) EXPECT_TRUE(there.contains(std::string(object.name()))) << object.name();
  for (const auto& [command, count] : of_command) EXPECT_EQ(count, 1) << command;
  EXPECT_GT(acknowledged.size(), 20u);
}

// 500 creates through two gateways with a crash of Redis in the middle: every name, address and port is given once.
TEST_F(CoreOnRedis, RacingCreatesThroughTwoGatewaysShareNothing) {
  state::RedisStore other_store{loop, {.address = redis.address()}};
  const auto other = make_api(loop, other_store, {.advertise_address = "192.0.2.2:6443"});
  ASSERT_TRUE(run_until([&] { return other->ready(); }));
  const size_t n = 500;
  ASSERT_TRUE(load_with_a_crash(n, 25, [&](size_t i, Callback done) {
    // Each name twice, once through each gateway; some ports are wished for twice, too.
    Json service = TestGateway::service(fmt::format("s{}", i / 2), "NodePort");
    if (i % 10 < 2) service["spec"]["ports"][0]["nodePort"] = 30000 + static_cast<int>(i / 20);
    (i % 2 == 0 ? *api : *other)
        .handle(admin,
                {.id = fmt::format("r{}", i),
                 .verb = bus::Verb::Create,
                 .resource = "services",
                 .ns = "default",
                 .json = service.dump()},
                std::move(done));
  }));
  std::set<std::string> names, uids, ips;
  std::set<int> ports;
  for (const auto& item : all("services")) {
    const Json service = model::to_tree(item);
    EXPECT_TRUE(names.insert(service["metadata"]["name"]).second);
    EXPECT_TRUE(ips.insert(service["spec"]["clusterIP"]).second) << service["spec"]["clusterIP"];
    uids.insert(service["metadata"]["uid"]);
    for (const auto& port : service["spec"]["ports"]) {
      if (port.contains("nodePort")) {
        EXPECT_TRUE(ports.insert(port["nodePort"].get<int>()).second) << port;
      }
    }
  }
  for (const auto& object : acknowledged) EXPECT_TRUE(uids.contains(std::string(object.uid()))) << object.name();
  EXPECT_LE(names.size(), n / 2 + 1);  // with the kubernetes Service
  EXPECT_GT(acknowledged.size(), 20u);
}

// Two gateways, 500 creates, Redis is killed in the middle: the quota's 50 pods, neither more nor less.
TEST_F(CoreOnRedis, AQuotaIsExactWhateverHappens) {
  state::RedisStore second_store(loop, {.address = redis.address()});
  auto second = make_api(loop, second_store, {.advertise_address = "192.0.2.2:6443"});
  ASSERT_TRUE(run_until([&] { return second->ready(); }));
  ASSERT_TRUE(create("resourcequotas", {{"metadata", {{"name", "q"}}}, {"spec", {{"hard", {{"pods", "50"}}}}}}).ok());
  ASSERT_TRUE(create("pods", TestGateway::pod("first")).ok());  // the quota counts
  size_t answered = 0, made = 1;
  const size_t n = 500;
  for (size_t i = 0; i < n; ++i) {
    const std::string name = fmt::format("p{}", i);
    (i % 2 == 0 ? *api : *second)
        .handle(admin,
                {.id = name,
                 .verb = bus::Verb::Create,
                 .resource = "pods",
                 .ns = "default",
                 .json = TestGateway::pod(name).dump()},
                [&](Result<Answer> answer) {
                  ++answered;
                  if (answer.ok()) ++made;
                });
    if (i % 20 == 0) loop.run_once(false);
    if (i == 60) redis.kill();
    if (i == 200) redis.start();
  }
  ASSERT_TRUE(run_until([&] { return answered == n; }, seconds(60)));
  const auto pods = [&] {
    Result<Answer> list = Error{};
    run_until([&] {
      list = call({.verb = bus::Verb::List, .resource = "pods", .ns = "default"});
      return list.ok();
    });
    return list.ok() ? list->items.size() : size_t{0};
  };
  EXPECT_GE(pods(), made);
  EXPECT_LE(pods(), 50U);
  for (int i = 0; i < 55; ++i) (void)create("pods", TestGateway::pod(fmt::format("more{}", i)));
  EXPECT_EQ(pods(), 50U);
}

}  // namespace
}  // namespace gantry::apigw::testing
