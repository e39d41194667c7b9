#include "services/controllers/framework/testing/dice.h"

#include <cstdlib>

namespace gantry::controllers::testing {
namespace {

uint64_t given(const char* variable, uint64_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

}  // namespace

Dice::Dice(int steps)
    : seed_(given("GANTRY_SEED", 1)),
      steps_(static_cast<int>(given("GANTRY_STEPS", static_cast<uint64_t>(steps)))),
      random_(seed_) {}

}  // namespace gantry::controllers::testing
