// Cells of what steers traffic and access: ingresses, RBAC, certificates, flow control, admission, aggregated APIs.
#include <fmt/format.h>

#include "services/apigw/render/columns.h"
#include "services/apigw/render/paths.h"
#include "services/apigw/render/render.h"

namespace gantry::apigw {
namespace {

using model::Object;
using nlohmann::json;

json ingress_class(const Object& o, WallMicros) { return paths::text_or(o, "spec.ingressClassName", "<none>"); }
json ingress_hosts(const Object& o, WallMicros) {
  std::string out;
  size_t n = 0;
  paths::each(o, "spec.rules", [&](const std::string& at) {
    auto host = paths::text(o, at + ".host");
    if (host.empty() || ++n > 3) return;
    out.append(out.empty() ? "" : ",").append(host);
  });
  if (n == 0) return "*";
  return n > 3 ? fmt::format("{} + {} more...", out, n - 3) : out;
}
json ingress_address(const Object& o, WallMicros) {
  std::string out;
  paths::each(o, "status.loadBalancer.ingress", [&](const std::string& at) {
    auto address = paths::text(o, at + ".ip");
    if (address.empty()) address = paths::text(o, at + ".hostname");
    out.append(out.empty() ? "" : ",").append(address);
  });
  return out;
}
json ingress_ports(const Object& o, WallMicros) { return paths::count(o, "spec.tls") > 0 ? "80, 443" : "80"; }
json ingress_parameters(const Object& o, WallMicros) {
  if (!paths::has(o, "spec.parameters")) return "<none>";
  auto group = paths::text(o, "spec.parameters.apiGroup");
  return paths::text(o, "spec.parameters.kind") + (group.empty() ? "" : "." + group) + "/" +
         paths::text(o, "spec.parameters.name");
}
json ip_parent(const Object& o, WallMicros) {
  if (!paths::has(o, "spec.parentRef")) return "<none>";
  std::string out = paths::text(o, "spec.parentRef.resource");
  for (const char* part : {"group", "namespace", "name"}) {
    auto value = paths::text(o, std::string("spec.parentRef.") + part);
    if (!value.empty()) out.append(std::string_view(part) == "group" ? "." : "/").append(value);
  }
  return out;
}
json service_cidrs(const Object& o, WallMicros) { return paths::join(o, "spec.cidrs"); }

json role_ref(const Object& o, WallMicros) {
  return paths::text(o, "roleRef.kind") + "/" + paths::text(o, "roleRef.name");
}
json subjects(const Object& o, std::string_view kind) {
  std::string out;
  paths::each(o, "subjects", [&](const std::string& at) {
    if (paths::text(o, at + ".kind") != kind) return;
    out += out.empty() ? "" : ", ";
    if (kind == "ServiceAccount") out += paths::text(o, at + ".namespace") + "/";
    out += paths::text(o, at + ".name");
  });
  return out;
}
json subject_users(const Object& o, WallMicros) { return subjects(o, "User"); }
json subject_groups(const Object& o, WallMicros) { return subjects(o, "Group"); }
json subject_accounts(const Object& o, WallMicros) { return subjects(o, "ServiceAccount"); }

json csr_duration(const Object& o, WallMicros) {
  return paths::has(o, "spec.expirationSeconds") ? human_duration(paths::number(o, "spec.expirationSeconds"))
                                                 : "<none>";
}
json csr_condition(const Object& o, WallMicros) {
  std::string out = !paths::condition(o, "Denied").empty()     ? "Denied"
                    : !paths::condition(o, "Approved").empty() ? "Approved"
                                                               : "Pending";
  if (!paths::condition(o, "Failed").empty()) out += ",Failed";
  if (paths::has(o, "status.certificate")) out += ",Issued";
  return out;
}

json flow_distinguisher(const Object& o, WallMicros) {
  return paths::text_or(o, "spec.distinguisherMethod.type", "<none>");
}
json flow_missing(const Object& o, WallMicros) {
  auto at = paths::condition(o, "Dangling");
  return at.empty() ? "?" : paths::text(o, at + ".status");
}
json level(const Object& o, const char* field) {
  const bool exempt = paths::text(o, "spec.type") == "Exempt";
  auto found = model::find(o, std::string(exempt ? "spec.exempt." : "spec.limited.") + field);
  return found.present() ? json(std::strtoll(found.text().c_str(), nullptr, 10)) : json("<none>");
}
json level_shares(const Object& o, WallMicros) { return level(o, "nominalConcurrencyShares"); }
json level_queues(const Object& o, WallMicros) { return level(o, "limitResponse.queuing.queues"); }
json level_hand(const Object& o, WallMicros) { return level(o, "limitResponse.queuing.handSize"); }
json level_queue_length(const Object& o, WallMicros) { return level(o, "limitResponse.queuing.queueLengthLimit"); }

json webhooks(const Object& o, WallMicros) { return paths::count(o, "webhooks"); }
json validations(const Object& o, WallMicros) { return paths::count(o, "spec.validations"); }
json param_kind(const Object& o, WallMicros) {
  if (!paths::has(o, "spec.paramKind")) return "<unset>";
  return paths::text(o, "spec.paramKind.apiVersion") + "/" + paths::text(o, "spec.paramKind.kind");
}
json param_ref(const Object& o, WallMicros) {
  if (!paths::has(o, "spec.paramRef")) return "<unset>";
  auto ns = paths::text(o, "spec.paramRef.namespace"), name = paths::text(o, "spec.paramRef.name");
  return (ns.empty() ? "*" : ns) + "/" + (name.empty() ? "*" : name);
}

json apiservice_service(const Object& o, WallMicros) {
  if (!paths::has(o, "spec.service")) return "Local";
  return paths::text(o, "spec.service.namespace") + "/" + paths::text(o, "spec.service.name");
}
json apiservice_available(const Object& o, WallMicros) {
  auto at = paths::condition(o, "Available");
  if (at.empty()) return "Unknown";
  auto status = paths::text(o, at + ".status");
  return status == "True" ? status : fmt::format("{} ({})", status, paths::text(o, at + ".reason"));
}

}  // namespace

const Columns& policy_columns() {
#define COLUMN(f) \
  { #f, f }
  // clang-format off
  static const Columns kColumns = {
      COLUMN(ingress_class), COLUMN(ingress_hosts), COLUMN(ingress_address), COLUMN(ingress_ports), COLUMN(ingress_parameters),
      COLUMN(ip_parent), COLUMN(service_cidrs), COLUMN(role_ref), COLUMN(subject_users), COLUMN(subject_groups),
      COLUMN(subject_accounts), COLUMN(csr_duration), COLUMN(csr_condition), COLUMN(flow_distinguisher), COLUMN(flow_missing),
      COLUMN(level_shares), COLUMN(level_queues), COLUMN(level_hand), COLUMN(level_queue_length), COLUMN(webhooks),
      COLUMN(validations), COLUMN(param_kind), COLUMN(param_ref), COLUMN(apiservice_service), COLUMN(apiservice_available)};
  // clang-format on
#undef COLUMN
  return kColumns;
}

}  // namespace gantry::apigw
