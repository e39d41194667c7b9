// What a request for a certificate asks for, and whether a built-in signer may sign it. Pure functions, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/model/object.h"

namespace gantry::controllers {

inline constexpr std::string_view kClientSigner = "kubernetes.io/kube-apiserver-client";
inline constexpr std::string_view kNodeClientSigner = "kubernetes.io/kube-apiserver-client-kubelet";
inline constexpr std::string_view kNodeServingSigner = "kubernetes.io/kubelet-serving";

/// The names in a PEM request.
struct RequestedNames {
  std::string common_name;
  std::vector<std::string> organizations;
  size_t dns = 0, addresses = 0, emails = 0, uris = 0, others = 0;
};
/// kInvalid: it cannot be read, or its signature is not by its own key.
Result<RequestedNames> names_of(std::string_view pem);

/// Of a CertificateSigningRequest.
std::string pem_of(const model::Object& csr);
std::vector<std::string> usages_of(const model::Object& csr);
std::string signer_of(const model::Object& csr);
bool has_condition(const model::Object& csr, std::string_view type);
/// In unix seconds; 0 without it.
int64_t condition_time(const model::Object& csr, std::string_view type);
bool has_certificate(const model::Object& csr);

/// What the signer asks of requests that it signs: kInvalid says what is wrong, kNotFound that it is none of the
/// built-in signers.
Status check_request(std::string_view signer, const RequestedNames& names, const std::vector<std::string>& usages);

}  // namespace gantry::controllers
