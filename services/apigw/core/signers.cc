#include "services/apigw/core/signers.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "libs/model/walk.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::Object;

bool granted(const Context& context, const Request& request, const char* verb, const std::string& signer) {
  const size_t slash = std::min(signer.find('/'), signer.size());
  for (const auto& name : {signer, signer.substr(0, slash) + "/*"}) {
    Attributes a;
    a.verb = verb;
    a.resource = "signers";
    a.name = name;
    a.group = "certificates.k8s.io";
    if (allowed(request.identity, a, context.world)) return true;
  }
  return false;
}

/// The request asks to be a member of the group.
bool asks_for_group(const std::string& pem, std::string_view group) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                      BIO_free);
  const std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)> csr(
      PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr), X509_REQ_free);
  if (csr == nullptr) return false;
  const X509_NAME* subject = X509_REQ_get_subject_name(csr.get());
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0;) {
    const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    if (std::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                         static_cast<size_t>(ASN1_STRING_length(value))) == group)
      return true;
  }
  return false;
}

}  // namespace

Status check_signer(const Context& context, const Request& request, const Object& after, const Object& before) {
  if (after.kind().resource != "certificatesigningrequests") return Done{};
  const std::string signer = model::text_at(after, "spec.signerName");
  const std::string& subresource = request.command.subresource;
  if (!before) {
    if (signer == "kubernetes.io/kube-apiserver-client" &&
        asks_for_group(model::text_at(after, "spec.request"), "system:masters")) {
      return forbidden(after.kind(), after.name(),
                       "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
    }
    return Done{};
  }
  if (subresource == "approval" && !granted(context, request, "approve", signer)) {
    return forbidden(after.kind(), after.name(),
                     fmt::format("user not permitted to approve requests with signerName \"{}\"", signer));
  }
  if (subresource == "status" && !same_part(after, before, "status") && !granted(context, request, "sign", signer)) {
    return forbidden(after.kind(), after.name(),
                     fmt::format("user not permitted to sign requests with signerName \"{}\"", signer));
  }
  return Done{};
}

}  // namespace gantry::apigw
