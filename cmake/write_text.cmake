# Has `command option name` write a file, with `source` as its input.
get_filename_component(folder "${output}" DIRECTORY)
file(MAKE_DIRECTORY "${folder}")
if(NOT source)
    set(source /dev/null)
endif()
# Half a file must not look like a whole one at the next build.
execute_process(COMMAND ${emulator} "${command}" ${option} ${name} INPUT_FILE "${source}" OUTPUT_FILE "${output}.new"
    COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${output}.new" "${output}")
