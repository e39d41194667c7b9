// The subresources that carry streams instead of objects: pods/exec, pods/attach, pods/portforward, and proxy of pods,
// services and nodes. Each request becomes sessions with nodes over the bus. Loop's thread only.
#pragma once

#include <memory>
#include <string>

#include "libs/bus/bus.h"
#include "libs/http/message.h"
#include "libs/http/responder.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

/// What every stream needs; all outlive the streams.
struct StreamContext {
  Loop& loop;
  Api& api;
  bus::Bus& bus;
};

struct StreamRequest {
  http::Request request;
  std::string ns, name, subresource;
  std::string resource;  // pods, services, nodes
  std::string rest;      // of the path, after .../proxy: "" or "/..."
  Identity identity;
  std::shared_ptr<http::Responder> responder;
};

/// True for the subresources that start_stream() serves.
bool is_stream(std::string_view subresource);
/// Takes over the request and keeps itself alive until its end.
void start_stream(const StreamContext& context, StreamRequest request);

/// Answers with a Status. Nothing asks the client to try again: for a node that does not answer that is its user's
/// choice.
void refuse_stream(http::Responder& responder, const Error& error);

}  // namespace gantry::apigw
