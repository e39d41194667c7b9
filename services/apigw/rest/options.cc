#include "services/apigw/rest/options.h"

#include <fmt/format.h>

#include <charconv>

#include "libs/model/selector.h"
#include "libs/model/served.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

constexpr std::string_view kExact = "Exact", kNotOlderThan = "NotOlderThan";

/// An integer parameter; 0 when it is absent or empty.
Result<int64_t> integer(const http::Query& query, std::string_view name) {
  const auto text = query.get(name);
  int64_t value = 0;
  if (text.empty()) return value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return bad_request(fmt::format("strconv.ParseInt: parsing {}: {}", quoted(text),
                                 error == std::errc::result_out_of_range ? "value out of range" : "invalid syntax"));
}

Result<uint64_t> revision_of(std::string_view text) {
  uint64_t value = 0;
  if (text.empty()) return value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return bad_request(fmt::format("invalid resource version: strconv.ParseUint: parsing {}: {}", quoted(text),
                                 error == std::errc::result_out_of_range ? "value out of range" : "invalid syntax"));
}

/// What does not go together, in the words of the API server.
class ListOptionsProblems {
 public:
  void forbidden(const char* field, std::string_view why) {
    causes_.push_back({"FieldValueForbidden", fmt::format("Forbidden: {}", why), field});
  }
  void unsupported(const char* field, std::string_view value, std::string_view supported) {
    causes_.push_back({"FieldValueNotSupported",
                       fmt::format("Unsupported value: {}: supported values: {}", quoted(value), supported), field});
  }
  Status status() && {
    if (causes_.empty()) return Done{};
    std::string text;
    for (const auto& cause : causes_)
      text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", cause.field, cause.message);
    if (causes_.size() > 1) text = "[" + text + "]";
    Error error{Code::kInvalid, fmt::format("ListOptions.meta.k8s.io \"\" is invalid: {}", text), std::move(causes_)};
    error.group = "meta.k8s.io";
    error.kind = "ListOptions";
    return error;
  }

 private:
  std::vector<Cause> causes_;
};

constexpr const char* kMatch = "resourceVersionMatch";

Status check_list(const http::Query& query) {
  ListOptionsProblems problems;
  const auto match = query.get(kMatch), revision = query.get("resourceVersion");
  if (!match.empty()) {
    if (revision.empty())
      problems.forbidden(kMatch, "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (query.has("continue") && !query.get("continue").empty())
      problems.forbidden(kMatch, "resourceVersionMatch is forbidden when continue is provided");
    if (match != kExact && match != kNotOlderThan)
      problems.unsupported(kMatch, match, R"("Exact", "NotOlderThan", "")");
    if (match == kExact && revision == "0")
      problems.forbidden(kMatch, R"(resourceVersionMatch "exact" is forbidden for resourceVersion "0")");
  }
  if (query.has("sendInitialEvents"))
    problems.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
  return std::move(problems).status();
}

Status check_watch(const http::Query& query) {
  ListOptionsProblems problems;
  const auto match = query.get(kMatch);
  const bool initial = query.has("sendInitialEvents");
  if (initial && match != kNotOlderThan)
    problems.forbidden(kMatch, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (!match.empty()) {
    if (!initial)
      problems.forbidden(kMatch, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    if (match != kNotOlderThan) problems.unsupported(kMatch, match, R"("NotOlderThan")");
    if (!query.get("continue").empty())
      problems.forbidden(kMatch, "resourceVersionMatch is forbidden when continue is provided");
  }
  return std::move(problems).status();
}

/// Who may see one name may list and watch it: authorization knows it by the selector.
std::string selected_name(const model::Kind& kind, std::string_view field_selector) {
  const auto fields = model::FieldSelector::parse(kind, field_selector);
  const std::string* name = fields.ok() ? fields->required("metadata.name") : nullptr;
  return name == nullptr ? std::string() : *name;
}

}  // namespace

bool query_flag(const http::Query& query, std::string_view name) {
  const auto* value = query.find(name);
  return value != nullptr && *value != "0" && !http::iequals(*value, "false");
}

Status read_get_options(const http::Query& query, bus::Command& command) {
  const auto text = query.get("resourceVersion");
  const auto revision = revision_of(text);
  if (!revision.ok()) return revision.error();
  command.revision = *revision;
  if (!text.empty()) command.match = *revision == 0 ? bus::Match::kAny : bus::Match::kNotOlderThan;
  return Done{};
}

Status read_list_options(const model::Kind& kind, const http::Query& query, bus::Command& command) {
  if (auto checked = check_list(query); !checked.ok()) return checked;
  command.label_selector = query.get("labelSelector");
  command.field_selector = query.get("fieldSelector");
  command.continue_token = query.get("continue");
  if (command.name.empty()) command.name = selected_name(kind, command.field_selector);
  const auto limit = integer(query, "limit");
  if (!limit.ok()) return limit.error();
  command.limit = static_cast<uint32_t>(std::clamp<int64_t>(*limit, 0, UINT32_MAX));
  const auto timeout = integer(query, "timeoutSeconds");
  if (!timeout.ok()) return timeout.error();
  const auto text = query.get("resourceVersion"), match = query.get(kMatch);
  const auto revision = revision_of(text);
  if (!revision.ok()) return revision.error();
  if (!command.continue_token.empty()) {
    if (*revision != 0) return bad_request("specifying resource version is not allowed when using continue");
    return Done{};
  }
  command.revision = *revision;
  if (text.empty()) return Done{};
  if (*revision == 0) {
    command.match = bus::Match::kAny;
  } else if (match == kExact || (match.empty() && command.limit != 0)) {
    command.match = bus::Match::kExact;
  } else {
    command.match = bus::Match::kNotOlderThan;
  }
  return Done{};
}

Result<WatchOptions> read_watch_options(const Route& route, const http::Query& query) {
  if (auto checked = check_watch(query); !checked.ok()) return checked.error();
  WatchOptions out;
  auto& request = out.request;
  request.resource = model::served(*route.kind).token;
  request.ns = route.ns;
  request.label_selector = query.get("labelSelector");
  request.field_selector = query.get("fieldSelector");
  request.name = route.name.empty() ? selected_name(*route.kind, request.field_selector) : route.name;
  const auto text = query.get("resourceVersion");
  const auto revision = revision_of(text);
  if (!revision.ok()) return revision.error();
  request.any = text == "0";
  const bool chosen = query.has("sendInitialEvents");
  if (chosen && query_flag(query, "sendInitialEvents")) {
    out.streaming_list = true;
    request.not_older_than = *revision;  // all of the present first, at least as new as was asked
  } else {
    if (*revision != 0) request.revision = *revision;
    request.initial_events = !chosen;
  }
  out.bookmarks = query_flag(query, "allowWatchBookmarks");
  const auto timeout = integer(query, "timeoutSeconds");
  if (!timeout.ok()) return timeout.error();
  out.timeout = std::chrono::seconds(std::clamp<int64_t>(*timeout, 0, 86'400));
  return out;
}

}  // namespace gantry::apigw
