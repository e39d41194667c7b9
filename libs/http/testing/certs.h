// Certificates for tests, made when the test runs: a CA, servers on 127.0.0.1/localhost, clients with a user and
// groups.
#pragma once

#include <string>
#include <vector>

#include "libs/pki/pki.h"

namespace gantry::http::testing {

/// A PEM certificate and its key in files.
struct CertFiles {
  std::string cert, key;
};

/// Writes into `directory`, which outlives what is read from it. Aborts on errors: this is for tests.
class TestCa {
 public:
  explicit TestCa(std::string directory, const std::string& name = "test-ca");

  const std::string& ca_file() const { return ca_.cert; }
  /// For DNS:localhost, IP:127.0.0.1 and IP:::1.
  CertFiles server(const std::string& name = "server");
  CertFiles client(const std::string& common_name, const std::vector<std::string>& organizations = {},
                   bool expired = false);

 private:
  CertFiles issue(const std::string& file, const std::string& common_name,
                  const std::vector<std::string>& organizations, bool server, bool expired);

  std::string directory_;
  CertFiles ca_;
  pki::Key key_;
  pki::Certificate cert_;
};

}  // namespace gantry::http::testing
