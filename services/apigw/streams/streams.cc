#include "services/apigw/streams/streams.h"

#include <fmt/format.h>

#include "services/apigw/render/render.h"
#include "services/apigw/streams/start.h"

namespace gantry::apigw {

bool is_stream(std::string_view subresource) {
  return subresource == "exec" || subresource == "attach" || subresource == "portforward" || subresource == "proxy";
}

void start_stream(const StreamContext& context, StreamRequest request) {
  const auto& method = request.request.method;
  if (request.subresource == "proxy") return start_proxy(context, std::move(request));
  if (method != "GET" && method != "POST") {
    return refuse_stream(*request.responder,
                         {Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"});
  }
  request.subresource == "portforward" ? start_port_forward(context, std::move(request))
                                       : start_command(context, std::move(request));
}

void refuse_stream(http::Responder& responder, const Error& error) {
  Error told = error;
  if (error.code == Code::kUnavailable || error.code == Code::kTimeout) {
    told.code = Code::kUnavailable;  // the request is right, and may be answered when the node is back
    told.message = dial_error(error);
  }
  responder.send(http_status(told.code), {{"Content-Type", "application/json"}}, status_json(told));
}

std::string dial_error(const Error& error) {
  bool unreachable = error.code == Code::kUnavailable || error.code == Code::kTimeout;
  return unreachable ? fmt::format("error dialing backend: {}", error.message) : error.message;
}

}  // namespace gantry::apigw
