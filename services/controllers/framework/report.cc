#include "services/controllers/framework/report.h"

#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {

using nlohmann::json;

json status_of(const model::Object& object) {
  const model::Field* field = object.kind().type->by_json("status");
  CHECK(field != nullptr) << object.kind().kind << " has no status";
  const auto* status = object.root()->GetPointer<const flatbuffers::Table*>(field->slot);
  return status == nullptr ? json::object() : json::parse(model::to_json(*field->type, status));
}

void put_count(json& status, const char* field, int64_t value) {
  if (value == 0) {
    status.erase(field);
  } else {
    status[field] = value;
  }
}

bool report_status(const model::Object& object, const json& status, Decision& decision) {
  model::Draft draft(object);
  auto set = draft.set_json("status", status.dump(-1, ' ', false, json::error_handler_t::replace));
  CHECK(set.ok()) << object.kind().kind << " status: " << set.error().message << ": " << status.dump();
  model::Object changed = draft.build();
  if (model::equal(*object.kind().type, object.root(), changed.root())) return false;
  decision.add(update_status(object, changed.bytes()));
  return true;
}

bool set_condition(json& status, const ConditionValue& value, int64_t now) {
  json& all = status["conditions"];
  if (all.is_null()) all = json::array();
  for (json& c : all) {
    if (c["type"] != value.type) continue;
    if (c["status"] == value.status && c.value("reason", "") == value.reason && c.value("message", "") == value.message)
      return false;
    if (c["status"] != value.status) c["lastTransitionTime"] = model::format_time(now);
    c["status"] = value.status;
    c["reason"] = value.reason;
    c["message"] = value.message;
    return true;
  }
  all.push_back({{"type", value.type},
                 {"status", value.status},
                 {"lastTransitionTime", model::format_time(now)},
                 {"reason", value.reason},
                 {"message", value.message}});
  return true;
}

const json* find_condition(const json& status, std::string_view type) {
  auto all = status.find("conditions");
  if (all == status.end()) return nullptr;
  for (const json& c : *all) {
    if (c["type"] == type) return &c;
  }
  return nullptr;
}

bool condition_true(const json& status, std::string_view type) {
  const json* c = find_condition(status, type);
  return c != nullptr && (*c)["status"] == "True";
}

}  // namespace gantry::controllers
