#include "tools/gantry/dev/pki.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "libs/pki/pki.h"
#include "tools/gantry/dev/files.h"

namespace gantry::dev {
namespace {

constexpr long kDay = 24 * 60 * 60;
constexpr long kAuthorityLife = 3650 * kDay;
constexpr long kBackdate = 300;  // clocks differ
constexpr long kCertificateLife = 365 * kDay;

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

/// Everything but extensions and signature.
pki::Certificate blank(EVP_PKEY* key, const std::string& common_name, const std::vector<std::string>& organizations,
                       long seconds) {
  const int64_t now = ::time(nullptr);
  auto certificate = pki::begin_certificate(key, now - kBackdate, now + seconds);
  if (certificate == nullptr || !pki::add_names(X509_get_subject_name(certificate.get()), common_name, organizations)) {
    return nullptr;
  }
  return certificate;
}

/// True if the certificate can be kept: signed by this authority, good for a month, and for the same names.
bool keep(const std::string& text, EVP_PKEY* authority_key, const CertificateRequest& request) {
  const auto certificate = pki::read_certificate(text);
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
  const auto key = pki::make_key();
  if (!key) return pki::last_error(Code::kInternal, "make the authority's key");
  const auto certificate = blank(key.get(), "gantry", {}, kAuthorityLife);
  if (!certificate) return pki::last_error(Code::kInternal, "begin the authority's certificate");
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  if (!pki::extend(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !pki::extend(certificate.get(), certificate.get(), NID_key_usage,
                   "critical,keyCertSign,cRLSign,digitalSignature") ||
      !pki::extend(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) {
    return pki::last_error(Code::kInternal, "make the authority's certificate");
  }
  if (auto written = write_file(paths.pki("ca.key"), pki::to_pem(key.get()), 0600); !written) return written;
  return write_file(paths.pki("ca.crt"), pki::to_pem(certificate.get()));
}

Status ensure_signing_key(const Paths& paths) {
  const auto file = paths.pki("service-accounts.key");
  if (std::filesystem::exists(file)) return Done{};
  const auto key = pki::make_key();
  if (!key) return pki::last_error(Code::kInternal, "make the key that signs ServiceAccount tokens");
  return write_file(file, pki::to_pem(key.get()), 0600);
}

Status ensure_certificate(const Paths& paths, const CertificateRequest& request) {
  auto authority_text = read_file(paths.pki("ca.crt"));
  auto authority_key_text = read_file(paths.pki("ca.key"));
  if (!authority_text) return authority_text.error();
  if (!authority_key_text) return authority_key_text.error();
  const auto authority = pki::read_certificate(*authority_text);
  const auto authority_key = pki::read_key(*authority_key_text);
  if (!authority || !authority_key) return pki::last_error(Code::kInternal, "read pki/ca.crt and pki/ca.key");

  const auto certificate_file = paths.pki(request.file + ".crt"), key_file = paths.pki(request.file + ".key");
  if (auto old = read_file(certificate_file);
      old && std::filesystem::exists(key_file) && keep(*old, authority_key.get(), request)) {
    return Done{};
  }
  const auto key = pki::make_key();
  if (!key) return pki::last_error(Code::kInternal, "make a key for " + request.file);
  const auto certificate = blank(key.get(), request.common_name, request.organizations, kCertificateLife);
  if (!certificate) return pki::last_error(Code::kInternal, "begin the certificate " + request.file);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(authority.get()));
  bool made = pki::extend(certificate.get(), authority.get(), NID_basic_constraints, "critical,CA:FALSE") &&
              pki::extend(certificate.get(), authority.get(), NID_key_usage, "critical,digitalSignature") &&
              pki::extend(certificate.get(), authority.get(), NID_authority_key_identifier, "keyid") &&
              pki::extend(certificate.get(), authority.get(), NID_ext_key_usage,
                          request.names.empty() ? "clientAuth" : "serverAuth,clientAuth");
  if (!request.names.empty()) {
    made = made &&
           pki::extend(certificate.get(), authority.get(), NID_subject_alt_name, subject_alternatives(request.names));
  }
  if (!made || X509_sign(certificate.get(), authority_key.get(), EVP_sha256()) == 0) {
    return pki::last_error(Code::kInternal, "sign the certificate " + request.file);
  }
  if (auto written = write_file(key_file, pki::to_pem(key.get()), 0600); !written) return written;
  return write_file(certificate_file, pki::to_pem(certificate.get()));
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
