#include "services/apigw/core/chains.h"

#include <algorithm>

#include "libs/base/ids.h"
#include "schemas/bus_generated.h"
#include "services/apigw/core/changes.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;

constexpr size_t kMaxAnswerBytes = 3 << 20;  // well below the bus's max_payload of 8 MB
constexpr std::string_view kNone = "_";      // the partition of what is on no node

bool follows_references(const model::Kind& kind) {
  return kind.resource == "configmaps" || kind.resource == "secrets" || kind.resource == "serviceaccounts";
}

std::string_view partition_named(std::string_view node) { return node == kNone ? std::string_view() : node; }

uint64_t head_of(const Mirror& mirror, const bus::Command& command) {
  if (!command.node.empty()) return mirror.chain_head("node." + encode_token(partition_named(command.node)));
  return mirror.chain_head(command.ns.empty() ? "all" : "namespace." + encode_token(command.ns));
}

// What one answer may hold.
class Page {
 public:
  explicit Page(uint32_t limit) : limit_(limit) {}
  bool full() const { return (limit_ != 0 && count_ >= limit_) || bytes_ > kMaxAnswerBytes; }
  void add(size_t bytes) {
    ++count_;
    bytes_ += bytes + 64;
  }

 private:
  uint32_t limit_, count_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

Result<Answer> snapshot(const World& world, const Mirror& mirror, const bus::Command& command) {
  Position position;
  if (!command.continue_token.empty()) {
    auto decoded = Position::decode(command.continue_token);
    if (!decoded.ok()) return std::move(decoded.error());
    position = std::move(*decoded);
  }
  const auto view = View::at(mirror, position.revision);
  if (!view) return expired(position.revision, mirror.oldest());
  std::vector<std::string> wanted;
  const bool referenced = !command.node.empty() && command.node != kNone && follows_references(mirror.kind());
  if (referenced) wanted = world.references(command.node, mirror.kind().resource);
  const auto on_chain = [&](const Object& object) {
    if (command.node.empty()) return true;
    if (referenced) return std::binary_search(wanted.begin(), wanted.end(), key_of(object));
    return partition(object) == partition_named(command.node);
  };
  Answer answer;
  answer.outcome = Answer::Outcome::kChain;
  answer.kind = &mirror.kind();
  answer.revision = view->revision() == Mirror::kNever ? 0 : view->revision();
  answer.head = head_of(mirror, command);
  Page page(command.limit);
  const bool metadata_only = mirror.kind().resource == "secrets";
  const auto take = [&](const Object& object) {
    if (!answer.continue_token.empty() || !on_chain(object)) return answer.continue_token.empty();
    if (page.full()) {
      answer.continue_token = Position{view->revision(), key_of(answer.items.back())}.encode();
      return false;
    }
    answer.items.push_back(metadata_only ? Object(mirror.kind(), announced(object), object.revision()) : object);
    page.add(answer.items.back().bytes().size());
    return true;
  };
  if (position.revision == 0 && mirror.kind().resource == "pods" && !command.node.empty() && command.node != kNone) {
    // Thousands of nodes ask for a few pods each.
    std::map<std::string, Object> sorted;
    mirror.cache().for_each_by("node", command.node, [&](const Object& pod) { sorted.emplace(key_of(pod), pod); });
    for (const auto& [key, pod] : sorted) take(pod);
  } else {
    view->for_each(command.ns, position.key, take);
  }
  return answer;
}

Result<uint64_t> replay_from(const bus::Command& command) {
  if (command.continue_token.empty()) return command.revision;
  auto position = Position::decode(command.continue_token);
  if (!position.ok()) return std::move(position.error());
  return position->revision;
}

Answer replay(const Mirror& mirror, const bus::Command& command, const std::vector<state::LogEntry>& entries) {
  Answer answer;
  answer.outcome = Answer::Outcome::kChain;
  answer.kind = &mirror.kind();
  answer.revision = mirror.written();
  answer.head = head_of(mirror, command);
  Page page(command.limit);
  uint64_t seen = 0;
  const auto add = [&](const std::string& event) {
    answer.events.push_back(event);
    page.add(event.size());
  };
  for (const auto& entry : entries) {
    if (page.full()) {
      answer.continue_token = Position{seen, {}}.encode();
      return answer;
    }
    seen = entry.revision;
    const auto* event = flatbuffers::GetRoot<bus::Event>(entry.event.data());
    if (command.node.empty()) {
      if (command.ns.empty() || str(event->namespace_()) == command.ns) add(entry.event);
      continue;
    }
    if (str(event->node()) == partition_named(command.node)) add(entry.event);
    for (const auto& [node, bytes] : entry.node_events) {
      if (node == partition_named(command.node)) add(bytes);
    }
  }
  if (entries.size() >= kReplayEntries) answer.continue_token = Position{seen, {}}.encode();
  return answer;
}

}  // namespace gantry::apigw
