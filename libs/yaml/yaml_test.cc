#include "libs/yaml/yaml.h"

#include <gtest/gtest.h>

namespace gantry::yaml {
namespace {

using nlohmann::json;

json one(std::string_view text) {
  auto documents = parse(text);
  if (!documents) return documents.error().message;
  return documents->size() == 1 ? documents->front() : json(*documents);
}

TEST(Yaml, PlainScalarsAreTypedAndQuotedOnesStayStrings) {
  EXPECT_EQ(
      one("{a: 1, b: '1', c: \"true\", d: yes, e: 0644, f: 1.5, g: 1e3, h: ~, i: 10m, j: 0x10, k: -3, l: 1.2.3, m: "
          "18446744073709551615}"),
      json::parse(
          R"({"a":1,"b":"1","c":"true","d":true,"e":420,"f":1.5,"g":1000.0,"h":null,"i":"10m","j":16,"k":-3,"l":"1.2.3",
                            "m":18446744073709551615})"));
}

TEST(Yaml, ManyDocumentsAndEmptyOnes) {
  auto documents = parse("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n");
  ASSERT_TRUE(documents);
  EXPECT_EQ(json(*documents), json::parse(R"([{"a":1},{"b":2}])"));
}

TEST(Yaml, AnchorsAndMergeKeys) {
  EXPECT_EQ(one("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}"),
            json::parse(R"({"base":{"x":1,"y":2},"use":{"x":1,"y":3}})"));
}

TEST(Yaml, ErrorsNameTheLine) {
  EXPECT_EQ(one("a: 1\nb: 2\na: 3"), "error converting YAML to JSON: yaml: line 3: key \"a\" already set in map");
  EXPECT_NE(one("a: 1\n b: [").get<std::string>().find("line 2"), std::string::npos);
}

TEST(Yaml, WhatIsPrintedReadsBackAsTheSame) {
  const json value = json::parse(
      R"({"name":"web","n":3,"b":true,"null":null,"empty":{},"none":[],"text":"a: b # c","number":"12","yes":"yes",
    "lines":"one\ntwo\n","tail":"one\ntwo","blank":"x\n\n","list":[1,{"a":[1,2],"b":{"c":"d"}},[3,[4]],"x"],"odd":"- y","colon":"c:","ctl":"a\u0001"})");
  EXPECT_EQ(one(write(value)), value) << write(value);
}

TEST(Yaml, PrintsAsKubectlDoes) {
  EXPECT_EQ(write(json::parse(R"({"spec":{"containers":[{"name":"web","args":["a","1"]}]},"apiVersion":"v1"})")),
            "apiVersion: v1\nspec:\n  containers:\n  - args:\n    - a\n    - \"1\"\n    name: web\n");
}

}  // namespace
}  // namespace gantry::yaml
