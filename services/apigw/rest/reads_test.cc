// What reads answer over HTTP: forms, encodings, revisions, pages, watches.
#include <set>

#include "libs/http/gzip.h"
#include "libs/model/protobuf.h"
#include "services/apigw/rest/testing/rest_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
constexpr const char* kProtobuf = "application/vnd.kubernetes.protobuf";

class RestReadsTest : public RestTest {
 protected:
  void SetUp() override {
    RestTest::SetUp();
    for (const char* name : {"a", "b", "c"}) revisions_.push_back(make(name));
  }
  std::string make(const std::string& name, const std::string& value = "v") {
    return ok("POST", kMaps, config_map(name, value), 201)["metadata"]["resourceVersion"];
  }
  auto get(const std::string& target, const std::string& accept = "") {
    return call("GET", target, "", accept.empty() ? http::Headers{} : http::Headers{{"Accept", accept}});
  }
  static std::vector<std::string> names(const json& list) {
    std::vector<std::string> out;
    for (const auto& item : list["items"]) out.push_back(item["metadata"]["name"]);
    return out;
  }
  json failure(const std::string& target, int status, const std::string& method = "GET") {
    auto r = call(method, target);
    EXPECT_EQ(r->status, status) << target << ": " << r->body;
    auto body = json::parse(r->body, nullptr, false);
    EXPECT_EQ(body.value("kind", ""), "Status") << target << ": " << r->body;
    EXPECT_EQ(body.value("code", 0), status) << target;
    return body;
  }
  auto watch(const std::string& query, const std::string& accept = "") {
    auto r = open("GET", std::string(kMaps) + "?watch=true&" + query, "",
                  accept.empty() ? http::Headers{} : http::Headers{{"Accept", accept}});
    loop_.run_until([&] { return r->status != 0; }, seconds(10));
    loop_.drain();
    return r;
  }
  std::vector<std::string> revisions_;
};

TEST_F(RestReadsTest, AcceptDecidesTheForm) {
  const auto form = [&](const std::string& accept) { return get(std::string(kMaps) + "/a", accept); };
  const std::string table = "application/json;as=Table;v=v1;g=meta.k8s.io";
  EXPECT_EQ(json::parse(form(table)->body)["kind"], "Table");
  EXPECT_EQ(json::parse(form("application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json")->body)["kind"],
            "ConfigMap");
  EXPECT_EQ(json::parse(form("application/json;q=0.5," + table + ";q=0.9")->body)["kind"], "Table");
  EXPECT_EQ(json::parse(form("application/json;q=0.9," + table + ";q=0.5")->body)["kind"], "ConfigMap");
  EXPECT_EQ(json::parse(form("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")->body)["kind"],
            "PartialObjectMetadata");
  EXPECT_EQ(form("application/cbor, application/json")->headers.get("Content-Type"), "application/json");
  for (const char* refused : {"application/cbor", "text/html", "application/json;as=Table;v=v9;g=meta.k8s.io",
                              "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "application/json;q=0",
                              "application/json;as=Cake;v=v1;g=meta.k8s.io"}) {
    auto r = form(refused);
    EXPECT_EQ(r->status, 406) << refused;
    EXPECT_EQ(json::parse(r->body)["reason"], "NotAcceptable");
  }
  // A kind without protobuf is told in what else the client reads, and asking for nothing else has no answer.
  const char* kMetrics = "/apis/metrics.k8s.io/v1beta1/pods";
  const char* kProtobuf = "application/vnd.kubernetes.protobuf";
  EXPECT_EQ(get(kMetrics, std::string(kProtobuf) + ", application/json")->headers.get("Content-Type"),
            "application/json");
  EXPECT_EQ(get(kMetrics, kProtobuf)->status, 406);
  EXPECT_EQ(form(kProtobuf)->headers.get("Content-Type"), kProtobuf);
  EXPECT_EQ(form("*/*")->status, 200);
  EXPECT_EQ(form("application/*;q=0.1, text/html")->status, 200);
}

TEST_F(RestReadsTest, TablesCarryWhatIncludeObjectSays) {
  const auto row = [&](const std::string& include) {
    return json::parse(
        get(std::string(kMaps) + include, "application/json;as=Table;v=v1;g=meta.k8s.io")->body)["rows"][0];
  };
  EXPECT_EQ(row("")["object"]["kind"], "PartialObjectMetadata");
  EXPECT_EQ(row("?includeObject=Metadata")["object"]["kind"], "PartialObjectMetadata");
  EXPECT_EQ(row("?includeObject=Object")["object"]["kind"], "ConfigMap");
  EXPECT_FALSE(row("?includeObject=None").contains("object"));
  EXPECT_EQ(get(std::string(kMaps) + "?includeObject=All", "application/json;as=Table;v=v1;g=meta.k8s.io")->status,
            400);
}

TEST_F(RestReadsTest, ProtobufForWhoAsksForNothingElse) {
  const auto& schema = model::Schema::get();
  const auto& kind = *schema.by_resource("configmaps");
  auto one = get(std::string(kMaps) + "/a", kProtobuf);
  EXPECT_EQ(one->headers.get("Content-Type"), kProtobuf);
  auto sealed = model::open_protobuf(one->body);
  ASSERT_TRUE(sealed.ok());
  EXPECT_EQ(sealed->kind, "ConfigMap");
  auto bytes = model::from_protobuf(*kind.type, sealed->raw);
  ASSERT_TRUE(bytes.ok());
  const model::Object object(kind, *bytes);
  EXPECT_EQ(object.name(), "a");
  EXPECT_EQ(model::str(object.meta()->resource_version()), revisions_[0]);
  auto maps = get(kMaps, kProtobuf);
  auto list = model::open_protobuf(maps->body);
  EXPECT_EQ(list->kind, "ConfigMapList");
  EXPECT_EQ(list->raw.front(), '\n') << "field 1 is the metadata";
  auto partial = get(kMaps, std::string(kProtobuf) + ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
  EXPECT_EQ(model::open_protobuf(partial->body)->kind, "PartialObjectMetadataList");
  auto missing = get(std::string(kMaps) + "/zzz", kProtobuf);
  EXPECT_EQ(missing->status, 404);
  auto status = model::open_protobuf(missing->body);
  EXPECT_EQ(status->kind, "Status");
  EXPECT_NE(status->raw.find("configmaps \"zzz\" not found"), std::string_view::npos);
}

TEST_F(RestReadsTest, YamlAndPrettyJson) {
  ok("POST", kMaps,
     {{"apiVersion", "v1"},
      {"kind", "ConfigMap"},
      {"metadata", {{"name", "y"}}},
      {"data", {{"n", "1"}, {"t", "true"}, {"lines", "one\n two\n"}, {"e", ""}, {"c", "a: b #c"}, {"q", "\"'\t"}}}},
     201);
  const std::string target = std::string(kMaps) + "/y";
  auto yaml = get(target, "application/yaml");
  EXPECT_EQ(yaml->headers.get("Content-Type"), "application/yaml");
  EXPECT_TRUE(yaml->body.starts_with("apiVersion: v1\ndata:\n")) << yaml->body;
  EXPECT_EQ(json::parse(*yaml_to_json(yaml->body)), ok("GET", target)) << yaml->body;
  auto list = get(kMaps, "application/yaml");
  EXPECT_EQ(json::parse(*yaml_to_json(list->body)), ok("GET", kMaps)) << list->body;
  auto pretty = get(target + "?pretty=true");
  EXPECT_NE(pretty->body.find("\n  \"data\": {\n    \"c\": "), std::string::npos) << pretty->body;
  EXPECT_EQ(json::parse(pretty->body), ok("GET", target));
  EXPECT_EQ(get(std::string(kMaps) + "?watch=true", "application/yaml")->status, 406);
}

TEST_F(RestReadsTest, LongListsComeInPiecesAndCompressed) {
  for (int i = 0; i < 300; ++i) {
    auto map = config_map("m" + std::to_string(i));
    map["data"]["k"] = std::string(2000, 'x');
    ok("POST", kMaps, map, 201);
  }
  auto plain = call("GET", kMaps);
  loop_.run_until([&] { return plain->ended; }, seconds(10));
  EXPECT_TRUE(plain->streamed);
  EXPECT_EQ(json::parse(plain->body)["items"].size(), 303u);
  auto packed = call("GET", kMaps, "", {{"Accept-Encoding", "gzip"}});
  loop_.run_until([&] { return packed->ended; }, seconds(10));
  EXPECT_EQ(packed->headers.get("Content-Encoding"), "gzip");
  EXPECT_LT(packed->body.size(), plain->body.size() / 10);
  EXPECT_EQ(json::parse(http::gunzip(packed->body))["items"], json::parse(plain->body)["items"]);
  EXPECT_FALSE(
      call("GET", std::string(kMaps) + "?limit=2", "", {{"Accept-Encoding", "gzip"}})->headers.has("Content-Encoding"));
  pending_ = 2 * http::kHighWater;
  auto slow = open("GET", kMaps);
  loop_.run_until([&] { return slow->status != 0; }, seconds(10));
  loop_.advance(seconds(1));
  EXPECT_FALSE(slow->ended) << "a slow reader paces the list";
  slow->drain();
  loop_.run_until([&] { return slow->ended; }, seconds(10));
  EXPECT_EQ(slow->body.size(), plain->body.size());
}

TEST_F(RestReadsTest, PagesAndRevisions) {
  auto page = ok("GET", std::string(kMaps) + "?limit=2");
  EXPECT_EQ(names(page), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(page["metadata"]["remainingItemCount"], 1);
  ok("DELETE", std::string(kMaps) + "/c");
  const std::string token = page["metadata"]["continue"];
  auto rest = ok("GET", std::string(kMaps) + "?limit=2&continue=" + token);
  EXPECT_EQ(names(rest), (std::vector<std::string>{"c"}));
  EXPECT_EQ(rest["metadata"]["resourceVersion"], page["metadata"]["resourceVersion"]);
  EXPECT_FALSE(rest["metadata"].contains("continue"));
  const auto at = [&](const std::string& query) { return names(ok("GET", std::string(kMaps) + "?" + query)); };
  EXPECT_EQ(at("resourceVersion=" + revisions_[1] + "&resourceVersionMatch=Exact").size(), 2u);
  EXPECT_EQ(at("resourceVersion=" + revisions_[0] + "&limit=5").size(), 1u) << "exact, with a limit";
  EXPECT_EQ(at("resourceVersion=" + revisions_[0]).size(), 2u);
  EXPECT_EQ(at("resourceVersion=0").size(), 2u);
  auto future = failure(std::string(kMaps) + "?resourceVersion=9000000000000000", 504);
  EXPECT_EQ(future["reason"], "Timeout");
  EXPECT_EQ(future["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
  EXPECT_EQ(future["details"]["retryAfterSeconds"], 1);
  failure(std::string(kMaps) + "/a?resourceVersion=9000000000000000", 504);
  EXPECT_EQ(ok("GET", std::string(kMaps) + "/a?resourceVersion=0")["metadata"]["name"], "a");
}

TEST_F(RestReadsTest, OptionsThatDoNotGoTogether) {
  const std::string maps = kMaps;
  auto r = failure(maps + "?resourceVersionMatch=Exact", 422);
  EXPECT_EQ(r["details"]["kind"], "ListOptions");
  EXPECT_EQ(r["details"]["causes"][0]["reason"], "FieldValueForbidden");
  failure(maps + "?resourceVersionMatch=Newest&resourceVersion=1", 422);
  failure(maps + "?resourceVersionMatch=Exact&resourceVersion=0", 422);
  failure(maps + "?sendInitialEvents=true", 422);
  failure(maps + "?watch=1&sendInitialEvents=true", 422);
  failure(maps + "?watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1", 422);
  failure(maps + "?resourceVersion=abc", 400);
  failure(maps + "?resourceVersion=-1", 400);
  failure(maps + "?watch=1&resourceVersion=abc", 400);
  failure(maps + "?limit=many", 400);
  failure(maps + "?watch=1&timeoutSeconds=soon", 400);
  failure(maps + "?continue=nonsense", 400);
  failure(maps + "?labelSelector=a%20in", 400);
  failure(maps + "?fieldSelector=spec.color%3Dred", 400);
  failure(maps + "?watch=1&fieldSelector=spec.color%3Dred", 400);
  failure(maps, 405, "OPTIONS");
  failure(maps, 405, "BREW");
  failure(maps + "/a", 405, "POST");
  failure("/api/v1/watch/namespaces/default/configmaps", 405, "POST");
  failure(maps + "/a/color", 404);
}

TEST_F(RestReadsTest, WatchesBeginWhereTheyAreTold) {
  EXPECT_EQ(lines(watch("")->body).size(), 3u);
  EXPECT_EQ(lines(watch("resourceVersion=0")->body).size(), 3u);
  EXPECT_EQ(lines(watch("resourceVersion=" + revisions_[0])->body).size(), 2u);
  EXPECT_EQ(watch("sendInitialEvents=false&resourceVersionMatch=NotOlderThan")->body, "");
  auto future = watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=9000000000000000");
  EXPECT_EQ(lines(future->body).at(0)["object"]["code"], 504);
}

TEST_F(RestReadsTest, WhatWasTrimmedHasExpired) {
  auto small = make_api(loop_, store_, {.window = 2});
  Rest rest(loop_, *small, *bus_, {"172.30.0.2:6443"});
  ASSERT_TRUE(loop_.run_until([&] { return small->ready(); }, seconds(10)));
  asked_ = &rest;
  const std::string token = ok("GET", std::string(kMaps) + "?limit=1")["metadata"]["continue"];
  for (const char* name : {"d", "e", "f"}) make(name);
  auto old = watch("resourceVersion=" + revisions_[0]);
  EXPECT_EQ(old->status, 200);
  auto gone = lines(old->body).at(0);
  EXPECT_EQ(gone["type"], "ERROR");
  EXPECT_EQ(gone["object"]["code"], 410);
  EXPECT_EQ(gone["object"]["reason"], "Expired");
  EXPECT_TRUE(old->ended);
  failure(std::string(kMaps) + "?resourceVersionMatch=Exact&resourceVersion=" + revisions_[0], 410);
  auto expired = failure(std::string(kMaps) + "?limit=1&continue=" + token, 410);
  EXPECT_EQ(expired["reason"], "Expired");
  EXPECT_FALSE(expired.contains("details")) << expired;
  const std::string next = expired["metadata"]["continue"];
  EXPECT_EQ(names(ok("GET", std::string(kMaps) + "?continue=" + next)).front(), "b");
  asked_ = &rest_;
}

TEST_F(RestReadsTest, StreamingListsMarkTheirEnd) {
  const std::string query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
  auto events = lines(watch(query + "&allowWatchBookmarks=true&resourceVersion=" + revisions_[1])->body);
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[3]["type"], "BOOKMARK");
  EXPECT_EQ(events[3]["object"]["kind"], "ConfigMap");
  EXPECT_EQ(events[3]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
  EXPECT_GE(events[3]["object"]["metadata"]["resourceVersion"], revisions_[2]);
  EXPECT_EQ(lines(watch(query)->body).size(), 3u);
  EXPECT_EQ(lines(watch("allowWatchBookmarks=true")->body).size(), 3u) << "no mark for who did not ask";
}

TEST_F(RestReadsTest, AWatchOfOneName) {
  for (const std::string& target : {std::string(kMaps) + "?watch=true&fieldSelector=metadata.name%3Db",
                                    std::string("/api/v1/watch/namespaces/default/configmaps/b")}) {
    auto r = open("GET", target);
    loop_.run_until([&] { return r->status != 0; }, seconds(10));
    loop_.drain();
    auto events = lines(r->body);
    ASSERT_EQ(events.size(), 1u) << target;
    EXPECT_EQ(events[0]["object"]["metadata"]["name"], "b");
    r->disconnect();
  }
  EXPECT_EQ(ok("GET", std::string(kMaps) + "/b?watch=true")["kind"], "ConfigMap") << "a named get is no watch";
}

TEST_F(RestReadsTest, ATableWatchHasItsColumnsOnce) {
  auto r = watch("", "application/json;as=Table;v=v1;g=meta.k8s.io");
  auto events = lines(r->body);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_FALSE(events[0]["object"]["columnDefinitions"].is_null());
  EXPECT_TRUE(events[1]["object"]["columnDefinitions"].is_null());
  EXPECT_EQ(events[1]["object"]["rows"][0]["cells"][0], "b");
}

TEST_F(RestReadsTest, AProtobufWatchIsFramed) {
  auto r = watch("", kProtobuf);
  EXPECT_EQ(r->headers.get("Content-Type"), "application/vnd.kubernetes.protobuf;stream=watch");
  size_t frames = 0;
  for (std::string_view rest = r->body; !rest.empty(); ++frames) {
    ASSERT_GE(rest.size(), 4u);
    size_t size = 0;
    for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(rest[i]);
    ASSERT_LE(size + 4, rest.size());
    EXPECT_EQ(rest.substr(4, 7), std::string_view("\n\5ADDED"));
    EXPECT_NE(rest.substr(4, size).find(std::string_view("k8s\0", 4)), std::string_view::npos);
    rest.remove_prefix(size + 4);
  }
  EXPECT_EQ(frames, 3u);
}

TEST_F(RestReadsTest, ManyWatchersShareOneFrame) {
  Frames frames;
  std::vector<std::shared_ptr<http::testing::FakeResponder>> watchers;
  for (int i = 0; i < 20; ++i) watchers.push_back(watch("resourceVersion=" + revisions_[2]));
  make("d");
  loop_.drain();
  for (const auto& w : watchers) EXPECT_EQ(lines(w->body).size(), 1u);
  EXPECT_EQ(rest_.frames().made, 1u);
  EXPECT_EQ(rest_.frames().shared, 19u);
}

TEST_F(RestReadsTest, AWatchEndsWithWhereItWas) {
  auto r = watch("allowWatchBookmarks=true&timeoutSeconds=30&resourceVersion=" + revisions_[2]);
  loop_.advance(seconds(31));
  EXPECT_TRUE(r->ended);
  EXPECT_EQ(lines(r->body).at(0)["type"], "BOOKMARK");
}

}  // namespace
}  // namespace gantry::apigw
