// The life of an object of every kind that is stored, through every verb that its kind has and the parameters that all
// know. What is peculiar to a kind stands in the tests of that kind.
#include <gmock/gmock.h>

#include "libs/model/served.h"
#include "services/apigw/rest/testing/rest_fixture.h"
#include "services/apigw/rules/testing/minimal_objects.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kMergePatch = "application/merge-patch+json";

class WalkTest : public RestTest, public ::testing::WithParamInterface<const model::Kind*> {
 protected:
  const model::Kind& kind() const { return *GetParam(); }
  bool has(std::string_view verb) const { return model::served(kind()).has_verb(verb); }
  std::string everywhere() const {
    return (kind().group.empty() ? "/api/v1/" : "/apis/" + kind().group + "/" + kind().version + "/") + kind().resource;
  }
  std::string collection() const {
    if (!kind().namespaced) return everywhere();
    const auto all = everywhere();
    const auto slash = all.rfind('/');
    return all.substr(0, slash) + "/namespaces/default" + all.substr(slash);
  }
  std::string path() const { return collection() + "/" + name_; }

  void SetUp() override {
    RestTest::SetUp();
    if (const auto needed = testing::needed_objects().find(kind().resource); needed != testing::needed_objects().end())
      ok("POST", needed->second.first, json::parse(needed->second.second), 201);
    body_ = json::parse(testing::minimal_objects().at(kind().resource));
    body_["apiVersion"] = kind().api_version();
    body_["kind"] = kind().kind;
    auto& meta = body_["metadata"];
    if (!meta.contains("name")) meta["name"] = "walk";
    meta["labels"]["walk"] = "first";
    name_ = meta["name"];
  }

  json patch(const std::string& type, const json& what, const std::string& query = "") {
    auto r = call("PATCH", path() + query, what.dump(), {{"Content-Type", type}});
    EXPECT_EQ(r->status, 200) << type << ": " << r->body;
    return json::parse(r->body, nullptr, false);
  }
  std::vector<std::string> names(const std::string& query, const std::string& where = "") {
    std::vector<std::string> out;
    const auto list = ok("GET", (where.empty() ? collection() : where) + query);
    EXPECT_EQ(list["kind"], kind().kind + "List");
    for (const auto& item : list["items"]) out.push_back(item["metadata"]["name"]);
    return out;
  }
  json refused(const std::string& method, const std::string& target, int status, const json& body = nullptr) {
    const auto answer = ok(method, target, body, status);
    EXPECT_EQ(answer["kind"], "Status") << method << " " << target;
    EXPECT_EQ(answer["code"], status);
    return answer;
  }

  void creates();
  void reads();
  void lists();
  void updates();
  void patches();
  void has_status();
  void ends();
  void ends_together();

  json body_;
  std::string name_;
};

void WalkTest::creates() {
  refused("GET", path(), 404);
  auto tried = ok("POST", collection() + "?dryRun=All", body_, 201);
  EXPECT_EQ(tried["metadata"]["name"], name_);
  refused("GET", path(), 404);

  json more = body_;
  more["nonsense"] = 1;
  EXPECT_THAT(refused("POST", collection() + "?fieldValidation=Strict", 400, more)["message"].get<std::string>(),
              HasSubstr("unknown field \"nonsense\""));
  auto warned = call("POST", collection() + "?dryRun=All", more.dump());
  EXPECT_EQ(warned->status, 201) << warned->body;
  EXPECT_THAT(warned->headers.get("Warning"), HasSubstr("unknown field \\\"nonsense\\\""));
  auto silent = call("POST", collection() + "?dryRun=All&fieldValidation=Ignore", more.dump());
  EXPECT_FALSE(silent->headers.has("Warning"));
  refused("POST", collection() + "?dryRun=Some", 400, body_);

  const auto made = ok("POST", collection() + "?fieldManager=walker", body_, 201);
  EXPECT_FALSE(made["metadata"]["uid"].empty());
  EXPECT_NE(made["metadata"]["resourceVersion"], "0");
  EXPECT_EQ(made["metadata"]["managedFields"][0]["manager"], "walker") << made;
  EXPECT_EQ(refused("POST", collection(), 409, body_)["reason"], "AlreadyExists");
}

void WalkTest::reads() {
  const auto got = ok("GET", path());
  EXPECT_EQ(got["apiVersion"], kind().api_version());
  EXPECT_EQ(got["kind"], kind().kind);
  const auto form = [&](const std::string& accept) { return call("GET", path(), "", {{"Accept", accept}}); };
  EXPECT_THAT(form("application/yaml")->body, HasSubstr("kind: " + kind().kind));
  EXPECT_EQ(form("application/vnd.kubernetes.protobuf")->body.substr(0, 4), std::string("k8s\0", 4));
  const auto table = json::parse(form("application/json;as=Table;v=v1;g=meta.k8s.io")->body);
  EXPECT_EQ(table["kind"], "Table");
  EXPECT_EQ(table["rows"].size(), 1u);
  EXPECT_EQ(table["rows"][0]["cells"].size(), table["columnDefinitions"].size());
  const auto partial = json::parse(form("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")->body);
  EXPECT_EQ(partial["kind"], "PartialObjectMetadata");
  EXPECT_EQ(partial["metadata"]["uid"], got["metadata"]["uid"]);
}

void WalkTest::lists() {
  using Names = std::vector<std::string>;
  EXPECT_EQ(names("?labelSelector=walk%3Dfirst"), Names{name_});
  EXPECT_EQ(names("?labelSelector=walk%3Dsecond"), Names{});
  EXPECT_EQ(names("?fieldSelector=metadata.name%3D" + name_), Names{name_});
  EXPECT_EQ(names("?fieldSelector=metadata.name%21%3D" + name_ + "&labelSelector=walk"), Names{});
  EXPECT_EQ(names("?labelSelector=walk&resourceVersion=0"), Names{name_});
  EXPECT_EQ(names("?labelSelector=walk&limit=1"), Names{name_});
  if (kind().namespaced) {
    EXPECT_EQ(names("?labelSelector=walk", everywhere()), Names{name_});
  }
  const std::string revision = ok("GET", path())["metadata"]["resourceVersion"];
  for (const char* match : {"Exact", "NotOlderThan"})
    EXPECT_EQ(names("?labelSelector=walk&resourceVersion=" + revision + "&resourceVersionMatch=" + match),
              Names{name_});
  refused("GET", collection() + "?labelSelector=a+in+(", 400);
  refused("GET", collection() + "?fieldSelector=spec.nonsense%3D1", 400);
  refused("GET", collection() + "?resourceVersion=x", 400);
  refused("GET", collection() + "?limit=x", 400);
  refused("GET", collection() + "?continue=x", 400);
}

void WalkTest::updates() {
  auto now = ok("GET", path());
  const auto old = now;
  now["metadata"]["labels"]["walk"] = "second";
  const auto after = ok("PUT", path(), now);
  EXPECT_NE(after["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"]);
  EXPECT_EQ(after["metadata"]["uid"], old["metadata"]["uid"]);
  EXPECT_EQ(after["metadata"].value("generation", 0), old["metadata"].value("generation", 0));
  // Nothing changes: no revision.
  EXPECT_EQ(ok("PUT", path(), after)["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
  EXPECT_EQ(refused("PUT", path(), 409, old)["reason"], "Conflict");
  auto another = after;
  another["metadata"]["name"] = "another";
  refused("PUT", path(), 400, another);
}

void WalkTest::patches() {
  const auto label = [](const json& object) { return object["metadata"]["labels"]["walk"]; };
  const auto with = [](const char* value) { return json{{"metadata", {{"labels", {{"walk", value}}}}}}; };
  EXPECT_EQ(label(patch(kMergePatch, with("merged"))), "merged");
  EXPECT_EQ(label(patch("application/strategic-merge-patch+json", with("strategic"))), "strategic");
  EXPECT_EQ(label(patch("application/json-patch+json",
                        json::parse(R"([{"op":"test","path":"/metadata/labels/walk","value":"strategic"},
                                        {"op":"replace","path":"/metadata/labels/walk","value":"replaced"}])"))),
            "replaced");
  EXPECT_EQ(label(patch(kMergePatch, with("tried"), "?dryRun=All")), "tried");
  EXPECT_EQ(label(ok("GET", path())), "replaced");
  json applied{{"apiVersion", kind().api_version()},
               {"kind", kind().kind},
               {"metadata", {{"name", name_}, {"labels", {{"walk", "applied"}}}}}};
  auto conflict = call("PATCH", path() + "?fieldManager=applier", applied.dump(),
                       {{"Content-Type", "application/apply-patch+yaml"}});
  EXPECT_EQ(conflict->status, 409) << conflict->body;
  EXPECT_EQ(label(patch("application/apply-patch+yaml", applied, "?fieldManager=applier&force=true")), "applied");
  EXPECT_EQ(call("PATCH", path(), "{}", {{"Content-Type", "application/nonsense"}})->status, 415);
}

void WalkTest::has_status() {
  if (!kind().has_subresource("status")) return (void)refused("GET", path() + "/status", 404);
  const auto now = ok("GET", path() + "/status");
  EXPECT_EQ(now["kind"], kind().kind);
  // Metadata goes with the object, status with the subresource.
  EXPECT_EQ(ok("PUT", path() + "/status", now)["metadata"]["resourceVersion"], now["metadata"]["resourceVersion"]);
  auto r = call("PATCH", path() + "/status", R"({"status":{}})", {{"Content-Type", kMergePatch}});
  EXPECT_EQ(r->status, 200) << r->body;
}

void WalkTest::ends() {
  ok("DELETE", path() + "?dryRun=All");
  const auto now = ok("GET", path());
  EXPECT_EQ(refused("DELETE", path(), 409, {{"preconditions", {{"uid", "another"}}}})["reason"], "Conflict");
  refused("DELETE", path() + "?propagationPolicy=Nonsense", 422);
  ok("DELETE", path(),
     {{"gracePeriodSeconds", 0},
      {"propagationPolicy", "Background"},
      {"preconditions", {{"uid", now["metadata"]["uid"]}}}});
  auto left = call("GET", path());
  // Who waits for others to finish says so.
  if (left->status == 200) {
    const auto object = json::parse(left->body);
    EXPECT_TRUE(object["metadata"].contains("deletionTimestamp")) << object;
    EXPECT_TRUE(kind().resource == "namespaces" || !object["metadata"].contains("finalizers")) << object;
  } else {
    EXPECT_EQ(left->status, 404);
    refused("DELETE", path(), 404);
  }
}

void WalkTest::ends_together() {
  for (const char* value : {"going", "staying"}) {
    json one = body_;
    one["metadata"].erase("name");
    one["metadata"]["generateName"] = "walk-";
    one["metadata"]["labels"]["walk"] = value;
    auto made = ok("POST", collection(), one, 201);
    EXPECT_THAT(made["metadata"]["name"].get<std::string>(), ::testing::StartsWith("walk-"));
  }
  ok("DELETE", collection() + "?labelSelector=walk%3Dgoing&gracePeriodSeconds=0");
  const auto left = ok("GET", collection() + "?labelSelector=walk%3Dgoing");
  for (const auto& item : left["items"]) EXPECT_TRUE(item["metadata"].contains("deletionTimestamp"));
  EXPECT_EQ(names("?labelSelector=walk%3Dstaying").size(), 1u);
}

TEST_P(WalkTest, DoesWhatItSays) {
  // From now on: nothing has the label yet.
  auto watch = open("GET", collection() + "?watch=true&labelSelector=walk");
  ASSERT_EQ(watch->status, 200) << watch->body;
  creates();
  if (HasFailure()) return;  // the rest would only repeat it
  reads();
  lists();
  updates();
  patches();
  has_status();
  if (has("delete")) ends();
  loop_.drain();
  std::vector<std::string> told;
  for (const auto& event : lines(watch->body)) {
    EXPECT_EQ(event["object"]["kind"], kind().kind);
    told.push_back(event["type"]);
  }
  ASSERT_GE(told.size(), 6u);
  EXPECT_EQ(told.front(), "ADDED");
  EXPECT_EQ(std::count(told.begin(), told.end(), "ADDED"), 1);
  if (call("GET", path())->status == 404) {
    EXPECT_EQ(told.back(), "DELETED");
  }
  if (has("deletecollection")) ends_together();
}

// A kind that nothing acts on is not kept as if something did: it cannot be made in any way, and the answer says why.
class RefusedTest : public WalkTest {
 protected:
  void SetUp() override {
    RestTest::SetUp();
    const auto it = testing::minimal_objects().find(kind().resource);
    body_ = it == testing::minimal_objects().end() ? json::object() : json::parse(it->second);
    body_.update(
        {{"apiVersion", kind().api_version()}, {"kind", kind().kind}, {"metadata", {{"name", name_ = "walk"}}}});
  }
};

TEST_P(RefusedTest, SaysWhy) {
  const std::string why = model::served(kind()).refuses;
  const auto no = refused("POST", collection(), 405, body_);
  EXPECT_THAT(no["message"].get<std::string>(), ::testing::EndsWith("cannot be created: " + why));
  EXPECT_EQ(no["reason"], "MethodNotAllowed");
  refused("POST", collection() + "?dryRun=All", 405, body_);
  auto applied =
      call("PATCH", path() + "?fieldManager=walker", body_.dump(), {{"Content-Type", "application/apply-patch+yaml"}});
  EXPECT_EQ(applied->status, 405) << applied->body;
  EXPECT_THAT(applied->body, HasSubstr(why));
  refused("PUT", path(), 404, body_);
  refused("GET", path(), 404);
  EXPECT_EQ(names(""), std::vector<std::string>{});
}

std::vector<const model::Kind*> kinds_that(bool are_refused) {
  std::vector<const model::Kind*> out;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!kind.resource.empty() && model::stored(kind) && model::served(kind).refuses.empty() != are_refused &&
        model::served(kind).has_verb("create"))
      out.push_back(&kind);
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(EveryKind, WalkTest, ::testing::ValuesIn(kinds_that(false)),
                         [](const auto& info) { return info.param->kind; });
INSTANTIATE_TEST_SUITE_P(EveryKind, RefusedTest, ::testing::ValuesIn(kinds_that(true)),
                         [](const auto& info) { return info.param->kind; });

}  // namespace
}  // namespace gantry::apigw
