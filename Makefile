.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
DATA ?= $(SCREENER_TRAINING_DATA)
HOURS ?= 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The lock pins what runs; the package itself is editable. The stamp makes `make demo test` install once.
.venv/.installed: pyproject.toml requirements-dev.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed (make PYTHON=python3.11)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: .venv/.installed ## Make the environment in .venv, with the comment-screener command in it

.PHONY: demo
demo: install ## Watch a few hundred comments being screened, on a broker started for it
	$(BIN)/comment-screener demo $(ARGS)

.PHONY: test
test: install ## Run tests/unit, tests/quality and tests/integration but for its heavy ones; on Apache Kafka, or on the embedded broker where Java or Maven is missing
	$(BIN)/python -m pytest $(ARGS)

.PHONY: test-unit
test-unit: install ## Run the tests that need no broker
	$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: test-embedded
test-embedded: install ## Run the tests with a broker on the embedded one
	SCREENER_TEST_BROKER=embedded $(BIN)/python -m pytest tests/integration $(ARGS)

.PHONY: test-training
test-training: install ## Run the tests that need torch (5 GB, the first time)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[training]"
	$(BIN)/python -m pytest tests/training $(ARGS)

.PHONY: test-torch
test-torch: install ## Run the tests of checkpoints on torch (5 GB, the first time)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[torch]"
	$(BIN)/python -m pytest tests/torch $(ARGS)

.PHONY: test-quality
test-quality: install ## Ask the shipped model what it makes of comments written to be judged: a line per behaviour
	$(BIN)/python -m pytest tests/quality $(ARGS)

.PHONY: test-heavy
test-heavy: install ## Run the cases that take half a minute each, beside their like that `make test` runs
	$(BIN)/python -m pytest tests/integration -m heavy $(ARGS)

.PHONY: mutants
mutants: install ## Plant bugs one at a time: the tests have to notice each (ARGS="--on unit": those that need no broker)
	$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: chaos
chaos: install ## Kill, freeze, cut off and flood it on three brokers: nothing lost, nothing decided twice (half an hour)
	$(BIN)/python -m pytest tests/chaos $(ARGS)

.PHONY: chaos-slice
chaos-slice: install ## The part of it that runs before anything lands
	$(BIN)/python -m pytest tests/chaos -m chaos_slice $(ARGS)

.PHONY: soak
soak: install ## Low-rate chaos for HOURS, with memory, lag and latency drawn to a picture in build/soak
	$(BIN)/python -m tests.chaos.soak --hours $(HOURS) --output build/soak $(ARGS)

.PHONY: bench
bench: install ## Measure it beside what else one could run: a table, bench/latest.json and a picture (a quarter of an hour; 11 GB, the first time)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	-$(BIN)/python -m bench.infinity install
	$(BIN)/python -m bench $(ARGS)

.PHONY: bench-gpu
bench-gpu: install ## Measure a checkpoint on a GPU, in float32 and half of it, with one, two and four workers; without one it says so (5 GB, the first time)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	$(BIN)/python -m bench.gpu $(ARGS)

.PHONY: duplicates
duplicates: install ## Count what a rebalance, a SIGTERM and a kill make the worker decide again
	$(BIN)/python -m tests.chaos.duplicates $(ARGS)

.PHONY: fuzz
fuzz: install ## A million hostile inputs: no crash, no stall, no unbounded memory
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[fuzz]"
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: audit
audit: install ## Look for secrets in what git tracks, and for known weaknesses of what the lock pins (needs the network)
	deploy/audit.sh secrets
	deploy/audit.sh vulnerabilities

.PHONY: sbom
sbom: install ## Write build/sbom.cdx.json (CycloneDX) from the lock
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json

.PHONY: check
check: install ## Lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: format
format: install ## Format, and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: schemas
schemas: install ## Write schemas/ from the records
	$(BIN)/comment-screener schemas schemas

.PHONY: dashboards
dashboards: install ## Write deploy/grafana/dashboards from deploy/dashboards
	$(BIN)/python -m deploy.dashboards

.PHONY: ops-check
ops-check: install ## Run every query of dashboards and alerts on a real Prometheus, break something, draw the dashboards (9 minutes; more the first time)
	deploy/verify/ops_check.sh $(ARGS)

.PHONY: stack-check
stack-check: install ## Build the image and bring docker-compose.yml up for real, without a Docker engine (Debian, root; ten minutes and more)
	deploy/verify/stack_check.sh $(ARGS)

.PHONY: lint-deploy
lint-deploy: install ## Check the compose file, the Dockerfile, Prometheus' configuration and the dashboards with the real tools
	deploy/lint.sh

.PHONY: lock
lock: ## Pin every dependency with hashes (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --extra tracing pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --extra dev --group build pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --group build -o deploy/requirements-build.lock
	echo 'onnxruntime-gpu[cuda,cudnn]' | uv pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.12 --python-platform x86_64-unknown-linux-gnu --constraint requirements.lock - -o deploy/requirements-gpu.lock

.PHONY: model
model: install ## Train, calibrate, export and evaluate the default model (DATA=folder; 5 GB of torch, the first time)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[training]"
	$(BIN)/python -m training all --data $(DATA)

.PHONY: up
up: ## Kafka, worker, Prometheus and Grafana in containers
	docker compose up --build --detach

.PHONY: down
down: ## Stop them
	docker compose --profile load down
