// What a request carries to say who asks. Pure.
#pragma once

#include "libs/http/message.h"
#include "services/apigw/authn/authenticator.h"

namespace gantry::apigw {

/// The client certificate, the bearer token (of the Authorization header, or of a WebSocket's
/// base64url.bearer.authorization.k8s.io. subprotocol, which is taken out of the request) and the Impersonate- headers.
/// kBadRequest for what cannot be read.
Result<Credentials> credentials_of(http::Request& request);

}  // namespace gantry::apigw
