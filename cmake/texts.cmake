# What the command writes of itself from the tables of its options: manual pages, whose sources lack synopsis and
# options, and completion for shells. They are made by the command that was just built.
set(texts_folder ${CMAKE_BINARY_DIR}/texts)
set(made_texts "")
set(command_runs ON)
if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
    set(command_runs OFF)
    message(STATUS "no manual pages of commands and no completion: tada cannot be run here")
endif()

# Adds what `tada OPTION NAME` writes when it reads `source`, which may be empty.
function(tada_text output option name source)
    add_custom_command(OUTPUT ${output} DEPENDS tada-cli ${source} ${CMAKE_SOURCE_DIR}/cmake/write_text.cmake
        COMMAND ${CMAKE_COMMAND} "-Dcommand=$<TARGET_FILE:tada-cli>" "-Demulator=${CMAKE_CROSSCOMPILING_EMULATOR}"
        -Doption=${option} -Dname=${name} "-Dsource=${source}" "-Doutput=${output}"
        -P ${CMAKE_SOURCE_DIR}/cmake/write_text.cmake VERBATIM)
endfunction()

file(GLOB manual_pages CONFIGURE_DEPENDS doc/man/*.[1-9])
set(made_pages "")
foreach(page ${manual_pages})
    get_filename_component(file ${page} NAME)
    string(REGEX REPLACE "^tada-(.*)\\.1$" "\\1" name ${file})
    if(name STREQUAL file)
        configure_file(${page} ${texts_folder}/man/${file} @ONLY) # the version
    elseif(NOT command_runs OR name IN_LIST missing_commands)
        continue() # there is no such command
    else()
        configure_file(${page} ${texts_folder}/source/${file} @ONLY)
        tada_text(${texts_folder}/man/${file} --man ${name} ${texts_folder}/source/${file})
        list(APPEND made_texts ${texts_folder}/man/${file})
    endif()
    list(APPEND made_pages ${texts_folder}/man/${file})
endforeach()

# Under the names that the shells look for.
set(completion_bash tada)
set(completion_zsh _tada)
set(completion_fish tada.fish)
if(command_runs)
    foreach(shell bash zsh fish)
        tada_text(${texts_folder}/${shell}/${completion_${shell}} --completion ${shell} "")
        list(APPEND made_texts ${texts_folder}/${shell}/${completion_${shell}})
    endforeach()
endif()
add_custom_target(tada-texts ALL DEPENDS ${made_texts})
