// Fields, their owners and server-side apply, on the behaviours that Kubernetes is known for.
#include "libs/model/managed_fields.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"

namespace gantry::model {
namespace {

using nlohmann::json;

const Kind& kind_of(const char* resource) { return *Schema::get().by_resource(resource); }

Object object(const char* resource, std::string_view text) {
  auto bytes = from_json(kind_of(resource), text);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return {kind_of(resource), bytes.ok() ? *bytes : Bytes()};
}

FieldSet fields(std::string_view text) {
  auto set = FieldSet::from_json(text);
  EXPECT_TRUE(set.ok()) << text;
  return set.ok() ? *set : FieldSet();
}

ManagedEntry manager(const char* name, bool applied, std::string_view owned = "{}") {
  ManagedEntry entry;
  entry.manager = name;
  entry.applied = applied;
  entry.api_version = "apps/v1";
  entry.time = 1'700'000'000;
  entry.fields = fields(owned);
  return entry;
}

FieldChanges changed(const char* resource, std::string_view before, std::string_view after) {
  const Object a = object(resource, before), b = object(resource, after);
  return field_changes(*a.kind().type, a.root(), b.root());
}

TEST(FieldSet, ReadsAndWritesFieldsV1) {
  constexpr std::string_view kText =
      R"({"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}})";
  EXPECT_EQ(fields(kText).to_json(), kText);
  // The keys of an element have one text.
  EXPECT_EQ(fields(R"({"f:ports":{"k:{ \"protocol\":\"TCP\", \"port\":80}":{}}})").to_json(),
            R"({"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{}}})");
  for (const char* bad : {"[]", "{\"spec\":{}}", "{\"f:a\":1}", "{\"k:x\":{}}", "{\"q:x\":{}}", "nonsense"}) {
    EXPECT_FALSE(FieldSet::from_json(bad).ok()) << bad;
  }
}

TEST(FieldSet, MembersAreCountedPathByPath) {
  const auto a = fields(R"({"f:a":{".":{},"f:b":{}},"f:c":{}})"), b = fields(R"({"f:a":{"f:b":{}},"f:d":{}})");
  EXPECT_EQ(a.united(b).to_json(), R"({"f:a":{".":{},"f:b":{}},"f:c":{},"f:d":{}})");
  EXPECT_EQ(a.without(b).to_json(), R"({"f:a":{},"f:c":{}})");
  EXPECT_EQ(a.common(b).to_json(), R"({"f:a":{"f:b":{}}})");
  EXPECT_TRUE(a.has({"f:a"}));
  EXPECT_FALSE(b.has({"f:a"}));
  auto c = a;
  c.erase({"f:a", "f:b"});
  EXPECT_EQ(c.to_json(), R"({"f:a":{},"f:c":{}})");
}

TEST(FieldChanges, NameWhatCameWhatWentAndWhatIsDifferent) {
  const auto changes = changed(
      "deployments",
      R"({"metadata":{"name":"web","labels":{"a":"1","b":"1"}},"spec":{"replicas":1,"selector":{"matchLabels":{"x":"y"}},
          "template":{"spec":{"containers":[{"name":"main","image":"demo:1","ports":[{"containerPort":80}]},
                                            {"name":"old","image":"demo:1"}]}}}})",
      R"({"metadata":{"name":"web","labels":{"a":"2","c":"1"}},"spec":{"replicas":2,"selector":{"matchLabels":{"x":"z"}},
          "template":{"spec":{"containers":[{"name":"new","image":"demo:1"},
                                            {"name":"main","image":"demo:2","ports":[{"containerPort":80,"protocol":"TCP"}]}]}}}})");
  EXPECT_EQ(
      changes.modified.to_json(),
      R"({"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:image":{}}}}}}})");
  EXPECT_EQ(
      changes.added.to_json(),
      R"({"f:metadata":{"f:labels":{"f:c":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{"f:protocol":{}}}},"k:{\"name\":\"new\"}":{".":{},"f:image":{},"f:name":{}}}}}}})");
  EXPECT_EQ(
      changes.removed.to_json(),
      R"({"f:metadata":{"f:labels":{"f:b":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"old\"}":{".":{},"f:image":{},"f:name":{}}}}}}})");
}

TEST(FieldChanges, AllOfANewObjectIsItsCreators) {
  const Object made = object("configmaps", R"({"metadata":{"name":"c","uid":"u","annotations":{"k":"v"},
                                               "finalizers":["example.com/f"]},"data":{"a":"1"}})");
  EXPECT_EQ(
      all_fields(*made.kind().type, made.root()).to_json(),
      R"({"f:data":{".":{},"f:a":{}},"f:metadata":{"f:annotations":{".":{},"f:k":{}},"f:finalizers":{".":{},"v:\"example.com/f\"":{}}}})");
}

TEST(AppliedFields, AreTheLeavesThatTheConfigurationNames) {
  const auto owned = applied_fields(
      *kind_of("deployments").type,
      json::parse(R"({"metadata":{"name":"web","labels":{"app":"web"}},"spec":{"replicas":0,"strategy":{},
                      "selector":{"matchLabels":{"app":"web"}},"template":{"spec":{"hostNetwork":false,"containers":[
                      {"name":"main","image":"demo:1","ports":[{"containerPort":80}],"env":[]}]}}}})"));
  ASSERT_TRUE(owned.ok());
  EXPECT_EQ(
      owned->to_json(),
      R"({"f:metadata":{"f:labels":{"f:app":{}},"f:name":{}},"f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}},"f:hostNetwork":{}}}}})");
}

TEST(AppliedFields, ElementsHaveTheirKeysOnce) {
  const Type& type = *kind_of("pods").type;
  const auto twice =
      applied_fields(type, json::parse(R"({"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"a"}]}})"));
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().message, ".spec.containers: duplicate entries for key [name=\"a\"]");
  const auto none = applied_fields(type, json::parse(R"({"spec":{"containers":[{"image":"x"}]}})"));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().message,
            ".spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and "
            "doesn't have default value)");
}

json merged(const char* resource, std::string_view live, std::string_view configuration) {
  return merge_applied(*kind_of(resource).type, json::parse(live), json::parse(configuration));
}

TEST(MergeApplied, FollowsTheListTypes) {
  EXPECT_EQ(
      merged("pods",
             R"({"spec":{"nodeSelector":{"a":"1"},"containers":[{"name":"x","image":"1"},{"name":"y","image":"1"}]},
                               "metadata":{"labels":{"l":"1"},"finalizers":["a","b"]}})",
             R"({"spec":{"nodeSelector":{"b":"1"},"containers":[{"name":"y","image":"2"},{"name":"z","image":"2"}]},
                       "metadata":{"labels":{"m":"1"},"finalizers":["c","a"]}})"),
      json::parse(R"({"spec":{"nodeSelector":{"b":"1"},"containers":[{"name":"x","image":"1"},{"name":"y","image":"2"},
                            {"name":"z","image":"2"}]},"metadata":{"labels":{"l":"1","m":"1"},"finalizers":["c","a","b"]}})"));
  // The order of the configuration holds for what it names.
  EXPECT_EQ(merged("pods", R"({"spec":{"containers":[{"name":"x"},{"name":"y"},{"name":"z"}]}})",
                   R"({"spec":{"containers":[{"name":"z"},{"name":"x"}]}})"),
            json::parse(R"({"spec":{"containers":[{"name":"y"},{"name":"z"},{"name":"x"}]}})"));
}

TEST(PruneApplied, TakesOutWhatNobodyOwnsAnyMore) {
  json live = json::parse(R"({"metadata":{"labels":{"a":"1","b":"1"}},"spec":{"replicas":3,"paused":true,
                              "template":{"spec":{"containers":[{"name":"x"},{"name":"y","image":"1"}]}}}})");
  const auto last = fields(
      R"({"f:metadata":{"f:labels":{"f:a":{},"f:b":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:name":{}},"k:{\"name\":\"y\"}":{".":{},"f:name":{},"f:image":{}}}}}}})");
  const auto owned = fields(
      R"({"f:metadata":{"f:labels":{"f:b":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:name":{}}}}}}})");
  prune_applied(*kind_of("deployments").type, live, last, owned);
  EXPECT_EQ(live, json::parse(R"({"metadata":{"labels":{"b":"1"}},"spec":{"paused":true,
                                  "template":{"spec":{"containers":[{"name":"x"}]}}}})"));
}

TEST(ManagedFields, AnUpdateTakesWhatItChanges) {
  ManagedFields owners{manager("kubectl", true, R"({"f:spec":{"f:replicas":{},"f:paused":{}}})")};
  const auto changes = changed("deployments", R"({"spec":{"replicas":1,"paused":true}})", R"({"spec":{"replicas":2}})");
  ASSERT_TRUE(note_update(owners, changes, manager("scaler", false)));
  ASSERT_EQ(owners.size(), 1u + 0u) << "the applier owns nothing any more";
  EXPECT_EQ(owners[0].manager, "scaler");
  EXPECT_EQ(owners[0].fields.to_json(), R"({"f:spec":{"f:replicas":{}}})");
  const auto same = owners;
  EXPECT_FALSE(note_update(owners, FieldChanges(), manager("other", false)));
  EXPECT_EQ(owners, same);
}

TEST(ManagedFields, ConflictsNameManagersAndFields) {
  const ManagedFields owners{manager("scaler", false, R"({"f:spec":{"f:replicas":{}}})"),
                             manager("helm", true, R"({"f:spec":{"f:paused":{},"f:replicas":{}}})")};
  const auto changes = changed("deployments", R"({"spec":{"replicas":1}})", R"({"spec":{"replicas":2}})");
  auto conflicts = conflicts_of(owners, changes, manager("me", true));
  ASSERT_EQ(conflicts.size(), 2u);
  const Error both = conflict_error(conflicts);
  EXPECT_EQ(both.code, Code::kConflict);
  EXPECT_EQ(
      both.message,
      "Apply failed with 2 conflicts: conflicts with \"helm\":\n- .spec.replicas\nconflicts with \"scaler\" using "
      "apps/v1 at 2023-11-14T22:13:20Z:\n- .spec.replicas");
  EXPECT_EQ(both.causes[1].reason, "FieldManagerConflict");
  EXPECT_EQ(both.causes[1].field, ".spec.replicas");
  EXPECT_EQ(both.causes[1].message, "conflict with \"helm\"");
  conflicts.pop_back();
  EXPECT_EQ(conflict_error(conflicts).message,
            "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1 at 2023-11-14T22:13:20Z: "
            ".spec.replicas");
}

TEST(ManagedFields, AnApplyThatChangesNothingKeepsItsTime) {
  auto before = manager("me", true, R"({"f:spec":{"f:replicas":{}}})");
  ManagedFields owners{before};
  auto again = before;
  again.time = *before.time + 60;
  EXPECT_FALSE(note_apply(owners, FieldChanges(), again));
  EXPECT_EQ(owners[0], before);
  again.fields = fields(R"({"f:spec":{"f:paused":{}}})");
  EXPECT_TRUE(note_apply(owners, FieldChanges(), again));
  EXPECT_EQ(owners[0].time, again.time);
}

TEST(ManagedFields, TheListIsWrittenInOrderAndDoesNotGrowForEver) {
  ManagedFields owners{manager("z-apply", true, R"({"f:data":{"f:z":{}}})")};
  for (int i = 0; i < 30; ++i) {
    const auto before = R"({"data":{"k":")" + std::to_string(i) + "\"}}",
               after = R"({"data":{"k":")" + std::to_string(i) + R"(","k)" + std::to_string(i) + R"(":"x"}})";
    auto writer = manager(("m" + std::to_string(i)).c_str(), false);
    writer.time = 1'700'000'000 + i;
    ASSERT_TRUE(note_update(owners, changed("configmaps", before, after), writer));
  }
  EXPECT_LE(owners.size(), 11u);
  Draft draft(kind_of("configmaps"));
  draft.set("metadata.name", "c");
  write_managed_fields(draft, owners);
  const Object written = draft.build();
  const json list = to_tree(written)["metadata"]["managedFields"];
  EXPECT_EQ(list[0]["manager"], "z-apply");
  EXPECT_EQ(list[0]["operation"], "Apply");
  EXPECT_EQ(list[1]["manager"], "ancient-changes");
  const auto read = read_managed_fields(written);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->size(), owners.size());
}

TEST(ManagedFields, AnEmptyEntryAsksForNoTracking) {
  EXPECT_TRUE(is_reset(object("configmaps", R"({"metadata":{"managedFields":[{}]}})")));
  EXPECT_FALSE(is_reset(object("configmaps", R"({"metadata":{"managedFields":[]}})")));
  EXPECT_FALSE(read_managed_fields(object("configmaps", R"({"metadata":{"managedFields":[{"manager":"x"}]}})")).ok());
}

}  // namespace
}  // namespace gantry::model
