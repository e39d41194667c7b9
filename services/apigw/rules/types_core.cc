// Rules of the structs of core/v1 that stand in pods and their templates.
#include <set>

#include "libs/model/names.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using flatbuffers::uoffset_t;
using model::str;
namespace core = api::core_v1;

void label_selector(const api::meta_v1::LabelSelector& selector, const std::string& at, Problems& problems) {
  validate_label_selector(&selector, at, problems);
}

// --- where a container's and a volume's values come from

/// The [key] of metadata.labels['key'], if there is one.
bool subscript(std::string_view path, std::string_view& base, std::string_view& key) {
  const size_t open = path.find("['");
  if (open == std::string_view::npos || !path.ends_with("']")) return false;
  base = path.substr(0, open);
  key = path.substr(open + 2, path.size() - open - 4);
  return true;
}

void field_ref(const core::ObjectFieldSelector* ref, const std::string& at,
               std::initializer_list<std::string_view> supported, Problems& problems) {
  if (ref == nullptr) return;
  const std::string_view path = str(ref->field_path());
  if (path.empty()) return problems.required(at + ".fieldPath");
  std::string_view base, key;
  if (subscript(path, base, key)) {
    if (base == "metadata.labels" || base == "metadata.annotations")
      return problems.check(at + ".fieldPath", key, model::check_qualified_name(key));
    return problems.invalid(at + ".fieldPath", base, "does not support subscript");
  }
  if (one_of(path, supported)) return;
  if (!one_of(path, {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
                     "spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName",
                     "status.phase", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"})) {
    return problems.invalid(at + ".fieldPath", path,
                            fmt::format("error converting fieldPath: field label not supported: {}", path));
  }
  problems.unsupported(at + ".fieldPath", path, supported);
}

void resource_ref(const core::ResourceFieldSelector* ref, const std::string& at, bool of_volume, Problems& problems) {
  if (ref == nullptr) return;
  if (of_volume && str(ref->container_name()).empty()) problems.required(at + ".containerName");
  const std::string_view resource = str(ref->resource());
  const bool huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
  if (resource.empty()) {
    problems.required(at + ".resource");
  } else if (!huge && !one_of(resource, {"limits.cpu", "limits.memory", "limits.ephemeral-storage", "requests.cpu",
                                         "requests.memory", "requests.ephemeral-storage"})) {
    problems.unsupported(at + ".resource", resource,
                         {"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
                          "requests.ephemeral-storage", "requests.memory"});
  }
  const std::string_view divisor = str(ref->divisor());
  if (divisor.empty() || divisor == "0") return;
  if (resource.ends_with(".cpu")) {
    if (!one_of(divisor, {"1m", "1"}))
      problems.invalid(at + ".divisor", divisor, "only divisor's values 1m and 1 are supported with the cpu resource");
  } else if (!one_of(divisor, {"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"})) {
    problems.invalid(at + ".divisor", divisor,
                     fmt::format("only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are "
                                 "supported with the {} resource",
                                 resource.ends_with(".memory") ? "memory" : "local ephemeral storage"));
  }
}

void env_source(const core::EnvVarSource& from, const std::string& at, Problems& problems) {
  field_ref(from.field_ref(), at + ".fieldRef",
            {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
             "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"},
            problems);
  resource_ref(from.resource_field_ref(), at + ".resourceFieldRef", false, problems);
}

void env_from(const core::EnvFromSource& from, const std::string& at, Problems& problems) {
  if (!str(from.prefix()).empty())
    problems.check(at + ".prefix", str(from.prefix()), model::check_env_name(str(from.prefix())));
  if (from.config_map_ref() != nullptr && str(from.config_map_ref()->name()).empty())
    problems.required(at + ".configMapRef.name");
  if (from.secret_ref() != nullptr && str(from.secret_ref()->name()).empty()) problems.required(at + ".secretRef.name");
  if (from.config_map_ref() == nullptr && from.secret_ref() == nullptr) {
    problems.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`");
  } else if (from.config_map_ref() != nullptr && from.secret_ref() != nullptr) {
    problems.invalid(at, "", "may not have more than one field specified at a time");
  }
}

void downward_file(const core::DownwardAPIVolumeFile& file, const std::string& at, Problems& problems) {
  field_ref(file.field_ref(), at + ".fieldRef",
            {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"},
            problems);
  resource_ref(file.resource_field_ref(), at + ".resourceFieldRef", true, problems);
  if (file.field_ref() == nullptr && file.resource_field_ref() == nullptr) {
    problems.required(at, "one of fieldRef and resourceFieldRef is required");
  } else if (file.field_ref() != nullptr && file.resource_field_ref() != nullptr) {
    problems.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
  }
}

void projection(const core::VolumeProjection& source, const std::string& at, Problems& problems) {
  const int n = (source.secret() != nullptr) + (source.downward_api() != nullptr) + (source.config_map() != nullptr) +
                (source.service_account_token() != nullptr) + (source.cluster_trust_bundle() != nullptr) +
                (source.pod_certificate() != nullptr);
  if (n == 0) problems.required(at, "must specify a source type");
  if (n > 1) problems.forbidden(at, "may not specify more than 1 volume type");
}

void projected(const core::ProjectedVolumeSource& volume, const std::string& at, Problems& problems) {
  std::set<std::string_view> paths;
  const auto file = [&](const std::string& where, const flatbuffers::String* path) {
    if (!str(path).empty() && !paths.insert(str(path)).second)
      problems.invalid(where, str(path), "conflicting duplicate paths");
  };
  for (uoffset_t i = 0; i < count(volume.sources()); ++i) {
    const auto& source = *volume.sources()->Get(i);
    const std::string where = fmt::format("{}.sources[{}]", at, i);
    const auto items = [&](const auto* of, const char* name) {
      for (uoffset_t j = 0; of != nullptr && j < count(of->items()); ++j)
        file(fmt::format("{}.{}.items[{}].path", where, name, j), of->items()->Get(j)->path());
    };
    items(source.secret(), "secret");
    items(source.config_map(), "configMap");
    items(source.downward_api(), "downwardAPI");
    if (source.service_account_token() != nullptr)
      file(where + ".serviceAccountToken.path", source.service_account_token()->path());
  }
}

void token_projection(const core::ServiceAccountTokenProjection& token, const std::string& at, Problems& problems) {
  const int64_t seconds = token.expiration_seconds().value_or(3600);
  if (seconds < 600)
    problems.invalid(at + ".expirationSeconds", seconds, "may not specify a duration less than 10 minutes");
  if (seconds > (int64_t{1} << 32))
    problems.invalid(at + ".expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds");
}

void empty_dir(const core::EmptyDirVolumeSource& volume, const std::string& at, Problems& problems) {
  const auto limit = model::Quantity::parse(str(volume.size_limit()));
  if (!str(volume.size_limit()).empty() && limit.ok() && *limit < model::Quantity())
    problems.forbidden(at + ".sizeLimit", "SizeLimit field must be a valid resource quantity");
}

void ephemeral_volume(const core::EphemeralVolumeSource& volume, const std::string& at, Problems& problems) {
  if (volume.volume_claim_template() == nullptr) problems.required(at + ".volumeClaimTemplate");
}

// --- security

void profile(std::string_view type, const flatbuffers::String* local, const char* what, const std::string& at,
             Problems& problems) {
  const std::string path = at + ".localhostProfile";
  if (type == "Localhost") {
    if (str(local).empty()) problems.required(path, fmt::format("must be set when {} type is Localhost", what));
  } else if (local != nullptr) {
    problems.invalid(path, str(local), fmt::format("can only be set when {} type is Localhost", what));
  }
}

void seccomp(const core::SeccompProfile& p, const std::string& at, Problems& problems) {
  profile(str(p.type()), p.localhost_profile(), "seccomp", at, problems);
}

void apparmor(const core::AppArmorProfile& p, const std::string& at, Problems& problems) {
  profile(str(p.type()), p.localhost_profile(), "AppArmor", at, problems);
}

void security_context(const core::SecurityContext& context, const std::string& at, Problems& problems) {
  if (context.allow_privilege_escalation().value_or(true)) return;
  const std::string json = json_of("core_v1.SecurityContext", &context);
  if (context.privileged().value_or(false))
    problems.invalid_json(at, json, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  const auto* more = context.capabilities() == nullptr ? nullptr : context.capabilities()->add();
  if (holds(more, "CAP_SYS_ADMIN"))
    problems.invalid_json(at, json,
                          "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
}

std::string check_sysctl(std::string_view name) {
  constexpr const char* kBad =
      "must have at most 253 characters and match regex "
      "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool good = !name.empty() && name.size() <= 253;
  for (size_t i = 0; good && i < name.size(); ++i) {
    const char c = name[i];
    const bool edge = i == 0 || i + 1 == name.size() || one_of(name.substr(i - 1, 1), {".", "/"}) ||
                      one_of(name.substr(i + 1, 1), {".", "/"});
    if (plain(c)) continue;
    good = c == '.' || c == '/' ? i != 0 && i + 1 != name.size() && (plain(name[i - 1]) && plain(name[i + 1]))
                                : (c == '-' || c == '_') && !edge;
  }
  return good ? "" : kBad;
}

void pod_security(const core::PodSecurityContext& context, const std::string& at, Problems& problems) {
  std::set<std::string_view> names;
  for (uoffset_t i = 0; i < count(context.sysctls()); ++i) {
    const std::string_view name = str(context.sysctls()->Get(i)->name());
    const std::string path = fmt::format("{}.sysctls[{}].name", at, i);
    if (name.empty()) continue;
    problems.check(path, name, check_sysctl(name));
    if (!names.insert(name).second) problems.duplicate(path, name);
  }
}

// --- scheduling

void field_requirement(const core::NodeSelectorRequirement& r, const std::string& at, Problems& problems) {
  const std::string_view op = str(r.operator_());
  if (op == "In" || op == "NotIn") {
    if (count(r.values()) != 1)
      problems.required(at + ".values",
                        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
  } else {
    problems.invalid(at + ".operator", op, "not a valid selector operator");
  }
  if (str(r.key()) != "metadata.name") problems.invalid(at + ".key", str(r.key()), "not a valid field selector key");
  for (uoffset_t i = 0; i < count(r.values()); ++i)
    problems.check(fmt::format("{}.values[{}]", at, i), str(r.values()->Get(i)),
                   model::check_dns_subdomain(str(r.values()->Get(i))));
}

void node_term(const core::NodeSelectorTerm& term, const std::string& at, Problems& problems) {
  for (uoffset_t i = 0; i < count(term.match_expressions()); ++i) {
    const auto& e = *term.match_expressions()->Get(i);
    const std::string path = fmt::format("{}.matchExpressions[{}]", at, i);
    const std::string_view op = str(e.operator_());
    const size_t values = count(e.values());
    if (op == "In" || op == "NotIn") {
      if (values == 0) problems.required(path + ".values", "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (values > 0)
        problems.forbidden(path + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (op == "Gt" || op == "Lt") {
      if (values != 1)
        problems.required(path + ".values", "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else {
      problems.invalid(path + ".operator", op, "not a valid selector operator");
    }
    problems.check(path + ".key", str(e.key()), model::check_qualified_name(str(e.key())));
  }
  for (uoffset_t i = 0; i < count(term.match_fields()); ++i)
    field_requirement(*term.match_fields()->Get(i), fmt::format("{}.matchFields[{}]", at, i), problems);
}

void node_selector(const core::NodeSelector& selector, const std::string& at, Problems& problems) {
  if (count(selector.node_selector_terms()) == 0)
    problems.required(at + ".nodeSelectorTerms", "must have at least one node selector term");
}

template <typename T>
void weight(const T& term, const std::string& at, Problems& problems) {
  const int n = term.weight().value_or(0);
  if (n < 1 || n > 100) problems.invalid(at + ".weight", n, "must be in the range 1-100");
}

void spread(const core::TopologySpreadConstraint& c, const std::string& at, Problems& problems) {
  if (c.max_skew().value_or(0) <= 0)
    problems.invalid(at + ".maxSkew", c.max_skew().value_or(0), "must be greater than zero");
  if (str(c.topology_key()).empty()) problems.required(at + ".topologyKey", "can not be empty");
  const std::string_view when = str(c.when_unsatisfiable());
  if (!one_of(when, {"DoNotSchedule", "ScheduleAnyway"}))
    problems.unsupported(at + ".whenUnsatisfiable", when, {"DoNotSchedule", "ScheduleAnyway"});
  if (!c.min_domains()) return;
  if (*c.min_domains() <= 0) problems.invalid(at + ".minDomains", *c.min_domains(), "must be greater than zero");
  if (when != "DoNotSchedule")
    problems.invalid(at + ".minDomains", *c.min_domains(),
                     fmt::format("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", when));
}

void claim(const core::PodResourceClaim& c, const std::string& at, Problems& problems) {
  const int n = (c.resource_claim_name() != nullptr) + (c.resource_claim_template_name() != nullptr);
  if (n > 1)
    problems.invalid_json(at, json_of("core_v1.PodResourceClaim", &c),
                          "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
  if (n == 0)
    problems.invalid_json(at, json_of("core_v1.PodResourceClaim", &c),
                          "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
}

void dns_config(const core::PodDNSConfig& config, const std::string& at, Problems& problems) {
  if (count(config.nameservers()) > 3)
    problems.invalid_json(at + ".nameservers", std::to_string(count(config.nameservers())),
                          "must not have more than 3 nameservers");
  if (count(config.searches()) > 32)
    problems.invalid_json(at + ".searches", std::to_string(count(config.searches())),
                          "must not have more than 32 search paths");
  for (uoffset_t i = 0; i < count(config.searches()); ++i) {
    std::string_view search = str(config.searches()->Get(i));
    const std::string path = fmt::format("{}.searches[{}]", at, i);
    if (search == ".") continue;
    if (search.ends_with('.')) search.remove_suffix(1);
    std::string plain(search);  // since 1.34 underscores may stand in search paths
    std::replace(plain.begin(), plain.end(), '_', 'a');
    problems.check(path, str(config.searches()->Get(i)), model::check_dns_subdomain(plain));
  }
}

constexpr Program kPrograms[] = {
    {"meta_v1.LabelSelector", typed<api::meta_v1::LabelSelector, label_selector>},
    {"core_v1.EnvVarSource", typed<core::EnvVarSource, env_source>},
    {"core_v1.EnvFromSource", typed<core::EnvFromSource, env_from>},
    {"core_v1.DownwardAPIVolumeFile", typed<core::DownwardAPIVolumeFile, downward_file>},
    {"core_v1.VolumeProjection", typed<core::VolumeProjection, projection>},
    {"core_v1.ProjectedVolumeSource", typed<core::ProjectedVolumeSource, projected>},
    {"core_v1.ServiceAccountTokenProjection", typed<core::ServiceAccountTokenProjection, token_projection>},
    {"core_v1.EmptyDirVolumeSource", typed<core::EmptyDirVolumeSource, empty_dir>},
    {"core_v1.EphemeralVolumeSource", typed<core::EphemeralVolumeSource, ephemeral_volume>},
    {"core_v1.SeccompProfile", typed<core::SeccompProfile, seccomp>},
    {"core_v1.AppArmorProfile", typed<core::AppArmorProfile, apparmor>},
    {"core_v1.SecurityContext", typed<core::SecurityContext, security_context>},
    {"core_v1.PodSecurityContext", typed<core::PodSecurityContext, pod_security>},
    {"core_v1.NodeSelector", typed<core::NodeSelector, node_selector>},
    {"core_v1.NodeSelectorTerm", typed<core::NodeSelectorTerm, node_term>},
    {"core_v1.PreferredSchedulingTerm", typed<core::PreferredSchedulingTerm, weight<core::PreferredSchedulingTerm>>},
    {"core_v1.WeightedPodAffinityTerm", typed<core::WeightedPodAffinityTerm, weight<core::WeightedPodAffinityTerm>>},
    {"core_v1.TopologySpreadConstraint", typed<core::TopologySpreadConstraint, spread>},
    {"core_v1.PodResourceClaim", typed<core::PodResourceClaim, claim>},
    {"core_v1.PodDNSConfig", typed<core::PodDNSConfig, dns_config>},
};

}  // namespace

std::span<const Program> core_programs() { return kPrograms; }

}  // namespace gantry::apigw
