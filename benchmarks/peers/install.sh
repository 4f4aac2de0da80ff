#!/usr/bin/env bash
# Install the peers, each in an environment of its own, about 5 GB in all: benchmarks/peers/install.sh FOLDER [PYTHON]
# Each gets the torch that nmtcli is tested with. None is installed with the dependencies it declares: OpenNMT-py wants
# an old torch, JoeyNMT an old protobuf, Eole packages for other tasks. What they need to train and translate is listed.
# On Linux PyPI's torch brings CUDA; PIP_INDEX_URL or PIP_CONSTRAINT can point pip at a CPU build.
set -euo pipefail
folder=${1:?usage: install.sh FOLDER [PYTHON]}
python=${2:-python3}
torch=torch==2.13.0

missing() { name=$1; [ ! -e "$folder/$name/.installed" ]; } # the environment that the next lines are about
create() { echo "$folder/$name" >&2; "$python" -m venv --clear "$folder/$name"; }
install() { "$folder/$name/bin/python" -m pip install -q --disable-pip-version-check "$@"; }
finish() { touch "$folder/$name/.installed"; }

mkdir -p "$folder"
if missing eole; then
    create
    install $torch
    install --no-deps eole==0.6.4 torch-optimi==0.3.3
    install configargparse 'ctranslate2>=4,<5' fastapi huggingface_hub datasets 'numpy>=2' pandas 'protobuf==7.36.2' \
        pyahocorasick pyonmttok pyyaml rapidfuzz rich sacrebleu safetensors 'sentencepiece<=0.2.2' six spacy subword-nmt \
        tensorboard tokenizers uvicorn waitress pydantic aiohttp
    finish
fi
if missing onmtpy; then
    create
    install $torch
    install --no-deps OpenNMT-py==3.5.1
    install configargparse 'ctranslate2>=4,<5' tensorboard flask waitress pyonmttok pyyaml sacrebleu rapidfuzz \
        pyahocorasick fasttext-wheel spacy six
    finish
fi
if missing joeynmt; then
    create
    install $torch
    install --no-deps joeynmt==2.3.0
    install future pillow numpy setuptools protobuf tensorboard sacrebleu sacremoses sentencepiece subword-nmt matplotlib \
        seaborn pyyaml six wrapt datasets packaging pandas importlib_metadata
    finish
fi
if missing ctranslate2; then
    create
    install ctranslate2==4.8.5
    finish
fi
