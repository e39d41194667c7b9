#include "services/apigw/core/signers.h"

#include <fmt/format.h>

#include <algorithm>

#include "libs/model/walk.h"
#include "libs/pki/pki.h"
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
  const auto csr = pki::read_request(pem);
  if (csr == nullptr) return false;
  const auto groups = pki::entries(X509_REQ_get_subject_name(csr.get()), NID_organizationName);
  return std::find(groups.begin(), groups.end(), group) != groups.end();
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
