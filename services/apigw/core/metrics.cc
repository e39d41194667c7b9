#include "services/apigw/core/metrics.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/core/reads.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::Object;
using nlohmann::json;
using usage::Measured;
using usage::Usage;
using usage::UsageBoard;

json resources(const Usage& used) {
  return {{"cpu", fmt::format("{}n", used.cpu_nanocores)},
          {"memory", fmt::format("{}Ki", used.memory_working_set / 1024)}};
}

// Go's way to write a duration in whole milliseconds: 15s, 9.993s.
std::string duration(Duration window) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(window).count();
  auto text = fmt::format("{}.{:03}", millis / 1000, millis % 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text + "s";
}

Result<Object> make(const model::Kind& kind, const Object& of, const Measured& measured, json tree) {
  const json meta = model::to_tree(of).value("metadata", json::object());
  json& into = tree["metadata"];
  for (const char* field : {"name", "namespace", "labels", "creationTimestamp"}) {
    if (meta.contains(field)) into[field] = meta[field];
  }
  tree["timestamp"] = model::format_time(measured.time / 1'000'000);
  tree["window"] = duration(measured.window);
  auto bytes = model::from_tree(kind, tree);
  if (!bytes.ok()) return std::move(bytes.error());
  return Object(kind, std::move(*bytes));
}

// Empty object: not measured.
Result<Object> measure(const model::Kind& kind, const Object& of, const UsageBoard& board) {
  if (!kind.namespaced) {
    const auto node = board.node(of.name());
    return node ? make(kind, of, *node, {{"usage", resources(node->usage)}}) : Object();
  }
  const auto pod = board.pod(of.uid());
  if (!pod || pod->node != model::str(of.as<api::core_v1::Pod>()->spec()->node_name())) return Object();
  json containers = json::array();
  for (const auto& [name, used] : pod->containers) containers.push_back({{"name", name}, {"usage", resources(used)}});
  return make(kind, of, *pod, {{"containers", std::move(containers)}});
}

}  // namespace

Result<Answer> read_metrics(const model::Kind& kind, const bus::Command& command, const UsageBoard* board,
                            const World& world) {
  const Mirror& mirror = *world.find(kind.resource);
  Answer answer;
  answer.kind = &kind;
  if (command.verb == bus::Verb::Get) {
    const Object* of = board == nullptr ? nullptr : mirror.find(command.ns, command.name);
    if (of == nullptr) return not_found(kind, command.name);
    auto made = measure(kind, *of, *board);
    if (!made.ok()) return std::move(made.error());
    if (!*made) return not_found(kind, command.name);
    answer.object = std::move(*made);
    return answer;
  }
  answer.outcome = Answer::Outcome::kList;
  auto filter = Filter::make(kind, command.ns, command.name, command.label_selector, command.field_selector);
  if (!filter.ok()) return std::move(filter.error());
  if (board == nullptr) return answer;
  Error failed;
  mirror.cache().for_each_after(command.ns, "", [&](const std::string&, const Object& of) {
    auto made = measure(kind, of, *board);
    if (!made.ok()) failed = made.error();
    if (made.ok() && filter->matches(*made)) answer.items.push_back(std::move(*made));
    return failed.message.empty();
  });
  if (!failed.message.empty()) return failed;
  return answer;
}

}  // namespace gantry::apigw
