// TLS contexts from PEM files: TLS 1.2 or newer, AEAD ciphers, no renegotiation, no session resumption (so that every
// connection proves its certificate anew). Errors name the file and what OpenSSL says about it.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "libs/base/result.h"
#include "libs/http/message.h"

namespace gantry::http {

/// Shared by the connections made from it; immutable, any thread.
using TlsContext = std::shared_ptr<SSL_CTX>;

struct ServerTls {
  std::string cert_file;       // PEM chain, leaf first
  std::string key_file;        // PEM
  std::string client_ca_file;  // PEM; empty: clients are not asked for a certificate
};
/// Negotiates h2 and http/1.1 by ALPN.
Result<TlsContext> server_tls(const ServerTls& files);

struct ClientTls {
  std::string ca_file;  // empty: the system's
  std::string cert_file, key_file;
  bool insecure_skip_verify = false;
};
Result<TlsContext> client_tls(const ClientTls& files);

/// The verified peer certificate of an established connection; null when the peer sent none.
std::shared_ptr<const PeerCertificate> peer_certificate(const SSL* ssl);

/// The errors in OpenSSL's queue of this thread as text; clears the queue.
std::string openssl_errors();

}  // namespace gantry::http
