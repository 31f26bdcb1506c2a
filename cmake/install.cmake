# What `cmake --install` puts where, in the folders of GNU. All of it may be moved together: the command finds its
# libraries from its own place, and tada.pc its folders from its own.
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
    WORLD_READ WORLD_EXECUTE)

if(TADA_PYTHON)
    # The Python package has its own short tree: the command and what it loads.
    install(TARGETS tada-cli ggml-tada tada-sessions tada-prompts RUNTIME DESTINATION bin LIBRARY DESTINATION lib)
    return()
endif()

install(TARGETS tada-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Nobody links to the modules, so they stay out of the folder of libraries.
foreach(module ggml-tada tada-sessions tada-prompts)
    if(TARGET ${module})
        install(TARGETS ${module} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/tada)
    endif()
endforeach()

# The library for other programs: the objects of the static one, so that nothing is compiled twice.
add_library(tada-shared SHARED $<TARGET_OBJECTS:tada>)
set_target_properties(tada-shared PROPERTIES OUTPUT_NAME tada VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE C)
target_link_libraries(tada-shared PRIVATE Threads::Threads m)
set_target_properties(tada-shared PROPERTIES EXPORT_NAME tada)
set_target_properties(tada PROPERTIES EXPORT_NAME static)
install(TARGETS tada tada-shared EXPORT tada-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES include/tada.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" prefix_from_pc ${prefix_from_pc})
configure_file(cmake/tada.pc.in tada.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tada.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# For CMake: find_package(tada) gives tada::tada, and tada::static.
include(CMakePackageConfigHelpers)
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/tada)
configure_file(cmake/tadaConfig.cmake.in tadaConfig.cmake @ONLY)
write_basic_package_version_file(tadaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT tada-targets FILE tadaTargets.cmake NAMESPACE tada:: DESTINATION ${config_folder})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tadaConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/tadaConfigVersion.cmake
    DESTINATION ${config_folder})

foreach(page ${made_pages})
    string(REGEX REPLACE ".*\\." "" section ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
if(command_runs)
    install(FILES ${texts_folder}/bash/tada DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${texts_folder}/zsh/_tada DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${texts_folder}/fish/tada.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
# As in the source, so that links between them and to figures hold.
install(DIRECTORY doc/guide doc/reference doc/design DESTINATION ${CMAKE_INSTALL_DOCDIR}/doc)
install(FILES doc/results.md doc/results.json doc/quality.svg doc/speed.svg DESTINATION ${CMAKE_INSTALL_DOCDIR}/doc)
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES python/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/python)
install(FILES examples/cache.c DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
