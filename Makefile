# The commands of Warmline. `make` alone lists them.
PYTHON := .venv/bin/python
BOOTSTRAP := $(or $(shell command -v python3 || command -v python),no-python)
export PYTHONPATH := .
.DEFAULT_GOAL := help
.PHONY: help install dev run run-telegram-double test lint types train eval bench reset lock train-encoder privacy-drill

help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

install:
	@command -v $(BOOTSTRAP) >/dev/null 2>&1 || { echo "Warmline needs Python 3.10, and there is no Python at all; install one: apt-get install python3"; exit 1; }
	@$(BOOTSTRAP) warmline/bootstrap.py

dev:
	@command -v $(BOOTSTRAP) >/dev/null 2>&1 || { echo "Warmline needs Python 3.10, and there is no Python at all; install one: apt-get install python3"; exit 1; }
	@$(BOOTSTRAP) warmline/bootstrap.py --dev

run: install ## Start the whole desk on this machine and print where to go
	@$(PYTHON) -W ignore -m warmline run

run-telegram-double: install ## Start the whole desk with a phone beside it: Telegram without Telegram
	@$(PYTHON) -W ignore -m bench.telegram_double

test: dev ## Run every test (T=path or T="-k word" runs a part)
	@$(PYTHON) -W ignore -m pytest $(T)

lint: dev ## Check style and names
	@$(PYTHON) -m ruff check .

types: dev ## Check types
	@$(PYTHON) -m mypy

train: install ## Train the dialogue model if its data changed
	@$(PYTHON) -W ignore -m warmline train

train-encoder: ## Train the text encoder (needs PyTorch; TRAINER=its python, CORPORA=the folder of public data)
	@$(or $(TRAINER),python3) -m bot.training.train_encoder --corpora $(CORPORA)

eval: dev ## Measure how well messages are understood (A="--only intents --no-stock" is quick)
	@TF_CPP_MIN_LOG_LEVEL=3 $(PYTHON) -W ignore -m bench.evaluation $(A)

bench: dev ## Measure speed and memory beside stock Rasa
	@$(PYTHON) -W ignore -m bench

privacy-drill: dev ## Erase a customer of a throw-away shop and look whether anything of them is left
	@$(PYTHON) -W ignore -m bench.privacy_drill

reset: install ## Forget the demo: delete its database and the trained model
	@$(PYTHON) -m warmline reset

lock: ## Pin every version anew (needs uv)
	uv pip compile --quiet --python-version 3.10 --generate-hashes --no-emit-index-url --no-header requirements.in -o requirements.lock
	uv pip compile --quiet --python-version 3.10 --generate-hashes --no-emit-index-url --no-header requirements-dev.in -o requirements-dev.lock
