# A thin layer over CMake: each target does all the set-up that it needs, once.
BUILD := build
# Of the long run; see scripts/run_tests.sh --help.
PARTS := all

LOG := $(BUILD)/make.log
STEP := scripts/step.sh "$(LOG)"
SETUP := BUILD="$(BUILD)" scripts/setup.sh

.PHONY: all setup demo check check-all lint package install clean help

all: setup
	@$(STEP) "TaDA: configuring" cmake --preset release -B "$(BUILD)" -DBUILD_TESTING=ON
	@$(STEP) "TaDA: building" cmake --build "$(BUILD)" --parallel "$$(nproc)"

setup:
	@mkdir -p "$(BUILD)" && : > "$(LOG)"
	@$(SETUP)
	@scripts/get_llama.sh "$(BUILD)"

# Only what it runs. The tests of a build folder that has them stay.
demo:
	@mkdir -p "$(BUILD)" && : > "$(LOG)"
	@$(SETUP) --demo
	@scripts/get_llama.sh --demo "$(BUILD)"
	@[ -f "$(BUILD)/CMakeCache.txt" ] || \
	    $(STEP) "TaDA: configuring" cmake --preset release -B "$(BUILD)" -DBUILD_TESTING=OFF
	@$(STEP) "TaDA: building" cmake --build "$(BUILD)" --parallel "$$(nproc)" --target ggml-tada tada-cli
	@model=$${DEMO_MODEL:-$$(scripts/get_model.sh)} && scripts/demo.py "$(BUILD)/bin" "$$model"

check: all
	@$(STEP) "Model with f16 weights" scripts/get_f16_model.sh "$(BUILD)/bin"
	@scripts/check.sh "$(BUILD)"

check-all: all
	@$(SETUP) --tests
	@$(STEP) "Model with f16 weights" scripts/get_f16_model.sh "$(BUILD)/bin"
	@BUILD="$(BUILD)" scripts/run_tests.sh $(PARTS)

lint: setup
	LLAMA_DIR="$(BUILD)/llama.cpp" scripts/lint.sh

package: setup
	@scripts/package.sh "$(BUILD)/package" -DTADA_LLAMA_DIR="$$(realpath "$(BUILD)")/llama.cpp" -DTADA_LLAMA_BUILD="$$(realpath "$(BUILD)")/llama"

install: all
	@$(STEP) "TaDA: installing" cmake --install "$(BUILD)" $(if $(PREFIX),--prefix "$(PREFIX)")

clean:
	rm -rf "$(BUILD)" "$(BUILD)"-debug "$(BUILD)"-asan "$(BUILD)"-ubsan "$(BUILD)"-tsan "$(BUILD)"-fuzz "$(BUILD)"-check-*

help:
	@echo "make            build the library, the plug-in and the tada command (make all)"
	@echo "make setup      install what is missing, fetch and build llama.cpp"
	@echo "make demo       a question about a long text, with f16 and with ours, measured; DEMO_MODEL=FILE: your model"
	@echo "make check      the tests that tell whether it works here: 10 minutes at most on 2 cores"
	@echo "make check-all  all tests, hours; or some: make check-all PARTS=\"fuzz packages\" (scripts/run_tests.sh --help)"
	@echo "make lint       form, static analysis, links of the documents"
	@echo "make package    a Debian package and an archive in $(BUILD)/package"
	@echo "make install    into PREFIX (default: that of CMake, /usr/local)"
	@echo "make clean      remove the build folders"
	@echo "make help       this list"
	@echo "What the steps print is in $(LOG)."
	@echo "BUILD=FOLDER    for all of them: where to build (build), such as for a source that cannot be written to"
