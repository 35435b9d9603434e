// Finds out which loops and macros read the variables that Jinja makes for them only then.
#pragma once

#include "tokenizer/jinja/ast.h"

namespace quorum::tok::jinja {

/// Sets ForStmt::loop_slot and MacroBody::{caller,kwargs,varargs}_slot to 0 where the body reads the variable before it
/// sets it, to -1 elsewhere. Fails where a loop's body assigns to `loop`.
void MarkSpecialVariables(Program* program);

}  // namespace quorum::tok::jinja
