#include "libs/bus/testing/nats_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

namespace gantry::testing {
namespace {

void add_extension(X509* cert, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  CHECK(extension != nullptr) << value;
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

/// A certificate for `name`, signed by `issuer` (itself when null).
X509* certificate(EVP_PKEY* key, const char* name, X509* issuer, EVP_PKEY* issuer_key) {
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer == nullptr ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
  X509_set_pubkey(cert, key);
  X509_NAME* subject = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(cert, issuer == nullptr ? subject : X509_get_subject_name(issuer));
  if (issuer == nullptr) {
    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
  } else {
    add_extension(cert, issuer, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    add_extension(cert, issuer, NID_ext_key_usage, "serverAuth");
  }
  CHECK_GT(X509_sign(cert, issuer_key, EVP_sha256()), 0);
  return cert;
}

void write_certificates(const std::string& dir) {
  EVP_PKEY* ca_key = EVP_EC_gen("P-256");
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* ca = certificate(ca_key, "test CA", nullptr, ca_key);
  X509* cert = certificate(key, "nats", ca, ca_key);
  auto write = [&](const char* file, auto action) {
    FILE* out = std::fopen((dir + "/" + file).c_str(), "w");
    CHECK(out != nullptr);
    action(out);
    std::fclose(out);
  };
  write("ca.pem", [&](FILE* out) { PEM_write_X509(out, ca); });
  write("server.pem", [&](FILE* out) { PEM_write_X509(out, cert); });
  write("server.key", [&](FILE* out) { PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_free(ca);
  X509_free(cert);
  EVP_PKEY_free(ca_key);
  EVP_PKEY_free(key);
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

int free_port() {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(0);
  socklen_t size = sizeof address;
  CHECK_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  CHECK_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

bool listens(int port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(port);
  bool ok = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return ok;
}

std::string temporary_folder() {
  char name[] = "/tmp/gantry-nats-XXXXXX";
  CHECK(::mkdtemp(name) != nullptr);
  return name;
}

}  // namespace

NatsServer::NatsServer(Config config)
    : config_(config),
      dir_(temporary_folder()),
      port_(free_port()),
      authority_(bus::Authority::create("test", std::time(nullptr))) {
  write_certificates(dir_);
  std::ofstream conf(dir_ + "/nats.conf");
  conf << "listen: 127.0.0.1:" << port_ << "\nmax_payload: 8MB\nwrite_deadline: \"10s\"\n";
  conf << "jetstream { store_dir: \"" << dir_ << "/js\" }\n";
  if (config_.tls) {
    conf << "tls { cert_file: \"" << dir_ << "/server.pem\", key_file: \"" << dir_ << "/server.key\" }\n";
  }
  conf << authority_.server_config();
  conf.close();
  start();
}

NatsServer::~NatsServer() {
  kill(SIGTERM);
  std::filesystem::remove_all(dir_);
}

void NatsServer::start() {
  CHECK_EQ(pid_, -1);
  std::string conf = dir_ + "/nats.conf", log = dir_ + "/nats.log";
  pid_ = ::fork();
  CHECK_GE(pid_, 0);
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execlp("nats-server", "nats-server", "-c", conf.c_str(), nullptr);
    ::_exit(127);
  }
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!listens(port_)) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_ || std::chrono::steady_clock::now() > deadline) {
      std::ifstream in(log);
      LOG(FATAL) << "nats-server does not start: " << std::string((std::istreambuf_iterator<char>(in)), {});
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between polls of a condition with a deadline
  }
}

void NatsServer::kill(int signal) {
  if (pid_ < 0) return;
  ::kill(pid_, signal);
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
}

std::string NatsServer::url() const { return fmt::format("{}://127.0.0.1:{}", config_.tls ? "tls" : "nats", port_); }

bus::NatsOptions NatsServer::options(const std::string& identity) {
  return options(identity, bus::permissions_for(identity));
}

bus::NatsOptions NatsServer::options(const std::string& identity, const bus::Permissions& permissions) {
  bus::NatsOptions options;
  options.url = url();
  if (config_.tls) options.ca_file = dir_ + "/ca.pem";
  options.creds_file = dir_ + "/" + identity + ".creds";
  options.identity = identity;
  std::ofstream(options.creds_file) << authority_.user_credentials(identity, permissions);
  return options;
}

}  // namespace gantry::testing
