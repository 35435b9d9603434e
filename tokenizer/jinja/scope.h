// Decides, once per template, which variable each name means.
//
// Jinja's scoping is lexical and decided before anything runs: loops, macros, with, call, filter and set blocks have
// variables of their own, an if does not; a name that is set anywhere in such a scope is that scope's own, and starts
// with the value of the enclosing scope's variable, of the variable that the template was given, or with none. Here, as
// in Jinja's compiler (idtracking.py), every scope's variables become numbered slots of the function it belongs to.
#pragma once

#include "tokenizer/jinja/ast.h"

namespace quorum::tok::jinja {

/// Fills in slots and scopes of all nodes of `program`, and which builtin each filter and test is. Fails for unknown
/// filters and tests (unless in a conditional part, where Jinja complains only when it comes to them), for assignments
/// to `loop` inside a loop, and for a `caller` parameter without default.
void ResolveScopes(Program* program);

}  // namespace quorum::tok::jinja
