# Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
export PATH := $(CURDIR)/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH)
export TRINE_CACHE ?= $(HOME)/.cache/trine

.PHONY: demo test check build install bench soak setup generate fix clean

build: setup
	node scripts/build.ts

PREFIX ?= /usr/local
install: build
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" node scripts/install.ts

demo: build
	node scripts/demo.ts

test: build
	node scripts/test.ts

check: setup
	node scripts/check.ts

bench: build
	node scripts/bench.ts $(NAME)

soak: build
	node scripts/test.ts --soak

generate: setup
	node scripts/generate.ts
	node scripts/docs.ts

fix: setup
	npm run --silent fix && cargo fmt

setup:
	@bash scripts/setup.sh

clean:
	rm -rf target dist packages/*/dist
