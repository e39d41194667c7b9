#include "tools/gantry/dev/pki.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "tools/gantry/dev/files.h"

namespace gantry::dev {
namespace {

constexpr long kDay = 24 * 60 * 60;
constexpr long kAuthorityLife = 3650 * kDay;
constexpr long kCertificateLife = 365 * kDay;

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;

Error openssl_error(const std::string& what) {
  char text[256] = "no reason given";
  if (const auto code = ERR_get_error()) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return {.code = Code::kInternal, .message = fmt::format("{}: {}", what, text)};
}

std::string contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

std::string pem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return contents(bio.get());
}

std::string pem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return contents(bio.get());
}

Certificate parse_certificate(const std::string& text) {
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  return Certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

Key parse_key(const std::string& text) {
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  return Key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
}

bool is_address(const std::string& name) {
  in6_addr any;
  return inet_pton(AF_INET, name.c_str(), &any) == 1 || inet_pton(AF_INET6, name.c_str(), &any) == 1;
}

std::string subject_alternatives(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names)
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", is_address(name) ? "IP" : "DNS", name);
  return out;
}

bool extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

/// Everything but extensions and signature.
Certificate blank(EVP_PKEY* key, const std::string& common_name, const std::vector<std::string>& organizations,
                  long seconds) {
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  unsigned char serial[16];
  RAND_bytes(serial, sizeof serial);
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 1);
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -300);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), seconds);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const auto add = [&](const char* field, const std::string& value) {
    X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                               static_cast<int>(value.size()), -1, 0);
  };
  for (const auto& organization : organizations) add("O", organization);
  add("CN", common_name);
  return certificate;
}

/// True if the certificate can be kept: signed by this authority, good for a month, and for the same names.
bool keep(const std::string& text, EVP_PKEY* authority_key, const CertificateRequest& request) {
  const auto certificate = parse_certificate(text);
  if (!certificate || X509_verify(certificate.get(), authority_key) != 1) return false;
  time_t month = ::time(nullptr) + 30 * kDay;
  if (X509_cmp_time(X509_get0_notAfter(certificate.get()), &month) < 0) return false;
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  const int count = names != nullptr ? sk_GENERAL_NAME_num(names) : 0;
  GENERAL_NAMES_free(names);
  if (static_cast<size_t>(count) != request.names.size()) return false;
  return std::all_of(request.names.begin(), request.names.end(), [&](const std::string& name) {
    return is_address(name) ? X509_check_ip_asc(certificate.get(), name.c_str(), 0) == 1
                            : X509_check_host(certificate.get(), name.c_str(), 0, 0, nullptr) == 1;
  });
}

}  // namespace

Status ensure_authority(const Paths& paths) {
  if (std::filesystem::exists(paths.pki("ca.crt")) && std::filesystem::exists(paths.pki("ca.key"))) return Done{};
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("make the authority's key");
  const auto certificate = blank(key.get(), "gantry", {}, kAuthorityLife);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  if (!extend(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !extend(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature") ||
      !extend(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) {
    return openssl_error("make the authority's certificate");
  }
  if (auto written = write_file(paths.pki("ca.key"), pem(key.get()), 0600); !written) return written;
  return write_file(paths.pki("ca.crt"), pem(certificate.get()));
}

Status ensure_signing_key(const Paths& paths) {
  const auto file = paths.pki("service-accounts.key");
  if (std::filesystem::exists(file)) return Done{};
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("make the key that signs ServiceAccount tokens");
  return write_file(file, pem(key.get()), 0600);
}

Status ensure_certificate(const Paths& paths, const CertificateRequest& request) {
  auto authority_text = read_file(paths.pki("ca.crt"));
  auto authority_key_text = read_file(paths.pki("ca.key"));
  if (!authority_text) return authority_text.error();
  if (!authority_key_text) return authority_key_text.error();
  const auto authority = parse_certificate(*authority_text);
  const auto authority_key = parse_key(*authority_key_text);
  if (!authority || !authority_key) return openssl_error("read pki/ca.crt and pki/ca.key");

  const auto certificate_file = paths.pki(request.file + ".crt"), key_file = paths.pki(request.file + ".key");
  if (auto old = read_file(certificate_file);
      old && std::filesystem::exists(key_file) && keep(*old, authority_key.get(), request)) {
    return Done{};
  }
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("make a key for " + request.file);
  const auto certificate = blank(key.get(), request.common_name, request.organizations, kCertificateLife);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(authority.get()));
  bool made = extend(certificate.get(), authority.get(), NID_basic_constraints, "critical,CA:FALSE") &&
              extend(certificate.get(), authority.get(), NID_key_usage, "critical,digitalSignature") &&
              extend(certificate.get(), authority.get(), NID_authority_key_identifier, "keyid") &&
              extend(certificate.get(), authority.get(), NID_ext_key_usage,
                     request.names.empty() ? "clientAuth" : "serverAuth,clientAuth");
  if (!request.names.empty()) {
    made =
        made && extend(certificate.get(), authority.get(), NID_subject_alt_name, subject_alternatives(request.names));
  }
  if (!made || X509_sign(certificate.get(), authority_key.get(), EVP_sha256()) == 0) {
    return openssl_error("sign the certificate " + request.file);
  }
  if (auto written = write_file(key_file, pem(key.get()), 0600); !written) return written;
  return write_file(certificate_file, pem(certificate.get()));
}

Status write_kubeconfig(const Paths& paths, const std::string& server, const std::string& client) {
  const auto base64 = [](const std::string& data) {
    std::string out((data.size() + 2) / 3 * 4 + 1, '\0');
    out.resize(static_cast<size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                                   reinterpret_cast<const unsigned char*>(data.data()),
                                                   static_cast<int>(data.size()))));
    return out;
  };
  auto authority = read_file(paths.pki("ca.crt"));
  auto certificate = read_file(paths.pki(client + ".crt"));
  auto key = read_file(paths.pki(client + ".key"));
  for (const auto* file : {&authority, &certificate, &key}) {
    if (!*file) return file->error();
  }
  return write_file(paths.kubeconfig(),
                    fmt::format(R"(apiVersion: v1
kind: Config
clusters:
- name: gantry
  cluster:
    server: {}
    certificate-authority-data: {}
users:
- name: {}
  user:
    client-certificate-data: {}
    client-key-data: {}
contexts:
- name: gantry
  context:
    cluster: gantry
    user: {}
current-context: gantry
)",
                                server, base64(*authority), client, base64(*certificate), base64(*key), client),
                    0600);
}

}  // namespace gantry::dev
