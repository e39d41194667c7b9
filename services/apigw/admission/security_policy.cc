// Pod security by namespace labels: which level and version a namespace enforces and warns of, and what that means for
// a pod, for what makes pods, and for the namespace itself.
#include <fmt/format.h>

#include <charconv>
#include <initializer_list>

#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "services/apigw/admission/admission.h"
#include "services/apigw/admission/pod_security.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;

constexpr std::string_view kPrefix = "pod-security.kubernetes.io/";

bool one_of(std::string_view value, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// The minor version of "v1.25" or "latest"; nullopt for anything else.
std::optional<int> minor_of(std::string_view version) {
  if (version == "latest") return kLatestSecurity;
  if (!version.starts_with("v1.")) return std::nullopt;
  version.remove_prefix(3);
  int minor = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), minor);
  const bool plain = version == "0" || (!version.starts_with('0') && !version.starts_with('-'));
  if (error != std::errc() || end != version.data() + version.size() || !plain) return std::nullopt;
  return std::min(minor, kLatestSecurity);  // what comes later is as the latest that is known
}

struct Policy {
  SecurityLevel level = SecurityLevel::kPrivileged;
  int minor = kLatestSecurity;
  std::string name = "privileged", version = "latest";
  bool operator==(const Policy&) const = default;
  std::string text() const { return fmt::format("{}:{}", name, version); }
};

Policy policy_of(const model::Object& ns, std::string_view mode) {
  Policy policy;
  const std::string label = fmt::format("{}{}", kPrefix, mode);
  const std::string_view level = model::label(ns.meta(), label), version = model::label(ns.meta(), label + "-version");
  if (level.empty()) return policy;
  policy.name = level;
  if (!version.empty()) policy.version = version;
  policy.minor = minor_of(policy.version).value_or(kLatestSecurity);
  // A level that nobody knows is the strictest.
  policy.level = level == "privileged" ? SecurityLevel::kPrivileged
                 : level == "baseline" ? SecurityLevel::kBaseline
                                       : SecurityLevel::kRestricted;
  return policy;
}

std::string violations_text(const Policy& policy, const core::PodSpec& spec) {
  if (policy.level == SecurityLevel::kPrivileged) return {};
  std::string out;
  for (const auto& one : security_violations(policy.level, policy.minor, spec)) out += (out.empty() ? "" : ", ") + one;
  return out.empty() ? out : fmt::format("PodSecurity \"{}\": {}", policy.text(), out);
}

// The spec of the pods that a workload makes.
const core::PodSpec* template_of(const model::Object& object) {
  const std::string path(model::pod_template_path(object.kind().resource));
  return reinterpret_cast<const core::PodSpec*>(model::find(object, path + ".spec").table());
}

// --- namespaces

Problems wrong_labels(const model::Object& ns) {
  Problems problems;
  for (const char* mode : {"enforce", "audit", "warn"}) {
    const std::string label = fmt::format("{}{}", kPrefix, mode);
    const auto* labels = ns.meta()->labels();
    const auto* level = model::lookup(labels, label);
    const auto* version = model::lookup(labels, label + "-version");
    if (level != nullptr && !one_of(str(level), {"privileged", "baseline", "restricted"}))
      problems.invalid(fmt::format("metadata.labels[{}]", label), str(level),
                       "must be one of privileged, baseline, restricted");
    if (version != nullptr && !minor_of(str(version)))
      problems.invalid(fmt::format("metadata.labels[{}-version]", label), str(version),
                       "must be \"latest\" or \"v1.x\"");
  }
  return problems;
}

/// What runs already and would not be let in any more: warnings, by what it violates.
void warn_of_existing(AdmissionRequest& a, const model::Object& ns, const Policy& enforce) {
  constexpr size_t kMaxPods = 3000, kMaxReasons = 20;
  std::vector<std::pair<std::string, std::vector<std::string>>> found;
  size_t seen = 0;
  a.objects.visit_objects("pods", ns.name(), [&](const model::Object& pod) {
    const auto* spec = pod.as<core::Pod>()->spec();
    if (spec == nullptr || ++seen > kMaxPods) return;
    std::string reasons;
    for (const auto& one : security_violations(enforce.level, enforce.minor, *spec)) {
      const size_t end = one.find(" (");
      reasons += (reasons.empty() ? "" : ", ") + one.substr(0, end);
    }
    if (reasons.empty()) return;
    auto it = std::find_if(found.begin(), found.end(), [&](const auto& f) { return f.first == reasons; });
    if (it == found.end()) it = found.insert(found.end(), {reasons, {}});
    it->second.emplace_back(pod.name());
  });
  if (found.empty()) return;
  a.warnings.push_back(fmt::format("existing pods in namespace \"{}\" violate the new PodSecurity enforce level \"{}\"",
                                   ns.name(), enforce.text()));
  if (found.size() > kMaxReasons) found.resize(kMaxReasons);
  for (const auto& [reasons, pods] : found) {
    const size_t others = pods.size() - 1;
    const std::string more = others == 0 ? "" : fmt::format(" (and {} other pod{})", others, others == 1 ? "" : "s");
    a.warnings.push_back(fmt::format("{}{}: {}", pods[0], more, reasons));
  }
}

Status check_namespace(AdmissionRequest& a, const model::Object& ns) {
  if (!a.subresource.empty()) return Done{};
  const Problems problems = wrong_labels(ns);
  // What was wrong before does not keep anybody from changing something else.
  if (!problems.empty() && (a.creates() || wrong_labels(a.before).empty())) return problems.error(a.kind, ns.name());
  if (a.creates() || !problems.empty()) return Done{};
  const Policy now = policy_of(ns, "enforce");
  if (now.level != SecurityLevel::kPrivileged && now != policy_of(a.before, "enforce")) warn_of_existing(a, ns, now);
  return Done{};
}

}  // namespace

Status check_pod_security(AdmissionRequest& a, const model::Object& object) {
  if (a.kind.resource == "namespaces") return check_namespace(a, object);
  const bool pod = a.kind.resource == "pods";
  if (!pod && model::pod_template_path(a.kind.resource).empty()) return Done{};
  if (!a.subresource.empty() && a.subresource != "ephemeralcontainers") return Done{};
  const model::Object* ns = a.objects.find_object("namespaces", "", a.ns);
  if (ns == nullptr || ns->meta()->labels() == nullptr) return Done{};
  const core::PodSpec* spec = pod ? object.as<core::Pod>()->spec() : template_of(object);
  if (spec == nullptr) return Done{};
  if (pod && a.before && a.subresource.empty()) return Done{};  // what may change of a pod does not matter here
  if (pod) {
    const Policy enforce = policy_of(*ns, "enforce");
    if (const auto text = violations_text(enforce, *spec); !text.empty()) {
      a.unsure.emplace_back("namespaces");
      return forbidden(a.kind, object.name(), "violates " + text);
    }
  }
  const Policy warn = policy_of(*ns, "warn");
  if (const auto text = violations_text(warn, *spec); !text.empty()) a.warnings.push_back("would violate " + text);
  return Done{};
}

}  // namespace gantry::apigw
