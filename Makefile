# A thin layer over CMake: each target does all the set-up that it needs, once.
BUILD := build
# Of the long run; see scripts/run_tests.sh --help.
PARTS := all

.PHONY: all setup demo check check-all lint package install clean help

all: setup
	cmake --preset release -B "$(BUILD)" > "$(BUILD)/cmake.log" || { cat "$(BUILD)/cmake.log"; exit 1; }
	cmake --build "$(BUILD)" --parallel

setup:
	scripts/setup.sh
	scripts/get_llama.sh "$(BUILD)"

demo: all
	@model=$$(scripts/get_model.sh) && scripts/demo.sh "$(BUILD)/bin" "$$model"

check: all
	@scripts/get_f16_model.sh "$(BUILD)/bin" > /dev/null
	ctest --test-dir "$(BUILD)" -L '^(quick|engine)$$' --output-on-failure --no-tests=error --parallel $$(nproc)

check-all: all
	scripts/setup.sh --tests
	@scripts/get_f16_model.sh "$(BUILD)/bin" > /dev/null
	@BUILD="$(BUILD)" scripts/run_tests.sh $(PARTS)

lint: setup
	LLAMA_DIR="$(BUILD)/llama.cpp" scripts/lint.sh

package: setup
	scripts/package.sh "$(BUILD)/package" -DTADA_LLAMA_DIR="$$(realpath "$(BUILD)")/llama.cpp" -DTADA_LLAMA_BUILD="$$(realpath "$(BUILD)")/llama"

install: all
	cmake --install "$(BUILD)" $(if $(PREFIX),--prefix "$(PREFIX)")

clean:
	rm -rf "$(BUILD)" "$(BUILD)"-debug "$(BUILD)"-asan "$(BUILD)"-ubsan "$(BUILD)"-tsan "$(BUILD)"-fuzz "$(BUILD)"-check-*

help:
	@echo "make            build the library, the plug-in and the tada command (make all)"
	@echo "make setup      install what is missing, fetch and build llama.cpp"
	@echo "make demo       the same question answered with the f16 cache and with ours"
	@echo "make check      the tests that tell whether it works here: 10 minutes at most on 2 cores"
	@echo "make check-all  all tests, hours; or some: make check-all PARTS=\"fuzz packages\" (scripts/run_tests.sh --help)"
	@echo "make lint       form, static analysis, links of the documents"
	@echo "make package    a Debian package and an archive in $(BUILD)/package"
	@echo "make install    into PREFIX (default: that of CMake, /usr/local)"
	@echo "make clean      remove the build folders"
	@echo "make help       this list"
	@echo "BUILD=FOLDER    for all of them: where to build (build), such as for a source that cannot be written to"
