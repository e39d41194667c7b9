// X.509 with OpenSSL: its objects with an owner, PEM both ways, and what is common to all certificates that we make.
// Any thread, each object on one at a time.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"

namespace gantry::pki {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Deleter<X509_REQ_free>>;

/// A new key on P-256. Null: OpenSSL has no randomness.
Key make_key();

/// From PEM; null if it is none. An encrypted key is none: nobody is asked for a password.
Key read_key(std::string_view pem);
Key read_public_key(std::string_view pem);
Certificate read_certificate(std::string_view pem);
Request read_request(std::string_view pem);

/// PEM. Of a key: PKCS#8, not encrypted.
std::string to_pem(const EVP_PKEY* key);
std::string to_public_pem(const EVP_PKEY* key);
std::string to_pem(const X509* certificate);
std::string to_pem(const X509_REQ* request);

/// Appends organizations, then the common name.
bool add_names(X509_NAME* subject, const std::string& common_name, const std::vector<std::string>& organizations);
/// The values of one kind of entry (NID_commonName, NID_organizationName), in UTF-8, in their order.
std::vector<std::string> entries(const X509_NAME* subject, int nid);

/// Version 3 with a random serial number, for the public half of `key`, good from `begin` to `end` (unix seconds).
/// Names, extensions and signature are still to come. Null: OpenSSL has no randomness.
Certificate begin_certificate(EVP_PKEY* key, int64_t begin, int64_t end);
/// Adds an extension in the words of x509v3_config(5). `issuer`: the certificate itself if it signs itself. False: they
/// are not understood.
bool extend(X509* certificate, X509* issuer, int nid, const std::string& value);
/// Unix seconds; 0: none is given.
int64_t end_of(const X509* certificate);

/// `what`, and what OpenSSL says of the last failure on this thread, which is forgotten.
Error last_error(Code code, const std::string& what);

}  // namespace gantry::pki
