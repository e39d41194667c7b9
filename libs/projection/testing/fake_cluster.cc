#include "libs/projection/testing/fake_cluster.h"

#include <glog/logging.h>

#include "libs/model/json.h"
#include "libs/model/schema.h"

namespace gantry::projection::testing {

using nlohmann::json;

namespace {

std::string key_of(std::string_view ns, std::string_view name) {
  return ns.empty() ? std::string(name) : fmt::format("{}/{}", ns, name);
}

std::string text(const json& tree, const char* field) {
  const json& meta = tree.at("metadata");
  return meta.contains(field) ? meta.at(field).get<std::string>() : "";
}

bool has_finalizers(const json& tree) {
  const json& meta = tree.at("metadata");
  return meta.contains("finalizers") && !meta.at("finalizers").empty();
}

const model::Kind& kind_of(std::string_view resource) {
  const model::Kind* kind = model::Schema::get().by_resource(resource);
  CHECK(kind != nullptr) << resource;
  return *kind;
}

model::Object to_object(std::string_view resource, json tree, uint64_t revision) {
  const model::Kind& kind = kind_of(resource);
  tree["metadata"].erase("resourceVersion");
  auto bytes = model::from_tree(kind, tree);
  CHECK(bytes.ok()) << bytes.error().message << " in " << tree.dump();
  return model::Object(kind, std::move(*bytes), revision);
}

/// As much of a strategic merge as controllers use: conditions are merged by their type.
void merge_conditions(json& patch, const json& old) {
  if (!patch.contains("status") || !patch["status"].contains("conditions")) return;
  json merged = old.contains("status") ? old["status"].value("conditions", json::array()) : json::array();
  for (const json& condition : patch["status"]["conditions"]) {
    auto it = std::find_if(merged.begin(), merged.end(), [&](const json& c) { return c["type"] == condition["type"]; });
    if (it == merged.end()) {
      merged.push_back(condition);
    } else {
      it->merge_patch(condition);
    }
  }
  patch["status"]["conditions"] = merged;
}

json without(json tree, std::initializer_list<const char*> fields) {
  for (const char* field : fields) tree.erase(field);
  return tree;
}

}  // namespace

void FakeCluster::attach(Cache& cache) {
  std::string resource = cache.kind().resource;
  caches_.emplace(resource, &cache);
  std::vector<model::Object> objects;
  for (const auto& [key, row] : table(resource).rows) objects.push_back(to_object(resource, row.tree, row.revision));
  cache.reset(table(resource).head, std::move(objects));
  cache.mark_synced();
}

void FakeCluster::publish(Event event) {
  events_.push_back(std::move(event));
  if (!hold_events) {
    loop_.post([this, alive = alive_] {
      if (*alive && !hold_events) deliver();
    });
  }
}

void FakeCluster::deliver() {
  while (!events_.empty()) {
    Event event = std::move(events_.front());
    events_.pop_front();
    auto [from, to] = caches_.equal_range(event.resource);
    for (auto it = from; it != to; ++it) {
      if (event.revision <= it->second->revision()) continue;  // from before it was attached
      if (event.object) {
        it->second->put(event.object, event.revision);
      } else {
        it->second->remove(event.ns, event.name, event.revision);
      }
    }
  }
}

void FakeCluster::release_events() {
  hold_events = false;
  deliver();
}

uint64_t FakeCluster::put(std::string_view resource, const std::string& key, json tree) {
  Table& t = table(resource);
  uint64_t revision = ++t.head;
  std::string ns = text(tree, "namespace"), name = text(tree, "name");
  publish({std::string(resource), ns, name, to_object(resource, tree, revision), revision});
  t.rows[key] = {std::move(tree), revision};
  return revision;
}

uint64_t FakeCluster::drop(std::string_view resource, const std::string& key) {
  Table& t = table(resource);
  auto it = t.rows.find(key);
  CHECK(it != t.rows.end()) << key;
  std::string ns = text(it->second.tree, "namespace"), name = text(it->second.tree, "name");
  t.rows.erase(it);
  uint64_t revision = ++t.head;
  publish({std::string(resource), ns, name, {}, revision});
  return revision;
}

/// Stores a changed object: nothing if it is the same, its end if it is being deleted and nothing holds it.
uint64_t FakeCluster::store(std::string_view resource, const std::string& key, json tree, const json& old) {
  tree = model::to_tree(to_object(resource, tree, 0));  // canonical
  tree["metadata"].erase("resourceVersion");
  if (tree == old) return table(resource).rows.at(key).revision;
  bool spec_changed = without(tree, {"metadata", "status"}) != without(old, {"metadata", "status"});
  if (spec_changed) {
    int64_t generation = old["metadata"].value("generation", int64_t{0});
    tree["metadata"]["generation"] = generation + 1;
  }
  bool deleting = tree["metadata"].contains("deletionTimestamp");
  bool graceful = resource == "pods" && tree["metadata"].value("deletionGracePeriodSeconds", int64_t{0}) > 0;
  bool ns_holds = resource == "namespaces" && tree.contains("spec") && tree["spec"].contains("finalizers") &&
                  !tree["spec"]["finalizers"].empty();
  if (deleting && !graceful && !ns_holds && !has_finalizers(tree)) return drop(resource, key);
  return put(resource, key, std::move(tree));
}

model::Object FakeCluster::add(std::string_view text_json) {
  json tree = json::parse(text_json);
  const model::Kind* kind =
      model::Schema::get().by_api_version(tree.at("apiVersion").get<std::string>(), tree.at("kind").get<std::string>());
  CHECK(kind != nullptr) << text_json;
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = kind->resource;
  command.ns = tree["metadata"].contains("namespace") ? tree["metadata"]["namespace"].get<std::string>() : "";
  command.json = std::string(text_json);
  auto outcome = execute(command);
  CHECK(outcome.ok()) << outcome.error().message;
  return model::Object(*kind, outcome->object, outcome->revision);
}

void FakeCluster::edit(std::string_view resource, std::string_view key, std::string_view patch) {
  auto it = table(resource).rows.find(std::string(key));
  CHECK(it != table(resource).rows.end()) << key;
  json old = it->second.tree;
  json changed = old;
  changed.merge_patch(json::parse(patch));
  store(resource, std::string(key), std::move(changed), old);
}

void FakeCluster::erase(std::string_view resource, std::string_view key) { drop(resource, std::string(key)); }

const json* FakeCluster::get(std::string_view resource, std::string_view key) const {
  auto t = tables_.find(resource);
  if (t == tables_.end()) return nullptr;
  auto it = t->second.rows.find(std::string(key));
  return it == t->second.rows.end() ? nullptr : &it->second.tree;
}

std::vector<std::string> FakeCluster::keys(std::string_view resource) const {
  std::vector<std::string> keys;
  auto t = tables_.find(resource);
  if (t == tables_.end()) return keys;
  for (const auto& [key, row] : t->second.rows) keys.push_back(key);
  return keys;
}

std::vector<json> FakeCluster::all(std::string_view resource) const {
  std::vector<json> trees;
  for (const std::string& key : keys(resource)) trees.push_back(*get(resource, key));
  return trees;
}

uint64_t FakeCluster::head(std::string_view resource) const {
  auto t = tables_.find(resource);
  return t == tables_.end() ? 0 : t->second.head;
}

void FakeCluster::send(bus::Command command, Duration, bus::CommandDone done) {
  auto act = [this, command = std::move(command), done = std::move(done), alive = alive_]() mutable {
    if (!*alive) return;
    auto result = run(command);
    if (lose_answer && lose_answer(command)) result = Error{.code = Code::kUnknownOutcome, .message = "no answer"};
    done(std::move(result));
  };
  if (latency == Duration::zero()) {
    loop_.post(std::move(act));
  } else {
    uint64_t id = ++names_;
    timers_[id] = loop_.after(latency, [this, id, act = std::move(act)]() mutable {
      timers_.erase(id);
      act();
    });
  }
}

Result<bus::CommandOutcome> FakeCluster::run(const bus::Command& command) {
  if (before) {
    if (auto error = before(command)) return *error;
  }
  if (instead) {
    if (auto answer = instead(command)) return *answer;
  }
  if (!command.id.empty()) {
    auto it = done_.find(command.id);
    if (it != done_.end()) {
      auto again = it->second;
      if (again.ok()) again->duplicate = true;
      return again;
    }
  }
  auto fence = fenced.find(command.lease);
  if (!command.lease.empty() && fence != fenced.end() && command.lease_epoch < fence->second) {
    return Error{.code = Code::kForbidden, .message = "the lease was taken", .causes = {{"", "", "lease"}}};
  }
  auto result = execute(command);
  if (command.verb != bus::Verb::Replay) log.push_back(command);
  if (!command.id.empty()) done_.emplace(command.id, result);
  return result;
}

Result<bus::CommandOutcome> FakeCluster::remove(const bus::Command& command, const std::string& key) {
  Table& t = table(command.resource);
  json old = t.rows.at(key).tree, tree = old;
  json& meta = tree["metadata"];
  auto add_finalizer = [&](const char* name) {
    if (!meta.contains("finalizers")) meta["finalizers"] = json::array();
    if (std::find(meta["finalizers"].begin(), meta["finalizers"].end(), name) == meta["finalizers"].end())
      meta["finalizers"].push_back(name);
  };
  if (command.propagation == "Foreground") add_finalizer("foregroundDeletion");
  if (command.propagation == "Orphan") add_finalizer("orphan");
  std::string now = model::format_time(loop_.wall() / 1'000'000);
  int64_t grace = 0;
  bool running = command.resource == "pods" && tree.contains("spec") && tree["spec"].contains("nodeName");
  if (running) grace = command.grace_period_seconds.value_or(30);
  if (!meta.contains("deletionTimestamp")) meta["deletionTimestamp"] = now;
  if (command.resource == "pods")
    meta["deletionGracePeriodSeconds"] = std::min(grace, meta.value("deletionGracePeriodSeconds", grace));
  if (command.resource == "namespaces") tree["status"]["phase"] = "Terminating";
  bus::CommandOutcome outcome;
  outcome.revision = store(command.resource, key, tree, old);
  return outcome;
}

Result<bus::CommandOutcome> FakeCluster::execute(const bus::Command& command) {
  using bus::Verb;
  Table& t = table(command.resource);
  bus::CommandOutcome outcome;
  if (command.verb == Verb::Replay) {
    outcome.head = t.head;
    return outcome;
  }
  if (command.verb == Verb::List || command.verb == Verb::Snapshot || command.verb == Verb::DeleteCollection) {
    std::vector<std::string> matching;
    for (const auto& [key, row] : t.rows) {
      if (command.ns.empty() || text(row.tree, "namespace") == command.ns) matching.push_back(key);
    }
    for (const std::string& key : matching) {
      if (command.verb != Verb::DeleteCollection) {
        if (command.limit != 0 && outcome.items.size() >= command.limit) break;
        const Row& row = t.rows.at(key);
        outcome.items.push_back({row.revision, to_object(command.resource, row.tree, row.revision).bytes()});
      } else {
        auto removed = remove(command, key);
        if (removed.ok()) outcome.revision = std::max(outcome.revision, removed->revision);
      }
    }
    if (command.verb != Verb::DeleteCollection) outcome.revision = outcome.head = t.head;
    return outcome;
  }
  const model::Kind& kind = kind_of(command.resource);
  json body;
  if (command.verb == Verb::Create || command.verb == Verb::Update) {
    body = command.object.empty() ? json::parse(command.json) : model::to_tree(model::Object(kind, command.object));
  }
  if (command.verb == Verb::Create) {
    json& meta = body["metadata"];
    if (!meta.contains("name")) meta["name"] = fmt::format("{}{:05}", meta.value("generateName", ""), ++names_);
    if (kind.namespaced && !meta.contains("namespace")) meta["namespace"] = command.ns;
    std::string key = key_of(kind.namespaced ? text(body, "namespace") : "", text(body, "name"));
    if (t.rows.contains(key)) return Error{.code = Code::kAlreadyExists, .message = key + " already exists"};
    if (!meta.contains("uid")) meta["uid"] = fmt::format("uid-{}", ++uids_);
    meta["generation"] = 1;
    if (!meta.contains("creationTimestamp")) meta["creationTimestamp"] = model::format_time(loop_.wall() / 1'000'000);
    outcome.uid = text(body, "uid");
    model::Object object = to_object(command.resource, body, 0);
    json tree = model::to_tree(object);
    outcome.revision = put(command.resource, key, tree);
    outcome.object = object.bytes();
    return outcome;
  }
  std::string key = key_of(kind.namespaced ? command.ns : "", command.name);
  auto it = t.rows.find(key);
  if (it == t.rows.end())
    return Error{.code = Code::kNotFound, .message = command.resource + " \"" + command.name + "\" not found"};
  const json old = it->second.tree;
  if ((!command.uid.empty() && command.uid != text(old, "uid")) ||
      (command.revision != 0 && command.verb != Verb::Get && command.revision != it->second.revision)) {
    return Error{.code = Code::kConflict, .message = key + " has changed", .current_revision = it->second.revision};
  }
  if (!command.absent_owner_uid.empty()) {
    for (const auto& [resource, other] : tables_) {
      for (const auto& [k, row] : other.rows) {
        if (text(row.tree, "uid") == command.absent_owner_uid) {
          return Error{.code = Code::kForbidden, .message = "the owner exists", .causes = {{"", "", "owner"}}};
        }
      }
    }
  }
  switch (command.verb) {
    case Verb::Get:
      outcome.revision = it->second.revision;
      outcome.object = to_object(command.resource, old, 0).bytes();
      return outcome;
    case Verb::Delete:
      return remove(command, key);
    case Verb::Bind: {
      if (old.contains("spec") && old["spec"].contains("nodeName"))
        return Error{.code = Code::kConflict, .message = key + " is bound", .current_revision = it->second.revision};
      json tree = old;
      tree["spec"]["nodeName"] = command.node;
      outcome.revision = store(command.resource, key, tree, old);
      return outcome;
    }
    case Verb::Patch: {
      json patch = json::parse(command.json);
      if (command.patch_type == bus::PatchType::Strategic) merge_conditions(patch, old);
      body = old;
      body.merge_patch(patch);
      break;
    }
    case Verb::Update:
      break;
    default:
      return Error{.code = Code::kMethodNotAllowed, .message = "not in this fake"};
  }
  json tree = old;
  if (command.subresource == "status" || command.subresource == "approval") {
    tree.erase("status");
    if (body.contains("status")) tree["status"] = body["status"];
  } else {
    tree = body;
    tree.erase("status");
    if (old.contains("status")) tree["status"] = old["status"];
    for (const char* fixed : {"uid", "creationTimestamp", "generation", "deletionTimestamp"}) {
      if (old["metadata"].contains(fixed)) tree["metadata"][fixed] = old["metadata"][fixed];
    }
  }
  outcome.revision = store(command.resource, key, tree, old);
  outcome.uid = text(old, "uid");
  return outcome;
}

}  // namespace gantry::projection::testing
