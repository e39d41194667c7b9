#include "libs/model/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/draft.h"
#include "libs/model/testing/random_object.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::model {
namespace {

const Kind& kind(const char* resource) { return *Schema::get().by_resource(resource); }

Object decode(const Kind& k, std::string_view json, const DecodeOptions& options = {}) {
  auto bytes = from_json(k, json, options);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message << "\n" << json;
  return bytes.ok() ? Object(k, *bytes) : Object();
}

std::string again(const Kind& k, std::string_view json) { return to_json(decode(k, json), {.type_meta = false}); }

std::string error_of(const Kind& k, std::string_view json, const DecodeOptions& options = {}) {
  auto bytes = from_json(k, json, options);
  EXPECT_FALSE(bytes.ok()) << json;
  return bytes.ok() ? "" : bytes.error().message;
}

TEST(Json, TypedReadersSeeWhatWasDecoded) {
  Object object = decode(kind("pods"), testing::kPodJson);
  EXPECT_TRUE(verify(*object.kind().type, object.bytes()));
  EXPECT_EQ(object.name(), "web-7d4b9c6f5-x2x9z");
  EXPECT_EQ(object.ns(), "default");
  EXPECT_EQ(object.uid(), "0c4b4a1e-6f6e-4a52-9f0e-6a0f6f2b8c11");
  const auto* pod = object.as<api::core_v1::Pod>();
  const auto* container = pod->spec()->containers()->Get(0);
  EXPECT_EQ(str(lookup(container->resources()->requests(), "cpu")), "100m");
  EXPECT_EQ(lookup(container->resources()->requests(), "gpu"), nullptr);
  EXPECT_EQ(container->security_context()->run_as_user(), 0);
  EXPECT_EQ(pod->spec()->host_network(), flatbuffers::nullopt);
  EXPECT_EQ(pod->metadata()->creation_timestamp(), 1748772672);
}

TEST(Json, APodPrintsAsItWasGiven) {
  Object object = decode(kind("pods"), testing::kPodJson);
  EXPECT_EQ(nlohmann::json::parse(to_json(object)), nlohmann::json::parse(testing::kPodJson));
}

TEST(Json, EveryFieldOfEveryKindSurvives) {
  std::mt19937_64 random(7);
  for (const auto& k : Schema::get().kinds()) {
    for (int i = 0; i < 12; ++i) {
      auto tree = testing::random_object(k, random, {.presence = i < 2 ? 1.0 : 0.4});
      auto text = tree.dump();
      auto bytes = from_json(k, text, {.strict = true});
      ASSERT_TRUE(bytes.ok()) << bytes.error().message << "\n" << text;
      ASSERT_TRUE(verify(*k.type, *bytes)) << text;
      Object object(k, *bytes);
      ASSERT_EQ(nlohmann::json::parse(to_json(object)), tree);
      ASSERT_EQ(to_tree(object), tree);
      auto tree_bytes = from_tree(k, tree);
      ASSERT_TRUE(tree_bytes.ok());
      ASSERT_TRUE(equal(*k.type, object.root(), Object(k, *tree_bytes).root()));
    }
  }
}

TEST(Json, AbsentEmptyAndZeroAreKeptApart) {
  EXPECT_EQ(again(kind("deployments"), R"({"spec":{"replicas":0}})"), R"({"spec":{"replicas":0}})");
  EXPECT_EQ(again(kind("deployments"), R"({"spec":{}})"), R"({"spec":{}})");
  EXPECT_EQ(again(kind("deployments"), R"({})"), R"({})");
  EXPECT_EQ(again(kind("configmaps"), R"({"data":{}})"), R"({"data":{}})");
  EXPECT_EQ(again(kind("configmaps"), R"({"data":{"a":""}})"), R"({"data":{"a":""}})");
  EXPECT_EQ(again(kind("configmaps"), R"({"immutable":false})"), R"({"immutable":false})");
  EXPECT_EQ(again(kind("endpointslices"), R"({"endpoints":[],"addressType":"IPv4"})"),
            R"({"endpoints":[],"addressType":"IPv4"})");
  EXPECT_EQ(again(kind("pods"), R"({"spec":{"securityContext":{}}})"), R"({"spec":{"securityContext":{}}})");
}

TEST(Json, NullIsAbsent) {
  EXPECT_EQ(again(kind("deployments"), R"({"metadata":{"creationTimestamp":null,"labels":null},"spec":null})"),
            R"({"metadata":{}})");
  EXPECT_EQ(again(kind("configmaps"), R"({"data":{"a":null}})"), R"({"data":{"a":""}})");
}

TEST(Json, ZeroWhereGoHasNoPointerIsAbsent) {
  EXPECT_EQ(again(kind("pods"), R"({"spec":{"hostNetwork":false,"nodeName":""}})"), R"({"spec":{}})");
  EXPECT_EQ(again(kind("services"), R"({"spec":{"ports":[{"port":80,"targetPort":0,"nodePort":0}]}})"),
            R"({"spec":{"ports":[{"port":80}]}})");
  EXPECT_EQ(again(kind("deployments"), R"({"spec":{"strategy":{"rollingUpdate":{"maxSurge":0}}}})"),
            R"({"spec":{"strategy":{"rollingUpdate":{"maxSurge":0}}}})");
}

TEST(Json, MandatoryScalarsArePrintedWithTheirZero) {
  EXPECT_EQ(
      again(kind("pods"), R"({"status":{"containerStatuses":[{"name":"a"}]}})"),
      R"({"status":{"containerStatuses":[{"name":"a","ready":false,"restartCount":0,"image":"","imageID":""}]}})");
}

TEST(Json, NumbersPast2To53AreExact) {
  EXPECT_EQ(again(kind("pods"), R"({"metadata":{"generation":9007199254740993}})"),
            R"({"metadata":{"generation":9007199254740993}})");
  EXPECT_EQ(again(kind("pods"), R"({"metadata":{"generation":-9223372036854775808}})"),
            R"({"metadata":{"generation":-9223372036854775808}})");
  EXPECT_EQ(
      to_tree(decode(kind("pods"), R"({"metadata":{"generation":9223372036854775807}})"))["metadata"]["generation"],
      9223372036854775807);
}

TEST(Json, QuantitiesAreCanonical) {
  EXPECT_EQ(again(kind("nodes"), R"({"status":{"capacity":{"memory":"1024Mi","cpu":0.5,"pods":110,"x":"1000m"}}})"),
            R"({"status":{"capacity":{"cpu":"500m","memory":"1Gi","pods":"110","x":"1"}}})");
}

TEST(Json, TimesKeepTheirPrecision) {
  EXPECT_EQ(again(kind("leases"), R"({"spec":{"renewTime":"2025-01-02T03:04:05.678901Z"}})"),
            R"({"spec":{"renewTime":"2025-01-02T03:04:05.678901Z"}})");
  EXPECT_EQ(again(kind("pods"), R"({"status":{"startTime":"2025-01-02T05:04:05.9+02:00"}})"),
            R"({"status":{"startTime":"2025-01-02T03:04:05Z"}})");
}

TEST(Json, FieldsV1IsKeptAsJson) {
  auto text =
      R"({"metadata":{"managedFields":[{"manager":"kubectl","fieldsV1":{"f:spec":{"f:x":{},"k:{\"a\":1}":{}}}}]}})";
  EXPECT_EQ(again(kind("pods"), text), text);
}

TEST(Json, LenientTellsOfUnknownAndDuplicateFields) {
  std::vector<std::string> warnings;
  auto text =
      R"({"spec":{"replica":1,"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a"},{"nam":1}]}}},
                  "metadata":{"labels":{"a":"1","a":"2"}}})";
  Object object = decode(kind("deployments"), text, {.warnings = &warnings});
  EXPECT_EQ(warnings, (std::vector<std::string>{"unknown field \"spec.replica\"", "duplicate field \"spec.replicas\"",
                                                "unknown field \"spec.template.spec.containers[1].nam\"",
                                                "duplicate field \"metadata.labels.a\""}));
  EXPECT_EQ(object.as<api::apps_v1::Deployment>()->spec()->replicas(), 2);
  EXPECT_EQ(str(lookup(object.meta()->labels(), "a")), "2");
}

TEST(Json, StrictNamesEveryFieldAtFault) {
  EXPECT_EQ(error_of(kind("deployments"), R"({"spec":{"foo":1,"bar":{}},"spec":{}})", {.strict = true}),
            "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field "
            "\"spec.foo\", "
            "unknown field \"spec.bar\", duplicate field \"spec\"");
}

TEST(Json, TypeErrorsReadAsTheApiServers) {
  auto rest = [](const std::string& s) { return s.substr(s.find(": ") + 2); };
  EXPECT_EQ(error_of(kind("deployments"), R"({"spec":{"replicas":"3"}})"),
            "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go "
            "struct field "
            "DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(rest(error_of(kind("deployments"), R"({"spec":{"replicas":3000000000}})")),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(rest(error_of(kind("deployments"), R"({"spec":{"replicas":1.5}})")),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(rest(error_of(kind("pods"), R"({"spec":{"containers":{"name":"x"}}})")),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container");
  EXPECT_EQ(rest(error_of(kind("pods"), R"({"spec":{"containers":[{"image":7}]}})")),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string");
  EXPECT_EQ(rest(error_of(kind("pods"), R"({"metadata":{"labels":{"a":true}}})")),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels.a of type string");
  EXPECT_EQ(rest(error_of(kind("nodes"), R"({"status":{"capacity":{"cpu":"lots"}}})")),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(rest(error_of(kind("secrets"), R"({"data":{"a":"!"}})")), "illegal base64 data at input byte 0");
  EXPECT_EQ(rest(error_of(kind("pods"), "[]")), "json: cannot unmarshal array into Go value of type v1.Pod");
}

TEST(Json, TheKindMustFit) {
  EXPECT_EQ(error_of(kind("deployments"), R"({"apiVersion":"v1","kind":"Deployment"})"),
            "the API version in the data (v1) does not match the expected API version (apps/v1)");
  EXPECT_EQ(error_of(kind("pods"), R"({"apiVersion":"v1","kind":"Service"})"),
            "Service in version \"v1\" cannot be handled as a Pod");
  EXPECT_TRUE(from_json(*Schema::get().by_api_version("v1", "DeleteOptions"),
                        R"({"apiVersion":"apps/v1","kind":"DeleteOptions"})")
                  .ok());
  EXPECT_EQ(from_json(kind("pods"), "{").code(), Code::kBadRequest);
  EXPECT_EQ(from_json(kind("pods"), "").code(), Code::kBadRequest);
  EXPECT_EQ(from_json(kind("pods"), "{\"metadata\":{\"name\":\"\xff\"}}").code(), Code::kBadRequest);
}

TEST(Json, RevisionIsPrintedAsResourceVersion) {
  Object object = decode(kind("pods"), R"({"metadata":{"name":"a","resourceVersion":"5","labels":{"x":"y"}}})");
  EXPECT_EQ(to_json(object.at(42), {.type_meta = false}),
            R"({"metadata":{"name":"a","resourceVersion":"42","labels":{"x":"y"}}})");
  EXPECT_EQ(to_json(object, {.type_meta = false}),
            R"({"metadata":{"name":"a","resourceVersion":"5","labels":{"x":"y"}}})");
  EXPECT_EQ(to_json(decode(kind("configmaps"), R"({"metadata":{}})").at(7)),
            R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"7"}})");
}

TEST(Json, KindsWithinKindsMayNameThemselves) {
  const Kind& eviction = *Schema::get().by_api_version("policy/v1", "Eviction");
  auto bytes =
      from_json(eviction, R"({"deleteOptions":{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0}})",
                {.strict = true});
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  EXPECT_EQ(to_json(Object(eviction, *bytes), {.type_meta = false}), R"({"deleteOptions":{"gracePeriodSeconds":0}})");
}

TEST(Time, ParsesAndPrints) {
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time(951782400), "2000-02-29T00:00:00Z");
  EXPECT_EQ(format_micro_time(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(*parse_time("2000-02-29T00:00:00Z"), 951782400'000000);
  EXPECT_EQ(*parse_time("1969-12-31T23:59:59.999999Z"), -1);
  EXPECT_EQ(*parse_time("2000-02-29T01:30:00+01:30"), 951782400'000000);
  for (const char* bad :
       {"", "2000", "2000-02-30T00:00:00Z", "2000-02-29 00:00:00Z", "2000-02-29T00:00:00", "2000-02-29T00:00:00.Z",
        "2000-02-29T24:00:00Z", "2000-02-29T00:00:00Zx", "2000-02-29T00:00:00+1"}) {
    EXPECT_FALSE(parse_time(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace gantry::model
