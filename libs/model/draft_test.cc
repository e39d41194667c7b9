#include "libs/model/draft.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "libs/model/testing/random_object.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::model {
namespace {

const Kind& kind(const char* resource) { return *Schema::get().by_resource(resource); }
Object decode(const char* resource, std::string_view json) {
  return Object(kind(resource), *from_json(kind(resource), json));
}
std::string text(const Draft& draft) {
  Object object = draft.build();
  EXPECT_TRUE(verify(*object.kind().type, object.bytes()));
  return to_json(object, {.type_meta = false});
}

TEST(Draft, ChangesOneFieldAndCopiesTheRest) {
  Object pod = decode("pods", testing::kPodJson);
  Draft draft(pod);
  draft.set("spec.nodeName", "node-1");
  Object bound = draft.build(9);
  EXPECT_EQ(bound.revision(), 9u);
  EXPECT_EQ(str(bound.as<api::core_v1::Pod>()->spec()->node_name()), "node-1");
  EXPECT_FALSE(equal(*pod.kind().type, pod.root(), bound.root()));
  Draft back(bound);
  back.clear("spec.nodeName");
  EXPECT_TRUE(equal(*pod.kind().type, pod.root(), back.build().root()));
  EXPECT_EQ(to_json(pod), to_json(back.build()));
}

TEST(Draft, MakesObjectsFromNothing) {
  Draft draft(kind("pods"));
  draft.set("metadata.name", "a");
  draft.set("metadata.labels[app.kubernetes.io/name]", "web");
  draft.set("metadata.labels[a]", "1");
  draft.set("spec.containers[+].name", "c");
  draft.set("spec.containers[0].image", "demo:1");
  draft.set("spec.containers[0].resources.requests[cpu]", "1000m");
  draft.set("spec.containers[0].args[+]", "x");
  draft.set("spec.containers[0].args[+]", "y");
  draft.set("spec.containers[0].livenessProbe.httpGet.port", 80);
  draft.set("spec.containers[0].securityContext.privileged", false);
  draft.set("spec.terminationGracePeriodSeconds", 0);
  draft.set_empty("spec.volumes");
  draft.set_empty("status");
  draft.set("metadata.creationTimestamp", int64_t{1748772672});
  draft.set("metadata.deletionTimestamp", "2025-06-01T10:11:12Z");
  EXPECT_EQ(
      text(draft),
      R"({"metadata":{"name":"a","creationTimestamp":"2025-06-01T10:11:12Z","deletionTimestamp":"2025-06-01T10:11:12Z",)"
      R"("labels":{"a":"1","app.kubernetes.io/name":"web"}},"spec":{"volumes":[],"containers":[{"name":"c","image":"demo:1",)"
      R"("args":["x","y"],"resources":{"requests":{"cpu":"1"}},"livenessProbe":{"httpGet":{"port":80}},)"
      R"("securityContext":{"privileged":false}}],"terminationGracePeriodSeconds":0},"status":{}})");
}

TEST(Draft, ListsAndMapsKeepWhatWasNotTouched) {
  Object pod = decode(
      "pods",
      R"({"metadata":{"labels":{"a":"1","b":"2"},"finalizers":["x","y","z"]},"spec":{"containers":[{"name":"a","image":"i"},{"name":"b"}]}})");
  Draft draft(pod);
  draft.set("metadata.labels[c]", "3");
  draft.set("metadata.labels[a]", "0");
  draft.clear("metadata.labels[b]");
  draft.clear("metadata.finalizers[1]");
  draft.set("metadata.finalizers[+]", "w");
  draft.set("spec.containers[0].image", "j");
  EXPECT_EQ(
      text(draft),
      R"({"metadata":{"labels":{"a":"0","c":"3"},"finalizers":["x","z","w"]},"spec":{"containers":[{"name":"a","image":"j"},{"name":"b"}]}})");
}

TEST(Draft, CopiesSubtreesOfOtherObjects) {
  Object deployment = decode(
      "deployments",
      R"({"spec":{"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c"}]}}},"status":{"replicas":3}})");
  const auto* d = deployment.as<api::apps_v1::Deployment>();
  Draft draft(kind("replicasets"));
  draft.copy("spec.template", d->spec()->template_());
  draft.set("spec.template.metadata.labels[pod-template-hash]", "x");
  draft.set("spec.replicas", 2);
  EXPECT_EQ(
      text(draft),
      R"({"spec":{"replicas":2,"template":{"metadata":{"labels":{"a":"b","pod-template-hash":"x"}},"spec":{"containers":[{"name":"c"}]}}}})");
  Draft pod(kind("pods"));
  pod.copy("spec", d->spec()->template_()->spec());
  pod.copy_field("metadata", "labels", reinterpret_cast<const flatbuffers::Table*>(d->spec()->template_()->metadata()));
  EXPECT_EQ(text(pod), R"({"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c"}]}})");
  Draft changed(decode("deployments", R"({"status":{"replicas":1}})"));
  changed.copy_field("", "status", deployment.root());
  EXPECT_EQ(text(changed), R"({"status":{"replicas":3}})");
  changed.copy_field("", "status", decode("deployments", "{}").root());
  EXPECT_EQ(text(changed), "{}");
}

TEST(Draft, ClearingWhatIsNotThereCreatesNothing) {
  Draft draft(kind("pods"));
  draft.clear("spec.nodeName");
  draft.clear("metadata.labels[a]");
  draft.copy("spec.affinity", nullptr);
  draft.copy_field("status", "phase", nullptr);
  EXPECT_EQ(text(draft), "{}");
}

TEST(Draft, TakesJson) {
  Draft draft(kind("pods"));
  ASSERT_TRUE(draft.set_json("spec.tolerations", R"([{"key":"a","tolerationSeconds":0}])").ok());
  ASSERT_TRUE(draft.set_json("spec.containers[+]", R"({"name":"c"})").ok());
  ASSERT_TRUE(draft.set_json("metadata.annotations[x]", R"("y")").ok());
  ASSERT_TRUE(draft.set_json("spec.hostNetwork", "true").ok());
  draft.set("spec.tolerations[0].key", "b");
  EXPECT_FALSE(draft.set_json("spec.containers", R"({"name":"c"})").ok());
  EXPECT_FALSE(draft.set_json("spec.priority", "\"x\"").ok());
  EXPECT_EQ(text(draft),
            R"({"metadata":{"annotations":{"x":"y"}},"spec":{"containers":[{"name":"c"}],"hostNetwork":true,)"
            R"("tolerations":[{"key":"b","tolerationSeconds":0}]}})");
}

TEST(Draft, EveryFieldCanBeSetAndCleared) {
  std::mt19937_64 random(3);
  for (const auto& k : Schema::get().kinds()) {
    auto tree = testing::random_object(k, random);
    Object full(k, *from_tree(k, tree));
    Draft empty(full), copied(k), from_json(k);
    for (const auto& f : k.type->fields) {
      empty.clear(f.json);
      copied.copy_field("", f.json, full.root());
      ASSERT_TRUE(from_json.set_json(f.json, tree[f.json].dump()).ok()) << f.json;
    }
    EXPECT_EQ(text(copied), to_json(full, {.type_meta = false}));
    EXPECT_TRUE(equal(*k.type, copied.build().root(), full.root()));
    EXPECT_TRUE(equal(*k.type, from_json.build().root(), full.root()));
    EXPECT_TRUE(equal(*k.type, empty.build().root(), Draft(k).build().root()));
    EXPECT_FALSE(equal(*k.type, empty.build().root(), full.root()));
  }
}

TEST(Draft, KeepsTextUtf8) {
  Draft draft(kind("pods"));
  draft.set("status.message", "gr\xc3\xb6\xc3 \xff\xe2\x82");
  EXPECT_EQ(text(draft), "{\"status\":{\"message\":\"grö\uFFFD \uFFFD\uFFFD\uFFFD\"}}");
}

TEST(DraftDeathTest, WrongPathsAndTypesAreProgrammingErrors) {
  Draft draft(kind("pods"));
  EXPECT_DEATH(draft.set("spec.nodename", "x"), "PodSpec has no field nodename");
  EXPECT_DEATH(draft.set("spec.nodeName", 1), "takes no integer");
  EXPECT_DEATH(draft.set("spec.containers", "x"), "list or map");
  EXPECT_DEATH(draft.set("spec.containers[0].name", "x"), "out of range");
}

TEST(Equal, ZeroThatMeansAbsentIsAbsent) {
  Draft a(kind("pods")), b(kind("pods"));
  a.set_empty("spec");
  b.set("spec.hostNetwork", false);
  EXPECT_TRUE(equal(*kind("pods").type, a.build().root(), b.build().root()));
  b.set("spec.priority", 0);
  EXPECT_FALSE(equal(*kind("pods").type, a.build().root(), b.build().root()));
  EXPECT_FALSE(equal(*kind("pods").type, a.build().root(), nullptr));
}

TEST(Verify, RefusesDamage) {
  Object pod = decode("pods", testing::kPodJson);
  const Type& type = *pod.kind().type;
  EXPECT_TRUE(verify(type, pod.bytes()));
  EXPECT_FALSE(verify(type, ""));
  EXPECT_FALSE(verify(type, std::string_view(pod.bytes()).substr(0, 100)));
  std::string shifted = "x" + pod.bytes();
  EXPECT_TRUE(verify(type, std::string_view(shifted).substr(1)));  // not aligned
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    Bytes damaged = pod.bytes();
    for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] = static_cast<char>(random());
    if (verify(type, damaged)) to_json(Object(pod.kind(), damaged));
  }
}

TEST(Verify, WantsMapsSortedAndTextUtf8) {
  using namespace api::meta_v1;
  using namespace api::core_v1;
  auto build = [](std::vector<std::string> keys, std::string value) {
    flatbuffers::FlatBufferBuilder b;
    std::vector<flatbuffers::Offset<StringEntry>> entries;
    for (const auto& k : keys) entries.push_back(CreateStringEntry(b, b.CreateString(k), b.CreateString(value)));
    auto data = b.CreateVector(entries);
    ConfigMapBuilder map(b);
    map.add_data(data);
    b.Finish(map.Finish());
    return Bytes(reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize());
  };
  const Type& type = *kind("configmaps").type;
  EXPECT_TRUE(verify(type, build({"a", "b"}, "x")));
  EXPECT_FALSE(verify(type, build({"b", "a"}, "x")));
  EXPECT_FALSE(verify(type, build({"a", "a"}, "x")));
  EXPECT_FALSE(verify(type, build({"a"}, "\xff")));
}

}  // namespace
}  // namespace gantry::model
