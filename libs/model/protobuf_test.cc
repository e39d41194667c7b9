#include "libs/model/protobuf.h"

#include <gtest/gtest.h>

#include "libs/model/draft.h"
#include "libs/model/testing/random_object.h"
#include "schemas/api/apps_v1_generated.h"

namespace gantry::model {
namespace {

const Kind& kind(const char* resource) { return *Schema::get().by_resource(resource); }
Object decode(const char* resource, std::string_view json) {
  return Object(kind(resource), *from_json(kind(resource), json));
}

// Wire format by hand: what Go's generated code writes.
std::string varint(uint64_t v) {
  std::string out;
  for (; v > 0x7f; v >>= 7) out.push_back(static_cast<char>(v | 0x80));
  out.push_back(static_cast<char>(v));
  return out;
}
std::string number(uint32_t field, uint64_t v) { return varint(field << 3) + varint(v); }
std::string bytes(uint32_t field, std::string_view s) {
  return varint(field << 3 | 2) + varint(s.size()) + std::string(s);
}

std::string json_of(const char* resource, std::string_view message) {
  auto decoded = from_protobuf(*kind(resource).type, message);
  EXPECT_TRUE(decoded.ok()) << decoded.error().message;
  if (!decoded.ok()) return "";
  EXPECT_TRUE(verify(*kind(resource).type, *decoded));
  return to_json(Object(kind(resource), *decoded), {.type_meta = false});
}

TEST(Protobuf, EveryFieldOfEveryKindSurvives) {
  std::mt19937_64 random(11);
  for (const auto& k : Schema::get().kinds()) {
    if (k.type->wire.entries.empty()) continue;  // has JSON only
    for (int i = 0; i < 12; ++i) {
      auto tree = testing::random_object(k, random, {.presence = i < 2 ? 1.0 : 0.4});
      Object object(k, *from_tree(k, tree));
      auto body = to_protobuf(object);
      auto envelope = open_protobuf(body);
      ASSERT_TRUE(envelope.ok());
      EXPECT_EQ(envelope->api_version, k.api_version());
      EXPECT_EQ(envelope->kind, k.kind);
      auto again = from_protobuf(*k.type, envelope->raw);
      ASSERT_TRUE(again.ok()) << again.error().message;
      ASSERT_TRUE(verify(*k.type, *again));
      EXPECT_EQ(to_tree(Object(k, *again)), tree);
      ASSERT_TRUE(equal(*k.type, object.root(), Object(k, *again).root())) << tree.dump();
      ASSERT_EQ(to_tree(Object(k, *again)), tree);
    }
  }
}

TEST(Protobuf, ZeroIsAbsentUnlessItIsAPointer) {
  // DeploymentSpec{replicas: 0 (pointer), minReadySeconds: 0, paused: false}
  EXPECT_EQ(json_of("deployments", bytes(2, number(1, 0) + number(5, 0) + number(7, 0))), R"({"spec":{"replicas":0}})");
  // Empty strings, an empty creationTimestamp and empty structs, as Go writes them.
  EXPECT_EQ(json_of("deployments", bytes(1, bytes(1, "a") + bytes(2, "") + number(7, 0) + bytes(8, "")) +
                                       bytes(2, bytes(4, bytes(1, ""))) + bytes(3, number(1, 0))),
            R"({"metadata":{"name":"a"},"spec":{"strategy":{}},"status":{}})");
}

TEST(Protobuf, InlinedStructs) {
  // Volume{name: 1, volumeSource: 2 {configMap: 19 {localObjectReference: 1 {name: 1}}}}
  auto volume = bytes(1, "v") + bytes(2, bytes(19, bytes(1, bytes(1, "config")) + number(4, 1)));
  EXPECT_EQ(json_of("pods", bytes(2, bytes(1, volume))),
            R"({"spec":{"volumes":[{"name":"v","configMap":{"name":"config","optional":true}}]}})");
}

TEST(Protobuf, SpecialTypes) {
  auto time = number(1, 1748772672) + number(2, 5000);
  EXPECT_EQ(json_of("leases", bytes(2, bytes(3, time))), R"({"spec":{"acquireTime":"2025-06-01T10:11:12.000005Z"}})");
  EXPECT_EQ(json_of("pods", bytes(1, bytes(8, time))), R"({"metadata":{"creationTimestamp":"2025-06-01T10:11:12Z"}})");
  EXPECT_EQ(json_of("nodes", bytes(3, bytes(1, bytes(1, "cpu") + bytes(2, bytes(1, "2000m"))))),
            R"({"status":{"capacity":{"cpu":"2"}}})");
  auto port = [](uint64_t type, uint64_t v, std::string_view s) {
    return number(3, 80) + bytes(4, number(1, type) + number(2, v) + bytes(3, s));
  };
  EXPECT_EQ(json_of("services",
                    bytes(2, bytes(1, port(0, 8080, "")) + bytes(1, port(1, 0, "web")) + bytes(1, port(0, 0, "")))),
            R"({"spec":{"ports":[{"port":80,"targetPort":8080},{"port":80,"targetPort":"web"},{"port":80}]}})");
  EXPECT_EQ(json_of("secrets", bytes(2, bytes(1, "k") + bytes(2, std::string("\x00\xff", 2)))),
            R"({"data":{"k":"AP8="}})");
  EXPECT_EQ(json_of("pods", bytes(1, bytes(17, bytes(1, "m") + bytes(7, bytes(1, R"({"f:spec":{}})"))))),
            R"({"metadata":{"managedFields":[{"manager":"m","fieldsV1":{"f:spec":{}}}]}})");
  // One value has one text: what Go left as it came in is without white space here.
  EXPECT_EQ(
      json_of("pods", bytes(1, bytes(17, bytes(1, "m") + bytes(7, bytes(1, "{\"f:a\" :{ \"n\":[-0.0, 1.50]}}"))))),
      R"({"metadata":{"managedFields":[{"manager":"m","fieldsV1":{"f:a":{"n":[-0.0,1.5]}}}]}})");
}

TEST(Protobuf, MapsAreSortedAndTheLastValueHolds) {
  auto entry = [](const char* k, const char* v) { return bytes(2, bytes(1, k) + bytes(2, v)); };
  EXPECT_EQ(json_of("configmaps", entry("b", "1") + entry("a", "2") + entry("b", "3")),
            R"({"data":{"a":"2","b":"3"}})");
  EXPECT_EQ(json_of("configmaps", number(4, 1) + number(4, 0)), R"({"immutable":false})");
}

TEST(Protobuf, ListsPackedOrNotAndUnknownFields) {
  auto group = [](const std::string& groups) { return bytes(2, bytes(14, groups)); };
  EXPECT_EQ(json_of("pods", group(number(4, 1) + number(4, 70000))),
            R"({"spec":{"securityContext":{"supplementalGroups":[1,70000]}}})");
  EXPECT_EQ(json_of("pods", group(bytes(4, varint(1) + varint(70000)))),
            R"({"spec":{"securityContext":{"supplementalGroups":[1,70000]}}})");
  EXPECT_EQ(json_of("pods", group(number(2, static_cast<uint64_t>(-5)))),
            R"({"spec":{"securityContext":{"runAsUser":-5}}})");
  EXPECT_EQ(
      json_of("pods", number(99, 1) + bytes(98, "x") + varint(97 << 3 | 1) + "12345678" + varint(96 << 3 | 5) + "1234"),
      "{}");
}

TEST(Protobuf, RefusesDamageWithThePath) {
  auto error = [](std::string_view message) { return from_protobuf(*kind("pods").type, message).error().message; };
  EXPECT_EQ(error("\x0a\xff"), "protobuf: not a protobuf message");
  EXPECT_EQ(error(bytes(2, bytes(2, number(1, 7)))), "protobuf: spec.containers.name: wrong wire type");
  EXPECT_EQ(error(bytes(1, bytes(1, "\xff"))), "protobuf: metadata.name: string field contains invalid UTF-8");
  EXPECT_NE(error(bytes(2, bytes(32, bytes(1, "cpu") + bytes(2, bytes(1, "lots")))))
                .find("spec.overhead: quantities must match"),
            std::string::npos);
  EXPECT_EQ(open_protobuf("{}").code(), Code::kBadRequest);
  EXPECT_EQ(open_protobuf(std::string("k8s\0\x0a\xff", 6)).code(), Code::kBadRequest);
}

TEST(Protobuf, CarriesTheRevision) {
  Object object = decode("configmaps", R"({"metadata":{"name":"a"}})").at(42);
  auto body = to_protobuf(object);
  EXPECT_EQ(json_of("configmaps", open_protobuf(body)->raw), R"({"metadata":{"name":"a","resourceVersion":"42"}})");
}

}  // namespace
}  // namespace gantry::model
