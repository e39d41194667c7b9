// A small certificate authority: EC P-256 keys, PEM files, kept once made. Any thread.
#pragma once

#include <string>
#include <vector>

#include "libs/base/result.h"
#include "tools/gantry/dev/paths.h"

namespace gantry::dev {

struct CertificateRequest {
  std::string file;                        // pki/<file>.crt and .key
  std::string common_name;                 // for clients: the user
  std::vector<std::string> organizations;  // for clients: the groups
  std::vector<std::string> names;          // SANs: DNS names and IP addresses. With any, it is a server's certificate
};

/// Makes pki/ca.crt and ca.key unless they are there.
Status ensure_authority(const Paths& paths);
/// Makes pki/service-accounts.key, which signs ServiceAccount tokens, unless it is there.
Status ensure_signing_key(const Paths& paths);
/// Signs the certificate unless its files are there and are still good for a month with the same names.
Status ensure_certificate(const Paths& paths, const CertificateRequest& request);
/// kubeconfig with everything embedded: cluster "gantry" at `server`, user from pki/<client>.crt.
Status write_kubeconfig(const Paths& paths, const std::string& server, const std::string& client);

}  // namespace gantry::dev
