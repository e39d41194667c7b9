#include "services/apigw/core/views.h"

#include <utility>

#include "libs/model/json.h"
#include "libs/model/served.h"
#include "services/apigw/convert/convert.h"
#include "services/apigw/core/decode.h"

namespace gantry::apigw {
namespace {

using bus::Verb;

// A body is converted at once. A patch is left alone: it needs the object that it changes.
Status convert_body(const model::Kind& view, const model::Kind& storage, Request& request, size_t max_object_bytes) {
  auto& command = request.command;
  const bool whole = command.verb == Verb::Create || command.verb == Verb::Update;
  const bool apply = command.verb == Verb::Patch && command.patch_type == bus::PatchType::Apply;
  if (!whole && !apply) return Done{};
  if (!command.subresource.empty() && command.subresource != "status") return Done{};
  auto body = decode_body(view, command, max_object_bytes, &request.warnings);
  if (!body.ok()) return body.error();
  const auto stored = convert(*body, storage);
  command.object.clear();
  command.json.clear();
  apply ? model::to_json(stored, command.json) : void(command.object = stored.bytes());
  return Done{};
}

}  // namespace

Status see_through(Request& request, size_t max_object_bytes) {
  const model::Kind* view = view_of(request.command.resource);
  if (view == nullptr) return Done{};
  const model::Kind& storage = *model::served(*view).storage;
  if (auto converted = convert_body(*view, storage, request, max_object_bytes); !converted.ok()) return converted;
  request.view = view;
  auto said = std::exchange(request.warnings, {});  // of the body: what plans the request begins without any
  request.command.resource = storage.resource;
  request.command.field_selector = stored_selector(*view, request.command.field_selector);
  request.done = [view, &storage, said = std::move(said), done = std::move(request.done)](Result<Answer> answer) {
    if (answer.ok()) answer->warnings.insert(answer->warnings.begin(), said.begin(), said.end());
    if (answer.ok() && answer->kind == &storage) answer->kind = view;
    if (answer.ok() && answer->object) answer->object = convert(answer->object, *view);
    if (answer.ok()) {
      for (auto& item : answer->items) item = convert(item, *view);
    }
    done(std::move(answer));
  };
  return Done{};
}

void see_through(WatchRequest& request, WatchCallbacks& callbacks) {
  const model::Kind* view = view_of(request.resource);
  if (view == nullptr) return;
  request.resource = model::served(*view).storage->resource;
  request.field_selector = stored_selector(*view, request.field_selector);
  callbacks.event = [view, event = std::move(callbacks.event)](WatchType type, const model::Object& object) {
    return event(type, convert(object, *view));
  };
}

}  // namespace gantry::apigw
