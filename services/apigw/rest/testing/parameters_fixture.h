// Every operation that the API's stable versions list, and every query parameter of it, tried on stored objects: what
// it says is what happens. An operation or parameter without a proof here fails by its name.
#include <gmock/gmock.h>

#include <set>

#include "libs/model/served.h"
#include "services/apigw/rest/testing/operations.h"
#include "services/apigw/rest/testing/rest_fixture.h"
#include "services/apigw/rules/testing/minimal_objects.h"

namespace gantry::apigw {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::Operation;
using Names = std::vector<std::string>;

const http::Headers kMergePatch{{"Content-Type", "application/merge-patch+json"}};
inline const http::Headers kApplyPatch{{"Content-Type", "application/apply-patch+yaml"}};

/// What `path` is of: "/api/v1" and "pods".
inline std::pair<std::string, std::string> place_of(const std::string& path) {
  auto parts = *http::path_segments(path);
  const size_t base = parts[0] == "api" ? 2 : 3;
  std::string prefix;
  for (size_t i = 0; i < base; ++i) prefix += "/" + parts[i];
  size_t i = base;
  if (parts[i] == "watch") ++i;
  if (parts[i] == "namespaces" && i + 2 < parts.size() && parts[i + 1] == "{namespace}") i += 2;
  return {prefix, parts[i]};
}

inline std::string subresource_of_path(const std::string& path) {
  static const std::regex kSub("\\{name\\}/([a-z]+)");
  std::smatch found;
  return std::regex_search(path, found, kSub) ? found[1].str() : "";
}

/// The status that a write to the subresource leaves: valid, and another for each `n`.
inline nlohmann::json status_of(const std::string& group_version, const std::string& resource, int n) {
  using nlohmann::json;
  const std::string text = std::to_string(n);
  if (resource == "resourcequotas") return {{"hard", {{"pods", text}}}};
  if (resource == "persistentvolumes") return {{"phase", "Pending"}, {"message", text}};
  if (resource == "cronjobs") return {{"lastScheduleTime", "2026-01-01T00:00:0" + text + "Z"}};
  if (resource == "ingresses") return {{"loadBalancer", {{"ingress", json::array({{{"ip", "10.0.0." + text}}})}}}};
  if (resource == "horizontalpodautoscalers" && group_version == "/apis/autoscaling/v1")
    return {{"currentReplicas", n}, {"desiredReplicas", 1}};
  if (resource == "volumeattachments") return {{"attached", true}, {"attachError", {{"message", text}}}};
  json condition{{"type", "Walk"}, {"status", "True"}, {"reason", "Walked"}, {"message", text}};
  condition["lastTransitionTime"] = "2026-01-01T00:00:00Z";
  json status{{"conditions", json::array({condition})}};
  if (resource == "horizontalpodautoscalers") status.update({{"currentReplicas", 1}, {"desiredReplicas", 1}});
  return status;
}

class ParametersFixture : public RestTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    RestTest::SetUp();
    const size_t slash = GetParam().rfind('/');
    base_ = GetParam().substr(0, slash);
    const std::string resource = GetParam().substr(slash + 1);
    const bool core = base_ == "/api/v1";
    const auto parts = *http::path_segments(base_);
    kind_ = model::kind_by_path(core ? "" : parts[1], core ? "v1" : parts[2], resource);
    ASSERT_NE(kind_, nullptr) << GetParam();
    if (const auto needed = testing::needed_objects().find(resource); needed != testing::needed_objects().end())
      ok("POST", needed->second.first, json::parse(needed->second.second), 201);
  }

  // --- objects

  std::string collection() const {
    return base_ + (kind_->namespaced ? "/namespaces/default/" : "/") + kind_->resource;
  }
  std::string object(const std::string& name) const { return collection() + "/" + name; }
  std::string group() { return "g" + std::to_string(++serial_); }

  json body(const std::string& name, const std::string& group) const {
    json out;
    if (kind_->resource == "events" && kind_->group == "events.k8s.io") {
      out =
          json::parse(R"({"eventTime":"2026-01-01T00:00:00.000000Z","regarding":{"namespace":"default"},"type":"Normal",
                            "reason":"Walk","action":"Walk","reportingController":"a.b/c","reportingInstance":"i"})");
    } else if (model::served(*kind_).is_virtual) {
      out = question();
    } else {
      out = json::parse(testing::minimal_objects().at(kind_->resource));
    }
    if (kind_->resource == "pods") out["spec"]["containers"][0]["resources"] = {{"requests", {{"cpu", "100m"}}}};
    out["apiVersion"] = kind_->api_version();
    out["kind"] = kind_->kind;
    if (!name.empty()) out["metadata"]["name"] = name;
    if (!group.empty()) out["metadata"]["labels"]["walk"] = group;
    return out;
  }
  /// What is asked of a kind that is never stored.
  json question() const {
    const std::string& k = kind_->kind;
    if (k == "TokenReview") return {{"spec", {{"token", "x"}}}};
    const json about{{"namespace", "default"}, {"verb", "get"}, {"resource", "pods"}};
    if (k == "SelfSubjectAccessReview") return {{"spec", {{"resourceAttributes", about}}}};
    if (k.ends_with("SubjectAccessReview")) return {{"spec", {{"user", "u"}, {"resourceAttributes", about}}}};
    if (k == "SelfSubjectRulesReview") return {{"spec", {{"namespace", "default"}}}};
    if (k == "Binding") return {{"target", {{"kind", "Node"}, {"name", "n1"}}}};
    return json::object();
  }
  std::string new_name() {
    ++serial_;
    return "walk-" + std::to_string(serial_);
  }
  std::string fresh(const std::string& group) {
    const std::string name = new_name();
    ok("POST", collection(), body(name, group), 201);
    return name;
  }

  // --- targets

  static std::string replaced(std::string path, const std::string& name) {
    path = std::regex_replace(path, std::regex("\\{namespace\\}"), "default");
    return std::regex_replace(path, std::regex("\\{name\\}"), name);
  }
  static std::string with(const std::string& target, const std::string& query) {
    return target + (target.find('?') == std::string::npos ? "?" : "&") + query;
  }
  Names names(const std::string& target) {
    Names out;
    auto list = ok("GET", target);
    for (const auto& item : list.value("items", json::array())) out.push_back(item["metadata"]["name"]);
    return out;
  }
  std::string revision() { return ok("GET", collection() + "?limit=1")["metadata"]["resourceVersion"]; }
  void refused(const std::string& method, const std::string& target, std::set<int> codes, const json& body = nullptr,
               const http::Headers& headers = {}) {
    const auto r = call(method, target, body.is_null() ? "" : body.dump(), headers);
    EXPECT_TRUE(codes.contains(r->status)) << method << " " << target << ": " << r->status << " " << r->body;
    EXPECT_EQ(json::parse(r->body, nullptr, false).value("kind", ""), "Status") << r->body;
  }
  static bool named(const Operation& op) { return op.path.find("{name}") != std::string::npos; }

  /// "ADDED walk-1" of what a watch has told.
  static Names told(const http::testing::FakeResponder& watch) {
    Names out;
    for (auto& event : lines(watch.body)) {
      const auto meta = event["object"].value("metadata", json::object());
      std::string one = event["type"];
      if (one != "BOOKMARK") one += " " + meta.value("name", "");
      if (meta.value("annotations", json::object()).contains("k8s.io/initial-events-end")) one += " end";
      out.push_back(one);
    }
    return out;
  }
  Names watched(const Operation& op, const std::string& name, const std::string& query) {
    const auto watch = open("GET", with(replaced(op.path, name), "watch=true&" + query));
    EXPECT_EQ(watch->status, 200) << op.path << "?" << query << " " << watch->body;
    return watch->status == 200 ? told(*watch) : Names{};
  }
  void forget_clients() {
    for (const auto& client : clients_) client->disconnect();
    loop_.drain();
    clients_.clear();
  }

  // --- changes

  /// A merge patch for what the operation changes.
  json change(const Operation& op, int n) const {
    const std::string sub = subresource_of_path(op.path), text = std::to_string(n);
    if (sub.empty()) return {{"metadata", {{"annotations", {{"walk", text}}}}}};
    if (sub == "status") return {{"status", status_of(base_, kind_->resource, n)}};
    if (sub == "scale") return {{"spec", {{"replicas", n}}}};
    if (sub == "finalize") return {{"spec", {{"finalizers", {"kubernetes", "walk.io/" + text}}}}};
    if (sub == "approval")
      return {{"status",
               {{"conditions",
                 json::array({{{"type", "Approved"}, {"status", "True"}, {"reason", "Walk"}, {"message", text}}})}}}};
    if (sub == "ephemeralcontainers")
      return {{"spec",
               {{"ephemeralContainers", json::array({{{"name", "debug"},
                                                      {"image", "i" + text},
                                                      {"imagePullPolicy", "Always"},
                                                      {"terminationMessagePath", "/t"},
                                                      {"terminationMessagePolicy", "File"}}})}}}};
    if (sub == "resize")
      return {
          {"spec",
           {{"containers",
             json::array({{{"name", "a"}, {"image", "b"}, {"resources", {{"requests", {{"cpu", text + "00m"}}}}}}})}}}};
    ADD_FAILURE() << "no change known for " << op.path;
    return {};
  }
  /// Without what changes with every write.
  static json bare(json object) {
    for (const char* field : {"managedFields", "resourceVersion", "generation"}) object["metadata"].erase(field);
    return object;
  }
  std::string readable(const Operation& op, const std::string& name) const {
    return subresource_of_path(op.path) == "finalize" ? object(name) : replaced(op.path, name);
  }
  /// The write of the operation.
  std::shared_ptr<http::testing::FakeResponder> write(const Operation& op, const std::string& name, const json& change,
                                                      const std::string& query) {
    const std::string target = with(replaced(op.path, name), query);
    if (op.action == "patch") return call("PATCH", target, change.dump(), kMergePatch);
    json now = op.action == "post" ? post_body(op, name) : ok("GET", readable(op, name));
    now.merge_patch(change);
    return call(op.action == "post" ? "POST" : "PUT", target, now.dump());
  }

  json post_body(const Operation& op, const std::string& name) const {
    const std::string sub = subresource_of_path(op.path);
    if (sub.empty()) return body(name, "posted");
    json out{{"metadata", {{"name", name}, {"namespace", "default"}}}};
    const size_t slash = op.kind.rfind('/');
    const std::string version = op.kind.substr(0, slash);
    out["kind"] = op.kind.substr(slash + 1);
    out["apiVersion"] = version.starts_with("core/") ? version.substr(5) : version;
    if (sub == "binding") out["target"] = {{"kind", "Node"}, {"name", "n1"}};
    if (sub == "token") out["spec"] = {{"audiences", {"walk"}}};
    return out;
  }
  /// Something to post, and the name it is posted under or to.
  std::string to_post(const Operation& op) {
    if (!subresource_of_path(op.path).empty()) return fresh(group());
    if (kind_->kind != "Binding") return new_name();
    auto pod = body("", "");
    pod = json::parse(testing::minimal_objects().at("pods"));
    pod["metadata"]["name"] = new_name();
    return ok("POST", "/api/v1/namespaces/default/pods", pod, 201)["metadata"]["name"];
  }
  bool keeps(const Operation& op) const {
    return subresource_of_path(op.path).empty() && !model::served(*kind_).is_virtual;
  }
  std::string pod_or_object(const std::string& name) const {
    return kind_->kind == "Binding" ? "/api/v1/namespaces/default/pods/" + name : object(name);
  }
  std::string base_;
  const model::Kind* kind_ = nullptr;
  int serial_ = 0;
};

}  // namespace gantry::apigw
