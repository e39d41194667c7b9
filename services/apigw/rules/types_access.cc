// Rules of roles and bindings, and of requests for certificates.
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <set>

#include "libs/model/names.h"
#include "schemas/api/certificates_v1_generated.h"
#include "schemas/api/rbac_v1_generated.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using flatbuffers::uoffset_t;
using model::str;

void policy_rule(const api::rbac_v1::PolicyRule& rule, bool namespaced, const std::string& at, Problems& problems) {
  if (count(rule.non_resource_urls()) > 0) {
    std::string urls;
    for (const auto* url : *rule.non_resource_urls()) urls += (urls.empty() ? "" : ",") + quoted(str(url));
    if (namespaced)
      problems.invalid_json(at + ".nonResourceURLs", "[" + urls + "]",
                            "namespaced rules cannot apply to non-resource URLs");
    if (count(rule.api_groups()) + count(rule.resources()) + count(rule.resource_names()) > 0)
      problems.invalid_json(at + ".nonResourceURLs", "[" + urls + "]",
                            "rules cannot apply to both regular resources and non-resource URLs");
    return;
  }
  if (count(rule.api_groups()) == 0)
    problems.required(at + ".apiGroups", "resource rules must supply at least one api group");
  if (count(rule.resources()) == 0)
    problems.required(at + ".resources", "resource rules must supply at least one resource");
}

void role(const api::rbac_v1::Role& role, const std::string&, Problems& problems) {
  for (uoffset_t i = 0; i < count(role.rules()); ++i)
    policy_rule(*role.rules()->Get(i), true, fmt::format("rules[{}]", i), problems);
}

void cluster_role(const api::rbac_v1::ClusterRole& role, const std::string&, Problems& problems) {
  for (uoffset_t i = 0; i < count(role.rules()); ++i)
    policy_rule(*role.rules()->Get(i), false, fmt::format("rules[{}]", i), problems);
  if (role.aggregation_rule() != nullptr && count(role.aggregation_rule()->cluster_role_selectors()) == 0)
    problems.required("aggregationRule.clusterRoleSelectors",
                      "at least one clusterRoleSelector required if aggregationRule is non-nil");
}

void subject(const api::rbac_v1::Subject& s, bool namespaced, const std::string& at, Problems& problems) {
  const std::string_view kind = str(s.kind()), group = str(s.api_group()), name = str(s.name());
  if (kind == "ServiceAccount") {
    if (!name.empty()) problems.check(at + ".name", name, model::check_dns_subdomain(name));
    if (!group.empty()) problems.unsupported(at + ".apiGroup", group, {""});
    if (!namespaced && str(s.namespace_()).empty()) problems.required(at + ".namespace");
  } else if (kind == "User" || kind == "Group") {
    if (group != "rbac.authorization.k8s.io")
      problems.unsupported(at + ".apiGroup", group, {"rbac.authorization.k8s.io"});
  } else if (!kind.empty()) {
    problems.unsupported(at + ".kind", kind, {"Group", "ServiceAccount", "User"});
  }
}

template <typename T, bool kNamespaced>
void binding(const T& b, const std::string&, Problems& problems) {
  const std::string_view kind = b.role_ref() == nullptr ? std::string_view() : str(b.role_ref()->kind());
  const bool known = kind == "ClusterRole" || (kNamespaced && kind == "Role");
  if (!known) {
    std::vector<std::string_view> kinds = {"ClusterRole"};
    if (kNamespaced) kinds.push_back("Role");
    problems.unsupported("roleRef.kind", kind, kinds);
  }
  for (uoffset_t i = 0; i < count(b.subjects()); ++i)
    subject(*b.subjects()->Get(i), kNamespaced, fmt::format("subjects[{}]", i), problems);
}

// --- certificates

/// "" or why the bytes are no PEM-encoded request.
std::string check_request(std::string_view pem) {
  const auto free_bio = [](BIO* bio) { BIO_free(bio); };
  const std::unique_ptr<BIO, decltype(free_bio)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                     free_bio);
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1) return "PEM block type must be CERTIFICATE REQUEST";
  const std::string type(name);
  const unsigned char* at = data;
  X509_REQ* request = type == "CERTIFICATE REQUEST" ? d2i_X509_REQ(nullptr, &at, size) : nullptr;
  const bool parsed = request != nullptr;
  X509_REQ_free(request);
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  if (type != "CERTIFICATE REQUEST") return "PEM block type must be CERTIFICATE REQUEST";
  return parsed ? "" : "asn1: structure error: malformed certificate request";
}

std::string check_signer(std::string_view name) {
  constexpr const char* kForm = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos || slash + 1 == name.size()) return kForm;
  const auto domain = name.substr(0, slash);
  if (domain.find('.') == std::string_view::npos)
    return "should be a domain with at least two segments separated by dots";
  if (auto wrong = model::check_dns_subdomain(domain); !wrong.empty()) return wrong;
  if (name.size() > 571) return "must be no more than 571 characters";
  for (std::string_view rest = name.substr(slash + 1); !rest.empty();) {
    const size_t end = std::min(rest.find('.'), rest.size());
    if (auto wrong = model::check_dns_label(rest.substr(0, end)); !wrong.empty())
      return "a lowercase RFC 1123 subdomain" + wrong.substr(std::string_view("a lowercase RFC 1123 label").size());
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

void signing_request(const api::certificates_v1::CertificateSigningRequestSpec& spec, const std::string& at,
                     Problems& problems) {
  const auto* request = spec.request();
  const std::string_view pem = request == nullptr
                                   ? std::string_view()
                                   : std::string_view(reinterpret_cast<const char*>(request->data()), request->size());
  if (const auto wrong = check_request(pem); !wrong.empty())
    problems.invalid(at + ".request", pem.substr(0, 200), wrong);
  const std::string_view signer = str(spec.signer_name());
  if (signer == "kubernetes.io/legacy-unknown") {
    problems.invalid(at + ".signerName", signer, "the legacy signerName is not allowed via this API version");
  } else if (!signer.empty()) {
    problems.check(at + ".signerName", signer, check_signer(signer));
  }
  if (spec.expiration_seconds() && *spec.expiration_seconds() < 600)
    problems.invalid(at + ".expirationSeconds", *spec.expiration_seconds(),
                     "may not specify a duration less than 600 seconds (10 minutes)");
  std::set<std::string_view> usages;
  for (uoffset_t i = 0; i < count(spec.usages()); ++i) {
    if (!usages.insert(str(spec.usages()->Get(i))).second)
      problems.duplicate(fmt::format("{}.usages[{}]", at, i), str(spec.usages()->Get(i)));
  }
}

constexpr Program kPrograms[] = {
    {"rbac_v1.Role", typed<api::rbac_v1::Role, role>},
    {"rbac_v1.ClusterRole", typed<api::rbac_v1::ClusterRole, cluster_role>},
    {"rbac_v1.RoleBinding", typed<api::rbac_v1::RoleBinding, binding<api::rbac_v1::RoleBinding, true>>},
    {"rbac_v1.ClusterRoleBinding",
     typed<api::rbac_v1::ClusterRoleBinding, binding<api::rbac_v1::ClusterRoleBinding, false>>},
    {"certificates_v1.CertificateSigningRequestSpec",
     typed<api::certificates_v1::CertificateSigningRequestSpec, signing_request>},
};

}  // namespace

std::span<const Program> access_programs() { return kPrograms; }

}  // namespace gantry::apigw
