# What every recipe shares. A recipe's Makefile names its text files and includes this; its settings are recipe.yaml.
#   make         prepare, train, translate, score     make clean   delete work/
# Each step is skipped where its result is there; an interrupted training goes on.
NMT ?= $(firstword $(wildcard ../../.venv/bin/nmt) nmt)
PYTHON ?= $(firstword $(wildcard ../../.venv/bin/python) python3)
WORK ?= work
DATA := $(WORK)/data
RUN := $(WORK)/run
HYPOTHESIS := $(WORK)/test.$(TARGET)

.DEFAULT_GOAL := score
.PHONY: data prepare train translate score check clean
.DELETE_ON_ERROR:

data: $(TRAIN_SOURCE) $(TRAIN_TARGET) $(VALID_SOURCE) $(VALID_TARGET) $(TEST_SOURCE) $(TEST_TARGET)
prepare: $(DATA)/manifest.json
train: $(WORK)/trained
translate: $(HYPOTHESIS)

$(DATA)/manifest.json: recipe.yaml $(TRAIN_SOURCE) $(TRAIN_TARGET) $(VALID_SOURCE) $(VALID_TARGET) \
    $(TEST_SOURCE) $(TEST_TARGET)
	$(NMT) prepare -o $(DATA) -c recipe.yaml --train-source $(TRAIN_SOURCE) --train-target $(TRAIN_TARGET) \
	    --valid-source $(VALID_SOURCE) --valid-target $(VALID_TARGET) \
	    --test-source $(TEST_SOURCE) --test-target $(TEST_TARGET)
	@touch $@

$(WORK)/trained: $(DATA)/manifest.json
	$(NMT) train $(DATA) -o $(RUN) -c recipe.yaml
	@touch $@

$(HYPOTHESIS): $(WORK)/trained $(TEST_SOURCE)
	$(NMT) translate -m $(RUN) -i $(TEST_SOURCE) -o $@.part && mv $@.part $@

score: $(HYPOTHESIS)
	$(NMT) score $(HYPOTHESIS) -r $(TEST_TARGET)

check: $(HYPOTHESIS)
	$(NMT) score $(HYPOTHESIS) -r $(TEST_TARGET) --at-least $(EXPECTED)

clean:
	rm -rf $(WORK)
