#include "libs/http/testing/certs.h"

#include <glog/logging.h>

#include <ctime>
#include <fstream>

namespace gantry::http::testing {
namespace {

constexpr long kDay = 24 * 3600;

pki::Certificate make_cert(EVP_PKEY* key, long from, long to, const std::string& common_name,
                           const std::vector<std::string>& organizations) {
  const int64_t now = ::time(nullptr);
  auto cert = pki::begin_certificate(key, now + from, now + to);
  CHECK(cert != nullptr && pki::add_names(X509_get_subject_name(cert.get()), common_name, organizations));
  return cert;
}

void extend(X509* cert, X509* issuer, int nid, const char* value) {
  CHECK(pki::extend(cert, issuer, nid, value)) << value;
}

void write_text(const std::string& file, const std::string& text) {
  CHECK(std::ofstream(file, std::ios::trunc) << text) << file;
}

CertFiles write(const std::string& stem, const X509* cert, const EVP_PKEY* key) {
  CertFiles files{stem + ".crt", stem + ".key"};
  write_text(files.cert, pki::to_pem(cert));
  write_text(files.key, pki::to_pem(key));
  return files;
}

}  // namespace

TestCa::TestCa(std::string directory, const std::string& ca_name)
    : directory_(std::move(directory)), key_(pki::make_key()) {
  cert_ = make_cert(key_.get(), -kDay, 10 * kDay, ca_name, {});
  X509_set_issuer_name(cert_.get(), X509_get_subject_name(cert_.get()));
  extend(cert_.get(), cert_.get(), NID_basic_constraints, "critical,CA:TRUE");
  extend(cert_.get(), cert_.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  extend(cert_.get(), cert_.get(), NID_subject_key_identifier, "hash");
  CHECK_GT(X509_sign(cert_.get(), key_.get(), EVP_sha256()), 0);
  ca_ = write(directory_ + "/" + ca_name, cert_.get(), key_.get());
}

CertFiles TestCa::server(const std::string& server_name) { return issue(server_name, server_name, {}, true, false); }

CertFiles TestCa::client(const std::string& common_name, const std::vector<std::string>& organizations, bool expired) {
  return issue("client-" + common_name + (expired ? "-expired" : ""), common_name, organizations, false, expired);
}

CertFiles TestCa::issue(const std::string& file, const std::string& common_name,
                        const std::vector<std::string>& organizations, bool server, bool expired) {
  const auto key = pki::make_key();
  const auto cert = make_cert(key.get(), -2 * kDay, expired ? -kDay : 10 * kDay, common_name, organizations);
  X509_set_issuer_name(cert.get(), X509_get_subject_name(cert_.get()));
  extend(cert.get(), cert_.get(), NID_key_usage, "critical,digitalSignature");
  extend(cert.get(), cert_.get(), NID_ext_key_usage, server ? "serverAuth" : "clientAuth");
  if (server) extend(cert.get(), cert_.get(), NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
  CHECK_GT(X509_sign(cert.get(), key_.get(), EVP_sha256()), 0);
  std::string stem = file;
  for (char& c : stem) {
    if (c == '/' || c == ':') c = '_';
  }
  return write(directory_ + "/" + stem, cert.get(), key.get());
}

}  // namespace gantry::http::testing
