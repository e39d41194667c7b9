// Requests for certificates (CertificateSigningRequest), as Kubernetes' own controllers treat them: requests of nodes
// for what they prove themselves with are approved by themselves, approved requests are signed, and old ones go.
//
//   csr-approving  a node's client certificate, if who asks may `create certificatesigningrequests/selfnodeclient` (for
//                  its own name) or `nodeclient` (a bootstrap token's groups)
//   csr-signing    what is approved and asks for a built-in signer; kubernetes.io/legacy-unknown is never signed
//   csr-cleaner    issued, denied and failed requests after an hour, those nobody answers after a day
#pragma once

#include "services/controllers/certificates/authority.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// Keys are names of requests.
class CertificateController : public Controller {
 public:
  void setup(View& view) override { view.need("certificatesigningrequests"); }
  std::vector<std::string> watches() const override { return {"certificatesigningrequests"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
};

class CertificateApprover final : public CertificateController {
 public:
  std::string_view name() const override { return "csr-approving"; }
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

class CertificateSigner final : public CertificateController {
 public:
  /// Without an authority nothing is signed.
  explicit CertificateSigner(std::shared_ptr<const Authority> authority) : authority_(std::move(authority)) {}
  std::string_view name() const override { return "csr-signing"; }
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;

 private:
  std::shared_ptr<const Authority> authority_;
};

class CertificateCleaner final : public CertificateController {
 public:
  std::string_view name() const override { return "csr-cleaner"; }
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
