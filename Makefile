.DEFAULT_GOAL := help
ENTRY_POINTS := transfer ensemble finetune distill scratch data tune compare evaluate teach promote \
	rollback history serve query tag untag review cluster app ui
.PHONY: help install $(ENTRY_POINTS) engines notebooks test check constraints clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WITH_RAY := $(VENV)/.with_ray
WITH_ENGINES := $(VENV)/.with_engines
# TORCH=cpu takes PyTorch's CPU-only build; empty takes the one of the package index.
TORCH ?=
# Every other name=value of the command line goes to the entry point, in quotes and unexpanded.
OWN := PYTHON VENV TORCH LANDMARKS_DATA
GIVEN = $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
VALUES = $(foreach name,$(sort $(filter-out $(OWN),$(GIVEN))),'--$(name)=$(subst ','\'',$(value $(name)))')
# uv takes minutes less than pip; pip where uv cannot be had.
INSTALL = @if [ -x $(BIN)/uv ]; then \
		$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH:%=--torch-backend %) \
			--constraint constraints.txt --editable '.[$(1)]'; \
	else \
		$(BIN)/python -m pip install --quiet \
			$(TORCH:%=--extra-index-url https://download.pytorch.org/whl/%) \
			--constraint constraints.txt --editable '.[$(1)]'; \
	fi

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

transfer: ## learn landmarks on a pretrained backbone and register the champion
ensemble: ## the same on three pretrained backbones side by side
finetune: ## train the last stages of a pretrained backbone too
distill: ## train one backbone to answer as three do
scratch: ## train our own CNN from random weights
data: ## show a dataset and what is wrong with it
tune: ## search for a better training configuration
compare: ## set the finished runs side by side in one HTML report
evaluate: ## judge a registered model on photos it was not trained on
teach: ## teach the champion landmarks by a few photos each: make teach photos=folder
promote: ## judge the newest version against the champion; a better one takes over
rollback: ## make the champion before champion again: make rollback reason='…'
history: ## who became champion when, by whom and why
serve: ## serve the champion on http://127.0.0.1:5001
query: ## ask the served model about a photo: make query photo=photo.jpg
tag: ## tag a photo library: make tag photos=folder
untag: ## take what the tagger wrote out of the sidecars again: make untag photos=folder
review: ## look over what tag said, and correct it, on http://127.0.0.1:8000
cluster: ## tag photos with Ray, here or on a cluster: make cluster photos=s3://bucket/photos
app: ## open the web app with the champion on http://127.0.0.1:8000
ui: ## open the MLflow UI on http://127.0.0.1:5000

cluster: $(WITH_RAY)

$(ENTRY_POINTS): $(INSTALLED)
	@$(BIN)/landmarks $@ $(VALUES)

engines: $(WITH_ENGINES) ## add Ray, Spark and a stand-in for an object store, for their tests

$(WITH_RAY): $(INSTALLED)
	$(call INSTALL,ray)
	@touch $@

$(WITH_ENGINES): $(INSTALLED)
	$(call INSTALL,cluster)
	@touch $(WITH_RAY) $@

notebooks: $(INSTALLED) ## execute the notebooks on a few postcards, into out/notebooks
	@test -z "$(LANDMARKS_DATA)" || test -d "$(LANDMARKS_DATA)" \
		|| { echo "LANDMARKS_DATA=$(LANDMARKS_DATA) is no folder; name one of photos"; exit 1; }
	$(if $(LANDMARKS_DATA),LANDMARKS_DATA="$$(cd "$(LANDMARKS_DATA)" && pwd)" )$(BIN)/python -m nbconvert \
		--execute --to html --template html --output-dir out/notebooks \
		--TemplateExporter.extra_template_basedirs=experiments/notebooks experiments/notebooks/*.ipynb

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

clean: ## remove the environment and what is quickly computed again; keep runs, models and data
	rm -rf $(VENV) .cache/features .cache/graphs .cache/pixels build/lib build/bdist* *.egg-info
