#include "services/scheduler/testing/objects.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "libs/model/schema.h"

namespace gantry::scheduler::testing {

model::Object object(std::string_view resource, std::string_view json) {
  const model::Kind& kind = *model::Schema::get().by_resource(resource);
  auto bytes = model::from_json(kind, json);
  EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message) << json;
  return model::Object(kind, *bytes, 1);
}

model::Object node(std::string_view name, std::string_view cpu, std::string_view memory, std::string_view labels,
                   std::string_view spec, int pods) {
  return object(
      "nodes",
      fmt::format(
          R"({{"metadata":{{"name":"{}","labels":{}}},"spec":{},"status":{{"allocatable":{{"cpu":"{}","memory":"{}","pods":"{}"}}}}}})",
          name, labels, spec, cpu, memory, pods));
}

model::Object pod(std::string_view name, std::string_view requests, std::string_view spec, std::string_view owner,
                  std::string_view labels) {
  std::string owners =
      owner.empty()
          ? ""
          : fmt::format(
                R"(,"ownerReferences":[{{"kind":"ReplicaSet","name":"r","uid":"{}","apiVersion":"apps/v1","controller":true}}])",
                owner);
  return object(
      "pods",
      fmt::format(
          R"({{"metadata":{{"name":"{}","namespace":"d","uid":"u-{}","labels":{}{}}},"spec":{{{}"containers":[{{"name":"c","resources":{{"requests":{}}}}}]}}}})",
          name, name, labels, owners, spec, requests));
}

std::string place(const Cluster& cluster, const model::Object& p) {
  size_t cursor = 0;
  Choice choice = choose(cluster, describe(p), cursor);
  return choice.node == nullptr ? choice.why.message() : choice.node->name;
}

}  // namespace gantry::scheduler::testing
