#include "services/controllers/certificates/authority.h"

#include <algorithm>

#include "libs/pki/pki.h"

namespace gantry::controllers {
namespace {

constexpr int64_t kBackdate = 5 * 60;        // clocks differ
constexpr int64_t kShortLife = 8 * 60 * 60;  // below, the whole time is given from now on

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
  return (key.empty() || pki::extend(certificate, issuer, NID_key_usage, "critical," + key)) &&
         (extended.empty() || pki::extend(certificate, issuer, NID_ext_key_usage, extended));
}

class KeyAuthority final : public Authority {
 public:
  KeyAuthority(pki::Certificate certificate, pki::Key key, int64_t longest)
      : certificate_(std::move(certificate)), key_(std::move(key)), longest_(longest) {}

  Result<std::string> sign(std::string_view pem, const std::vector<std::string>& usages, int64_t seconds,
                           WallMicros now) const override {
    const auto request = pki::read_request(pem);
    if (request == nullptr) return Error{Code::kInvalid, "unable to parse the certificate request"};
    const int64_t life = seconds > 0 ? std::min(seconds, longest_) : longest_;
    const int64_t begin = now / 1'000'000 - kBackdate;
    const int64_t end = std::min((life < kShortLife ? now / 1'000'000 : begin) + life, pki::end_of(certificate_.get()));
    X509* issuer = certificate_.get();
    const auto made = pki::begin_certificate(X509_REQ_get0_pubkey(request.get()), begin, end);
    const bool signed_ = made != nullptr &&
                         X509_set_subject_name(made.get(), X509_REQ_get_subject_name(request.get())) == 1 &&
                         X509_set_issuer_name(made.get(), X509_get_subject_name(issuer)) == 1 &&
                         pki::extend(made.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                         (X509_get0_subject_key_id(issuer) == nullptr ||
                          pki::extend(made.get(), issuer, NID_authority_key_identifier, "keyid")) &&
                         add_usages(made.get(), issuer, usages) && copy_alternatives(made.get(), request.get()) &&
                         X509_sign(made.get(), key_.get(), EVP_sha256()) != 0;
    if (!signed_) return pki::last_error(Code::kInternal, "sign the certificate");
    return pki::to_pem(made.get());
  }

 private:
  pki::Certificate certificate_;
  pki::Key key_;
  int64_t longest_;
};

}  // namespace

Result<std::shared_ptr<const Authority>> Authority::load(std::string_view certificate, std::string_view key,
                                                         Duration longest) {
  auto parsed = pki::read_certificate(certificate);
  if (parsed == nullptr) return Error{Code::kInvalid, "the authority's certificate cannot be read"};
  auto parsed_key = pki::read_key(key);
  if (parsed_key == nullptr) return Error{Code::kInvalid, "the authority's key cannot be read"};
  if (X509_check_private_key(parsed.get(), parsed_key.get()) != 1)
    return pki::last_error(Code::kInvalid, "the authority's key is not that of its certificate");
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(longest).count();
  return std::shared_ptr<const Authority>(
      std::make_shared<KeyAuthority>(std::move(parsed), std::move(parsed_key), seconds));
}

std::optional<int64_t> end_of_certificate(std::string_view pem) {
  const auto certificate = pki::read_certificate(pem);
  if (certificate == nullptr) return std::nullopt;
  return pki::end_of(certificate.get());
}

}  // namespace gantry::controllers
