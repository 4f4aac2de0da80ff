# What every recipe shares. A recipe's Makefile says NAME, SOURCE and TARGET (and VARIANTS, where it has several models;
# OWN_DATA, those whose text is prepared another way) and includes this; its settings are recipe.yaml, and VARIANT.yaml
# where there is one.
#   make         data, prepare, train, translate, score     make plan    the model and what training will be
#   make check   fails where a score is below expected.json; writes work/result*.json     make clean   delete work/
#   VARIANT=NAME another model     SEED=2 another seed     SAMPLE=1 a trial on 1 % of the training lines
#   TEXT=FOLDER  other text: train, valid and test, ending in .$(SOURCE) and .$(TARGET), perhaps with .gz behind
# Each step is skipped where its result is there; an interrupted training goes on.
NMT ?= $(firstword $(wildcard ../../.venv/bin/nmt) nmt)
PYTHON ?= $(firstword $(wildcard ../../.venv/bin/python) python3)
VARIANT ?= $(firstword $(VARIANTS))
SEED ?= 1
SAMPLE ?=
SAMPLE_UPDATES ?= 10
SEARCH ?=
PRESET ?=
PREPARE_OPTIONS ?=
TRAIN_OPTIONS ?=
TRANSLATE_OPTIONS ?= $($(SEARCH)_SEARCH)
WORK ?= work$(if $(SAMPLE),/sample)

SOURCES ?= sources.txt
LOCAL := $(if $(NMT_DATA),$(wildcard $(NMT_DATA)/$(NAME)))
TEXT ?= $(or $(LOCAL),work/text)
found = $(or $(wildcard $(TEXT)/$(1).gz),$(TEXT)/$(1))
TRAIN_SOURCE := $(call found,train.$(SOURCE))
TRAIN_TARGET := $(call found,train.$(TARGET))
VALID_SOURCE := $(call found,valid.$(SOURCE))
VALID_TARGET := $(call found,valid.$(TARGET))
TEST_SOURCE := $(call found,test.$(SOURCE))
TEST_TARGET := $(call found,test.$(TARGET))
TEXTS := $(TRAIN_SOURCE) $(TRAIN_TARGET) $(VALID_SOURCE) $(VALID_TARGET) $(TEST_SOURCE) $(TEST_TARGET)

# A trial: some of the lines, few updates of small batches; the model has its full size.
ifneq ($(SAMPLE),)
define sampled
$(WORK)/lines/$(1): $(2)
	@mkdir -p $$(@D)
	gzip -cdf $$< | awk '$(3)' > $$@
endef
$(foreach side,SOURCE TARGET,$(eval $(call sampled,train.$($(side)),$(TRAIN_$(side)),NR % 100 < $(SAMPLE))))
$(foreach side,SOURCE TARGET,$(eval $(call sampled,valid.$($(side)),$(VALID_$(side)),NR <= 20)))
$(foreach side,SOURCE TARGET,$(eval $(call sampled,test.$($(side)),$(TEST_$(side)),NR <= 20)))
$(foreach side,SOURCE TARGET,$(foreach split,TRAIN VALID TEST,\
    $(eval $(split)_$(side) := $(WORK)/lines/$(shell echo $(split) | tr A-Z a-z).$($(side)))))
override TRAIN_OPTIONS += --set train.max_updates=$(SAMPLE_UPDATES) --set train.batch_tokens=500 \
    --set train.update_tokens=null --set train.valid_sentences=10 --set train.valid_every=$(SAMPLE_UPDATES)
endif

# Runs and translations carry the names of variant, search and seed.
SEEDED := $(if $(filter-out 1,$(SEED)),-seed$(SEED))
NAMED := $(if $(VARIANT),-$(VARIANT))
SETTINGS := recipe.yaml $(if $(VARIANT),$(VARIANT).yaml)
OWN := $(filter $(OWN_DATA),$(VARIANT))
PREPARE_SETTINGS := recipe.yaml $(OWN:%=%.yaml)
DATA := $(WORK)/data$(OWN:%=-%)
RUN := $(WORK)/run$(NAMED)$(SEEDED)
TRAINED := $(WORK)/trained$(NAMED)$(SEEDED)
SEARCHED := $(NAMED)$(if $(SEARCH),-$(SEARCH))$(SEEDED)
HYPOTHESIS := $(WORK)/test$(SEARCHED).$(TARGET)

# What WORK=work/LABEL, a documented variation of a recipe, is called in results.
LABEL := $(filter-out sample seed%,$(subst /, ,$(patsubst work/%,%,$(filter work/%,$(WORK)))))

.DEFAULT_GOAL := score
.PHONY: data prepare plan train translate score check clean
.DELETE_ON_ERROR:

data: $(TEXTS)
prepare: $(DATA)/manifest.json
train: $(TRAINED)
translate: $(HYPOTHESIS)

$(DATA)/manifest.json: $(PREPARE_SETTINGS) $(TRAIN_SOURCE) $(TRAIN_TARGET) $(VALID_SOURCE) $(VALID_TARGET) \
    $(TEST_SOURCE) $(TEST_TARGET)
	$(NMT) prepare -o $(DATA) $(PREPARE_SETTINGS:%=-c %) \
	    --train-source $(TRAIN_SOURCE) --train-target $(TRAIN_TARGET) \
	    --valid-source $(VALID_SOURCE) --valid-target $(VALID_TARGET) \
	    --test-source $(TEST_SOURCE) --test-target $(TEST_TARGET) $(PREPARE_OPTIONS)
	@touch $@

TRAIN = $(NMT) train $(DATA) -o $(RUN) $(PRESET:%=--preset %) $(SETTINGS:%=-c %) --set train.seed=$(SEED) $(TRAIN_OPTIONS)

plan: $(DATA)/manifest.json
	$(TRAIN) --dry-run

$(TRAINED): $(DATA)/manifest.json $(SETTINGS)
	$(TRAIN)
	@touch $@

$(HYPOTHESIS): $(TRAINED) $(TEST_SOURCE)
	$(NMT) translate -m $(RUN) -i $(TEST_SOURCE) $(TRANSLATE_OPTIONS) --overwrite -o $@.part && mv $@.part $@

score: $(HYPOTHESIS)
	$(NMT) score $(HYPOTHESIS) -r $(TEST_TARGET)

ifneq ($(SAMPLE),)
check: score
	@echo "a sample: its score is not compared with expected.json"
else
check: $(HYPOTHESIS)
	$(PYTHON) ../check.py expected.json $(HYPOTHESIS) $(TEST_TARGET) --run $(RUN) \
	    --row "$(strip $(VARIANT) $(SEARCH))" --label "$(LABEL)" -o $(WORK)/result$(SEARCHED).json
endif

clean:
	rm -rf $(WORK)

work/text/%:
	$(PYTHON) ../fetch.py $(SOURCES) $@
