#include "libs/http/gzip.h"
#include "services/apigw/rest/testing/rest_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;
using std::chrono::seconds;

constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";

TEST_F(RestTest, DiscoveryNamesEveryKind) {
  auto root = ok("GET", "/api");
  EXPECT_EQ(root["versions"][0], "v1");
  auto groups = ok("GET", "/apis");
  EXPECT_EQ(groups["groups"].size(), 21u) << groups.dump();
  auto resources = ok("GET", "/api/v1");
  std::set<std::string> names;
  for (const auto& r : resources["resources"]) names.insert(r["name"]);
  for (const char* name : {"pods", "pods/log", "pods/status", "services", "namespaces/finalize", "events"})
    EXPECT_TRUE(names.contains(name)) << name;
  auto aggregated =
      call("GET", "/apis", "",
           {{"Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}});
  EXPECT_EQ(aggregated->headers.get("Content-Type"),
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
  EXPECT_EQ(json::parse(aggregated->body)["kind"], "APIGroupDiscoveryList");
  EXPECT_EQ(ok("GET", "/version")["minor"], "34");
  auto openapi = ok("GET", "/openapi/v3/apis/apps/v1");
  auto patch = openapi["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
  EXPECT_EQ(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
}

TEST_F(RestTest, AnObjectsLife) {
  auto created = ok("POST", kMaps, config_map("a"), 201);
  EXPECT_EQ(created["kind"], "ConfigMap");
  std::string first = created["metadata"]["resourceVersion"];
  auto got = ok("GET", std::string(kMaps) + "/a");
  EXPECT_EQ(got, created);
  got["data"]["k"] = "w";
  auto updated = ok("PUT", std::string(kMaps) + "/a", got);
  EXPECT_NE(updated["metadata"]["resourceVersion"], first);
  auto stale = call("PUT", std::string(kMaps) + "/a", got.dump());
  EXPECT_EQ(stale->status, 409);
  EXPECT_EQ(json::parse(stale->body)["reason"], "Conflict");
  EXPECT_NE(json::parse(stale->body)["message"].get<std::string>().find(
                "the object has been modified; please apply your changes to the latest version and try again"),
            std::string::npos);
  auto patched = call("PATCH", std::string(kMaps) + "/a", R"({"data":{"k":null,"n":"1"}})",
                      {{"Content-Type", "application/merge-patch+json"}});
  EXPECT_EQ(json::parse(patched->body)["data"], (json{{"n", "1"}}));
  auto deleted = ok("DELETE", std::string(kMaps) + "/a");
  EXPECT_EQ(deleted["status"], "Success");
  EXPECT_EQ(deleted["details"]["name"], "a");
  auto gone = call("GET", std::string(kMaps) + "/a");
  EXPECT_EQ(gone->status, 404);
  EXPECT_EQ(json::parse(gone->body)["message"], "configmaps \"a\" not found");
}

TEST_F(RestTest, ErrorsThatAUserKnows) {
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/nonsense")->status, 404);
  EXPECT_EQ(call("GET", "/apis/nope.io/v1/things")->status, 404);
  auto malformed = call("POST", kMaps, "{not json");
  EXPECT_EQ(malformed->status, 400);
  auto media = call("POST", kMaps, "x", {{"Content-Type", "text/plain"}});
  EXPECT_EQ(media->status, 415);
  auto accept = call("GET", kMaps, "", {{"Accept", "application/xml"}});
  EXPECT_EQ(accept->status, 406);
  auto strict = call("POST", std::string(kMaps) + "?fieldValidation=Strict",
                     R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dta":{}})");
  EXPECT_EQ(strict->status, 400);
  EXPECT_NE(strict->body.find("unknown field"), std::string::npos) << strict->body;
  auto warned = call("POST", std::string(kMaps) + "?fieldValidation=Warn",
                     R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dta":{}})");
  EXPECT_EQ(warned->status, 201);
  EXPECT_NE(warned->headers.get("Warning").find("unknown field"), std::string_view::npos);
  auto exists = call("POST", kMaps, config_map("x").dump());
  EXPECT_EQ(exists->status, 409);
  EXPECT_EQ(json::parse(exists->body)["reason"], "AlreadyExists");
  auto wrong_ns = call("POST", "/api/v1/namespaces/missing/configmaps", config_map("x").dump());
  EXPECT_EQ(wrong_ns->status, 404) << wrong_ns->body;
  auto dry = call("POST", std::string(kMaps) + "?dryRun=Some", config_map("y").dump());
  EXPECT_EQ(dry->status, 400);
}

TEST_F(RestTest, IdentityComesFromTheCertificate) {
  auto nobody = open("GET", kMaps, "", {}, "");
  EXPECT_EQ(nobody->status, 403);
  EXPECT_NE(nobody->body.find("system:anonymous"), std::string::npos) << nobody->body;
  auto stranger = open("GET", kMaps, "", {}, "eve", {});
  EXPECT_EQ(stranger->status, 403);
  EXPECT_NE(stranger->body.find(
                R"(User \"eve\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\")"),
            std::string::npos)
      << stranger->body;
  auto token = open("GET", kMaps, "", {{"Authorization", "Bearer x"}}, "");
  EXPECT_EQ(token->status, 401);
  EXPECT_EQ(open("GET", "/version", "", {}, "")->status, 200);
}

TEST_F(RestTest, ListsTablesAndSelectors) {
  for (const char* name : {"a", "b", "c"}) ok("POST", kMaps, config_map(name, name), 201);
  auto list = ok("GET", std::string(kMaps) + "?labelSelector=app%20in%20(a,b)");
  EXPECT_EQ(list["items"].size(), 2u);
  EXPECT_EQ(list["kind"], "ConfigMapList");
  auto field = ok("GET", std::string(kMaps) + "?fieldSelector=metadata.name%3Dc");
  EXPECT_EQ(field["items"].size(), 1u);
  auto page = ok("GET", std::string(kMaps) + "?limit=2");
  EXPECT_EQ(page["items"].size(), 2u);
  auto rest = ok("GET", std::string(kMaps) + "?limit=2&continue=" +
                            http::percent_encode(page["metadata"]["continue"].get<std::string>()));
  EXPECT_EQ(rest["items"].size(), 1u);
  auto table = call("GET", kMaps, "", {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}});
  auto parsed = json::parse(table->body);
  EXPECT_EQ(parsed["kind"], "Table");
  EXPECT_EQ(parsed["rows"].size(), 3u);
  EXPECT_EQ(parsed["rows"][0]["cells"][0], "a");
  EXPECT_EQ(call("GET", std::string(kMaps) + "?labelSelector=%3D%3D")->status, 400);
}

TEST_F(RestTest, AWatchTellsWhatChanges) {
  auto created = ok("POST", kMaps, config_map("a"), 201);
  std::string revision = created["metadata"]["resourceVersion"];
  auto watch = open(
      "GET", std::string(kMaps) + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=" + revision);
  ASSERT_TRUE(loop_.run_until([&] { return watch->streamed; }, seconds(5)));
  ok("POST", kMaps, config_map("b"), 201);
  ok("DELETE", std::string(kMaps) + "/a");
  ASSERT_TRUE(loop_.run_until([&] { return lines(watch->body).size() >= 2; }, seconds(5))) << watch->body;
  auto events = lines(watch->body);
  EXPECT_EQ(events[0]["type"], "ADDED");
  EXPECT_EQ(events[0]["object"]["metadata"]["name"], "b");
  EXPECT_EQ(events[1]["type"], "DELETED");
  EXPECT_EQ(events[1]["object"]["metadata"]["name"], "a");
  EXPECT_TRUE(loop_.run_until([&] { return watch->ended; }, seconds(61)));
}

TEST_F(RestTest, AStreamingListEndsWithABookmark) {
  ok("POST", kMaps, config_map("a"), 201);
  auto watch =
      open("GET", std::string(kMaps) +
                      "?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan");
  ASSERT_TRUE(loop_.run_until([&] { return watch->body.find("initial-events-end") != std::string::npos; }, seconds(5)))
      << watch->body;
  auto events = lines(watch->body);
  EXPECT_EQ(events.front()["type"], "ADDED");
  EXPECT_EQ(events.back()["type"], "BOOKMARK");
  watch->disconnect();
  loop_.drain();
}

TEST_F(RestTest, ASlowWatcherIsWaitedFor) {
  auto watch = open("GET", std::string(kMaps) + "?watch=true&timeoutSeconds=600");
  loop_.run_until([&] { return watch->streamed; }, seconds(5));
  watch->pending = http::kHighWater;
  for (int i = 0; i < 5; ++i) ok("POST", kMaps, config_map("m" + std::to_string(i)), 201);
  auto told = lines(watch->body).size();
  EXPECT_LE(told, 2u);  // the one that met the full buffer
  watch->drain();
  EXPECT_TRUE(loop_.run_until([&] { return lines(watch->body).size() >= 5; }, seconds(5)));
  watch->disconnect();
  loop_.drain();
}

TEST_F(RestTest, ScaleAndApplyOfADeployment) {
  json deployment = {{"apiVersion", "apps/v1"},
                     {"kind", "Deployment"},
                     {"metadata", {{"name", "web"}}},
                     {"spec",
                      {{"replicas", 2},
                       {"selector", {{"matchLabels", {{"app", "web"}}}}},
                       {"template",
                        {{"metadata", {{"labels", {{"app", "web"}}}}},
                         {"spec", {{"containers", json::array({{{"name", "c"}, {"image", "demo:1"}}})}}}}}}}};
  std::string base = "/apis/apps/v1/namespaces/default/deployments";
  auto created = ok("POST", base, deployment, 201);
  EXPECT_EQ(created["metadata"]["generation"], 1);
  EXPECT_EQ(created["spec"]["strategy"]["type"], "RollingUpdate");
  auto scale = ok("GET", base + "/web/scale");
  EXPECT_EQ(scale["kind"], "Scale");
  EXPECT_EQ(scale["spec"]["replicas"], 2);
  auto scaled = call("PATCH", base + "/web/scale", R"({"spec":{"replicas":5}})",
                     {{"Content-Type", "application/merge-patch+json"}});
  EXPECT_EQ(scaled->status, 200) << scaled->body;
  EXPECT_EQ(ok("GET", base + "/web")["spec"]["replicas"], 5);
  auto image =
      call("PATCH", base + "/web", R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"demo:2"}]}}}})",
           {{"Content-Type", "application/strategic-merge-patch+json"}});
  EXPECT_EQ(image->status, 200) << image->body;
  auto now = ok("GET", base + "/web");
  EXPECT_EQ(now["spec"]["template"]["spec"]["containers"][0]["image"], "demo:2");
  EXPECT_EQ(now["spec"]["template"]["spec"]["containers"].size(), 1u);
  deployment["spec"]["selector"]["matchLabels"]["app"] = "other";
  deployment["metadata"]["name"] = "bad";
  auto bad = call("POST", base, deployment.dump());
  EXPECT_EQ(bad->status, 422);
  EXPECT_EQ(json::parse(bad->body)["details"]["causes"][0]["field"], "spec.template.metadata.labels") << bad->body;
}

TEST_F(RestTest, LogsNeedAPodOnANode) {
  auto missing = call("GET", "/api/v1/namespaces/default/pods/nope/log");
  EXPECT_EQ(missing->status, 404);
  json pod = {
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata", {{"name", "p"}}},
      {"spec", {{"containers", json::array({{{"name", "a"}, {"image", "x:1"}}, {{"name", "b"}, {"image", "x:1"}}})}}}};
  ok("POST", "/api/v1/namespaces/default/pods", pod, 201);
  auto choose = call("GET", "/api/v1/namespaces/default/pods/p/log");
  EXPECT_EQ(choose->status, 400);
  EXPECT_NE(choose->body.find("a container name must be specified for pod p, choose one of: [a b]"), std::string::npos)
      << choose->body;
  auto unbound = call("GET", "/api/v1/namespaces/default/pods/p/log?container=a");
  EXPECT_EQ(unbound->status, 400);
  auto exec = call("GET", "/api/v1/namespaces/default/pods/p/exec?command=ls&stdout=true");
  EXPECT_EQ(exec->status, 400);
  EXPECT_NE(exec->body.find("a container name must be specified for pod p"), std::string::npos);
}

TEST_F(RestTest, ANodeThatDoesNotAnswerIsNoFaultOfTheGateway) {
  const json pod = {{"apiVersion", "v1"},
                    {"kind", "Pod"},
                    {"metadata", {{"name", "p"}}},
                    {"spec", {{"nodeName", "n1"}, {"containers", json::array({{{"name", "a"}, {"image", "x:1"}}})}}}};
  ok("POST", "/api/v1/namespaces/default/pods", pod, 201);
  const auto said = ok("GET", "/api/v1/namespaces/default/pods/p/log", nullptr, 503);
  EXPECT_EQ(said["kind"], "Status");
  EXPECT_EQ(said["reason"], "ServiceUnavailable");
  EXPECT_TRUE(said["message"].get<std::string>().starts_with("error dialing backend: node n1")) << said;
}

TEST_F(RestTest, AClientThatHasGoneGetsNoLogs) {
  const json pod = {{"apiVersion", "v1"},
                    {"kind", "Pod"},
                    {"metadata", {{"name", "p"}}},
                    {"spec", {{"nodeName", "n1"}, {"containers", json::array({{{"name", "a"}, {"image", "x:1"}}})}}}};
  ok("POST", "/api/v1/namespaces/default/pods", pod, 201);
  auto node = network_.connect("node-n1");
  int asked = 0;
  auto listening = node->subscribe("gantry.node.n1.down.>", "", [&](const bus::Message&) { ++asked; });
  auto stays = open("GET", "/api/v1/namespaces/default/pods/p/log?follow=true");
  EXPECT_EQ(asked, 1);
  auto gone = begin("GET", "/api/v1/namespaces/default/pods/p/log?follow=true");
  gone->disconnect();
  loop_.drain();
  EXPECT_EQ(asked, 1);
}

TEST(Yaml, ScalarsKeepTheirTypes) {
  auto parse = [](const std::string& yaml) { return json::parse(*yaml_to_json(yaml)); };
  EXPECT_EQ(
      parse("a: 1\nb: '1'\nc: true\nd: \"true\"\ne: 1.5\nf: null\ng: 0x\nh: [1, x]\n"),
      (json{
          {"a", 1}, {"b", "1"}, {"c", true}, {"d", "true"}, {"e", 1.5}, {"f", nullptr}, {"g", "0x"}, {"h", {1, "x"}}}));
  // As the API server reads them: YAML 1.1.
  EXPECT_EQ(
      parse("[0644, 0x1f, -3, 18446744073709551615, yes, off, 1e3, .5, 0.5, 08, -, 1-2, 2024-01-01, 1.2.3]"),
      json::parse(
          R"([420, 31, -3, 18446744073709551615, true, false, 1000.0, 0.5, 0.5, 8.0, "-", "1-2", "2024-01-01", "1.2.3"])"));
  EXPECT_FALSE(yaml_to_json("a: [").ok());
  EXPECT_FALSE(yaml_to_json("a: 1\na: 2\n").ok());
}

TEST_F(RestTest, HealthByName) {
  bool redis = true;
  RestConfig config{.server_address = "172.30.0.1:6443"};
  config.checks.emplace_back("redis", [&]() -> Status {
    if (redis) return Done{};
    return Error{Code::kUnavailable, "connection refused"};
  });
  Rest rest(loop_, *api_, *bus_, config);
  asked_ = &rest;
  const auto get = [&](const std::string& target) {
    const auto r = open("GET", target, "", {}, "");
    return std::pair(r->status, r->body);
  };
  using Answer = std::pair<int, std::string>;
  EXPECT_EQ(get("/readyz"), (Answer{200, "ok"}));
  EXPECT_EQ(get("/livez?verbose"), (Answer{200, "[+]ping ok\nlivez check passed\n"}));
  EXPECT_EQ(get("/readyz/redis"), (Answer{200, "ok"}));
  EXPECT_EQ(get("/readyz/etcd").first, 404);
  redis = false;
  EXPECT_EQ(get("/livez"), (Answer{200, "ok"}));
  EXPECT_EQ(get("/readyz"), (Answer{503,
                                    "[+]ping ok\n[-]redis failed: connection refused\n[+]projections ok\nreadyz check "
                                    "failed\n"}));
  EXPECT_EQ(get("/readyz/projections").first, 200);
  EXPECT_EQ(get("/healthz?verbose&exclude=redis"),
            (Answer{200, "[+]ping ok\n[+]redis excluded: ok\n[+]projections ok\nhealthz check passed\n"}));
  asked_ = &rest_;
}

TEST_F(RestTest, LargeYamlIsParsedAside) {
  std::vector<std::function<void()>> aside;
  bool room = true;
  RestConfig config{.server_address = "172.30.0.1:6443"};
  config.offload = [&](std::function<void()> work) {
    if (room) aside.push_back(std::move(work));
    return room;
  };
  Rest rest(loop_, *api_, *bus_, config);
  asked_ = &rest;
  const std::string maps = "/api/v1/namespaces/default/configmaps";
  const auto yaml = [](const std::string& name) {
    return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {k: \"" + std::string(200'000, 'x') +
           "\"}\n";
  };
  const http::Headers type{{"Content-Type", "application/yaml"}},
      apply{{"Content-Type", "application/apply-patch+yaml"}};
  const auto run = [&] {
    for (auto& work : std::exchange(aside, {})) work();
    loop_.drain();
  };
  auto created = open("POST", maps, yaml("a"), type);
  EXPECT_EQ(created->status, 0);
  ASSERT_EQ(aside.size(), 1u);
  run();
  EXPECT_EQ(created->status, 201) << created->body;
  auto applied = open("PATCH", maps + "/b?fieldManager=m", yaml("b"), apply);
  run();
  EXPECT_EQ(applied->status, 201) << applied->body;
  auto wrong = open("PATCH", maps + "/b?fieldManager=m", yaml("b") + "{", apply);
  run();
  EXPECT_EQ(wrong->status, 400);
  EXPECT_NE(wrong->body.find("error decoding YAML: error parsing YAML"), std::string::npos) << wrong->body;
  // A client that has gone needs no answer; who finds no room is served at once.
  auto gone = open("POST", maps, yaml("c"), type);
  gone->disconnect();
  run();
  EXPECT_EQ(call("GET", maps + "/c")->status, 404);
  room = false;
  EXPECT_EQ(open("POST", maps, yaml("d"), type)->status, 201);
  asked_ = &rest_;
}

TEST_F(RestTest, WhatIsInNamespacesIsMadeAndEndedInOne) {
  for (const char* method : {"POST", "DELETE"}) {
    EXPECT_EQ(call(method, "/api/v1/pods", "{}")->status, 405) << method;
    EXPECT_EQ(call(method, "/apis/authorization.k8s.io/v1/localsubjectaccessreviews", "{}")->status, 405) << method;
  }
  EXPECT_EQ(call("GET", "/api/v1/pods/x")->status, 404);
}

TEST_F(RestTest, TheOpenApiDocumentIsCompressed) {
  const auto plain = call("GET", "/openapi/v2"), packed = call("GET", "/openapi/v2", "", {{"Accept-Encoding", "gzip"}});
  EXPECT_EQ(packed->headers.get("Content-Encoding"), "gzip");
  EXPECT_LT(packed->body.size() * 4, plain->body.size());
  EXPECT_EQ(http::gunzip(packed->body), plain->body);
}

}  // namespace
}  // namespace gantry::apigw
