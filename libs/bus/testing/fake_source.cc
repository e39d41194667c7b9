#include "libs/bus/testing/fake_source.h"

#include "libs/bus/feed_rules.h"

namespace gantry::testing {

using bus::Chain;
using bus::EventType;

namespace {

std::string node_or_none(const std::string& node) { return node.empty() ? "_" : node; }
Chain all(const std::string& resource) { return {resource, "", ""}; }

}  // namespace

FakeSource::FakeSource(Loop& loop, bus::Bus& bus, bus::CommandHandler other)
    : loop_(loop), bus_(bus), other_(std::move(other)) {
  server_ =
      make_command_server(loop, bus, [this](const std::string& identity, const bus::Command& c, bus::Respond respond) {
        if (c.verb == bus::Verb::Snapshot || c.verb == bus::Verb::Replay) return handle(c, respond);
        if (other_) return other_(identity, c, std::move(respond));
        respond(Error{Code::kBadRequest, "not served here"});
      });
  heads_ = loop_.every(std::chrono::seconds(1), [this] { publish_heads(); });
}

bool FakeSource::in(const Chain& chain, const Entry& entry) {
  if (!chain.node.empty()) return node_or_none(entry.node) == chain.node;
  return entry.main && (chain.ns.empty() || entry.ns == chain.ns);
}

uint64_t FakeSource::head(const Chain& chain) const {
  auto it = logs_.find(chain.resource);
  if (it == logs_.end()) return 0;
  const auto& log = it->second;
  for (auto entry = log.entries.rbegin(); entry != log.entries.rend(); ++entry) {
    if (in(chain, *entry)) return entry->revision;
  }
  auto base = log.base_heads.find(chain.head_subject());
  return base == log.base_heads.end() ? 0 : base->second;
}

std::map<std::string, FakeSource::Object> FakeSource::state(const Log& log) const {
  auto objects = log.base;
  for (const auto& entry : log.entries) {
    if (!entry.main) continue;
    auto key = entry.ns + "/" + entry.name;
    if (entry.after) {
      objects[key] = *entry.after;
    } else {
      objects.erase(key);
    }
  }
  return objects;
}

std::map<std::string, FakeSource::Object> FakeSource::view(const Chain& chain) const {
  auto it = logs_.find(chain.resource);
  if (it == logs_.end()) return {};
  auto objects = state(it->second);
  std::erase_if(objects, [&](const auto& entry) {
    if (!chain.node.empty()) return node_or_none(entry.second.node) != chain.node;
    return !chain.ns.empty() && entry.first.substr(0, entry.first.find('/')) != chain.ns;
  });
  return objects;
}

bool FakeSource::between(const Chain& chain, uint64_t from, uint64_t to) const {
  auto it = logs_.find(chain.resource);
  if (it == logs_.end()) return false;
  return std::any_of(it->second.entries.begin(), it->second.entries.end(),
                     [&](const auto& e) { return e.revision > from && e.revision < to && in(chain, e); });
}

uint64_t FakeSource::put(const std::string& resource, const std::string& ns, const std::string& name,
                         const std::string& node, std::string object) {
  return commit(resource, ns, name, node, EventType::Put, Object{0, std::move(object), node});
}

uint64_t FakeSource::remove(const std::string& resource, const std::string& ns, const std::string& name) {
  auto objects = state(logs_[resource]);
  auto it = objects.find(ns + "/" + name);
  if (it == objects.end()) return 0;
  return commit(resource, ns, name, it->second.node, EventType::Delete, std::nullopt);
}

uint64_t FakeSource::dependency(const std::string& resource, const std::string& ns, const std::string& name,
                                const std::string& node) {
  auto& log = logs_[resource];
  uint64_t revision = (log.epoch << 40) + log.next++;
  append(log, resource, {revision, node, ns, name, EventType::Dependency, "", false, std::nullopt}, "", false);
  return revision;
}

uint64_t FakeSource::commit(const std::string& resource, const std::string& ns, const std::string& name,
                            const std::string& node, EventType type, std::optional<Object> after) {
  auto& log = logs_[resource];
  auto objects = state(log);
  auto before = objects.find(ns + "/" + name);
  uint64_t revision = (log.epoch << 40) + log.next++;
  if (after) after->revision = revision;
  std::string object = after ? after->object : before->second.object;
  if (before != objects.end() && before->second.node != node) {
    append(log, resource, {revision, before->second.node, ns, name, EventType::Left, "", false, std::nullopt}, object,
           false);
  }
  append(log, resource, {revision, node, ns, name, type, "", true, after}, object, before == objects.end());
  return revision;
}

void FakeSource::append(Log& log, const std::string& resource, Entry entry, std::string_view object, bool created) {
  flatbuffers::FlatBufferBuilder b;
  auto resource_text = b.CreateString(resource), ns = b.CreateString(entry.ns), name = b.CreateString(entry.name),
       node = b.CreateString(entry.node);
  flatbuffers::Offset<flatbuffers::Vector<uint8_t>> bytes;
  if (!object.empty()) bytes = b.CreateVector(reinterpret_cast<const uint8_t*>(object.data()), object.size());
  bus::EventBuilder e(b);
  e.add_resource(resource_text);
  e.add_type(entry.type);
  e.add_revision(entry.revision);
  e.add_namespace_(ns);
  e.add_name(name);
  e.add_node(node);
  if (entry.main) {
    e.add_previous(head(all(resource)));
    e.add_previous_in_namespace(head({resource, "", entry.ns}));
  }
  e.add_previous_in_node(head({resource, node_or_none(entry.node), ""}));
  e.add_created(created);
  e.add_object(bytes);
  e.add_time(loop_.wall());
  b.Finish(e.Finish());
  entry.event = {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
  if (!muted_) (void)bus_.publish(bus::event_subject(resource, entry.node, entry.ns, entry.name), entry.event);
  log.entries.push_back(std::move(entry));
}

void FakeSource::trim(const std::string& resource) {
  auto& log = logs_[resource];
  if (log.entries.empty()) return;
  auto objects = state(log);
  for (const auto& entry : log.entries) {
    log.base_heads[Chain{resource, node_or_none(entry.node), ""}.head_subject()] = entry.revision;
    if (!entry.main) continue;
    log.base_heads[all(resource).head_subject()] = entry.revision;
    if (!entry.ns.empty()) log.base_heads[Chain{resource, "", entry.ns}.head_subject()] = entry.revision;
  }
  log.trimmed = log.entries.back().revision;
  log.base = std::move(objects);
  log.entries.clear();
}

void FakeSource::fail_over(const std::string& resource, size_t lost) {
  auto& log = logs_[resource];
  while (lost > 0 && !log.entries.empty()) {
    uint64_t revision = log.entries.back().revision;
    while (!log.entries.empty() && log.entries.back().revision == revision) log.entries.pop_back();
    --lost;
  }
  ++log.epoch;
}

void FakeSource::publish_heads() {
  for (const auto& [resource, log] : logs_) {
    std::map<std::string, Chain> chains;
    auto note = [&](const Chain& chain) { chains.emplace(chain.head_subject(), chain); };
    note(all(resource));
    for (const auto& entry : log.entries) {
      note({resource, node_or_none(entry.node), ""});
      if (!entry.ns.empty()) note({resource, "", entry.ns});
    }
    for (const auto& [subject, revision] : log.base_heads) {
      flatbuffers::FlatBufferBuilder b;
      if (!chains.contains(subject)) {
        b.Finish(bus::CreateHead(b, b.CreateString(resource), 0, revision));
        (void)bus_.publish(subject, {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()});
      }
    }
    for (const auto& [subject, chain] : chains) {
      flatbuffers::FlatBufferBuilder b;
      b.Finish(bus::CreateHead(b, b.CreateString(resource), 0, head(chain)));
      (void)bus_.publish(subject, {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()});
    }
  }
}

void FakeSource::handle(const bus::Command& command, const bus::Respond& respond) {
  Chain chain{command.resource, command.node, command.ns};
  bus::CommandOutcome outcome;
  size_t limit = std::min(command.limit == 0 ? page_ : command.limit, page_);
  if (command.verb == bus::Verb::Snapshot) {
    std::string id = command.continue_token.substr(0, command.continue_token.find('/'));
    size_t position = 0;
    if (id.empty()) {
      id = std::to_string(next_snapshot_++);
      auto& pages = snapshots_[id];
      pages.head = head(chain);
      for (auto& [key, object] : view(chain)) pages.items.push_back({object.revision, object.object});
      while (snapshots_.size() > 50) snapshots_.erase(snapshots_.begin());
    } else {
      position = std::stoul(command.continue_token.substr(id.size() + 1));
    }
    auto it = snapshots_.find(id);
    if (it == snapshots_.end()) return respond(Error{Code::kExpired, "the continue token is too old"});
    outcome.head = it->second.head;
    size_t end = std::min(position + limit, it->second.items.size());
    outcome.items.assign(it->second.items.begin() + static_cast<ptrdiff_t>(position),
                         it->second.items.begin() + static_cast<ptrdiff_t>(end));
    if (end < it->second.items.size()) outcome.continue_token = fmt::format("{}/{}", id, end);
    return respond(std::move(outcome));
  }
  const auto& log = logs_[command.resource];
  if (command.revision < log.trimmed) return respond(Error{Code::kExpired, "the log was trimmed"});
  outcome.head = head(chain);
  for (const auto& entry : log.entries) {
    if (entry.revision <= command.revision || !in(chain, entry)) continue;
    if (outcome.events.size() >= limit) break;
    outcome.events.push_back(entry.event);
  }
  respond(std::move(outcome));
}

}  // namespace gantry::testing
