// What a write would do to one object: computed from the object as it is, without I/O, so that it can be computed again
// when somebody else was faster.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/state/store.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

class Mirror;

/// One write on its way.
struct Request {
  Identity identity;
  bus::Command command;
  Api::Callback done;
  const model::Kind* kind = nullptr;
  Mirror* mirror = nullptr;
  const model::Kind* view = nullptr;  // the kind that was asked for, where it is stored as `kind`
  std::string verb;                   // for the event's cause
  bool may_repeat = false;            // the client chose the command's id: an earlier try may have been committed
  bool fresh = false;                 // the mirror has been at the head since the request came
  int attempts = 0;
  int64_t now = 0;  // unix seconds
  std::vector<std::string> warnings;
  std::vector<Mirror*> beside;  // other kinds that the plan looks at: as fresh as `mirror`
  /// An apply or update that may create: what it is when the object has come in between.
  std::function<Result<struct Plan>(Request&, const model::Object&)> update;
  // Of the last plan's refusal, see AdmissionRequest.
  std::vector<std::string> unsure;
  bool pending = false, looked = false;
  int pauses = 0;
  std::shared_ptr<Timer> pause;
  bool alone = false;  // a namespace without the objects that come with it: they are there
};
using RequestPtr = std::shared_ptr<Request>;

struct Plan {
  enum class Kind : uint8_t {
    kNothing,  // it already is as wanted
    kPut,
    kErase,
  };
  Kind kind = Kind::kNothing;
  model::Object after;                       // kPut: the new state; kErase: the last one
  std::vector<state::Guard> guards;          // beside the object's own revision
  std::vector<state::Operation> operations;  // beside the object's own: claims and releases
  std::vector<model::Object> also;           // new objects that come with it
  Answer::Outcome outcome = Answer::Outcome::kObject;
  /// What to answer with instead of the object, e.g. its Scale. Takes the object with its new revision.
  std::function<void(Answer&)> present;
  bool commit_nothing = false;  // the guards count even if nothing changes (a sequence number)
};

/// `before` is empty only when the object is to be created.
using Planner = std::function<Result<Plan>(Request&, const model::Object& before)>;

}  // namespace gantry::apigw
