#include "libs/http/testing/certs.h"

#include <glog/logging.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

namespace gantry::http::testing {
namespace {

constexpr long kDay = 24 * 3600;

std::shared_ptr<EVP_PKEY> make_key() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  CHECK(key != nullptr);
  return key;
}

void name(X509* cert, const std::string& common_name, const std::vector<std::string>& organizations) {
  X509_NAME* subject = X509_get_subject_name(cert);
  auto add = [&](const char* field, const std::string& value) {
    CHECK_EQ(X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                        reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1, 0),
             1);
  };
  for (const auto& organization : organizations) add("O", organization);
  add("CN", common_name);
}

void extend(X509* cert, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  CHECK(extension != nullptr) << value;
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

std::shared_ptr<X509> make_cert(EVP_PKEY* key, long from, long to) {
  std::shared_ptr<X509> cert(X509_new(), X509_free);
  X509_set_version(cert.get(), X509_VERSION_3);
  unsigned char serial[8];
  CHECK_EQ(RAND_bytes(serial, sizeof serial), 1);
  std::shared_ptr<BIGNUM> number(BN_bin2bn(serial, sizeof serial, nullptr), BN_free);
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(cert.get()));
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), from);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), to);
  X509_set_pubkey(cert.get(), key);
  return cert;
}

CertFiles write(const std::string& stem, X509* cert, EVP_PKEY* key) {
  CertFiles files{stem + ".crt", stem + ".key"};
  FILE* out = fopen(files.cert.c_str(), "w");
  CHECK(out != nullptr) << files.cert;
  CHECK_EQ(PEM_write_X509(out, cert), 1);
  fclose(out);
  out = fopen(files.key.c_str(), "w");
  CHECK(out != nullptr) << files.key;
  CHECK_EQ(PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
  fclose(out);
  return files;
}

}  // namespace

TestCa::TestCa(std::string directory, const std::string& ca_name) : directory_(std::move(directory)), key_(make_key()) {
  cert_ = make_cert(key_.get(), -kDay, 10 * kDay);
  name(cert_.get(), ca_name, {});
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
  auto key = make_key();
  auto cert = make_cert(key.get(), -2 * kDay, expired ? -kDay : 10 * kDay);
  name(cert.get(), common_name, organizations);
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
