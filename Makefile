.DEFAULT_GOAL := help
.PHONY: help install transfer ensemble finetune distill scratch data tune compare evaluate promote rollback \
	history tag cluster engines app notebooks test check constraints ui serve query clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WITH_RAY := $(VENV)/.with_ray
WITH_ENGINES := $(VENV)/.with_engines
# TORCH=cpu takes PyTorch's CPU-only build; empty takes the one of the package index.
TORCH ?=
# Values for the entry point, such as PARAMS="-P data=photos -P epochs=30"; of app "--port=8080".
PARAMS ?=
# Registered model that trainings add to, that serves, tags, is judged, promoted and rolled back.
MODEL ?= landmarks
# What `make serve` serves: any model that MLflow knows.
MODEL_URI ?= models:/$(MODEL)@champion
HOST := 127.0.0.1
UI_PORT ?= 5000
SERVE_PORT ?= 5001
# uv takes minutes less than pip; pip where uv cannot be had.
INSTALL = @if [ -x $(BIN)/uv ]; then \
		$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH:%=--torch-backend %) \
			--constraint constraints.txt --editable '.[$(1)]'; \
	else \
		$(BIN)/python -m pip install --quiet \
			$(TORCH:%=--extra-index-url https://download.pytorch.org/whl/%) \
			--constraint constraints.txt --editable '.[$(1)]'; \
	fi
OF_MODEL = $(if $(filter-out landmarks,$(MODEL)),-P $(1)="$(or $(2),$(MODEL))")
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mlflow run . --env-manager local

export MLFLOW_TRACKING_URI ?= sqlite:///mlflow.db
export MLFLOW_EXPERIMENT_NAME ?= landmarks
export MLFLOW_DISABLE_TELEMETRY ?= true
# Made before MLflow starts: two of its first runs at once would break it.
DATABASE := $(or $(patsubst sqlite:///%,%,$(filter sqlite:///%,$(MLFLOW_TRACKING_URI))),mlflow.db)
READY := $(INSTALLED) $(if $(filter sqlite:///%,$(MLFLOW_TRACKING_URI)),$(DATABASE))

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create .venv and install the project with its test tools

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet uv || echo "no uv here: pip does it, and takes longer"
	$(call INSTALL,dev)
	@touch $@

$(DATABASE): | $(INSTALLED)
	@$(BIN)/python -c 'from landmark_ml.tracking.run import connect; connect()'

transfer: $(READY) ## learn landmarks on a pretrained backbone and register the champion
	$(RUN) -e transfer $(call OF_MODEL,register) $(PARAMS)

ensemble: $(READY) ## the same on three pretrained backbones side by side
	$(RUN) -e ensemble $(call OF_MODEL,register) $(PARAMS)

finetune: $(READY) ## train the last stages of a pretrained backbone too
	$(RUN) -e finetune $(call OF_MODEL,register) $(PARAMS)

distill: $(READY) ## train one backbone to answer as three do
	$(RUN) -e distill $(call OF_MODEL,register) $(PARAMS)

scratch: $(READY) ## train our own CNN from random weights
	$(RUN) -e scratch $(call OF_MODEL,register) $(PARAMS)

data: $(READY) ## show a dataset and what is wrong with it
	$(RUN) -e data $(PARAMS)

tune: $(READY) ## search for a better training configuration
	$(RUN) -e tune $(call OF_MODEL,register) $(PARAMS)

compare: $(READY) ## set the finished runs side by side in one HTML report
	$(RUN) -e compare $(PARAMS)

tag: $(READY) ## tag a photo library: make tag PHOTOS=folder
	@test -n "$(PHOTOS)" || { echo "name a folder: make tag PHOTOS=folder"; exit 1; }
	$(RUN) -e tag -P photos="$(PHOTOS)" $(call OF_MODEL,model) $(PARAMS)

cluster: $(WITH_RAY) $(READY) ## tag photos with Ray, here or on a cluster: make cluster PHOTOS=s3://bucket/photos
	@test -n "$(PHOTOS)" || { echo "name a folder or an address: make cluster PHOTOS=folder"; exit 1; }
	$(RUN) -e cluster -P photos="$(PHOTOS)" $(call OF_MODEL,model) $(PARAMS)

engines: $(WITH_ENGINES) ## add Ray, Spark and a stand-in for an object store, for their tests

$(WITH_RAY): $(INSTALLED)
	$(call INSTALL,ray)
	@touch $@

$(WITH_ENGINES): $(INSTALLED)
	$(call INSTALL,cluster)
	@touch $(WITH_RAY) $@

app: $(INSTALLED) ## open the web app with the champion on http://127.0.0.1:8000
	$(BIN)/python -m experiments.app --model="$(MODEL)" $(PARAMS)

evaluate: $(READY) ## judge a registered model on photos it was not trained on
	$(RUN) -e evaluate $(call OF_MODEL,model,models:/$(MODEL)@champion) $(PARAMS)

promote: $(READY) ## judge the newest version against the champion; a better one takes over
	$(RUN) -e promote $(call OF_MODEL,name) $(PARAMS)

rollback: $(READY) ## make the champion before champion again: PARAMS='-P reason=...'
	$(RUN) -e rollback $(call OF_MODEL,name) $(PARAMS)

history: $(READY) ## who became champion when, by whom and why
	$(RUN) -e history $(call OF_MODEL,name) $(PARAMS)

notebooks: $(INSTALLED) ## execute the notebooks on a few postcards, into out/notebooks
	@test -z "$(LANDMARKS_DATA)" || test -d "$(LANDMARKS_DATA)" \
		|| { echo "LANDMARKS_DATA=$(LANDMARKS_DATA) is no folder; name one of photos"; exit 1; }
	$(if $(LANDMARKS_DATA),LANDMARKS_DATA="$$(cd "$(LANDMARKS_DATA)" && pwd)" )$(BIN)/python -m nbconvert \
		--execute --to html --output-dir out/notebooks experiments/notebooks/*.ipynb

test: $(INSTALLED) ## run the fast test suite
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: $(INSTALLED) ## lint, format, type and import checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

constraints: ## write the versions in .venv, once tested, into constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+.*//' \
		| grep -vE '^(cuda|nvidia|triton)' > constraints.txt

ui: $(READY) ## open the MLflow UI on http://127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri "$$MLFLOW_TRACKING_URI" --host $(HOST) --port $(UI_PORT)

serve: $(READY) ## serve the champion on http://127.0.0.1:5001
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mlflow models serve -m "$(MODEL_URI)" \
		--env-manager local --host $(HOST) --port $(SERVE_PORT)

query: $(INSTALLED) ## ask the served model about a photo: make query PHOTO=photo.jpg
	@test -n "$(PHOTO)" || { echo "name a photo: make query PHOTO=photo.jpg"; exit 1; }
	@$(BIN)/python -m serving.query "$(PHOTO)" --url http://$(HOST):$(SERVE_PORT)

clean: ## remove the environment and what is quickly computed again; keep runs, models and data
	rm -rf $(VENV) .cache/features .cache/graphs .cache/pixels build/lib build/bdist* *.egg-info
