#include "tests/integration/subscriber.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "libs/bus/feed_rules.h"
#include "libs/model/object.h"

namespace gantry::testing {

using bus::EventType;
using model::str;

namespace {

std::string key_of(const bus::Event& event) { return fmt::format("{}/{}", str(event.namespace_()), str(event.name())); }

bool is_commit(const bus::Event& event) { return event.type() == EventType::Put || event.type() == EventType::Delete; }

}  // namespace

void Meanings::hear(const bus::Event& event) {
  if (!is_commit(event)) return;
  const auto* object = event.object();
  const std::string_view bytes = object == nullptr
                                     ? std::string_view()
                                     : std::string_view(reinterpret_cast<const char*>(object->data()), object->size());
  std::string meaning =
      fmt::format("{} {} uid={} command={} bytes={} hash={:x}", bus::EnumNameEventType(event.type()), key_of(event),
                  str(event.uid()), str(event.command_id()), bytes.size(), std::hash<std::string_view>()(bytes));
  const auto [it, fresh] = meanings_.try_emplace({std::string(str(event.resource())), event.revision()}, meaning);
  if (!fresh && it->second != meaning)
    contradictions_.push_back(fmt::format("{} {}: {} / {}", it->first.first, it->first.second, it->second, meaning));
}

void apply(const Change& change, View& view) {
  if (change.type == EventType::Put) {
    view[change.key] = change.revision;
  } else if (change.type != EventType::Dependency) {
    view.erase(change.key);
  }
}

Subscriber::Subscriber(Loop& loop, bus::Bus& bus, bus::Commands& commands, bus::Chain chain, Meanings& meanings)
    : chain_(chain) {
  bus::FeedCallbacks callbacks;
  callbacks.reset = [this](uint64_t head, const std::vector<bus::CommandOutcome::Item>& items) {
    const auto* kind = model::Schema::get().by_resource(chain_.resource);
    view_.clear();
    for (const auto& item : items) {
      const model::Object object(*kind, item.object);
      view_[fmt::format("{}/{}", object.ns(), object.name())] = item.revision;
    }
    laps_.push_back({head, view_, {}});
  };
  callbacks.event = [this, &meanings](const bus::Event& event) {
    laps_.back().events.push_back(event.revision());
    meanings.hear(event);
    apply({event.revision(), event.type(), key_of(event)}, view_);
  };
  feed_ = bus::make_feed(loop, bus, commands, std::move(chain), std::move(callbacks));
}

void ChangeLog::add(const state::LogEntry& entry) {
  const auto add_event = [&](const std::string& bytes, std::string_view node, bool main) {
    const auto* event = bus::verified_event(bytes);
    ASSERT_NE(event, nullptr);
    entries_.push_back({{entry.revision, event->type(), key_of(*event)},
                        std::string(str(event->namespace_())),
                        std::string(node),
                        main});
  };
  const auto* event = flatbuffers::GetRoot<bus::Event>(entry.event.data());
  add_event(entry.event, str(event->node()), true);
  nodes_[key_of(*event)] = str(event->node());
  for (const auto& [node, bytes] : entry.node_events) add_event(bytes, node, false);
  ++commits_;
}

std::vector<Change> ChangeLog::of(const bus::Chain& chain) const {
  std::vector<Change> out;
  for (const auto& entry : entries_) {
    const bool on_it = !chain.node.empty() ? entry.node == (chain.node == "_" ? "" : chain.node)
                                           : entry.main && (chain.ns.empty() || entry.ns == chain.ns);
    if (on_it) out.push_back(entry.change);
  }
  return out;
}

std::string ChangeLog::node_of(const std::string& key) const {
  const auto found = nodes_.find(key);
  return found == nodes_.end() ? std::string() : found->second;
}

}  // namespace gantry::testing
