#include "services/controllers/certificates/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "libs/pki/pki.h"
#include "schemas/api/certificates_v1_generated.h"

namespace gantry::controllers {
namespace {

using api::certificates_v1::CertificateSigningRequest;
using api::certificates_v1::CertificateSigningRequestCondition;
using model::str;

Error invalid(std::string why) { return {Code::kInvalid, std::move(why)}; }

void count_alternatives(X509_REQ* request, RequestedNames& names) {
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request);
  auto* alternatives = static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
    switch (sk_GENERAL_NAME_value(alternatives, i)->type) {
      case GEN_DNS:
        ++names.dns;
        break;
      case GEN_IPADD:
        ++names.addresses;
        break;
      case GEN_EMAIL:
        ++names.emails;
        break;
      case GEN_URI:
        ++names.uris;
        break;
      default:
        ++names.others;
    }
  }
  GENERAL_NAMES_free(alternatives);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

const CertificateSigningRequestCondition* condition(const model::Object& csr, std::string_view type) {
  const auto* status = csr.as<CertificateSigningRequest>()->status();
  if (status == nullptr || status->conditions() == nullptr) return nullptr;
  for (const auto* one : *status->conditions()) {
    if (str(one->type()) == type) return one;
  }
  return nullptr;
}

Status check_usages(const std::vector<std::string>& usages, const char* needed) {
  const std::set<std::string> given(usages.begin(), usages.end());
  const std::set<std::string> least{"digital signature", needed};
  std::set<std::string> most = least;
  most.insert("key encipherment");
  if (given == least || given == most) return Done{};
  return invalid(fmt::format("usages did not match [digital signature key encipherment {}]", needed));
}

Status check_node(const RequestedNames& names) {
  if (names.organizations != std::vector<std::string>{"system:nodes"})
    return invalid("subject organization is not system:nodes");
  if (!names.common_name.starts_with("system:node:"))
    return invalid("subject common name does not begin with system:node:");
  if (names.emails > 0) return invalid("Email subjectAltNames are not allowed");
  if (names.uris > 0 || names.others > 0) return invalid("URI subjectAltNames are not allowed");
  return Done{};
}

Status check_client(const std::vector<std::string>& usages) {
  bool client = false;
  for (const auto& usage : usages) {
    client = client || usage == "client auth";
    if (usage != "client auth" && usage != "digital signature" && usage != "key encipherment")
      return invalid("invalid usage for client certificate: " + usage);
  }
  if (!client) return invalid("missing required usage for client certificate: client auth");
  return Done{};
}

}  // namespace

Result<RequestedNames> names_of(std::string_view pem) {
  const auto request = pki::read_request(pem);
  if (request == nullptr) return invalid("unable to parse the certificate request");
  if (X509_REQ_verify(request.get(), X509_REQ_get0_pubkey(request.get())) != 1)
    return invalid("the certificate request is not signed by its own key");
  RequestedNames out;
  const X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  const auto names = pki::entries(subject, NID_commonName);
  if (!names.empty()) out.common_name = names.back();
  out.organizations = pki::entries(subject, NID_organizationName);
  count_alternatives(request.get(), out);
  return out;
}

std::string pem_of(const model::Object& csr) {
  const auto* spec = csr.as<CertificateSigningRequest>()->spec();
  if (spec == nullptr || spec->request() == nullptr) return "";
  return {reinterpret_cast<const char*>(spec->request()->data()), spec->request()->size()};
}

std::vector<std::string> usages_of(const model::Object& csr) {
  std::vector<std::string> out;
  const auto* spec = csr.as<CertificateSigningRequest>()->spec();
  if (spec == nullptr || spec->usages() == nullptr) return out;
  for (const auto* usage : *spec->usages()) out.emplace_back(str(usage));
  return out;
}

std::string signer_of(const model::Object& csr) {
  const auto* spec = csr.as<CertificateSigningRequest>()->spec();
  return std::string(spec == nullptr ? std::string_view() : str(spec->signer_name()));
}

bool has_condition(const model::Object& csr, std::string_view type) {
  const auto* found = condition(csr, type);
  return found != nullptr && str(found->status()) == "True";
}

int64_t condition_time(const model::Object& csr, std::string_view type) {
  const auto* found = condition(csr, type);
  return found == nullptr ? 0 : found->last_update_time().value_or(0);
}

bool has_certificate(const model::Object& csr) {
  const auto* status = csr.as<CertificateSigningRequest>()->status();
  return status != nullptr && status->certificate() != nullptr && status->certificate()->size() > 0;
}

Status check_request(std::string_view signer, const RequestedNames& names, const std::vector<std::string>& usages) {
  if (signer == kClientSigner) return check_client(usages);
  if (signer != kNodeClientSigner && signer != kNodeServingSigner) return Error{Code::kNotFound, "another's signer"};
  if (auto node = check_node(names); !node.ok()) return node;
  if (signer == kNodeServingSigner) {
    if (names.dns + names.addresses == 0) return invalid("DNS or IP subjectAltName is required");
    return check_usages(usages, "server auth");
  }
  if (names.dns > 0) return invalid("DNS subjectAltNames are not allowed");
  if (names.addresses > 0) return invalid("IP subjectAltNames are not allowed");
  return check_usages(usages, "client auth");
}

}  // namespace gantry::controllers
