// Where every random choice of this process comes from: uids, generated names, drawn addresses. Normally the system;
// the simulation puts a seeded source in its place, so that the same seed gives the same run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace gantry {

/// Thread-safe, as long as the source is.
void random_bytes(uint8_t* out, size_t n);
uint64_t random_number();

/// Null: the system's again. Call only while a single thread uses random numbers.
using RandomSource = std::function<void(uint8_t* out, size_t n)>;
void set_random_source(RandomSource source);

}  // namespace gantry
