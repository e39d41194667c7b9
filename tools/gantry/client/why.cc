#include "tools/gantry/client/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "libs/model/json.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/table.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

constexpr size_t kMostLinks = 10'000;

bool same_object(const Step& a, const Step& b) { return a.kind == b.kind && a.ns == b.ns && a.name == b.name; }

Link link_at(const std::vector<Step>& steps, size_t i) {
  Link link{.step = steps[i], .before = {}};
  if (i > 0 && steps[i - 1].uid == steps[i].uid) link.before = steps[i - 1];
  return link;
}

}  // namespace

std::optional<Reference> parse_reference(const std::string& because) {
  const size_t slash = because.find('/'), at = because.rfind('@');
  if (slash == std::string::npos || at == std::string::npos || at < slash) return std::nullopt;
  Reference out;
  out.kind = model::Schema::get().by_resource(because.substr(0, slash));
  const auto [end, error] = std::from_chars(because.data() + at + 1, because.data() + because.size(), out.revision);
  if (out.kind == nullptr || error != std::errc() || end != because.data() + because.size()) return std::nullopt;
  out.name = because.substr(slash + 1, at - slash - 1);
  if (const size_t second = out.name.find('/'); second != std::string::npos) {
    out.ns = out.name.substr(0, second);
    out.name.erase(0, second + 1);
  }
  return out;
}

Result<Chain> find_chain(const ReadHistory& read, const model::Kind& kind, const std::string& ns,
                         const std::string& name) {
  std::map<std::string, History> known;
  const auto history = [&](const model::Kind& k, const std::string& n, const std::string& o) -> Result<History*> {
    const std::string key = k.resource + "/" + n + "/" + o;
    auto found = known.find(key);
    if (found != known.end()) return &found->second;
    auto got = read(k, n, o);
    if (!got) return got.error();
    return &known.emplace(key, std::move(*got)).first->second;
  };
  auto own = history(kind, ns, name);
  if (!own) return own.error();
  Chain chain;
  chain.since = (*own)->since;
  if ((*own)->steps.empty()) return Error{Code::kNotFound, "no history"};
  chain.links.push_back(link_at((*own)->steps, (*own)->steps.size() - 1));
  while (chain.links.size() < kMostLinks) {
    const std::string because = chain.links.back().step.because;
    if (because.empty()) break;
    const auto cause = parse_reference(because);
    if (!cause) {
      chain.open = fmt::format("it was done for {}", because);
      break;
    }
    auto of_cause = history(*cause->kind, cause->ns, cause->name);
    if (!of_cause) {
      chain.open =
          fmt::format("it was done for {}, whose history cannot be read: {}", because, of_cause.error().message);
      break;
    }
    const auto& steps = (*of_cause)->steps;
    const auto at =
        std::find_if(steps.begin(), steps.end(), [&](const Step& s) { return s.revision == cause->revision; });
    if (at == steps.end()) {
      chain.open = fmt::format("it was done for {}, which is before the history begins", because);
      break;
    }
    const Step& last = chain.links.back().step;
    if (same_object(*at, last) && at->revision >= last.revision) {
      chain.open = fmt::format("it names itself as its cause: {}", because);
      break;
    }
    chain.links.push_back(link_at(steps, static_cast<size_t>(at - steps.begin())));
  }
  std::reverse(chain.links.begin(), chain.links.end());
  return chain;
}

void fold(Chain& chain) {
  std::vector<Link> out;
  for (size_t i = 0; i < chain.links.size(); ++i) {
    out.push_back(chain.links[i]);
    // The last time that the way comes by this object, with others in between; but the object asked about is told
    // whole.
    if (same_object(chain.links[i].step, chain.links.back().step)) continue;
    size_t last = i;
    for (size_t j = i + 1; j < chain.links.size(); ++j) {
      if (same_object(chain.links[j].step, chain.links[i].step)) last = j;
    }
    if (last < i + 2) continue;
    out.push_back(chain.links[last]);
    out.back().skipped = last - i - 1;
    i = last;
  }
  chain.links = std::move(out);
}

std::string print_chain(const Chain& chain) {
  std::string out;
  if (!chain.open.empty()) {
    out += fmt::format("What was before is not known: {} (the history reaches back to {}).\n", chain.open,
                       clock(chain.since));
  }
  std::vector<std::vector<std::string>> rows{{"TIME", "REVISION", "OBJECT", "WHO", "HOW", "WHAT CHANGED"}};
  for (const auto& link : chain.links) {
    if (link.skipped > 0) rows.push_back({"...", "", fmt::format("{} steps that led here", link.skipped)});
    const Step& step = link.step;
    rows.push_back({clock(step.time), std::to_string(step.revision), qualified(*step.kind, step.name), who(step),
                    step.verb, in_words(link.before ? &*link.before : nullptr, step, 2)});
  }
  return out + align(rows);
}

Status why(const Options& options) {
  auto target = parse_target(options.arguments);
  if (!target) return target.error();
  const auto* kind = target->kind;
  const std::string& name = target->name;
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  WallMicros since = 0;
  auto chain = find_chain(
      [&](const model::Kind& k, const std::string& n, const std::string& o) {
        auto history = read_history(**gateway, k, n, o);
        if (history) since = history->since;
        return history;
      },
      *kind, options.ns, name);
  if (!chain && chain.code() == Code::kNotFound) return no_history(**gateway, *kind, options.ns, name, since);
  if (!chain) return chain.error();
  if (!options.all) fold(*chain);
  if (options.output == "json") {
    for (const auto& link : chain->links) {
      fmt::print("{}\n", nlohmann::json{{"time", model::format_micro_time(link.step.time)},
                                        {"resource", link.step.kind->resource},
                                        {"namespace", link.step.ns},
                                        {"name", link.step.name},
                                        {"revision", link.step.revision},
                                        {"who", who(link.step)},
                                        {"verb", link.step.verb},
                                        {"because", link.step.because},
                                        {"skipped", link.skipped}}
                             .dump());
    }
    return Done{};
  }
  fmt::print("{}", print_chain(*chain));
  return Done{};
}

}  // namespace gantry::client
