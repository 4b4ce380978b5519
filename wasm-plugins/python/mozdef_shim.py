"""Runs a plugin of MozDef's own shape under the plugin contract.

A plugin is a module with a class `message`: `registration` (a word or a list), `priority` (100 where there is none),
`onMessage(self, message, metadata)`, which returns `(message, metadata)`, or `None` as the message to drop the event.

In: batches of events as JSON. Out: what changed, as a JSON merge patch, so that what the plugin did not touch stays
byte for byte; the whole document where a patch cannot say it. An exception is an answer too: the event goes on
unchanged, with a mark. `print` and `logging` go to MozDef's log.
"""

import importlib
import json
import logging
import sys

# What a plugin may import has to be there when the component is made.
import abc, argparse, array, ast, base64, binascii, bisect, calendar, codecs, collections, collections.abc  # noqa: E401,F401
import contextlib, copy, csv, dataclasses, datetime, decimal, difflib, enum, fnmatch, fractions, functools  # noqa: E401,F401
import hashlib, heapq, hmac, html, html.parser, inspect, io, ipaddress, itertools, keyword, locale, math  # noqa: E401,F401
import numbers, operator, os, os.path, pprint, random, re, secrets, shlex, statistics, string, struct  # noqa: E401,F401
import textwrap, time, traceback, types, typing, unicodedata, urllib.parse, uuid, warnings, weakref, zlib  # noqa: E401,F401
import zoneinfo, xml.etree.ElementTree, email, email.utils, configparser, netrc, quopri, gzip, tokenize  # noqa: E401,F401

from wit_world.exports import normaliser
from wit_world.imports import host

import mozdef_target

_LEVELS = ((logging.ERROR, host.Level.ERROR), (logging.WARNING, host.Level.WARNING), (logging.INFO, host.Level.INFO))


class _Lines:
    """Standard output and error: lines in MozDef's log."""

    encoding = "utf-8"

    def __init__(self, level):
        self._level = level
        self._rest = ""

    def write(self, text):
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            host.log(self._level, line)
        return len(text)

    def flush(self):
        if self._rest:
            host.log(self._level, self._rest)
            self._rest = ""

    def isatty(self):
        return False


class _Handler(logging.Handler):
    def emit(self, record):
        for least, level in _LEVELS:
            if record.levelno >= least:
                host.log(level, self.format(record))
                return
        host.log(host.Level.DEBUG, self.format(record))


# Made once, when the component is built: what it sets up is there in every instance.
_plugin = importlib.import_module(mozdef_target.MODULE).message()
logging.getLogger().handlers = []
logging.getLogger().setLevel(logging.INFO)
_ready = False


def _begin():
    """Only at run time: while the component is built there is no host."""
    global _ready
    if not _ready:
        _ready = True
        sys.stdout, sys.stderr = _Lines(host.Level.INFO), _Lines(host.Level.WARNING)
        logging.getLogger().addHandler(_Handler())


def _words(registration):
    words = [registration] if isinstance(registration, str) else list(registration)
    return [str(word) for word in words if str(word)]


class _CannotSay(Exception):
    """A merge patch has no word for it: `null` there means that the member goes."""


def _difference(before, after):
    """The merge patch that makes `after` of `before`."""
    patch = {}
    for key in before:
        if key not in after:
            patch[key] = None
    for key, new in after.items():
        if not isinstance(key, str):
            raise _CannotSay
        if key not in before:
            _no_null(new)
            patch[key] = new
            continue
        old = before[key]
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _difference(old, new)
            if inner:
                patch[key] = inner
        elif not _same(old, new):
            _no_null(new)
            if isinstance(old, dict) or isinstance(new, dict):
                # Objects are merged into what is there; here the one is to stand for the other.
                raise _CannotSay
            patch[key] = new
    return patch


def _no_null(value):
    """Objects of a patch must not hold `null`; lists may."""
    if value is None:
        raise _CannotSay
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise _CannotSay
            _no_null(inner)


def _same(old, new):
    """Equal, and of the same type: to Python, `1 == True == 1.0`."""
    if type(old) is not type(new):
        return False
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    return old == new


def _dumps(value):
    # What JSON lacks (dates, for one) is written as text, as the original's encoder did.
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)


def _one(item):
    before = json.loads(item.document)
    message = json.loads(item.document)
    metadata = {"index": "events" if item.index is None else item.index, "id": item.id}
    result = _plugin.onMessage(message, metadata)
    message, metadata = result
    if message is None:
        return normaliser.Verdict(normaliser.Change_Dropped(), item.index, item.id)
    if not isinstance(message, dict):
        raise TypeError("onMessage gave a %s in the place of the message" % type(message).__name__)
    metadata = metadata or {}
    index, identity = metadata.get("index"), metadata.get("id")
    index = None if index in (None, "", "events") else str(index)
    identity = None if identity in (None, "") else str(identity)
    try:
        patch = _difference(before, message)
        change = normaliser.Change_Merged(_dumps(patch)) if patch else normaliser.Change_Unchanged()
    except _CannotSay:
        change = normaliser.Change_Replaced(_dumps(message))
    return normaliser.Verdict(change, index, identity)


class Normaliser:
    """The contract's interface."""

    def describe(self):
        _begin()
        words = _words(getattr(_plugin, "registration", []))
        priority = int(getattr(_plugin, "priority", 100))
        return normaliser.Description(mozdef_target.NAME, mozdef_target.VERSION, words, False, priority)

    def process(self, batch):
        _begin()
        verdicts = []
        for item in batch:
            try:
                verdicts.append(_one(item))
            except Exception as error:
                change = normaliser.Change_Failed("%s: %s" % (type(error).__name__, error))
                verdicts.append(normaliser.Verdict(change, item.index, item.id))
        sys.stdout.flush()
        return verdicts
