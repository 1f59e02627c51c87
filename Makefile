# make demo [VIDEO=path]   set up, encode and decode a film, print bpp, WS-PSNR and frames/s, write out/demo/
# make test                set up (torch-scatter included), lint, type check, all tests
# make quick               lint and the fast tests, in the environment that is there
# make docs                build the site of docs/ into site/
# make report              measure codecs on five clips, 16 frames, four qualities; out/report/report.html (an hour; then a minute)
# make report-full         the same on all clips, 32 frames, into results/ (hours); both go on where they were broken off
# make fair                train the sphere from nothing, and measure it beside planar-ssf2020 (two hours)
#                          CLIPS=folder of the films, MODELS=folder of models that do not come with the package
# make fuzz                decode 100,000 damaged files and write results/fuzz.json (half an hour, one core); failures: out/fuzz/
# PYTHON=python3.12 picks the interpreter that .venv is made with.

PYTHON ?= python3
VIDEO ?=
CLIPS ?= ../shared/data/test/video
MODELS ?= models
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint quick docs fuzz report report-full fair setup-test clean
.DELETE_ON_ERROR:

demo: $(VENV)/stamp-report
	$(BIN)/python scripts/demo.py $(if $(VIDEO),--video "$(VIDEO)")

# Two at a time, file by file.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: setup-test lint
	$(PYTEST)

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quick: lint
	$(PYTEST) -m "not slow"

docs: $(VENV)/stamp-docs
	$(BIN)/mkdocs build --strict

fuzz: $(VENV)/stamp-fuzz
	$(BIN)/python -m studies.fuzzing --files 100000 --seconds-each 2 --out results/fuzz.json

# Strong motion, a moving camera, a crowd by day, lights by night, and next to no motion.
REPORT_CLIPS ?= overpass_clip01 diver_clip01 plaza_clip01 x360park_clip01 congo_L_clip01
REPORT_MODELS ?= sphere-dvc planar-ssf2020
REPORT_ANCHORS ?= x265 svtav1
REPORT_SCENE ?= plaza_clip01
REPORT := out/report

# $(call measure,CLIPS,FRAMES,RESULTS): codec by codec, so that one that fails leaves the others; the report names it.
define measure
	@mkdir -p $(3)
	@for model in $(REPORT_MODELS); do \
	  place=$$model; weights=; \
	  if [ -d "$(MODELS)/$$model" ]; then place="$(MODELS)/$$model"; fi; \
	  if [ "$$model" = planar-ssf2020 ]; then place=$$model; weights="--weights $(MODELS)/$$model"; fi; \
	  $(BIN)/python scripts/evaluate.py --codec "$$place" $$weights --clips $(1) --frames $(2) --quality 1 3 5 7 \
	    --threads 1 --jobs $(JOBS) --out $(3)/$$model.json; [ $$? -ne 130 ] || exit 130; done
	@for anchor in $(REPORT_ANCHORS); do \
	  case $$anchor in svtav1|vp9) levels="30 40 50 60";; *) levels="23 28 33 38";; esac; \
	  $(BIN)/python scripts/run_anchors.py --codecs $$anchor --clips $(1) --frames $(2) --quality $$levels \
	    --out $(3)/$$anchor.json; [ $$? -ne 130 ] || exit 130; done
	@$(BIN)/python scripts/evaluate.py --codec ceiling --clips $(1) --frames $(2) --jobs $(JOBS) \
	  --out $(3)/ceiling.json; [ $$? -ne 130 ]
	@case "$(REPORT_ANCHORS)" in *cubemap*) $(BIN)/python scripts/run_anchors.py --codecs cubemap-ceiling --clips $(1) \
	  --frames $(2) --out $(3)/cubemap-ceiling.json; [ $$? -ne 130 ];; esac
endef

# $(call report,RESULTS,PAGE,SUMMARY,OPTIONS): of what was measured; exit code 1 where something is missing.
define report
	@$(BIN)/python scripts/report.py $$(for codec in $(REPORT_MODELS) $(REPORT_ANCHORS) ceiling cubemap-ceiling; do \
	    if [ -f $(1)/$$codec.json ]; then echo $(1)/$$codec.json; fi; done) \
	  --expect $(REPORT_MODELS) $(REPORT_ANCHORS) --models $(MODELS) --out $(2) --summary $(3) $(4)
endef

# $(call choose,FOLDER): the five clips alone.
define choose
	@mkdir -p $(1) && rm -f $(1)/*
	@for clip in $(REPORT_CLIPS); do ln -s "$(abspath $(CLIPS))/$$clip.mp4" $(1)/; done
endef

report: $(VENV)/stamp-report
	$(call choose,$(REPORT)/clips)
	$(call measure,$(REPORT)/clips,16,$(REPORT)/results)
	$(call report,$(REPORT)/results,$(REPORT)/report.html,$(REPORT)/report.json,--clips $(REPORT)/clips --scene $(REPORT_SCENE))

report-full: REPORT_ANCHORS = x264 x264-zerolatency x265 x265-zerolatency x265-cubemap svtav1 vp9
report-full: $(VENV)/stamp-report
	$(call measure,$(CLIPS),32,results)
	$(call report,results,out/report-full/report.html,results/report.json,--clips $(CLIPS) --scene $(REPORT_SCENE))

FAIR := fair-sphere

fair: REPORT_MODELS = $(FAIR) planar-ssf2020
fair: REPORT_ANCHORS =
fair: $(VENV)/stamp-report
	@for model in $(FAIR); do \
	  $(BIN)/python scripts/train.py studies/fair/$$model.toml --resume auto --device cpu --threads 1 --workers 0 && \
	  $(BIN)/python scripts/release.py $$model studies/fair/$$model.toml --out $(MODELS) || exit; done
	$(call choose,out/fair/clips)
	$(call measure,out/fair/clips,8,results/fair)
	$(call report,results/fair,out/fair/report.html,results/fair.json,--default fair-sphere)

setup-test: $(VENV)/stamp-dev

$(VENV)/stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/stamp-package: pyproject.toml constraints.txt | $(VENV)/stamp-venv
	@echo "installing into $(VENV) (a few minutes the first time)"
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/stamp-dev: $(VENV)/stamp-package $(VENV)/stamp-scatter # the extra [pyg] finds torch-scatter there
	$(PIP) install --constraint constraints.txt --editable ".[dev,graphs,pyg,report,train,ray]"
	@touch $@

$(VENV)/stamp-report: $(VENV)/stamp-package
	$(PIP) install --constraint constraints.txt --editable ".[report]"
	@touch $@

$(VENV)/stamp-docs: $(VENV)/stamp-package
	$(PIP) install --constraint constraints.txt --editable ".[docs]"
	@touch $@

$(VENV)/stamp-fuzz: $(VENV)/stamp-package
	$(PIP) install --constraint constraints.txt --editable ".[fuzz]"
	@touch $@

# torch-scatter compiles against the installed torch: no isolation, and never a wheel cached from a build with another one.
$(VENV)/stamp-scatter: constraints.txt | $(VENV)/stamp-package
	@echo "building torch-scatter (about four minutes, once)"
	$(PIP) install --constraint constraints.txt setuptools wheel ninja
	$(PIP) install --no-build-isolation --no-cache-dir --no-deps --force-reinstall "torch-scatter==2.1.2"
	@touch $@

clean:
	rm -rf $(VENV) out site .pytest_cache .mypy_cache .ruff_cache
