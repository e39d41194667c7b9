#include "services/netproxy/policy/book.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <random>

#include "libs/model/json.h"
#include "services/netproxy/rules/nft.h"

namespace gantry::netproxy {
namespace {

using Rules = std::vector<std::string>;

model::Object object(const char* resource, const std::string& json) {
  const auto& kind = *model::Schema::get().by_resource(resource);
  auto bytes = model::from_json(kind, json);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message << " " << json;
  return {kind, *bytes, 1};
}

/// A cluster as JSON, which a book on node n1 follows.
struct World {
  PolicyBook book{"n1"};
  std::map<std::string, model::Object> pods, namespaces, policies;

  void ns(const std::string& name, const std::string& labels = "") {
    namespaces[name] =
        object("namespaces",
               fmt::format(R"({{"metadata":{{"name":"{0}","labels":{{"kubernetes.io/metadata.name":"{0}"{1}}}}}}})",
                           name, labels));
    book.name_space(name, namespaces[name]);
  }
  void pod(const std::string& ns, const std::string& name, const std::string& ip, const std::string& labels,
           const std::string& node = "n1", const std::string& spec = "", const std::string& phase = "Running") {
    auto& pod = pods[ns + "/" + name];
    pod = object("pods",
                 fmt::format(R"({{"metadata":{{"name":"{}","namespace":"{}","labels":{}}},"spec":{{"nodeName":"{}"{}}},
        "status":{{"podIP":"{}","phase":"{}"}}}})",
                             name, ns, labels, node, spec, ip, phase));
    book.pod(ns + "/" + name, pod);
  }
  void policy(const std::string& ns, const std::string& name, const std::string& spec) {
    auto& policy = policies[ns + "/" + name];
    policy = object("networkpolicies",
                    fmt::format(R"({{"metadata":{{"name":"{}","namespace":"{}"}},"spec":{}}})", name, ns, spec));
    book.policy(ns + "/" + name, policy);
  }
  Ruleset rules() {
    Ruleset out = build_ruleset({}, {});
    book.add_to(out);
    return out;
  }
  /// What a book says that sees only the last state.
  Ruleset anew() {
    PolicyBook fresh("n1");
    for (auto& [key, o] : policies) fresh.policy(key, o);
    for (auto& [key, o] : pods) fresh.pod(key, o);
    for (auto& [key, o] : namespaces) fresh.name_space(key, o);
    Ruleset out = build_ruleset({}, {});
    fresh.add_to(out);
    return out;
  }
};

/// The rules of the chains that a local pod's packets go through, without the drop at the end; absent: all is allowed.
std::optional<Rules> allows(const Ruleset& rules, const std::string& map, const std::string& ip) {
  auto verdict = rules.elements.at(map).find(ip);
  if (verdict == rules.elements.at(map).end()) return std::nullopt;
  Rules out;
  const auto& chain = rules.chains.at(verdict->second.substr(5));
  EXPECT_EQ(chain.back(), "drop");
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    for (const auto& rule : rules.chains.at(chain[i].substr(5))) out.push_back(rule);
  }
  return out;
}

/// The members of the set that `rule` names.
std::vector<std::string> members(const Ruleset& rules, const std::string& rule) {
  size_t at = rule.find('@') + 1;
  std::vector<std::string> out;
  for (const auto& [element, value] : *rules.sets.at(rule.substr(at, rule.find(' ', at) - at)).elements)
    out.push_back(element);
  return out;
}

constexpr const char* kWeb = R"({"app":"web"})";

TEST(Policies, WithoutAnyNothingIsIsolated) {
  World w;
  w.ns("d");
  w.pod("d", "a", "10.244.1.2", kWeb);
  auto rules = w.rules();
  EXPECT_TRUE(rules.elements["policy_ingress"].empty() && rules.elements["policy_egress"].empty());
  EXPECT_TRUE(rules.sets.empty());
}

TEST(Policies, TypesAndTheirDefaults) {
  World w;
  w.ns("d");
  w.pod("d", "a", "10.244.1.2", kWeb);
  w.pod("d", "elsewhere", "10.244.2.2", kWeb, "n2");
  auto isolates = [&](const std::string& spec) {
    w.policy("d", "p", spec);
    auto rules = w.rules();
    EXPECT_FALSE(allows(rules, "policy_ingress", "10.244.2.2")) << "another node's pod";
    return std::pair(allows(rules, "policy_ingress", "10.244.1.2"), allows(rules, "policy_egress", "10.244.1.2"));
  };
  using Found = std::pair<std::optional<Rules>, std::optional<Rules>>;
  EXPECT_EQ(isolates(R"({"podSelector":{}})"), Found(Rules{}, std::nullopt));
  EXPECT_EQ(isolates(R"({})"), Found(Rules{}, std::nullopt));
  EXPECT_EQ(isolates(R"({"podSelector":{},"egress":[{}]})"), Found(Rules{}, Rules{"accept"}));
  EXPECT_EQ(isolates(R"({"podSelector":{},"policyTypes":["Egress"],"ingress":[{}]})"), Found(std::nullopt, Rules{}));
  EXPECT_EQ(isolates(R"({"podSelector":{},"policyTypes":["Ingress","Egress"],"ingress":[{}]})"),
            Found(Rules{"accept"}, Rules{}));
  EXPECT_EQ(isolates(R"({"podSelector":{"matchLabels":{"app":"db"}}})"), Found(std::nullopt, std::nullopt));
}

TEST(Policies, PeersArePodsOfNamespaces) {
  World w;
  w.ns("d");
  w.ns("blue", R"(,"team":"blue")");
  w.ns("red", R"(,"team":"red")");
  w.pod("d", "web", "10.244.1.2", kWeb);
  w.pod("d", "front", "10.244.1.3", R"({"app":"front"})");
  w.pod("blue", "front", "10.244.2.3", R"({"app":"front"})", "n2");
  w.pod("blue", "other", "10.244.2.4", R"({"app":"other"})", "n2");
  w.pod("red", "front", "10.244.2.5", R"({"app":"front"})", "n2");
  w.pod("blue", "host", "172.16.0.2", R"({"app":"front"})", "n2", R"(,"hostNetwork":true)");
  w.pod("blue", "over", "10.244.2.9", R"({"app":"front"})", "n2", "", "Succeeded");
  auto from = [&](const std::string& peer) {
    w.policy("d", "p", R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{"from":[)" + peer + "]}]}");
    auto rules = w.rules();
    auto found = *allows(rules, "policy_ingress", "10.244.1.2");
    EXPECT_TRUE(found[0].starts_with("ip saddr @") && found[0].ends_with(" accept")) << found[0];
    return members(rules, found[0]);
  };
  EXPECT_EQ(from(R"({"podSelector":{"matchLabels":{"app":"front"}}})"), Rules{"10.244.1.3"});
  EXPECT_EQ(from(R"({"namespaceSelector":{"matchLabels":{"team":"blue"}}})"), (Rules{"10.244.2.3", "10.244.2.4"}));
  EXPECT_EQ(
      from(R"({"namespaceSelector":{"matchLabels":{"team":"blue"}},"podSelector":{"matchLabels":{"app":"front"}}})"),
      Rules{"10.244.2.3"});
  EXPECT_EQ(from(R"({"namespaceSelector":{},"podSelector":{"matchLabels":{"app":"front"}}})"),
            (Rules{"10.244.1.3", "10.244.2.3", "10.244.2.5"}));
  w.ns("red", R"(,"team":"blue")");
  EXPECT_EQ(from(R"({"namespaceSelector":{"matchLabels":{"team":"blue"}}})"),
            (Rules{"10.244.2.3", "10.244.2.4", "10.244.2.5"}));
  EXPECT_FALSE(allows(w.rules(), "policy_ingress", "10.244.1.3"));
}

TEST(Policies, BlocksPortsAndRanges) {
  World w;
  w.ns("d");
  w.pod("d", "web", "10.244.1.2", kWeb);
  w.policy("d", "p", R"({"policyTypes":["Egress"],"egress":[
      {"to":[{"ipBlock":{"cidr":"10.1.2.3/8","except":["10.9.0.0/16","fd00::/8"]}}],"ports":[{"port":443,"protocol":"TCP"}]},
      {"to":[{"ipBlock":{"cidr":"0.0.0.0/0"}}],"ports":[{"port":5000,"endPort":5009,"protocol":"UDP"},{"protocol":"SCTP"}]},
      {"to":[{"ipBlock":{"cidr":"fd00::/8"}}]},
      {"ports":[{"port":53,"protocol":"UDP"}]}]})");
  EXPECT_EQ(*allows(w.rules(), "policy_egress", "10.244.1.2"),
            (Rules{"ip daddr 10.0.0.0/8 ip daddr != 10.9.0.0/16 tcp dport 443 accept", "udp dport 5000-5009 accept",
                   "meta l4proto sctp accept", "udp dport 53 accept"}));
}

TEST(Policies, ManyPeersShareTheirPorts) {
  World w;
  w.ns("d");
  w.pod("d", "web", "10.244.1.2", kWeb);
  w.policy("d", "p", R"({"ingress":[{"from":[{"ipBlock":{"cidr":"10.1.0.0/16"}},{"ipBlock":{"cidr":"10.2.0.0/16"}}],
      "ports":[{"port":80},{"port":443}]}]})");
  auto rules = w.rules();
  auto found = *allows(rules, "policy_ingress", "10.244.1.2");
  ASSERT_EQ(found.size(), 2u);
  std::string shared = found[0].substr(found[0].find("jump ") + 5);
  EXPECT_EQ(found[1], "ip saddr 10.2.0.0/16 jump " + shared);
  EXPECT_EQ(rules.chains[shared], (Rules{"tcp dport 80 accept", "tcp dport 443 accept"}));
}

TEST(Policies, NamedPortsAreThoseOfEachPod) {
  World w;
  w.ns("d");
  auto declares = [](int number) {
    return fmt::format(R"(,"containers":[{{"name":"c","ports":[{{"name":"http","containerPort":{}}}]}}])", number);
  };
  w.pod("d", "a", "10.244.1.2", kWeb, "n1", declares(80));
  w.pod("d", "b", "10.244.2.2", kWeb, "n2", declares(8080));
  w.policy("d", "p", R"({"ingress":[{"ports":[{"port":"http"}]}]})");
  auto rules = w.rules();
  auto found = *allows(rules, "policy_ingress", "10.244.1.2");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].starts_with("meta l4proto tcp ip daddr . th dport @")) << found[0];
  EXPECT_EQ(members(rules, found[0]), (Rules{"10.244.1.2 . 80", "10.244.2.2 . 8080"}));
}

TEST(Policies, PoliciesAddUpAndAPodMayAlwaysReachItself) {
  World w;
  w.ns("d");
  w.pod("d", "web", "10.244.1.2", kWeb);
  w.policy("d", "deny", R"({"podSelector":{}})");
  w.policy("d", "open", R"({"podSelector":{},"ingress":[{"ports":[{"port":80}]}]})");
  auto rules = w.rules();
  EXPECT_EQ(*allows(rules, "policy_ingress", "10.244.1.2"), Rules{"tcp dport 80 accept"});
  EXPECT_TRUE(rules.elements["policy_self"].contains("10.244.1.2 . 10.244.1.2"));
}

TEST(Policies, AChangedPodCostsItsElements) {
  World w;
  w.ns("d");
  w.pod("d", "web", "10.244.1.2", kWeb);
  w.policy("d", "p", R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{"from":[{"podSelector":{}}]}]})");
  for (int i = 0; i < 500; ++i)
    w.pod("d", fmt::format("p{}", i), fmt::format("10.244.{}.{}", 2 + i / 200, 1 + i % 200), "{}", "n2");
  auto before = w.rules();
  w.pod("d", "p7", "10.244.2.8", R"({"note":"nobody asks"})", "n2");
  EXPECT_EQ(incremental_update(before, w.rules()), "");
  w.pod("d", "late", "10.244.9.9", "{}", "n2");
  auto update = incremental_update(before, w.rules());
  EXPECT_TRUE(update.starts_with("add element ip gantry pods-")) << update;
  EXPECT_EQ(std::count(update.begin(), update.end(), '\n'), 1);
  EXPECT_FALSE(w.book.pod("d/late", w.pods["d/late"])) << "nothing new";
}

/// The kernel accepts every step, and the book ends as one that saw only the last state.
TEST(Policies, RandomChanges) {
  bool kernel = geteuid() == 0 && unshare(CLONE_NEWNET) == 0;
  Nft nft({});
  World w;
  std::mt19937 random(1);
  auto pick = [&](std::vector<std::string> of) { return of[random() % of.size()]; };
  auto labels = [&] { return pick({R"({"app":"web"})", R"({"app":"db"})", "{}", R"({"app":"web","tier":"a"})"}); };
  auto selector = [&] {
    return pick({"{}", R"({"matchLabels":{"app":"web"}})",
                 R"({"matchExpressions":[{"key":"tier","operator":"Exists"}]})",
                 R"({"matchExpressions":[{"key":"app","operator":"NotIn","values":["db"]}]})"});
  };
  auto peer = [&]() -> std::string {
    switch (random() % 4) {
      case 0:
        return R"({"podSelector":)" + selector() + "}";
      case 1:
        return R"({"namespaceSelector":)" + pick({"{}", R"({"matchLabels":{"team":"x"}})"}) + "}";
      case 2:
        return R"({"namespaceSelector":{"matchLabels":{"team":"x"}},"podSelector":)" + selector() + "}";
      default:
        return R"({"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16","10.1.2.0/24"]}})";
    }
  };
  auto list = [&](auto make) {
    std::string out;
    for (size_t n = random() % 3; n > 0; --n) out += (out.empty() ? "" : ",") + make();
    return "[" + out + "]";
  };
  auto port = [&] {
    return pick({R"({"port":80})", R"({"port":"http"})", R"({"port":1000,"endPort":2000,"protocol":"UDP"})",
                 R"({"protocol":"SCTP"})"});
  };
  for (int step = 0; step < 1500; ++step) {
    std::string ns = pick({"a", "b", "c"}), name = "o" + std::to_string(random() % 6);
    std::string key = ns + "/" + name;
    switch (random() % 8) {
      case 0:
        w.ns(ns, pick({"", R"(,"team":"x")"}));
        break;
      case 1:
        w.namespaces.erase(ns);
        w.book.name_space(ns, {});
        break;
      case 2:
        w.policies.erase(key);
        w.book.policy(key, {});
        break;
      case 3:
        w.policy(
            ns, name,
            fmt::format(
                R"({{"podSelector":{},"policyTypes":{},"ingress":[{{"from":{},"ports":{}}}],"egress":[{{"to":{},"ports":{}}}]}})",
                selector(), pick({R"(["Ingress"])", R"(["Ingress","Egress"])", "[]"}), list(peer), list(port),
                list(peer), list(port)));
        break;
      case 4:
        w.pods.erase(key);
        w.book.pod(key, {});
        break;
      default:
        w.pod(ns, name, fmt::format("10.244.1.{}", 1 + random() % 12), labels(), pick({"n1", "n2"}),
              pick({"", R"(,"containers":[{"name":"c","ports":[{"name":"http","containerPort":8080}]}])",
                    R"(,"hostNetwork":true)"}),
              pick({"Running", "Running", "Failed"}));
    }
    auto rules = w.rules();
    if (random() % 4 == 0) {
      EXPECT_EQ(incremental_update(rules, w.anew()), "") << step;
    }
    if (!kernel) continue;
    auto status = nft.apply(rules);
    ASSERT_TRUE(status.ok()) << step << ": " << status.error().message;
    ASSERT_EQ(nft.whole_updates(), 1u) << step;
  }
}

}  // namespace
}  // namespace gantry::netproxy
