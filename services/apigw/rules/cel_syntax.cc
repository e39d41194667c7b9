#include "services/apigw/rules/cel_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

namespace gantry::apigw {
namespace {

constexpr int kMaxDepth = 100;

bool letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

enum class Kind : uint8_t { kName, kNumber, kText, kSign, kEnd };

struct Token {
  Kind kind = Kind::kEnd;
  std::string_view text;
  size_t at = 0;
};

/// Splits the text; `wrong` says where that fails.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) {
    while (wrong.empty() && skip()) take();
    out.push_back({Kind::kEnd, "<EOF>", text.size()});
  }

  std::vector<Token> out;
  std::string wrong;

 private:
  bool skip() {
    while (at_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0) {
        ++at_;
      } else if (text_.substr(at_, 2) == "//") {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        return true;
      }
    }
    return false;
  }

  void take() {
    const size_t from = at_;
    // A prefix makes bytes or raw text of what follows.
    size_t quote = at_;
    while (quote < text_.size() && quote < at_ + 2 &&
           std::string_view("bBrR").find(text_[quote]) != std::string_view::npos)
      ++quote;
    if (quote < text_.size() && (text_[quote] == '"' || text_[quote] == '\'')) return string_at(from, quote);
    if (letter(text_[at_])) {
      while (at_ < text_.size() && (letter(text_[at_]) || digit(text_[at_]))) ++at_;
      return push(Kind::kName, from);
    }
    if (digit(text_[at_]) || (text_[at_] == '.' && at_ + 1 < text_.size() && digit(text_[at_ + 1])))
      return number(from);
    for (std::string_view two : {"==", "!=", "<=", ">=", "&&", "||"}) {
      if (text_.substr(at_, 2) != two) continue;
      at_ += 2;
      return push(Kind::kSign, from);
    }
    if (std::string_view("()[]{}.,:?+-*/%<>!").find(text_[at_]) == std::string_view::npos) {
      wrong = fmt::format("Syntax error: token recognition error at: '{}'", text_.substr(at_, 1));
      return;
    }
    ++at_;
    push(Kind::kSign, from);
  }

  void number(size_t from) {
    const bool hex = text_.substr(at_, 2) == "0x" || text_.substr(at_, 2) == "0X";
    if (hex) at_ += 2;
    while (at_ < text_.size()) {
      const char c = text_[at_], before = at_ > from ? text_[at_ - 1] : ' ';
      const bool sign = (c == '+' || c == '-') && !hex && (before == 'e' || before == 'E');
      if (!digit(c) && c != '.' && !sign && !letter(c)) break;
      ++at_;
    }
    push(Kind::kNumber, from);
  }

  void string_at(size_t from, size_t quote) {
    const bool raw = text_.substr(from, quote - from).find_first_of("rR") != std::string_view::npos;
    const char mark = text_[quote];
    const std::string three(3, mark);
    const bool tripled = text_.substr(quote, 3) == three;
    for (at_ = quote + (tripled ? 3 : 1); at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\' && !raw) {
        ++at_;
      } else if (tripled ? text_.substr(at_, 3) == three : text_[at_] == mark) {
        at_ += tripled ? 3 : 1;
        return push(Kind::kText, from);
      } else if (text_[at_] == '\n' && !tripled) {
        break;
      }
    }
    wrong = fmt::format("Syntax error: token recognition error at: '{}'", text_.substr(from, 20));
  }

  void push(Kind kind, size_t from) { out.push_back({kind, text_.substr(from, at_ - from), from}); }

  std::string_view text_;
  size_t at_ = 0;
};

class Parser {
 public:
  Parser(std::vector<Token> tokens, std::initializer_list<std::string_view> variables)
      : tokens_(std::move(tokens)), known_(variables) {}

  std::string check() {
    expression();
    if (wrong_.empty() && now().kind != Kind::kEnd) unexpected();
    return wrong_;
  }

 private:
  const Token& now() const { return tokens_[at_]; }
  bool is(std::string_view sign) const { return now().kind == Kind::kSign && now().text == sign; }
  bool eat(std::string_view sign) {
    if (!wrong_.empty() || !is(sign)) return false;
    ++at_;
    return true;
  }
  void need(std::string_view sign) {
    if (!eat(sign)) unexpected();
  }
  void unexpected() {
    if (wrong_.empty())
      wrong_ = fmt::format("<input>:1:{}: Syntax error: mismatched input '{}'", now().at + 1, now().text);
  }

  void expression() {
    if (++depth_ > kMaxDepth && wrong_.empty()) wrong_ = "expression recursion limit exceeded";
    if (!wrong_.empty()) return;
    binary();
    if (eat("?")) {
      binary();
      need(":");
      expression();
    }
    --depth_;
  }

  // Which operator binds more does not matter here.
  void binary() {
    do {
      unary();
    } while (wrong_.empty() && operator_next());
  }
  bool operator_next() {
    const bool word = now().kind == Kind::kName && now().text == "in";
    const bool sign = now().kind == Kind::kSign &&
                      std::string_view(" == != <= >= && || < > + - * / % ").find(fmt::format(" {} ", now().text)) !=
                          std::string_view::npos;
    if (!word && !sign) return false;
    ++at_;
    return true;
  }

  void unary() {
    while (eat("!") || eat("-")) {
    }
    primary();
    while (wrong_.empty()) {
      if (eat(".")) {
        if (eat("?")) {
        }
        if (now().kind != Kind::kName) return unexpected();
        const std::string_view name = tokens_[at_++].text;
        if (is("(")) call(name);
      } else if (eat("[")) {
        if (eat("?")) {
        }
        expression();
        need("]");
      } else {
        return;
      }
    }
  }

  void primary() {
    if (!wrong_.empty()) return;
    if (now().kind == Kind::kNumber || now().kind == Kind::kText) {
      ++at_;
    } else if (eat("(")) {
      expression();
      need(")");
    } else if (is("[")) {
      list("[", "]", false);
    } else if (is("{")) {
      list("{", "}", true);
    } else if (eat(".") || now().kind == Kind::kName) {
      if (now().kind != Kind::kName || now().text == "in") return unexpected();
      const Token name = tokens_[at_++];
      if (is("(")) return call(name.text);
      // A namespace of functions (semver, quantity, cel.bind) or a type is named before a dot or compared.
      static constexpr std::string_view kWords[] = {"true",      "false",  "null",  "int",  "uint",     "double",
                                                    "bool",      "string", "bytes", "list", "map",      "type",
                                                    "null_type", "cel",    "math",  "sets", "optional", "net"};
      const bool word = std::find(std::begin(kWords), std::end(kWords), name.text) != std::end(kWords);
      if (!word && std::find(known_.begin(), known_.end(), name.text) == known_.end())
        wrong_ = fmt::format("<input>:1:{}: undeclared reference to '{}' (in container '')", name.at + 1, name.text);
    } else {
      unexpected();
    }
  }

  // The first argument of a macro is a variable in the others.
  void call(std::string_view name) {
    static constexpr std::string_view kMacros[] = {"all",    "exists", "exists_one", "existsOne",     "map",
                                                   "filter", "sortBy", "bind",       "transformList", "transformMap"};
    const bool macro = std::find(std::begin(kMacros), std::end(kMacros), name) != std::end(kMacros);
    const size_t known = known_.size();
    for (size_t i = at_ + 1; macro && i + 1 < tokens_.size() && tokens_[i].kind == Kind::kName; i += 2) {
      if (tokens_[i + 1].text != ",") break;
      known_.push_back(tokens_[i].text);
    }
    list("(", ")", false);
    known_.resize(known);
  }

  void list(std::string_view open, std::string_view close, bool pairs) {
    need(open);
    while (wrong_.empty() && !is(close)) {
      if (eat("?")) {
      }
      expression();
      if (pairs) {
        need(":");
        expression();
      }
      if (!eat(",")) break;
    }
    need(close);
  }

  std::vector<Token> tokens_;
  std::vector<std::string_view> known_;
  std::string wrong_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string check_cel(std::string_view text, std::initializer_list<std::string_view> variables) {
  Tokens tokens(text);
  if (!tokens.wrong.empty()) return tokens.wrong;
  return Parser(std::move(tokens.out), variables).check();
}

}  // namespace gantry::apigw
