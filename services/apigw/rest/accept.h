// What a client wants to be answered in: the Accept header and what goes with it. Pure, thread-safe.
#pragma once

#include "libs/http/message.h"
#include "services/apigw/render/render.h"

namespace gantry::apigw {

struct Accepted {
  Shape shape;
  bool aggregated_discovery = false;
};

/// What is answered to: watches have no YAML, and some kinds no protobuf.
enum class AcceptUse : uint8_t { kAnswer, kAnswerWithoutProtobuf, kWatch };

/// The alternative of Accept that weighs most and can be had; JSON for no header at all. kNotAcceptable names those
/// that can.
Result<Accepted> parse_accept(std::string_view accept, AcceptUse use = AcceptUse::kAnswer);
/// The same with all that the request says: several headers, `pretty`, `includeObject`. kBadRequest too.
Result<Accepted> accepted_by(const http::Request& request, AcceptUse use);

}  // namespace gantry::apigw
