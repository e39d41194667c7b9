#include "services/controllers/job/testing/pods.h"

namespace gantry::controllers::testing {

using nlohmann::json;

std::string job(std::string_view spec, std::string_view pod) {
  return fmt::format(R"({{"apiVersion":"batch/v1","kind":"Job","metadata":{{"name":"work","namespace":"d"}},
    "spec":{{{},"selector":{{"matchLabels":{{"job":"work"}}}},
      "template":{{"metadata":{{"labels":{{"job":"work"}}}},
                  "spec":{{{}"nodeName":"n1","containers":[{{"name":"c","image":"demo:1","env":[{{"name":"A","value":"b"}}]}}]}}}}}}}})",
                     spec, pod);
}

namespace {

bool ended(const json& pod) {
  if (!pod.contains("status")) return false;
  std::string phase = pod["status"].value("phase", "");
  return phase == "Succeeded" || phase == "Failed";
}

}  // namespace

std::vector<std::string> JobPods::running() const {
  std::vector<std::string> keys;
  for (const std::string& key : h_.cluster.keys("pods")) {
    const json& pod = *h_.cluster.get("pods", key);
    if (!ended(pod) && !pod["metadata"].contains("deletionTimestamp")) keys.push_back(key);
  }
  return keys;
}

std::string JobPods::of_index(int index) const {
  for (const std::string& key : running()) {
    if (key.starts_with(fmt::format("d/work-{}-", index))) return key;
  }
  return "";
}

size_t JobPods::tracked() const {
  size_t n = 0;
  for (const json& pod : h_.cluster.all("pods")) n += pod["metadata"].contains("finalizers");
  return n;
}

void JobPods::end(const std::string& key, std::string_view phase, int code, std::string_view conditions) {
  h_.cluster.edit(
      "pods", key,
      fmt::format(
          R"({{"status":{{"phase":"{}","conditions":{},"containerStatuses":[{{"name":"c","state":{{"terminated":{{"exitCode":{},"finishedAt":"{}"}}}}}}]}}}})",
          phase, conditions, code, h_.now()));
}

void JobPods::succeed(const std::string& key) { end(key, "Succeeded", 0, "[]"); }
void JobPods::succeed_all() {
  for (const std::string& key : running()) succeed(key);
}
void JobPods::fail(const std::string& key, int code, std::string_view conditions) {
  end(key, "Failed", code, conditions);
}

void JobPods::remove(const std::string& key) {
  h_.cluster.edit(
      "pods", key,
      fmt::format(R"({{"metadata":{{"deletionTimestamp":"{}","deletionGracePeriodSeconds":30}}}})", h_.now()));
}

void JobPods::end_deleted() {
  for (const std::string& key : h_.cluster.keys("pods")) {
    const json& pod = *h_.cluster.get("pods", key);
    if (!pod["metadata"].contains("deletionTimestamp")) continue;
    if (!ended(pod)) fail(key, 137);
    if (h_.cluster.get("pods", key) != nullptr)
      h_.cluster.edit("pods", key, R"({"metadata":{"deletionGracePeriodSeconds":0}})");
  }
}

}  // namespace gantry::controllers::testing
