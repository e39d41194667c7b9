// Whether a text is an expression of CEL (the Common Expression Language), as far as it can be told without running it:
// its grammar, and that its variables exist. Pure, thread-safe; bounded by the text's length.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace gantry::apigw {

/// "" or what is wrong. `variables`: what the expression may name beside its own macros' variables.
std::string check_cel(std::string_view text, std::initializer_list<std::string_view> variables);

}  // namespace gantry::apigw
