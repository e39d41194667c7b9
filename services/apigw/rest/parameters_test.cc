// Every operation that the API's stable versions list, and every query parameter of it, tried on stored objects: what
// it says is what happens. An operation or parameter without a proof here fails by its name. Those of streams (log,
// exec, proxy, ...) are in stream_parameters_test.cc.
#include "services/apigw/rest/testing/parameters_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::map<std::string, std::vector<Operation>> places() {
  std::map<std::string, std::vector<Operation>> out;
  for (const auto& one : testing::stable_operations()) {
    if (one.method == "OPTIONS" || one.action == "connect" || one.path.ends_with("/log"))
      continue;  // stream_parameters_test.cc
    const auto [prefix, resource] = place_of(one.path);
    out[prefix + "/" + resource].push_back(one);
  }
  return out;
}

class ParametersTest : public ParametersFixture {
 protected:
  // --- lists and watches

  void labels(const Operation& op) {
    const auto g = group(), name = fresh(g), path = replaced(op.path, name);
    EXPECT_EQ(names(with(path, "labelSelector=walk%3D" + g)), Names{name});
    for (const auto& other : names(with(path, "labelSelector=walk%21%3D" + g))) EXPECT_NE(other, name);
    refused("GET", with(path, "labelSelector=a+in+("), {400});
  }
  void fields(const Operation& op) {
    const auto g = group(), name = fresh(g), path = replaced(op.path, name);
    EXPECT_EQ(names(with(path, "fieldSelector=metadata.name%3D" + name)), Names{name});
    EXPECT_EQ(names(with(path, "labelSelector=walk%3D" + g + "&fieldSelector=metadata.name%21%3D" + name)), Names{});
    refused("GET", with(path, "fieldSelector=spec.nonsense%3D1"), {400});
  }
  void pages(const Operation& op) {
    const auto g = group();
    std::set<std::string> made{fresh(g), fresh(g)};
    const auto path = with(replaced(op.path, ""), "labelSelector=walk%3D" + g + "&limit=1");
    auto first = ok("GET", path);
    ASSERT_EQ(first["items"].size(), 1u);
    const std::string token = first["metadata"]["continue"];
    auto second = ok("GET", with(path, "continue=" + token));
    ASSERT_EQ(second["items"].size(), 1u);
    EXPECT_EQ(second["metadata"].value("continue", ""), "");
    EXPECT_EQ(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    EXPECT_EQ((std::set<std::string>{first["items"][0]["metadata"]["name"], second["items"][0]["metadata"]["name"]}),
              made);
    refused("GET", with(replaced(op.path, ""), "limit=x"), {400});
    refused("GET", with(replaced(op.path, ""), "continue=x"), {400});
  }
  void at_revision(const Operation& op) {
    const auto g = group(), first = fresh(g), then = revision(), second = fresh(g);
    const auto path = with(replaced(op.path, ""), "labelSelector=walk%3D" + g);
    for (const std::string& least : {std::string("0"), then})
      EXPECT_THAT(names(with(path, "resourceVersion=" + least)), ::testing::UnorderedElementsAre(first, second));
    const std::string at = "resourceVersion=" + then + "&resourceVersionMatch=";
    EXPECT_EQ(names(with(path, at + "Exact")), Names{first});
    EXPECT_THAT(names(with(path, at + "NotOlderThan")), ::testing::UnorderedElementsAre(first, second));
    refused("GET", with(path, at + "Nonsense"), {422});
    refused("GET", with(path, "resourceVersionMatch=Exact"), {422});
    refused("GET", with(path, "resourceVersion=x"), {400});
    refused("GET", with(path, "resourceVersion=" + std::to_string(std::stoull(then) + (1 << 20))), {504});
  }
  void watch(const Operation& op) {
    const auto g = group(), name = fresh(g);
    EXPECT_EQ(watched(op, name, "labelSelector=walk%3D" + g), Names{"ADDED " + name});
  }
  void watch_labels(const Operation& op) {
    const auto g = group(), name = fresh(g);
    EXPECT_EQ(watched(op, name, "labelSelector=walk%3D" + g), Names{"ADDED " + name});
    EXPECT_EQ(watched(op, name, "labelSelector=walk%3Dnone"), Names{});
    refused("GET", with(replaced(op.path, name), "labelSelector=a+in+("), {400});
  }
  void watch_fields(const Operation& op) {
    const auto g = group(), name = fresh(g);
    EXPECT_EQ(watched(op, name, "fieldSelector=metadata.name%3D" + name), Names{"ADDED " + name});
    EXPECT_EQ(watched(op, name, "labelSelector=walk%3D" + g + "&fieldSelector=metadata.name%21%3D" + name), Names{});
    refused("GET", with(replaced(op.path, name), "fieldSelector=spec.nonsense%3D1"), {400});
  }
  // A watch has no pages.
  void watch_pages(const Operation& op) {
    const auto g = group(), name = fresh(g), other = fresh(g);
    const size_t all = named(op) ? 1 : 2;
    EXPECT_EQ(watched(op, name, "limit=1&labelSelector=walk%3D" + g).size(), all);
  }
  void watch_revision(const Operation& op) {
    const auto g = group(), name = fresh(g);
    const auto watch = open("GET", with(replaced(op.path, name),
                                        "watch=true&labelSelector=walk%3D" + g + "&resourceVersion=" +
                                            ok("GET", object(name))["metadata"]["resourceVersion"].get<std::string>()));
    EXPECT_EQ(told(*watch), Names{});
    call("PATCH", object(name), R"({"metadata":{"annotations":{"a":"b"}}})", kMergePatch);
    loop_.drain();
    EXPECT_EQ(told(*watch), Names{"MODIFIED " + name});
    refused("GET", with(replaced(op.path, name), "watch=true&resourceVersion=x"), {400});
    refused("GET", with(replaced(op.path, name), "watch=true&resourceVersion=1&resourceVersionMatch=Exact"), {422});
  }
  void bookmarks(const Operation& op) {
    const auto g = group(), name = fresh(g);
    const auto path = with(replaced(op.path, name), "watch=true&timeoutSeconds=5&labelSelector=walk%3D" + g);
    const auto without = open("GET", path), marked = open("GET", with(path, "allowWatchBookmarks=true"));
    loop_.advance(seconds(3));
    EXPECT_FALSE(marked->ended) << op.path;
    loop_.advance(seconds(3));
    EXPECT_TRUE(marked->ended && without->ended) << op.path;
    // A controller of the gateway's own may change it meanwhile.
    EXPECT_EQ(told(*without).front(), "ADDED " + name);
    EXPECT_NE(told(*without).back(), "BOOKMARK");
    EXPECT_EQ(told(*marked).front(), "ADDED " + name);
    EXPECT_EQ(told(*marked).back(), "BOOKMARK");
    refused("GET", with(replaced(op.path, name), "watch=true&timeoutSeconds=x"), {400});
  }
  void initial_events(const Operation& op) {
    const auto g = group(), name = fresh(g);
    const std::string streaming =
        "allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&labelSelector=walk%3D" + g + "&sendInitialEvents=";
    EXPECT_EQ(watched(op, name, streaming + "true"), (Names{"ADDED " + name, "BOOKMARK end"}));
    EXPECT_EQ(watched(op, name, streaming + "false"), Names{});
    if (op.action == "list") refused("GET", with(replaced(op.path, name), "sendInitialEvents=true"), {422});
  }

  // --- writes

  void dry_post(const Operation& op) {
    const auto name = to_post(op);
    const auto path = with(replaced(op.path, name), "dryRun=");
    const auto before = keeps(op) ? json() : json::parse(call("GET", pod_or_object(name))->body);
    ok("POST", path + "All", post_body(op, name), 201);
    if (keeps(op)) {
      refused("GET", object(name), {404});
    } else {
      EXPECT_EQ(json::parse(call("GET", pod_or_object(name))->body), before) << op.path;
    }
    refused("POST", path + "Some", {400}, post_body(op, name));
  }
  void validated_write(const Operation& op) {
    const auto name = op.action == "post" ? to_post(op) : fresh(group());
    json more = op.action == "post" ? json::object() : change(op, 2);
    more["nonsense"] = 1;
    const auto strict = write(op, name, more, "dryRun=All&fieldValidation=Strict");
    EXPECT_TRUE(strict->status == 400 || strict->status == 422) << op.path << strict->status << strict->body;
    EXPECT_THAT(strict->body, HasSubstr("unknown field")) << op.path;
    const auto warned = write(op, name, more, "dryRun=All&fieldValidation=Warn");
    EXPECT_LT(warned->status, 300) << op.path << warned->body;
    EXPECT_THAT(warned->headers.get("Warning"), HasSubstr("unknown field")) << op.path;
    const auto silent = write(op, name, more, "dryRun=All&fieldValidation=Ignore");
    EXPECT_LT(silent->status, 300) << op.path << silent->body;
    EXPECT_FALSE(silent->headers.has("Warning")) << op.path;
    EXPECT_EQ(write(op, name, more, "fieldValidation=Nonsense")->status, 422) << op.path;
  }
  void managed_write(const Operation& op) {
    const auto name = op.action == "post" ? to_post(op) : fresh(group());
    const json what = op.action == "post" ? json::object() : change(op, 2);
    EXPECT_EQ(write(op, name, what, "fieldManager=" + std::string(129, 'x'))->status, 422) << op.path;
    const auto done = write(op, name, what, "fieldManager=walker");
    EXPECT_LT(done->status, 300) << op.path << done->body;
    if (op.action == "post" && !keeps(op)) return;
    auto now = ok("GET", object(name));
    const std::string sub = subresource_of_path(op.path);
    bool known = false;
    for (const auto& entry : now["metadata"]["managedFields"])
      known = known || (entry["manager"] == "walker" && entry.value("subresource", "") == sub);
    EXPECT_TRUE(known) << op.method << " " << op.path << " " << now["metadata"]["managedFields"];
  }
  void dry_write(const Operation& op) {
    const auto name = fresh(group());
    auto before = ok("GET", readable(op, name));
    EXPECT_EQ(write(op, name, change(op, 2), "dryRun=Some")->status, 400);
    const auto tried = write(op, name, change(op, 2), "dryRun=All");
    ASSERT_EQ(tried->status, 200) << op.path << tried->body;
    EXPECT_NE(bare(json::parse(tried->body)), bare(before)) << op.path;
    EXPECT_EQ(json::parse(tried->body)["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"])
        << op.path;
    EXPECT_EQ(ok("GET", readable(op, name)), before) << op.path;
    const auto done = write(op, name, change(op, 2), "dryRun=");
    EXPECT_EQ(done->status, 400) << "an empty value is no directive";
    EXPECT_EQ(write(op, name, change(op, 2), "pretty=true")->status, 200);
    EXPECT_NE(bare(ok("GET", readable(op, name))), bare(before)) << op.path;
  }
  void forced(const Operation& op) {
    const auto name = fresh(group());
    const auto apply = [&](int n, const std::string& query) {
      json what = change(op, n);
      const size_t slash = op.kind.rfind('/');
      const std::string version = op.kind.substr(0, slash);
      what["kind"] = op.kind.substr(slash + 1);
      what["apiVersion"] = version.starts_with("core/") ? version.substr(5) : version;
      what["metadata"]["name"] = name;
      return call("PATCH", with(replaced(op.path, name), query), what.dump(), kApplyPatch);
    };
    const auto first = apply(2, "fieldManager=one&force=true");
    EXPECT_EQ(first->status, 200) << op.path << first->body;
    const auto conflict = apply(3, "fieldManager=two");
    EXPECT_EQ(conflict->status, 409) << op.path << conflict->body;
    EXPECT_THAT(conflict->body, HasSubstr("\\\"one\\\"")) << op.path;
    const auto forced = apply(3, "fieldManager=two&force=true");
    // What may not change at all is refused by its own rule.
    const bool fixed = subresource_of_path(op.path) == "ephemeralcontainers";
    EXPECT_EQ(forced->status, fixed ? 422 : 200) << op.path << forced->body;
    refused("PATCH", with(replaced(op.path, name), "force=true"), {422}, change(op, 2), kMergePatch);
  }

  // --- deletion

  bool gone(const std::string& name) { return call("GET", object(name))->status == 404; }
  /// Namespaces only begin to go.
  bool gone_or_going(const std::string& name) {
    const auto r = call("GET", object(name));
    return r->status == 404 ||
           (kind_->resource == "namespaces" && json::parse(r->body)["metadata"].contains("deletionTimestamp"));
  }
  std::set<std::string> finalizers(const std::string& name) {
    auto now = ok("GET", object(name))["metadata"];
    EXPECT_TRUE(now.contains("deletionTimestamp")) << now;
    return now.value("finalizers", std::set<std::string>());
  }
  /// The delete of the operation: by name, or all with the object's label.
  std::shared_ptr<http::testing::FakeResponder> remove(const Operation& op, const std::string& name,
                                                       const std::string& group, const std::string& query) {
    std::string target = with(replaced(op.path, name), query);
    if (!named(op)) target = with(target, "labelSelector=walk%3D" + group);
    return call("DELETE", target);
  }
  void dry_delete(const Operation& op) {
    const auto g = group(), name = fresh(g);
    auto before = ok("GET", object(name));
    EXPECT_EQ(remove(op, name, g, "dryRun=All")->status, 200);
    EXPECT_EQ(ok("GET", object(name)), before);
    EXPECT_EQ(remove(op, name, g, "dryRun=Some")->status, 400);
  }
  void grace(const Operation& op) {
    const auto g = group(), name = fresh(g);
    EXPECT_EQ(remove(op, name, g, "gracePeriodSeconds=x")->status, 400);
    if (kind_->resource == "pods") {
      ok("POST", object(name) + "/binding",
         {{"metadata", {{"name", name}}}, {"target", {{"kind", "Node"}, {"name", "n1"}}}}, 201);
      EXPECT_EQ(remove(op, name, g, "gracePeriodSeconds=7")->status, 200);
      EXPECT_EQ(ok("GET", object(name))["metadata"]["deletionGracePeriodSeconds"], 7);
    }
    EXPECT_LT(remove(op, name, g, "gracePeriodSeconds=0")->status, 300);
    EXPECT_TRUE(gone_or_going(name)) << op.path;
  }
  void propagation(const Operation& op) {
    const auto g = group(), name = fresh(g);
    EXPECT_EQ(remove(op, name, g, "propagationPolicy=Nonsense")->status, 422);
    EXPECT_LT(remove(op, name, g, "propagationPolicy=Background")->status, 300);
    EXPECT_TRUE(gone_or_going(name)) << op.path;
    if (kind_->resource == "namespaces") return;  // its content goes first, whatever the policy
    for (const auto& [policy, finalizer] :
         {std::pair<std::string, std::string>{"Foreground", "foregroundDeletion"}, {"Orphan", "orphan"}}) {
      const auto other = fresh(g);
      EXPECT_LT(remove(op, other, g, "propagationPolicy=" + policy)->status, 300);
      EXPECT_TRUE(finalizers(other).contains(finalizer)) << op.path;
    }
  }
  void orphans(const Operation& op) {
    const auto g = group(), name = fresh(g);
    EXPECT_EQ(remove(op, name, g, "orphanDependents=true&propagationPolicy=Orphan")->status, 422);
    EXPECT_LT(remove(op, name, g, "orphanDependents=false")->status, 300);
    EXPECT_TRUE(gone_or_going(name)) << op.path;
    if (kind_->resource == "namespaces") return;
    const auto other = fresh(g);
    EXPECT_LT(remove(op, other, g, "orphanDependents=true")->status, 300);
    EXPECT_TRUE(finalizers(other).contains("orphan")) << op.path;
  }
  // What cannot be read is not there to delete: for anything else the parameter changes nothing.
  void unreadable(const Operation& op) {
    const auto g = group(), name = fresh(g);
    EXPECT_LT(remove(op, name, g, "ignoreStoreReadErrorWithClusterBreakingPotential=true")->status, 300);
    EXPECT_TRUE(gone_or_going(name)) << op.path;
  }
  void delete_selected(const Operation& op) {
    const auto g = group(), name = fresh(g), other = fresh(group());
    refused("DELETE", with(replaced(op.path, ""), "labelSelector=a+in+("), {400});
    refused("DELETE", with(replaced(op.path, ""), "fieldSelector=spec.nonsense%3D1"), {400});
    const auto path = with(replaced(op.path, ""), "labelSelector=walk%3D" + g);
    EXPECT_EQ(call("DELETE", with(path, "fieldSelector=metadata.name%21%3D" + name))->status, 200);
    EXPECT_FALSE(gone(name));
    EXPECT_EQ(call("DELETE", path)->status, 200);
    EXPECT_TRUE(gone_or_going(name));
    EXPECT_FALSE(gone(other));
  }
  void delete_pages(const Operation& op) {
    const auto g = group(), a = fresh(g), b = fresh(g), c = fresh(g);
    const auto path = with(replaced(op.path, ""), "labelSelector=walk%3D" + g);
    const std::string token = ok("GET", with(path, "limit=1"))["metadata"]["continue"];
    refused("DELETE", with(path, "continue=x"), {400});
    refused("DELETE", with(path, "limit=x"), {400});
    EXPECT_EQ(call("DELETE", with(path, "limit=1&continue=" + token))->status, 200);
    const auto left = (gone_or_going(a) ? 0 : 1) + (gone_or_going(b) ? 0 : 1) + (gone_or_going(c) ? 0 : 1);
    EXPECT_EQ(left, 2);
    EXPECT_EQ(call("DELETE", with(path, "continue=" + token))->status, 200);
    EXPECT_FALSE(gone(std::min({a, b, c}))) << "the first page stays";
  }
  void delete_at_revision(const Operation& op) {
    const auto g = group(), first = fresh(g), then = revision(), second = fresh(g);
    const auto path = with(replaced(op.path, ""), "labelSelector=walk%3D" + g);
    refused("DELETE", with(path, "resourceVersion=x"), {400});
    refused("DELETE", with(path, "resourceVersionMatch=Exact"), {422});
    EXPECT_EQ(call("DELETE", with(path, "resourceVersionMatch=Exact&resourceVersion=" + then))->status, 200);
    EXPECT_TRUE(gone_or_going(first));
    EXPECT_FALSE(gone(second)) << "it came later";
    EXPECT_EQ(call("DELETE", with(path, "resourceVersionMatch=NotOlderThan&resourceVersion=" + then))->status, 200);
    EXPECT_TRUE(gone_or_going(second));
  }
  void delete_no_watch(const Operation& op) {
    refused("DELETE", with(replaced(op.path, ""), "labelSelector=walk%3Dnone&sendInitialEvents=true"), {422});
    refused("DELETE", with(replaced(op.path, ""), "labelSelector=walk%3Dnone&timeoutSeconds=x"), {400});
    EXPECT_EQ(call("DELETE", with(replaced(op.path, ""), "labelSelector=walk%3Dnone&timeoutSeconds=5"))->status, 200);
  }

  // --- all of them

  using Check = void (ParametersTest::*)(const Operation&);
  static const std::map<std::string, Check>& checks() {
    using P = ParametersTest;
    static const std::map<std::string, Check> all{
        {"list labelSelector", &P::labels},
        {"list fieldSelector", &P::fields},
        {"list limit", &P::pages},
        {"list continue", &P::pages},
        {"list resourceVersion", &P::at_revision},
        {"list resourceVersionMatch", &P::at_revision},
        {"list watch", &P::watch},
        {"list allowWatchBookmarks", &P::bookmarks},
        {"list timeoutSeconds", &P::bookmarks},
        {"list sendInitialEvents", &P::initial_events},
        {"watch labelSelector", &P::watch_labels},
        {"watch fieldSelector", &P::watch_fields},
        {"watch limit", &P::watch_pages},
        {"watch continue", &P::watch_pages},
        {"watch resourceVersion", &P::watch_revision},
        {"watch resourceVersionMatch", &P::watch_revision},
        {"watch watch", &P::watch},
        {"watch allowWatchBookmarks", &P::bookmarks},
        {"watch timeoutSeconds", &P::bookmarks},
        {"watch sendInitialEvents", &P::initial_events},
        {"post dryRun", &P::dry_post},
        {"post fieldManager", &P::managed_write},
        {"post fieldValidation", &P::validated_write},
        {"put dryRun", &P::dry_write},
        {"put fieldManager", &P::managed_write},
        {"put fieldValidation", &P::validated_write},
        {"patch dryRun", &P::dry_write},
        {"patch fieldManager", &P::managed_write},
        {"patch fieldValidation", &P::validated_write},
        {"patch force", &P::forced},
        {"delete dryRun", &P::dry_delete},
        {"delete gracePeriodSeconds", &P::grace},
        {"delete propagationPolicy", &P::propagation},
        {"delete orphanDependents", &P::orphans},
        {"delete ignoreStoreReadErrorWithClusterBreakingPotential", &P::unreadable},
        {"deletecollection labelSelector", &P::delete_selected},
        {"deletecollection fieldSelector", &P::delete_selected},
        {"deletecollection limit", &P::delete_pages},
        {"deletecollection continue", &P::delete_pages},
        {"deletecollection resourceVersion", &P::delete_at_revision},
        {"deletecollection resourceVersionMatch", &P::delete_at_revision},
        {"deletecollection sendInitialEvents", &P::delete_no_watch},
        {"deletecollection timeoutSeconds", &P::delete_no_watch},
        {"deletecollection dryRun", &P::dry_delete},
        {"deletecollection gracePeriodSeconds", &P::grace},
        {"deletecollection propagationPolicy", &P::propagation},
        {"deletecollection orphanDependents", &P::orphans},
        {"deletecollection ignoreStoreReadErrorWithClusterBreakingPotential", &P::unreadable},
    };
    return all;
  }

  /// The operation without parameters.
  void is_served(const Operation& op) {
    if (op.action != "get") return;  // the others are proved with their parameters
    const auto name = fresh(group());
    EXPECT_EQ(ok("GET", replaced(op.path, name))["kind"], op.kind.substr(op.kind.rfind('/') + 1)) << op.path;
  }
  /// Of a kind that cannot be created: nothing is there, and a create says why.
  void is_refused(const Operation& op, const std::string& why) {
    const auto target = replaced(op.path, "none");
    if (op.action == "post") {
      const auto r = call("POST", target, json{{"metadata", {{"name", "none"}}}}.dump());
      EXPECT_EQ(r->status, 405) << target;
      EXPECT_THAT(json::parse(r->body)["message"].get<std::string>(), HasSubstr(why));
    } else if (op.action == "list") {
      EXPECT_EQ(names(target), Names{});
    } else if (op.action == "watch" || op.action == "watchlist") {
      EXPECT_EQ(watched(op, "none", ""), Names{});
    } else if (op.action == "deletecollection") {
      ok("DELETE", target);
    } else {
      const auto type = op.action == "patch" ? kMergePatch : http::Headers();
      refused(op.method, target, {404, 405}, op.method == "GET" ? json() : json{{"metadata", {{"name", "none"}}}},
              type);
    }
  }
};

TEST_P(ParametersTest, DoWhatTheySay) {
  static const auto all = places();
  const auto& served = model::served(*kind_);
  const std::string why = kind_->resource == "componentstatuses" ? "does not allow" : served.refuses;
  std::vector<std::pair<std::string, Check>> done;  // a check may prove two parameters
  for (const auto& op : all.at(GetParam())) {
    SCOPED_TRACE(op.method + " " + op.path);
    if (!why.empty()) {
      is_refused(op, why);
      continue;
    }
    is_served(op);
    const std::string action = op.action == "watchlist" ? "watch" : op.action;
    for (const auto& parameter : op.parameter_list()) {
      const auto check = checks().find(action + " " + parameter);
      if (check == checks().end()) {
        ADD_FAILURE() << "no proof of parameter " << parameter;
        continue;
      }
      const std::pair proof(op.method + op.path, check->second);
      if (std::find(done.begin(), done.end(), proof) != done.end()) continue;
      done.push_back(proof);
      SCOPED_TRACE(parameter);
      (this->*check->second)(op);
      forget_clients();
    }
  }
}

std::vector<std::string> all_places() {
  std::vector<std::string> out;
  for (const auto& [place, operations] : places()) out.push_back(place);
  return out;
}

INSTANTIATE_TEST_SUITE_P(EveryResource, ParametersTest, ::testing::ValuesIn(all_places()), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

}  // namespace
}  // namespace gantry::apigw
