// How a template's failure travels inside the interpreter.
//
// A template fails at any depth of nested expressions, iterators and comparisons, and Jinja has no way to catch it, so
// inside this module a failure is one exception type, thrown by Fail() and caught in two places only: ChatTemplate's
// Parse and Render (chat_template.cc), which turn it into an Error. It never leaves the module.
#pragma once

#include <string>
#include <utility>

namespace quorum::tok::jinja {

struct Failure {
  std::string message;
  int line = 0;  // 1-based; 0 while not known: the evaluator adds where it was
};

[[noreturn]] inline void Fail(std::string message) { throw Failure{std::move(message), 0}; }
[[noreturn]] inline void FailAt(int line, std::string message) { throw Failure{std::move(message), line}; }

}  // namespace quorum::tok::jinja
