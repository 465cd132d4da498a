"""The embedded teacher: deterministic, extractive, without network and without a model.

Whatever it writes comes from the text it was given or from its vocabularies (`data/*.json`); it is marked on
every row it makes and is never presented as training-grade.
"""
