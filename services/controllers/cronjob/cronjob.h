// Makes a Job at each time that a CronJob's schedule names.
//
// A Job's name is made from the CronJob's and the scheduled minute, so a run cannot be started twice, whoever tries;
// what was started is read back from the Jobs that are there.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class CronJobController final : public Controller {
 public:
  std::string_view name() const override { return "cronjob"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"cronjobs", "jobs"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
