"""Evaluation harnesses run their tasks on coded pictures: score against bytes.

::

    a task's picture -> Recoder: coded at a quality, kept, counted -> `.ctm` opened by Pillow
                     -> the harness's own model, prompts and scores -> a row for each quality

`python -m codec.evaluation.harness --help` runs tasks of lmms-eval.
"""
