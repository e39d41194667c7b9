// Whatever arrives from the bus is verified before it is read: batches, replies, events, and nkey seeds. The first byte
// chooses.
#include <cstdint>
#include <string_view>

#include "libs/bus/command.h"
#include "libs/bus/feed_rules.h"
#include "libs/bus/identity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      if (auto batch = gantry::bus::decode_batch(bytes)) {
        std::vector<const gantry::bus::Command*> commands;
        for (auto& command : *batch) commands.push_back(&command);
        (void)gantry::bus::encode_batch(commands, 1);
      }
      break;
    case 1:
      if (auto reply = gantry::bus::decode_reply(bytes)) (void)gantry::bus::encode_reply(*reply);
      break;
    case 2:
      if (const auto* event = gantry::bus::verified_event(bytes)) {
        (void)gantry::bus::judge({"pods", "", ""}, *event, 1);
        (void)gantry::bus::in_chain({"pods", "n1", ""}, *event);
      }
      break;
    case 3:
      if (auto key = gantry::bus::KeyPair::from_seed(bytes)) (void)key->public_key();
      break;
  }
  return 0;
}
