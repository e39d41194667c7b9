// Who may approve and sign certificates: the signer that a request names is a resource of its own (`signers`), on which
// the verbs approve and sign are granted. Pure but for the view that it reads.
#pragma once

#include "services/apigw/core/planners.h"

namespace gantry::apigw {

/// Of any write of a CertificateSigningRequest; `before` is empty for a create. kForbidden.
Status check_signer(const Context& context, const Request& request, const model::Object& after,
                    const model::Object& before);

}  // namespace gantry::apigw
