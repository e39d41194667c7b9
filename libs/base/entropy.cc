#include "libs/base/entropy.h"

#include <openssl/rand.h>

#include <utility>

namespace gantry {
namespace {

RandomSource& source() {
  static RandomSource source;
  return source;
}

}  // namespace

void random_bytes(uint8_t* out, size_t n) {
  if (source()) return source()(out, n);
  if (RAND_bytes(out, static_cast<int>(n)) != 1) __builtin_trap();  // without entropy no id is unique
}

uint64_t random_number() {
  uint64_t number = 0;
  random_bytes(reinterpret_cast<uint8_t*>(&number), sizeof number);
  return number;
}

void set_random_source(RandomSource next) { source() = std::move(next); }

}  // namespace gantry
