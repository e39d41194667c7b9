#include "services/apigw/rest/accept.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>

namespace gantry::apigw {
namespace {

constexpr const char* kProtobuf = "application/vnd.kubernetes.protobuf";

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

struct Clause {
  std::string type, subtype;
  std::map<std::string, std::string, std::less<>> parameters;
  double q = 1;

  std::string_view parameter(std::string_view name) const {
    const auto it = parameters.find(name);
    return it == parameters.end() ? std::string_view() : std::string_view(it->second);
  }
  int wildcards() const { return (type == "*" ? 1 : 0) + (subtype == "*" ? 1 : 0); }
};

std::vector<Clause> clauses_of(std::string_view header) {
  std::vector<Clause> out;
  while (!header.empty()) {
    const size_t comma = header.find(',');
    auto item = header.substr(0, comma);
    header = comma == std::string_view::npos ? std::string_view() : header.substr(comma + 1);
    Clause clause;
    size_t semicolon = item.find(';');
    const auto media = trim(item.substr(0, semicolon));
    const size_t slash = media.find('/');
    if (media.empty() || slash == std::string_view::npos) continue;
    clause.type = media.substr(0, slash);
    clause.subtype = media.substr(slash + 1);
    while (semicolon != std::string_view::npos) {
      item.remove_prefix(semicolon + 1);
      semicolon = item.find(';');
      const auto parameter = trim(item.substr(0, semicolon));
      const size_t equals = parameter.find('=');
      if (equals == std::string_view::npos) continue;
      const auto name = trim(parameter.substr(0, equals)), value = trim(parameter.substr(equals + 1));
      if (name == "q") {
        clause.q = std::strtod(std::string(value).c_str(), nullptr);
      } else {
        clause.parameters.emplace(name, value);
      }
    }
    if (clause.q > 0) out.push_back(std::move(clause));
  }
  std::stable_sort(out.begin(), out.end(), [](const Clause& a, const Clause& b) {
    return a.q != b.q ? a.q > b.q : a.wildcards() < b.wildcards();
  });
  return out;
}

std::optional<Encoding> encoding_of(const Clause& clause, AcceptUse use) {
  if (clause.type == "*" && clause.subtype == "*") return Encoding::kJson;
  if (clause.type != "application") return std::nullopt;
  if (clause.subtype == "json" || clause.subtype == "*") return Encoding::kJson;
  if (clause.subtype == "yaml" && use != AcceptUse::kWatch) return Encoding::kYaml;
  if (clause.subtype == "vnd.kubernetes.protobuf" && use != AcceptUse::kAnswerWithoutProtobuf)
    return Encoding::kProtobuf;
  return std::nullopt;
}

/// False when the transformation that the clause asks for is not to be had.
bool transform(const Clause& clause, Accepted& accepted) {
  const auto as = clause.parameter("as"), version = clause.parameter("v"), group = clause.parameter("g");
  if (as.empty()) return true;
  if (as == "APIGroupDiscoveryList") {
    accepted.aggregated_discovery = version == "v2" && accepted.shape.encoding == Encoding::kJson;
    return accepted.aggregated_discovery;  // an older form: the next alternative
  }
  if (version != "v1" || (!group.empty() && group != "meta.k8s.io")) return false;
  if (as == "Table") {
    accepted.shape.form = Form::kTable;
    return accepted.shape.encoding != Encoding::kProtobuf;
  }
  accepted.shape.form = Form::kPartial;
  return as == "PartialObjectMetadata" || as == "PartialObjectMetadataList";
}

Error not_acceptable(AcceptUse use) {
  std::string types = "application/json";
  if (use != AcceptUse::kWatch) types += ", application/yaml";
  if (use != AcceptUse::kAnswerWithoutProtobuf) types += fmt::format(", {}", kProtobuf);
  if (use == AcceptUse::kWatch) types += ";stream=watch";
  return {Code::kNotAcceptable, "only the following media types are accepted: " + types};
}

Result<RowObject> include_object(const http::Query& query) {
  const auto value = query.get("includeObject");
  if (value.empty() || value == "Metadata") return RowObject::kMetadata;
  if (value == "None") return RowObject::kNone;
  if (value == "Object") return RowObject::kObject;
  return Error{Code::kBadRequest, fmt::format("unrecognized includeObject value: \"{}\"", value)};
}

bool is_true(std::string_view value) { return value == "true" || value == "1"; }

}  // namespace

Result<Accepted> parse_accept(std::string_view accept, AcceptUse use) {
  if (trim(accept).empty()) return Accepted{};
  for (const auto& clause : clauses_of(accept)) {
    Accepted accepted;
    const auto encoding = encoding_of(clause, use);
    if (!encoding) continue;
    accepted.shape.encoding = *encoding;
    accepted.shape.pretty = is_true(clause.parameter("pretty"));
    if (transform(clause, accepted)) return accepted;
  }
  return not_acceptable(use);
}

Result<Accepted> accepted_by(const http::Request& request, AcceptUse use) {
  std::string header;
  for (const auto& [name, value] : request.headers) {
    if (http::iequals(name, "Accept")) header += (header.empty() ? "" : ",") + value;
  }
  auto accepted = parse_accept(header, use);
  if (!accepted.ok()) return accepted;
  auto& shape = accepted->shape;
  if (shape.form == Form::kTable) {
    const auto rows = include_object(request.query);
    if (!rows.ok()) return rows.error();
    shape.rows = *rows;
  }
  const auto* pretty = request.query.find("pretty");
  if (pretty != nullptr) {
    shape.pretty = is_true(*pretty);
  } else if (header.empty() || header == "*/*") {
    // Somebody reads this with their eyes.
    const auto agent = request.headers.get("User-Agent");
    shape.pretty = agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0");
  }
  if (use == AcceptUse::kWatch) shape.pretty = false;
  return accepted;
}

}  // namespace gantry::apigw
