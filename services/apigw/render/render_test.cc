#include "services/apigw/render/render.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/served.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr WallMicros kNow = 1'700'000'000'000'000;

model::Object object(const std::string& resource, const std::string& text, uint64_t revision = 7) {
  const auto& kind = *model::Schema::get().by_resource(resource);
  auto bytes = model::from_json(kind, text);
  EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message);
  return {kind, bytes.ok() ? *bytes : "", revision};
}

/// Cells of the one row by column name.
std::map<std::string, json> cells(const model::Object& o) {
  auto table = json::parse(object_json(o, Form::kTable, RowObject::kMetadata, kNow));
  std::map<std::string, json> out;
  for (size_t i = 0; i < table["columnDefinitions"].size(); ++i)
    out[table["columnDefinitions"][i]["name"]] = table["rows"][0]["cells"][i];
  return out;
}

TEST(HumanDuration, AsKubectlPrints) {
  EXPECT_EQ(human_duration(-5), "<invalid>");
  EXPECT_EQ(human_duration(0), "0s");
  EXPECT_EQ(human_duration(119), "119s");
  EXPECT_EQ(human_duration(120), "2m");
  EXPECT_EQ(human_duration(185), "3m5s");
  EXPECT_EQ(human_duration(3600), "60m");
  EXPECT_EQ(human_duration(3600 * 4 + 300), "4h5m");
  EXPECT_EQ(human_duration(3600 * 30), "30h");
  EXPECT_EQ(human_duration(3600 * 50), "2d2h");
  EXPECT_EQ(human_duration(86400 * 400), "400d");
  EXPECT_EQ(human_duration(86400 * 365 * 3), "3y");
}

TEST(Table, EveryColumnOfEveryKindIsComputed) {
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!model::stored(kind)) continue;
    auto row = cells(object(kind.resource, R"({"metadata":{"name":"x"}})"));
    EXPECT_EQ(row.size(), kind.columns.size()) << kind.kind;
    EXPECT_EQ(row["Name"], "x") << kind.kind;
    for (const auto& [name, cell] : row) {
      if (name != "Age" && name != "Last Seen" && name != "First Seen" && name != "Created At") {
        EXPECT_NE(cell, "<unknown>") << kind.kind << " " << name;
      }
    }
  }
}

struct PodCase {
  const char* what;
  const char* status;
  const char* ready;
  const char* words;
  const char* restarts;
};

TEST(Table, PodsInTheirStates) {
  const PodCase cases[] = {
      {"fresh", "{}", "0/1", "", "0"},
      {"running",
       R"({"phase":"Running","containerStatuses":[{"name":"a","ready":true,"restartCount":0,"state":{"running":{}}}]})",
       "1/1", "Running", "0"},
      {"creating",
       R"({"phase":"Pending","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"ContainerCreating"}}}]})",
       "0/1", "ContainerCreating", "0"},
      {"crashing",
       R"({"phase":"Running","containerStatuses":[{"name":"a","restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},
           "lastState":{"terminated":{"exitCode":1,"finishedAt":"2023-11-14T22:12:20Z"}}}]})",
       "0/1", "CrashLoopBackOff", "3 (60s ago)"},
      {"done",
       R"({"phase":"Succeeded","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]})",
       "0/1", "Completed", "0"},
      {"killed",
       R"({"phase":"Failed","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":137,"signal":9}}}]})",
       "0/1", "Signal:9", "0"},
      {"evicted", R"({"phase":"Failed","reason":"Evicted"})", "0/1", "Evicted", "0"},
      {"init",
       R"({"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":2,"reason":"Error"}}}]})",
       "0/1", "Init:Error", "0"},
  };
  for (const auto& c : cases) {
    auto row =
        cells(object("pods", std::string(R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]},"status":)") +
                                 c.status + "}"));
    EXPECT_EQ(row["Ready"], c.ready) << c.what;
    EXPECT_EQ(row["Status"], c.words) << c.what;
    EXPECT_EQ(row["Restarts"], c.restarts) << c.what;
  }
  auto leaving = cells(object(
      "pods",
      R"({"metadata":{"name":"p","deletionTimestamp":"2023-11-14T22:12:20Z"},"spec":{"containers":[{"name":"a"}]},"status":{"phase":"Running"}})"));
  EXPECT_EQ(leaving["Status"], "Terminating");
}

TEST(Table, ServicesAndNodes) {
  auto row = cells(object(
      "services",
      R"({"metadata":{"name":"web","creationTimestamp":"2023-11-14T22:11:20Z"},"spec":{"type":"NodePort","clusterIP":"10.96.0.7",
      "ports":[{"port":80,"nodePort":30080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}],"selector":{"app":"web"}}})"));
  EXPECT_EQ(row["Port(s)"], "80:30080/TCP,53/UDP");
  EXPECT_EQ(row["External-IP"], "<none>");
  EXPECT_EQ(row["Selector"], "app=web");
  EXPECT_EQ(row["Age"], "2m");
  auto node = cells(object(
      "nodes", R"({"metadata":{"name":"n","labels":{"node-role.kubernetes.io/worker":""}},"spec":{"unschedulable":true},
      "status":{"conditions":[{"type":"Ready","status":"True"}],"addresses":[{"type":"InternalIP","address":"172.30.0.11"}]}})"));
  EXPECT_EQ(node["Status"], "Ready,SchedulingDisabled");
  EXPECT_EQ(node["Roles"], "worker");
  EXPECT_EQ(node["Internal-IP"], "172.30.0.11");
}

TEST(Lists, CarryRevisionContinueAndRemaining) {
  const auto& kind = *model::Schema::get().by_resource("configmaps");
  auto list = json::parse(list_json(kind, {object("configmaps", R"({"metadata":{"name":"a"},"data":{"k":"v"}})", 12)},
                                    {99, "next", 3}, Form::kPlain, RowObject::kNone, kNow));
  EXPECT_EQ(list["kind"], "ConfigMapList");
  EXPECT_EQ(list["metadata"]["resourceVersion"], "99");
  EXPECT_EQ(list["metadata"]["continue"], "next");
  EXPECT_EQ(list["metadata"]["remainingItemCount"], 3);
  EXPECT_EQ(list["items"][0]["metadata"]["resourceVersion"], "12");
  EXPECT_FALSE(list["items"][0].contains("kind"));
  auto partial =
      json::parse(list_json(kind, {object("configmaps", R"({"metadata":{"name":"a"},"data":{"k":"v"}})", 12)},
                            {99, "", {}}, Form::kPartial, RowObject::kNone, kNow));
  EXPECT_EQ(partial["items"][0]["kind"], "PartialObjectMetadata");
  EXPECT_EQ(partial["items"][0]["metadata"]["resourceVersion"], "12");
  EXPECT_FALSE(partial["items"][0].contains("data"));
}

TEST(Statuses, NameTheObjectAndTheField) {
  Error error{Code::kInvalid, "bad"};
  error.kind = "Deployment";
  error.group = "apps";
  error.name = "web";
  error.causes.push_back({"FieldValueRequired", "Required value", "spec.selector"});
  auto status = json::parse(status_json(error));
  EXPECT_EQ(status["code"], 422);
  EXPECT_EQ(status["reason"], "Invalid");
  EXPECT_EQ(status["details"]["causes"][0]["field"], "spec.selector");
  auto future = json::parse(status_json({Code::kTooLargeRevision, "Too large resource version: 5, current: 4"}));
  EXPECT_EQ(future["code"], 504);
  EXPECT_EQ(future["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
  auto watch = json::parse(watch_error_json({Code::kExpired, "too old resource version: 1 (5)"}));
  EXPECT_EQ(watch["type"], "ERROR");
  EXPECT_EQ(watch["object"]["code"], 410);
}

TEST(Watches, ColumnsOnlyOnce) {
  auto pod = object("pods", R"({"metadata":{"name":"p"}})");
  auto first = json::parse(watch_json("ADDED", pod, Form::kTable, RowObject::kMetadata, true, kNow));
  auto second = json::parse(watch_json("MODIFIED", pod, Form::kTable, RowObject::kMetadata, false, kNow));
  EXPECT_GT(first["object"]["columnDefinitions"].size(), 3u);
  EXPECT_TRUE(second["object"]["columnDefinitions"].is_null());
  auto bookmark = json::parse(bookmark_json(pod.kind(), 44, true, Form::kPlain));
  EXPECT_EQ(bookmark["object"]["kind"], "Pod");
  EXPECT_EQ(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
  EXPECT_EQ(json::parse(bookmark_json(pod.kind(), 44, true,
                                      Form::kTable))["object"]["rows"][0]["object"]["metadata"]["resourceVersion"],
            "44");
}

TEST(Status, AnEvictionThatABudgetForbidsIsNotRepeatedByClients) {
  Error busy{.code = Code::kTooManyRequests, .message = "busy"};
  EXPECT_EQ(retry_after(busy), 1u);
  busy.causes.push_back({"DisruptionBudget", "needs 2 healthy pods", ""});
  EXPECT_EQ(retry_after(busy), 0u);
}

}  // namespace
}  // namespace gantry::apigw
