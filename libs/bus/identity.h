// Who is who on the bus: NATS' decentralised JWTs. An operator key signs accounts, the account key signs users,
// nats-server knows the operator and the accounts only, so that a node joins without touching the server's
// configuration. Keys are ed25519 ("nkeys").
//
// Making a cluster:
//     auto authority = Authority::load_or_create(dir / "nats-authority", "gantry");   // dir mode 0700, files 0600;
//     stable over restarts write(dir / "nats.conf", "listen: 127.0.0.1:4222\n tls {...}\n jetstream {store_dir: ...}\n"
//     + authority->server_config()); for (auto id : {"apigw", "controllers", "scheduler", "node-n1", "netproxy-n1",
//     "admin"})
//       write(dir / (id + ".creds"), authority->user_credentials(id, permissions_for(id)));   // --nats-creds
//
// An identity's permissions live in its credentials: to change them, issue new ones (revoking the old: Authority keeps
// no list yet, use expiry).
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "libs/base/result.h"
#include "libs/bus/permissions.h"

namespace gantry::bus {

enum class KeyType : uint8_t { kOperator, kAccount, kUser };

/// An ed25519 key pair in NATS' encoding. Immutable; thread-safe. Wiped when destroyed.
class KeyPair {
 public:
  static KeyPair create(KeyType type);
  /// kInvalid for a seed that is malformed, mistyped or has a wrong checksum.
  static Result<KeyPair> from_seed(std::string_view seed);
  ~KeyPair();
  KeyPair(const KeyPair&) = default;
  KeyPair& operator=(const KeyPair&) = default;

  KeyType type() const { return type_; }
  std::string public_key() const;                 // "O...", "A...", "U..."
  std::string seed() const;                       // "SO...", "SA...", "SU...": secret
  std::string sign(std::string_view data) const;  // 64 bytes

 private:
  KeyPair() = default;
  KeyType type_ = KeyType::kUser;
  std::array<unsigned char, 32> seed_{}, public_{};
  std::array<unsigned char, 64> secret_{};
};

/// True if `signature` (64 bytes) is by the holder of `public_key` ("U...").
bool verify_signature(std::string_view public_key, std::string_view data, std::string_view signature);

/// Without padding, as in JWTs.
std::string base64url(std::string_view bytes);

/// The keys and JWTs from which a cluster's identities are made. Whoever holds it can be anyone: keep it where the
/// cluster is administered, not on nodes.
class Authority {
 public:
  /// `now`: seconds since 1970, written into the JWTs.
  static Authority create(std::string name, int64_t now);
  /// From a folder that save() wrote. kNotFound, kInvalid.
  static Result<Authority> load(const std::filesystem::path& dir);
  static Result<Authority> load_or_create(const std::filesystem::path& dir, std::string name);
  /// Creates the folder (0700); files are 0600.
  Status save(const std::filesystem::path& dir) const;

  /// What nats-server's configuration needs: operator, system_account, resolver and resolver_preload. The listener,
  /// TLS, max_payload (8MB) and the jetstream block are the caller's. The account may use JetStream without limits of
  /// its own.
  std::string server_config() const;

  /// The content of a .creds file: a new user key, and its JWT with these permissions. `lifetime_seconds`: 0 = for
  /// ever.
  std::string user_credentials(std::string_view identity, const Permissions& permissions, int64_t now = 0,
                               int64_t lifetime_seconds = 0) const;
  /// For nats-server's own events ($SYS.>): monitoring tools only.
  std::string system_credentials() const;

  const KeyPair& account() const { return account_; }

 private:
  Authority(const KeyPair& operator_key, const KeyPair& account, const KeyPair& system)
      : operator_(operator_key), account_(account), system_(system) {}
  KeyPair operator_, account_, system_;
  std::string operator_jwt_, account_jwt_, system_jwt_;
};

}  // namespace gantry::bus
