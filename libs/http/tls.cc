#include "libs/http/tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

namespace gantry::http {
namespace {

constexpr unsigned char kAlpn[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

int select_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                    unsigned in_length, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, kAlpn, sizeof kAlpn, in, in_length) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;  // a client that asks for something else gets HTTP/1.1 anyway
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Error file_error(const std::string& what, const std::string& file) {
  return Error{Code::kInvalid, what + " " + file + ": " + openssl_errors()};
}

TlsContext make_context(const SSL_METHOD* method) {
  TlsContext context(SSL_CTX_new(method), SSL_CTX_free);
  if (!context) return nullptr;
  SSL_CTX* ctx = context.get();
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 0);
  // Idle connections give their 2 * 16 KB back. No partial writes: our BIO (channel_tls.cc) takes everything.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  return context;
}

Status use_certificate(SSL_CTX* ctx, const std::string& cert, const std::string& key) {
  if (SSL_CTX_use_certificate_chain_file(ctx, cert.c_str()) != 1) return file_error("cannot use the certificate", cert);
  if (SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return file_error("cannot use the key", key);
  if (SSL_CTX_check_private_key(ctx) != 1) return file_error("the key does not belong to the certificate:", key);
  return Done{};
}

std::string entry_text(const X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (length < 0) return {};
  std::string out(reinterpret_cast<char*>(utf8), static_cast<size_t>(length));
  OPENSSL_free(utf8);
  return out;
}

std::string serial_text(const X509* cert) {
  std::unique_ptr<BIGNUM, decltype(&BN_free)> number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), nullptr),
                                                     BN_free);
  if (!number) return {};
  char* hex = BN_bn2hex(number.get());
  std::string out = hex == nullptr ? "" : hex;
  OPENSSL_free(hex);
  return out;
}

int64_t seconds(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<int64_t>(timegm(&parts)) : 0;
}

}  // namespace

std::string openssl_errors() {
  std::string out;
  while (unsigned long code = ERR_get_error()) {
    char text[256];
    ERR_error_string_n(code, text, sizeof text);
    if (!out.empty()) out += "; ";
    out += text;
  }
  return out.empty() ? "unknown error" : out;
}

Result<TlsContext> server_tls(const ServerTls& files) {
  ERR_clear_error();
  TlsContext context = make_context(TLS_server_method());
  if (!context) return Error{Code::kInternal, "TLS: " + openssl_errors()};
  SSL_CTX* ctx = context.get();
  if (Status used = use_certificate(ctx, files.cert_file, files.key_file); !used) return used.error();
  SSL_CTX_set_alpn_select_cb(ctx, select_protocol, nullptr);
  if (!files.client_ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(ctx, files.client_ca_file.c_str(), nullptr) != 1) {
      return file_error("cannot use the client CA", files.client_ca_file);
    }
    // Says in the handshake which authorities are accepted, so that browsers and kubectl pick the right certificate.
    if (auto* names = SSL_load_client_CA_file(files.client_ca_file.c_str())) SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  }
  return context;
}

Result<TlsContext> client_tls(const ClientTls& files) {
  ERR_clear_error();
  TlsContext context = make_context(TLS_client_method());
  if (!context) return Error{Code::kInternal, "TLS: " + openssl_errors()};
  SSL_CTX* ctx = context.get();
  if (!files.cert_file.empty()) {
    if (Status used = use_certificate(ctx, files.cert_file, files.key_file); !used) return used.error();
  }
  if (!files.ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(ctx, files.ca_file.c_str(), nullptr) != 1) {
      return file_error("cannot use the CA", files.ca_file);
    }
  } else if (!files.insecure_skip_verify) {
    SSL_CTX_set_default_verify_paths(ctx);
  }
  SSL_CTX_set_verify(ctx, files.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  return context;
}

std::shared_ptr<const PeerCertificate> peer_certificate(const SSL* ssl) {
  const X509* cert = SSL_get0_peer_certificate(ssl);
  if (cert == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return nullptr;
  auto peer = std::make_shared<PeerCertificate>();
  const X509_NAME* subject = X509_get_subject_name(cert);
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid == NID_commonName) peer->common_name = entry_text(entry);
    if (nid == NID_organizationName) peer->organizations.push_back(entry_text(entry));
  }
  peer->serial = serial_text(cert);
  peer->not_after = seconds(X509_get0_notAfter(cert));
  return peer;
}

}  // namespace gantry::http
