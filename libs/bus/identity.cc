#include "libs/bus/identity.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

namespace gantry::bus {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

/// Claims of version 2, signed by `issuer`.
std::string make_jwt(const KeyPair& issuer, const std::string& subject, std::string_view name, int64_t now,
                     int64_t expires, Json nats) {
  nats["version"] = 2;
  Json claims = {
      {"iat", now}, {"iss", issuer.public_key()}, {"sub", subject}, {"name", name}, {"nats", std::move(nats)}};
  if (expires != 0) claims["exp"] = expires;
  // The id is a hash of the claims: nothing depends on it but tools that list tokens.
  unsigned char hash[crypto_hash_sha256_BYTES];
  auto text = claims.dump();
  crypto_hash_sha256(hash, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  claims["jti"] = base64url({reinterpret_cast<const char*>(hash), sizeof hash});
  auto body = base64url(R"({"typ":"JWT","alg":"ed25519-nkey"})") + "." + base64url(claims.dump());
  return body + "." + base64url(issuer.sign(body));
}

Json account_claims(bool jetstream) {
  Json limits = {{"subs", -1},    {"data", -1},        {"payload", -1}, {"imports", -1},
                 {"exports", -1}, {"wildcards", true}, {"conn", -1},    {"leaf", -1}};
  if (jetstream) {
    limits.update(
        {{"mem_storage", -1}, {"disk_storage", -1}, {"streams", -1}, {"consumer", -1}, {"max_ack_pending", -1}});
  }
  return {{"type", "account"},
          {"limits", limits},
          {"default_permissions", {{"pub", Json::object()}, {"sub", Json::object()}}}};
}

Json permission(const std::vector<std::string>& allow, const std::vector<std::string>& deny) {
  Json p = Json::object();
  // An empty allow list would mean everything: then nothing is what is meant.
  p["allow"] = allow;
  if (allow.empty()) p = {{"deny", {">"}}};
  if (!allow.empty() && !deny.empty()) p["deny"] = deny;
  return p;
}

std::string credentials(std::string_view jwt, const KeyPair& user) {
  return fmt::format(
      "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n"
      "************************* IMPORTANT *************************\n"
      "NKEY Seed printed below can be used to sign and prove identity.\n"
      "NKEYs are sensitive and should be treated as secrets.\n\n"
      "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n\n"
      "*************************************************************\n",
      jwt, user.seed());
}

Result<std::string> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error{Code::kNotFound, fmt::format("{} cannot be read", path.string())};
  std::string text((std::istreambuf_iterator<char>(in)), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Status write_secret(const fs::path& path, const std::string& text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Error{Code::kInternal, fmt::format("{}: {}", path.string(), std::strerror(errno))};
  ssize_t written = ::write(fd, text.data(), text.size());
  bool ok = written == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!ok) return Error{Code::kInternal, fmt::format("{} cannot be written", path.string())};
  return Done{};
}

int64_t clock_seconds(int64_t now) { return now != 0 ? now : static_cast<int64_t>(std::time(nullptr)); }

}  // namespace

Authority Authority::create(std::string name, int64_t now) {
  Authority a(KeyPair::create(KeyType::kOperator), KeyPair::create(KeyType::kAccount),
              KeyPair::create(KeyType::kAccount));
  a.operator_jwt_ = make_jwt(a.operator_, a.operator_.public_key(), name, now, 0,
                             {{"type", "operator"}, {"system_account", a.system_.public_key()}});
  a.account_jwt_ = make_jwt(a.operator_, a.account_.public_key(), name, now, 0, account_claims(true));
  a.system_jwt_ = make_jwt(a.operator_, a.system_.public_key(), "SYS", now, 0, account_claims(false));
  return a;
}

Status Authority::save(const fs::path& dir) const {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return Error{Code::kInternal, fmt::format("{}: {}", dir.string(), error.message())};
  ::chmod(dir.c_str(), 0700);
  const std::pair<const char*, std::string> files[] = {
      {"operator.nk", operator_.seed()}, {"account.nk", account_.seed()}, {"system.nk", system_.seed()},
      {"operator.jwt", operator_jwt_},   {"account.jwt", account_jwt_},   {"system.jwt", system_jwt_}};
  for (const auto& [file, text] : files) {
    if (auto status = write_secret(dir / file, text + "\n"); !status) return status;
  }
  return Done{};
}

Result<Authority> Authority::load(const fs::path& dir) {
  std::vector<KeyPair> keys;
  for (const char* file : {"operator.nk", "account.nk", "system.nk"}) {
    auto seed = read_file(dir / file);
    if (!seed) return seed.error();
    auto key = KeyPair::from_seed(*seed);
    if (!key) return Error{Code::kInvalid, fmt::format("{}: {}", (dir / file).string(), key.error().message)};
    keys.push_back(*key);
  }
  if (keys[0].type() != KeyType::kOperator || keys[1].type() != KeyType::kAccount ||
      keys[2].type() != KeyType::kAccount) {
    return Error{Code::kInvalid, fmt::format("{}: a key is of the wrong type", dir.string())};
  }
  Authority a(keys[0], keys[1], keys[2]);
  for (auto [file, jwt] : {std::pair("operator.jwt", &a.operator_jwt_),
                           {"account.jwt", &a.account_jwt_},
                           {"system.jwt", &a.system_jwt_}}) {
    auto text = read_file(dir / file);
    if (!text) return text.error();
    *jwt = *text;
  }
  return a;
}

Result<Authority> Authority::load_or_create(const fs::path& dir, std::string name) {
  auto loaded = load(dir);
  if (loaded || loaded.code() != Code::kNotFound || fs::exists(dir / "operator.nk")) return loaded;
  auto fresh = create(std::move(name), clock_seconds(0));
  if (auto status = fresh.save(dir); !status) return status.error();
  return fresh;
}

std::string Authority::server_config() const {
  return fmt::format(
      "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n  {}: {}\n  {}: {}\n}}\n",
      operator_jwt_, system_.public_key(), account_.public_key(), account_jwt_, system_.public_key(), system_jwt_);
}

std::string Authority::user_credentials(std::string_view identity, const Permissions& permissions, int64_t now,
                                        int64_t lifetime_seconds) const {
  auto user = KeyPair::create(KeyType::kUser);
  now = clock_seconds(now);
  Json nats = {{"type", "user"},
               {"pub", permission(permissions.publish, permissions.publish_deny)},
               {"sub", permission(permissions.subscribe, permissions.subscribe_deny)},
               {"subs", -1},
               {"data", -1},
               {"payload", -1}};
  // One answer for each request received, within a minute.
  if (permissions.respond) nats["resp"] = {{"max", 1}, {"ttl", 60'000'000'000}};
  auto expires = lifetime_seconds == 0 ? 0 : now + lifetime_seconds;
  return credentials(make_jwt(account_, user.public_key(), identity, now, expires, std::move(nats)), user);
}

std::string Authority::system_credentials() const {
  auto user = KeyPair::create(KeyType::kUser);
  Json nats = {{"type", "user"}, {"pub", Json::object()}, {"sub", Json::object()}, {"subs", -1},
               {"data", -1},     {"payload", -1}};
  return credentials(make_jwt(system_, user.public_key(), "system", clock_seconds(0), 0, std::move(nats)), user);
}

}  // namespace gantry::bus
