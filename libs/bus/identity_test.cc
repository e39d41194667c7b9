#include "libs/bus/identity.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace gantry::bus {
namespace {

TEST(NKeys, SeedsAndPublicKeysHaveNatsForm) {
  for (auto [type, letter] : {std::pair(KeyType::kOperator, 'O'), {KeyType::kAccount, 'A'}, {KeyType::kUser, 'U'}}) {
    auto pair = KeyPair::create(type);
    EXPECT_EQ(pair.public_key().size(), 56u);
    EXPECT_EQ(pair.public_key()[0], letter);
    EXPECT_EQ(pair.seed().size(), 58u);
    EXPECT_EQ(pair.seed().substr(0, 2), std::string("S") + letter);
    auto again = KeyPair::from_seed(pair.seed());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->public_key(), pair.public_key());
    auto signature = again->sign("data");
    EXPECT_TRUE(verify_signature(pair.public_key(), "data", signature));
    EXPECT_FALSE(verify_signature(pair.public_key(), "datum", signature));
  }
}

TEST(NKeys, DamagedSeedsAreRefused) {
  auto seed = KeyPair::create(KeyType::kUser).seed();
  EXPECT_FALSE(KeyPair::from_seed(seed.substr(1)));
  EXPECT_FALSE(KeyPair::from_seed(""));
  EXPECT_FALSE(KeyPair::from_seed(KeyPair::create(KeyType::kUser).public_key()));
  for (size_t i = 0; i < seed.size() - 1; ++i) {  // the last letter has unused bits
    auto broken = seed;
    broken[i] = broken[i] == 'B' ? 'C' : 'B';
    EXPECT_FALSE(KeyPair::from_seed(broken)) << i;
  }
}

TEST(Authority, IsTheSameAfterARestartAndPrivate) {
  char name[] = "/tmp/gantry-authority-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  auto dir = std::filesystem::path(name) / "authority";
  EXPECT_EQ(Authority::load(dir).code(), Code::kNotFound);
  auto first = Authority::load_or_create(dir, "test");
  ASSERT_TRUE(first);
  auto second = Authority::load_or_create(dir, "test");
  ASSERT_TRUE(second);
  EXPECT_EQ(first->server_config(), second->server_config());
  struct stat info {};
  ASSERT_EQ(stat((dir / "account.nk").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(dir.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  std::filesystem::remove(dir / "system.nk");
  EXPECT_FALSE(Authority::load_or_create(dir, "test"));  // never a silent new authority over a damaged one
  std::filesystem::remove_all(name);
}

TEST(Permissions, SessionsOfClientsAreTheirOwn) {
  auto ann = operator_permissions("a.nn");
  EXPECT_TRUE(ann.may_publish("gantry.client.a%2Enn.open"));
  EXPECT_TRUE(ann.may_publish("gantry.client.a%2Enn.s.in"));
  EXPECT_TRUE(ann.may_subscribe("gantry.client.a%2Enn.s.out"));
  for (std::string who : {"bob", "a", "n1", "controllers", "node-n1", "node-a.nn"}) {
    auto p = permissions_for(who);
    for (const char* foreign : {"gantry.client.a%2Enn.open", "gantry.client.a%2Enn.s.in", "gantry.client.a%2Enn.s.out"})
      EXPECT_FALSE(p.may_publish(foreign) || p.may_subscribe(foreign)) << who << " " << foreign;
    EXPECT_FALSE(p.may_subscribe("gantry.client.>") || p.may_subscribe("gantry.client.*.*.out")) << who;
  }
  // Nobody hears its own requests or speaks for the gateway, and an operator with a node's name is no node.
  EXPECT_FALSE(ann.may_publish("gantry.client.a%2Enn.s.out"));
  EXPECT_FALSE(ann.may_subscribe("gantry.client.a%2Enn.s.in"));
  EXPECT_FALSE(operator_permissions("n1").may_subscribe("gantry.session.n1.*.out"));
}

TEST(Permissions, NobodySpeaksForAnother) {
  for (std::string who : {"controllers", "scheduler", "node-n1", "netproxy-n1", "hollow", "admin"}) {
    auto p = permissions_for(who);
    EXPECT_TRUE(p.may_publish("gantry.cmd." + who + ".get")) << who;
    EXPECT_TRUE(p.may_subscribe("_INBOX." + who + ".>")) << who;
    for (const char* foreign :
         {"gantry.cmd.apigw.get", "gantry.events.pods._.ns.p", "gantry.heads.pods.all", "_INBOX.apigw.1.2",
          "gantry.session.n1.s.in", "gantry.node.n1.down.session", "$JS.API.STREAM.PURGE.events", "$SYS.REQ"}) {
      EXPECT_FALSE(p.may_publish(foreign)) << who << " " << foreign;
    }
    for (const char* foreign : {">", "gantry.>", "_INBOX.>", "gantry.cmd.>", "_INBOX.apigw.>", "gantry.session.*.*.in",
                                "gantry.session.n1.*.out", "$JS.>"}) {
      EXPECT_FALSE(p.may_subscribe(foreign)) << who << " " << foreign;
    }
  }
  auto node = permissions_for("node-n.1");
  EXPECT_TRUE(node.may_subscribe("gantry.events.pods.n%2E1.>"));
  EXPECT_TRUE(node.may_subscribe("gantry.heads.pods.node.n%2E1"));
  EXPECT_TRUE(node.may_publish("gantry.node.n%2E1.up.heartbeat"));
  EXPECT_FALSE(node.may_subscribe("gantry.events.pods.n2.>"));
  EXPECT_FALSE(node.may_publish("gantry.node.n2.up.heartbeat"));
  EXPECT_TRUE(netproxy_permissions("n1").may_subscribe("gantry.events.networkpolicies.>"));
  EXPECT_FALSE(netproxy_permissions("n1").may_subscribe("gantry.events.secrets.>"));
  EXPECT_FALSE(scheduler_permissions().may_subscribe("gantry.events.secrets.>"));
  EXPECT_TRUE(scheduler_permissions().may_subscribe("gantry.events.pods.>"));
  EXPECT_TRUE(controllers_permissions().may_subscribe("gantry.node.*.up.heartbeat"));
  auto team = integrator_permissions("ci", {"gantry.events.*.*.team-a.>"});
  EXPECT_TRUE(team.may_subscribe("gantry.events.pods.*.team-a.>"));
  EXPECT_FALSE(team.may_subscribe("gantry.events.pods.>"));
  EXPECT_FALSE(team.may_publish("gantry.metrics.team-a.m"));
  team = integrator_permissions("ci", {}, {"gantry.metrics.team-a.>", "gantry.>"});
  EXPECT_TRUE(team.may_publish("gantry.metrics.team-a.m"));
  EXPECT_FALSE(team.may_publish("gantry.events.pods._.team-a.p"));
  EXPECT_TRUE(controllers_permissions().may_publish("$JS.API.STREAM.INFO.orders"));
  EXPECT_FALSE(controllers_permissions().may_publish("$JS.API.STREAM.DELETE.orders"));
  EXPECT_TRUE(reserved_identity("node-x") && reserved_identity("apigw") && !reserved_identity("admin"));
}

}  // namespace
}  // namespace gantry::bus
