#include "tools/gantry/client/resources.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "libs/model/served.h"

namespace gantry::client {
namespace {

using model::Kind;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

Error bad(std::string message) { return {.code = Code::kBadRequest, .message = std::move(message)}; }

}  // namespace

std::string qualified(const Kind& kind, const std::string& name) {
  return fmt::format("{}{}{}/{}", kind.singular, kind.group.empty() ? "" : ".", kind.group, name);
}

Result<const Kind*> find_kind(const std::string& given) {
  const std::string word = lower(given);
  const size_t dot = word.find('.');
  const std::string plain = word.substr(0, dot), group = dot == std::string::npos ? "" : word.substr(dot + 1);
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!model::stored(kind)) continue;
    if (dot != std::string::npos && group != kind.group && group != kind.version + "." + kind.group) continue;
    const bool is_short = std::find(kind.short_names.begin(), kind.short_names.end(), plain) != kind.short_names.end();
    if (plain == kind.resource || plain == kind.singular || plain == lower(kind.kind) || is_short) return &kind;
  }
  return Error{.code = Code::kBadRequest,
               .message = fmt::format("the server doesn't have a resource type \"{}\"", given)};
}

Result<std::vector<const Kind*>> find_kinds(const std::string& words) {
  std::vector<const Kind*> out;
  std::stringstream list(words);
  for (std::string word; std::getline(list, word, ',');) {
    bool category = false;
    for (const auto& kind : model::Schema::get().kinds()) {
      if (!model::stored(kind) ||
          std::find(kind.categories.begin(), kind.categories.end(), word) == kind.categories.end())
        continue;
      out.push_back(&kind);
      category = true;
    }
    if (category) continue;
    auto kind = find_kind(word);
    if (!kind) return kind.error();
    out.push_back(*kind);
  }
  return out;
}

Result<std::vector<Target>> parse_targets(const std::vector<std::string>& arguments) {
  std::vector<Target> out;
  if (arguments.empty()) return bad("you must specify the type of resource");
  if (arguments[0].find('/') != std::string::npos) {
    for (const auto& argument : arguments) {
      const size_t slash = argument.find('/');
      if (slash == std::string::npos || slash + 1 == argument.size()) {
        return bad(
            "there is no need to specify a resource type as a separate argument when passing arguments in "
            "resource/name form");
      }
      auto kind = find_kind(argument.substr(0, slash));
      if (!kind) return kind.error();
      out.push_back({*kind, argument.substr(slash + 1)});
    }
    return out;
  }
  auto kinds = find_kinds(arguments[0]);
  if (!kinds) return kinds.error();
  for (const auto* kind : *kinds) {
    if (arguments.size() == 1) out.push_back({kind, ""});
    for (size_t i = 1; i < arguments.size(); ++i) out.push_back({kind, arguments[i]});
  }
  return out;
}

Result<Target> parse_target(const std::vector<std::string>& arguments, std::string_view what) {
  auto targets = parse_targets(arguments);
  if (!targets) return targets.error();
  if (targets->size() != 1 || targets->front().name.empty()) return bad(fmt::format("name one {}", what));
  return std::move(targets->front());
}

Result<std::string> parse_pod(const std::vector<std::string>& arguments) {
  constexpr std::string_view kWhat = "pod: NAME or pod/NAME";
  if (arguments.size() == 1 && !arguments[0].empty() && arguments[0].find('/') == std::string::npos) {
    return arguments[0];
  }
  if (arguments.size() == 1) {
    auto target = parse_target(arguments, kWhat);
    if (!target) return target.error();
    if (target->kind->kind == "Pod") return std::move(target->name);
  }
  return bad(fmt::format("name one {}", kWhat));
}

}  // namespace gantry::client
