"""Sentences by language, one catalogue of each with the same codes (`hrm.model.phrases` says what may stand in them).

Modules and not files of data: the core says its sentences itself, and the core reads no file.
"""
