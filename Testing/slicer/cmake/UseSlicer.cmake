include(CTest)

# Write "KIND<tab>path" for each file into packaged.txt; a missing file ends the configuration.
function(_record kind folder)
  foreach(file IN LISTS ARGN)
    if(NOT EXISTS ${folder}/${file})
      message(FATAL_ERROR "${kind} ${file} does not exist in ${folder}")
    endif()
    file(APPEND ${CMAKE_BINARY_DIR}/packaged.txt "${kind}\t${folder}/${file}\n")
  endforeach()
endfunction()

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY_SLICER "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_SLICER_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "not understood: ${MY_SLICER_UNPARSED_ARGUMENTS}")
  endif()
  _record(module ${CMAKE_CURRENT_SOURCE_DIR} ${MY_SLICER_SCRIPTS} ${MY_SLICER_RESOURCES})
endmacro()

macro(ctkMacroCompilePythonScript)
  cmake_parse_arguments(COMPILE "NO_INSTALL_SUBDIR;GLOBAL_TARGET"
    "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR" "SCRIPTS;RESOURCES" ${ARGN})
  if(COMPILE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "not understood: ${COMPILE_UNPARSED_ARGUMENTS}")
  endif()
  _record(backend ${COMPILE_SOURCE_DIR} ${COMPILE_SCRIPTS} ${COMPILE_RESOURCES})
endmacro()

macro(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT" "SLICER_ARGS" ${ARGN})
  _record(test ${CMAKE_CURRENT_SOURCE_DIR} ${TEST_SCRIPT})
endmacro()
