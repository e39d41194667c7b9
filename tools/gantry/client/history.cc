#include "tools/gantry/client/history.h"

#include <fmt/format.h>

#include <algorithm>

#include "libs/model/json.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/table.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

using model::str;
using nlohmann::json;

constexpr size_t kShown = 60;  // characters of a value

std::string shown(const json& value) {
  if (value.is_null()) return "(none)";
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() > kShown) text = text.substr(0, kShown - 3) + "...";
  return text.empty() ? "\"\"" : text;
}

/// What changes with every commit, or says the same again.
bool is_noise(const std::string& path) {
  static const std::vector<std::string> paths = {
      "metadata.managedFields", "metadata.resourceVersion", "metadata.generation",
      "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration"};
  return std::find(paths.begin(), paths.end(), path) != paths.end() || path.ends_with(".observedGeneration") ||
         path.ends_with(".lastTransitionTime") || path.ends_with(".lastUpdateTime") ||
         path.ends_with(".lastProbeTime") || path.ends_with(".lastHeartbeatTime");
}

/// What an item of a list is known by: a condition's type, a container's name.
std::string item_key(const json& item) {
  if (!item.is_object()) return "";
  for (const char* field : {"type", "name", "uid", "ip", "key"}) {
    const auto found = item.find(field);
    if (found != item.end() && found->is_string()) return found->get<std::string>();
  }
  return "";
}

bool keyed(const json& list) {
  return std::all_of(list.begin(), list.end(), [](const json& item) { return !item_key(item).empty(); });
}

const json& member(const json& of, const std::string& key) {
  static const json none;
  if (of.is_object()) {
    const auto found = of.find(key);
    return found == of.end() ? none : *found;
  }
  if (of.is_array()) {
    for (const auto& item : of) {
      if (item_key(item) == key) return item;
    }
  }
  return none;
}

std::vector<std::string> members(const json& a, const json& b) {
  std::vector<std::string> out;
  for (const auto* of : {&a, &b}) {
    if (of->is_object()) {
      for (const auto& [key, value] : of->items()) out.push_back(key);
    } else if (of->is_array()) {
      for (const auto& item : *of) out.push_back(item_key(item));
    }
  }
  std::vector<std::string> once;
  for (auto& key : out) {
    if (std::find(once.begin(), once.end(), key) == once.end()) once.push_back(std::move(key));
  }
  return once;
}

void differences(const json& before, const json& after, const std::string& path, std::vector<std::string>& out) {
  if (before == after || is_noise(path)) return;
  const bool object = (before.is_object() || before.is_null()) && (after.is_object() || after.is_null());
  const bool list = (before.is_array() || before.is_null()) && (after.is_array() || after.is_null()) &&
                    keyed(before.is_null() ? json::array() : before) && keyed(after.is_null() ? json::array() : after);
  if (object || list) {
    for (const auto& key : members(before, after)) {
      differences(member(before, key), member(after, key),
                  list           ? fmt::format("{}[{}]", path, key)
                  : path.empty() ? key
                                 : path + "." + key,
                  out);
    }
    return;
  }
  out.push_back(fmt::format("{}: {} -> {}", path, shown(before), shown(after)));
}

}  // namespace

bool read_step(const bus::Event& event, Step& step) {
  if (event.type() != bus::EventType::Put && event.type() != bus::EventType::Delete) return false;
  step.kind = model::Schema::get().by_resource(str(event.resource()));
  if (step.kind == nullptr) return false;
  step.ns = str(event.namespace_()), step.name = str(event.name()), step.uid = str(event.uid());
  step.node = str(event.node());
  step.revision = event.revision();
  step.time = event.time();
  step.created = event.created();
  step.deleted = event.type() == bus::EventType::Delete;
  step.command_id = str(event.command_id());
  if (event.cause() != nullptr) {
    step.identity = str(event.cause()->identity()), step.verb = str(event.cause()->verb());
    step.because = str(event.cause()->because());
  }
  if (event.object() == nullptr) return true;
  std::string bytes(reinterpret_cast<const char*>(event.object()->data()), event.object()->size());
  if (model::verify(*step.kind->type, bytes)) step.object = model::Object(*step.kind, std::move(bytes), step.revision);
  return true;
}

Result<History> read_history(Gateway& gateway, const model::Kind& kind, const std::string& ns,
                             const std::string& name) {
  History history;
  bus::Command command;
  command.verb = name.empty() ? bus::Verb::List : bus::Verb::Get;
  command.resource = kind.resource;
  command.subresource = "history";
  if (kind.namespaced) command.ns = ns;
  command.name = name;
  do {
    command.id.clear();
    auto page = gateway.send(command);
    if (!page) return page.error();
    for (const auto& bytes : page->events) {
      flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      Step step;
      if (verifier.VerifyBuffer<bus::Event>(nullptr) &&
          read_step(*flatbuffers::GetRoot<bus::Event>(bytes.data()), step))
        history.steps.push_back(std::move(step));
    }
    const auto reach = json::parse(page->json, nullptr, false);
    if (reach.is_object()) history.since = std::max(history.since, reach.value("since", WallMicros{0}));
    command.continue_token = page->continue_token;
  } while (!command.continue_token.empty());
  auto& steps = history.steps;
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.revision < b.revision; });
  steps.erase(
      std::unique(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.revision == b.revision; }),
      steps.end());
  return history;
}

std::string who(const Step& step) {
  // A controller's commands are numbered under its lease: controllers-deployment/<epoch>/...
  constexpr std::string_view kLease = "controllers-";
  if (!std::string_view(step.command_id).starts_with(kLease)) return step.identity.empty() ? "?" : step.identity;
  const size_t slash = step.command_id.find('/');
  return fmt::format("{} ({})", step.identity, step.command_id.substr(kLease.size(), slash - kLease.size()));
}

std::vector<std::string> what_changed(const json& before, const json& after) {
  std::vector<std::string> out;
  differences(before, after, "", out);
  // What was asked for first, words last.
  const auto rank = [](const std::string& change) {
    const std::string path = change.substr(0, change.find(": "));
    if (path.starts_with("spec.")) return 0;
    return path.starts_with("metadata.annotations.") || path.ends_with("].reason") || path.ends_with("].message") ? 2
                                                                                                                  : 1;
  };
  std::stable_sort(out.begin(), out.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return out;
}

std::string in_words(const Step* before, const Step& step, size_t most) {
  if (step.deleted) return "deleted";
  if (step.created) return "created";
  if (before == nullptr || !before->object || !step.object) return step.verb.empty() ? "changed" : step.verb;
  const auto changes = what_changed(model::to_tree(before->object), model::to_tree(step.object));
  if (changes.empty()) return step.verb + " (nothing that is shown)";
  std::string out;
  for (size_t i = 0; i < std::min(most, changes.size()); ++i) out += (i == 0 ? "" : "; ") + changes[i];
  if (changes.size() > most) out += fmt::format("; and {} more", changes.size() - most);
  return out;
}

Result<WallMicros> parse_moment(const std::string& text, WallMicros now) {
  const Error usage{.code = Code::kBadRequest,
                    .message = fmt::format("\"{}\" is no time: give RFC 3339 (2026-01-02T03:04:05Z) or how long ago "
                                           "(90s, 15m, 1h30m, 2d)",
                                           text)};
  WallMicros moment = 0;
  if (text.find('T') != std::string::npos) {
    auto parsed = model::parse_time(text);
    if (!parsed) return usage;
    moment = *parsed;
  } else {
    int64_t ago = 0;
    size_t at = 0;
    while (at < text.size()) {
      size_t end = at;
      while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
      if (end == at || end - at > 9 || end == text.size()) return usage;
      const std::string unit = text.substr(end, text.compare(end, 2, "ms") == 0 ? 2 : 1);
      const int64_t micros = unit == "ms"  ? 1000
                             : unit == "s" ? 1'000'000
                             : unit == "m" ? 60'000'000
                             : unit == "h" ? 3'600'000'000
                             : unit == "d" ? 86'400'000'000
                                           : 0;
      if (micros == 0) return usage;
      ago += std::stoll(text.substr(at, end - at)) * micros;
      at = end + unit.size();
    }
    if (text.empty()) return usage;
    moment = now - ago;
  }
  if (moment > now) return Error{Code::kBadRequest, fmt::format("{} is not past yet", text)};
  return moment;
}

std::string clock(WallMicros time) {
  std::string text = model::format_micro_time(time).substr(0, 23);
  text[10] = ' ';
  return text;
}

namespace {

json as_json(const Step* before, const Step& step) {
  json changes = json::array();
  if (before != nullptr && before->object && step.object)
    changes = what_changed(model::to_tree(before->object), model::to_tree(step.object));
  return {{"revision", step.revision},
          {"time", model::format_micro_time(step.time)},
          {"type", step.deleted   ? "DELETED"
                   : step.created ? "ADDED"
                                  : "MODIFIED"},
          {"uid", step.uid},
          {"who", who(step)},
          {"verb", step.verb},
          {"because", step.because},
          {"commandId", step.command_id},
          {"changes", std::move(changes)},
          {"object", step.object ? model::to_tree(step.object) : json(nullptr)}};
}

}  // namespace

Status history(const Options& options) {
  auto target = parse_target(options.arguments);
  if (!target) return target.error();
  const auto* kind = target->kind;
  const std::string& name = target->name;
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  auto found = read_history(**gateway, *kind, options.ns, name);
  if (!found) return found.error();
  if (found->steps.empty()) return no_history(**gateway, *kind, options.ns, name, found->since);
  std::vector<std::vector<std::string>> rows{{"TIME", "REVISION", "WHO", "HOW", "WHAT CHANGED"}};
  const Step* before = nullptr;
  for (const auto& step : found->steps) {
    if (before != nullptr && before->uid != step.uid) before = nullptr;
    if (options.output == "json") {
      fmt::print("{}\n", as_json(before, step).dump());
    } else {
      rows.push_back({clock(step.time), std::to_string(step.revision), who(step), step.verb,
                      in_words(before, step, options.all ? SIZE_MAX : 3)});
    }
    before = &step;
  }
  if (options.output == "json") return Done{};
  fmt::print("{}", align(rows));
  fmt::print("The history reaches back to {}.\n", clock(found->since));
  return Done{};
}

Error no_history(Gateway& gateway, const model::Kind& kind, const std::string& ns, const std::string& name,
                 WallMicros since) {
  bus::Command get;
  get.verb = bus::Verb::Get;
  get.resource = kind.resource;
  get.ns = kind.namespaced ? ns : "";
  get.name = name;
  auto now = gateway.send(get);
  if (!now) return now.error();
  return {Code::kNotFound, fmt::format("{} has not changed since {}, and the history reaches no further back",
                                       qualified(kind, name), clock(since))};
}

}  // namespace gantry::client
