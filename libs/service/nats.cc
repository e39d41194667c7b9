#include "libs/service/nats.h"

#include "libs/bus/nats_bus.h"

namespace gantry::service {

std::unique_ptr<bus::Bus> connect_nats(UvLoop& loop, const CommonOptions& options) {
  return std::make_unique<bus::NatsBus>(loop, bus::NatsOptions{.url = options.nats_url,
                                                               .ca_file = options.nats_ca,
                                                               .creds_file = options.nats_creds,
                                                               .identity = options.identity});
}

}  // namespace gantry::service
