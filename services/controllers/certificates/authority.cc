#include "services/controllers/certificates/authority.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include <algorithm>

#include "services/controllers/certificates/openssl.h"

namespace gantry::controllers {
namespace {

constexpr int64_t kBackdate = 5 * 60;        // clocks differ
constexpr int64_t kShortLife = 8 * 60 * 60;  // below, the whole time is given from now on

Error failed(Code code, const std::string& what) {
  char text[256] = "no reason given";
  if (const auto error = ERR_get_error()) ERR_error_string_n(error, text, sizeof text);
  ERR_clear_error();
  return {code, fmt::format("{}: {}", what, text)};
}

int64_t end_of(const X509* certificate) {
  std::tm end{};
  return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? timegm(&end) : 0;
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

// The names besides the subject, as they were asked for.
bool copy_alternatives(X509* certificate, X509_REQ* request) {
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request);
  const int at = X509v3_get_ext_by_NID(extensions, NID_subject_alt_name, -1);
  const bool done = at < 0 || X509_add_ext(certificate, X509v3_get_ext(extensions, at), -1) == 1;
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  return done;
}

bool add_usages(X509* certificate, X509* issuer, const std::vector<std::string>& usages) {
  static constexpr std::pair<std::string_view, const char*> kKey[] = {{"digital signature", "digitalSignature"},
                                                                      {"key encipherment", "keyEncipherment"}};
  static constexpr std::pair<std::string_view, const char*> kExtended[] = {{"client auth", "clientAuth"},
                                                                           {"server auth", "serverAuth"}};
  const auto named = [&](const auto& table) {
    std::string out;
    for (const auto& [usage, name] : table) {
      if (std::find(usages.begin(), usages.end(), usage) != usages.end())
        out += (out.empty() ? "" : ",") + std::string(name);
    }
    return out;
  };
  const std::string key = named(kKey), extended = named(kExtended);
  return (key.empty() || extend(certificate, issuer, NID_key_usage, "critical," + key)) &&
         (extended.empty() || extend(certificate, issuer, NID_ext_key_usage, extended));
}

bool random_serial(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7f) | 1);
  BIGNUM* number = BN_bin2bn(bytes, sizeof bytes, nullptr);
  const bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

class KeyAuthority final : public Authority {
 public:
  KeyAuthority(CertificatePtr certificate, KeyPtr key, int64_t longest)
      : certificate_(std::move(certificate)), key_(std::move(key)), longest_(longest) {}

  Result<std::string> sign(std::string_view pem, const std::vector<std::string>& usages, int64_t seconds,
                           WallMicros now) const override {
    const BioPtr bio = reading(pem);
    const RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
    if (request == nullptr) return failed(Code::kInvalid, "unable to parse the certificate request");
    const int64_t life = seconds > 0 ? std::min(seconds, longest_) : longest_;
    const int64_t begin = now / 1'000'000 - kBackdate;
    const int64_t end = std::min((life < kShortLife ? now / 1'000'000 : begin) + life, end_of(certificate_.get()));
    const CertificatePtr made(X509_new());
    X509* issuer = certificate_.get();
    const bool signed_ = X509_set_version(made.get(), 2) == 1 && random_serial(made.get()) &&
                         ASN1_TIME_set(X509_getm_notBefore(made.get()), begin) != nullptr &&
                         ASN1_TIME_set(X509_getm_notAfter(made.get()), end) != nullptr &&
                         X509_set_pubkey(made.get(), X509_REQ_get0_pubkey(request.get())) == 1 &&
                         X509_set_subject_name(made.get(), X509_REQ_get_subject_name(request.get())) == 1 &&
                         X509_set_issuer_name(made.get(), X509_get_subject_name(issuer)) == 1 &&
                         extend(made.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                         (X509_get0_subject_key_id(issuer) == nullptr ||
                          extend(made.get(), issuer, NID_authority_key_identifier, "keyid")) &&
                         add_usages(made.get(), issuer, usages) && copy_alternatives(made.get(), request.get()) &&
                         X509_sign(made.get(), key_.get(), EVP_sha256()) != 0;
    const BioPtr out(BIO_new(BIO_s_mem()));
    if (!signed_ || PEM_write_bio_X509(out.get(), made.get()) != 1)
      return failed(Code::kInternal, "sign the certificate");
    return written(out.get());
  }

 private:
  CertificatePtr certificate_;
  KeyPtr key_;
  int64_t longest_;
};

}  // namespace

Result<std::shared_ptr<const Authority>> Authority::load(std::string_view certificate, std::string_view key,
                                                         Duration longest) {
  const BioPtr certificate_bio = reading(certificate), key_bio = reading(key);
  CertificatePtr parsed(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr));
  if (parsed == nullptr) return failed(Code::kInvalid, "read the authority's certificate");
  KeyPtr parsed_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (parsed_key == nullptr) return failed(Code::kInvalid, "read the authority's key");
  if (X509_check_private_key(parsed.get(), parsed_key.get()) != 1)
    return failed(Code::kInvalid, "the authority's key is not that of its certificate");
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(longest).count();
  return std::shared_ptr<const Authority>(
      std::make_shared<KeyAuthority>(std::move(parsed), std::move(parsed_key), seconds));
}

std::optional<int64_t> end_of_certificate(std::string_view pem) {
  const BioPtr bio = reading(pem);
  const CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) return std::nullopt;
  return end_of(certificate.get());
}

}  // namespace gantry::controllers
