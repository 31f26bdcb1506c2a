# How tests are added. Each has one of these labels, and a long one may have that of its part, too:
#   quick   unit, golden, kernels of this CPU, cli, session, ...: less than a minute, all of them together
#   engine  the real llama.cpp
#   long    minutes, or builds something: scripts/run_tests.sh runs these part by part
# `make check` runs those that are quick or have an engine.

# The only limit of time, for what hangs: no machine is so loaded that a test which goes on reaches it.
set(test_limit_s 43200)

# tada_test(NAME LABEL[;PART] [SKIPS] [ALONE] [CORES N] [COST N] [SETS_UP FIXTURE] [NEEDS FIXTURE] [ENVIRONMENT NAME=VALUE...]
#     COMMAND ...)
# SKIPS: exit status 77 means that it was skipped, and its output says why. ALONE: neighbours would spoil what it
# measures. CORES: how many of them it keeps busy, 1 if it does not say. COST: seconds, where they are many, so that
# these begin first.
function(tada_test name labels)
    cmake_parse_arguments(PARSE_ARGV 2 test "SKIPS;ALONE" "CORES;COST;SETS_UP;NEEDS" "ENVIRONMENT;COMMAND")
    add_test(NAME ${name} COMMAND ${test_COMMAND})
    # Threads that wait must not take the cores of those that work: tests run side by side.
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${test_limit_s}
        ENVIRONMENT "OMP_WAIT_POLICY=passive;${test_ENVIRONMENT}")
    if(test_SKIPS)
        set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
    endif()
    if(test_ALONE)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
    if(test_CORES)
        set_tests_properties(${name} PROPERTIES PROCESSORS ${test_CORES})
    endif()
    if(test_COST)
        set_tests_properties(${name} PROPERTIES COST ${test_COST})
    endif()
    if(test_SETS_UP)
        set_tests_properties(${name} PROPERTIES FIXTURES_SETUP ${test_SETS_UP})
    endif()
    if(test_NEEDS)
        set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED ${test_NEEDS})
    endif()
endfunction()
