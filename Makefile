# A thin layer over CMake: each target does all the set-up that it needs, once.
BUILD := build

.PHONY: all setup demo check lint package install clean help

all: setup
	cmake --preset release > $(BUILD)/cmake.log || { cat $(BUILD)/cmake.log; exit 1; }
	cmake --build $(BUILD) --parallel

setup:
	scripts/setup.sh
	scripts/get_llama.sh $(BUILD)

demo: all
	@model=$$(scripts/get_model.sh) && scripts/demo.sh $(BUILD)/bin "$$model"

check: all
	scripts/setup.sh --tests
	@scripts/get_model.sh > /dev/null
	ctest --test-dir $(BUILD) --output-on-failure --parallel $$(nproc)

lint: setup
	scripts/lint.sh

package: setup
	scripts/package.sh $(BUILD)/package -DTADA_LLAMA_DIR=$(CURDIR)/$(BUILD)/llama.cpp -DTADA_LLAMA_BUILD=$(CURDIR)/$(BUILD)/llama

install: all
	cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

clean:
	rm -rf $(BUILD) $(BUILD)-debug $(BUILD)-asan $(BUILD)-ubsan $(BUILD)-tsan $(BUILD)-fuzz $(BUILD)-check-*

help:
	@echo "make          build the library, the plug-in and the tada command (make all)"
	@echo "make setup    install what is missing, fetch and build llama.cpp"
	@echo "make demo     the same question answered with the f16 cache and with ours"
	@echo "make check    all tests"
	@echo "make lint     form, static analysis, links of the documents"
	@echo "make package  a Debian package and an archive in $(BUILD)/package"
	@echo "make install  into PREFIX (default: that of CMake, /usr/local)"
	@echo "make clean    remove the build folders"
	@echo "make help     this list"
