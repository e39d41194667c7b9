// The rules of resource.k8s.io, and of expressions in CEL.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "services/apigw/rules/cel_syntax.h"
#include "services/apigw/rules/rules.h"
#include "services/apigw/rules/testing/given.h"

namespace gantry::apigw {
namespace {

using ::testing::ElementsAreArray;
using Json = nlohmann::json;
using testing::given_object;
using testing::lines;
using Lines = std::vector<std::string>;

void expect(const char* resource, const char* right, const char* change, const Lines& wrong) {
  Json json = Json::parse(right);
  json.merge_patch(Json::parse(change));
  Problems problems;
  validate(given_object(resource, json), problems);
  EXPECT_THAT(lines(problems), ElementsAreArray(wrong)) << resource << " " << change;
}

TEST(Cel, IsReadAsFarAsItGoes) {
  for (const char* good :
       {"true", "device.driver == \"gpu.example.com\"", "device.attributes['a.b'].family in ['x', \"y\"]",
        "device.capacity[\"a.b\"].memory.compareTo(quantity('1Gi')) >= 0 && !device.allowMultipleAllocations",
        "device.attributes['a.b'].?version.orValue(semver('1.0.0')).isLessThan(semver(\"2.0.0\"))",
        "has(device.attributes['a'].x) ? 1 < 2 : -1.5e3 > 0x1F", "['a'].exists(v, v == device.driver)",
        "cel.bind(a, device.attributes['x'], a.y == r'\\d' // why\n)", "{'a': 1, 'b': [2, 3,]}['a'] == 1u",
        "'''three\nlines''' != b\"\\\"\""})
    EXPECT_EQ(check_cel(good, {"device"}), "") << good;
  for (const char* bad :
       {"", "device.driver ==", "device.driver == 'x", "(true", "a.b", "device.attributes[]", "1 2", "device..driver",
        "v == 1 && ['a'].exists(v, true)", "true &", "{'a' 1}", "device;", "device.driver = 'x'"})
    EXPECT_NE(check_cel(bad, {"device"}), "") << bad;
  EXPECT_EQ(check_cel("devise.driver == 'x'", {"device"}),
            "<input>:1:1: undeclared reference to 'devise' (in container '')");
  EXPECT_EQ(check_cel(std::string(5000, '(') + "1" + std::string(5000, ')'), {}),
            "expression recursion limit exceeded");
}

TEST(Devices, Claims) {
  constexpr const char* kClaim =
      R"({"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"c","allocationMode":"ExactCount","count":1}}]}}})";
  const auto claim = [&](const char* change, const Lines& wrong) { expect("resourceclaims", kClaim, change, wrong); };
  claim("{}", {});
  claim(R"({"spec":{"devices":{"requests":[{"name":"a"}]}}})",
        {"spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"});
  claim(
      R"({"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"c","allocationMode":"All","count":2}},{"name":"a","exactly":{"deviceClassName":"C","allocationMode":"ExactCount","count":-1}}]}}})",
      {"spec.devices.requests[1].name: Duplicate value: \"a\"",
       "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
       "spec.devices.requests[1].exactly.count: Invalid value: -1: must be greater than zero",
       "spec.devices.requests[1].exactly.deviceClassName: Invalid value: \"C\": a lowercase RFC 1123 subdomain must "
       "consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
       "character (e.g. 'example.com', regex used for validation is "
       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"});
  claim(
      R"({"spec":{"devices":{"constraints":[{"requests":["a","b"],"matchAttribute":"model"},{"matchAttribute":"a.b/x","distinctAttribute":"a.b/y"}]}}})",
      {"spec.devices.constraints[0].requests[1]: Invalid value: \"b\": must be the name of a request in the claim or "
       "the name of a request and a subrequest separated by '/'",
       "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": must include a domain",
       "spec.devices.constraints[1]: Invalid value: {\"matchAttribute\":\"a.b/x\",\"distinctAttribute\":\"a.b/y\"}: "
       "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set"});
  claim(
      R"({"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"c","allocationMode":"ExactCount","count":1,"selectors":[{},{"cel":{"expression":"device.driver =="}}],"tolerations":[{"operator":"Exists","value":"x"}]}}],"config":[{"requests":["a"],"opaque":{"driver":"a.b","parameters":[]}},{}]}}})",
      {"spec.devices.config[1].opaque: Required value",
       "spec.devices.requests[0].exactly.selectors[0].cel: Required value",
       "spec.devices.requests[0].exactly.selectors[1].cel.expression: Invalid value: \"device.driver ==\": compilation "
       "failed: ERROR: <input>:1:17: Syntax error: mismatched input '<EOF>'",
       "spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"x\": must be empty for operator "
       "`Exists`",
       "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": parameters must be a valid JSON "
       "object"});
}

TEST(Devices, Slices) {
  constexpr const char* kSlice =
      R"({"spec":{"driver":"a.b","nodeName":"n","pool":{"name":"p","resourceSliceCount":1},"devices":[{"name":"d"}]}})";
  const auto slice = [&](const char* change, const Lines& wrong) { expect("resourceslices", kSlice, change, wrong); };
  slice("{}", {});
  slice(R"({"spec":{"nodeName":null}})",
        {"spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is "
         "required"});
  slice(
      R"({"spec":{"allNodes":false,"pool":{"resourceSliceCount":0}}})",
      {"spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
       "spec.allNodes: Invalid value: false: must be either unset or set to true",
       "spec: Invalid value: null: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is "
       "required, but multiple fields are set"});
  slice(
      R"({"spec":{"devices":[{"name":"d","attributes":{"a":{"int":1,"bool":true},"b":{},"v":{"version":"1.x"}}},{"name":"d","consumesCounters":[{"counterSet":"s","counters":{"c":{"value":"1"}}}]}]}})",
      {"spec.devices[1].name: Duplicate value: \"d\"",
       "spec.devices[0].attributes[a]: Invalid value: {\"int\":1,\"bool\":true}: exactly one value must be specified",
       "spec.devices[0].attributes[b]: Required value: exactly one value must be specified",
       "spec.devices[0].attributes[v].version: Invalid value: \"1.x\": must be a string compatible with semver.org "
       "spec "
       "2.0.0",
       "spec.devices[1].consumesCounters[0].counterSet: Invalid value: \"s\": must reference a counterSet defined in "
       "the "
       "ResourceSlice sharedCounters"});
}

}  // namespace
}  // namespace gantry::apigw
