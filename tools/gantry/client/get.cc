#include <fmt/format.h>

#include <map>

#include "libs/yaml/yaml.h"
#include "tools/gantry/client/past.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/table.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

using nlohmann::json;

/// Who answers: the gateway, or the past.
using Ask = std::function<Result<json>(bus::Command)>;

bus::Command read_command(const Options& options, const Target& target, bool as_table) {
  bus::Command command;
  command.verb = target.name.empty() ? bus::Verb::List : bus::Verb::Get;
  command.resource = target.kind->resource;
  command.name = target.name;
  if (target.kind->namespaced && !(options.all_namespaces && target.name.empty())) command.ns = options.ns;
  command.label_selector = options.selector;
  command.field_selector = options.field_selector;
  command.as_table = as_table;
  command.as_json = !as_table;
  return command;
}

void print_document(const json& document, const std::string& output) {
  if (output == "yaml") {
    fmt::print("{}", yaml::write(document));
  } else {
    fmt::print("{}\n", document.dump(4));
  }
}

Status get_documents(const Ask& ask, const Options& options, const std::vector<Target>& targets) {
  json items = json::array();
  for (const auto& target : targets) {
    auto answer = ask(read_command(options, target, false));
    if (!answer) {
      if (options.ignore_not_found && answer.code() == Code::kNotFound) continue;
      return answer.error();
    }
    if (!target.name.empty()) {
      items.push_back(std::move(*answer));
      continue;
    }
    for (auto& item : (*answer)["items"]) {
      item["apiVersion"] = target.kind->api_version();
      item["kind"] = target.kind->kind;
      items.push_back(std::move(item));
    }
  }
  if (options.output == "name") {
    for (const auto& item : items) {
      const auto* kind = model::Schema::get().by_api_version(item.value("apiVersion", ""), item.value("kind", ""));
      if (kind != nullptr) fmt::print("{}\n", qualified(*kind, item.value("/metadata/name"_json_pointer, "")));
    }
    return Done{};
  }
  if (targets.size() == 1 && !targets[0].name.empty()) {
    if (!items.empty()) print_document(items[0], options.output);
    return Done{};
  }
  print_document(
      {{"apiVersion", "v1"}, {"kind", "List"}, {"metadata", {{"resourceVersion", ""}}}, {"items", std::move(items)}},
      options.output);
  return Done{};
}

Status get_tables(const Ask& ask, const Options& options, const std::vector<Target>& targets) {
  // One table for each kind, in the order asked for; named objects of a kind share one.
  std::vector<std::pair<const model::Kind*, json>> tables;
  std::optional<Error> failure;
  for (const auto& target : targets) {
    auto answer = ask(read_command(options, target, true));
    if (!answer) {
      if (options.ignore_not_found && answer.code() == Code::kNotFound) continue;
      if (target.name.empty()) return answer.error();
      if (failure) fmt::print(stderr, "{}\n", server_error(*failure));
      failure = answer.error();
      continue;
    }
    if (!tables.empty() && tables.back().first == target.kind) {
      for (auto& row : (*answer)["rows"]) tables.back().second["rows"].push_back(std::move(row));
    } else {
      tables.emplace_back(target.kind, std::move(*answer));
    }
  }
  bool printed = false;
  for (const auto& [kind, table] : tables) {
    if (table.value("rows", json::array()).empty()) continue;
    if (printed) fmt::print("\n");
    printed = true;
    fmt::print("{}", print_table(table, {.wide = options.output == "wide",
                                         .namespaces = options.all_namespaces && kind->namespaced,
                                         .headers = !options.no_headers,
                                         .prefix = tables.size() > 1 ? qualified(*kind, "") : ""}));
  }
  if (failure) return *failure;
  if (!printed && !options.ignore_not_found) {
    const bool everywhere = options.all_namespaces || (targets.size() == 1 && !targets[0].kind->namespaced);
    fmt::print(stderr, "{}\n",
               everywhere ? "No resources found" : fmt::format("No resources found in {} namespace.", options.ns));
  }
  return Done{};
}

}  // namespace

Status get(const Options& options) {
  auto targets = parse_targets(options.arguments);
  if (!targets) return targets.error();
  const bool table = options.output.empty() || options.output == "wide";
  if (!table && options.output != "json" && options.output != "yaml" && options.output != "name") {
    return Error{
        .code = Code::kBadRequest,
        .message = fmt::format(
            "unable to match a printer suitable for the output format \"{}\", allowed formats are: json,name,wide,yaml",
            options.output)};
  }
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  Ask ask = [&](bus::Command command) { return (*gateway)->ask(std::move(command)); };
  if (!options.at.empty()) {
    auto moment = parse_moment(options.at, (*gateway)->loop().wall());
    if (!moment) return moment.error();
    ask = [&, moment = *moment](const bus::Command& command) { return ask_past(**gateway, command, moment); };
  }
  return table ? get_tables(ask, options, *targets) : get_documents(ask, options, *targets);
}

}  // namespace gantry::client
