// Random API objects for property tests: every field of the type, in the form in which the API server would print it.
#pragma once

#include <nlohmann/json.hpp>
#include <random>

#include "libs/model/schema.h"

namespace gantry::model::testing {

struct RandomOptions {
  double presence = 1.0;  // of each field
  size_t list_size = 2;   // at most, at least one
};

/// What decodes and prints as itself: no empty lists, no zero that Go would drop.
nlohmann::json random_object(const Type& type, std::mt19937_64& random, const RandomOptions& options = {});
/// With apiVersion and kind.
nlohmann::json random_object(const Kind& kind, std::mt19937_64& random, const RandomOptions& options = {});

/// A pod of about two kilobytes of JSON, as a Deployment's pod looks when it runs.
extern const char* const kPodJson;

}  // namespace gantry::model::testing
