// From an HTTP request to a command: bodies in JSON, YAML or protobuf, and the query parameters that every verb knows.
// Pure, thread-safe.
#pragma once

#include "libs/bus/command.h"
#include "libs/http/message.h"
#include "services/apigw/rest/route.h"

namespace gantry::apigw {

/// The command for a route to a resource. kBadRequest, kUnsupportedMediaType, kMethodNotAllowed.
Result<bus::Command> to_command(const Route& route, const http::Request& request);

/// YAML as JSON: plain scalars get their YAML 1.2 core types, quoted ones stay strings.
Result<std::string> yaml_to_json(const std::string& yaml);

/// Whether the body is YAML, and not JSON (which is YAML, too).
bool is_yaml(const http::Request& request);
/// Puts what yaml_to_json() made of the body in its place; its error as to_command() would tell it.
Status replace_yaml(http::Request& request, Result<std::string> json);

}  // namespace gantry::apigw
