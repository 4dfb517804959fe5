# Writes a test for every suite of a test program: cmake -DPROGRAM=... -DLABELS=... -DOUTPUT=... -P
# list_suites.cmake
execute_process(COMMAND "${PROGRAM}" --gtest_list_tests OUTPUT_VARIABLE lines COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "(^|\n)[^ \n]+\\.[ \n]" suites "${lines}")
set(tests "")
foreach(suite IN LISTS suites)
  string(REGEX REPLACE "^\n|\\.[ \n]$" "" suite "${suite}")
  string(APPEND tests
    "add_test([==[${suite}]==] [==[${PROGRAM}]==] [==[--gtest_filter=${suite}.*]==] --gtest_brief=1)\n"
    "set_tests_properties([==[${suite}]==] PROPERTIES LABELS [==[${LABELS}]==])\n")
endforeach()
file(WRITE "${OUTPUT}" "${tests}")
