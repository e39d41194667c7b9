// Identifiers: object uids, command ids, and the tokens of NATS subjects.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gantry {

/// A random version-4 UUID in lower case, e.g. an object's uid or a command's id. Thread-safe.
std::string new_uid();
/// `length` characters of Kubernetes' alphabet for generated names (no vowels, no confusable digits). Thread-safe.
std::string random_suffix(size_t length = 5);
/// The safe encoding of a hash as Kubernetes prints it in pod-template-hash: same alphabet as random_suffix.
std::string safe_encode(std::string_view digits);

/// A NATS subject token: every byte outside [A-Za-z0-9-] as %XX, upper case. Injective; empty input gives "_".
std::string encode_token(std::string_view raw);
/// The inverse; nullopt for what encode_token never produces.
std::optional<std::string> decode_token(std::string_view token);

}  // namespace gantry
