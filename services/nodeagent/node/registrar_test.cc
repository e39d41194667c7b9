#include "services/nodeagent/node/registrar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "schemas/node_generated.h"
#include "services/nodeagent/node/cni.h"
#include "services/nodeagent/runtime/testing/fake_runtime.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

// The gateway's side of nodes and leases.
class FakeNodes final : public bus::Commands {
 public:
  FakeNodes(Loop& loop, projection::Cache& nodes) : loop_(loop), nodes_(nodes) {}
  void send(bus::Command command, Duration, bus::CommandDone done) override {
    loop_.post([this, command, done] { done(handle(command)); });
  }
  void put(model::Object node) {
    auto revision = ++revision_;
    nodes_.put(node.at(revision), revision);
  }
  int leases = 0, patches = 0;
  bool away = false, lost = false;  // lost: the node is gone and no event said so

 private:
  Result<bus::CommandOutcome> handle(const bus::Command& c) {
    if (away) return Error{Code::kUnavailable, "away"};
    if (c.resource == "leases") {
      if (c.verb == bus::Verb::Update && leases == 0) return Error{Code::kNotFound, "no lease"};
      ++leases;
      return bus::CommandOutcome{};
    }
    if (c.verb == bus::Verb::Patch) {
      ++patches;
      return bus::CommandOutcome{};
    }
    model::Object given(nodes_.kind(), c.object);
    if (c.verb == bus::Verb::Create) {
      if (nodes_.find("", c.name) && !std::exchange(lost, false)) return Error{Code::kAlreadyExists, "there"};
      model::Draft draft(given);
      draft.clear("status");
      put(draft.build());
    } else {
      const auto* node = nodes_.find("", c.name);
      if (node == nullptr || lost) return Error{Code::kNotFound, "no node"};
      model::Draft draft(*node);
      draft.copy("status", given.as<core::Node>()->status());
      put(draft.build());
    }
    return bus::CommandOutcome{};
  }
  Loop& loop_;
  projection::Cache& nodes_;
  uint64_t revision_ = 0;
};

class RegistrarTest : public ::testing::Test {
 protected:
  void start() {
    RegistrarOptions options;
    options.node = "n1";
    options.address = "10.0.0.1";
    options.capacity = {{"cpu", "2"}, {"pods", "110"}};
    options.allocatable = {{"cpu", "1500m"}};
    options.taints = {{"new", "yes", "NoSchedule"}};
    options.machine.architecture = "amd64";
    options.version = "v1.34.0-gantry";
    registrar_ = std::make_unique<Registrar>(loop_, *bus_, api_, nodes_, runtime_, sequence_, options);
    registrar_->on_pod_cidr([this](const std::string& cidr) {
      cidrs_.push_back(cidr);
      return network_;
    });
    listening_ = gateway_->subscribe("gantry.node.n1.up.heartbeat", "", [this](const bus::Message&) { ++beats_; });
    runtime_.start({[](auto&) {}, [] {}, [](auto&) {}, [](auto&) {}});
    registrar_->start();
    nodes_.mark_synced();
    loop_.drain();
  }
  void set_cidr(const char* cidr) {
    model::Draft draft(*nodes_.find("", "n1"));
    draft.set("spec.podCIDR", cidr);
    api_.put(draft.build());
    loop_.drain();
  }
  std::string json() { return model::to_json(*nodes_.find("", "n1")); }
  std::string ready() {
    for (const auto* c : *nodes_.find("", "n1")->as<core::Node>()->status()->conditions()) {
      if (model::str(c->type()) == "Ready")
        return std::string(model::str(c->status())) + " " + std::string(model::str(c->message()));
    }
    return "";
  }

  testing::ManualLoop loop_;
  testing::FakeNetwork net_{loop_};
  std::unique_ptr<testing::FakeBus> bus_ = net_.connect("node-n1", bus::node_permissions("n1")),
                                    gateway_ = net_.connect("apigw");
  projection::Cache nodes_{*model::Schema::get().by_resource("nodes")};
  FakeNodes api_{loop_, nodes_};
  testing::FakeRuntime runtime_{loop_};
  Sequence sequence_{1};
  Status network_ = Done{};
  std::vector<std::string> cidrs_;
  int beats_ = 0;
  std::unique_ptr<bus::Subscription> listening_;
  std::unique_ptr<Registrar> registrar_;
};

TEST_F(RegistrarTest, RegistersAndBecomesReadyWithItsPodCidr) {
  start();
  ASSERT_NE(nodes_.find("", "n1"), nullptr);
  EXPECT_EQ(ready(), "False the node has no pod CIDR yet");
  EXPECT_THAT(json(), HasSubstr(R"("kubernetes.io/hostname":"n1")"));
  EXPECT_THAT(json(), HasSubstr(R"("address":"10.0.0.1")"));
  EXPECT_GT(api_.leases, 0);
  set_cidr("10.244.1.0/24");
  EXPECT_EQ(cidrs_, std::vector<std::string>{"10.244.1.0/24"});
  EXPECT_EQ(ready(), "True the node agent is posting ready status");
  loop_.advance(seconds(30));
  EXPECT_GE(beats_, 6);
}

TEST_F(RegistrarTest, TellsPressureImagesAndWhatPodsMayHave) {
  start();
  EXPECT_THAT(json(), HasSubstr(R"("taints":[{"key":"new","value":"yes","effect":"NoSchedule"}])"));
  EXPECT_THAT(json(), HasSubstr(R"("capacity":{"cpu":"2","pods":"110"},"allocatable":{"cpu":"1500m","pods":"110"})"));
  Image image;
  image.digests = {"demo@sha256:1"};
  image.tags = {"demo:1"};
  image.size = 5;
  registrar_->set_images({image});
  registrar_->set_pressure(true, false, false);
  loop_.drain();
  EXPECT_THAT(json(), HasSubstr(R"("images":[{"names":["demo@sha256:1","demo:1"],"sizeBytes":5}])"));
  EXPECT_THAT(json(), HasSubstr(R"("type":"MemoryPressure","status":"True")"));
  EXPECT_THAT(json(), HasSubstr("KubeletHasInsufficientMemory"));
  registrar_->set_pressure(false, false, false);
  loop_.drain();
  EXPECT_THAT(json(), Not(HasSubstr("KubeletHasInsufficientMemory")));
}

TEST_F(RegistrarTest, AnswersUnknownWithItsOwnWord) {
  start();
  set_cidr("10.244.1.0/24");
  model::Draft draft(*nodes_.find("", "n1"));
  draft.set("status.conditions[3].status", "Unknown");
  api_.put(draft.build());
  loop_.drain();
  EXPECT_EQ(ready(), "True the node agent is posting ready status");
}

TEST_F(RegistrarTest, RegistersAgainWhenDeleted) {
  start();
  nodes_.remove("", "n1", 100);
  loop_.drain();
  EXPECT_NE(nodes_.find("", "n1"), nullptr);
}

TEST_F(RegistrarTest, RegistersAgainWhenItsReportFindsNoNode) {
  start();
  api_.lost = true;
  loop_.advance(minutes(6));
  EXPECT_FALSE(api_.lost) << "created again, although no event told that it was gone";
}

TEST_F(RegistrarTest, SaysWhyTheNetworkIsNotThereAndTriesAgain) {
  network_ = Error{Code::kInternal, "disk full"};
  start();
  set_cidr("10.244.1.0/24");
  loop_.advance(seconds(2));
  EXPECT_EQ(ready(), "False disk full");
  network_ = Done{};
  loop_.advance(seconds(2));
  EXPECT_EQ(ready(), "True the node agent is posting ready status");
}

TEST_F(RegistrarTest, WaitsForTheGateway) {
  api_.away = true;
  start();
  loop_.advance(minutes(1));
  EXPECT_EQ(nodes_.find("", "n1"), nullptr);
  api_.away = false;
  loop_.advance(seconds(2));
  EXPECT_NE(nodes_.find("", "n1"), nullptr);
}

TEST(Cni, ConflistIsOfTheNode) {
  auto text = render_conflist({"/conf", "/bin", "/data", "n1", 1450}, "10.244.3.0/24", true);
  EXPECT_THAT(text, HasSubstr(R"("subnet": "10.244.3.0/24")"));
  EXPECT_THAT(text, HasSubstr(R"("dataDir": "/data")"));
  EXPECT_THAT(text, HasSubstr("portmap"));
}

TEST(Machine, Capacity) {
  Machine m;
  m.cpus = 4;
  m.memory_bytes = 8LL << 30;
  auto all = parse_capacity("cpu=500m,pods=20", m);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ((*all)["cpu"], "500m");
  EXPECT_EQ((*all)["memory"], "8388608Ki");
  EXPECT_EQ((*all)["pods"], "20");
  EXPECT_FALSE(parse_capacity("cpu", m).ok());
  EXPECT_FALSE(parse_capacity("cpu=x", m).ok());
}

TEST(Machine, WhatIsReservedIsNotForPods) {
  auto taints = parse_taints("a=b:NoSchedule,c:NoExecute");
  ASSERT_TRUE(taints.ok());
  EXPECT_EQ((*taints)[0].value, "b");
  EXPECT_EQ((*taints)[1].key, "c");
  EXPECT_FALSE(parse_taints("a=b").ok());
  EXPECT_FALSE(parse_pairs("--x", "a").ok());
  auto left = allocatable({{"cpu", "2"}, {"memory", "1Gi"}, {"pods", "110"}},
                          {{{"cpu", "100m"}}, {{"cpu", "400m"}, {"memory", "2Gi"}}});
  EXPECT_EQ(left["cpu"], "1500m");
  EXPECT_EQ(left["memory"], "0");
  EXPECT_EQ(left["pods"], "110");
}

TEST(Machine, ResolvConf) {
  auto dns = parse_resolv_conf("# c\nnameserver 1.1.1.1\nnameserver 8.8.8.8\nsearch a b\noptions ndots:2 edns0\n");
  EXPECT_EQ(dns.servers, (std::vector<std::string>{"1.1.1.1", "8.8.8.8"}));
  EXPECT_EQ(dns.searches, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(dns.options, (std::vector<std::string>{"ndots:2", "edns0"}));
}

}  // namespace
}  // namespace gantry::nodeagent
