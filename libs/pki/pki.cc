#include "libs/pki/pki.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <array>
#include <ctime>

namespace gantry::pki {
namespace {

using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;

// `read` takes OpenSSL's usual arguments: where from, a place for the result, a password callback and its argument.
template <typename Owner, typename Read>
Owner parse(std::string_view pem, Read* read) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const auto no_password = [](char*, int, int, void*) { return 0; };
  Owner out(read(bio.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  return out;
}

template <typename Write>
std::string print(Write write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  write(bio.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

bool random_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7f) | 1);  // positive, and not shorter
  const std::unique_ptr<BIGNUM, Deleter<BN_free>> number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
  return BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

}  // namespace

Key make_key() { return Key(EVP_EC_gen("P-256")); }

Key read_key(std::string_view pem) { return parse<Key>(pem, PEM_read_bio_PrivateKey); }
Key read_public_key(std::string_view pem) { return parse<Key>(pem, PEM_read_bio_PUBKEY); }
Certificate read_certificate(std::string_view pem) { return parse<Certificate>(pem, PEM_read_bio_X509); }
Request read_request(std::string_view pem) { return parse<Request>(pem, PEM_read_bio_X509_REQ); }

std::string to_pem(const EVP_PKEY* key) {
  return print([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}
std::string to_public_pem(const EVP_PKEY* key) {
  return print([&](BIO* bio) { PEM_write_bio_PUBKEY(bio, key); });
}
std::string to_pem(const X509* certificate) {
  return print([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
}
std::string to_pem(const X509_REQ* request) {
  return print([&](BIO* bio) { PEM_write_bio_X509_REQ(bio, request); });
}

bool add_names(X509_NAME* subject, const std::string& common_name, const std::vector<std::string>& organizations) {
  const auto add = [&](int nid, const std::string& value) {
    return X509_NAME_add_entry_by_NID(subject, nid, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  for (const auto& organization : organizations) {
    if (!add(NID_organizationName, organization)) return false;
  }
  return add(NID_commonName, common_name);
}

std::vector<std::string> entries(const X509_NAME* subject, int nid) {
  std::vector<std::string> out;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;) {
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) continue;
    out.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  return out;
}

Certificate begin_certificate(EVP_PKEY* key, int64_t begin, int64_t end) {
  Certificate out(X509_new());
  const bool made = out != nullptr && X509_set_version(out.get(), X509_VERSION_3) == 1 && random_serial(out.get()) &&
                    ASN1_TIME_set(X509_getm_notBefore(out.get()), begin) != nullptr &&
                    ASN1_TIME_set(X509_getm_notAfter(out.get()), end) != nullptr &&
                    X509_set_pubkey(out.get(), key) == 1;
  return made ? std::move(out) : nullptr;
}

bool extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

int64_t end_of(const X509* certificate) {
  std::tm end{};
  return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? timegm(&end) : 0;
}

Error last_error(Code code, const std::string& what) {
  std::array<char, 256> text{"no reason given"};
  if (const auto error = ERR_get_error()) ERR_error_string_n(error, text.data(), text.size());
  ERR_clear_error();
  return {code, fmt::format("{}: {}", what, text.data())};
}

}  // namespace gantry::pki
