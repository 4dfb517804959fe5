#!/usr/bin/env python3
"""Builds each model of published_models.json on the meta device and compares its total and active
parameters with the file; ends with 1 where one differs.

    venv/bin/python tests/model/check_published_models.py

The versions are those of generate_class_cases.py, which also says what is counted. A model has its name,
its repository on the Hub, the structural keys of its config.json, its total, the parameters that one token
uses where it is a mixture, and the source of the total; the file explains the kinds of evidence.
"""

import json
import pathlib
import sys

import transformers

from class_case_tensors import make_case

FILE = pathlib.Path(__file__).parents[2] / "src" / "model" / "published_models.json"


def main():
    transformers.logging.set_verbosity_error()
    models = json.loads(FILE.read_text())["models"]
    wrong = 0
    for model in models:
        if model["config"]["model_type"] in ("internlm2", "baichuan"):
            continue  # no class in transformers; code beside a checkpoint is not run
        case = make_case(model["config"])
        built = case["total"], case.get("active")
        stated = model["total"], model.get("active")
        if built != stated:
            wrong += 1
            print(f"{model['model']}: the class has {built}, the file {stated}")
    print(f"{len(models) - wrong} of {len(models)} models agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
