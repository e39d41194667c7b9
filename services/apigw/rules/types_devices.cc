// Rules of resource.k8s.io: claims for devices, classes of devices, and the slices in which drivers announce them.
#include <nlohmann/json.hpp>
#include <set>

#include "libs/model/names.h"
#include "schemas/api/resource_v1_generated.h"
#include "services/apigw/rules/cel_syntax.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using flatbuffers::uoffset_t;
using model::str;
namespace core = api::core_v1;
namespace devices = api::resource_v1;

constexpr size_t kMaxList = 32;  // requests, constraints, configurations, selectors
constexpr size_t kMaxFirstAvailable = 8, kMaxTolerations = 16, kMaxTaints = 4, kMaxConditions = 4;
constexpr size_t kMaxDevices = 128, kMaxCounterSets = 8, kMaxTraits = 32;
constexpr size_t kMaxExpression = 10 * 1024, kMaxParameters = 10 * 1024, kMaxDriver = 63, kMaxText = 64;

void at_most(size_t max, const auto* list, const std::string& at, Problems& problems) {
  if (count(list) > max) problems.too_many(at, count(list), max);
}

std::string check_identifier(std::string_view name) {
  const bool good =
      !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
  if (name.size() > 32) return "must be no more than 32 bytes";
  return good ? ""
              : "a valid C identifier must start with alphabetic character or '_', followed by a string of "
                "alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for "
                "validation is '[A-Za-z_][A-Za-z0-9_]*')";
}

/// `[domain/]identifier`, the name of an attribute or a capacity.
void trait_name(std::string_view name, const std::string& at, bool with_domain, Problems& problems) {
  const size_t slash = name.find('/');
  if (name.empty()) return problems.required(at, "name required");
  if (slash == std::string_view::npos) {
    if (with_domain) problems.invalid(at, name, "must include a domain");
    return problems.check(at, name, check_identifier(name));
  }
  if (slash == 0) {
    problems.required(at, "the domain must not be empty");
  } else {
    problems.check(at, name.substr(0, slash), model::check_dns_subdomain(name.substr(0, slash)));
  }
  problems.check(at, name.substr(slash + 1), check_identifier(name.substr(slash + 1)));
}

void driver(std::string_view name, const std::string& at, Problems& problems) {
  if (name.empty()) return problems.required(at);
  if (name.size() > kMaxDriver) problems.too_long(at, kMaxDriver);
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  problems.check(at, name, model::check_dns_subdomain(lower));
}

void pool_name(std::string_view name, const std::string& at, Problems& problems) {
  if (name.empty()) return problems.required(at);
  if (name.size() > 253) problems.too_long(at, 253);
  while (true) {
    const size_t slash = std::min(name.find('/'), name.size());
    problems.check(at, name.substr(0, slash), model::check_dns_subdomain(name.substr(0, slash)));
    if (slash == name.size()) return;
    name.remove_prefix(slash + 1);
  }
}

// --- claims

void selector(const devices::DeviceSelector& s, const std::string& at, Problems& problems) {
  if (s.cel() == nullptr) return problems.required(at + ".cel");
  const std::string_view text = str(s.cel()->expression());
  const std::string path = at + ".cel.expression";
  if (text.empty()) return problems.required(path);
  if (text.size() > kMaxExpression) return problems.too_long(path, kMaxExpression);
  if (const auto wrong = check_cel(text, {"device"}); !wrong.empty())
    problems.invalid(path, text, "compilation failed: ERROR: " + wrong);
}

void opaque(const devices::OpaqueDeviceConfiguration& o, const std::string& at, Problems& problems) {
  driver(str(o.driver()), at + ".driver", problems);
  const std::string_view text = str(o.parameters());
  const std::string path = at + ".parameters";
  if (text.empty()) return problems.required(path);
  if (text.size() > kMaxParameters) return problems.too_long(path, kMaxParameters);
  if (!nlohmann::json::parse(text, nullptr, false).is_object())
    problems.invalid_json(path, "\"<value omitted>\"", "parameters must be a valid JSON object");
}

void class_configuration(const devices::DeviceClassConfiguration& c, const std::string& at, Problems& problems) {
  if (c.opaque() == nullptr) problems.required(at + ".opaque");
}

void toleration(const devices::DeviceToleration& t, const std::string& at, Problems& problems) {
  if (!str(t.key()).empty()) problems.check(at + ".key", str(t.key()), model::check_qualified_name(str(t.key())));
  if (str(t.operator_()) == "Exists") {
    if (!str(t.value()).empty()) problems.invalid(at + ".value", str(t.value()), "must be empty for operator `Exists`");
  } else {
    problems.check(at + ".value", str(t.value()), model::check_label_value(str(t.value())));
  }
}

/// What a request and an alternative of one have in common.
template <typename T>
void wanted(const T& request, const std::string& at, Problems& problems) {
  at_most(kMaxList, request.selectors(), at + ".selectors", problems);
  at_most(kMaxTolerations, request.tolerations(), at + ".tolerations", problems);
  const int64_t number = request.count().value_or(0);
  if (str(request.allocation_mode()) == "All") {
    if (number != 0) problems.invalid(at + ".count", number, "must not be specified when allocationMode is 'All'");
  } else if (number <= 0) {
    problems.invalid(at + ".count", number, "must be greater than zero");
  }
}

void sub_request(const devices::DeviceSubRequest& request, const std::string& at, Problems& problems) {
  wanted(request, at, problems);
}
void exact_request(const devices::ExactDeviceRequest& request, const std::string& at, Problems& problems) {
  wanted(request, at, problems);
}

void unique_names(const auto* list, const std::string& at, Problems& problems) {
  std::set<std::string_view> seen;
  for (uoffset_t i = 0; i < count(list); ++i) {
    const std::string_view name = str(list->Get(i)->name());
    if (!name.empty() && !seen.insert(name).second) problems.duplicate(fmt::format("{}[{}].name", at, i), name);
  }
}

void request(const devices::DeviceRequest& r, const std::string& at, Problems& problems) {
  const bool exactly = r.exactly() != nullptr, first = count(r.first_available()) > 0;
  if (!exactly && !first) problems.required(at, "exactly one of `exactly` or `firstAvailable` is required");
  if (exactly && first)
    problems.invalid_json(at, "null",
                          "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
  at_most(kMaxFirstAvailable, r.first_available(), at + ".firstAvailable", problems);
  unique_names(r.first_available(), at + ".firstAvailable", problems);
}

/// Every request, and every alternative as `request/alternative`.
std::set<std::string> request_names(const devices::DeviceClaim& claim) {
  std::set<std::string> out;
  for (uoffset_t i = 0; i < count(claim.requests()); ++i) {
    const auto& one = *claim.requests()->Get(i);
    out.emplace(str(one.name()));
    for (uoffset_t j = 0; j < count(one.first_available()); ++j)
      out.insert(fmt::format("{}/{}", str(one.name()), str(one.first_available()->Get(j)->name())));
  }
  return out;
}

void named_requests(const auto* list, const std::set<std::string>& known, const std::string& at, Problems& problems) {
  at_most(kMaxList, list, at, problems);
  std::set<std::string_view> seen;
  for (uoffset_t i = 0; i < count(list); ++i) {
    const std::string path = fmt::format("{}[{}]", at, i);
    const std::string_view name = str(list->Get(i));
    if (!known.contains(std::string(name)))
      problems.invalid(path, name,
                       "must be the name of a request in the claim or the name of a request and a subrequest "
                       "separated by '/'");
    if (!seen.insert(name).second) problems.duplicate(path, name);
  }
}

void claim(const devices::DeviceClaim& c, const std::string& at, Problems& problems) {
  at_most(kMaxList, c.requests(), at + ".requests", problems);
  at_most(kMaxList, c.constraints(), at + ".constraints", problems);
  at_most(kMaxList, c.config(), at + ".config", problems);
  unique_names(c.requests(), at + ".requests", problems);
  const auto known = request_names(c);
  for (uoffset_t i = 0; i < count(c.constraints()); ++i) {
    const auto& one = *c.constraints()->Get(i);
    const std::string path = fmt::format("{}.constraints[{}]", at, i);
    named_requests(one.requests(), known, path + ".requests", problems);
    const bool match = one.match_attribute() != nullptr, distinct = one.distinct_attribute() != nullptr;
    if (!match && !distinct)
      problems.required(path, "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required");
    if (match && distinct)
      problems.invalid_json(path, json_of("resource_v1.DeviceConstraint", &one),
                            "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple "
                            "fields are set");
    if (match) trait_name(str(one.match_attribute()), path + ".matchAttribute", true, problems);
    if (distinct) trait_name(str(one.distinct_attribute()), path + ".distinctAttribute", true, problems);
  }
  for (uoffset_t i = 0; i < count(c.config()); ++i) {
    const std::string path = fmt::format("{}.config[{}]", at, i);
    named_requests(c.config()->Get(i)->requests(), known, path + ".requests", problems);
    if (c.config()->Get(i)->opaque() == nullptr) problems.required(path + ".opaque");
  }
}

void device_class(const devices::DeviceClassSpec& spec, const std::string& at, Problems& problems) {
  at_most(kMaxList, spec.selectors(), at + ".selectors", problems);
  at_most(kMaxList, spec.config(), at + ".config", problems);
  if (spec.extended_resource_name() == nullptr) return;
  const std::string_view name = str(spec.extended_resource_name());
  const std::string path = at + ".extendedResourceName";
  problems.check(path, name, model::check_qualified_name(name));
  if (name.find('/') == std::string_view::npos || name.find("kubernetes.io/") != std::string_view::npos ||
      name.starts_with("requests."))
    problems.invalid(path, name, "must be a valid extended resource name");
}

// --- slices

constexpr const char* kWhere = "exactly one of `nodeName`, `nodeSelector`, `allNodes`";

/// Where a slice's or a device's devices can be reached from.
template <typename T>
int places(const T& of, const std::string& at, Problems& problems) {
  if (of.node_name() != nullptr) {
    if (str(of.node_name()).empty()) {
      problems.invalid(at + ".nodeName", "", "must be either unset or set to a non-empty string");
    } else {
      problems.check(at + ".nodeName", str(of.node_name()), model::check_dns_subdomain(str(of.node_name())));
    }
  }
  if (of.node_selector() != nullptr && count(of.node_selector()->node_selector_terms()) != 1)
    problems.invalid_json(at + ".nodeSelector.nodeSelectorTerms", json_of("core_v1.NodeSelector", of.node_selector()),
                          "must have exactly one node selector term");
  if (of.all_nodes() && !*of.all_nodes())
    problems.invalid_json(at + ".allNodes", "false", "must be either unset or set to true");
  return (of.node_name() != nullptr ? 1 : 0) + (of.node_selector() != nullptr ? 1 : 0) + (of.all_nodes() ? 1 : 0);
}

std::string check_version(std::string_view text) {
  constexpr const char* kWrong = "must be a string compatible with semver.org spec 2.0.0";
  for (int part = 0; part < 3; ++part) {
    size_t end = 0;
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    if (end == 0 || (end > 1 && text[0] == '0')) return kWrong;
    text.remove_prefix(end);
    if (part == 2) break;
    if (!text.starts_with('.')) return kWrong;
    text.remove_prefix(1);
  }
  if (text.empty()) return "";
  const bool plain = (text[0] == '-' || text[0] == '+') && text.size() > 1 &&
                     std::all_of(text.begin(), text.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '-' || c == '+' || c == '.';
                     });
  return plain ? "" : kWrong;
}

void attribute(const devices::DeviceAttribute* a, const std::string& at, Problems& problems) {
  const int values = a == nullptr ? 0
                                  : (a->int_value() ? 1 : 0) + (a->bool_value() ? 1 : 0) +
                                        (a->string_value() != nullptr ? 1 : 0) + (a->version() != nullptr ? 1 : 0);
  if (values == 0) return problems.required(at, "exactly one value must be specified");
  if (values > 1)
    return problems.invalid_json(at, json_of("resource_v1.DeviceAttribute", a), "exactly one value must be specified");
  if (str(a->string_value()).size() > kMaxText) problems.too_long(at + ".string", kMaxText);
  if (a->version() == nullptr) return;
  if (str(a->version()).size() > kMaxText) problems.too_long(at + ".version", kMaxText);
  problems.check(at + ".version", str(a->version()), check_version(str(a->version())));
}

using KnownCounters = std::map<std::string_view, std::set<std::string_view>>;

void consumption(const devices::DeviceCounterConsumption& c, const KnownCounters& known, const std::string& at,
                 Problems& problems) {
  const auto set = known.find(str(c.counter_set()));
  if (set == known.end() && !str(c.counter_set()).empty())
    problems.invalid(at + ".counterSet", str(c.counter_set()),
                     "must reference a counterSet defined in the ResourceSlice sharedCounters");
  if (count(c.counters()) == 0) problems.required(at + ".counters");
  for (uoffset_t i = 0; i < count(c.counters()); ++i) {
    const std::string_view name = str(c.counters()->Get(i)->key());
    if (set != known.end() && !set->second.contains(name))
      problems.invalid(at + ".counters", name, "must reference a counter defined in the ResourceSlice sharedCounters");
  }
}

void device(const devices::Device& d, bool places_each, const KnownCounters& known, const std::string& at,
            Problems& problems) {
  const size_t traits = count(d.attributes()) + count(d.capacity());
  if (traits > kMaxTraits)
    problems.invalid(at, static_cast<int64_t>(traits),
                     "the total number of attributes and capacities must not exceed 32");
  for (uoffset_t i = 0; i < count(d.attributes()); ++i) {
    const auto& one = *d.attributes()->Get(i);
    const std::string path = fmt::format("{}.attributes[{}]", at, str(one.key()));
    trait_name(str(one.key()), path, false, problems);
    attribute(one.value(), path, problems);
  }
  for (uoffset_t i = 0; i < count(d.capacity()); ++i) {
    const std::string_view name = str(d.capacity()->Get(i)->key());
    trait_name(name, fmt::format("{}.capacity[{}]", at, name), false, problems);
  }
  for (uoffset_t i = 0; i < count(d.consumes_counters()); ++i)
    consumption(*d.consumes_counters()->Get(i), known, fmt::format("{}.consumesCounters[{}]", at, i), problems);
  const int n = places(d, at, problems);
  if (places_each && n == 0)
    problems.required(
        at,
        fmt::format("{} is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec", kWhere));
  if (places_each && n > 1)
    problems.invalid_json(at, "null",
                          fmt::format("{} is required when `perDeviceNodeSelection` is set to true in the "
                                      "ResourceSlice spec, but multiple fields are set",
                                      kWhere));
  if (!places_each && n > 0)
    problems.invalid_json(at, "null",
                          "`nodeName`, `nodeSelector` and `allNodes` can only be specified when "
                          "`perDeviceNodeSelection` is set to true in the ResourceSlice spec");
  at_most(kMaxTaints, d.taints(), at + ".taints", problems);
  for (uoffset_t i = 0; i < count(d.taints()); ++i) {
    const auto& taint = *d.taints()->Get(i);
    const std::string path = fmt::format("{}.taints[{}]", at, i);
    if (!str(taint.key()).empty())
      problems.check(path + ".key", str(taint.key()), model::check_qualified_name(str(taint.key())));
    problems.check(path + ".value", str(taint.value()), model::check_label_value(str(taint.value())));
  }
  at_most(kMaxConditions, d.binding_conditions(), at + ".bindingConditions", problems);
  at_most(kMaxConditions, d.binding_failure_conditions(), at + ".bindingFailureConditions", problems);
  if (count(d.binding_conditions()) > 0 && count(d.binding_failure_conditions()) == 0)
    problems.required(at + ".bindingFailureConditions",
                      "bindingFailureConditions are required to use bindingConditions");
  if (count(d.binding_conditions()) == 0 && count(d.binding_failure_conditions()) > 0)
    problems.required(at + ".bindingConditions", "bindingConditions are required to use bindingFailureConditions");
}

void slice(const devices::ResourceSliceSpec& spec, const std::string& at, Problems& problems) {
  driver(str(spec.driver()), at + ".driver", problems);
  const auto* pool = spec.pool();
  pool_name(pool == nullptr ? std::string_view() : str(pool->name()), at + ".pool.name", problems);
  const int64_t slices = pool == nullptr ? 0 : pool->resource_slice_count().value_or(0);
  if (slices <= 0) problems.invalid(at + ".pool.resourceSliceCount", slices, "must be greater than zero");
  const int64_t generation = pool == nullptr ? 0 : pool->generation().value_or(0);
  if (generation < 0) problems.invalid(at + ".pool.generation", generation, "must be greater than or equal to zero");
  const bool each = spec.per_device_node_selection().has_value();
  if (each && !*spec.per_device_node_selection())
    problems.invalid_json(at + ".perDeviceNodeSelection", "false", "must be either unset or set to true");
  const int n = places(spec, at, problems) + (each ? 1 : 0);
  const std::string one_of = fmt::format("{}, `perDeviceNodeSelection` is required", kWhere);
  if (n == 0) problems.required(at, one_of);
  if (n > 1) problems.invalid_json(at, "null", one_of + ", but multiple fields are set");
  KnownCounters known;
  at_most(kMaxCounterSets, spec.shared_counters(), at + ".sharedCounters", problems);
  unique_names(spec.shared_counters(), at + ".sharedCounters", problems);
  for (uoffset_t i = 0; i < count(spec.shared_counters()); ++i) {
    const auto& set = *spec.shared_counters()->Get(i);
    auto& counters = known[str(set.name())];
    const std::string path = fmt::format("{}.sharedCounters[{}].counters", at, i);
    if (count(set.counters()) == 0) problems.required(path);
    for (uoffset_t j = 0; j < count(set.counters()); ++j) {
      const std::string_view name = str(set.counters()->Get(j)->key());
      counters.insert(name);
      problems.check(path, name, model::check_dns_label(name));
    }
  }
  at_most(kMaxDevices, spec.devices(), at + ".devices", problems);
  unique_names(spec.devices(), at + ".devices", problems);
  for (uoffset_t i = 0; i < count(spec.devices()); ++i)
    device(*spec.devices()->Get(i), each, known, fmt::format("{}.devices[{}]", at, i), problems);
}

constexpr Program kPrograms[] = {
    {"resource_v1.DeviceSelector", typed<devices::DeviceSelector, selector>},
    {"resource_v1.OpaqueDeviceConfiguration", typed<devices::OpaqueDeviceConfiguration, opaque>},
    {"resource_v1.DeviceClassConfiguration", typed<devices::DeviceClassConfiguration, class_configuration>},
    {"resource_v1.DeviceToleration", typed<devices::DeviceToleration, toleration>},
    {"resource_v1.ExactDeviceRequest", typed<devices::ExactDeviceRequest, exact_request>},
    {"resource_v1.DeviceSubRequest", typed<devices::DeviceSubRequest, sub_request>},
    {"resource_v1.DeviceRequest", typed<devices::DeviceRequest, request>},
    {"resource_v1.DeviceClaim", typed<devices::DeviceClaim, claim>},
    {"resource_v1.DeviceClassSpec", typed<devices::DeviceClassSpec, device_class>},
    {"resource_v1.ResourceSliceSpec", typed<devices::ResourceSliceSpec, slice>},
};

}  // namespace

std::span<const Program> device_programs() { return kPrograms; }

}  // namespace gantry::apigw
