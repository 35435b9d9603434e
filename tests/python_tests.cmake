# Tests written in Python, one entry each.

add_test(NAME engine.kernel_symbols
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/engine/kernel_symbols_test.py ${CMAKE_NM}
                 $<TARGET_OBJECTS:quorum_kernels>
         COMMAND_EXPAND_LISTS)
add_test(NAME engine.kernel_symbols_can_fail
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/engine/kernel_symbols_test.py --self-test)
set_tests_properties(engine.kernel_symbols engine.kernel_symbols_can_fail PROPERTIES LABELS unit)

add_test(NAME cli.inspect COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cli/inspect_test.py
                                  $<TARGET_FILE:quorum>)
add_test(NAME cli.shell COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cli/shell_test.py
                                $<TARGET_FILE:quorum>)
add_test(NAME cli.pull COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cli/pull_test.py
                               $<TARGET_FILE:quorum> ${CMAKE_CURRENT_SOURCE_DIR}/fixtures/model/tiny_chat_moe.gguf)
set_tests_properties(cli.inspect cli.shell cli.pull PROPERTIES LABELS unit)
add_test(NAME cli.command_line COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cli/command_line_test.py
                                       $<TARGET_FILE:quorum>)
set_tests_properties(cli.command_line PROPERTIES LABELS unit)
add_test(NAME cli.experts COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cli/experts_test.py $<TARGET_FILE:quorum>)
set_tests_properties(cli.experts PROPERTIES LABELS unit)

# The official SDKs against the real program and a tiny model.
add_test(NAME e2e.sdk COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/run.py $<TARGET_FILE:quorum>
                              ${PROJECT_SOURCE_DIR}/build/e2e-venv)
set_tests_properties(e2e.sdk PROPERTIES LABELS e2e SKIP_RETURN_CODE 77 TIMEOUT 900)

# Random schemas, expressions and grammars against jsonschema and re: a small part of what tests/tools/grammar_fuzz.py does.
add_test(NAME grammar.fuzz COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/grammar/fuzz_sample.py
                                   $<TARGET_FILE:grammar_sample> ${PROJECT_SOURCE_DIR}/build/e2e-venv)
set_tests_properties(grammar.fuzz PROPERTIES LABELS unit SKIP_RETURN_CODE 77 TIMEOUT 600)

add_test(NAME bench.compare COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/bench/compare_test.py)
set_tests_properties(bench.compare PROPERTIES LABELS unit)
