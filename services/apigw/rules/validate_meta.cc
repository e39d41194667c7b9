#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "libs/model/names.h"
#include "services/apigw/rules/checks.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {
namespace {

using model::str;

constexpr size_t kMaxAnnotationBytes = 256 * 1024;

// Kinds whose names may hold colons: they stand in no other name.
constexpr std::string_view kPathNames[] = {"roles", "clusterroles", "rolebindings", "clusterrolebindings",
                                           "certificatesigningrequests"};

std::string check_name(const model::Kind& kind, std::string_view name) {
  if (std::find(std::begin(kPathNames), std::end(kPathNames), kind.resource) != std::end(kPathNames))
    return model::check_path_segment(name);
  if (kind.resource == "ipaddresses") return check_ip(name);
  if (kind.resource == "services") return model::check_service_name(name);
  if (kind.resource == "namespaces") return model::check_dns_label(name);
  if (kind.group == "rbac.authorization.k8s.io") {  // system:node: any segment of a path
    if (name == "." || name == "..") return fmt::format("may not be '{}'", name);
    if (name.find('/') != std::string_view::npos) return "may not contain '/'";
    if (name.find('%') != std::string_view::npos) return "may not contain '%'";
    return {};
  }
  return model::check_dns_subdomain(name);
}

void validate_annotations(const model::Labels* annotations, const std::string& at, Problems& problems) {
  if (annotations == nullptr) return;
  size_t bytes = 0;
  for (const auto* entry : *annotations) {
    bytes += str(entry->key()).size() + str(entry->value()).size();
    std::string lower(str(entry->key()));  // what is capital in an annotation's key is let pass
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    problems.check(at, str(entry->key()), model::check_qualified_name(lower));
  }
  if (bytes > kMaxAnnotationBytes) problems.too_long(at, kMaxAnnotationBytes);
}

void validate_owners(const api::meta_v1::ObjectMeta& meta, Problems& problems) {
  if (meta.owner_references() == nullptr) return;
  std::string controller;
  for (flatbuffers::uoffset_t i = 0; i < meta.owner_references()->size(); ++i) {
    const auto& owner = *meta.owner_references()->Get(i);
    const std::string path = fmt::format("metadata.ownerReferences[{}]", i);
    if (str(owner.api_version()).empty()) problems.invalid(path + ".apiVersion", "", "version must not be empty");
    if (str(owner.kind()).empty()) problems.invalid(path + ".kind", "", "must not be empty");
    if (str(owner.name()).empty()) problems.invalid(path + ".name", "", "must not be empty");
    if (str(owner.uid()).empty()) problems.invalid(path + ".uid", "", "must not be empty");
    if (str(owner.kind()) == "Event" && str(owner.api_version()) == "v1")
      problems.invalid(path, "v1, Kind=Event", "/v1, Kind=Event is disallowed from being an owner");
    if (!owner.controller().value_or(false)) continue;
    const std::string who = fmt::format("{}/{}", str(owner.kind()), str(owner.name()));
    if (!controller.empty()) {
      problems.invalid(
          "metadata.ownerReferences", who,
          fmt::format("Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                      controller, who));
    }
    controller = who;
  }
}

void validate_finalizers(const api::meta_v1::ObjectMeta& meta, Problems& problems) {
  bool orphan = false, foreground = false;
  for (flatbuffers::uoffset_t i = 0; meta.finalizers() != nullptr && i < meta.finalizers()->size(); ++i) {
    const std::string_view name = str(meta.finalizers()->Get(i));
    const std::string at = fmt::format("metadata.finalizers[{}]", i);
    orphan = orphan || name == "orphan";
    foreground = foreground || name == "foregroundDeletion";
    if (const auto wrong = model::check_qualified_name(name); !wrong.empty()) {
      problems.invalid(at, name, wrong);
    } else if (name.find('/') == std::string_view::npos &&
               !one_of(name, {"orphan", "foregroundDeletion", "kubernetes"})) {
      problems.invalid(at, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
  }
  if (orphan && foreground)
    problems.invalid("metadata.finalizers", "orphan", "finalizer orphan and foregroundDeletion cannot be both set");
}

}  // namespace

void validate_labels(const model::Labels* labels, const std::string& at, Problems& problems) {
  if (labels == nullptr) return;
  for (const auto* entry : *labels) {
    problems.check(at, str(entry->key()), model::check_qualified_name(str(entry->key())));
    problems.check(at, str(entry->value()), model::check_label_value(str(entry->value())));
  }
}

void validate_template_meta(const api::meta_v1::ObjectMeta* meta, const std::string& at, Problems& problems) {
  if (meta == nullptr) return;
  validate_labels(meta->labels(), at + ".labels", problems);
  validate_annotations(meta->annotations(), at + ".annotations", problems);
}

void validate_label_selector(const api::meta_v1::LabelSelector* selector, const std::string& at, Problems& problems) {
  if (selector == nullptr) return;
  validate_labels(selector->match_labels(), at + ".matchLabels", problems);
  for (flatbuffers::uoffset_t i = 0;
       selector->match_expressions() != nullptr && i < selector->match_expressions()->size(); ++i) {
    const auto& expression = *selector->match_expressions()->Get(i);
    const std::string path = fmt::format("{}.matchExpressions[{}]", at, i);
    const std::string_view op = str(expression.operator_());
    const bool values = expression.values() != nullptr && expression.values()->size() > 0;
    if (op == "In" || op == "NotIn") {
      if (!values) problems.required(path + ".values", "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (values)
        problems.forbidden(path + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      problems.invalid(path + ".operator", op, "not a valid selector operator");
    }
    problems.check(path + ".key", str(expression.key()), model::check_qualified_name(str(expression.key())));
  }
}

void validate_meta(const model::Object& object, Problems& problems) {
  const auto* meta = object.meta();
  if (meta == nullptr || object.name().empty()) {
    problems.required("metadata.name", "name or generateName is required");
    if (meta == nullptr) return;
  } else {
    problems.check("metadata.name", object.name(), check_name(object.kind(), object.name()));
  }
  if (object.kind().namespaced) {
    if (object.ns().empty()) {
      problems.required("metadata.namespace");
    } else {
      problems.check("metadata.namespace", object.ns(), model::check_dns_label(object.ns()));
    }
  }
  validate_labels(meta->labels(), "metadata.labels", problems);
  validate_annotations(meta->annotations(), "metadata.annotations", problems);
  validate_owners(*meta, problems);
  validate_finalizers(*meta, problems);
  if (meta->generation().value_or(0) < 0) problems.invalid("metadata.generation", *meta->generation(), kNotNegative);
}

}  // namespace gantry::apigw
